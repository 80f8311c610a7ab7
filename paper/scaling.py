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
import math
import re
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
from torch import Tensor

from baselines import learner_class
from paper import paths, render, style
from paper.cells import SEEDS, Measured, measure, rows_of
from paper.methods import configuration
from paper.options import add_machine_options, carry_out, count, of_the_paper, seeds, train
from paper.provenance import provenance
from paper.results import current, read
from paper.settings import PUBLISHED
from sal.config import NetConfig
from sal.data import DATASETS, DataError, load
from sal.data.partition import partition
from sal.run import Run
from sal.streams import Streams
from sal.train import Protocol

AREAS = 4
PAPERS = ("cifar10", "fer2013", "semeion", "stl10")
METRICS = ("accuracy", "train_loss", "val_loss")
TIMED_STEPS = 3
OVERHEAD, LIBRARIES = 0.05, 5e8
"""Memory of a process that trains, besides its parameters: as a share of their bytes, measured
less; and PyTorch's own bytes."""


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
        published='SAL "consistently improves the convergence upper bound and learning efficiency '
        'across various network widths"; on Semeion it "yields notable performance gains over the '
        'baseline"',
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
    found = {
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
    if not found:
        raise ValueError(f"{experiment.name} has no {methods} on {datasets}")
    return found


Found = Mapping[tuple[str, str, int], Mapping[str, Measured]]
Times = Mapping[str, Mapping[str, Any]]
"""Cell -> seconds a step, hours, and where they were measured."""


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
    cells, times = found(experiment, rows), _times(place)
    csv = table(experiment, cells).to_csv(index=False, float_format="%.4f", lineterminator="\n")
    return {
        place.figure(name, "csv"): csv,
        place.table(name, "md"): _page(name, experiment, cells, times, _devices(experiment, rows)),
    }


def _devices(experiment: Experiment, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    by_run = current(rows)
    return render.other_devices(
        {_label(*cell): rows_of(by_run, own) for cell, own in runs(experiment).items()}
    )


def _page(
    name: str, experiment: Experiment, cells: Found, times: Times, devices: Sequence[str]
) -> str:
    notes = [
        f"Generated by `nox -s reproduce_{name}` from `results/{experiment.name}.jsonl`; do not "
        f"edit. Accuracy in percent after {Protocol.epochs} epochs, mean ± sample standard "
        f"deviation over {SEEDS} seeds (n where not). SAL's setting: `{PUBLISHED}` "
        "(`paper/settings.py`). *not run*: no result here; the hours are what a measured step "
        f"takes times the steps of {SEEDS} runs, one core, evaluation aside. The paper gives no "
        f"numbers; it says: {experiment.published}.",
        *devices,
    ]
    rows = list(dict.fromkeys((dataset, method) for dataset, method, _ in cells))
    grid = pd.DataFrame(
        [[_text(cells, (*row, value), times) for value in experiment.values] for row in rows],
        index=[
            f"{DATASETS[name].title}, {learner_class(method).__name__}" for name, method in rows
        ],
        columns=[f"{experiment.name} {value}" for value in experiment.values],
    )
    return render.markdown_page(experiment.title, notes, grid.rename_axis("Data set, method"))


def _text(cells: Found, cell: tuple[str, str, int], times: Times) -> str:
    accuracy = cells[cell]["accuracy"]
    own = None if accuracy.values or accuracy.diverged else times.get(_label(*cell))
    text = render.measured(accuracy, "accuracy")
    if own is None:
        return text
    return f"{text} ({1e3 * own['seconds_a_step']:.0f} ms a step, {_short(own['hours'])} h)"


def _label(dataset: str, method: str, value: int) -> str:
    return f"{DATASETS[dataset].title} {method} {value}"


def _short(hours: float) -> str:
    return f"{hours:.1f}" if hours < 10 else f"{hours:.0f}"


def draw(name: str, frame: pd.DataFrame) -> Figure:
    """One panel a data set: means over seeds, bands of one standard deviation."""
    experiment = EXPERIMENTS[name]
    style.use()
    figure, axes = plt.subplots(1, len(PAPERS), figsize=(11, 3.5))
    accuracy = frame[frame["metric"] == "accuracy"]
    for axis, dataset in zip(axes, PAPERS, strict=True):
        title = DATASETS[dataset].title
        own = accuracy[accuracy["dataset"] == title]
        seeds, diverged = sorted(set(own["n"]) - {0}), own["diverged"].sum()
        parts = [f"n = {', '.join(map(str, seeds))}"] if seeds else []
        parts += [f"{diverged} diverged"] if diverged else []
        axis.set_title(f"{title} ({', '.join(parts) or 'not run'})")
        own = own[own["n"] > 0]
        for method in experiment.methods[dataset]:
            line = own[own["method"] == method]
            if not line.empty:
                label, marker = learner_class(method).__name__, style.MARKERS[method]
                style.band(axis, line[experiment.name], line, method, label, marker)
        axis.set_xscale("log", base=2)
        axis.set_xticks(experiment.values, [str(value) for value in experiment.values])
        axis.minorticks_off()
        axis.set_xlim(experiment.values[0] / 1.3, experiment.values[-1] * 1.3)
        axis.set_xlabel(experiment.axis)
        if own.empty:
            axis.set_yticks([])
    lines = {line.get_label(): line for axis in axes for line in axis.lines}
    figure.legend(lines.values(), lines, loc="outside lower center", ncols=max(1, len(lines)))
    axes[0].set_ylabel("validation accuracy (%)")
    figure.suptitle(f"{experiment.title}; mean ± std over seeds")
    return figure


def step_seconds(config: NetConfig, name: str, x_NX: Tensor, classes: int) -> float:
    """Seconds of a training step on these samples, batch 16, one thread, the best of a few."""
    torch.set_num_threads(1)
    learner = learner_class(name)(config, x_NX.shape[1], classes, [Streams(0)])
    y_N = torch.zeros(len(x_NX), dtype=torch.int64)
    best = math.inf
    for order_RM in torch.arange(len(x_NX))[None].split(TIMED_STEPS * Protocol.batch_size, dim=1):
        start = time.perf_counter()
        learner.epoch(x_NX, y_N, order_RM, Protocol.batch_size, Protocol.lr)
        steps = math.ceil(order_RM.shape[1] / Protocol.batch_size)
        best = min(best, (time.perf_counter() - start) / steps)
    return best


def time_steps(place: paths.Place, experiment: Experiment, cells: Cells, console: Console) -> None:
    """Measures a step of each cell that was not run, and what its runs would take, for the page.

    On the data set's own samples, or on uniform noise where it is not at hand. Keeps each cell as
    soon as it is measured. Evaluation is not counted.
    """
    by_run = current(read(place.ledger(experiment.name))[0])
    free, where = available_bytes(), provenance("cpu")
    for (dataset, method, value), own in cells.items():
        spec, m = DATASETS[dataset], measure(by_run, own, "accuracy")
        if m.values or m.diverged:
            continue
        label, config = _label(dataset, method, value), own[0].config
        inputs = spec.size[0] * spec.size[1]
        size = weight_bytes(config, inputs, spec.n_classes)
        if size * (1 + OVERHEAD) + LIBRARIES > free:
            console.print(f"{label}: not timed, its weights are {size / 1e9:.1f} GB")
            continue
        x_NX, samples = _samples(dataset, inputs)
        seconds = step_seconds(config, method, x_NX, spec.n_classes)
        hours = samples / Protocol.batch_size * Protocol.epochs * SEEDS * seconds / 3600
        known = _times(place)
        known[label] = {"seconds_a_step": round(seconds, 5), "hours": round(hours, 3), **where}
        paths.write({_times_file(place): json.dumps(known, indent=1, sort_keys=True) + "\n"})
        console.print(f"{label}: {seconds * 1e3:.1f} ms a step, {hours:.1f} hours")


def _samples(dataset: str, inputs: int) -> tuple[Tensor, int]:
    """Some training samples, and how many there are."""
    some = 2 * TIMED_STEPS * Protocol.batch_size
    try:
        parts = partition(load(dataset), [Streams(0)])
    except DataError:
        return torch.rand(some, inputs) * 2 - 1, DATASETS[dataset].counts["train"]
    return parts.train_x_ND[parts.train_index_RN[0, :some]], parts.train_index_RN.shape[1]


def available_bytes() -> int:
    """Memory that can be had without swapping, of the machine and of the group of processes."""
    text = Path("/proc/meminfo").read_text()
    free = 1024 * int(re.search(r"MemAvailable:\s+(\d+)", text)[1])
    group = Path("/sys/fs/cgroup")
    if (limit := group / "memory.max").exists() and (most := limit.read_text().strip()) != "max":
        cached = re.search(r"^inactive_file (\d+)", (group / "memory.stat").read_text(), re.M)
        used = int((group / "memory.current").read_text()) - int(cached[1])
        free = min(free, int(most) - used)
    return free


def weight_bytes(config: NetConfig, inputs: int, classes: int) -> int:
    """Bytes of a net's weights in float32."""
    areas = getattr(config, "layer_areas", lambda layer: 1)
    sizes = config.sizes(inputs, classes)
    return 4 * sum(areas(layer) * D * H for layer, (D, H) in enumerate(sizes))


def _times_file(place: paths.Place) -> Path:
    return place.root / "results" / "not_run.json"


def _times(place: paths.Place) -> dict[str, dict[str, Any]]:
    """Cell -> seconds a step, hours, and where they were measured."""
    try:
        return json.loads(_times_file(place).read_text(encoding="utf-8"))
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
    parser.add_argument("--seeds", type=seeds, metavar="N", default=SEEDS, help="seeds 0 to N-1")
    parser.add_argument(
        "--time", action="store_true", help="run nothing; time a step of what was not run"
    )
    parser.add_argument("--render-only", action="store_true", help="only draw what is there")
    add_machine_options(parser)
    options = parser.parse_args(arguments)
    return carry_out(lambda console: _run(options, console))


def _run(options: argparse.Namespace, console: Console) -> int:
    experiment, place, status = EXPERIMENTS[options.figure], paths.committed(), 0
    if not options.render_only:
        names = [of_the_paper(name) for name in options.datasets or PAPERS]
        cells = runs(experiment, names, options.values, options.methods, options.seeds)
        if options.time:
            time_steps(place, experiment, cells, console)
        else:
            every = [run for own in _that_fit(cells, options.jobs, console) for run in own]
            every.sort(key=lambda run: run.seed)
            by_name = options.datasets is not None
            trained = train(every, experiment.name, place, console, options, by_name)
            status = trained.tell(console)
    write(place, options.figure, console)
    return status


def _that_fit(cells: Cells, jobs: int, console: Console) -> list[list[Run]]:
    """The cells whose nets fit into memory, as many at a time as there are jobs."""
    found, free = [], available_bytes()
    for (dataset, method, value), own in cells.items():
        spec = DATASETS[dataset]
        size = weight_bytes(own[0].config, spec.size[0] * spec.size[1], spec.n_classes)
        if jobs * (size * (1 + OVERHEAD) + LIBRARIES) <= free:
            found.append(own)
        else:
            console.print(
                f"left out: {_label(dataset, method, value)}: {jobs} nets of {size / 1e9:.1f} GB "
                f"do not fit into {free / 1e9:.1f} GB; --jobs 1 needs less",
                highlight=False,
            )
    return found


def write(place: paths.Place, name: str, console: Console) -> None:
    """Writes a figure, its numbers and its page.

    Raises:
        OSError: A file cannot be written.
    """
    texts = _pages(place, name)
    if not texts:
        console.print("nothing was run yet: no figure")
        return
    paths.write(texts)
    experiment = EXPERIMENTS[name]
    cells = found(experiment, read(place.ledger(experiment.name))[0])
    style.save({name: draw(name, table(experiment, cells))}, place)
    figures, page = place.figure(name, "{pdf,png,csv}"), place.table(name, "md")
    console.print(f"written: {figures}, {page}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
