"""Training curves of a cell's runs as small vector graphics."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

from paper import style

METRICS = {
    "accuracy": "accuracy (%)",
    "train_loss": "training loss (nats)",
    "val_loss": "validation loss (nats)",
}
PARAMETERS = {
    "svg.hashsalt": "sal",  # names in the file are the same each time
    "svg.fonttype": "none",  # text stays text
    "font.size": 8,
    "lines.linewidth": 1.0,
}


def svg(rows: Sequence[Mapping[str, Any]], label: str) -> str:
    """The runs' accuracy and losses by epoch, a line a seed; ``label`` is read out for it."""
    style.use()
    with mpl.rc_context(PARAMETERS):
        figure, axes = plt.subplots(1, len(METRICS), figsize=(8.4, 2.1))
        for axis, (metric, words) in zip(axes, METRICS.items(), strict=True):
            for row in rows:
                values = row["history"].get(metric, [])
                axis.plot(range(1, len(values) + 1), values, label=f"seed {row['seed']}")
            axis.set_title(words)
            axis.set_xlabel("epoch")
        axes[0].legend(fontsize=6)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
    drawing = file.getvalue()
    start = drawing.index("<svg")
    return drawing[start:].replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
