"""The control that learns the output layer alone, on hidden layers that stay random."""

from __future__ import annotations

from dataclasses import dataclass

from baselines.dense import DenseConfig, DenseLearner
from sal.learner import Floor
from sal.net import Rule


@dataclass(frozen=True, kw_only=True)
class ShallowConfig(DenseConfig):
    """The net's choices."""


class Shallow(DenseLearner):
    """Softmax regression on random features: what a net has without any credit assignment."""

    name = "shallow"
    summary = "Only the output layer learns; hidden layers stay random (control)"
    version = 1
    Config = ShallowConfig
    floor = Floor(lr=0.1, accuracy=95.0)
    rule = Rule(credit="chained")

    def layer_rate(self, index: int) -> float:
        """Hidden layers do not learn."""
        return 1.0 if index == len(self.config.hidden) else 0.0
