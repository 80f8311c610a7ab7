"""SAL's ablation: areas by a hash of the input."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from baselines.hashed import layer_salt
from sal.arealearner import AreaLearner
from sal.learner import Floor
from sal.net import Rule
from sal.sal import SALConfig, layer_feedback
from sal.streams import Streams


class SALHash(AreaLearner):
    """Each input has one area of each layer, for good, and similar inputs have others.

    As the hash layers of Roller et al. (2021): routing without anything to route by.
    """

    name = "sal_hash"
    summary = "SAL with areas by a hash of the input (ablation)"
    version = 1
    Config = SALConfig
    floor = Floor(lr=0.03, accuracy=93.0)

    @property
    def rule(self) -> Rule:
        """SAL's."""
        return self.config.rule()

    def layer_rate(self, index: int) -> float:
        """As SAL's."""
        return self.config.layer_rate(index)

    def besides(self, index: int, D: int, H: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """SAL's feedback, and the hash's salt."""
        feedback = layer_feedback(self.config, index, self.n_classes, H, streams)
        return feedback | layer_salt(self.config, index, self.in_features, streams)
