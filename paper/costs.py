"""What a sample costs against K and width, beside the dense layer (section 3.6), measured.

The paper says that a sample costs what a dense layer costs, whatever K, since one area is active.
Counted: operations of a training step, and the share of the parameters that a sample uses.
Measured: time of a step a sample, in rounds in which all nets take turns.

``python -m paper.costs --help`` lists the options; ``nox -s costs -- OPTIONS`` is the same.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track

from paper import measured, paths, style
from paper.methods import configuration
from paper.provenance import provenance
from sal.sal import SAL, SALConfig
from sal.streams import Streams
from sal.train import Protocol

NAME = SESSION = "costs"
INPUTS, CLASSES = 784, 10
AREAS = (1, 2, 4, 8, 16)
WIDTHS = (64, 128, 256, 512, 1024, 2048)
FIXED_K, FIXED_WIDTH = 4, 256
BATCHES, ROUNDS = 40, 15


def nets() -> list[tuple[int, int]]:
    """(width, K) of every net: one of the two varies."""
    return [
        *((FIXED_WIDTH, k) for k in AREAS),
        *((width, k) for width in WIDTHS if width != FIXED_WIDTH for k in (1, FIXED_K)),
    ]


def operations(config: SALConfig) -> float:
    """Floating-point operations of a training step a sample: a multiplication and an addition, 2.

    Each matrix a sample uses is multiplied forward and for its update; feedback once; the router
    forward and for its update, its prototypes once.
    """
    total = 0.0
    for layer, (D, H) in enumerate(config.sizes(INPUTS, CLASSES)):
        K, F = config.layer_areas(layer), config.router_features or CLASSES
        total += 2 * 2 * D * H + (0 if CLASSES == H else 2 * CLASSES * H)
        total += 0 if K == 1 else 2 * 2 * D * F + 2 * F * K
    return total


def active_share(learner: SAL) -> float:
    """Share of what is learned that a sample uses: one area a layer, all of the routers."""
    used = total = 0
    for layer in learner.layers(learner.tensors()):
        own = [t for t in (layer.weight_RKDH, layer.bias_RKH) if t is not None]
        of_router = [t for t in (layer.router_RDF, layer.router_bias_RF) if t is not None]
        K, router = layer.weight_RKDH.shape[1], sum(t.numel() for t in of_router)
        used += sum(t.numel() for t in own) // K + router
        total += sum(t.numel() for t in own) + router
    return used / total


def spread_(learner: SAL) -> None:
    """Makes random samples take all areas, as trained routers do: otherwise some would idle."""
    if learner.areas_of():
        learner.tensors()["router0"].normal_(generator=torch.Generator().manual_seed(0))
        learner.tensors()["router_bias0"].zero_()


def measure(rounds: int, console: Console) -> list[dict[str, Any]]:
    """Counts and times of every net; microseconds a sample, one number a round."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    samples = BATCHES * Protocol.batch_size
    x_NX = torch.randn(samples, INPUTS, generator=generator)
    y_N = torch.randint(0, CLASSES, (samples,), generator=generator)
    order_RM = torch.arange(samples)[None]
    lines, learners = [], []
    for width, k in nets():
        config = replace(configuration("sal", k), hidden=(width,))
        learner = SAL(config, INPUTS, CLASSES, [Streams(0)])
        spread_(learner)
        learners.append(learner)
        lines.append(
            {
                "width": width,
                "areas": k,
                "operations": operations(config),
                "active_share": round(active_share(learner), 6),
                "us_a_sample": [],
            }
        )
    for _ in track(range(rounds + 1), "timing", console=console, disable=not console.is_terminal):
        for line, learner in zip(lines, learners, strict=True):
            start = time.perf_counter()
            learner.epoch(x_NX, y_N, order_RM, Protocol.batch_size, 1e-6)
            line["us_a_sample"].append(round(1e6 * (time.perf_counter() - start) / samples, 3))
    for line in lines:
        del line["us_a_sample"][0]  # the first round compiles and loads
    return lines


