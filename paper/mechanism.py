"""What SAL's mechanism does, measured while it trains (not in the paper, which claims it).

After every epoch, on the same samples of each class: how the updates of two classes agree or
conflict, within an area and across areas; the angle between SAL's update and that of
backpropagation through the same net; and what the areas are used for. At the paper's step size and
at each method's own.

Beside backpropagation, a mixture of experts, and SAL with areas by a hash of the input: updates in
areas of their own do not meet, whoever chose the areas, so this is what choosing has to beat.

``python -m paper.mechanism --help`` lists the options; ``nox -s mechanism -- OPTIONS`` is the same.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from rich.console import Console
from scipy.stats import entropy
from sklearn.metrics import adjusted_mutual_info_score
from torch import Tensor

from baselines import learner_class
from paper import entrants, paths, style, tuning
from paper.cells import SEEDS, rows_of
from paper.options import add_machine_options, carry_out, of_the_paper, seeds, train
from paper.results import counting
from sal.data import DATASETS
from sal.data.partition import Partition
from sal.learner import Learner
from sal.run import Run
from sal.streams import Streams

EXPERIMENT = SESSION = "mechanism"
PROBE = "paper.mechanism:probe"
DATASETS_ASKED = ("digits", "fashion_mnist")
CONTROLS = {"SAL-4, hash": "SAL-4", "SAL-16, hash": "SAL-16"}
"""SAL with areas by a hash of the input, at the step size of the one whose control it is."""
COLUMNS = ("Baseline", "SAL-1", "SAL-4", "SAL-16", *CONTROLS, "MoE-4", "MoE-16")
HASHED = "#009E73"
N_CLASSES = {spec.title: spec.n_classes for spec in DATASETS.values()}
PROBED = ("cosine", "conflict", "within", "across", "angle", "information")
"""What the probe gives, by layer."""
PER_CLASS = 1000
"""Training samples of each class whose updates are compared, at most: as many as each class has.
Of a few samples of two classes hardly any meet in an area, whoever chose the areas."""
OF_VALIDATION = 2000
"""Validation samples whose areas are looked at."""
QUANTITIES = {
    "conflict:layer0": "conflict of two classes'\nupdates, first layer",
    "within:layer0": "cosine of two classes'\nupdates within an area",
    "across:layer0": "the same across areas,\nas if they shared weights",
    "angle:layer0": "angle to BP's update,\nfirst layer (degrees)",
    "effective:layer0": "areas in effect / K",
    "information:layer0": "what the area tells of the\nclass (adjusted mutual inf.)",
}
"""What is drawn: quantity, and its layer; its words. The output layer has one area and gets the
output's error as it is, so that its angle is zero."""


def probe(learner: Learner, data: Partition) -> list[dict[str, Any]]:
    """What ``sal.train`` writes into the history of each replica after each epoch; R is 1.

    Raises:
        ValueError: The learner holds several replicas.
    """
    if learner.replicas != 1:
        raise ValueError(f"one replica at a time, got {learner.replicas}")
    index_CB = _of_each_class(data, learner.n_classes)
    y_CB = data.train_y_N[index_CB]
    updates = [
        learner.update(data.train_x_ND[index_B[None]], y_B[None])
        for index_B, y_B in zip(index_CB, y_CB, strict=True)
    ]
    found: dict[str, Any] = {}
    for layer, name in enumerate(_weights(updates[0])):
        areas = learner.areas_of().get(f"layer{layer}", 1)
        update_CKN = torch.stack([own[name].view(areas, -1) for own in updates])
        found |= {f"{what}:layer{layer}": v for what, v in interference(update_CKN).items()}
    if learner.name == "sal":
        x_RBD = data.train_x_ND[index_CB.flatten()[None]]
        found |= alignment(learner, x_RBD, y_CB.flatten()[None])
    index_RB = data.val_index_RM[:, :OF_VALIDATION]
    label_B = data.val_y_M[index_RB[0]].cpu().numpy()
    for name, area_RB in learner.routes(data.val_x_MD[index_RB]).items():
        found[f"information:{name}"] = round(information(area_RB[0].cpu().numpy(), label_B), 5)
    return [found]


