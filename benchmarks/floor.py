"""The least time a training step can take here: its operations and bytes, at this machine's rates.

A step multiplies every layer's matrix twice, forward and for the update; backpropagation multiplies
all but the first once more. Every matrix that a batch uses is read once and written once at least,
since its update needs an error that needs all of it. The floor is the longer of the two at rates
measured in the same run, one thread: PyTorch's matrix product, the fastest of a large one and those
of the step's own shape; and scaling numbers in place, as many as the net has weights.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from baselines import BP, BPConfig
from sal import SAL, SALConfig, Streams
from sal.data.pixels import Pixels
from sal.netlearner import NetLearner

ROUNDS = 9
LR = 1e-6
"""Not so small that products underflow: denormal numbers are slow."""


@dataclass(frozen=True)
class Floor:
    """What a step needs, and how fast the machine is at it."""

    flops: float
    """Floating-point operations of a step."""
    bytes: float
    """Bytes of weights read and written by a step."""
    flop_rate: float
    """Operations a second."""
    byte_rate: float
    """Bytes a second."""

    @property
    def us(self) -> float:
        """Microseconds of a step, at least."""
        return 1e6 * max(self.flops / self.flop_rate, self.bytes / self.byte_rate)

    @property
    def bound(self) -> str:
        """What it is bound by."""
        compute = self.flops / self.flop_rate > self.bytes / self.byte_rate
        return "arithmetic" if compute else "memory"


def floor(learner: NetLearner, x_ND: Tensor | Pixels, order_RM: Tensor, batch_size: int) -> Floor:
    """The floor of a step of ``learner`` on these data: counts are means over the batches."""
    routes = learner.routes(x_ND[order_RM])
    flops = byte_count = footprint = 0.0
    layers = learner.layers(learner.tensors())
    lowest = min(index for index, layer in enumerate(layers) if layer.rate)  # that learns
    for index, layer in enumerate(layers):
        _, K, D, H = layer.weight_RKDH.shape
        products = 1 + bool(layer.rate)  # forward, update
        products += learner.rule.credit == "chained" and index > lowest
        there = 1.0 if layer.mask_RDH is None else layer.mask_RDH.mean().item()
        flops += products * 2 * batch_size * D * H * there
        if layer.feedback_RCH is not None:
            flops += 2 * batch_size * layer.feedback_RCH.shape[1] * H
        if layer.router_RDF is not None:
            learns = 1 + bool(learner.rule.router_rate)
            flops += learns * 2 * batch_size * D * layer.router_RDF.shape[2]
        if layer.head_RHC is not None:
            flops += 3 * 2 * batch_size * H * layer.head_RHC.shape[2]
        size = D * H * layer.weight_RKDH.element_size() * there
        byte_count += (
            (1 + bool(layer.rate))
            * size
            * _areas_in_a_batch(routes.get(f"layer{index}"), batch_size)
        )
        footprint += K * size
    shape = max(learner.sizes, key=lambda sizes: sizes[0] * sizes[1])
    return Floor(flops, byte_count, flop_rate(batch_size, *shape), byte_rate(int(footprint)))


def _areas_in_a_batch(area_RM: Tensor | None, batch_size: int) -> float:
    """Mean number of different areas in a batch."""
    if area_RM is None:
        return 1.0
    return statistics.mean(len(area_RB[0].unique()) for area_RB in area_RM.split(batch_size, dim=1))


def flop_rate(batch: int, inputs: int, outputs: int) -> float:
    """Operations a second of matrix products, the best of three shapes."""
    large = torch.randn(1024, 1024)
    x_BD, w_DH = torch.randn(batch, inputs), torch.randn(inputs, outputs)
    delta_BH = 1e-9 * torch.randn(batch, outputs)
    out, a_BH = torch.empty(1024, 1024), torch.empty(batch, outputs)
    step = 2 * batch * inputs * outputs
    return max(
        2 * 1024**3 / seconds(lambda: torch.mm(large, large, out=out)),
        step / seconds(lambda: torch.mm(x_BD, w_DH, out=a_BH)),
        step / seconds(lambda: w_DH.addmm_(x_BD.T, delta_BH)),
    )


def byte_rate(footprint: int) -> float:
    """Bytes a second, read and written, of passes over as many bytes of weights."""
    values = torch.ones(max(footprint // 4, 1))
    passes = max(4_000_000 // values.numel(), 1)

    def scale() -> None:
        for _ in range(passes):
            values.mul_(1.0000001)

    return 2 * 4 * values.numel() * passes / seconds(scale)


def seconds(call: Callable[[], object]) -> float:
    """Median time of a call, which is repeated to last at least two milliseconds."""
    call()
    start = time.perf_counter()
    call()
    repeats = int(2e-3 / max(time.perf_counter() - start, 1e-7)) + 1
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        times.append((time.perf_counter() - start) / repeats)
    return statistics.median(times)


def cases(D: int, hidden: tuple[int, ...], C: int, ks: tuple[int, ...]) -> dict[str, NetLearner]:
    """BP and SAL-K on one net; K areas in the first layer, or in all hidden ones of a deep net."""
    deep = {"activation": "tanh", "residual": "after"} if len(hidden) > 1 else {}
    streams = [Streams(0)]
    layers = len(hidden)
    return {"BP": BP(BPConfig(hidden=hidden, **deep), D, C, streams)} | {
        f"SAL-{k}": SAL(SALConfig(hidden=hidden, areas=(k,) * layers, **deep), D, C, streams)
        for k in ks
    }


def main() -> None:
    """Prints each net's floor and measured time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16, help="batch size, default 16")
    batch = parser.parse_args().batch
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    table = Table(title=f"A step of batch {batch}, one thread, medians")
    for header in ("net", "method", "MFLOP", "MB", "GFLOP/s", "GB/s", "floor [µs]", "bound by",
                   "ours [µs]", "ours / floor"):  # fmt: skip
        table.add_column(header, justify="left" if header in ("net", "method") else "right")
    for D, hidden, ks in (
        (784, (256,), (1, 4, 16)),
        (9216, (256,), (1, 4, 16)),
        (256, (256,) * 64, (1, 4)),
    ):
        steps = 200 if len(hidden) == 1 and D < 1000 else 20
        values = torch.randint(0, 256, (batch * steps, D), generator=generator)
        x_ND = Pixels(values.to(torch.uint8), 2 / 255, -1.0)
        y_N = torch.randint(0, 10, (batch * steps,), generator=generator)
        order_RM = torch.randperm(batch * steps, generator=generator)[None]
        for name, learner in cases(D, hidden, 10, ks).items():
            if isinstance(learner, SAL):
                spread_(learner)
            least = floor(learner, x_ND, order_RM, batch)
            epoch = partial(learner.epoch, x_ND, y_N, order_RM, batch, LR)
            ours = 1e6 / steps * seconds(epoch)
            table.add_row(
                f"{D}-{256 if len(hidden) == 1 else f'{len(hidden)}x256'}-10",
                *(name, f"{least.flops / 1e6:.1f}", f"{least.bytes / 1e6:.1f}"),
                *(f"{least.flop_rate / 1e9:.0f}", f"{least.byte_rate / 1e9:.0f}"),
                *(f"{least.us:.0f}", least.bound, f"{ours:.0f}", f"{ours / least.us:.2f}"),
            )
    Console(width=140).print(table)


def spread_(learner: SAL) -> None:
    """Sets the routers so that random samples take all areas, as a worst case for memory."""
    for index, (inputs, _) in enumerate(learner.sizes):
        if f"router{index}" in learner.tensors():
            router_RDF = learner.tensors()[f"router{index}"]
            router_RDF.normal_(generator=torch.Generator().manual_seed(index)).div_(inputs**0.5)
            learner.tensors()[f"router_bias{index}"].zero_()


if __name__ == "__main__":
    main()
