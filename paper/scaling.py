"""Figures 2 and 3: accuracy against depth and width of deep nets (sections 4.2 and 4.3).

``python -m paper.scaling figure2 --help`` lists the options; ``nox -s reproduce_figure2 --
OPTIONS`` is the same, and so for figure 3.

Depth L counts matrices, as the paper's "two-layer" net of one hidden layer does: L - 1 hidden
layers of W units. Hidden layers are tanh but the first, which is linear as the output is; each
whose sizes agree has a residual connection; SAL has 4 areas in all but the output layer.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from rich.console import Console

from baselines import learner_class
from paper import paths, render, style
from paper.cells import SEEDS, Measured, measure
from paper.methods import configuration
from paper.options import add_machine_options, carry_out, count, not_at_hand, of_the_paper
from paper.results import LedgerError, check_writable, current, read
from paper.runner import make, missing
from sal.config import NetConfig
from sal.data import DATASETS
from sal.run import Run, set_up_device
from sal.streams import Streams
from sal.train import Protocol

AREAS = 4
PAPERS = ("cifar10", "fer2013", "semeion", "stl10")
METRICS = ("accuracy", "train_loss", "val_loss")
TIMED_STEPS = 3
MOST_BYTES = 6e9
"""Of weights, of a net whose step is timed: more may not fit beside other work."""


@dataclass(frozen=True)
class Experiment:
    """One figure: what varies, over which values, and for whom."""

    name: str
    """Of the ledger, and of what varies."""
    values: tuple[int, ...]
    methods: Mapping[str, tuple[str, ...]]
    """Data set -> methods."""
    title: str
    axis: str
    published: str
    """What the paper says of it, which gives no numbers."""

    def shape(self, value: int) -> tuple[int, ...]:
        """Sizes of the hidden layers."""
        depth, width = (value, 256) if self.name == "depth" else (64, value)
        return (width,) * (depth - 1)


EXPERIMENTS = {
    "figure2": Experiment(
        name="depth",
        values=(2, 4, 8, 16, 32, 64, 128),
        methods={name: ("bp", "sal") for name in PAPERS} | {"semeion": ("bp", "sal", "fa", "dfa")},
        title="Figure 2: validation accuracy against depth, 256 hidden units, SAL with K = 4",
        axis="depth (matrices)",
        published="the gap between SAL and the baseline grows with depth; the baseline degrades at "
        "great depth, SAL stays comparatively stable; on Semeion BP improves steadily",
    ),
    "figure3": Experiment(
        name="width",
        values=(256, 512, 1024, 2048, 4096),
        methods={name: ("bp", "sal") for name in PAPERS},
        title="Figure 3: validation accuracy against width, 64 layers, SAL with K = 4",
        axis="hidden units",
        published="SAL's bound and learning efficiency improve with width; on Semeion it is "
        "clearly ahead of the baseline",
    ),
}
SESSION = "reproduce_figure2 reproduce_figure3"

Cells = dict[tuple[str, str, int], list[Run]]


def deep(name: str, hidden: Sequence[int]) -> NetConfig:
    """A method's configuration on the nets of sections 4.2 and 4.3."""
    config = replace(
        configuration(name, None),
        hidden=tuple(hidden),
        activation="tanh",
        input_activation="linear",
        residual="after",
    )
    has_areas = "areas" in type(config).__dataclass_fields__
    return replace(config, areas=(AREAS,) * len(hidden)) if has_areas else config


def runs(
    experiment: Experiment,
    datasets: Sequence[str] = PAPERS,
    values: Sequence[int] | None = None,
    methods: Sequence[str] | None = None,
    seeds: int = SEEDS,
) -> Cells:
    """The runs of each (data set, method, depth or width).

    Raises:
        ValueError: A value, a data set or a method that the figure does not have.
    """
    values = experiment.values if values is None else values
    if surplus := sorted(set(values) - set(experiment.values)):
        raise ValueError(f"{experiment.name} must be of {experiment.values}, got {surplus}")
    known = {method for own in experiment.methods.values() for method in own}
    if surplus := sorted(set(methods or ()) - known):
        raise ValueError(f"methods must be of {sorted(known)}, got {surplus}")
    if surplus := sorted(set(datasets) - set(PAPERS)):
        raise ValueError(f"data sets must be of {PAPERS}, got {surplus}")
    return {
        (dataset, method, value): [
            Run(
                dataset=dataset,
                learner=method,
                config=deep(method, experiment.shape(value)),
                seed=seed,
            )
            for seed in range(seeds)
        ]
        for dataset in datasets
        for method in experiment.methods[dataset]
        if methods is None or method in methods
        for value in values
    }


Found = Mapping[tuple[str, str, int], Mapping[str, Measured]]


def found(experiment: Experiment, rows: Sequence[Mapping[str, Any]]) -> Found:
    """What a ledger has of each cell, by metric."""
    by_run = current(rows)
    return {
        cell: {metric: measure(by_run, own, metric) for metric in METRICS}
        for cell, own in runs(experiment).items()
    }