def _of_each_class(data: Partition, classes: int) -> Tensor:
    """Indices [C, B] of the first training samples of each class, as many of each.

    Raises:
        ValueError: A class has none.
    """
    index_N = data.train_index_RN[0]
    of_class = [index_N[data.train_y_N[index_N] == c][:PER_CLASS] for c in range(classes)]
    count = min(map(len, of_class))
    if count == 0:
        raise ValueError("each class needs training samples")
    return torch.stack([index_B[:count] for index_B in of_class])


def _weights(update: Mapping[str, Tensor]) -> list[str]:
    """The names of the layers' weights, the first layer's first."""
    names = [name for name in update if name.startswith("weight")]
    return sorted(names, key=lambda name: int(name.removeprefix("weight")))


def interference(update_CKN: Tensor) -> dict[str, float | None]:
    """How the updates of C classes of K areas' N weights agree, over all pairs of classes.

    Returns:
        cosine: mean of cos(U_a, U_b), all areas' weights as one vector; conflict: mean of
        max(0, -cos); within: mean of cos(U_a[k], U_b[k]) over areas that both classes move;
        across: mean of cos(U_a[k], U_b[j]), j not k, as if areas shared their weights. None where
        there is no such pair.
    """
    C, K, _ = update_CKN.shape
    largest_C = update_CKN.abs().flatten(1).amax(1)  # cosines do not depend on a class's scale,
    scaled = update_CKN / largest_C.clamp(min=1e-30)[:, None, None]  # and squares do not vanish
    flat = scaled.flatten(0, 1)
    gram = (flat @ flat.T).double().view(C, K, C, K).cpu().numpy()
    both = np.einsum("akbk->ab", gram)
    a, b = np.triu_indices(C, 1)
    norm_C, norm_CK = np.sqrt(both.diagonal()), np.sqrt(np.einsum("akak->ak", gram))
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = (both / np.outer(norm_C, norm_C))[a, b]
        pairs = (gram / np.multiply.outer(norm_CK, norm_CK))[a, :, b, :]  # [pairs, K, K]
    same = np.eye(K, dtype=bool)
    return {
        "cosine": _mean(cosine),
        "conflict": _mean(np.maximum(-cosine, 0)),
        "within": _mean(pairs[:, same]),
        "across": _mean(pairs[:, ~same]),
    }


def _mean(values: np.ndarray) -> float | None:
    """Of those that are defined."""
    fine = values[np.isfinite(values)]
    return round(float(fine.mean()), 5) if fine.size else None


def alignment(learner: Learner, x_RBD: Tensor, y_RB: Tensor) -> dict[str, float | None]:
    """Angle in degrees, layer by layer, of SAL's update and backpropagation's in the same net."""
    method = learner_class("sal_bp")
    twin = method(learner.config, learner.in_features, learner.n_classes, [Streams(0)])
    twin.to(x_RBD.device)
    state = learner.state_dict()
    twin.load_state_dict({name: state[name] for name in twin.state_dict()})
    ours, theirs = learner.update(x_RBD, y_RB), twin.update(x_RBD, y_RB)
    return {
        f"angle:layer{layer}": _angle(
            ours[name].double().flatten(), theirs[name].double().flatten()
        )
        for layer, name in enumerate(_weights(ours))
    }


def _angle(u_N: Tensor, v_N: Tensor) -> float | None:
    norms = u_N.norm() * v_N.norm()
    if not norms > 0:
        return None
    cosine = ((u_N @ v_N) / norms).item()
    return round(math.degrees(math.acos(min(1.0, max(-1.0, cosine)))), 4)


def information(area_B: np.ndarray, label_B: np.ndarray) -> float:
    """Mutual information of area and class, corrected for chance (Vinh et al. 2010).

    As a share of the larger entropy: 0 for areas at random, 1 if each class has its own area.
    """
    return float(adjusted_mutual_info_score(label_B, area_B, average_method="max"))


Cells = dict[tuple[str, str, str], list[Run]]


