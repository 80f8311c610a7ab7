"""What the baselines share that train one matrix a layer: their weights, and plain descent.

Axes: R replicas, B samples, D inputs and H outputs of a layer, C classes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from sal import credit
from sal.config import NetConfig, positive
from sal.net import Layer, forward, init_weights_
from sal.netlearner import NetLearner
from sal.streams import Streams


@dataclass(frozen=True, kw_only=True)
class DenseConfig(NetConfig):
    """The net of the paper's baseline."""

    init: str = "kaiming"
    """"We employed ReLU activation with Kaiming initialization" (section 4.1.1)."""


@dataclass(frozen=True, kw_only=True)
class FeedbackConfig(DenseConfig):
    """The same net, for methods with something else than its weights on the way back.

    Raises:
        ValueError: A field is outside its range; the message names the field and its range.
    """

    feedback_scale: float = 1.0
    """Factor, > 0, of what errors go back through; each method says of what."""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("feedback_scale", self.feedback_scale)


class DenseLearner(NetLearner):
    """A fully connected net of one matrix a layer, trained by SGD on the errors of its ``rule``.

    Abstract: a method says by which rule, what frozen tensors that needs, and what errors go back
    through. All start from the same weights.

    Args:
        config: Choices.
        in_features: D.
        n_classes: C.
        streams: One a replica; uses weights, and what ``frozen`` uses.
        engine: compiled, torch or None: the device's own.

    Raises:
        TypeError, ValueError: As ``Learner``.
    """

    hidden_rate: ClassVar[float] = 1.0
    """The hidden layers' step size as a multiple of the net's; with 0 they stay as they start."""

    def __init__(
        self,
        config: NetConfig,
        in_features: int,
        n_classes: int,
        streams: Sequence[Streams],
        engine: str | None = None,
    ) -> None:
        super().__init__(config, in_features, n_classes, streams, engine)
        for index, (D, H) in enumerate(self.sizes):
            w_RDH = torch.empty(len(streams), D, H)
            for w_DH, replica in zip(w_RDH, streams, strict=True):
                generator = replica.generator("weights", index, 0)
                init_weights_(w_DH, *config.layer_init(index), generator)
            tensors = {"weight": w_RDH}
            if config.bias:
                tensors["bias"] = torch.zeros(len(streams), H)
            for name, tensor in tensors.items():
                if self.layer_rate(index):
                    setattr(self, f"{name}{index}", nn.Parameter(tensor, requires_grad=False))
                else:
                    self.register_buffer(f"{name}{index}", tensor)
            for name, tensor in self.frozen(index, D, H, streams).items():
                self.register_buffer(f"{name}{index}", tensor)

    @abstractmethod
    def frozen(self, index: int, D: int, H: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """What a layer has besides its weights, all of it frozen; layer 0 is the first."""

    def layer_rate(self, index: int) -> float:
        """A layer's step size as a multiple of the net's."""
        return 1.0 if index == len(self.config.hidden) else self.hidden_rate

    @abstractmethod
    def backward(self, index: int, state: dict[str, Tensor]) -> Tensor | None:
        """The matrices [R, D, H] that a layer's error goes back through, where errors are chained.

        None: its weights.
        """

    def layers(self, state: dict[str, Tensor]) -> list[Layer]:
        """The net as views into the tensors of ``state``: one area a layer."""
        return [
            Layer(
                weight_RKDH=state[f"weight{index}"].unsqueeze(1),
                bias_RKH=state[f"bias{index}"].unsqueeze(1) if self.config.bias else None,
                activation=self.config.layer_activation(index),
                residual=self.config.layer_residual(index, *sizes),
                rate=self.layer_rate(index),
                feedback_RCH=state.get(f"feedback{index}"),
                backward_RDH=self.backward(index, state),
            )
            for index, sizes in enumerate(self.sizes)
        ]

    def descend_(
        self, layers: list[Layer], targets: list[Layer], x_RBD: Tensor, y_RB: Tensor, lr: float
    ) -> None:
        """Subtracts lr times the update at ``layers`` from ``targets``, in place."""
        z_RBC, traces = forward(layers, x_RBD)
        deltas = credit.errors(layers, traces, z_RBC, y_RB, self.rule)
        for layer, target, trace, delta_RBH in zip(
            *(reversed(part) for part in (layers, targets, traces)), deltas, strict=False
        ):
            rate = lr * layer.rate / y_RB.shape[1]
            target.weight_RKDH[:, 0].baddbmm_(trace.x_RBD.mT, delta_RBH, alpha=-rate)
            if target.bias_RKH is not None:
                target.bias_RKH[:, 0].sub_(delta_RBH.sum(1), alpha=rate)
