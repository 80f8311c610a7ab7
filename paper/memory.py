"""Peak memory of a training step, SAL beside backpropagation, at equal parameters.

Each contestant trains in a process of its own; what counts is how far the process grows from just
before its net is built. Backpropagation by autograd keeps a gradient the size of the weights,
unless each is applied and freed once it is there (``register_post_accumulate_grad_hook``).

``python -m paper.memory --help`` lists the options; ``nox -s memory -- OPTIONS`` is the same.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.console import Console
from torch import Tensor, nn

from baselines import learner_class
from paper import measured, paths, render
from paper.billion import forget_peak, resident
from paper.provenance import provenance
from paper.results import LedgerError
from paper.scaling import AREAS, deep
from sal.streams import Streams
from sal.train import Protocol

NAME = SESSION = "memory"
INPUTS, CLASSES, LAYERS, WIDTH, STEPS = 256, 10, 32, 1024, 3
WIDE = 2 * WIDTH
"""With K = 4 areas of ``WIDTH`` units, SAL has as many parameters as a dense net of twice it."""


class Residual(nn.Module):
    """The net of section 4.2 as anyone would write it in PyTorch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(INPUTS, width), nn.Linear(width, CLASSES)
        self.middle = nn.ModuleList(nn.Linear(width, width) for _ in range(LAYERS - 2))

    def forward(self, x_BD: Tensor) -> Tensor:
        """Logits [B, C]."""
        h_BH = self.first(x_BD)
        for layer in self.middle:
            h_BH = h_BH + torch.tanh(layer(h_BH))
        return self.last(h_BH)


def autograd(width: int, x_BD: Tensor, y_B: Tensor) -> nn.Module:
    """Plain backpropagation and ``torch.optim.SGD``."""
    net = Residual(width)
    optimiser = torch.optim.SGD(net.parameters(), lr=Protocol.lr)
    for _ in range(STEPS):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x_BD), y_B).backward()
        optimiser.step()
    return net


def freed(width: int, x_BD: Tensor, y_B: Tensor) -> nn.Module:
    """Each gradient is applied and freed as soon as it is there."""
    net = Residual(width)

    def apply(p: nn.Parameter) -> None:
        with torch.no_grad():
            p.sub_(p.grad, alpha=Protocol.lr)
        p.grad = None

    for p in net.parameters():
        p.register_post_accumulate_grad_hook(apply)
    for _ in range(STEPS):
        nn.functional.cross_entropy(net(x_BD), y_B).backward()
    return net


def ours(name: str) -> Callable[[int, Tensor, Tensor], nn.Module]:
    """A method of this suite, in the compiled engine."""

    def train(width: int, x_BD: Tensor, y_B: Tensor) -> nn.Module:
        config = deep(name, (width,) * (LAYERS - 1))
        learner = learner_class(name)(config, INPUTS, CLASSES, [Streams(0)])
        for _ in range(STEPS):
            learner.step(x_BD[None], y_B[None], Protocol.lr)
        return learner

    return train


CONTESTANTS: dict[str, tuple[Callable, int]] = {
    "BP, autograd and SGD, equal total": (autograd, WIDE),
    "BP, gradients freed one by one, equal total": (freed, WIDE),
    "BP, this suite's, equal total": (ours("bp"), WIDE),
    f"SAL-{AREAS}": (ours("sal"), WIDTH),
    "BP, autograd and SGD, equal active": (autograd, WIDTH),
    "BP, gradients freed one by one, equal active": (freed, WIDTH),
    "BP, this suite's, equal active": (ours("bp"), WIDTH),
}


def measure_one(label: str) -> dict[str, Any]:
    """Trains one contestant in this process; its parameters' bytes and the growth at the peak."""
    torch.set_num_threads(1)
    train, width = CONTESTANTS[label]
    x_BD = torch.randn(Protocol.batch_size, INPUTS)
    y_B = torch.randint(0, CLASSES, (Protocol.batch_size,))
    train(8, x_BD, y_B)  # loads libraries and compiled code
    before = resident("VmRSS")
    forget_peak()
    net = train(width, x_BD, y_B)
    size = sum(p.numel() * p.element_size() for p in net.parameters())
    return {"parameter_bytes": size, "peak_bytes": resident("VmHWM") - before}


def measure(console: Console) -> dict[str, Any]:
    """Every contestant, each in a process of its own."""
    result: dict[str, Any] = {**provenance("cpu"), "contestants": []}
    for label in CONTESTANTS:
        command = [sys.executable, "-m", "paper.memory", "--one", label]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no word"])[-1]
            raise LedgerError(f"{label}: exit status {done.returncode}: {reason}")
        found = json.loads(done.stdout)
        console.print(f"{label}: {found['peak_bytes'] / found['parameter_bytes']:.2f} x parameters")
        result["contestants"].append({"contestant": label, "width": CONTESTANTS[label][1]} | found)
    return result


def pages(place: paths.Place) -> dict[Path, str]:
    """The table; none where nothing was measured."""
    result = measured.read(place, NAME)
    if result is None:
        return {}
    frame = pd.DataFrame(result["contestants"])
    csv = frame.to_csv(index=False, lineterminator="\n")
    shown = pd.DataFrame(
        {
            "units": frame["width"].map(str),
            "parameters [MB]": (frame["parameter_bytes"] / 1e6).map("{:.0f}".format),
            "a sample uses [MB]": [
                f"{size / 1e6 / (AREAS if label.startswith('SAL') else 1):.0f}"
                for label, size in zip(frame["contestant"], frame["parameter_bytes"], strict=True)
            ],
            "peak [MB]": (frame["peak_bytes"] / 1e6).map("{:.0f}".format),
            "peak / parameters": (frame["peak_bytes"] / frame["parameter_bytes"]).map(
                "{:.2f}".format
            ),
        }
    )
    shown.index = pd.Index(frame["contestant"], name="Contestant")
    notes = [
        f"Generated by `nox -s {SESSION}` from `results/{NAME}.json`; do not edit. {LAYERS} "
        f"layers, {INPUTS} inputs, batch {Protocol.batch_size}, {STEPS} steps, float32, one "
        "process each; growth of the process from before the net is built. "
        f"{measured.commit(result).capitalize()}, PyTorch {result['torch_version']}.",
        f"*Equal total*: a dense net of {WIDE} units has as many parameters as SAL with K = "
        f"{AREAS} and {WIDTH}; *equal active*: one of {WIDTH} units has as many as a sample uses.",
    ]
    return {
        place.table(NAME, "md"): render.markdown_page("Peak memory of training", notes, shown),
        place.table(NAME, "csv"): csv,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = measured.parser("paper.memory", __doc__.splitlines()[0])
    parser.add_argument("--one", choices=CONTESTANTS, help="measure one here, and print JSON")
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(measure_one(options.one)))
        return 0
    return measured.command(NAME, measure, pages, None, options.render_only)


if __name__ == "__main__":
    sys.exit(main())