def runs(by_run: tuning.ByRun, datasets: Sequence[str], seeds: int = SEEDS) -> Cells:
    """The runs of each (data set, recipe, column); without those whose step size is not known.

    They are the runs of Table 2 and the final ones of the tuning, made again with the probe,
    and the controls.
    """
    found: Cells = {}
    for dataset in datasets:
        for column in COLUMNS:
            real = CONTROLS.get(column, column)
            steps = tuning.result(by_run, dataset, real)["steps"]
            published = tuning.as_published(dataset, real)[:seeds]
            tuned = [
                tuning.final(dataset, real, step, seed)
                for seed, step in list(steps.items())[:seeds]
                if step is not None
            ]
            for recipe, own in (("published", published), ("tuned", tuned)):
                if column in CONTROLS:
                    own = [replace(run, learner="sal_hash") for run in own]
                found[dataset, recipe, column] = own
    return {cell: own for cell, own in found.items() if own}


def curves(place: paths.Place) -> pd.DataFrame:
    """Every quantity after every epoch: mean and sample standard deviation over seeds.

    Of the runs that did not diverge; a column without any has one line, which counts them.
    """
    by_run = counting(place, EXPERIMENT)
    lines = []
    for (dataset, recipe, column), own in runs(tuning.ledgers(place), tuple(DATASETS)).items():
        there = rows_of(by_run, own)
        histories = [_history(row) for row in there if row["status"] == "ok"]
        diverged, cell = len(there) - len(histories), (DATASETS[dataset].title, recipe, column)
        if diverged and not histories:  # so that it is seen
            lines.append((*cell, next(iter(QUANTITIES)), 1, None, None, 0, diverged))
        for quantity in dict.fromkeys(name for history in histories for name in history):
            by_epoch = pd.DataFrame([history[quantity] for history in histories], dtype=float)
            lines += [
                (
                    *(*cell, quantity, epoch + 1, by_epoch[epoch].mean(), by_epoch[epoch].std()),
                    *(int(by_epoch[epoch].count()), diverged),
                )
                for epoch in by_epoch
            ]
    columns = "dataset recipe column quantity epoch mean std n diverged".split()
    return pd.DataFrame(lines, columns=columns)


def _history(row: Mapping[str, Any]) -> dict[str, list]:
    """What the probe found, and the areas in effect: exp(entropy of their shares) / K."""
    found = {name: own for name, own in row["history"].items() if name.split(":")[0] in PROBED}
    for name, own in row["history"].items():
        if name.startswith("usage:"):
            layer = name.removeprefix("usage:")
            found[f"effective:{layer}"] = [effective(shares) for shares in own]
    return found


def ceiling(areas: int, classes: int) -> float:
    """What ``information`` cannot exceed for areas that take as many samples each."""
    return math.log(min(areas, classes)) / math.log(max(areas, classes))


def effective(shares: Sequence[float]) -> float:
    """Areas in effect as a share of all: 1 where all take as many samples, 1 / K with one alone."""
    return math.exp(entropy(shares)) / len(shares)


def pages(place: paths.Place) -> dict[Path, str]:
    """The plotted numbers, from the ledger alone; none without rows."""
    frame = curves(place)
    if frame.empty:
        return {}
    csv = frame.to_csv(index=False, float_format="%.5g", lineterminator="\n")
    return {place.figure(EXPERIMENT, "csv"): csv}