def table(experiment: Experiment, cells: Found) -> pd.DataFrame:
    """The plotted numbers, one line a cell and metric; cells that were not run have n = 0."""
    return pd.DataFrame(
        {
            "dataset": DATASETS[dataset].title,
            "method": method,
            experiment.name: value,
            "metric": metric,
            "mean": m.mean,
            "std": m.std,
            "n": len(m.values),
            "diverged": m.diverged,
        }
        for (dataset, method, value), metrics in cells.items()
        for metric, m in metrics.items()
    )


def pages(place: paths.Place) -> dict[Path, str]:
    """The generated files of both figures but the figures, from the ledgers alone."""
    return {path: text for name in EXPERIMENTS for path, text in _pages(place, name).items()}


def _pages(place: paths.Place, name: str) -> dict[Path, str]:
    """None without rows."""
    experiment = EXPERIMENTS[name]
    rows, _ = read(place.ledger(experiment.name))
    if not rows:
        return {}
    cells, hours = found(experiment, rows), _hours(place).get(experiment.name, {})
    csv = table(experiment, cells).to_csv(index=False, float_format="%.4f", lineterminator="\n")
    return {
        place.figure(name, "csv"): csv,
        place.table(name, "md"): _page(name, experiment, cells, hours),
    }


def _page(name: str, experiment: Experiment, cells: Found, hours: Mapping[str, float]) -> str:
    notes = [
        f"Generated by `nox -s reproduce_{name}` from `results/{experiment.name}.jsonl`; do not "
        f"edit. Accuracy in percent after {Protocol.epochs} epochs, mean ± sample standard "
        f"deviation over {SEEDS} seeds (n where not). *not run*: no result here; the hours are "
        f"what a measured step takes times the steps of {SEEDS} runs, one core. The paper gives no "
        f"numbers; it says: {experiment.published}.",
    ]
    rows = list(dict.fromkeys((dataset, method) for dataset, method, _ in cells))
    grid = pd.DataFrame(
        [[_text(cells, (*row, value), hours) for value in experiment.values] for row in rows],
        index=[
            f"{DATASETS[name].title}, {learner_class(method).__name__}" for name, method in rows
        ],
        columns=[f"{experiment.name} {value}" for value in experiment.values],
    )
    return render.markdown_page(experiment.title, notes, grid.rename_axis("Data set, method"))


def _text(cells: Found, cell: tuple[str, str, int], hours: Mapping[str, float]) -> str:
    accuracy = cells[cell]["accuracy"]
    time = None if accuracy.values or accuracy.diverged else hours.get(_label(*cell))
    return render.measured(accuracy, "accuracy") + ("" if time is None else f" ({_short(time)} h)")


def _label(dataset: str, method: str, value: int) -> str:
    return f"{DATASETS[dataset].title} {method} {value}"


def _short(hours: float) -> str:
    return f"{hours:.1f}" if hours < 10 else f"{hours:.0f}"


def draw(name: str, frame: pd.DataFrame) -> Figure:
    """One panel a data set: means over seeds, bands of one standard deviation."""
    experiment = EXPERIMENTS[name]
    style.use()
    figure, axes = plt.subplots(1, len(PAPERS), figsize=(11, 3.2))
    accuracy = frame[frame["metric"] == "accuracy"]
    for axis, dataset in zip(axes, PAPERS, strict=True):
        title = DATASETS[dataset].title
        own = accuracy[(accuracy["dataset"] == title) & (accuracy["n"] > 0)]
        seeds = sorted(set(own["n"]))
        number = "not run" if own.empty else f"n = {', '.join(map(str, seeds))}"
        axis.set_title(f"{title} ({number})")
        for method in experiment.methods[dataset]:
            line = own[own["method"] == method]
            if line.empty:
                continue
            x, std = line[experiment.name], line["std"].fillna(0)
            colour = style.COLOURS[method]
            label = learner_class(method).__name__
            axis.plot(x, line["mean"], color=colour, marker=style.MARKERS[method], label=label)
            axis.fill_between(
                x, line["mean"] - std, line["mean"] + std, color=colour, alpha=0.2, linewidth=0
            )
        axis.set_xscale("log", base=2)
        axis.set_xticks(experiment.values, [str(value) for value in experiment.values])
        axis.minorticks_off()
        axis.set_xlim(experiment.values[0] / 1.3, experiment.values[-1] * 1.3)
        axis.set_xlabel(experiment.axis)
        if own.empty:
            axis.set_yticks([])
        else:
            axis.legend()
    axes[0].set_ylabel("validation accuracy (%)")
    figure.suptitle(f"{experiment.title}; mean ± std over seeds")
    return figure


def step_seconds(config: NetConfig, name: str, inputs: int, classes: int) -> float:
    """Seconds of a training step of batch 16 here, one thread, the best of a few."""
    torch.set_num_threads(1)
    learner = learner_class(name)(config, inputs, classes, [Streams(0)])
    x_NX = torch.rand(Protocol.batch_size, inputs)
    y_N = torch.randint(0, classes, (Protocol.batch_size,))
    order_RM = torch.arange(Protocol.batch_size)[None].repeat(1, TIMED_STEPS)
    best = float("inf")
    for _ in range(2):
        start = time.perf_counter()
        learner.epoch(x_NX, y_N, order_RM, Protocol.batch_size, Protocol.lr)
        best = min(best, (time.perf_counter() - start) / TIMED_STEPS)
    return best


