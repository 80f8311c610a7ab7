"""Statistics of paired runs: runs of the same seed see the same samples in the same order."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

from paper.cells import SEEDS, differences
from sal.data import DATASETS
from sal.train import Protocol

ALPHA = 0.05
"""Of p, after Holm's correction or without."""
CONFIDENCE = 0.95
RESAMPLES = 9999
BOOTSTRAP_SEED = 0

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Comparison:
    """Differences of paired runs."""

    n: int
    mean: float
    low: float
    """Of the bootstrap interval (percentile, seeded) of the mean, as is ``high``; too narrow with
    few seeds: with five it covers about 84 %."""
    high: float
    p: float
    """Of the paired t-test, two-sided; that of ``resampled`` for seeds that share samples."""
    effect: float
    """Cohen's d_z, the mean of the differences over their sample standard deviation; infinite
    without spread."""
    p_holm: float
    """``p`` after Holm's correction over the comparisons of a claim; ``p`` by itself."""

    @property
    def sign(self) -> int:
        """1 or -1 where the mean is shown to differ from zero, by as many seeds as cells have."""
        return self._sign(self.p_holm)

    @property
    def sign_alone(self) -> int:
        """The same by its own p: for what every one of several comparisons has to show."""
        return self._sign(self.p)

    def _sign(self, p: float) -> int:
        return int(math.copysign(1, self.mean)) if p < ALPHA and self.n >= SEEDS else 0


def paired(plus: Mapping[int, float], minus: Mapping[int, float]) -> Comparison | None:
    """plus - minus over the seeds that both have; None below two.

    Example:
        Accuracies by seed; the difference is 1.0 on average, and too few seeds to show it:

        >>> from paper.paired import paired
        >>> found = paired({0: 91.0, 1: 92.0, 2: 93.0}, {0: 90.5, 1: 91.0, 2: 91.5})
        >>> found.n, found.mean, round(found.p, 3), found.sign
        (3, 1.0, 0.074, 0)
    """
    return against_zero(differences(plus, minus))


def against_zero(values: Mapping[int, float]) -> Comparison | None:
    """Values by seed, such as differences or slopes, against zero; None below two."""
    if len(values) < 2:
        return None
    differences = np.array([values[seed] for seed in sorted(values)], dtype=float)
    mean, std = float(differences.mean()), float(differences.std(ddof=1))
    if std <= 1e-12 * max(1.0, abs(mean)):  # no spread: nothing to resample or to test
        sure = not np.isclose(mean, 0)
        p, effect = (0.0, math.copysign(math.inf, mean)) if sure else (1.0, 0.0)
        return Comparison(len(differences), mean, mean, mean, p, effect, p)
    interval = stats.bootstrap(
        (differences,),
        np.mean,
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(BOOTSTRAP_SEED),
    ).confidence_interval
    p = float(stats.ttest_1samp(differences, 0).pvalue)
    return Comparison(len(differences), mean, *map(float, interval), p, mean / std, p)


def resampled(found: Comparison, ratio: float) -> Comparison:
    """The same of seeds that draw their parts from the same samples, so are not independent.

    The variance of the mean is (1 / n + ratio) times that of the differences, in place of 1 / n:
    the corrected resampled t-test of Nadeau and Bengio (2003), "Inference for the generalization
    error", Machine Learning 52.

    Args:
        found: As ``against_zero`` gives it.
        ratio: Samples in the part held out for each in the part trained on; 0 changes nothing.
    """
    if not ratio or not math.isfinite(found.effect):
        return found
    t = found.effect / math.sqrt(1 / found.n + ratio)
    p = float(2 * stats.t.sf(abs(t), found.n - 1))
    return replace(found, p=p, p_holm=p)


def overlap(dataset: str) -> float:
    """The ``ratio`` of ``resampled`` for runs under the default protocol; 0 with a test part."""
    share = Protocol.validation_share
    return 0.0 if DATASETS[dataset].has_test_part else share / (1 - share)


def slope(of_x: Mapping[float, float]) -> float:
    """Change of a value for each doubling of x, by least squares."""
    return float(stats.linregress(np.log2(list(of_x)), list(of_x.values())).slope)


def holm(found: Mapping[Key, Comparison | None]) -> dict[Key, Comparison | None]:
    """The same with p corrected for there being several of them, by Holm's method."""
    there = {key: each for key, each in found.items() if each is not None}
    if not there:
        return dict(found)
    adjusted = multipletests([each.p for each in there.values()], method="holm")[1]
    corrected = {
        key: replace(each, p_holm=float(p))
        for (key, each), p in zip(there.items(), adjusted, strict=True)
    }
    return {key: corrected.get(key) for key in found}
