"""Backpropagation, the paper's baseline: the same net, trained by the gradient.

Written out instead of differentiated automatically, which costs less for nets this small; the
tests hold it against autograd.

Axes: R replicas, B samples, D inputs and H outputs of a layer, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sal.config import NetConfig
from sal.net import Layer, Rule, forward, init_weights_, output_error, times_derivative
from sal.netlearner import NetLearner
from sal.streams import Streams


@dataclass(frozen=True, kw_only=True)
class BPConfig(NetConfig):
    """The baseline's choices; the defaults reproduce its column of Table 2."""

    init: str = "kaiming"
    """"We employed ReLU activation with Kaiming initialization" (section 4.1.1)."""


class BP(NetLearner):
    """Stochastic gradient descent on the mean cross-entropy, by backpropagation.

    Args:
        config: Choices.
        in_features: D.
        n_classes: C.
        streams: One a replica; uses weights.
        engine: compiled, torch or None: the device's own.

    Raises:
        TypeError, ValueError: As ``Learner``.
    """

    name = "bp"
    summary = "Backpropagation, the paper's baseline (Rumelhart et al. 1986)"
    version = 2
    Config = BPConfig

    def __init__(
        self,
        config: BPConfig,
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
                setattr(self, f"{name}{index}", nn.Parameter(tensor, requires_grad=False))

    @property
    def rule(self) -> Rule:
        """The chain rule."""
        return Rule(credit="chained")

    def layers(self, state: dict[str, Tensor]) -> list[Layer]:
        """The net as views into the tensors of ``state``: one area a layer."""
        return [
            Layer(
                weight_RKDH=state[f"weight{index}"].unsqueeze(1),
                bias_RKH=state[f"bias{index}"].unsqueeze(1) if self.config.bias else None,
                activation=self.config.layer_activation(index),
                residual=self.config.layer_residual(index, *sizes),
            )
            for index, sizes in enumerate(self.sizes)
        ]

    def descend_(
        self, layers: list[Layer], targets: list[Layer], x_RBD: Tensor, y_RB: Tensor, lr: float
    ) -> None:
        """Subtracts lr times the mean cross-entropy's gradient at ``layers`` from ``targets``."""
        z_RBC, traces = forward(layers, x_RBD)
        grad_RBH = output_error(z_RBC, y_RB)  # of the summed loss in the layer's output
        rate = lr / y_RB.shape[1]
        for layer, target, trace in reversed(list(zip(layers, targets, traces, strict=True))):
            delta_RBH = times_derivative(grad_RBH, trace.f_RBH, layer.activation)
            if layer is not layers[0]:  # before the weights change
                grad_RBD = delta_RBH @ layer.weight_RKDH[:, 0].mT
                if layer.residual != "none":
                    grad_RBD = grad_RBD + (delta_RBH if layer.residual == "inside" else grad_RBH)
            target.weight_RKDH[:, 0].baddbmm_(trace.x_RBD.mT, delta_RBH, alpha=-rate)
            if target.bias_RKH is not None:
                target.bias_RKH[:, 0].sub_(delta_RBH.sum(1), alpha=rate)
            if layer is not layers[0]:
                grad_RBH = grad_RBD
