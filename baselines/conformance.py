"""The contract of ``sal.Learner`` as checks that any registered method must pass.

``python -m baselines.conformance NAME`` runs them, from an installed wheel, too; ``nox -s
conformance -- NAME`` is the same. The project's own tests run them on every built-in method.

Axes: R replicas, B samples, D inputs, C classes.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import math
import sys
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from baselines import NAMES, is_name, learner_class, learners, left_out
from sal.config import Config
from sal.data import load
from sal.data.partition import partition
from sal.learner import Floor, Learner
from sal.streams import Streams
from sal.train import Protocol, train

D, C, B = 16, 4, 9
STEPS, LR = 10, 0.1
FLOOR_SEEDS = (0, 1)
LEAST_FLOOR = 50.0
"""Percent on Digits that a method must state at least: five times chance."""

Check = Callable[[type[Learner], Config], None]
CHECKS: list[Check] = []
"""Each takes a method and a configuration of it, and raises AssertionError where it falls short."""


def check(function: Check) -> Check:
    """Adds a check; its docstring is the sentence that holds."""
    CHECKS.append(function)
    return function


def configs(method: type[Learner]) -> list[Config]:
    """What a method is checked with: its defaults, deep, and with several areas if it has areas."""
    fields = {field.name for field in dataclasses.fields(method.Config)}
    found, deep = [{}], {"hidden": (D, D)}
    if {"activation", "residual"} <= fields:  # the net that the suite's own methods train
        deep |= {"activation": "tanh", "residual": "after"}
    if "hidden" in fields:
        found.append(deep)
    if "areas" in fields:
        found.append({"areas": (5,)})
    if {"hidden", "areas"} <= fields:
        found.append(deep | {"areas": (3, 2, 2)})
    return [method.Config(**choices) for choices in found]


def build(method: type[Learner], config: Config, seeds: Sequence[int] = (0,)) -> Learner:
    """A learner for the checks' batches."""
    return method(config, D, C, [Streams(seed) for seed in seeds])


