"""The control that learns the output layer alone, on hidden layers that stay random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from baselines.dense import DenseConfig, DenseLearner
from sal.net import Rule
from sal.streams import Streams


@dataclass(frozen=True, kw_only=True)
class ShallowConfig(DenseConfig):
    """The net's choices."""


class Shallow(DenseLearner):
    """Softmax regression on random features: what a net has without any credit assignment."""

    name = "shallow"
    summary = "Only the output layer learns; hidden layers stay random (control)"
    version = 1
    Config = ShallowConfig
    rule = Rule(credit="chained")
    hidden_rate = 0.0

    def frozen(self, index: int, D: int, H: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """Nothing besides the weights."""
        return {}

    def backward(self, index: int, state: dict[str, Tensor]) -> Tensor | None:
        """Nothing goes back."""
        return None
