"""Direct feedback alignment: the output error reaches every layer through a fixed matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from baselines.dense import DenseConfig, DenseLearner, direct_feedback
from sal.config import positive
from sal.net import Rule
from sal.streams import Streams


@dataclass(frozen=True, kw_only=True)
class DFAConfig(DenseConfig):
    """Direct feedback alignment's choices.

    Raises:
        ValueError: A field is outside its range; the message names the field and its range.
    """

    feedback_scale: float = 1.0
    """Standard deviation, > 0, of the feedback matrices' elements, N(0, scale^2), as SAL's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("feedback_scale", self.feedback_scale)


class DFA(DenseLearner):
    """delta_l = (e B_l) * f'(a_l), B fixed (Nokland 2016, eq. 7)."""

    name = "dfa"
    summary = "Direct feedback alignment (Nokland, NeurIPS 2016)"
    version = 1
    Config = DFAConfig
    rule = Rule(credit="direct")

    def frozen(self, index: int, D: int, H: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """The feedback matrix of a hidden layer."""
        if index == len(self.config.hidden):
            return {}
        scale = self.config.feedback_scale
        return {"feedback": direct_feedback(streams, index, self.n_classes, H, scale)}

    def backward(self, index: int, state: dict[str, Tensor]) -> Tensor | None:
        """Errors are not chained."""
        return None
