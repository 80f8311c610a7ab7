"""The paper's claims, each with a verdict that follows from the committed rows (not in the paper).

At the paper's step size, and with every method at its own. What is compared is written beside each
claim; the rule for a verdict is one for all and was fixed before the tuned runs were made.

``python -m paper.claims`` writes the page; ``nox -s claims`` is the same. It trains nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console

from baselines import learner_class
from paper import (
    convergence,
    costs,
    deviations,
    measured,
    mechanism,
    methods,
    paths,
    render,
    scaling,
    tuning,
)
from paper.options import carry_out
from paper.paired import ALPHA, Comparison, against_zero, holm, paired, slope
from paper.results import LedgerError, current, key, read
from sal import credit
from sal.data import DATASETS
from sal.net import forward
from sal.run import Run
from sal.streams import Streams

NAME = SESSION = "claims"
HOLDS, NOT, OPEN = "holds", "does not hold", "cannot be said"
RECIPES = ("published", "tuned")
EARLY = 5
"""Epochs that are called early."""
COLLAPSED, COLLAPSES = 0.9, 0.05
"""Share of the validation part in one area above which a run's routing has collapsed, and share of
the runs up to which that is called an exception."""
SAME_COST = 1.1
"""Ratio to a dense layer up to which a cost is called equal."""

Values = Mapping[int, float]
"""By seed."""
Rows = Mapping[int, Mapping[str, Any]]
"""By seed: the runs of one method on one data set that did not diverge."""


@dataclass
class Finding:
    """What came of one claim at one recipe."""

    verdict: str
    evidence: str
    comparisons: Mapping[str, Comparison | None] = field(default_factory=dict)
    """What was compared, such as "Digits, SAL-16 - Baseline", with Holm's correction over all."""


NOT_RUN = Finding(OPEN, "not run at this recipe")


def judge(comparisons: Mapping[str, Comparison | None], exceptions: int = 0) -> Finding:
    """The one rule for claims that something is larger.

    *holds*: every comparison is shown to be positive (p < 0.05 after Holm's correction over the
    claim's comparisons), all but ``exceptions`` of them; *does not hold*: more than that many are
    shown to be negative; *cannot be said*: otherwise, and without runs. What was not run counts
    for nothing.
    """
    found = {what: each for what, each in holm(comparisons).items() if each is not None}
    if not found:
        return NOT_RUN
    signs = [each.sign for each in found.values()]
    if signs.count(1) >= len(signs) - exceptions:
        verdict = HOLDS
    else:
        verdict = NOT if signs.count(-1) > exceptions else OPEN
    text = f"of {len(signs)} comparisons {signs.count(1)} show more, {signs.count(-1)} less"
    return Finding(verdict, f"{text}, {signs.count(0)} neither", found)


class Ledgers:
    """The committed results, read once."""

    def __init__(self, place: paths.Place) -> None:
        self.place = place
        self.of_tables = tuning.ledgers(place)
        self._rows: dict[tuple[str, str, str], Rows] = {}

    def of(self, experiment: str) -> Mapping[str, Mapping[str, Any]]:
        """The rows of an experiment that count."""
        return current(read(self.place.ledger(experiment))[0])

    def rows(self, recipe: str, dataset: str, column: str) -> Rows:
        """A column's runs at a recipe."""
        cell = (recipe, dataset, column)
        if cell not in self._rows:
            self._rows[cell] = _there(self.of_tables, self._runs(*cell))
        return self._rows[cell]

    def _runs(self, recipe: str, dataset: str, column: str) -> list[Run]:
        if recipe == "tuned":
            if column not in tuning.contestants():
                return []
            steps = tuning.result(self.of_tables, dataset, column)["steps"]
            return [
                tuning.final(dataset, column, step, seed)
                for seed, step in steps.items()
                if step is not None
            ]
        name, _, k = column.lower().partition("-")
        real, k = ("bp", None) if column == "Baseline" else (name, int(k))
        (runs,) = methods.runs([real], [dataset], [k]).values()
        return runs


def _there(by_run: Mapping[str, Mapping[str, Any]], runs: Sequence[Run]) -> Rows:
    found = {run.seed: by_run[key(run)] for run in runs if key(run) in by_run}
    return {seed: row for seed, row in found.items() if row["status"] == "ok"}


