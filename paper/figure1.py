"""Figure 1: the method as a diagram, drawn from a learner's own layers (section 3).

``python -m paper.figure1``; ``nox -s reproduce_figure1`` is the same. What is drawn is what the
learner has: matrices, areas, routers, feedback, with their sizes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from rich.console import Console

from paper import paths, style
from paper.options import carry_out
from sal.net import Layer
from sal.sal import SAL, SALConfig
from sal.streams import Streams

NAME, SESSION = "figure1", "reproduce_figure1"
INPUTS, CLASSES = 784, 10
CONFIG = SALConfig(hidden=(256, 256), areas=(4, 4), residual="after")
FORWARD, FEEDBACK, ROUTING, IDLE = "#0072B2", "#D55E00", "#009E73", "0.8"
CHOSEN = (1, 2)
"""Areas drawn as the ones that a sample takes."""


def draw(learner: SAL) -> Figure:
    """Layers from left to right; above them routing, below them the error's way."""
    style.use()
    layers = learner.layers(learner.tensors())
    figure, axis = plt.subplots(figsize=(11, 5.2))
    axis.set(xlim=(-0.9, 3.15 * len(layers) + 2.2), ylim=(-4.3, 4.1))
    axis.set_aspect("equal")
    axis.axis("off")
    _box(axis, -0.3, 0, 0.9, 2.6, f"input\nx\n{layers[0].weight_RKDH.shape[2]}", "white", "0.3")
    right = 0.15
    for index, layer in enumerate(layers):
        right = _layer(axis, index, layer, right)
    end = right + 0.75
    _box(axis, end, 0, 0.9, 2.6, f"logits\nz\n{layers[-1].weight_RKDH.shape[3]}", "white", "0.3")
    _arrow(axis, (right, 0), (end - 0.45, 0), FORWARD)
    e_y = -3.1
    _box(axis, end, e_y, 1.7, 0.8, "error e =\nsoftmax(z) − y", "white", FEEDBACK)
    _arrow(axis, (end, -1.3), (end, e_y + 0.4), FEEDBACK)
    axis.plot([2.0, end - 0.85], [e_y, e_y], color=FEEDBACK, linewidth=1.5, zorder=0)
    axis.text(
        -0.75,
        -3.75,
        "blue: a sample's way forward, one area a layer (eq. 4, 5)   green: routing by a learned "
        "projection and frozen prototypes (eq. 1–3)\nred: the error, to every layer at once "
        "through fixed matrices (eq. 6)   grey: areas that this sample neither uses nor changes\n"
        "then, each layer by itself: W$_k$ −= η xᵀδ / n for the area it took (eq. 7, 8), and its "
        "router descends the cross-entropy of its own features r (eq. 9)",
        fontsize=8,
        verticalalignment="top",
    )
    return figure


def _layer(axis: Axes, index: int, layer: Layer, left: float) -> float:
    """Draws a layer; returns where its output leaves it."""
    _, K, D, H = layer.weight_RKDH.shape
    x, width = left + 1.85, 1.7
    pitch = 2.6 / K
    chosen = CHOSEN[index % len(CHOSEN)] if K > 1 else 0
    for k in range(K):
        y = 1.3 - pitch * (k + 0.5)
        on = k == chosen
        bias = "" if layer.bias_RKH is None else f" + b{_sub(k + 1) if K > 1 else ''}"
        text = f"x W{_sub(k + 1) if K > 1 else ''}{bias}"
        face = "#DCEBF5" if on else "0.97"
        _box(axis, x, y, width, pitch * 0.86, text, face, FORWARD if on else IDLE)
    kind = layer.activation
    bottom = f"{D} × {H}, {kind}"
    axis.text(x, -1.58, bottom, ha="center", va="top", fontsize=8)
    axis.text(x, 1.42, f"layer {index + 1}", ha="center", va="bottom", fontsize=9, weight="bold")
    y_on = 1.3 - pitch * (chosen + 0.5)
    _arrow(axis, (left, 0), (x - width / 2, y_on), FORWARD)
    out = x + width / 2 + 0.45
    axis.plot([x + width / 2, out], [y_on, 0], color=FORWARD, linewidth=1.5)
    if layer.router_RDF is not None:
        F = layer.router_RDF.shape[2]
        _box(axis, x, 3.0, 2.4, 0.95, f"r = x V + c,  V {D} × {F}\nk = argmax ⟨p$_k$, r⟩",
             "white", ROUTING)  # fmt: skip
        _arrow(axis, (left + 0.1, 0.1), (x - 1.2, 2.9), ROUTING, curve=-0.2)
        _arrow(axis, (x, 2.52), (x, 1.85), ROUTING)
        axis.text(
            x + 0.08, 2.15, f"area {chosen + 1} of {K}", fontsize=8, color=ROUTING, va="center"
        )
    if layer.residual != "none":
        under = -1.45
        axis.plot([left + 0.3, left + 0.3, out], [-0.08, under, under], color="0.5", linewidth=1.2)
        _arrow(axis, (out, under), (out, -0.16), "0.5")
        axis.add_patch(Circle((out, 0), 0.15, facecolor="white", edgecolor="0.5", zorder=3))
        axis.text(out, 0, "+", ha="center", va="center", fontsize=9, color="0.3", zorder=4)
        axis.text(left + 0.35, under - 0.08, "residual", fontsize=7, color="0.4", va="top")
    feedback = layer.feedback_RCH
    text = "δ = e" if feedback is None else f"δ = (e B{_sub(index + 1)}) f′(a)"
    size = "identity" if feedback is None else f"{feedback.shape[1]} × {feedback.shape[2]}, fixed"
    _arrow(axis, (x, -3.1), (x, -1.95), FEEDBACK)
    axis.text(x + 0.1, -2.5, f"{text}\n{size}", fontsize=8, color=FEEDBACK, va="center")
    return out


def _sub(number: int) -> str:
    return f"$_{{{number}}}$"


def _box(axis: Axes, x: float, y: float, w: float, h: float, text: str, face: str, edge: str):
    axis.add_patch(
        FancyBboxPatch(
            (x - w / 2, y - h / 2),
            w,
            h,
            boxstyle="round,pad=0,rounding_size=0.08",
            facecolor=face,
            edgecolor=edge,
            linewidth=1.5,
        )
    )
    axis.text(x, y, text, ha="center", va="center", fontsize=8)


def _arrow(axis: Axes, start, end, colour: str, curve: float = 0.0) -> None:
    axis.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=10,
            color=colour,
            linewidth=1.5,
            connectionstyle=f"arc3,rad={curve}",
            shrinkA=0,
            shrinkB=0,
        )
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m paper.figure1", description=__doc__.splitlines()[0]
    )
    parser.parse_args(arguments)
    return carry_out(_run)


def _run(console: Console) -> int:
    place = paths.committed()
    style.save({NAME: draw(SAL(CONFIG, INPUTS, CLASSES, [Streams(0)]))}, place)
    console.print(f"written: {place.figure(NAME, '{pdf,png}')}", highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
