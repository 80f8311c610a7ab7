"""Direct random target projection: hidden layers learn from the label alone, before any output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from baselines.dense import DenseLearner, FeedbackConfig
from sal.feedback import draw_feedback
from sal.learner import Floor
from sal.net import Rule
from sal.streams import Streams


@dataclass(frozen=True, kw_only=True)
class DRTPConfig(FeedbackConfig):
    """Direct random target projection's choices."""

    feedback_scale: float = 1.0
    """Factor, > 0, of the feedback matrices, whose elements are N(0, 2 / H) for H hidden units:
    the spread that the authors' code gives them."""


class DRTP(DenseLearner):
    """delta_l = -(one_hot(y) B_l) * f'(a_l) in hidden layers, B fixed (Frenkel et al. 2021).

    The label stands for the error, of which it has the sign. The output layer has its error.
    """

    name = "drtp"
    summary = "Direct random target projection (Frenkel et al., Frontiers in Neuroscience 15, 2021)"
    version = 1
    Config = DRTPConfig
    floor = Floor(lr=0.003, accuracy=85.0)
    rule = Rule(credit="direct", signal="target")

    def besides(self, index: int, D: int, H: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """The feedback matrix of a hidden layer."""
        if index == len(self.config.hidden):
            return {}
        scale = self.config.feedback_scale * math.sqrt(2 / H)
        return {"feedback": draw_feedback(streams, index, self.n_classes, H, scale)}
