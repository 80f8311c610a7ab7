"""Time of one training step, beside the plain autograd loop: ``python -m benchmarks.step``.

One thread, 784-256-10, batch 16. The contestants take turns, so that the machine's moods hit all of
them alike; what counts is the ratio within a run, not the microseconds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from baselines import BP, BPConfig
from sal import SAL, Learner, SALConfig, Streams
from sal.learner import DEVICES
from sal.run import set_up_device

D, H, C, B = 784, 256, 10, 16
ROUNDS, STEPS, WARM_UP = 15, 200, 100


def plain_loop(device: str) -> Callable[[], None]:
    """The loop that anyone would write: nn.Sequential, autograd, torch.optim.SGD."""
    net = nn.Sequential(nn.Linear(D, H), nn.ReLU(), nn.Linear(H, C)).to(device)
    optimiser = torch.optim.SGD(net.parameters(), lr=1e-4)
    x_BD, y_B = torch.randn(B, D, device=device), torch.randint(0, C, (B,), device=device)

    def step() -> None:
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x_BD), y_B).backward()
        optimiser.step()

    return step


def learner_step(learner: Learner, device: str) -> Callable[[], None]:
    """A step of one of ours, on a batch that spreads over the areas."""
    learner.to(device)
    x_RBD = torch.randn(1, B, D, device=device)
    y_RB = torch.randint(0, C, (1, B), device=device)
    return lambda: learner.step(x_RBD, y_RB, 1e-4)


def main() -> None:
    """Prints the medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="default cpu")
    device = parser.parse_args().device
    set_up_device(device)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    streams = [Streams(0)]
    contestants = {"plain autograd + SGD": plain_loop(device)}
    contestants["BP"] = learner_step(BP(BPConfig(), D, C, streams), device)
    for k in (1, 2, 4, 8, 16):
        contestants[f"SAL-{k}"] = learner_step(SAL(SALConfig(areas=(k,)), D, C, streams), device)
    for step in contestants.values():
        for _ in range(WARM_UP):
            step()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, step in contestants.items():
            start = time.perf_counter()
            for _ in range(STEPS):
                step()
            if device == "cuda":
                torch.cuda.synchronize()
            times[name].append((time.perf_counter() - start) / STEPS * 1e6)
    base = times["plain autograd + SGD"]
    table = Table(title=f"A step of {D}-{H}-{C}, batch {B}, {device}, one thread")
    for header in ("", "median [µs]", "ratio to the plain loop"):
        table.add_column(header, justify="right" if header else "left")
    for name, values in times.items():
        ratio = statistics.median(a / b for a, b in zip(values, base, strict=True))
        table.add_row(name, f"{statistics.median(values):.0f}", f"{ratio:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
