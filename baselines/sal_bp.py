"""SAL's ablation: areas and routers as they are, errors by backpropagation."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sal.learner import Floor
from sal.sal import SALFamily, layer_router
from sal.streams import Streams


class SALBP(SALFamily):
    """delta_l = (delta_{l+1} W_{l+1,k}^T) * f'(a_l): back through the areas that were chosen."""

    name = "sal_bp"
    summary = "SAL with backpropagated errors in place of its feedback (ablation)"
    version = 1
    floor = Floor(lr=0.03, accuracy=93.0)
    engines = ("compiled", "grouped", "masked")
    changes = {"credit": "chained"}

    def besides(self, index: int, D: int, H: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """SAL's router."""
        return layer_router(self.config, index, D, self.n_classes, streams)