def last(rows: Rows, metric: str = "accuracy") -> Values:
    """A metric after the last epoch."""
    return {seed: row[metric] for seed, row in rows.items()}


def early(rows: Rows) -> Values:
    """Mean accuracy over the first epochs."""
    return {seed: np.mean(row["history"]["accuracy"][:EARLY]) for seed, row in rows.items()}


def beats(
    ledgers: Ledgers,
    recipe: str,
    pairs: Sequence[tuple[str, str]],
    of: Callable[[Rows], Values] = last,
    exceptions: int = 0,
) -> Finding:
    """Whether the first column of each pair is ahead of the second, on every data set."""
    comparisons = {
        f"{DATASETS[dataset].title}, {plus} − {minus}": paired(
            of(ledgers.rows(recipe, dataset, plus)), of(ledgers.rows(recipe, dataset, minus))
        )
        for dataset in DATASETS
        for plus, minus in pairs
    }
    return judge(comparisons, exceptions)


def rises_with_areas(ledgers: Ledgers, recipe: str) -> Finding:
    """Points of accuracy for each doubling of K, by seed."""
    comparisons = {}
    for dataset in DATASETS:
        of_k = {k: last(ledgers.rows(recipe, dataset, f"SAL-{k}")) for k in convergence.AREAS}
        comparisons[f"{DATASETS[dataset].title}, a doubling of K"] = against_zero(_slopes(of_k))
    return judge(comparisons)


def _slopes(of_x: Mapping[int, Values]) -> dict[int, float]:
    """Change a doubling of x by seed, over the x that have runs; of the seeds that all have."""
    there = {x: values for x, values in of_x.items() if values}
    if len(there) < 3:
        return {}
    seeds = set.intersection(*(set(values) for values in there.values()))
    return {seed: slope({x: values[seed] for x, values in there.items()}) for seed in seeds}


def _scaled(ledgers: Ledgers, figure: str, dataset: str, method: str) -> dict[int, Values]:
    """Accuracy by depth or width, and seed."""
    experiment = scaling.EXPERIMENTS[figure]
    by_run = ledgers.of(experiment.name)
    cells = scaling.runs(experiment, [dataset], methods=[method])
    return {value: last(_there(by_run, own)) for (_, _, value), own in cells.items()}


def gap_grows_with_depth(ledgers: Ledgers, recipe: str) -> Finding:
    """Points by which SAL's lead over the baseline changes for each doubling of depth."""
    if recipe == "tuned":
        return NOT_RUN
    comparisons = {}
    for dataset in scaling.PAPERS:
        sal, bp = (_scaled(ledgers, "figure2", dataset, method) for method in ("sal", "bp"))
        gap = {
            depth: {
                seed: sal[depth][seed] - bp[depth][seed] for seed in sal[depth] & bp[depth].keys()
            }
            for depth in sal
        }
        comparisons[f"{DATASETS[dataset].title}, a doubling of depth"] = against_zero(_slopes(gap))
    return judge(comparisons)


def degrades_with_depth(ledgers: Ledgers, recipe: str) -> Finding:
    """Points that the baseline loses for each doubling of depth."""
    if recipe == "tuned":
        return NOT_RUN
    comparisons = {}
    for dataset in scaling.PAPERS:
        slopes = _slopes(_scaled(ledgers, "figure2", dataset, "bp"))
        lost = {seed: -value for seed, value in slopes.items()}
        comparisons[f"{DATASETS[dataset].title}, a doubling of depth"] = against_zero(lost)
    return judge(comparisons)


def rises_with_width(ledgers: Ledgers, recipe: str) -> Finding:
    """Points that SAL gains for each doubling of width."""
    if recipe == "tuned":
        return NOT_RUN
    return judge(
        {
            f"{DATASETS[dataset].title}, a doubling of width": against_zero(
                _slopes(_scaled(ledgers, "figure3", dataset, "sal"))
            )
            for dataset in scaling.PAPERS
        }
    )


