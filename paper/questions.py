"""How each claim of ``paper.claims`` is asked of the committed runs.

A question takes the ledgers and a recipe and gives a ``Finding``; the first line of its text is
shown beside what it finds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import torch

from baselines import learner_class
from paper import convergence, costs, entrants, measured, mechanism, routing, scaling
from paper.cells import SEEDS, differences
from paper.paired import paired
from paper.verdicts import (
    HOLDS,
    NOT,
    NOT_RUN,
    OPEN,
    Comparisons,
    Finding,
    Ledgers,
    Rows,
    Values,
    finished,
    judge,
    last,
    there,
    trend,
)
from sal import credit
from sal.data import DATASETS
from sal.net import forward
from sal.streams import Streams

COLLAPSED = 0.9
"""Share of the validation part in one area above which a run's routing has collapsed."""
SAME_COST = 1.1
"""Ratio to a dense layer up to which a cost is called equal."""
MATTERS = 1.0
"""Points of accuracy from which a change counts as one."""
STAYS = MATTERS / 4
"""Points a doubling of K that still count as staying: one from 1 area to 16."""
NOT_ASKED = Finding(OPEN, "not asked: these nets were trained at the paper's step size alone")


def beats(
    ledgers: Ledgers,
    recipe: str,
    pairs: Sequence[tuple[str, str]],
    of: Callable[[Rows], Values] = last,
    datasets: Sequence[str] = tuple(DATASETS),
) -> Finding:
    """Points of accuracy by which the first of each pair is ahead of the second."""
    return judge(
        {
            (dataset, f"{plus} − {minus}"): paired(
                of(ledgers.rows(recipe, dataset, plus)), of(ledgers.rows(recipe, dataset, minus))
            )
            for dataset in datasets
            for plus, minus in pairs
            if recipe == "published" or {plus, minus} <= entrants.everyone().keys()
        }
    )


def rises_with_areas(ledgers: Ledgers, recipe: str, datasets: Sequence[str]) -> Finding:
    """Points of accuracy a doubling of K, by least squares; no step may be shown to fall."""
    asked, steps = _with_areas(ledgers, recipe, datasets)
    return judge(asked, steps)


def does_not_fall_with_areas(ledgers: Ledgers, recipe: str, datasets: Sequence[str]) -> Finding:
    """Points a doubling of K, by least squares, plus a quarter: so one from K = 1 to 16 stays.

    A trend over all K, whatever its steps.
    """
    return judge(_with_areas(ledgers, recipe, datasets, STAYS)[0])


def _with_areas(
    ledgers: Ledgers, recipe: str, datasets: Sequence[str], margin: float = 0.0
) -> tuple[Comparisons, Comparisons]:
    asked, steps = {}, {}
    for dataset in datasets:
        of_k = {k: last(ledgers.rows(recipe, dataset, f"SAL-{k}")) for k in convergence.AREAS}
        whole, own = trend(dataset, "K", of_k, margin)
        asked, steps = asked | whole, steps | own
    return asked, steps


def _scaled(
    ledgers: Ledgers, recipe: str, figure: str, dataset: str, column: str
) -> dict[int, Values]:
    """Accuracy by depth or width, and seed."""
    scaled = ledgers.scaled(recipe, figure, dataset, column)
    return {value: last(rows) for value, rows in scaled.items()}


def gap_grows_with_depth(ledgers: Ledgers, recipe: str) -> Finding:
    """Points by which SAL's lead grows a doubling of depth; no step may be shown to shrink."""
    asked, steps = {}, {}
    for dataset in scaling.PAPERS:
        sal, bp = (
            _scaled(ledgers, recipe, "figure2", dataset, column) for column in ("SAL-4", "Baseline")
        )
        gap = {depth: differences(sal[depth], bp[depth]) for depth in sal if depth in bp}
        whole, own_steps = trend(dataset, "depth", gap)
        asked, steps = asked | whole, steps | own_steps
    return judge(asked, steps)


