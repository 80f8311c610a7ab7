"""The contract of a method: everything that the trainer, the tables and the tests ask of it.

Axes: R replicas, B samples of a batch, N samples of a data set, D inputs, C classes.

A replica is one run (one seed). Built-in methods hold R of them side by side, every tensor with a
leading axis R, each bit-identical to the same run alone.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from sal.config import Config
from sal.data.pixels import Pixels
from sal.streams import Streams

DEVICES = ("cpu", "cuda")


class Floor(NamedTuple):
    """What a method must reach where it is easy: see ``Learner.floor``."""

    lr: float
    """A step size that suits the method."""
    accuracy: float
    """In percent, below what any seed gives."""


class Learner(nn.Module, ABC):
    """A net and its learning rule. Subclasses are final: one class, one file, one method.

    A method is built from its configuration, the input size, the number of classes and the named
    random streams, and from nothing else that is random. What it learns are parameters
    (``requires_grad=False``); what is frozen (feedback, prototypes) are buffers. Both are
    registered on the learner itself: tensors of submodules are not seen (``baselines.gradient`` has
    an adapter for nets made of modules). Data, order, epochs, clock and evaluation belong to the
    trainer.

    Args:
        config: The method's own configuration, an instance of ``Config``.
        in_features: D, number of inputs, >= 1.
        n_classes: C, number of classes, >= 2.
        streams: One ``Streams`` for each replica; R is their number.

    Raises:
        TypeError: The configuration is of another method.
        ValueError: A size is out of range or there is no replica.
    """

    name: ClassVar[str]
    """Unique, lower case: what the command line and the ledger call the method."""
    summary: ClassVar[str]
    """One line, with its source."""
    version: ClassVar[int]
    """Raised whenever the numbers that the method produces change; older results are stale."""
    Config: ClassVar[type[Config]]
    """Class of the method's configuration."""
    floor: ClassVar[Floor]
    """On Digits, with the default configuration and the published protocol but for the step size;
    conformance holds the method to it."""
    threads: int = 1
    """Over how many threads ``epoch`` may spread replicas; the bits do not depend on it."""

    def __init__(
        self, config: Config, in_features: int, n_classes: int, streams: Sequence[Streams]
    ) -> None:
        super().__init__()
        if not isinstance(config, self.Config):
            raise TypeError(
                f"{self.name} is configured by {self.Config.__name__}, got {type(config).__name__}"
            )
        if in_features < 1 or n_classes < 2 or not streams:
            raise ValueError(
                "a method needs in_features >= 1, n_classes >= 2 and at least one replica; got "
                f"in_features={in_features}, n_classes={n_classes}, {len(streams)} replicas"
            )
        self.config = config
        self.in_features = in_features
        self.n_classes = n_classes
        self.replicas = len(streams)

    @abstractmethod
    def logits(self, x_RBD: Tensor) -> Tensor:
        """Logits [R, B, C] of ``x_RBD``. Changes nothing."""

    @abstractmethod
    def step(self, x_RBD: Tensor, y_RB: Tensor, lr: float) -> None:
        """One step of plain SGD by the method's own rule, in place.

        Args:
            x_RBD: Inputs, in the parameters' type.
            y_RB: Labels, int64 in [0, C).
            lr: Step size, > 0.
        """

    @abstractmethod
    def update(self, x_RBD: Tensor, y_RB: Tensor) -> dict[str, Tensor]:
        """The step's direction by parameter name: ``step`` is p - lr * update[p]. Pure."""

    def epoch(
        self, x_ND: Tensor | Pixels, y_N: Tensor, order_RM: Tensor, batch_size: int, lr: float
    ) -> None:
        """Steps through M samples in the given order; the last batch holds what is left.

        A hook that a method may replace by something faster with the same bits.

        Args:
            x_ND: All inputs: a tensor in the parameters' type, or pixels, which indexing turns into
                a float32 one.
            y_N: All labels.
            order_RM: For each replica, indices into them.
            batch_size: B, >= 1.
            lr: Step size.
        """
        for batch_RB in order_RM.split(batch_size, dim=1):
            self.step(x_ND[batch_RB], y_N[batch_RB], lr)

    def after_epoch(self, epoch: int, streams: Sequence[Streams]) -> None:
        """A hook for methods that change their net's structure; the trainer calls it.

        After every epoch but the last, and after that epoch's evaluation.

        Args:
            epoch: Of training, from 1.
            streams: The replicas', for what is drawn.
        """

    def routes(self, x_RBD: Tensor) -> dict[str, Tensor]:
        """Area [R, B] of each sample in each routed layer, by its name. Changes nothing."""
        return {}

    def areas_of(self) -> dict[str, int]:
        """For each routed layer, by name, its number of areas."""
        return {}

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers by name, themselves and not copies."""
        return {**self._parameters, **self._buffers}

    def check_batch(self, x_RBD: Tensor, y_RB: Tensor) -> None:
        """Raises ValueError unless the batch's shapes fit this net. Never synchronises a device."""
        want = (self.replicas, y_RB.shape[-1], self.in_features)
        if tuple(x_RBD.shape) != want or tuple(y_RB.shape) != want[:2]:
            raise ValueError(
                f"{self.name} wants x [R, B, D] and y [R, B] with R={self.replicas} and "
                f"D={self.in_features}; got x {tuple(x_RBD.shape)} and y {tuple(y_RB.shape)}"
            )

    def digest(self, replica: int) -> str:
        """SHA-256 over all parameters and buffers of one replica, by name.

        The same run alone and side by side with others has the same digest.
        """
        digest = hashlib.sha256()
        for name, tensor in sorted(self.tensors().items()):
            array = tensor[replica].cpu().contiguous().numpy()
            digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
            digest.update(array.data)  # not a copy
        return digest.hexdigest()