def overfits_less(ledgers: Ledgers, recipe: str) -> Finding:
    """Nats by which the baseline's validation loss exceeds SAL's at equal training loss.

    The lowest training loss that both reach, between epochs by linear interpolation.
    """
    comparisons = {}
    for dataset in DATASETS:
        bp = ledgers.rows(recipe, dataset, "Baseline")
        for column in ("SAL-4", "SAL-16"):
            sal = ledgers.rows(recipe, dataset, column)
            apart = {seed: _validation_gap(bp[seed], sal[seed]) for seed in bp.keys() & sal.keys()}
            apart = {seed: value for seed, value in apart.items() if value is not None}
            comparisons[f"{DATASETS[dataset].title}, Baseline − {column}"] = against_zero(apart)
    return judge(comparisons)


def _validation_gap(bp: Mapping[str, Any], sal: Mapping[str, Any]) -> float | None:
    """None where the two do not come to a common training loss."""
    level = max(min(row["history"]["train_loss"]) for row in (bp, sal))
    ours, theirs = (_at(level, row["history"]) for row in (sal, bp))
    return None if ours is None or theirs is None else theirs - ours


def _at(level: float, history: Mapping[str, Sequence[float]]) -> float | None:
    """Validation loss where the training loss first comes down to ``level``."""
    trained, validated = history["train_loss"], history["val_loss"]
    epoch = next((n for n, loss in enumerate(trained) if loss <= level), None)
    if epoch is None or epoch == 0 and trained[0] < level:
        return None  # below it after the first epoch: what it was on the way is not known
    if trained[epoch] == level:
        return validated[epoch]
    share = (trained[epoch - 1] - level) / (trained[epoch - 1] - trained[epoch])
    return validated[epoch - 1] + share * (validated[epoch] - validated[epoch - 1])


def does_not_collapse(ledgers: Ledgers, recipe: str) -> Finding:
    """Whether one area takes nearly all samples after the last epoch, in more than a few runs."""
    busiest = {}
    for dataset in DATASETS:
        for k in (2, 4, 8, 16):
            for seed, row in ledgers.rows(recipe, dataset, f"SAL-{k}").items():
                busiest[dataset, k, seed] = max(row["history"]["usage:layer0"][-1])
    if not busiest:
        return NOT_RUN
    collapsed = sum(share > COLLAPSED for share in busiest.values())
    shares = pd.Series(busiest)
    text = (
        f"in {collapsed} of {len(shares)} runs one area takes more than {COLLAPSED:.0%} of the "
        f"validation part; the busiest takes {shares.median():.0%} in the median run, "
        f"{shares.max():.0%} at most"
    )
    return Finding(HOLDS if collapsed <= COLLAPSES * len(shares) else NOT, text)


ROUTING = ("router weights", "router bias", "prototypes", "router features")
"""Questions of ``paper.recovery`` about how routing starts."""


def is_sensitive_to_routing(ledgers: Ledgers, recipe: str) -> Finding:
    """Points by which another start of router and prototypes moves accuracy, either way."""
    if recipe == "tuned":
        return NOT_RUN
    by_run = ledgers.of(deviations.EXPERIMENT)
    raw = {}
    for question, option, setting in deviations.others():
        if question in ROUTING:
            for dataset in deviations.SETS:
                for k in (4, 16):
                    pair = (
                        deviations.accuracy(by_run, each, dataset, k).values
                        for each in (setting, deviations.OURS)
                    )
                    raw[f"{DATASETS[dataset].title}, SAL-{k}, {question}: {option}"] = paired(*pair)
    found = {what: each for what, each in holm(raw).items() if each is not None}
    if not found:
        return NOT_RUN
    moved = [each for each in found.values() if each.sign]
    most = max(abs(each.mean) for each in found.values())
    text = f"{len(moved)} of {len(found)} other starts move accuracy; {most:.1f} points at most"
    return Finding(HOLDS if moved else OPEN, text, found)


def updates_in_parallel(ledgers: Ledgers, recipe: str) -> Finding:
    """Whether a layer's error depends on another layer's weights once the output error is known.

    All weights are made NaN after the forward pass, in SAL-4 of four layers and, to see that it can
    fail, in the same net with backpropagated errors.
    """
    kept, lost = (_survives_without_weights(name) for name in ("sal", "sal_bp"))
    text = (
        "with all weights replaced by NaN after the forward pass every layer's error "
        f"{'keeps its bits' if kept else 'CHANGES'} (backpropagation's "
        f"{'keeps them too' if lost else 'does not'}); each layer needs its own input and the "
        "output error, so updates still wait for the forward pass. Time was not measured in "
        "parallel"
    )
    return Finding(HOLDS if kept and not lost else NOT, text)


