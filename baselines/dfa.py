"""Direct feedback alignment: the output error reaches every layer through a fixed matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from baselines.dense import DenseLearner, FeedbackConfig
from sal.feedback import draw_feedback
from sal.learner import Floor
from sal.net import Rule
from sal.streams import Streams


@dataclass(frozen=True, kw_only=True)
class DFAConfig(FeedbackConfig):
    """Direct feedback alignment's choices."""

    feedback_scale: float = 1.0
    """Standard deviation, > 0, of the feedback matrices' elements, N(0, scale^2), as SAL's."""


class DFA(DenseLearner):
    """delta_l = (e B_l) * f'(a_l), B fixed (Nokland 2016, eq. 7)."""

    name = "dfa"
    summary = "Direct feedback alignment (Nokland, NeurIPS 2016)"
    version = 1
    Config = DFAConfig
    floor = Floor(lr=0.03, accuracy=93.0)
    rule = Rule(credit="direct")

    def besides(self, index: int, D: int, H: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """The feedback matrix of a hidden layer."""
        if index == len(self.config.hidden):
            return {}
        scale = self.config.feedback_scale
        return {"feedback": draw_feedback(streams, index, self.n_classes, H, scale)}
