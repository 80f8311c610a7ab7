"""How every figure looks, and how it is written: PDF and PNG, the same bytes from the same rows."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from paper import paths

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
COLOURS = {
    **{"bp": "#0072B2", "sal": "#D55E00", "fa": "#009E73", "dfa": "#CC79A7", "moe": "#E69F00"},
}
"""Of methods, in all figures alike; told apart by colour-blind people (Okabe and Ito)."""
MARKERS = {"bp": "o", "sal": "s", "fa": "^", "dfa": "v", "moe": "D"}


def use() -> None:
    """Makes the style that of all figures drawn from now on."""
    mpl.rcParams.update(PARAMETERS)


def save(figures: Mapping[str, Figure], place: paths.Place) -> None:
    """Writes figures by name, and closes them."""
    for name, figure in figures.items():
        for suffix in ("pdf", "png"):
            path = place.figure(name, suffix)
            path.parent.mkdir(parents=True, exist_ok=True)
            metadata = {"CreationDate": None} if suffix == "pdf" else None
            figure.savefig(path, dpi=DPI, metadata=metadata)
        plt.close(figure)
