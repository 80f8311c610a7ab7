"""A run: one method, one data set, one seed. What identifies it, and how it is carried out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import torch

from sal.config import Config
from sal.data.dataset import Dataset
from sal.data.partition import partition
from sal.learner import DEVICES, Learner
from sal.streams import Streams
from sal.train import CHECKPOINT_AFTER, Outcome, Probe, Protocol, train


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run, before it is made. Two equal runs on equal data give equal results.

    Example:
        >>> from sal import SALConfig
        >>> from sal.run import Run
        >>> from sal.train import Protocol
        >>> config, protocol = SALConfig(areas=(4,)), Protocol(lr=0.01)
        >>> Run(dataset="usps", learner="sal", config=config, seed=0, protocol=protocol).label
        'usps sal K=4 lr=0.01 seed 0'
    """

    dataset: str
    """Key of the data set, as ``sal.data.find`` knows it."""
    learner: str
    """Name of the method."""
    config: Config
    """The method's configuration."""
    seed: int
    protocol: Protocol = dataclasses.field(default_factory=Protocol)

    def identity(self) -> dict:
        """The run as JSON values; what a ledger row is recognised by."""
        return {
            "dataset": self.dataset,
            "learner": self.learner,
            "config": self.config.to_dict(),
            "seed": self.seed,
            "protocol": self.protocol.to_dict(),
        }

    @property
    def label(self) -> str:
        """Short text for people, such as "digits sal K=4 activation=tanh seed 0".

        It names what differs from the configuration's and the protocol's defaults.
        """
        areas = getattr(self.config, "areas", ())
        parts = [self.dataset, self.learner]
        parts += [f"K={_short(areas)}"] if areas else []
        parts += [
            f"{field.name}={_short(value)}"
            for choices in (self.config, self.protocol)
            for field in dataclasses.fields(choices)
            for value in [getattr(choices, field.name)]
            if field.name != "areas" and value != field.default
        ]
        return f"{' '.join(parts)} seed {self.seed}"


def _short(value: object) -> str:
    """A value of a configuration for people: 0.5774, or 63x256 for as many equal layers."""
    if isinstance(value, tuple):
        groups = [(each, len(list(own))) for each, own in groupby(value)]
        return ",".join(f"{n}x{each}" if n > 2 else ",".join([str(each)] * n) for each, n in groups)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def set_up_device(device: str) -> None:
    """No TF32, which rounds to ten bits, on a GPU.

    Raises:
        ValueError: The device is unknown, or there is no such device here.
    """
    if device not in DEVICES:
        raise ValueError(f"device must be one of {', '.join(DEVICES)}; got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' was asked for, and PyTorch finds no GPU here; use cpu")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def execute(
    run: Run,
    learner_class: type[Learner],
    data: Dataset,
    *,
    device: str = "cpu",
    checkpoint: Path | None = None,
    checkpoint_after: float = CHECKPOINT_AFTER,
    on_epoch: Callable[[int, list[Outcome]], None] = lambda epoch, outcomes: None,
    probe: Probe | None = None,
) -> tuple[Outcome, str]:
    """Trains ``run``; returns what it gave, and how its data were split.

    Turns TF32 off for the whole process (``set_up_device``).

    Raises:
        ValueError: The device is not there, or the data do not fit the method.
    """
    set_up_device(device)
    streams = [Streams(run.seed)]
    protocol = run.protocol
    parts = partition(
        data,
        streams,
        protocol.pixels,
        protocol.size,
        protocol.validation_share,
        protocol.validate_on,
    ).to(device)
    in_features = parts.train_x_ND.shape[1]
    learner = learner_class(run.config, in_features, data.n_classes, streams).to(device)
    (outcome,) = train(
        learner,
        parts,
        streams,
        protocol,
        checkpoint=checkpoint,
        checkpoint_after=checkpoint_after,
        on_epoch=on_epoch,
        probe=probe,
    )
    return outcome, parts.split
