"""A training step of ours beside other packages' in one run: ``python -m benchmarks.peers``.

One thread, 784-256-10, batch 16; mixtures of experts once more at batch 256. The contestants take
turns, so that the machine's moods hit all of them alike; what counts is the ratio within a round,
not the microseconds. ``nox -s peers`` is the same; with ``--device cuda`` on a GPU.

Axes: S seeds, B samples, D inputs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import sys
import time
import warnings
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor, nn

from benchmarks.cases import LR, STEPS, B, C, Case, D, H, batch, cases, synchronise
from benchmarks.floor import floor
from sal import cuda_graph
from sal.data.pixels import Pixels
from sal.netlearner import NetLearner

ROUNDS, WARM_UP = 25, 100
QUICK_ROUNDS = 5
SEEDS = 5
EXPERTS = (4, 16)
LARGE, LARGE_STEPS = 256, 10
"""Batch of the second comparison, and how many steps a round has of it."""
PLAIN = "plain loop (autograd, SGD)"
PLAIN_LARGE = f"{PLAIN}, batch {LARGE}"
CAPTURED = ", replayed from a CUDA graph"
"""What the label of a plain loop ends with where its step is."""
OURS = "this project"


@dataclass(kw_only=True)
class Contestant:
    """Something that can take a training step."""

    step: Callable[[], None]
    """``steps`` steps of each of ``seeds`` nets, on a batch of ``size`` samples for each."""
    trained: Sequence[Tensor]
    """What the step changes."""
    steps: int = 1
    seeds: int = 1
    size: int = B
    floor_us: float | None = None
    """``benchmarks.floor`` of one net's step; None where none is stated."""


def mlp(device: str, hidden: int = H) -> nn.Sequential:
    """The net of all contestants that have a choice."""
    return nn.Sequential(nn.Linear(D, hidden), nn.ReLU(), nn.Linear(hidden, C)).to(device)


def autograd(
    net: nn.Module, device: str, loss: Callable[..., Tensor] | None = None, size: int = B
) -> Contestant:
    """The loop that anyone would write, around a net; ``loss`` takes the net, inputs, labels."""
    loss = loss or (lambda net, x_BD, y_B: nn.functional.cross_entropy(net(x_BD), y_B))
    trained = [p for p in net.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=LR)
    (x_BD,), (y_B,) = batch(size, device=device)

    def step() -> None:
        optimiser.zero_grad()
        loss(net, x_BD, y_B).backward()
        optimiser.step()

    return Contestant(step=step, trained=trained, size=size)


def plain(device: str) -> Contestant:
    """What every ratio refers to; on a GPU, where it is captured."""
    return autograd(mlp(device), device)


def plain_large(device: str) -> Contestant:
    """The same at batch 256, with a hidden layer that keeps the size."""
    return autograd(mlp(device, D), device, size=LARGE)


def captured(device: str, make: Callable[[str], Contestant]) -> Contestant:
    """A plain loop without its host: its step is captured once and replayed, as ours are."""
    contestant, graph = make(device), torch.cuda.CUDAGraph()
    cuda_graph.warm_up(contestant.step)
    with torch.cuda.graph(graph):
        contestant.step()

    def step(keep: Callable[[], None] = contestant.step) -> None:
        graph.replay()  # on the batch and the net's memory, which ``keep`` holds

    return replace(contestant, step=step)


def vmapped(device: str) -> Contestant:
    """The plain net at several seeds at once by ``torch.func``; SGD written out."""
    nets = [mlp(device) for _ in range(SEEDS)]
    parameters, buffers = torch.func.stack_module_state(nets)
    parameters = {name: p.detach() for name, p in parameters.items()}
    x_SBD, y_SB = batch(replicas=SEEDS, device=device)

    def loss(parameters, x_BD: Tensor, y_B: Tensor) -> Tensor:
        z_BC = torch.func.functional_call(nets[0], (parameters, buffers), (x_BD,))
        return nn.functional.cross_entropy(z_BC, y_B)

    gradients = torch.func.vmap(torch.func.grad(loss))

    def step() -> None:
        for name, gradient in gradients(parameters, x_SBD, y_SB).items():
            parameters[name].sub_(gradient, alpha=LR)

    return Contestant(step=step, trained=list(parameters.values()), seeds=SEEDS)


