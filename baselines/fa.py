"""Feedback alignment: backpropagation through fixed random matrices in place of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from baselines.dense import DenseLearner, FeedbackConfig, draw_backward
from sal.learner import Floor
from sal.net import Rule
from sal.streams import Streams


@dataclass(frozen=True, kw_only=True)
class FAConfig(FeedbackConfig):
    """Feedback alignment's choices."""

    feedback_scale: float = 1.0
    """Factor, > 0, of the feedback matrices, which are drawn as the weights are (``init``)."""


class FA(DenseLearner):
    """delta_l = (delta_{l+1} B_{l+1}) * f'(a_l), B fixed (Lillicrap et al. 2016, eq. 2)."""

    name = "fa"
    summary = "Feedback alignment (Lillicrap et al., Nature Communications 7, 2016)"
    version = 1
    Config = FAConfig
    floor = Floor(lr=0.1, accuracy=95.0)
    rule = Rule(credit="chained")

    def besides(self, index: int, D: int, H: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """The matrix that the layer's error goes back through; none below the first layer."""
        return draw_backward(self.config, index, D, H, streams)