def table(result: Mapping[str, Any]) -> pd.DataFrame:
    """The plotted numbers: medians and quartiles over the rounds, and ratios to the dense net."""
    dense = {line["width"]: line for line in result["nets"] if line["areas"] == 1}
    rows = []
    for line in result["nets"]:
        ours = pd.Series(line["us_a_sample"])
        ratio = ours / pd.Series(dense[line["width"]]["us_a_sample"])  # within each round
        rows.append(
            {
                "width": line["width"],
                "areas": line["areas"],
                "operations": line["operations"],
                "operations_ratio": line["operations"] / dense[line["width"]]["operations"],
                "active_share": line["active_share"],
                "us": ours.median(),
                "us_q25": ours.quantile(0.25),
                "us_q75": ours.quantile(0.75),
                "ratio": ratio.median(),
                "ratio_q25": ratio.quantile(0.25),
                "ratio_q75": ratio.quantile(0.75),
            }
        )
    return pd.DataFrame(rows)


def draw(result: Mapping[str, Any]) -> Figure:
    """Time and operations beside the dense net, against K and width; the share that is active."""
    style.use()
    frame = table(result)
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4))
    by_k = frame[frame["width"] == FIXED_WIDTH].sort_values("areas")
    by_width = frame[frame["areas"] == FIXED_K].sort_values("width")
    for axis, own, x, text in (
        (axes[0], by_k, "areas", f"areas K, {FIXED_WIDTH} hidden units"),
        (axes[1], by_width, "width", f"hidden units, K = {FIXED_K}"),
    ):
        bars = [own["ratio"] - own["ratio_q25"], own["ratio_q75"] - own["ratio"]]
        axis.errorbar(
            own[x], own["ratio"], bars, color=style.COLOURS["sal"], marker="s", capsize=3,
            label="time of a step (median, quartiles)",
        )  # fmt: skip
        axis.plot(
            own[x], own["operations_ratio"], color=style.COLOURS["bp"], marker="o",
            label="operations, counted",
        )  # fmt: skip
        axis.axhline(1, color="0.4", linestyle=":", linewidth=1)
        axis.set_xscale("log", base=2)
        axis.set_xticks(own[x], [str(value) for value in own[x]])
        axis.minorticks_off()
        axis.set(xlabel=text, ylim=(0, max(3.2, own["ratio_q75"].max() * 1.1)))
        axis.set_ylabel("SAL-K / SAL-1, a sample")
        axis.legend(loc="upper left")
    axes[2].plot(by_k["areas"], 100 * by_k["active_share"], color="#009E73", marker="^")
    axes[2].set_xscale("log", base=2)
    axes[2].set_xticks(by_k["areas"], [str(value) for value in by_k["areas"]])
    axes[2].minorticks_off()
    axes[2].set(xlabel=f"areas K, {FIXED_WIDTH} hidden units", ylim=(0, 105))
    axes[2].set_ylabel("parameters a sample uses (%)")
    rounds = len(result["nets"][0]["us_a_sample"])
    figure.suptitle(
        f"What a sample costs: {INPUTS}-W-{CLASSES}, batch {Protocol.batch_size}, one thread, "
        f"{rounds} rounds, {result['machine']['cpu'].split(' (')[0]}"
    )
    return figure


def pages(place: paths.Place) -> dict[Path, str]:
    """The plotted numbers; none where nothing was measured."""
    result = measured.read(place, NAME)
    if result is None:
        return {}
    csv = table(result).to_csv(index=False, float_format="%.5g", lineterminator="\n")
    return {place.figure(NAME, "csv"): csv}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    options = measured.parser("paper.costs", __doc__.splitlines()[0]).parse_args(arguments)
    return measured.command(NAME, _measure, pages, draw, options.render_only)


def _measure(console: Console) -> dict[str, Any]:
    return {**provenance("cpu"), "nets": measure(ROUNDS, console)}


if __name__ == "__main__":
    raise SystemExit(main())
