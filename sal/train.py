"""The only training loop: epochs, order of samples, evaluation, clock, checkpoints.

Axes: R replicas, N training samples, M samples of an evaluation, B samples of a batch, D inputs.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor

from sal.config import Config, one_of, positive
from sal.data.partition import VALIDATE_ON, Partition
from sal.data.pixels import SCALINGS, Pixels
from sal.files import write_whole
from sal.learner import Learner
from sal.streams import Streams

EVAL_BATCH = (256, 2000)
"""Samples evaluated at a time, at least and at most."""
EVAL_NUMBERS = 2**19
"""Inputs of a replica evaluated at a time, within these limits: 2 MB of them."""
CHECKPOINT_AFTER = 600.0
"""Seconds that a run must be expected to last to be checkpointed."""
CHECKPOINT = {"run", "epoch", "tensors", "outcomes"}
"""What a checkpoint holds."""
Probe = Callable[[Learner, Partition], Sequence[Mapping[str, Any]]]
"""Looks at a net without changing it: for each replica, JSON values by name."""


@dataclass(frozen=True, kw_only=True)
class Protocol(Config):
    """How every method is trained alike. The defaults are the paper's (section 4.1.1).

    Raises:
        ValueError: A field is outside its range.
    """

    epochs: int = 25
    batch_size: int = 16
    lr: float = 1e-4
    """Step size of plain SGD: no momentum, no weight decay, constant. Momentum 0.9 would take the
    baseline on Digits to about 90 %, where the paper has 39 %."""
    pixels: str = "signed"
    """Pixel scaling, a key of ``sal.data.pixels.SCALINGS``."""
    size: int | None = None
    """Rows and columns that images are resized to, 1 to 1024; None: native. The column of Table 1
    that gives the resolution is lost. This and those below are what ``run.execute`` gives to
    ``partition``; ``train`` takes the data as they come."""
    validation_share: float = 0.2
    """Part of a data set without official test part that validates, in (0, 1); and of the training
    part where that validates, see ``validate_on``."""
    validate_on: str = "test"
    """``test``, or ``training``: a share of the training part validates and the test part is not
    read, so that choices can be made on it."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be an integer >= 1, got {value!r}")
        positive("lr", self.lr)
        one_of("pixels", self.pixels, tuple(SCALINGS))
        if self.size is not None and (type(self.size) is not int or not 1 <= self.size <= 1024):
            raise ValueError(f"size must be None or an integer from 1 to 1024, got {self.size!r}")
        positive("validation_share", self.validation_share)
        one_of("validate_on", self.validate_on, VALIDATE_ON)
        if self.validation_share >= 1:
            raise ValueError(f"validation_share must be below 1, got {self.validation_share!r}")


@dataclass
class Outcome:
    """What one replica's training gave."""

    status: str = "ok"
    """ok, or diverged where a loss is not finite, after which the replica is left alone."""
    history: dict[str, list] = field(default_factory=dict)
    """One value an epoch: accuracy (percent of the validation part), train_accuracy, train_loss,
    val_loss (mean cross-entropy in nats of the net as it stands after the epoch), usage:<layer>,
    the share of the validation part that each area takes, and what a probe has found."""
    seconds: float = 0.0
    """Wall clock of training and evaluation, shared by the replicas trained side by side. A
    machine's first runs of a method have the compiling of its kernels in it, some ten seconds."""
    weights_sha256: str = ""

    def last(self, metric: str) -> float | None:
        """The metric after the last epoch; None where it diverged."""
        return self.history[metric][-1] if self.status == "ok" else None


def epoch_order(streams: Sequence[Streams], epoch: int, samples: int) -> Tensor:
    """Positions [R, N] in the training part, in the order of an epoch, for every method alike."""
    return torch.stack(
        [
            torch.randperm(samples, generator=replica.generator("order", epoch))
            for replica in streams
        ]
    )


