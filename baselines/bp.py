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
from sal.learner import Learner
from sal.net import activate, init_weights_, output_error, times_derivative
from sal.streams import Streams


@dataclass(frozen=True, kw_only=True)
class BPConfig(NetConfig):
    """The baseline's choices; the defaults reproduce its column of Table 2."""

    init: str = "kaiming"
    """"We employed ReLU activation with Kaiming initialization" (section 4.1.1)."""


class BP(Learner):
    """Stochastic gradient descent on the mean cross-entropy, by backpropagation.

    Args:
        config: Choices.
        in_features: D.
        n_classes: C.
        streams: One a replica; uses weights.

    Raises:
        TypeError, ValueError: As ``Learner``.
    """

    name = "bp"
    summary = "Backpropagation, the paper's baseline (Rumelhart et al. 1986)"
    version = 1
    Config = BPConfig

    def __init__(
        self, config: BPConfig, in_features: int, n_classes: int, streams: Sequence[Streams]
    ) -> None:
        super().__init__(config, in_features, n_classes, streams)
        self._sizes = config.sizes(in_features, n_classes)
        for index, (D, H) in enumerate(self._sizes):
            w_RDH = torch.empty(len(streams), D, H)
            for w_DH, replica in zip(w_RDH, streams, strict=True):
                generator = replica.generator("weights", index, 0)
                init_weights_(w_DH, *config.layer_init(index), generator)
            tensors = {"weight": w_RDH}
            if config.bias:
                tensors["bias"] = torch.zeros(len(streams), H)
            for name, tensor in tensors.items():
                setattr(self, f"{name}{index}", nn.Parameter(tensor, requires_grad=False))

    def logits(self, x_RBD: Tensor) -> Tensor:
        """Logits [R, B, C] of ``x_RBD``. Changes nothing."""
        state = self.tensors()
        return torch.stack(
            [self._forward(state, r, x_BD)[0] for r, x_BD in enumerate(x_RBD.unbind())]
        )

    def step(self, x_RBD: Tensor, y_RB: Tensor, lr: float) -> None:
        """One step of SGD, in place."""
        self.check_batch(x_RBD, y_RB)
        state = self.tensors()
        for r in range(self.replicas):
            self._descend(state, state, r, x_RBD[r], y_RB[r], lr)

    def update(self, x_RBD: Tensor, y_RB: Tensor) -> dict[str, Tensor]:
        """The gradient of the mean cross-entropy by parameter name. Pure."""
        self.check_batch(x_RBD, y_RB)
        state = self.tensors()
        result = {name: torch.zeros_like(p) for name, p in self.named_parameters()}
        for r in range(self.replicas):
            self._descend(state, result, r, x_RBD[r], y_RB[r], -1.0)
        return result

    def _forward(self, state: dict[str, Tensor], r: int, x_BD: Tensor) -> tuple[Tensor, list]:
        """Logits [B, C], and each layer's input and activation value."""
        trace, h_BX = [], x_BD
        for index, sizes in enumerate(self._sizes):
            residual = self.config.layer_residual(index, *sizes)
            w_DH = state[f"weight{index}"][r]
            if self.config.bias:
                a_BH = torch.addmm(state[f"bias{index}"][r], h_BX, w_DH)
            else:
                a_BH = h_BX @ w_DH
            if residual == "inside":
                a_BH = a_BH + h_BX
            f_BH = activate(a_BH, self.config.layer_activation(index))
            trace.append((h_BX, f_BH))
            h_BX = f_BH + h_BX if residual == "after" else f_BH
        return h_BX, trace

    def _descend(
        self,
        state: dict[str, Tensor],
        target: dict[str, Tensor],
        r: int,
        x_BD: Tensor,
        y_B: Tensor,
        lr: float,
    ) -> None:
        """Subtracts lr times the gradient at ``state`` from ``target``, in place."""
        z_BC, trace = self._forward(state, r, x_BD)
        grad_BH = output_error(z_BC, y_B)  # of the summed loss in the layer's output
        rate = -lr / len(y_B)
        for index, (h_BD, f_BH) in reversed(list(enumerate(trace))):
            residual = self.config.layer_residual(index, *self._sizes[index])
            delta_BH = times_derivative(grad_BH, f_BH, self.config.layer_activation(index))
            if index > 0:  # before the weights change
                grad_BD = delta_BH @ state[f"weight{index}"][r].T
                if residual != "none":
                    grad_BD = grad_BD + (delta_BH if residual == "inside" else grad_BH)
            target[f"weight{index}"][r].addmm_(h_BD.T, delta_BH, alpha=rate)
            if self.config.bias:
                target[f"bias{index}"][r].add_(delta_BH.sum(0), alpha=rate)
            if index > 0:
                grad_BH = grad_BD
