"""The figure of ``paper.tuning``: error against step size, on logarithmic axes."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from paper import style
from sal.train import Protocol

TICKS, NARROW_TICKS = (1, 2, 3, 5, 7), (1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8)
"""Errors that are written at the axis, times powers of ten; where it spans less than one."""
ABREAST = 2
"""Data sets side by side."""
CAPTION = (
    "Error on a part cut from the training data against step size, mean over the searches. A line "
    "ends where one of them did not go on, or diverged: means over fewer would mix other seeds. "
    "Dot: the chosen step size, or the median of those that each seed chose (hollow: not all "
    "searches have it). Dotted line: the paper's."
)
PER_INCH = 12
"""Letters of the caption."""

Look = tuple[str, Any]
"""Colour and dashes"""


def draw(
    frame: pd.DataFrame, looks: Mapping[str, Look], panels: Mapping[str, Sequence[str]]
) -> Figure:
    """The errors, 100 minus the accuracy, which tell methods apart where they are at their best.

    Args:
        frame: As ``tuning.table`` gives it.
        looks: Of each column.
        panels: Their titles and columns; each data set with a search of one has all of them, on the
            same axis of errors.
    """
    style.use()
    every = [column for own in panels.values() for column in own]
    searched = frame[(frame["part"] == "search") & (frame["n"] > 0) & frame["column"].isin(every)]
    titles = list(dict.fromkeys(searched["dataset"]))
    abreast = min(ABREAST, len(titles))
    rows, columns = -(-len(titles) // abreast), abreast * len(panels)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(max(9.0, 3.1 * columns), (3.6 if rows == 1 else 2.7) * rows + 0.9),
        squeeze=False,
        sharex=True,
    )
    places = axes.reshape(-1, len(panels))
    for own, title in zip(places, titles, strict=False):
        lines = frame[frame["dataset"] == title]
        for axis, (name, shown) in zip(own, panels.items(), strict=True):
            for column in shown:
                _line(axis, lines[lines["column"] == column], looks[column])
            axis.axvline(Protocol.lr, color="0.4", linestyle=":", linewidth=1)
            axis.set_xscale("log")
            axis.set_title(f"{title}: {name}")
            axis.sharey(own[0])
        _plain(own[0])
        for axis in own[1:]:
            axis.tick_params(labelleft=False)
    for own in places[len(titles) :]:
        for axis in own:
            axis.set_visible(False)
    for column in axes.T:
        lowest = [axis for axis in column if axis.get_visible()][-1]
        lowest.tick_params(labelbottom=True)
        lowest.set_xlabel("step size")
    for row in axes:
        row[0].set_ylabel("error (%)")
    shown = [column for column in looks if any(column in own for own in panels.values())]
    handles = [plt.Line2D([], [], color=looks[c][0], linestyle=looks[c][1]) for c in shown]
    figure.legend(handles, shown, loc="outside lower center", ncols=6)
    figure.suptitle(textwrap.fill(CAPTION, int(PER_INCH * figure.get_figwidth())))
    return figure


def _line(axis: Axes, own: pd.DataFrame, look: Look) -> None:
    """One method's line, where all searches have a step size, and its chosen one."""
    colour, dashes = look
    search = own[own["part"] == "search"]
    searches = search["n"] + search["diverged"]
    by_all = (searches == searches.max()) & (search["diverged"] == 0)
    error = 100 - search["mean"].astype(float)
    (line,) = axis.plot(search["lr"], error.where(by_all), color=colour, linestyle=dashes)
    line.set_label(own["column"].iloc[0] if len(own) else "")
    at = search["lr"].isin(own[own["part"] == "tuned"]["lr"])
    for chosen, face in ((at & by_all, colour), (at & ~by_all, "white")):
        axis.plot(search["lr"][chosen], error[chosen], "o", color=colour, markerfacecolor=face)


def _plain(axis: Axes) -> None:
    """A logarithmic axis of errors with plain numbers."""
    axis.set_yscale("log")
    low, high = axis.get_ylim()
    ticks = NARROW_TICKS if high < 10 * low else TICKS
    axis.yaxis.set_major_locator(LogLocator(subs=ticks, numticks=30))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.yaxis.set_minor_locator(NullLocator())
