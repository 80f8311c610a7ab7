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
from itertools import pairwise
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
from paper.cells import SEEDS, differences
from paper.options import carry_out
from paper.paired import ALPHA, Comparison, against_zero, holm, paired, slope
from paper.results import counting, key, read
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
MATTERS = 1.0
"""Points of accuracy from which a change counts as one."""
PCAM = "pcam"
"""The exception that the paper makes: in Table 2, and beside the mixture of experts."""

Values = Mapping[int, float]
"""By seed."""
Rows = Mapping[int, Mapping[str, Any]]
"""By seed: the runs of one method on one data set."""


@dataclass
class Finding:
    """What came of one claim at one recipe."""

    verdict: str
    evidence: str
    comparisons: Mapping[str, Comparison | None] = field(default_factory=dict)
    """What was compared, such as "Digits, SAL-16 - Baseline", with Holm's correction over all."""


NOT_RUN = Finding(OPEN, "not run at this recipe")


def judge(comparisons: Mapping[str, Comparison | None]) -> Finding:
    """The rule for claims that something is larger.

    *holds*: every comparison is shown to be positive (p < 0.05 after Holm's correction over the
    claim's comparisons, all seeds); *does not hold*: one is shown to be negative; *cannot be
    said*: otherwise, and without runs. What was not run counts for nothing.
    """
    found = {what: each for what, each in holm(comparisons).items() if each is not None}
    if not found:
        return NOT_RUN
    signs = [each.sign for each in found.values()]
    verdict = NOT if -1 in signs else OPEN if 0 in signs else HOLDS
    few = sum(each.n < SEEDS for each in found.values())
    text = f"of {len(signs)} comparisons {signs.count(1)} show more, {signs.count(-1)} less"
    text += f", {signs.count(0)} neither" + (f" ({few} with too few seeds)" if few else "")
    return Finding(verdict, text, found)


class Ledgers:
    """The committed results; each ledger is read once."""

    def __init__(self, place: paths.Place) -> None:
        self.place = place
        self.of_tables = tuning.ledgers(place)
        self._rows: dict[tuple[str, str, str], Rows] = {}
        self._ledgers: dict[str, Mapping[str, Mapping[str, Any]]] = {}

    def of(self, experiment: str) -> Mapping[str, Mapping[str, Any]]:
        """The rows of an experiment that count."""
        if experiment not in self._ledgers:
            self._ledgers[experiment] = counting(self.place, experiment)
        return self._ledgers[experiment]

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
        if column in tuning.contestants():
            return tuning.as_published(dataset, column)
        name, _, k = column.lower().partition("-")
        (runs,) = methods.runs([name], [dataset], [int(k)]).values()
        return runs


def _there(by_run: Mapping[str, Mapping[str, Any]], runs: Sequence[Run]) -> Rows:
    return {run.seed: by_run[key(run)] for run in runs if key(run) in by_run}


def last(rows: Rows) -> Values:
    """Accuracy in percent after the last epoch; a run that diverged guesses."""
    return {
        seed: row["accuracy"] if row["status"] == "ok" else _guessing(row)
        for seed, row in rows.items()
    }


def early(rows: Rows) -> Values:
    """Mean accuracy in percent over the first epochs; a run that diverged guesses from then on."""
    found = {}
    for seed, row in rows.items():
        own = row["history"].get("accuracy", [])[:EARLY]
        epochs = min(EARLY, row["protocol"]["epochs"])
        found[seed] = float(np.mean([*own, *[_guessing(row)] * (epochs - len(own))]))
    return found


def _guessing(row: Mapping[str, Any]) -> float:
    return 100 / DATASETS[row["dataset"]].n_classes


def _finished(rows: Rows) -> Rows:
    return {seed: row for seed, row in rows.items() if row["status"] == "ok"}


