"""How much the draw of router and prototypes moves SAL, all else the same (not in the paper).

The paper says that results are sensitive to how routing starts. Here the data, their order, the
first weights and the feedback stay those of one seed, and only routers and prototypes are drawn
again; beside it, the other way round. At the paper's step size, and at SAL's own.

``python -m paper.routing --help`` lists the options; ``nox -s routing -- OPTIONS`` is the same.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from rich.console import Console
from scipy import stats

from paper import methods, paths, render, style, tuning
from paper.cells import rows_of
from paper.options import add_machine_options, carry_out, of_the_paper, train
from paper.paired import ALPHA
from paper.results import counting
from paper.verdicts import RECIPES, accuracy
from sal.data import DATASETS
from sal.run import Run
from sal.train import Protocol

EXPERIMENT = SESSION = "routing"
METHOD = "sal_redrawn"
DATASETS_ASKED = ("digits", "usps")
AREAS = (4, 16)
DRAWS = 20
FIRST_DRAW = 100
"""The draws' seeds start here: none is the seed of a run of the tables."""
SEED = {"published": tuning.PUBLISHED_SEEDS[0], "tuned": tuning.FRESH[0]}
"""Of everything but routing. The tuned one's step size was not chosen on its test part."""

COLOURS = (style.COLOURS["sal"], "0.55")
PARTS = ("routing", "all else")
"""What is drawn again, while the other stays: all else is the data's order and, where there is no
official test part, their split, the first weights and the feedback."""

ByRun = Mapping[str, Mapping[str, Any]]
Cell = tuple[str, str, int, str]
"""Data set, recipe, K, and what is drawn again."""


@dataclass(frozen=True)
class Spread:
    """Accuracies in percent over the draws, and their sample standard deviation."""

    values: tuple[float, ...]
    std: float
    low: float
    """Of the interval of the standard deviation, as is ``high``: 95 % over all cells together, by
    Bonferroni's correction; from the chi-square distribution, for normal accuracies."""
    high: float


def runs(tuned: ByRun, datasets: Sequence[str]) -> dict[Cell, list[Run]]:
    """The runs of each cell; without those whose step size is not known.

    Args:
        tuned: Rows of the tuning, as ``tuning.ledgers`` gives them.
        datasets: Their names.
    """
    found = {}
    for dataset in datasets:
        for k in AREAS:
            step = tuning.result(tuned, dataset, f"SAL-{k}")["steps"][SEED["tuned"]]
            protocols = {"published": Protocol()}
            if step is not None:
                protocols["tuned"] = Protocol(lr=tuning.rate(step))
            for recipe, protocol in protocols.items():
                for part in PARTS:
                    found[dataset, recipe, k, part] = [
                        _run_of(dataset, k, SEED[recipe], draw, part, protocol)
                        for draw in range(FIRST_DRAW, FIRST_DRAW + DRAWS)
                    ]
    return found


def _run_of(dataset: str, k: int, seed: int, draw: int, part: str, protocol: Protocol) -> Run:
    ours, routing = (seed, draw) if part == "routing" else (draw, seed)
    config = replace(methods.configuration(METHOD, k), routing_seed=routing)
    return Run(dataset=dataset, learner=METHOD, config=config, seed=ours, protocol=protocol)


def spreads(tuned: ByRun, by_run: ByRun) -> dict[Cell, Spread]:
    """The spread of each cell whose draws are all there; a run that diverged guesses.

    Args:
        tuned: Rows of the tuning.
        by_run: Rows of this experiment.
    """
    values = {}
    for cell, own in runs(tuned, DATASETS_ASKED).items():
        rows = rows_of(by_run, own)
        if len(rows) == DRAWS:
            values[cell] = tuple(accuracy(row) for row in rows)
    return {cell: spread(own, len(values)) for cell, own in values.items()}


def spread(values: Sequence[float], cells: int = 1) -> Spread:
    """The standard deviation of values, with its interval among so many cells."""
    std, n = float(np.std(values, ddof=1)), len(values)
    tail = ALPHA / cells / 2
    low, high = (std * math.sqrt((n - 1) / stats.chi2.ppf(q, n - 1)) for q in (1 - tail, tail))
    return Spread(tuple(values), std, low, high)


def table(found: Mapping[Cell, Spread]) -> pd.DataFrame:
    """One line a draw."""
    lines = [
        (DATASETS[dataset].title, recipe, f"SAL-{k}", part, FIRST_DRAW + n, value)
        for (dataset, recipe, k, part), own in found.items()
        for n, value in enumerate(own.values)
    ]
    return pd.DataFrame(lines, columns=["dataset", "recipe", "column", "part", "draw", "accuracy"])


def pages(place: paths.Place) -> dict[Path, str]:
    """The generated files but the figure, from the ledgers alone; none without a full cell."""
    found = _found(place)
    if not found:
        return {}
    csv = table(found).to_csv(index=False, float_format="%.4f", lineterminator="\n")
    return {place.table(EXPERIMENT, "md"): _page(found), place.figure(EXPERIMENT, "csv"): csv}


def _found(place: paths.Place) -> dict[Cell, Spread]:
    return spreads(tuning.ledgers(place), counting(place, EXPERIMENT))


