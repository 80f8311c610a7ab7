"""Kolen-Pollack: feedback matrices that learn as the weights do, and so become them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from baselines.dense import DenseLearner, FeedbackConfig, draw_backward
from sal.config import positive
from sal.learner import Floor
from sal.net import Rule
from sal.streams import Streams


@dataclass(frozen=True, kw_only=True)
class KPConfig(FeedbackConfig):
    """Kolen-Pollack's choices.

    Raises:
        ValueError: A field is outside its range; the message names the field and its range.
    """

    feedback_scale: float = 1.0
    """Factor, > 0, of the first feedback matrices, which are drawn as the weights are (``init``).
    """

    decay: float = 0.01
    """Weight decay, > 0, of weights and feedback, times the step size: what they differ in shrinks
    by 1 - lr * decay a step. At a step size of 1e-4 that takes longer than any run here lasts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("decay", self.decay)


class KP(DenseLearner):
    """As feedback alignment, but B descends what W does (Kolen and Pollack 1994, Akrout et al.).

    W -= lr (x delta^T + decay W), B -= lr (x delta^T + decay B): so W - B vanishes.
    """

    name = "kp"
    summary = "Kolen-Pollack, learned feedback (Akrout et al., NeurIPS 2019)"
    version = 1
    Config = KPConfig
    floor = Floor(lr=0.1, accuracy=95.0)
    engines = ("torch",)
    learns = ("weight", "bias", "backward")

    @property
    def rule(self) -> Rule:
        """Chained errors, and the configuration's decay."""
        return Rule(credit="chained", mirror=True, decay=self.config.decay)

    def besides(self, index: int, D: int, H: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """The matrix that the layer's error goes back through; none below the first layer."""
        return draw_backward(self.config, index, D, H, streams)
