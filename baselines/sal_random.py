"""SAL's ablation: areas at random."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from baselines.hashed import layer_salt
from sal.arealearner import AreaLearner
from sal.learner import Floor
from sal.net import Rule
from sal.sal import SALConfig, layer_feedback
from sal.streams import Streams


class SALRandom(AreaLearner):
    """A sample's area is drawn anew each time it comes, in training and in evaluation.

    It is a hash of the whole batch and the sample, so that an update is still a function of its
    batch; predictions of a sample depend on its company, as those of any random choice would.
    """

    name = "sal_random"
    summary = "SAL with areas drawn anew for every sample and step (ablation)"
    version = 1
    Config = SALConfig
    floor = Floor(lr=0.03, accuracy=93.0)
    fresh = True

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
