"""Figures 4 and 5: SAL against a mixture of experts, over the epochs, for K = 1 to 16.

``python -m paper.against_moe --help`` lists the options; ``nox -s reproduce_figure4 -- OPTIONS``,
and figure 5, are the same. The runs are those of Table 2 and of its ``--learners moe``.

The mixture takes one expert a sample, so that a sample costs what it costs SAL; with K = 1 it is
the baseline, whose runs stand for it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from rich.console import Console

from paper import convergence, methods, paths, style
from paper.cells import SEEDS
from paper.options import add_machine_options, carry_out, count, not_at_hand, of_the_paper
from paper.results import LedgerError, current, key, read
from paper.runner import make
from sal.data import DATASETS
from sal.run import Run, set_up_device
from sal.train import Protocol

EXPERIMENT = convergence.EXPERIMENT
FIGURES = {
    "figure4": ("cifar10", "digits", "semeion", "usps", "fer2013", "svhn"),
    "figure5": ("fashion_mnist", "mnist", "stl10", "pcam"),
}
"""Figure 5 shows these four; which four Figure 4 shows the paper does not say: all the others."""
SESSION = "reproduce_figure4 reproduce_figure5"

Cells = dict[tuple[str, str, int], Sequence[Run]]


def runs(datasets: Sequence[str], seeds: int = SEEDS) -> Cells:
    """The runs of each (data set, method, K)."""
    found: Cells = {}
    for dataset in datasets:
        for name in ("sal", "moe"):
            for k in convergence.AREAS:
                real = "bp" if (name, k) == ("moe", 1) else name
                (own,) = methods.runs([real], [dataset], [k], seeds).values()
                found[dataset, name, k] = own
    return found


def curves(rows: Sequence[Mapping[str, Any]], datasets: Sequence[str]) -> pd.DataFrame:
    """Mean and sample standard deviation over seeds of each epoch's validation accuracy."""
    by_run, lines = current(rows), []
    for (dataset, method, k), own in runs(datasets).items():
        there = [by_run[key(run)] for run in own if key(run) in by_run]
        histories = [row["history"]["accuracy"] for row in there if row["status"] == "ok"]
        by_epoch = pd.DataFrame(histories)
        for epoch in by_epoch:
            lines.append(
                {
                    "dataset": DATASETS[dataset].title,
                    "method": method,
                    "areas": k,
                    "epoch": epoch + 1,
                    "mean": by_epoch[epoch].mean(),
                    "std": by_epoch[epoch].std(),
                    "n": len(histories),
                }
            )
    columns = ["dataset", "method", "areas", "epoch", "mean", "std", "n"]
    return pd.DataFrame(lines, columns=columns)


def pages(place: paths.Place) -> dict[Path, str]:
    """The plotted numbers of both figures, from the ledger alone; none without the mixture."""
    rows, _ = read(place.ledger(EXPERIMENT))
    found = {name: curves(rows, datasets) for name, datasets in FIGURES.items()}
    return {
        place.figure(name, "csv"): frame.to_csv(
            index=False, float_format="%.4f", lineterminator="\n"
        )
        for name, frame in found.items()
        if "moe" in set(frame[frame["areas"] > 1]["method"])
    }


def draw(name: str, frame: pd.DataFrame) -> Figure:
    """A row of panels a data set, one for each K."""
    style.use()
    datasets = FIGURES[name]
    figure, axes = plt.subplots(
        len(datasets),
        len(convergence.AREAS),
        figsize=(11, 1.9 * len(datasets) + 0.6),
        sharex=True,
        sharey="row",
    )
    for row, dataset in zip(axes, datasets, strict=True):
        title = DATASETS[dataset].title
        for axis, k in zip(row, convergence.AREAS, strict=True):
            own = frame[(frame["dataset"] == title) & (frame["areas"] == k)]
            for method in ("sal", "moe"):
                line = own[own["method"] == method]
                if line.empty:
                    continue
                number = "" if set(line["n"]) == {SEEDS} else f" (n = {line['n'].iloc[0]})"
                label = ("SAL" if method == "sal" else "MoE" if k > 1 else "MLP") + number
                colour, std = style.COLOURS[method], line["std"].fillna(0)
                axis.plot(line["epoch"], line["mean"], color=colour, label=label)
                axis.fill_between(
                    line["epoch"],
                    line["mean"] - std,
                    line["mean"] + std,
                    color=colour,
                    alpha=0.2,
                    linewidth=0,
                )
            if own.empty:
                axis.text(0.5, 0.5, "not run", transform=axis.transAxes, ha="center", color="0.4")
                axis.set_yticks([])
            else:
                axis.legend(loc="lower right")
            if axis is row[0]:
                axis.set_ylabel(f"{title}\naccuracy (%)")
            if row is axes[0]:
                axis.set_title(f"K = {k}")
            if row is axes[-1]:
                axis.set_xlabel("epoch")
    number = name.removeprefix("figure")
    figure.suptitle(
        f"Figure {number}: validation accuracy of SAL and of a top-1 mixture of experts, "
        f"mean ± std over {SEEDS} seeds"
    )
    return figure


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 0 only if all that was asked for is there."""
    parser = argparse.ArgumentParser(
        prog="python -m paper.against_moe",
        description="Trains what the ledger does not hold yet, and draws both figures from it.",
    )
    every = [name for datasets in FIGURES.values() for name in datasets]
    parser.add_argument(
        "--datasets",
        nargs="+",
        metavar="NAME",
        help=f"of {', '.join(every)}; default all but {', '.join(convergence.ONLY_BY_NAME)}",
    )
    parser.add_argument("--seeds", type=count, metavar="N", default=SEEDS, help="seeds 0 to N-1")
    parser.add_argument("--render-only", action="store_true", help="only draw what is there")
    add_machine_options(parser)
    options = parser.parse_args(arguments)
    return carry_out(lambda console: _run(options, console))


def _run(options: argparse.Namespace, console: Console) -> int:
    place, failures = paths.committed(), {}
    if not options.render_only:
        set_up_device(options.device)
        asked = [of_the_paper(name) for name in options.datasets or ()]
        default = [name for name in DATASETS if name not in convergence.ONLY_BY_NAME]
        absent, corrupt = not_at_hand(asked or default)
        names = [name for name in asked or default if name not in absent | corrupt]
        todo = [run for own in runs(names, options.seeds).values() for run in own]
        summary = make(todo, EXPERIMENT, place, console, device=options.device, jobs=options.jobs)
        missing = corrupt | (absent if asked else {})
        failures = {DATASETS[name].title: error for name, error in missing.items()}
        failures |= summary.failed
    convergence.write(place, Protocol.epochs, console)
    write(place, console)
    for label, why in failures.items():
        print(f"error: {label}: {why}", file=sys.stderr)
    return 1 if failures else 0


def write(place: paths.Place, console: Console) -> None:
    """Writes both figures and their numbers.

    Raises:
        LedgerError: A file cannot be written.
    """
    rows, _ = read(place.ledger(EXPERIMENT))
    try:
        texts = pages(place)
        paths.write(texts)
        for name, datasets in FIGURES.items():
            if place.figure(name, "csv") in texts:
                style.save({name: draw(name, curves(rows, datasets))}, place)
                written = place.figure(name, "{pdf,png,csv}")
                console.print(f"written: {written}", highlight=False, soft_wrap=True)
    except OSError as error:
        raise LedgerError(f"cannot write {error.filename}: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main())