def evaluate(
    learner: Learner, x_ND: Pixels, y_N: Tensor, index_RM: Tensor, usage: bool = False
) -> list[dict[str, Any]]:
    """For each replica: accuracy (percent), mean cross-entropy (nats), and its areas' usage.

    Sums are over all M samples in float64, so the last batch weighs what it holds.

    Raises:
        ValueError: The method's logits have another shape than [R, B, C].
    """
    R, M = index_RM.shape
    correct_R, loss_R = torch.zeros(2, R, dtype=torch.float64, device=x_ND.device)
    counts = {
        name: torch.zeros(R, areas, dtype=torch.int64, device=x_ND.device)
        for name, areas in learner.areas_of().items()
    }
    least, most = EVAL_BATCH
    batch = min(max(EVAL_NUMBERS // x_ND.shape[1], least), most)
    for index_RB in index_RM.split(batch, dim=1):
        x_RBD, y_RB = x_ND[index_RB], y_N[index_RB]
        z_RBC = learner.logits(x_RBD)
        if z_RBC.shape != (want := (*index_RB.shape, learner.n_classes)):
            raise ValueError(
                f"logits of {learner.name} must be [replicas, batch, classes], {want}; got "
                f"{tuple(z_RBC.shape)}"
            )
        loss_RB = torch.nn.functional.cross_entropy(
            z_RBC.flatten(0, 1).double(), y_RB.flatten(), reduction="none"
        ).view(R, -1)
        loss_R += loss_RB.sum(1)
        correct_R += (z_RBC.argmax(2) == y_RB).sum(1)
        for name, area_RB in learner.routes(x_RBD).items() if usage else ():
            counts[name].scatter_add_(1, area_RB, torch.ones_like(area_RB))
    return [
        {
            "accuracy": round(100 * correct_R[r].item() / M, 4),
            "loss": round(loss_R[r].item() / M, 6),
            **{f"usage:{name}": _shares(count_RK[r], M) for name, count_RK in counts.items()},
        }
        for r in range(R)
    ]


def train(
    learner: Learner,
    data: Partition,
    streams: Sequence[Streams],
    protocol: Protocol,
    *,
    checkpoint: Path | None = None,
    checkpoint_after: float = CHECKPOINT_AFTER,
    on_epoch: Callable[[int, list[Outcome]], None] = lambda epoch, outcomes: None,
    probe: Probe | None = None,
) -> list[Outcome]:
    """Trains every replica of ``learner`` in place.

    On the CPU with one thread, whatever the process is set to: the bits of a sum depend on the
    number of threads, and nets this small are no faster with more.

    Args:
        learner: A method, on its device.
        data: Data on the same device, with one row of indices a replica.
        streams: The replicas' streams, as the learner was built from; uses order.
        protocol: Epochs, batch size, step size.
        checkpoint: Where to write the state after every epoch, if the run is expected to last
            longer than ``checkpoint_after`` seconds; read at the start if it is there. A run that
            was killed and goes on from it ends with the same bits. It stays until the caller,
            who has put the outcome into safety, removes it. One that cannot be written is a
            warning: the run goes on without.
        checkpoint_after: In seconds.
        on_epoch: Called after every epoch with its number (from 1) and the outcomes so far.
        probe: Called after every epoch; what it finds goes into the history, its time is not
            counted.

    Returns:
        One outcome for each replica.

    Raises:
        ValueError: The data do not fit the net: another image size, labels out of range, another
            number of replicas. Or its logits have a wrong shape, or the checkpoint is of another
            run.
    """
    if len(streams) != learner.replicas:
        raise ValueError(
            f"the net has {learner.replicas} replicas, got streams of {len(streams)}; build it "
            "from the same streams"
        )
    _check(learner, data)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _train(
            learner, data, streams, protocol, checkpoint, checkpoint_after, on_epoch, probe
        )
    finally:
        torch.set_num_threads(threads)


def _train(
    learner: Learner,
    data: Partition,
    streams: Sequence[Streams],
    protocol: Protocol,
    checkpoint: Path | None,
    checkpoint_after: float,
    on_epoch: Callable[[int, list[Outcome]], None],
    probe: Probe | None,
) -> list[Outcome]:
    device = data.train_x_ND.device
    outcomes, first = [Outcome() for _ in streams], 0
    if checkpoint is not None and checkpoint.exists():
        first, outcomes = _restore(learner, checkpoint, _identity(learner, streams, protocol))
    parts = {
        "train": (data.train_x_ND, data.train_y_N, data.train_index_RN),
        "val": (data.val_x_MD, data.val_y_M, data.val_index_RM),
    }
    for epoch in range(first, protocol.epochs):
        start = time.perf_counter()
        order_RN = epoch_order(streams, epoch, data.train_index_RN.shape[1]).to(device)
        learner.epoch(
            data.train_x_ND,
            data.train_y_N,
            data.train_index_RN.gather(1, order_RN),
            protocol.batch_size,
            protocol.lr,
        )
        results = {
            part: evaluate(learner, *arrays, usage=part == "val") for part, arrays in parts.items()
        }
        seconds = time.perf_counter() - start
        probed = [{} for _ in outcomes] if probe is None else probe(learner, data)
        for outcome, trained, validated, besides in zip(
            outcomes, *results.values(), probed, strict=True
        ):
            outcome.seconds += seconds
            if outcome.status == "ok":
                _record(outcome, trained, validated, besides)
        on_epoch(epoch + 1, outcomes)
        if all(outcome.status != "ok" for outcome in outcomes):
            break
        if epoch + 1 < protocol.epochs:
            learner.after_epoch(epoch + 1, streams)
        expected = protocol.epochs * outcomes[0].seconds / (epoch + 1)
        if checkpoint is not None and expected > checkpoint_after:
            _save(learner, checkpoint, _identity(learner, streams, protocol), epoch + 1, outcomes)
    for r, outcome in enumerate(outcomes):
        outcome.weights_sha256 = learner.digest(r)
    return outcomes


def _record(outcome: Outcome, trained: dict, validated: dict, besides: Mapping[str, Any]) -> None:
    if not (math.isfinite(trained["loss"]) and math.isfinite(validated["loss"])):
        outcome.status = "diverged"
        return
    values = {
        "accuracy": validated["accuracy"],
        "train_accuracy": trained["accuracy"],
        "train_loss": trained["loss"],
        "val_loss": validated["loss"],
        **{name: value for name, value in validated.items() if name.startswith("usage:")},
        **besides,
    }
    for name, value in values.items():
        outcome.history.setdefault(name, []).append(value)


def _shares(count_K: Tensor, total: int) -> list[float]:
    return [round(count / total, 4) for count in count_K.tolist()]


def _check(learner: Learner, data: Partition) -> None:
    for part, x_ND, y_N, index_RN in (
        ("training", data.train_x_ND, data.train_y_N, data.train_index_RN),
        ("validation", data.val_x_MD, data.val_y_M, data.val_index_RM),
    ):
        if x_ND.shape[1] != learner.in_features:
            raise ValueError(
                f"the net takes {learner.in_features} inputs, the {part} images have "
                f"{x_ND.shape[1]} pixels; build the net with in_features={x_ND.shape[1]}"
            )
        low, high = y_N.min().item(), y_N.max().item()
        if low < 0 or high >= learner.n_classes:
            raise ValueError(
                f"labels of the {part} part must be in 0 to {learner.n_classes - 1}, got {low} to "
                f"{high}; build the net with as many classes as the data have"
            )
        if len(index_RN) != learner.replicas:
            raise ValueError(
                f"the net has {learner.replicas} replicas, the {part} part has indices for "
                f"{len(index_RN)}; make both from the same streams"
            )


def _identity(learner: Learner, streams: Sequence[Streams], protocol: Protocol) -> dict[str, Any]:
    """What a checkpoint must agree in with the run that goes on from it."""
    return {
        "learner": learner.name,
        "version": learner.version,
        "config": learner.config.to_dict(),
        "seeds": [replica.seed for replica in streams],
        "protocol": protocol.to_dict(),
    }


def _save(
    learner: Learner, path: Path, run: dict[str, Any], epoch: int, outcomes: list[Outcome]
) -> None:
    state = {
        "run": run,
        "epoch": epoch,
        "tensors": learner.state_dict(),
        "outcomes": [vars(outcome) for outcome in outcomes],
    }
    try:
        write_whole(path, partial(torch.save, state))
    except (OSError, RuntimeError) as error:  # PyTorch's writer has errors of its own
        warnings.warn(f"no checkpoint of epoch {epoch}: {error}", stacklevel=4)


def _restore(learner: Learner, path: Path, run: dict[str, Any]) -> tuple[int, list[Outcome]]:
    """The epochs done and the outcomes so far; the learner takes the weights."""
    try:
        state = _read(path, next(iter(learner.tensors().values())).device)
    except (OSError, ValueError, RuntimeError, EOFError, BadZipFile, UnpicklingError) as error:
        warnings.warn(f"{path} cannot be read, the run starts anew: {error}", stacklevel=3)
        return 0, [Outcome() for _ in range(learner.replicas)]
    if state["run"] != run:
        raise ValueError(
            f"checkpoint {path} is of another run, {state['run']}, than asked for, {run}; "
            "delete it to start anew"
        )
    learner.load_state_dict(state["tensors"])
    return state["epoch"], [Outcome(**values) for values in state["outcomes"]]


def _read(path: Path, device: torch.device) -> dict[str, Any]:
    """A checkpoint's contents. Its checksums are verified: mapped into memory, nobody else does."""
    with ZipFile(path) as records:
        if damaged := records.testzip():
            raise ValueError(f"{damaged} is damaged")
    state = torch.load(path, map_location=device, weights_only=True, mmap=True)  # no copy
    if not isinstance(state, dict) or state.keys() != CHECKPOINT:
        raise ValueError(f"it must hold {', '.join(sorted(CHECKPOINT))}")
    return state
