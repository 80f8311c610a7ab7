"""Whether SAL overfits less than backpropagation: validation losses at equal training losses.

Two of the questions that ``paper.claims`` asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from paper import scaling
from paper.paired import Comparison, against_zero
from paper.results import identity
from paper.verdicts import Finding, Ledgers, Rows, finished, judge
from sal.data import DATASETS


def overfits_less(ledgers: Ledgers, recipe: str) -> Finding:
    """Nats by which the baseline's validation loss exceeds SAL's at equal training loss.

    The lowest training loss that both reach, its mean over seeds beside the comparison; between
    epochs by linear interpolation; without runs that diverged.
    """
    asked = {}
    for dataset in DATASETS:
        bp = ledgers.rows(recipe, dataset, "Baseline")
        for column in ("SAL-4", "SAL-16"):
            at, gap = _overfitting(bp, ledgers.rows(recipe, dataset, column))
            asked[dataset, f"Baseline − {column}{at}"] = gap
    return judge(asked)


def overfits_less_when_deep(ledgers: Ledgers, recipe: str) -> Finding:
    """Nats by which the baseline's validation loss exceeds SAL-4's at equal training loss.

    Of the nets of Figure 2, depth by depth, and of Figure 3, width by width, that have all seeds,
    without those of Figure 3 that are also in Figure 2; else as in Table 2's.
    """
    asked, seen = {}, set()
    for figure, experiment in scaling.EXPERIMENTS.items():
        for dataset in scaling.PAPERS:
            bp, sal = (
                ledgers.scaled(recipe, figure, dataset, column) for column in ("Baseline", "SAL-4")
            )
            for value in bp:
                both = bp[value], sal.get(value, {})
                runs = frozenset(identity(row) for rows in both for row in rows.values())
                if runs in seen:
                    continue
                seen.add(runs)
                at, gap = _overfitting(*both)
                asked[dataset, f"Baseline − SAL-4, {experiment.name} {value}{at}"] = gap
    nowhere = set(scaling.PAPERS) - {dataset for dataset, _ in asked}
    return judge(asked | {(dataset, "Baseline − SAL-4"): None for dataset in sorted(nowhere)})


def _overfitting(bp: Rows, sal: Rows) -> tuple[str, Comparison | None]:
    """At which training loss, and by how much the baseline's validation loss is larger there."""
    bp, sal = finished(bp), finished(sal)
    gaps = {seed: _validation_gap(bp[seed], sal[seed]) for seed in bp.keys() & sal.keys()}
    gaps = {seed: value for seed, value in gaps.items() if value is not None}
    levels = [_common_loss(bp[seed], sal[seed]) for seed in gaps]
    return f" at {np.mean(levels):.3g} nats" if levels else "", against_zero(gaps)


def _common_loss(*rows: Mapping[str, Any]) -> float:
    """The lowest training loss that all come to."""
    return max(min(row["history"]["train_loss"]) for row in rows)


def _validation_gap(bp: Mapping[str, Any], sal: Mapping[str, Any]) -> float | None:
    """None where one is there within its first epoch: what it was on the way is not known."""
    level = _common_loss(bp, sal)
    ours, theirs = (_at(level, row["history"]) for row in (sal, bp))
    return None if ours is None or theirs is None else theirs - ours


def _at(level: float, history: Mapping[str, Sequence[float]]) -> float | None:
    """Validation loss where the training loss first comes down to ``level``."""
    trained, validated = history["train_loss"], history["val_loss"]
    epoch = next(n for n, loss in enumerate(trained) if loss <= level)
    if trained[epoch] == level:
        return validated[epoch]
    if epoch == 0:
        return None
    share = (trained[epoch - 1] - level) / (trained[epoch - 1] - trained[epoch])
    return validated[epoch - 1] + share * (validated[epoch] - validated[epoch - 1])