def batch(
    seed: int = 0, size: int = B, replicas: int = 1, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """Inputs [R, B, D] and labels [R, B]; always the same for a seed."""
    generator = torch.Generator().manual_seed(seed)
    x_RBD = torch.randn(replicas, size, D, generator=generator).to(dtype)
    return x_RBD, torch.randint(0, C, (replicas, size), generator=generator)


def train_a_little(learner: Learner, seeds: Sequence[int] = (), steps: int = STEPS) -> Learner:
    """Takes some steps, each on another batch; with its seeds, the first of them ends an epoch."""
    for number in range(steps):
        learner.step(*batch(number, replicas=learner.replicas), LR)
        if number == 0 and seeds:
            learner.after_epoch(1, [Streams(seed) for seed in seeds])
    return learner


def require(holds: bool, message: str) -> None:
    """Raises AssertionError with the message unless it holds."""
    if not holds:
        raise AssertionError(message)


def refuses(what: str, error: type[Exception], call: Callable[[], object]) -> None:
    """Raises AssertionError unless the call raises such an error."""
    try:
        call()
    except error:
        return
    except Exception as other:
        raise AssertionError(
            f"{what} must be refused by a {error.__name__}; it raised "
            f"{type(other).__name__}: {other}"
        ) from other
    raise AssertionError(f"{what} must be refused by a {error.__name__}; nothing was raised")


@check
def says_what_it_is(method: type[Learner], config: Config) -> None:
    """It has a name, a line that says what it is, a version, a configuration and a floor."""
    require(
        isinstance(method.name, str) and is_name(method.name),
        f"name must be {NAMES}; got {method.name!r}",
    )
    summary = method.summary
    require(
        isinstance(summary, str) and summary.strip() != "" and "\n" not in summary,
        f"summary must be one line of text, got {summary!r}",
    )
    require(
        type(method.version) is int and method.version >= 1,
        f"version must be an integer >= 1, got {method.version!r}",
    )
    parameters = vars(method.Config).get("__dataclass_params__")  # its own, not an ancestor's
    require(
        issubclass(method.Config, Config) and parameters is not None and parameters.frozen,
        "Config must be derived from sal.Config, and decorated by @dataclass(frozen=True, "
        "kw_only=True)",
    )
    floor = getattr(method, "floor", None)
    require(
        isinstance(floor, Floor)
        and 0 < floor.lr < math.inf
        and LEAST_FLOOR <= floor.accuracy <= 100,
        f"floor must be a sal.Floor of a step size > 0 and an accuracy from {LEAST_FLOOR} to 100, "
        f"which the method states for itself on Digits; got {floor!r}",
    )


@check
def configuration_survives_json(method: type[Learner], config: Config) -> None:
    """A configuration is read as it was written, and an unknown field is refused by name."""
    values = config.to_dict()
    read = method.Config.from_dict(json.loads(json.dumps(values, allow_nan=False)))
    require(read == config, f"read from JSON, {config} is another configuration, {read}")
    refuses(
        "an unknown field of the configuration",
        ValueError,
        lambda: method.Config.from_dict(values | {"no such field": 1}),
    )


@check
def logits_have_a_row_a_sample(method: type[Learner], config: Config) -> None:
    """Logits are [R, B, C], in the inputs' type, also for a single sample."""
    for dtype in (torch.float32, torch.float64):
        learner = build(method, config, (0, 1)).to(dtype)
        for size in (1, B):
            x_RBD, _ = batch(size=size, replicas=2, dtype=dtype)
            z_RBC = learner.logits(x_RBD)
            got = (tuple(z_RBC.shape), z_RBC.dtype)
            want = ((2, size, C), dtype)
            require(got == want, f"logits must be {want}, got {got}")
            require(not z_RBC.requires_grad, "logits must not carry a graph of gradients")


@check
def a_step_is_the_update_times_the_rate(method: type[Learner], config: Config) -> None:
    """``step`` is parameter - lr * ``update``, in float64."""
    learner = build(method, config, (0, 1)).double()
    x_RBD, y_RB = batch(replicas=2, dtype=torch.float64)
    before = {name: p.clone() for name, p in learner.named_parameters()}
    update = learner.update(x_RBD, y_RB)
    require(
        update.keys() == before.keys(),
        f"update must name every parameter, {sorted(before)}; got {sorted(update)}",
    )
    learner.step(x_RBD, y_RB, 0.3)
    for name, p in learner.named_parameters():
        want = before[name] - 0.3 * update[name]
        off = (p - want).abs().max().item()
        require(off <= 1e-11 * (1 + want.abs().max().item()), f"{name} is {off:.2g} off")


@check
def an_epoch_is_its_steps(method: type[Learner], config: Config) -> None:
    """``epoch`` gives the bits of its steps in order, the last of them on a batch of one."""
    size = 2 * B + 1
    x_RBD, y_RB = batch(size=size)
    order_RM = torch.randperm(size, generator=torch.Generator().manual_seed(0))[None]
    whole, stepwise = build(method, config), build(method, config)
    whole.epoch(x_RBD[0], y_RB[0], order_RM, B, LR)
    for part_RB in order_RM.split(B, dim=1):
        stepwise.step(x_RBD[0][part_RB], y_RB[0][part_RB], LR)
    require(whole.digest(0) == stepwise.digest(0), "epoch and its steps end with other bits")


@check
def the_seed_alone_decides(method: type[Learner], config: Config) -> None:
    """One seed gives the same bits, another others, and PyTorch's own generator is not asked."""
    before = torch.get_rng_state()
    digests = []
    for number, seed in enumerate((3, 3, 4)):
        torch.manual_seed(number)
        state = torch.get_rng_state()
        digests.append(train_a_little(build(method, config, (seed,)), (seed,)).digest(0))
        untouched = torch.equal(torch.get_rng_state(), state)
        require(untouched, "numbers were drawn from PyTorch's own generator: use the streams")
    torch.set_rng_state(before)
    require(digests[0] == digests[1], "the same seed gave other bits")
    require(digests[1] != digests[2], "another seed gave the same bits")


@check
def a_replica_is_the_same_run_alone(method: type[Learner], config: Config) -> None:
    """Each of several replicas has the bits of the same run alone."""
    seeds = (0, 1, 2)
    together, alone = build(method, config, seeds), [build(method, config, (s,)) for s in seeds]
    for number in range(STEPS):
        x_RBD, y_RB = batch(number, replicas=3)
        together.step(x_RBD, y_RB, LR)
        for r, learner in enumerate(alone):
            learner.step(x_RBD[r : r + 1], y_RB[r : r + 1], LR)
        if number == 0:
            together.after_epoch(1, [Streams(seed) for seed in seeds])
            for seed, learner in zip(seeds, alone, strict=True):
                learner.after_epoch(1, [Streams(seed)])
    for r, learner in enumerate(alone):
        require(together.digest(r) == learner.digest(0), f"replica {r} differs from it alone")


@check
def state_dict_is_all_of_it(method: type[Learner], config: Config) -> None:
    """A learner goes on from another's ``state_dict`` with the same bits; so does a copy."""
    learner, other = train_a_little(build(method, config)), build(method, config, (1,))
    require(other.digest(0) != learner.digest(0), "two seeds start from the same bits")
    other.load_state_dict(learner.state_dict())
    copied = copy.deepcopy(learner)
    require(other.digest(0) == learner.digest(0), "load_state_dict(state_dict()) lost bits")
    after = [train_a_little(each, (0,), 3).digest(0) for each in (learner, other, copied)]
    require(after[0] == after[1], "a learner goes on from a state_dict otherwise")
    require(after[0] == after[2], "a deep copy goes on otherwise")


@check
def predicting_changes_nothing(method: type[Learner], config: Config) -> None:
    """``logits``, ``routes`` and ``update`` change no bit."""
    learner = build(method, config)
    before = learner.digest(0)
    for name, call in {
        "logits": lambda: learner.logits(batch()[0]),
        "routes": lambda: learner.routes(batch()[0]),
        "update": lambda: learner.update(*batch()),
    }.items():
        call()
        require(learner.digest(0) == before, f"{name} changed the learner")


@check
def only_what_is_learned_is_a_parameter(method: type[Learner], config: Config) -> None:
    """Parameters change by steps; feedback and all else that is frozen are buffers, and do not."""
    learner = build(method, config)
    before = {name: tensor.clone() for name, tensor in learner.tensors().items()}
    train_a_little(learner, steps=30)
    changed = {n for n, tensor in learner.tensors().items() if not torch.equal(tensor, before[n])}
    learned = set(dict(learner.named_parameters()))
    require(changed <= learned, f"{sorted(changed - learned)} changed and are no parameters")
    require(learned <= changed, f"{sorted(learned - changed)} are parameters and never changed")
    graph = [name for name, p in learner.named_parameters() if p.requires_grad]
    require(not graph, f"parameters must not require gradients: {graph}")
    flat = [n for n, t in learner.tensors().items() if t.dim() == 0 or len(t) != 1]
    require(not flat, f"tensors must have the replicas' axis first: {flat}")


@check
def it_moves_as_a_whole(method: type[Learner], config: Config) -> None:
    """``to`` moves every tensor; on a GPU, if there is one, it computes the same to rounding."""
    learner = build(method, config).to("meta")
    left = {n for n, tensor in learner.tensors().items() if tensor.device.type != "meta"}
    left |= set(unregistered(learner))
    require(not left, f"to(device) leaves {sorted(left)} behind: register them as buffers")
    if torch.cuda.is_available():
        learner, (x_RBD, y_RB) = build(method, config), batch()
        want = learner.logits(x_RBD)
        moved = build(method, config).to("cuda")
        got = moved.logits(x_RBD.cuda()).cpu()
        require(torch.allclose(got, want, rtol=1e-3, atol=1e-4), "logits on the GPU are others")
        learner.step(x_RBD, y_RB, LR)
        moved.step(x_RBD.cuda(), y_RB.cuda(), LR)
        for name, p in moved.named_parameters():
            own = learner.get_parameter(name)
            require(torch.allclose(p.cpu(), own, rtol=1e-3, atol=1e-4), f"{name} steps otherwise")


def unregistered(module: torch.nn.Module, name: str = "") -> list[str]:
    """Tensors that a module, or one that it keeps in a list, has as plain attributes."""
    found = []
    for key, value in vars(module).items():
        if key in ("_parameters", "_buffers"):
            continue
        values = value.values() if isinstance(value, dict) else value
        for each in values if isinstance(value, dict | list | tuple) else (value,):
            if isinstance(each, torch.nn.Module):
                found += unregistered(each, f"{name}{key}.")
            elif isinstance(each, Tensor):
                found.append(f"{name}{key}")
    return found


@check
def areas_are_in_range(method: type[Learner], config: Config) -> None:
    """``routes`` gives an area [R, B] of each sample for each layer of ``areas_of``."""
    learner = build(method, config, (0, 1))
    routes, areas = learner.routes(batch(replicas=2)[0]), learner.areas_of()
    require(routes.keys() == areas.keys(), f"routes {sorted(routes)}, areas_of {sorted(areas)}")
    for name, area_RB in routes.items():
        require(tuple(area_RB.shape) == (2, B), f"{name} must be [2, {B}], got {area_RB.shape}")
        inside = 0 <= area_RB.min() and area_RB.max() < areas[name]
        require(bool(inside), f"{name} has areas outside [0, {areas[name]})")


@check
def bad_input_is_refused(method: type[Learner], config: Config) -> None:
    """Batches of another shape, impossible sizes and another's configuration are refused."""
    learner, (x, y) = build(method, config), batch()
    before = learner.digest(0)
    for what, bad_x, bad_y in (
        ("a batch of other inputs", x[..., 1:], y),
        ("a batch of other replicas", *batch(replicas=2)),
        ("a batch without replicas", x[0], y),
        ("a batch of fewer labels", x, y[:, 1:]),
    ):
        refuses(what, ValueError, lambda x=bad_x, y=bad_y: learner.step(x, y, LR))
        refuses(what, ValueError, lambda x=bad_x, y=bad_y: learner.update(x, y))
    require(learner.digest(0) == before, "a refused batch changed the learner")
    refuses("in_features 0", ValueError, lambda: method(config, 0, C, [Streams(0)]))
    refuses("n_classes 1", ValueError, lambda: method(config, D, 1, [Streams(0)]))
    refuses("no replica", ValueError, lambda: method(config, D, C, []))
    refuses("another configuration", TypeError, lambda: build(method, Config()))


@check
def learning_lowers_the_loss(method: type[Learner], config: Config) -> None:
    """With its defaults, 300 steps on 200 samples lower their loss."""
    if config != method.Config():
        return
    learner = build(method, config)
    x_RBD, _ = batch(size=200)
    y_RB = x_RBD[:, :, :C].argmax(2)

    def loss() -> float:
        return torch.nn.functional.cross_entropy(learner.logits(x_RBD)[0], y_RB[0]).item()

    first = loss()
    for _ in range(300):
        learner.step(x_RBD, y_RB, min(method.floor.lr, LR))
    require(loss() < 0.8 * first, f"the loss went from {first:.3f} to {loss():.3f}")


def floor_problem(method: type[Learner]) -> str | None:
    """Says by how much the method misses its own floor on Digits, if it does."""
    data, streams = load("digits"), [Streams(seed) for seed in FLOOR_SEEDS]
    learner = method(method.Config(), data.in_features, data.n_classes, streams)
    outcomes = train(learner, partition(data, streams), streams, Protocol(lr=method.floor.lr))
    reached = [outcome.last("accuracy") for outcome in outcomes]
    if all(accuracy is not None and accuracy >= method.floor.accuracy for accuracy in reached):
        return None
    return f"Digits at lr {method.floor.lr}: {reached} % (None: diverged), its floor is " + (
        f"{method.floor.accuracy} %"
    )


def problems(method: type[Learner]) -> dict[str, str]:
    """For each thing that a method promises, what is wrong with it; empty text where it holds.

    Only that it cannot be built, where it cannot.
    """
    found: dict[str, str] = {}
    tried = "its configurations"
    try:
        for config in configs(method):
            tried = str(config)
            learner = build(method, config)
            named = [*learner.named_parameters(), *learner.named_buffers()]
            inside = [name for name, _ in named if name not in learner.tensors()]
            require(
                not inside,
                f"{', '.join(inside)} are in submodules, which are not seen: register them on the "
                "learner, or derive from baselines.gradient.GradientLearner",
            )
    except (Exception, SystemExit) as error:  # somebody else's code
        why = f"{type(error).__name__}: {error}, of {tried}"
        return {"It can be built, as it is and deep, and holds its tensors itself.": why}
    for function in CHECKS:
        sentence = function.__doc__.splitlines()[0]
        try:
            for config in configs(method):
                function(method, config)
        except (Exception, SystemExit) as error:  # whatever it raises, the others are run
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            found[sentence] = f"{kind}{error}"
        else:
            found[sentence] = ""
    sentence = "On Digits it reaches the accuracy that it states for itself."
    try:
        found[sentence] = floor_problem(method) or ""
    except (Exception, SystemExit) as error:
        found[sentence] = f"{type(error).__name__}: {error}"
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns 1 if a method falls short or does not exist."""
    from rich.console import Console

    parser = argparse.ArgumentParser(
        prog="python -m baselines.conformance", description=__doc__.splitlines()[0]
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="methods; default all")
    options = parser.parse_args(arguments)
    console, failed = Console(highlight=False), 0
    torch.set_num_threads(1)  # as training does: the bits of a sum depend on their number
    with warnings.catch_warnings(action="ignore"):  # what is left out is told below
        there = learners()
    for name in options.names or [*there, *left_out()]:
        try:
            method = learner_class(name)
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            failed += 1
            continue
        console.print(f"{name}: {method.summary}", style="bold", markup=False)
        for sentence, problem in problems(method).items():
            failed += bool(problem)
            console.print("  [red]✗[/]" if problem else "  [green]✓[/]", sentence)
            if problem:
                console.print(f"      {problem}", style="red", markup=False)
    console.print("all hold" if failed == 0 else f"{failed} do not hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