def beats(
    ledgers: Ledgers,
    recipe: str,
    pairs: Sequence[tuple[str, str]],
    of: Callable[[Rows], Values] = last,
    datasets: Sequence[str] = tuple(DATASETS),
) -> Finding:
    """Points of accuracy by which the first of each pair is ahead of the second."""
    comparisons = {
        f"{DATASETS[dataset].title}, {plus} − {minus}": paired(
            of(ledgers.rows(recipe, dataset, plus)), of(ledgers.rows(recipe, dataset, minus))
        )
        for dataset in datasets
        for plus, minus in pairs
    }
    return judge(comparisons)


def rises_with_areas(ledgers: Ledgers, recipe: str) -> Finding:
    """Points of accuracy for each doubling of K, by least squares, seed by seed."""
    comparisons = {}
    for dataset in WITH_K:
        of_k = {k: last(ledgers.rows(recipe, dataset, f"SAL-{k}")) for k in convergence.AREAS}
        comparisons[f"{DATASETS[dataset].title}, a doubling of K"] = against_zero(_slopes(of_k))
    return judge(comparisons)


WITH_K = tuple(name for name in DATASETS if name not in (PCAM, "svhn"))
"""The data sets on which the paper says that accuracy rises with K, or stays high."""


def _slopes(of_x: Mapping[int, Values]) -> dict[int, float]:
    """Change a doubling of x by seed, over the x that have runs; of the seeds that all have."""
    there = {x: values for x, values in of_x.items() if values}
    if len(there) < 3:
        return {}
    seeds = set.intersection(*(set(values) for values in there.values()))
    return {seed: slope({x: values[seed] for x, values in there.items()}) for seed in seeds}


def _scaled(ledgers: Ledgers, figure: str, dataset: str, method: str) -> dict[int, Values]:
    """Accuracy by depth or width, and seed, of those that were run."""
    experiment = scaling.EXPERIMENTS[figure]
    by_run = ledgers.of(experiment.name)
    cells = scaling.runs(experiment, [dataset], methods=[method])
    found = {value: last(_there(by_run, own)) for (_, _, value), own in cells.items()}
    return {value: own for value, own in found.items() if own}


def gap_grows_with_depth(ledgers: Ledgers, recipe: str) -> Finding:
    """Points by which SAL's lead over the baseline grows for each doubling of depth."""
    if recipe == "tuned":
        return NOT_RUN
    comparisons = {}
    for dataset in scaling.PAPERS:
        sal, bp = (_scaled(ledgers, "figure2", dataset, method) for method in ("sal", "bp"))
        gap = {depth: differences(sal[depth], bp[depth]) for depth in sal if depth in bp}
        comparisons[f"{DATASETS[dataset].title}, a doubling of depth"] = against_zero(_slopes(gap))
    return judge(comparisons)