def time_steps(place: paths.Place, experiment: Experiment, console: Console) -> None:
    """Measures what the cells that were not run would take, for the page."""
    by_run = current(read(place.ledger(experiment.name))[0])
    times = {}
    for (dataset, method, value), own in runs(experiment).items():
        spec, m = DATASETS[dataset], measure(by_run, own, "accuracy")
        if m.values or m.diverged:
            continue
        inputs = spec.size[0] * spec.size[1]
        label, config = _label(dataset, method, value), own[0].config
        if (needed := weight_bytes(config, inputs, spec.n_classes)) > MOST_BYTES:
            console.print(f"{label}: not timed, its weights are {needed / 1e9:.1f} GB")
            continue
        seconds = step_seconds(config, method, inputs, spec.n_classes)
        steps = spec.counts["train"] / Protocol.batch_size * Protocol.epochs * SEEDS
        times[label] = round(steps * seconds / 3600, 3)
        console.print(f"{label}: {seconds * 1e3:.1f} ms a step, {times[label]:.1f} hours")
    known = _hours(place) | {experiment.name: times}
    paths.write({_hours_file(place): json.dumps(known, indent=1, sort_keys=True) + "\n"})


def weight_bytes(config: NetConfig, inputs: int, classes: int) -> int:
    """Bytes of a net's weights in float32."""
    areas = getattr(config, "layer_areas", lambda layer: 1)
    sizes = config.sizes(inputs, classes)
    return 4 * sum(areas(layer) * D * H for layer, (D, H) in enumerate(sizes))


def _hours_file(place: paths.Place) -> Path:
    return place.root / "results" / "hours_not_run.json"


def _hours(place: paths.Place) -> dict[str, dict[str, float]]:
    """Figure's experiment -> cell -> hours."""
    try:
        return json.loads(_hours_file(place).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 0 only if all that was asked for is there."""
    parser = argparse.ArgumentParser(
        prog="python -m paper.scaling",
        description="Trains what the ledger does not hold yet, and draws the figure from it.",
    )
    parser.add_argument("figure", choices=EXPERIMENTS)
    parser.add_argument("--datasets", nargs="+", metavar="NAME", help=f"of {', '.join(PAPERS)}")
    parser.add_argument("--values", nargs="+", type=count, metavar="N", help="depths or widths")
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help="such as bp sal")
    parser.add_argument("--seeds", type=count, metavar="N", default=SEEDS, help="seeds 0 to N-1")
    parser.add_argument(
        "--time", action="store_true", help="run nothing; time a step of what was not run"
    )
    parser.add_argument("--render-only", action="store_true", help="only draw what is there")
    add_machine_options(parser)
    options = parser.parse_args(arguments)
    return carry_out(lambda console: _run(options, console))


def _run(options: argparse.Namespace, console: Console) -> int:
    experiment, place = EXPERIMENTS[options.figure], paths.committed()
    failures: dict[str, object] = {}
    if options.time:
        time_steps(place, experiment, console)
    elif not options.render_only:
        set_up_device(options.device)
        names = [of_the_paper(name) for name in options.datasets or PAPERS]
        cells = runs(experiment, names, options.values, options.methods, options.seeds)
        every = sorted((run for own in cells.values() for run in own), key=lambda run: run.seed)
        ledger = place.ledger(experiment.name)
        check_writable(ledger)
        needed = {run.dataset for run in missing(every, read(ledger)[0])}
        absent, corrupt = not_at_hand(sorted(needed))
        todo = [run for run in every if run.dataset not in absent | corrupt]
        summary = make(
            todo, experiment.name, place, console, device=options.device, jobs=options.jobs
        )
        failures = {DATASETS[name].title: error for name, error in corrupt.items()} | summary.failed
        if options.datasets:
            failures |= {DATASETS[name].title: error for name, error in absent.items()}
        elif absent:
            titles = ", ".join(DATASETS[name].title for name in absent)
            console.print(f"left out, not at hand: {titles}", highlight=False)
    write(place, options.figure, console)
    for label, why in failures.items():
        print(f"error: {label}: {why}", file=sys.stderr)
    return 1 if failures else 0


def write(place: paths.Place, name: str, console: Console) -> None:
    """Writes a figure, its numbers and its page.

    Raises:
        LedgerError: A file cannot be written.
    """
    texts = _pages(place, name)
    if not texts:
        console.print("nothing was run yet: no figure")
        return
    try:
        paths.write(texts)
        experiment = EXPERIMENTS[name]
        cells = found(experiment, read(place.ledger(experiment.name))[0])
        style.save({name: draw(name, table(experiment, cells))}, place)
    except OSError as error:
        raise LedgerError(f"cannot write {error.filename}: {error.strerror}") from error
    figures, page = place.figure(name, "{pdf,png,csv}"), place.table(name, "md")
    console.print(f"written: {figures}, {page}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
