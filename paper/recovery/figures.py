"""The study's figures: the field of settings, and where the leading ones miss."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from paper import paths, style
from paper.recovery.misfit import cells_of
from paper.recovery.settings import FACTORIAL, QUESTIONS, Setting, variations
from sal.data import DATASETS

LIMIT = 6
"""Standard deviations at which the colours end."""
METRICS = {"accuracy": "accuracy", "train_loss": "training loss", "val_loss": "validation loss"}


def draw(
    frame: pd.DataFrame,
    leaders: Sequence[Setting],
    centres: Sequence[Setting],
    place: paths.Place,
) -> None:
    """Writes the figures as PDF and PNG.

    Args:
        frame: ``report.Study.frame``.
        leaders: The settings of ``cells``, the base first.
        centres: The settings of ``choices``.
        place: Where figures go.
    """
    if frame.empty:
        return
    style.use()
    drawn = {"recovery_field": field(frame), "recovery_cells": cells(frame, leaders)}
    drawn |= {
        f"recovery_choices_{number}": choices(frame, centre)
        for number, centre in enumerate(centres, start=1)
    }
    style.save(drawn, place)


def field(frame: pd.DataFrame) -> Figure:
    """Every screened setting's misfit by data set, by the options of the factorial's questions."""
    screened = frame[frame["areas"].isin((1, 4, 16)) & (frame["seeds"] == 1)].copy()
    screened["square"] = screened["deviation"] ** 2
    scores = screened.groupby(["setting", "dataset"])["square"].mean().unstack()
    scores = scores[[name for name in ("digits", "semeion", "usps") if name in scores]].dropna()
    scores.columns = [DATASETS[name].title for name in scores.columns]
    scores["all"] = scores.mean(axis=1)
    questions = list(FACTORIAL)
    figure, axes = plt.subplots(
        len(questions), 1, figsize=(9, 1.9 * len(questions)), sharex=True, layout="constrained"
    )
    settings = {name: Setting.named(name) for name in scores.index}
    long = scores.melt(ignore_index=False, var_name="data set", value_name="misfit").reset_index()
    np.random.seed(0)  # seaborn's jitter has no generator of its own
    for axis, question in zip(axes, questions, strict=True):
        long["option"] = [settings[name].answer(question) for name in long["setting"]]
        shown = long[long["option"].isin(FACTORIAL[question])]
        sns.stripplot(
            shown, x="misfit", y="option", hue="data set", order=FACTORIAL[question], dodge=True,
            size=2.5, palette="colorblind", ax=axis, legend=axis is axes[0], alpha=0.7,
        )  # fmt: skip
        axis.set(xscale="log", ylabel="", title="")
        axis.set_title(question, loc="left", fontsize=10)
        axis.axvline(4, color="black", linewidth=0.8, linestyle=":")
    axes[0].legend(ncols=4, loc="lower right", bbox_to_anchor=(1, 1.02), frameon=False)
    axes[-1].set_xlabel(
        "mean square of (ours − published) / published standard deviation, K = 1, 4, 16, one seed; "
        "dotted: all at the limit of “reproduced”",
        fontsize=8,
    )
    return figure


def cells(frame: pd.DataFrame, leaders: Sequence[Setting]) -> Figure:
    """The deviation of every cell, of the leading settings."""
    found = {setting: cells_of(frame, setting) for setting in leaders}
    leaders = [setting for setting in leaders if not found[setting].empty]
    heights = [1.2 + 0.3 * found[setting]["dataset"].nunique() for setting in leaders]
    figure = plt.figure(figsize=(11, sum(heights)), layout="constrained")
    norm = TwoSlopeNorm(0, -LIMIT, LIMIT)
    parts = figure.subfigures(len(leaders), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, setting in zip(parts, leaders, strict=True):
        part.suptitle(setting.name, fontsize=10, x=0.01, horizontalalignment="left")
        own = found[setting]
        names = [name for name in DATASETS if name in set(own["dataset"])]
        axes = part.subplots(1, len(METRICS), sharey=True)
        for axis, (metric, title) in zip(axes, METRICS.items(), strict=True):
            grid = own[own["metric"] == metric].pivot(
                index="dataset", columns="areas", values="deviation"
            )
            grid = grid.loc[names].rename(index={name: DATASETS[name].title for name in names})
            sns.heatmap(
                grid, norm=norm, cmap="RdBu_r", annot=True, fmt="+.1f", cbar=False, ax=axis,
                linewidths=0.5, annot_kws={"fontsize": 8},
            )  # fmt: skip
            axis.set(xlabel="areas K", ylabel="")
            axis.set_title(title, fontsize=9)
            axis.tick_params(axis="y", rotation=0)
        bar = part.colorbar(mpl.cm.ScalarMappable(norm, "RdBu_r"), ax=axes, extend="both")
        bar.set_label("(ours − published)\n/ published std", fontsize=8)
    return figure


def choices(frame: pd.DataFrame, centre: Setting) -> Figure:
    """How far one other answer moves every cell, in published standard deviations, at one seed."""
    screened = frame[frame["areas"].isin((1, 4, 16)) & (frame["seeds"] == 1)]
    grid = screened.pivot(
        index="setting", columns=["metric", "dataset", "areas"], values="deviation"
    )
    columns = [
        (metric, dataset, areas)
        for metric in METRICS
        for dataset in ("digits", "semeion", "usps")
        for areas in (1, 4, 16)
        if (metric, dataset, areas) in grid
    ]
    labels = {}
    for setting in variations(centre):
        (question,) = [q for q in QUESTIONS if setting.answer(q) != centre.answer(q)]
        labels[setting.name] = f"{question}: {setting.answer(question)}"
    there = [name for name in labels if name in grid.index and centre.name in grid.index]
    figure, axis = plt.subplots(figsize=(11, 1.8 + 0.2 * max(len(there), 1)), layout="constrained")
    if not there or not columns:
        axis.set_title(f"{centre.name}: not run")
        return figure
    moved = grid.loc[there, columns] - grid.loc[centre.name, columns]
    sns.heatmap(
        moved.rename(index=labels), norm=TwoSlopeNorm(0, -LIMIT, LIMIT), cmap="RdBu_r", ax=axis,
        linewidths=0.3, cbar_kws={"extend": "both", "label": "change of the deviation / std"},
        xticklabels=[f"{DATASETS[name].title} {areas}" for _, name, areas in columns],
        yticklabels=True,
    )  # fmt: skip
    axis.tick_params(axis="both", labelsize=7)
    axis.set(xlabel="data set and K", ylabel="")
    share = len(columns) // len(METRICS)
    for number, title in enumerate(METRICS.values()):
        axis.axvline(number * share, color="black", linewidth=0.8)
        axis.text((number + 0.5) * share, -0.3, title, horizontalalignment="center", fontsize=8)
    figure.suptitle(f"one answer changed around: {centre.name}", fontsize=10)
    return figure
