"""Are deep and wide nets numerically healthy? Norms of activations and updates, areas in use.

``python -m paper.health --help`` lists the options; ``nox -s health -- OPTIONS`` is the same.

Axes: R replicas (one), B samples of a batch, D inputs and H outputs of a layer, K areas.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from rich.console import Console
from torch import Tensor

from baselines import learner_class
from paper import measured, paths, style
from paper.provenance import provenance
from paper.scaling import deep
from sal import credit
from sal.data import load
from sal.data.partition import Partition, partition
from sal.net import forward
from sal.netlearner import NetLearner
from sal.streams import Streams
from sal.train import Protocol, epoch_order

NAME = SESSION = "health"
DATASET, DEPTH, WIDTH = "semeion", 128, 256
METHODS = ("bp", "sal")
EPOCHS = (0, 1, 5, 25)
MEASURES = {
    "activation": "RMS of a layer's output",
    "update": "RMS of a step's change / RMS of the weights",
    "areas_used": "share of areas that a batch uses",
}


def measure(learner: NetLearner, x_RBD: Tensor, y_RB: Tensor, lr: float) -> list[dict[str, float]]:
    """Each layer's numbers on a batch, the first layer first; changes nothing.

    One layer's products are made at a time, so that a large net needs little more memory.
    """
    layers = learner.layers(learner.tensors())
    engine = next(name for name in learner.engines if name != "compiled")
    z_RBC, traces = forward(layers, x_RBD, engine)
    outputs = [*(trace.x_RBD for trace in traces[1:]), z_RBC]
    deltas = credit.errors(layers, traces, z_RBC, y_RB, learner.rule, engine)
    found = []
    for layer, trace, out_RBH, delta_RBH in zip(
        *map(reversed, (layers, traces, outputs)), deltas, strict=True
    ):
        _, K, D, H = layer.weight_RKDH.shape
        batch = y_RB.shape[1]
        area_B = torch.zeros(batch, dtype=torch.int64) if K == 1 else trace.area_RB[0]
        share = {"share": K, "batch": 1}[learner.rule.area_norm]
        change = weight = 0.0
        for k in area_B.unique().tolist():
            of_k = area_B == k
            step_DH = trace.x_RBD[0, of_k].T @ delta_RBH[0, of_k]
            change += step_DH.square().sum().item()
            weight += layer.weight_RKDH[0, k].square().sum().item()
        used = len(area_B.unique())
        found.append(
            {
                "activation": math.sqrt(out_RBH.square().mean().item()),
                "update": lr * layer.rate * share / batch * math.sqrt(change / max(weight, 1e-300)),
                "areas_used": used / K,
            }
        )
    return found[::-1]


def measured_layers(
    learner: NetLearner, x_RBD: Tensor, y_RB: Tensor, when: str
) -> list[dict[str, Any]]:
    """``measure``, the mean over batches of the protocol's size, as lines of a result."""
    batches = zip(*(part.split(Protocol.batch_size, dim=1) for part in (x_RBD, y_RB)), strict=True)
    numbers = [measure(learner, *own, Protocol.lr) for own in batches]
    return [
        {
            **{"method": learner.name, "when": when, "layer": layer},
            **{key: statistics.fmean(own[key] for own in of_layer) for key in MEASURES},
        }
        for layer, of_layer in enumerate(zip(*numbers, strict=True), start=1)
    ]


def train(name: str, data: Partition, classes: int, console: Console) -> list[dict[str, Any]]:
    """Numbers of every layer of one deep net after each of ``EPOCHS``."""
    streams = [Streams(0)]
    config = deep(name, (WIDTH,) * (DEPTH - 1))
    learner = learner_class(name)(config, data.train_x_ND.shape[1], classes, streams)
    index_RB, lines = data.train_index_RN[:, :256], []
    for epoch in range(max(EPOCHS) + 1):
        if epoch in EPOCHS:
            x_RBD, y_RB = data.train_x_ND[index_RB], data.train_y_N[index_RB]
            when = f"after {epoch} epochs" if epoch else "at the start"
            lines += measured_layers(learner, x_RBD, y_RB, when)
            console.print(f"{name}, depth {DEPTH}: measured after {epoch} epochs")
        if epoch < max(EPOCHS):
            order_RN = epoch_order(streams, epoch, data.train_index_RN.shape[1])
            learner.epoch(
                data.train_x_ND,
                data.train_y_N,
                data.train_index_RN.gather(1, order_RN),
                Protocol.batch_size,
                Protocol.lr,
            )
    return lines


def pages(place: paths.Place) -> dict[Path, str]:
    """The plotted numbers; none where nothing was measured."""
    result = measured.read(place, NAME)
    if result is None:
        return {}
    csv = pd.DataFrame(result["layers"]).to_csv(
        index=False, float_format="%.6g", lineterminator="\n"
    )
    return {place.figure(NAME, "csv"): csv}


def draw(result: measured.Result) -> Figure:
    """The deep nets."""
    return panels(
        pd.DataFrame(result["layers"]),
        f"Health of nets of {DEPTH} layers of {WIDTH} units on Semeion, one seed, 16 batches "
        "of 16, step size 1e-4",
    )


def panels(frame: pd.DataFrame, title: str) -> Figure:
    """A row of panels a method, a line for each time; ``frame``: lines of ``measured_layers``."""
    style.use()
    methods, times = list(dict.fromkeys(frame["method"])), list(dict.fromkeys(frame["when"]))
    figure, axes = plt.subplots(
        len(methods),
        len(MEASURES),
        figsize=(11, 2.3 * len(methods) + 0.6),
        sharex=True,
        sharey="col",
        squeeze=False,
    )
    shades = plt.get_cmap("viridis")
    for row, method in zip(axes, methods, strict=True):
        for axis, (column, text) in zip(row, MEASURES.items(), strict=True):
            own = frame[frame["method"] == method]
            for number, when in enumerate(times):
                line = own[own["when"] == when]
                colour = shades(number / len(times))
                axis.plot(line["layer"], line[column], color=colour, label=when, linewidth=1.2)
            if column == "areas_used":
                axis.set_ylim(0, 1.05)
            else:
                axis.set_yscale("log")
            if method == methods[0]:
                axis.set_title(text)
            if method == methods[-1]:
                axis.set_xlabel("layer")
        row[0].set_ylabel(learner_class(method).__name__)
    axes[0, 0].legend()
    figure.suptitle(title)
    return figure


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    options = measured.parser("paper.health", __doc__.splitlines()[0]).parse_args(arguments)
    return measured.command(NAME, _measure, pages, draw, options.render_only)


def _measure(console: Console) -> dict[str, Any]:
    torch.set_num_threads(1)
    where, data = provenance("cpu"), load(DATASET)
    parts = partition(data, [Streams(0)])
    lines = [line for name in METHODS for line in train(name, parts, data.n_classes, console)]
    return {**where, "depth": DEPTH, "width": WIDTH, "layers": lines}


if __name__ == "__main__":
    raise SystemExit(main())