def draw(frame: pd.DataFrame) -> Figure:
    """A row of panels a quantity, a column a data set and recipe; bands of one std over seeds."""
    style.use()
    pairs = list(dict.fromkeys(zip(frame["dataset"], frame["recipe"], strict=True)))
    figure, axes = plt.subplots(
        len(QUANTITIES),
        len(pairs),
        figsize=(3.1 * len(pairs) + 0.6, 1.9 * len(QUANTITIES) + 0.9),
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    (first, *_, last), looks = QUANTITIES, _looks()
    for quantity, words, row in zip(QUANTITIES, QUANTITIES.values(), axes, strict=True):
        for axis, (dataset, recipe) in zip(row, pairs, strict=True):
            chosen = (frame["dataset"] == dataset) & (frame["recipe"] == recipe)
            own = frame[chosen & (frame["quantity"] == quantity)]
            for column in COLUMNS:
                line = own[own["column"] == column]
                colour, dashes = looks[column]
                axis.plot(line["epoch"], line["mean"], color=colour, linestyle=dashes)
                low, high = line["mean"] - line["std"], line["mean"] + line["std"]
                axis.fill_between(line["epoch"], low, high, color=colour, alpha=0.15, linewidth=0)
            if quantity.startswith("angle"):
                axis.axhline(90, color="0.4", linestyle=":", linewidth=1)
            if quantity == first:
                axis.set_title(f"{dataset}, {recipe} step size{_gone(own)}")
            if quantity == last:
                axis.set_xlabel("epoch")
                for k in (4, 16):
                    most = ceiling(k, N_CLASSES[dataset])
                    axis.axhline(most, color="0.4", linestyle=looks[f"SAL-{k}"][1], linewidth=1)
        row[0].set_ylabel(words)
    handles = [
        plt.Line2D([], [], color=looks[column][0], linestyle=looks[column][1], label=column)
        for column in COLUMNS
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(COLUMNS) // 2)
    figure.suptitle(
        f"Mean ± std over {_span(frame)} seeds, where a quantity is defined. Conflict: mean of\n"
        "max(0, −cosine) over pairs of classes. Hash: areas by a hash of the input. Grey,\n"
        "in the last row: what 4 and 16 areas that take as many samples each cannot exceed"
    )
    return figure


def _span(frame: pd.DataFrame) -> str:
    """The number of seeds of the columns: one, or from the fewest to the most."""
    runs = frame.groupby(["dataset", "recipe", "column"])["n"].max()
    ends = dict.fromkeys(map(str, (runs[runs > 0].min(), runs.max())))
    return " to ".join(ends)


def _looks() -> dict[str, tuple[str, Any]]:
    """Column -> colour and dashes."""
    looks = entrants.looks()
    return looks | {column: (HASHED, looks[real][1]) for column, real in CONTROLS.items()}


def _gone(own: pd.DataFrame) -> str:
    """Runs that diverged, for a panel's title."""
    diverged = own.groupby("column", sort=False)["diverged"].first()
    parts = [f"{column}: {n} diverged" for column, n in diverged.items() if n]
    return "\n" + ", ".join(parts) if parts else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 0 only if all that was asked for is there."""
    parser = argparse.ArgumentParser(
        prog="python -m paper.mechanism",
        description="Trains with the probe what the ledger lacks, and draws the figure.",
    )
    default = ", ".join(DATASETS_ASKED)
    parser.add_argument("--datasets", nargs="+", metavar="NAME", help=f"default {default}")
    parser.add_argument("--seeds", type=seeds, metavar="N", default=SEEDS, help="the first N")
    parser.add_argument("--render-only", action="store_true", help="only draw what is there")
    add_machine_options(parser)
    options = parser.parse_args(arguments)
    return carry_out(lambda console: _run(options, console))


def _run(options: argparse.Namespace, console: Console) -> int:
    place, status = paths.committed(), 0
    if not options.render_only:
        names = [of_the_paper(name) for name in options.datasets or DATASETS_ASKED]
        cells = runs(tuning.ledgers(place), names, options.seeds)
        lacking = [
            f"{column} on {DATASETS[dataset].title}"
            for dataset in names
            for column in COLUMNS
            if (dataset, "tuned", column) not in cells
        ]
        tuning.tell_lacking(lacking, console)
        every = [run for own in cells.values() for run in own]
        by_name = options.datasets is not None
        status = train(every, EXPERIMENT, place, console, options, by_name, PROBE).tell(console)
        status = 1 if lacking else status
    write(place, console)
    return status


def write(place: paths.Place, console: Console) -> None:
    """Writes the figure and its numbers.

    Raises:
        OSError: A file cannot be written.
    """
    texts = pages(place)
    if not texts:
        console.print("nothing was run yet: no figure")
        return
    paths.write(texts)
    style.save({EXPERIMENT: draw(curves(place))}, place)
    written = place.figure(EXPERIMENT, "{pdf,png,csv}")
    console.print(f"written: {written}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
