"""SAL's ablation: areas and routers as they are, errors by backpropagation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from sal.arealearner import AreaLearner
from sal.learner import Floor
from sal.net import Rule
from sal.sal import SALConfig, layer_router
from sal.streams import Streams


class SALBP(AreaLearner):
    """delta_l = (delta_{l+1} W_{l+1,k}^T) * f'(a_l): back through the areas that were chosen."""

    name = "sal_bp"
    summary = "SAL with backpropagated errors in place of its feedback (ablation)"
    version = 1
    Config = SALConfig
    floor = Floor(lr=0.03, accuracy=93.0)
    engines = ("compiled", "grouped", "masked")

    @property
    def rule(self) -> Rule:
        """SAL's, with chained errors."""
        return replace(self.config.rule(), credit="chained")

    def layer_rate(self, index: int) -> float:
        """As SAL's."""
        return self.config.layer_rate(index)

    def besides(self, index: int, D: int, H: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """SAL's router."""
        return layer_router(self.config, index, D, self.n_classes, streams)