def biotorch(device: str, mode: str) -> Contestant:
    """``biotorch``'s feedback alignment (fa) or direct feedback alignment (dfa)."""
    from biotorch.module.biomodule import BioModule

    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it converts
        net = BioModule(mlp(device), mode=mode, output_dim=C).to(device)

    def loss(net: nn.Module, x_BD: Tensor, y_B: Tensor) -> Tensor:
        measure = nn.functional.cross_entropy
        return measure(net(x_BD, targets=y_B, loss_function=measure), y_B)

    return autograd(net, device, loss)


class Mixture(nn.Module):
    """A layer of experts and a linear one. The experts are 784-256-784: they keep the size."""

    def __init__(self, experts: nn.Module) -> None:
        super().__init__()
        self.experts, self.output = experts, nn.Linear(D, C)

    def loss(self, x_BD: Tensor, y_B: Tensor) -> Tensor:
        """Cross-entropy, and what the package adds to balance its experts."""
        h_1BD, balance, *_ = self.experts(x_BD[None])
        return nn.functional.cross_entropy(self.output(h_1BD[0]), y_B) + balance


def mixture_of_experts(device: str, experts: int) -> Contestant:
    """``mixture-of-experts``: ReLU experts, of which each sample takes two."""
    from mixture_of_experts import MoE

    net = Mixture(MoE(dim=D, num_experts=experts, hidden_dim=H)).to(device)
    return autograd(net, device, Mixture.loss)


class Layers(nn.Module):
    """Experts of one layer, 784-784 with ReLU, as ours are."""

    def __init__(self, experts: int) -> None:
        super().__init__()
        self.weight_KDD = nn.Parameter(torch.randn(experts, D, D) * (2 / D) ** 0.5)
        self.bias_K1D = nn.Parameter(torch.zeros(experts, 1, D))

    def forward(self, x_KND: Tensor) -> Tensor:
        """Each expert's output for its own inputs."""
        return torch.relu(torch.baddbmm(self.bias_K1D, x_KND, self.weight_KDD))


def mixture_of_experts_large(device: str, experts: int) -> Contestant:
    """``mixture-of-experts`` with our experts, of which each sample takes one, at batch 256."""
    from mixture_of_experts import MoE

    moe = MoE(dim=D, num_experts=experts, experts=Layers(experts), second_policy_train="none")
    return autograd(Mixture(moe).to(device), device, Mixture.loss, LARGE)


def st_moe(device: str, experts: int) -> Contestant:
    """``st-moe-pytorch``: gated (GEGLU) experts, of which each sample takes two."""
    from st_moe_pytorch import MoE

    mult = 1.5 * (H + 0.5) / D  # it makes int(D * mult * 2 / 3) hidden units
    net = Mixture(MoE(dim=D, num_experts=experts, expert_hidden_mult=mult)).to(device)
    return autograd(net, device, Mixture.loss)


def ours(
    device: str, case: Case, seeds: int = 1, size: int = B, steps: int = STEPS, **choices
) -> Contestant:
    """A registered method, by ``epoch`` as the trainer calls it: batches gathered from bytes."""
    learner = case.build(replicas=seeds, **choices).to(device)
    generator = torch.Generator().manual_seed(0)
    samples = steps * size
    values = torch.randint(0, 256, (samples, D), generator=generator).to(torch.uint8)
    x_ND = Pixels(values, 2 / 255, -1.0).to(device)
    y_N = torch.randint(0, C, (samples,), generator=generator).to(device)
    order_SM = torch.stack([torch.randperm(samples, generator=generator) for _ in range(seeds)])
    order_SM = order_SM.to(device)
    known = device == "cpu" and isinstance(learner, NetLearner)
    return Contestant(
        step=lambda: learner.epoch(x_ND, y_N, order_SM, size, LR),
        trained=list(learner.parameters()),
        steps=steps,
        seeds=seeds,
        size=size,
        floor_us=floor(learner, x_ND, order_SM, size).us if known else None,
    )


