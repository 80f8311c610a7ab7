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

    With the update divided by an area's share of the batch (``area_norm`` "share"), a layer of K
    areas steps K times as far; this is that step without the areas.
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
        """K times SAL's."""
        return self.config.layer_rate(index) * self.config.layer_areas(index)

    def besides(self, index: int, D: int, H: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """SAL's feedback."""
        return layer_feedback(self.config, index, self.n_classes, H, streams)