def _survives_without_weights(name: str) -> bool:
    method = learner_class(name)
    config = method.Config(hidden=(12, 12, 12), areas=(4, 4, 4))
    learner = method(config, 8, 5, [Streams(0)])
    generator = torch.Generator().manual_seed(0)
    x_RBD = torch.randn(1, 16, 8, generator=generator)
    y_RB = torch.randint(0, 5, (1, 16), generator=generator)
    z_RBC, traces = forward(learner.layers(learner.tensors()), x_RBD)
    errors = []
    for spoilt in (False, True):
        if spoilt:
            for parameter in learner.parameters():
                parameter.fill_(float("nan"))
        layers = learner.layers(learner.tensors())
        errors.append(list(credit.errors(layers, traces, z_RBC, y_RB, learner.rule)))
    return all(torch.equal(a, b) for a, b in zip(*errors, strict=True))


def costs_as_much(ledgers: Ledgers, recipe: str, what: str) -> Finding:
    """The ratio of SAL-K's cost of a sample to one area's; the step size does not matter."""
    result = measured.read(ledgers.place, "costs")
    if result is None:
        return Finding(OPEN, "not measured")
    frame = costs.table(result)
    rows = frame[frame["width"] == costs.FIXED_WIDTH].set_index("areas")
    ratio = rows.loc[16, what]
    text = f"{ratio:.2f} times a dense layer's at K = 16, {rows.loc[4, what]:.2f} at K = 4"
    return Finding(HOLDS if ratio <= SAME_COST else NOT, f"{text} (batch 16, 784-256-10)")


def conflicts_less(ledgers: Ledgers, recipe: str, others: Sequence[str]) -> Finding:
    """How much more the updates of two classes conflict in another method: first layer, all epochs.

    Conflict: the mean of max(0, -cosine) over pairs of classes.
    """
    by_run = ledgers.of(mechanism.EXPERIMENT)
    cells = mechanism.runs(ledgers.of_tables, tuple(DATASETS))
    found = {
        (dataset, column): {
            seed: np.mean(row["history"]["conflict:layer0"])
            for seed, row in _there(by_run, own).items()
        }
        for (dataset, of, column), own in cells.items()
        if of == recipe
    }
    comparisons = {
        f"{DATASETS[dataset].title}, {other} − {column}": paired(
            found.get((dataset, other), {}), found.get((dataset, column), {})
        )
        for dataset in DATASETS
        for column in ("SAL-4", "SAL-16")
        for other in (name.replace("K", column.removeprefix("SAL-")) for name in others)
    }
    return judge(comparisons)


AGAINST_MOE = [(f"SAL-{k}", f"MoE-{k}") for k in (2, 4, 8, 16)]
CLAIMS: dict[str, Callable[[Ledgers, str], Finding]] = {
    "SAL beats the baseline on all data sets but one": partial(
        beats, pairs=[("SAL-16", "Baseline")], exceptions=1
    ),
    "Accuracy rises with K": rises_with_areas,
    "The gap between SAL and the baseline grows with depth": gap_grows_with_depth,
    "The baseline degrades with depth": degrades_with_depth,
    "Width raises SAL's bound": rises_with_width,
    "SAL beats a mixture of experts": partial(beats, pairs=AGAINST_MOE),
    "SAL learns faster than a mixture of experts at first": partial(
        beats, pairs=AGAINST_MOE, of=early
    ),
    "SAL overfits less than backpropagation": overfits_less,
    "Routing does not collapse": does_not_collapse,
    "Results are sensitive to how routing starts": is_sensitive_to_routing,
    "Layers can be updated in parallel": updates_in_parallel,
    "A sample costs as many operations as in a dense layer": partial(
        costs_as_much, what="operations_ratio"
    ),
    "A sample takes as long as in a dense layer": partial(costs_as_much, what="ratio"),
    "Routing reduces the interference of gradients": partial(
        conflicts_less, others=("Baseline", "SAL-1")
    ),
    "There is less interference than in a mixture of experts": partial(
        conflicts_less, others=("MoE-K",)
    ),
}
"""The paper's claims, in our words."""

