"""SAL's ablation: a router that stays as it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from sal.arealearner import AreaLearner
from sal.learner import Floor
from sal.net import Rule
from sal.sal import SALConfig, layer_feedback, layer_router
from sal.streams import Streams


class SALFrozen(AreaLearner):
    """SAL without eq. 9: areas are chosen by frozen random projections of the input."""

    name = "sal_frozen"
    summary = "SAL with a frozen router (ablation)"
    version = 1
    Config = SALConfig
    floor = Floor(lr=0.03, accuracy=93.0)
    learns = ("weight", "bias")

    @property
    def rule(self) -> Rule:
        """SAL's, without the router's part."""
        return replace(self.config.rule(), router_rate=0.0)

    def layer_rate(self, index: int) -> float:
        """As SAL's."""
        return self.config.layer_rate(index)

    def besides(self, index: int, D: int, H: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """As SAL's, all of it frozen."""
        feedback = layer_feedback(self.config, index, self.n_classes, H, streams)
        return feedback | layer_router(self.config, index, D, self.n_classes, streams)
