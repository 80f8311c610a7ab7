"""What the built-in methods share: a net, its forward pass, and the choice of an engine.

A method says what its layers are and by which ``Rule`` they learn; ``sal.descent`` carries that out
in PyTorch, to be read and checked, and the compiled engine fast.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from sal import cuda_graph
from sal.config import NetConfig, one_of
from sal.data.pixels import Pixels
from sal.descent import descend_
from sal.learner import Learner
from sal.net import Layer, Rule, pass_through
from sal.streams import Streams

try:
    from sal import compiled
except ModuleNotFoundError as error:
    if error.name not in ("numba", "llvmlite"):
        raise
    compiled = None  # the engines in PyTorch remain


class NetLearner(Learner):
    """A method that trains a fully connected net.

    Args:
        config: The method's own configuration.
        in_features: D.
        n_classes: C.
        streams: One a replica.
        engine: One of ``engines``; None: compiled on the CPU where Numba is there, the first other
            one on the CPU where it is not, the last one on a GPU.

    Raises:
        TypeError, ValueError: As ``Learner``; an engine that there is not.
    """

    engines: Sequence[str] = ("compiled", "torch")
    """Ways to compute the method, the one for a GPU last; a property where it depends on the
    configuration."""
    learns: ClassVar[tuple[str, ...]] = ("weight", "bias")
    """What a layer learns, of the tensors that it is given by ``add``; the others are frozen."""

    def __init__(
        self,
        config: NetConfig,
        in_features: int,
        n_classes: int,
        streams: Sequence[Streams],
        engine: str | None = None,
    ) -> None:
        super().__init__(config, in_features, n_classes, streams)
        one_of("engine", engine, (None, *self.engines))
        if engine == "compiled" and compiled is None:
            raise ValueError("engine 'compiled' needs Numba; install it or take another engine")
        self._engine = engine
        self.sizes = config.sizes(in_features, n_classes)

    @property
    @abstractmethod
    def rule(self) -> Rule:
        """The learning rule."""

    @abstractmethod
    def layers(self, state: dict[str, Tensor]) -> list[Layer]:
        """The net as views into the tensors of ``state``, which are named as ``tensors()``."""

    def layer_rate(self, index: int) -> float:
        """Step size of a layer, 0 the first, as a multiple of the net's; with 0 it is frozen.

        A hook.
        """
        return 1.0

    def add(self, index: int, tensors: dict[str, Tensor]) -> None:
        """Gives a layer its tensors, each [R, ...], named without the layer's number."""
        for name, tensor in tensors.items():
            if name in self.learns and self.layer_rate(index):
                setattr(self, f"{name}{index}", nn.Parameter(tensor, requires_grad=False))
            else:
                self.register_buffer(f"{name}{index}", tensor)

    @property
    def engine(self) -> str:
        """The engine in use: the one asked for, or the device's own."""
        if self._engine:
            return self._engine
        if next(self.parameters()).device.type != "cpu":
            return self.engines[-1]
        return next(name for name in self.engines if name != "compiled" or compiled is not None)

    def logits(self, x_RBD: Tensor) -> Tensor:
        """Logits [R, B, C] of ``x_RBD``. Changes nothing."""
        h_RBX = x_RBD
        for layer in self.layers(self.tensors()):  # keeps no traces, unlike ``forward``
            h_RBX, _ = pass_through(layer, h_RBX, x_RBD, self.engine)
        return h_RBX

    def step(self, x_RBD: Tensor, y_RB: Tensor, lr: float) -> None:
        """One step, in place."""
        self.check_batch(x_RBD, y_RB)
        if self.engine == "compiled":
            order_RB = torch.arange(y_RB.numel()).view(y_RB.shape)
            self._train(x_RBD.flatten(0, 1), y_RB.flatten(), order_RB, y_RB.shape[1], lr)
        else:
            layers = self.layers(self.tensors())
            descend_(layers, layers, x_RBD, y_RB, self.rule, lr, self.engine)

    def update(self, x_RBD: Tensor, y_RB: Tensor) -> dict[str, Tensor]:
        """The step's direction by parameter name, zero for areas that nobody chose. Pure."""
        self.check_batch(x_RBD, y_RB)
        state = self.tensors()
        result = {name: torch.zeros_like(p) for name, p in self.named_parameters()}
        targets = self.layers(state | result)
        descend_(self.layers(state), targets, x_RBD, y_RB, self.rule, -1.0, self.engine)
        return result

    def epoch(
        self, x_ND: Tensor | Pixels, y_N: Tensor, order_RM: Tensor, batch_size: int, lr: float
    ) -> None:
        """Steps through M samples in the given order; the last batch holds what is left."""
        if self.engine == "compiled":
            self._train(x_ND, y_N, order_RM, batch_size, lr)
        elif x_ND.device.type == "cuda" and self.engine != "grouped":
            cuda_graph.epoch(self, x_ND, y_N, order_RM, batch_size, lr)
        else:
            super().epoch(x_ND, y_N, order_RM, batch_size, lr)

    def _train(self, x_ND, y_N: Tensor, order_RM: Tensor, batch_size: int, lr: float) -> None:
        layers = self.layers(self.tensors())
        compiled.train(layers, self.rule, x_ND, y_N, order_RM, batch_size, lr, self.threads)