def degrades_with_depth(ledgers: Ledgers, recipe: str, beyond: str | None = None) -> Finding:
    """Points that the baseline loses from the middle one of the depths that were run to the last.

    But on Semeion, where the paper says that it improves steadily. ``beyond``: more than another
    method loses.
    """
    if recipe == "tuned":
        return NOT_ASKED
    asked, depths = {}, scaling.EXPERIMENTS["figure2"].values
    for dataset in (name for name in scaling.PAPERS if name != "semeion"):
        bp = _scaled(ledgers, recipe, "figure2", dataset, "Baseline")
        other = beyond and _scaled(ledgers, recipe, "figure2", dataset, beyond)
        if len(bp) < 3 or (beyond and not bp.keys() <= other.keys()):
            asked[dataset, "middle depth − deepest"] = None
            continue
        middle, deepest = list(bp)[len(bp) // 2], max(bp)
        deeper = ", ".join(str(depth) for depth in depths if depth > deepest)
        what = f"depth {middle} − depth {deepest}{f' ({deeper} not run)' if deeper else ''}"
        if other:
            what = f"Baseline − {beyond}, {what}"
            lost = (differences(net[middle], net[deepest]) for net in (bp, other))
            asked[dataset, what] = paired(*lost)
        else:
            asked[dataset, what] = paired(bp[middle], bp[deepest])
    finding = judge(asked)
    compared = "; ".join(f"{DATASETS[name].title}: {what}" for name, what in finding.comparisons)
    return replace(finding, evidence=f"{finding.evidence}; {compared}") if compared else finding


def improves_with_depth(ledgers: Ledgers, recipe: str, column: str) -> Finding:
    """Points that a method gains on Semeion from each depth that was run to the next."""
    of_depth = _scaled(ledgers, recipe, "figure2", "semeion", column)
    return judge(
        {
            ("semeion", f"depth {deeper} − depth {depth}"): paired(
                of_depth[deeper], of_depth[depth]
            )
            for depth, deeper in pairwise(of_depth)
        }
    )


def rises_with_width(ledgers: Ledgers, recipe: str) -> Finding:
    """Points that SAL gains a doubling of width; no step may be shown to lose."""
    if recipe == "tuned":
        return NOT_ASKED
    asked, steps = {}, {}
    for dataset in scaling.PAPERS:
        whole, own = trend(dataset, "width", _scaled(ledgers, recipe, "figure3", dataset, "SAL-4"))
        asked, steps = asked | whole, steps | own
    return judge(asked, steps)


def is_ahead_at_every_width(ledgers: Ledgers, recipe: str) -> Finding:
    """Points by which SAL is ahead of the baseline, width by width; one not run is not shown."""
    if recipe == "tuned":
        return NOT_ASKED
    asked = {}
    for dataset in scaling.PAPERS:
        sal, bp = (
            _scaled(ledgers, recipe, "figure3", dataset, column) for column in ("SAL-4", "Baseline")
        )
        for width in scaling.EXPERIMENTS["figure3"].values:
            asked[dataset, f"SAL-4 − Baseline, width {width}"] = paired(
                sal.get(width, {}), bp.get(width, {})
            )
    return judge(asked)


def does_not_collapse(ledgers: Ledgers, recipe: str) -> Finding:
    """Whether one area takes nearly all samples after the last epoch in most seeds of a cell.

    Cells, a data set and K, that have all seeds; of the runs that did not diverge.
    """
    busiest = {}
    for dataset in DATASETS:
        for k in (2, 4, 8, 16):
            rows = ledgers.rows(recipe, dataset, f"SAL-{k}")
            if len(rows) >= SEEDS:
                for seed, row in finished(rows).items():
                    cell = f"{DATASETS[dataset].title} SAL-{k}"
                    busiest[cell, seed] = max(row["history"]["usage:layer0"][-1])
    if not busiest:
        return NOT_RUN
    shares = pd.Series(busiest)
    of_cell = (shares > COLLAPSED).groupby(level=0, sort=False)
    collapsed = [cell for cell, runs in of_cell.sum().items() if runs > SEEDS / 2]
    text = (
        f"in {len(collapsed)} of {of_cell.ngroups} cells (data set and K) one area takes more than "
        f"{COLLAPSED:.0%} of the validation part in most seeds"
        f"{': ' + ', '.join(collapsed) if collapsed else ''}; in {(shares > COLLAPSED).sum()} of "
        f"{len(shares)} runs; the busiest takes {shares.median():.0%} in the median run, "
        f"{shares.max():.0%} at most"
    )
    return Finding(NOT if collapsed else HOLDS, text)


def is_sensitive_to_routing(ledgers: Ledgers, recipe: str) -> Finding:
    """Standard deviation of accuracy over draws of router and prototypes, all else the same.

    *Holds* where the interval of one net's lies above a point, *does not hold* where all lie below;
    95 % over all nets together (chi-square with Bonferroni's correction, for normal accuracies).
    """
    spreads = routing.spreads(ledgers.of_tables, ledgers.of(routing.EXPERIMENT))
    found = {
        cell: own for cell, own in spreads.items() if (cell[1], cell[3]) == (recipe, "routing")
    }
    if not found:
        return NOT_RUN
    parts = []
    for (dataset, _, k, _), own in found.items():
        text = f"{DATASETS[dataset].title} SAL-{k} {own.std:.1f} ({own.low:.1f} to {own.high:.1f})"
        other = spreads.get((dataset, recipe, k, "all else"))
        parts.append(text + (f", all else {other.std:.1f}" if other else ""))
    text = (
        f"points over {routing.DRAWS} draws: {'; '.join(parts)}; it holds if the interval of one "
        f"net lies above {MATTERS:g} point"
    )
    if any(own.low > MATTERS for own in found.values()):
        return Finding(HOLDS, text)
    below = all(own.high < MATTERS for own in found.values())
    return Finding(NOT if below else OPEN, text)


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
    Updates of samples in areas of their own do not meet, whoever chose the areas: what is the
    router's is told by areas that a hash of the input chooses.
    """
    conflict = _probed(ledgers, recipe, "conflict:layer0")
    return judge(
        {
            (dataset, f"{other} − {column}"): paired(
                conflict.get((dataset, other), {}), conflict.get((dataset, column), {})
            )
            for dataset, column, other in _beside_sal(others)
        }
    )


def agrees_within_an_area(ledgers: Ledgers, recipe: str, others: Sequence[str]) -> Finding:
    """How much larger the cosine of two classes' updates of one area is in SAL: first layer.

    The mean over all epochs, pairs of classes, and areas that both move.
    """
    cosine = _probed(ledgers, recipe, "within:layer0")
    return judge(
        {
            (dataset, f"{column} − {other}"): paired(
                cosine.get((dataset, column), {}), cosine.get((dataset, other), {})
            )
            for dataset, column, other in _beside_sal(others)
        }
    )


def _beside_sal(others: Sequence[str]) -> list[tuple[str, str, str]]:
    """(data set, SAL-K, another method), K in its name replaced by SAL's."""
    return [
        (dataset, f"SAL-{k}", other.replace("K", str(k)))
        for dataset in mechanism.DATASETS_ASKED
        for k in (4, 16)
        for other in others
    ]


def _probed(ledgers: Ledgers, recipe: str, quantity: str) -> dict[tuple[str, str], Values]:
    """(data set, column) -> a quantity's mean over the epochs where it is defined."""
    by_run = ledgers.of(mechanism.EXPERIMENT)
    cells = mechanism.runs(ledgers.of_tables, mechanism.DATASETS_ASKED)
    found = {}
    for (dataset, of, column), own in cells.items():
        if of == recipe:
            rows = finished(there(by_run, own))
            values = {
                seed: [value for value in row["history"].get(quantity, []) if value is not None]
                for seed, row in rows.items()
            }
            found[dataset, column] = {s: float(np.mean(each)) for s, each in values.items() if each}
    return found