def entries(device: str) -> Iterator[tuple[str, str, Callable[[str], Contestant]]]:
    """Label, distribution it comes from, and how it is made; the plain loop first."""
    yield from _plain_loops(device, PLAIN, plain)
    yield f"torch.func.vmap, {SEEDS} seeds", "torch", vmapped
    for case in cases():
        yield case.label, OURS, partial(ours, case=case)
        if case.method == "bp" or (case.method == "sal" and device == "cuda"):
            label = f"{case.label}, {SEEDS} seeds side by side"
            yield label, OURS, partial(ours, case=case, seeds=SEEDS)
    for mode in ("fa", "dfa"):
        yield f"biotorch, {mode.upper()}", "biotorch", partial(biotorch, mode=mode)
    for make, package in ((mixture_of_experts, "mixture-of-experts"), (st_moe, "st-moe-pytorch")):
        for k in EXPERTS:
            yield f"{package}, {k} experts", package, partial(make, experts=k)
    yield from _plain_loops(device, PLAIN_LARGE, plain_large)
    for k in EXPERTS:
        large = partial(ours, case=Case("moe", k), size=LARGE, steps=LARGE_STEPS, hidden=(D,))
        yield f"MoE-{k}, 784-784, batch {LARGE}", OURS, large
    for k in EXPERTS:
        label = f"mixture-of-experts, {k} of 784-784, one a sample, batch {LARGE}"
        yield label, "mixture-of-experts", partial(mixture_of_experts_large, experts=k)


def _plain_loops(device: str, label: str, make: Callable[[str], Contestant]):
    yield label, "torch", make
    if device == "cuda":
        yield label + CAPTURED, "torch", partial(captured, make=make)


def warm_up(label: str, contestant: Contestant) -> None:
    """Takes the first steps and makes sure that they train.

    Raises:
        RuntimeError: They do not: nothing has changed, or something is not a number any more.
    """
    before = [tensor.detach().clone() for tensor in contestant.trained]
    steps = WARM_UP if contestant.size == B else LARGE_STEPS
    for _ in range(math.ceil(steps / contestant.steps)):
        contestant.step()
    pairs = list(zip(before, contestant.trained, strict=True))
    if all(torch.equal(old, new) for old, new in pairs):
        raise RuntimeError(f"{label} does not train: its steps change nothing")
    if not all(bool(new.isfinite().all()) for _, new in pairs):
        raise RuntimeError(f"{label} diverges")


def contestants(device: str) -> tuple[dict[str, Contestant], dict[str, str], dict[str, str]]:
    """Those that train, warm; the package of each, with its version; why others do not."""
    made, packages, missing = {}, {}, {}
    for label, package, make in entries(device):
        packages[label] = package
        try:
            contestant = make(device)
            warm_up(label, contestant)
        except ImportError:
            missing[label] = "not installed"
        except Exception as error:  # somebody else's code: whatever it raises, the rest still runs
            missing[label] = f"failed: {type(error).__name__}"
            print(f"{label}: {type(error).__name__}: {error}", file=sys.stderr)
        else:
            made[label] = contestant
            if package != OURS:
                packages[label] = f"{package} {_version(package)}"
    return made, packages, missing


