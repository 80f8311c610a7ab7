"""SAL's ablation: one area, and the step that K areas would have."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from baselines.dense import DenseLearner
from sal.learner import Floor
from sal.net import Rule
from sal.sal import SALConfig, layer_feedback
from sal.streams import Streams


class SALStep(DenseLearner):
    """SAL-1 x K: a layer of ``areas`` K has one matrix and K times the step size.

    With the update divided by an area's fair share of the batch (``area_norm`` "share"), each
    sample moves its own area K times as far as it would move a single matrix; this is that step
    without the areas. An area takes fewer samples, so that one that is used evenly moves as far as
    a single matrix would, and this matrix K times as far. With another divisor it is SAL-1.
    """

    name = "sal_step"
    summary = "SAL with one area and a K times larger step in its place (ablation)"
    version = 1
    Config = SALConfig
    floor = Floor(lr=0.03, accuracy=93.0)

    @property
    def rule(self) -> Rule:
        """SAL's."""
        return self.config.rule()

    def layer_rate(self, index: int) -> float:
        """K times SAL's, where SAL divides by an area's share."""
        shared = self.config.area_norm == "share"
        return self.config.layer_rate(index) * (self.config.layer_areas(index) if shared else 1)

    def besides(self, index: int, D: int, H: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """SAL's feedback."""
        return layer_feedback(self.config, index, self.n_classes, H, streams)
