"""SAL's ablation: a router that stays as it starts."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sal.learner import Floor
from sal.sal import SALFamily, layer_feedback, layer_router
from sal.streams import Streams


class SALFrozen(SALFamily):
    """SAL without eq. 9: areas are chosen by frozen random projections of the input."""

    name = "sal_frozen"
    summary = "SAL with a frozen router (ablation)"
    version = 1
    floor = Floor(lr=0.03, accuracy=93.0)
    learns = ("weight", "bias")
    changes = {"router_rate": 0.0}

    def besides(self, index: int, D: int, H: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """As SAL's, all of it frozen."""
        feedback = layer_feedback(self.config, index, self.n_classes, H, streams)
        return feedback | layer_router(self.config, index, D, self.n_classes, streams)