def _page(found: Mapping[Cell, Spread]) -> str:
    notes = [
        f"Generated by `nox -s {SESSION}` from `results/{EXPERIMENT}.jsonl`; do not edit. "
        f"Validation accuracy in percent of runs that differ in one thing. *Routing*: routers and "
        "prototypes are drawn again; data, their order, first weights and feedback are those of "
        f"seed {SEED['published']} at the paper's step size and {SEED['tuned']} at SAL's own "
        "([tuning.md](tuning.md)). *All else*: the other way round; on Digits the part that is "
        "held out is drawn again, too. The interval is of the standard deviation, 95 % over all "
        "lines together.",
    ]
    lines = {
        (DATASETS[dataset].title, recipe, f"SAL-{k}", part): own
        for (dataset, recipe, k, part), own in sorted(
            found.items(), key=lambda cell: (cell[0][1], PARTS.index(cell[0][3]))
        )
    }
    frame = pd.DataFrame(
        {
            "step size": [recipe for _, recipe, *_ in lines],
            "method": [column for *_, column, _ in lines],
            "drawn again": [part for *_, part in lines],
            "draws": [str(len(own.values)) for own in lines.values()],
            "mean": [f"{np.mean(own.values):.2f}" for own in lines.values()],
            "least to most": [
                f"{min(o.values):.2f} to {max(o.values):.2f}" for o in lines.values()
            ],
            "standard deviation": [
                f"{own.std:.2f} ({own.low:.2f} to {own.high:.2f})" for own in lines.values()
            ],
        },
        index=pd.Index([dataset for dataset, *_ in lines], name="Data set"),
    )
    return render.markdown_page("Router and prototypes drawn again", notes, frame)


def draw(frame: pd.DataFrame) -> Figure:
    """A panel a step size, each with its own axis: a dot a draw, minus the mean of its net."""
    style.use()
    figure, axes = plt.subplots(1, len(RECIPES), figsize=(8.5, 3.6), squeeze=False)
    nets = list(dict.fromkeys(zip(frame["dataset"], frame["column"], strict=True)))
    for axis, recipe in zip(axes.flat, RECIPES, strict=True):
        for x, (dataset, column) in enumerate(nets):
            own = frame[(frame["dataset"] == dataset) & (frame["column"] == column)]
            own = own[own["recipe"] == recipe]
            if own.empty:
                axis.text(x, 0, "not run", ha="center", va="center", rotation=90)
            for part, aside, colour in zip(PARTS, (-0.2, 0.2), COLOURS, strict=True):
                values = own[own["part"] == part]["accuracy"].to_numpy()
                places = x + aside + np.linspace(-0.15, 0.15, len(values))
                axis.plot(places, values - values.mean() if len(values) else [], "o", color=colour)
        axis.axhline(0, color="0.4", linewidth=1)
        axis.set_xticks(range(len(nets)), [f"{dataset}\n{column}" for dataset, column in nets])
        axis.set_xlim(-0.6, len(nets) - 0.4)
        axis.set_title("the paper's step size" if recipe == "published" else "SAL's own step size")
    axes[0, 0].set_ylabel("validation accuracy,\npoints from the mean")
    handles = [plt.Line2D([], [], marker="o", linestyle="", color=colour) for colour in COLOURS]
    labels = ["only routers and prototypes drawn again", "all else drawn again"]
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    figure.suptitle(f"What the draw of routing does to SAL: a dot a draw, {DRAWS} each")
    return figure


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 0 only if all that was asked for is there."""
    parser = argparse.ArgumentParser(
        prog="python -m paper.routing",
        description="Trains what the ledger lacks, and draws what it has.",
    )
    default = ", ".join(DATASETS_ASKED)
    parser.add_argument(
        "--datasets", nargs="+", choices=DATASETS_ASKED, metavar="NAME", help=f"of {default}"
    )
    parser.add_argument("--render-only", action="store_true", help="only draw what is there")
    add_machine_options(parser)
    options = parser.parse_args(arguments)
    return carry_out(lambda console: _run(options, console))


def _run(options: argparse.Namespace, console: Console) -> int:
    place, status = paths.committed(), 0
    if not options.render_only:
        names = [of_the_paper(name) for name in options.datasets or DATASETS_ASKED]
        cells = runs(tuning.ledgers(place), names)
        lacking = [
            f"SAL-{k} on {DATASETS[name].title}"
            for name in names
            for k in AREAS
            if (name, "tuned", k, PARTS[0]) not in cells
        ]
        tuning.tell_lacking(lacking, console)
        every = [run for own in cells.values() for run in own]
        by_name = options.datasets is not None
        status = train(every, EXPERIMENT, place, console, options, by_name).tell(console)
        status = 1 if lacking else status
    write(place, console)
    return status


def write(place: paths.Place, console: Console) -> None:
    """Writes the page, the figure and its numbers.

    Raises:
        OSError: A file cannot be written.
    """
    texts = pages(place)
    if not texts:
        console.print("nothing is complete yet: no figure")
        return
    paths.write(texts)
    style.save({EXPERIMENT: draw(table(_found(place)))}, place)
    written = [*texts, place.figure(EXPERIMENT, "{pdf,png}")]
    console.print("written:", *written, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