def degrades_with_depth(ledgers: Ledgers, recipe: str) -> Finding:
    """Points that the baseline loses from the middle one of the depths that were run to the last.

    But on Semeion, where the paper says that it improves steadily.
    """
    if recipe == "tuned":
        return NOT_RUN
    comparisons = {}
    for dataset in (name for name in scaling.PAPERS if name != "semeion"):
        bp = _scaled(ledgers, "figure2", dataset, "bp")
        if len(bp) >= 3:
            depths = sorted(bp)
            middle, deepest = depths[len(depths) // 2], depths[-1]
            what = f"{DATASETS[dataset].title}, depth {middle} − depth {deepest}"
            comparisons[what] = paired(bp[middle], bp[deepest])
    return judge(comparisons)


def improves_with_depth(ledgers: Ledgers, recipe: str) -> Finding:
    """Points that the baseline gains on Semeion from each depth that was run to the next."""
    if recipe == "tuned":
        return NOT_RUN
    bp = _scaled(ledgers, "figure2", "semeion", "bp")
    return judge(
        {
            f"Semeion, depth {deeper} − depth {depth}": paired(bp[deeper], bp[depth])
            for depth, deeper in pairwise(sorted(bp))
        }
    )


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

    The lowest training loss that both reach, between epochs by linear interpolation; without runs
    that diverged.
    """
    comparisons = {}
    for dataset in DATASETS:
        bp = _finished(ledgers.rows(recipe, dataset, "Baseline"))
        for column in ("SAL-4", "SAL-16"):
            sal = _finished(ledgers.rows(recipe, dataset, column))
            gaps = {seed: _validation_gap(bp[seed], sal[seed]) for seed in bp.keys() & sal.keys()}
            gaps = {seed: value for seed, value in gaps.items() if value is not None}
            comparisons[f"{DATASETS[dataset].title}, Baseline − {column}"] = against_zero(gaps)
    return judge(comparisons)


def _validation_gap(bp: Mapping[str, Any], sal: Mapping[str, Any]) -> float | None:
    """None where the two do not come to a common training loss."""
    level = max(min(row["history"]["train_loss"]) for row in (bp, sal))
    ours, theirs = (_at(level, row["history"]) for row in (sal, bp))
    return None if ours is None or theirs is None else theirs - ours


def _at(level: float, history: Mapping[str, Sequence[float]]) -> float | None:
    """Validation loss where the training loss first comes down to ``level``."""
    trained, validated = history["train_loss"], history["val_loss"]
    epoch = next(n for n, loss in enumerate(trained) if loss <= level)
    if trained[epoch] == level:
        return validated[epoch]
    if epoch == 0:
        return None  # what it was on the way there is not known
    share = (trained[epoch - 1] - level) / (trained[epoch - 1] - trained[epoch])
    return validated[epoch - 1] + share * (validated[epoch] - validated[epoch - 1])


def does_not_collapse(ledgers: Ledgers, recipe: str) -> Finding:
    """Whether one area takes nearly all samples after the last epoch, in more than a few runs."""
    busiest = {}
    for dataset in DATASETS:
        for k in (2, 4, 8, 16):
            for seed, row in _finished(ledgers.rows(recipe, dataset, f"SAL-{k}")).items():
                busiest[dataset, k, seed] = max(row["history"]["usage:layer0"][-1])
    if not busiest:
        return NOT_RUN
    collapsed = sum(share > COLLAPSED for share in busiest.values())
    shares = pd.Series(busiest)
    text = (
        f"in {collapsed} of {len(shares)} runs one area takes more than {COLLAPSED:.0%} of the "
        f"validation part (allowed: {COLLAPSES:.0%} of the runs); the busiest takes "
        f"{shares.median():.0%} in the median run, {shares.max():.0%} at most"
    )
    return Finding(HOLDS if collapsed <= COLLAPSES * len(shares) else NOT, text)


ROUTING = ("router weights", "prototypes")
"""Questions of ``paper.recovery`` about how routing starts."""


def is_sensitive_to_routing(ledgers: Ledgers, recipe: str) -> Finding:
    """Points by which another start of router or prototypes moves accuracy, either way."""
    if recipe == "tuned":
        return NOT_RUN
    by_run = deviations.ledgers(ledgers.place)
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
    moved = [each for each in found.values() if each.sign and abs(each.mean) >= MATTERS]
    still = [each for each in found.values() if -MATTERS < each.low <= each.high < MATTERS]
    text = f"{len(moved)} of {len(found)} other starts move accuracy by {MATTERS:g} point or more"
    if moved:
        text += f", {max(abs(each.mean) for each in moved):.1f} at most"
    verdict = HOLDS if moved else NOT if len(still) == len(found) else OPEN
    return Finding(verdict, f"{text}; {len(still)} move it by less", found)


def updates_in_parallel(ledgers: Ledgers, recipe: str) -> Finding:
    """Whether a layer's error depends on another layer's weights once the output error is known.

    All weights are made NaN after the forward pass, in SAL-4 of four layers and, to see that it can
    fail, in the same net with backpropagated errors.
    """
    ours, control = (_survives_without_weights(name) for name in ("sal", "sal_bp"))
    if control:
        return Finding(OPEN, "the check does not tell: backpropagation passes it, too")
    text = (
        "with all weights replaced by NaN after the forward pass every layer's error "
        f"{'keeps its bits' if ours else 'CHANGES'} (backpropagation's does not); each layer needs "
        "its own input and the output error, so updates still wait for the forward pass. Time was "
        "not measured in parallel"
    )
    return Finding(HOLDS if ours else NOT, text)


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
    text = (
        f"{ratio:.2f} times a dense layer's at K = 16, {rows.loc[4, what]:.2f} at K = 4 (batch 16, "
        f"784-256-10; up to {SAME_COST:g} is called equal)"
    )
    return Finding(HOLDS if ratio <= SAME_COST else NOT, text)


def conflicts_less(ledgers: Ledgers, recipe: str, others: Sequence[str]) -> Finding:
    """How much more the updates of two classes conflict in another method: first layer, all epochs.

    Conflict: the mean of max(0, -cosine) over pairs of classes; of the epochs where it is defined.
    """
    by_run = ledgers.of(mechanism.EXPERIMENT)
    cells = mechanism.runs(ledgers.of_tables, tuple(DATASETS))
    found = {
        (dataset, column): _conflict(_finished(_there(by_run, own)))
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


def _conflict(rows: Rows) -> Values:
    found = {
        seed: [value for value in row["history"]["conflict:layer0"] if value is not None]
        for seed, row in rows.items()
    }
    return {seed: float(np.mean(values)) for seed, values in found.items() if values}


@dataclass(frozen=True)
class Claim:
    """Something that is said of SAL, and how it is asked."""

    ask: Callable[[Ledgers, str], Finding]
    says: str
    """The paper's own words, or whose question it is."""


WITHOUT_PCAM = tuple(name for name in DATASETS if name != PCAM)
AGAINST_MOE = [(f"SAL-{k}", f"MoE-{k}") for k in (2, 4, 8, 16)]
OURS = "ours: who else could have won"
CLAIMS: dict[str, Claim] = {
    "SAL beats the baseline": Claim(
        partial(beats, pairs=[("SAL-4", "Baseline")], datasets=WITHOUT_PCAM),
        '"SAL outperforms the baseline on nine out of the ten datasets" (in its table with K = 4, '
        "all but PCam)",
    ),
    "SAL beats a baseline with as many parameters in all": Claim(
        partial(beats, pairs=[("SAL-16", tuning.WIDE_COLUMN)]), OURS
    ),
    "SAL beats FA and DFA": Claim(
        partial(beats, pairs=[(f"SAL-{k}", name) for k in (4, 16) for name in ("FA", "DFA")]), OURS
    ),
    "Several areas beat one": Claim(
        partial(beats, pairs=[("SAL-4", "SAL-1"), ("SAL-16", "SAL-1")]), OURS
    ),
    "SAL needs the larger step of its areas": Claim(
        partial(beats, pairs=[(f"SAL-{k}", f"SAL-{k}, step / {k}") for k in (4, 16)]), OURS
    ),
    "Accuracy rises with K": Claim(
        rises_with_areas,
        '"a positive correlation or a stable high-performance trend" on all but PCam and SVHN',
    ),
    "The gap between SAL and the baseline grows with depth": Claim(
        gap_grows_with_depth,
        '"the performance gap between SAL and the baseline increases with network depth"',
    ),
    "The baseline degrades with depth": Claim(
        degrades_with_depth,
        '"the baseline undergoes degradation and optimization difficulties at greater depths"',
    ),
    "On Semeion the baseline improves steadily with depth": Claim(
        improves_with_depth, '"the BP model demonstrates steady performance improvements"'
    ),
    "Width raises SAL's bound": Claim(
        rises_with_width,
        '"consistently improves the convergence upper bound and learning efficiency across various '
        'network widths"',
    ),
    "SAL beats a mixture of experts": Claim(
        partial(beats, pairs=AGAINST_MOE, datasets=WITHOUT_PCAM),
        '"consistently achieves higher final accuracy than the MoE approach" but on PCam',
    ),
    "SAL learns faster than a mixture of experts at first": Claim(
        partial(beats, pairs=AGAINST_MOE, of=early),
        f'"significantly faster increase in accuracy compared to MoE"; here the mean of the first '
        f"{EARLY} epochs",
    ),
    "SAL overfits less than backpropagation": Claim(
        overfits_less, '"improved robustness against overfitting"'
    ),
    "Routing does not collapse": Claim(does_not_collapse, '"preventing mode collapse"'),
    "Results are sensitive to how routing starts": Claim(
        is_sensitive_to_routing, '"Hard routing assignments are sensitive to initialization"'
    ),
    "Layers can be updated in parallel": Claim(
        updates_in_parallel,
        '"layer-wise decoupled and do not impose inter-layer synchronization"',
    ),
    "A sample costs as many operations as in a dense layer": Claim(
        partial(costs_as_much, what="operations_ratio"),
        '"consistent with standard FC layers"',
    ),
    "A sample takes as long as in a dense layer": Claim(
        partial(costs_as_much, what="ratio"), "ours: does that show on the clock"
    ),
    "Routing reduces the interference of gradients": Claim(
        partial(conflicts_less, others=("Baseline", "SAL-1")),
        '"designed to mitigate gradient interference"',
    ),
    "There is less interference than in a mixture of experts": Claim(
        partial(conflicts_less, others=("MoE-K",)), "ours: other routing"
    ),
}
"""In our words; what the paper says is beside them."""

Found = dict[tuple[str, str], Finding]


def findings(place: paths.Place) -> Found:
    """What came of each (claim, recipe)."""
    ledgers = Ledgers(place)
    return {
        (name, recipe): claim.ask(ledgers, recipe)
        for name, claim in CLAIMS.items()
        for recipe in RECIPES
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
        "([tuning.md](tuning.md)). On the data sets that were run at each.",
        "The rule for claims that something is larger: *holds* if every comparison shows it, *does "
        "not hold* if one shows the opposite, *cannot be said* otherwise. A comparison shows "
        f"something if it has {SEEDS} seeds and p < {ALPHA:g} in a paired t-test over them, after "
        "Holm's correction over the claim's comparisons; runs of a seed see the same samples in "
        "the same order. That finds differences of about three standard deviations and more, and "
        "is about seeds, not about other test parts. A run that diverged guesses. The other "
        "claims have their own rule beside the verdict.",
        "Below: the interval is a percentile bootstrap's of the mean, too narrow with so few "
        "seeds; *d* is Cohen's d_z of the paired differences.",
    ]
    grid = pd.DataFrame(
        [
            [claim.says, *(_short(found[name, recipe]) for recipe in RECIPES)]
            for name, claim in CLAIMS.items()
        ],
        index=pd.Index(CLAIMS, name="Claim"),
        columns=["the paper", *RECIPES],
    )
    text = render.markdown_page("The paper's claims", notes, grid)
    for name, claim in CLAIMS.items():
        for recipe in RECIPES:
            if own := found[name, recipe].comparisons:
                evidence = found[name, recipe].evidence
                told = [f"{_first_line(claim.ask)} {evidence[0].upper()}{evidence[1:]}."]
                text += render.markdown_section(f"{name}: {recipe}", told, _comparisons(own))
    return text


def _short(finding: Finding) -> str:
    return f"**{finding.verdict}**: {finding.evidence}"


def _first_line(ask: Callable) -> str:
    return getattr(ask, "func", ask).__doc__.splitlines()[0]


def _comparisons(found: Mapping[str, Comparison | None]) -> pd.DataFrame:
    there = {what: each for what, each in found.items() if each is not None}
    return pd.DataFrame(
        {
            "difference": [f"{each.mean:+.3g}" for each in there.values()],
            "95 % interval": [f"{each.low:+.3g} to {each.high:+.3g}" for each in there.values()],
            "p (Holm)": [f"{each.p_holm:.2g}" for each in there.values()],
            "d": [f"{each.effect:.1f}" for each in there.values()],
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
    paths.write(texts)
    if texts:
        console.print("written:", *texts, highlight=False, soft_wrap=True)
    else:
        console.print(f"nothing was tuned yet: run nox -s {tuning.SESSION} first")
    return 0


if __name__ == "__main__":
    sys.exit(main())
