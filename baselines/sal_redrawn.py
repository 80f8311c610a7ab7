"""SAL's ablation: a router and prototypes that are drawn by a seed of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from sal.learner import Floor
from sal.sal import SALConfig, SALFamily, layer_feedback, layer_router
from sal.streams import Streams


@dataclass(frozen=True, kw_only=True)
class SALRedrawnConfig(SALConfig):
    """SAL's choices, and where its routing starts.

    Raises:
        ValueError: A field is outside its range; the message names the field and its range.
    """

    routing_seed: int = 0
    """Seed of the routers' and prototypes' streams, >= 0, for all replicas. With the run's own it
    is SAL, bit for bit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        seed = self.routing_seed
        if type(seed) is not int or seed < 0:
            raise ValueError(f"routing_seed must be an integer >= 0, got {seed!r}")


class SALRedrawn(SALFamily):
    """SAL, to see what the draw of router and prototypes does while all else stays the same."""

    name = "sal_redrawn"
    summary = "SAL whose router and prototypes have a seed of their own (ablation)"
    version = 1
    Config = SALRedrawnConfig
    floor = Floor(lr=0.03, accuracy=93.0)

    def besides(self, index: int, D: int, H: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """SAL's feedback; its router and prototypes by the configuration's seed."""
        feedback = layer_feedback(self.config, index, self.n_classes, H, streams)
        other = [Streams(self.config.routing_seed)] * len(streams)
        return feedback | layer_router(self.config, index, D, self.n_classes, other)