def _version(package: str) -> str:
    """What its metadata say; a folder on the search path has none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"


def measure(made: dict[str, Contestant], device: str, rounds: int) -> dict[str, list[float]]:
    """Microseconds of one net's step for each contestant, one number a round."""
    times: dict[str, list[float]] = {label: [] for label in made}
    for _ in range(rounds):
        for label, contestant in made.items():
            synchronise(device)
            start = time.perf_counter()
            steps = STEPS if contestant.size == B else LARGE_STEPS
            for _ in range(steps // contestant.steps):
                contestant.step()
            synchronise(device)
            seconds = time.perf_counter() - start
            times[label].append(seconds / steps / contestant.seeds * 1e6)
    return times


def reference(labels: Container[str], size: int) -> str:
    """The plain loop of a batch that ratios refer to: captured, if such a one was measured."""
    label = PLAIN if size == B else PLAIN_LARGE
    return label + CAPTURED if label + CAPTURED in labels else label


def frame(
    made: dict[str, Contestant],
    packages: dict[str, str],
    missing: Mapping[str, str],
    times: dict[str, list[float]],
):
    """The table: medians and quartiles over the rounds of the time and of the ratio in a round."""
    import pandas as pd

    rows = []
    for label, package in packages.items():
        row = {"contestant": label, "package": package, "status": "measured"}
        if label in missing:
            rows.append(row | {"status": missing[label]})
            continue
        us = torch.tensor(times[label], dtype=torch.float64)
        ratio = us / torch.tensor(times[reference(times, made[label].size)], dtype=torch.float64)
        quartiles = torch.tensor([0.5, 0.25, 0.75], dtype=torch.float64)
        for name, values in (("us", us), ("ratio", ratio)):
            numbers = values.quantile(quartiles).tolist()
            row |= dict(zip((name, f"{name}_q25", f"{name}_q75"), numbers, strict=True))
        floor_us = made[label].floor_us
        row["seeds"] = made[label].seeds
        row["floor_us"] = math.nan if floor_us is None else floor_us
        rows.append(row)
    columns = ["contestant", "package", "status", "seeds"]
    columns += [f"{name}{part}" for name in ("us", "ratio") for part in ("", "_q25", "_q75")]
    return pd.DataFrame(rows, columns=[*columns, "floor_us"])


def markdown(table, notes: Sequence[str], device: str) -> str:
    """The page with the table."""
    heading = "# A training step beside other packages'"
    lines = [heading if device == "cpu" else f"{heading}, on a GPU", ""]
    lines += [line for note in notes for line in (note, "")]
    lines += [
        "| contestant | package | a net's step [µs] | ratio to the plain loop | floor [µs] |",
        "|---|---|---:|---:|---:|",
    ]
    for row in table.itertuples():
        cells = [row.contestant, row.package, row.status, "–", "–"]
        if row.status == "measured":
            cells[2] = f"{row.us:.0f} ({row.us_q25:.0f} to {row.us_q75:.0f})"
            cells[3] = f"{row.ratio:.2f} ({row.ratio_q25:.2f} to {row.ratio_q75:.2f})"
            if not math.isnan(row.floor_us):
                cells[4] = f"{row.floor_us:.0f} (we: {row.us / row.floor_us:.1f} x)"
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def plot(table, title: str, path: Path) -> None:
    """Every contestant's median step on a logarithmic axis, with the quartiles and the floor."""
    from matplotlib import pyplot as plt

    from paper import style

    style.use()
    known = table[table["status"] == "measured"].reset_index(drop=True)
    figure, axes = plt.subplots(figsize=(10, 1.2 + 0.24 * len(known)))
    palette = plt.get_cmap("tab10")
    for number, package in enumerate(dict.fromkeys(known["package"])):
        own = known[known["package"] == package]
        spread = [own["us"] - own["us_q25"], own["us_q75"] - own["us"]]
        colour = palette(number)
        axes.errorbar(own["us"], own.index, xerr=spread, fmt="o", color=colour, label=package)
    if known["floor_us"].notna().any():
        axes.plot(known["floor_us"], known.index, "k|", ms=9, label="measured floor (ours)")
    labels = set(known["contestant"])
    plain = known["us"][known["contestant"] == reference(labels, B)].item()
    axes.axvline(plain, color="0.6", linestyle="--", linewidth=1)
    axes.set(xscale="log", xlabel="time of one net's training step (µs)", title=title)
    axes.set_yticks(known.index, known["contestant"])
    axes.set_ylim(len(known) - 0.4, -0.6)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.legend(title="median; bars: quartiles", loc="upper right")
    style.write_figure(figure, path)
    plt.close(figure)


def terminal(table, title: str):
    """The table for ``rich``: medians only."""
    from rich.table import Table

    shown = Table(title=title)
    for header in ("", "median [µs]", "ratio to the plain loop"):
        shown.add_column(header, justify="right" if header else "left")
    for row in table.itertuples():
        known = row.status == "measured"
        numbers = (f"{row.us:.0f}", f"{row.ratio:.2f}") if known else (row.status, "–")
        shown.add_row(row.contestant, *numbers)
    return shown


def table_name(device: str) -> str:
    """Of the page, its csv and its figure: a GPU's stand beside the CPU's."""
    return "peers" if device == "cpu" else "peers_gpu"


def notes(where: dict, title: str, rounds: int) -> list[str]:
    """What the page says above its table; ``where`` is the provenance."""
    cpu = where["device"] == "cpu"
    commit = "no commit" if where["git_sha"] is None else f"commit {where['git_sha'][:12]}"
    changed = " with uncommitted changes" if where["git_dirty"] else ""
    machine = where["machine"]["cpu"] if cpu else where["device"]
    floor = (
        "The floor is what a step's operations and bytes take at rates measured in this run "
        "([benchmarks/floor.py](../../benchmarks/floor.py))."
    )
    graphs = (
        "Ours replay a step from a CUDA graph, and so does the plain loop that the ratios refer "
        "to; the others are called as they come, and wait for the host. Everything in float32, "
        "without TF32. How far from the floor: "
        "[benchmarks/README.md](../../benchmarks/README.md#on-a-gpu)."
    )
    command = "nox -s peers" if cpu else "nox -s peers -- --device cuda"
    return [
        f"Generated by `{command}`; do not edit. {title}; PyTorch {where['torch_version']}, "
        f"{machine}; {commit}{changed}.",
        f"Median and quartiles over {rounds} rounds of {STEPS} steps, in which the contestants "
        f"take turns (of {LARGE_STEPS} at batch {LARGE}); the ratio is taken within each round, to "
        "the plain loop of the same batch. With several seeds, the time is that of "
        "one seed's step. Ours gather each batch anew from bytes, the others reuse one. The "
        "experts of both mixtures are 784-256-784, since they keep the size, and each sample takes "
        f"two. At batch {LARGE} the net is 784-784-10, and both mixtures have the same experts, "
        "one matrix with ReLU, one a sample; the package gives an expert at most 1.25 times its "
        f"share of the samples and drops the others'. {floor if cpu else graphs}",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    from paper.measured import NOTHING_KEPT
    from paper.options import carry_out, count
    from sal.learner import DEVICES

    parser = argparse.ArgumentParser(prog="peers", description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="default cpu")
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--rounds", type=count, default=ROUNDS, metavar="N", help=f"of turns, default {ROUNDS}"
    )
    group.add_argument(
        "--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds; kept apart in paper/quick"
    )
    options = parser.parse_args(arguments)
    return carry_out(partial(_compare, options), NOTHING_KEPT)


def _compare(options: argparse.Namespace, console: Console) -> int:
    from paper import paths
    from paper.provenance import provenance
    from sal.run import set_up_device

    rounds = QUICK_ROUNDS if options.quick else options.rounds
    place = paths.quick() if options.quick else paths.committed()
    where, name = provenance(options.device), table_name(options.device)
    page = place.table(name, "md")
    page.parent.mkdir(parents=True, exist_ok=True)  # before minutes are spent
    set_up_device(options.device)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    title = f"{D}-{H}-{C}, batch {B}, one {'thread' if options.device == 'cpu' else 'GPU'}"
    with warnings.catch_warnings(action="ignore"):  # of other people's code
        made, packages, missing = contestants(options.device)
        times = measure(made, options.device, rounds)
    table = frame(made, packages, missing, times)
    csv = table.to_csv(index=False, float_format="%.4f", lineterminator="\n")
    text = markdown(table, notes(where, title, rounds), options.device)
    paths.write({page: text, page.with_suffix(".csv"): csv})
    plot(table, title, place.figure(name, "png"))
    console.print(terminal(table, title))
    console.print(f"written: {place.table(name, '{md,csv}')}, {place.figure(name, 'png')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
