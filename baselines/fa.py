"""Feedback alignment: backpropagation through fixed random matrices in place of the weights.

Axes: R replicas, D inputs and H outputs of a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.dense import DenseLearner, FeedbackConfig
from sal.net import Rule, init_weights_
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
    rule = Rule(credit="chained")

    def frozen(self, index: int, D: int, H: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """The matrix that the layer's error goes back through; none below the first layer."""
        if index == 0:
            return {}
        kind, scale = self.config.layer_init(index)
        b_RDH = torch.empty(len(streams), D, H)
        for b_DH, replica in zip(b_RDH, streams, strict=True):
            generator = replica.generator("feedback", index)
            init_weights_(b_DH, kind, scale * self.config.feedback_scale, generator)
        return {"backward": b_RDH}

    def backward(self, index: int, state: dict[str, Tensor]) -> Tensor | None:
        """The fixed matrix."""
        return state.get(f"backward{index}")