Found = dict[tuple[str, str], Finding]


def findings(place: paths.Place) -> Found:
    """What came of each (claim, recipe)."""
    ledgers = Ledgers(place)
    return {
        (claim, recipe): ask(ledgers, recipe) for claim, ask in CLAIMS.items() for recipe in RECIPES
    }


def pages(place: paths.Place) -> dict[Path, str]:
    """The generated files with their texts, from the committed results alone.

    None before anything was tuned: half of the verdicts would be missing.
    """
    if not read(place.ledger(tuning.EXPERIMENT))[0]:
        return {}
    found = findings(place)
    csv = _csv(found).to_csv(index=False, float_format="%.4g", lineterminator="\n")
    return {place.table(NAME, "md"): _page(found), place.table(NAME, "csv"): csv}


def _page(found: Found) -> str:
    notes = [
        f"Generated by `nox -s {SESSION}` from the ledgers; do not edit. *Published*: the paper's "
        "step size for all; *tuned*: every method at its own, found without the test part "
        "([tuning.md](tuning.md)). On the data sets at hand, of the paper's ten.",
        "The rule: *holds* if every comparison shows it (allowed exceptions aside), *does not "
        f"hold* if comparisons show the opposite, *cannot be said* otherwise. A comparison shows "
        f"something if p < {ALPHA:g} in a paired t-test over seeds, after Holm's correction over "
        "the claim's comparisons; runs of a seed see the same samples in the same order. With five "
        "seeds that finds differences of about three standard deviations and more.",
    ]
    grid = pd.DataFrame(
        [[_short(found[claim, recipe]) for recipe in RECIPES] for claim in CLAIMS],
        index=pd.Index(CLAIMS, name="Claim"),
        columns=list(RECIPES),
    )
    text = render.markdown_page("The paper's claims", notes, grid)
    for claim, ask in CLAIMS.items():
        for recipe in RECIPES:
            if own := found[claim, recipe].comparisons:
                told = [f"{_first_line(ask)} {found[claim, recipe].evidence.capitalize()}."]
                title = f"{claim}: {recipe}"
                text += render.markdown_section(title, told, _comparisons(own))
    return text


def _short(finding: Finding) -> str:
    return f"**{finding.verdict}**: {finding.evidence}"


def _first_line(ask: Callable) -> str:
    return (getattr(ask, "func", ask).__doc__ or "").splitlines()[0]


def _comparisons(found: Mapping[str, Comparison | None]) -> pd.DataFrame:
    there = {what: each for what, each in found.items() if each is not None}
    return pd.DataFrame(
        {
            "difference": [f"{each.mean:+.3g}" for each in there.values()],
            "95 % interval": [f"{each.low:+.3g} to {each.high:+.3g}" for each in there.values()],
            "p (Holm)": [f"{each.p_holm:.2g}" for each in there.values()],
            "Cohen's d": [f"{each.effect:.1f}" for each in there.values()],
            "n": [str(each.n) for each in there.values()],
        },
        index=pd.Index(there, name="What"),
    )


def _csv(found: Found) -> pd.DataFrame:
    columns = "claim recipe verdict what difference low high p p_holm effect n".split()
    lines = []
    for (claim, recipe), finding in found.items():
        start = [claim, recipe, finding.verdict]
        own = {what: each for what, each in finding.comparisons.items() if each is not None}
        lines += [
            [*start, what, c.mean, c.low, c.high, c.p, c.p_holm, c.effect, c.n]
            for what, c in own.items()
        ] or [[*start, *[None] * 8]]
    return pd.DataFrame(lines, columns=columns)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    measured.parser("paper.claims", __doc__.splitlines()[0]).parse_args(arguments)
    return carry_out(_write)


def _write(console: Console) -> int:
    place = paths.committed()
    texts = pages(place)
    try:
        paths.write(texts)
    except OSError as error:
        raise LedgerError(f"cannot write {error.filename}: {error.strerror}") from error
    console.print("written:", *texts or ["nothing"], highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
