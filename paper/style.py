"""How the paper's figures look, and how all are written: PDF and PNG, the same bytes each time."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper import paths
from sal.files import write_whole

mpl.use("agg")

DPI = 150
PARAMETERS = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.5,
    "lines.markersize": 4,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # text stays text
    "figure.constrained_layout.use": True,
}
COLOURS = {"bp": "#0072B2", "sal": "#D55E00", "fa": "#009E73", "dfa": "#CC79A7", "moe": "#56B4E9"}
"""Of methods, in all figures alike; told apart by colour-blind people (Okabe and Ito)."""
MARKERS = {"bp": "o", "sal": "s", "fa": "^", "dfa": "v", "moe": "D"}
DASHES = {"moe": "--", "fa": "--", "dfa": ":"}
"""A second cue beside the colour."""


def use() -> None:
    """Makes the style that of all figures drawn from now on."""
    mpl.rcParams.update(PARAMETERS)


def band(
    axis: Axes, x: pd.Series, line: pd.DataFrame, method: str, label: str, marker: str | None
) -> None:
    """A method's curve, means, with a band of one standard deviation, where that is known."""
    colour, dashes = COLOURS[method], DASHES.get(method, "-")
    mean, std = line["mean"].astype(float), line["std"].astype(float).fillna(0)
    axis.plot(x, mean, color=colour, linestyle=dashes, marker=marker, label=label)
    low, high = mean - std, mean + std
    axis.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)


def save(figures: Mapping[str, Figure], place: paths.Place) -> None:
    """Writes figures by name, and closes them."""
    for name, figure in figures.items():
        for suffix in ("pdf", "png"):
            write_figure(figure, place.figure(name, suffix))
        plt.close(figure)


def write_figure(figure: Figure, path: Path, dpi: int = DPI) -> None:
    """Writes a figure, in the format of the file's suffix, whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    kind = path.suffix[1:]
    metadata = {"CreationDate": None} if kind == "pdf" else None
    write_whole(path, partial(figure.savefig, format=kind, dpi=dpi, metadata=metadata))
