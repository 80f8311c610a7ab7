"""Local cross-entropy: every layer has a classifier of its own, and no error leaves a layer.

Axes: R replicas, H outputs of a layer, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.dense import DenseConfig, DenseLearner
from sal.learner import Floor
from sal.net import Rule, init_weights_
from sal.streams import Streams


@dataclass(frozen=True, kw_only=True)
class LocalConfig(DenseConfig):
    """The net's choices; a layer's own classifier starts as an output layer does."""


class Local(DenseLearner):
    """delta_l = (softmax(h_l A_l + c_l) - one_hot(y)) A_l^T * f'(a_l); A_l, c_l learn as well.

    The prediction loss of Nokland and Eidnes (2019), without its similarity loss.
    """

    name = "local"
    summary = "Local cross-entropy, a classifier a layer (Nokland & Eidnes, ICML 2019)"
    version = 1
    Config = LocalConfig
    floor = Floor(lr=0.1, accuracy=95.0)
    engines = ("torch",)
    learns = ("weight", "bias", "head", "head_bias")
    rule = Rule(credit="local")

    def besides(self, index: int, D: int, H: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """The classifier of a hidden layer: A [R, H, C] and c [R, C]."""
        last = len(self.config.hidden)
        if index == last:
            return {}
        a_RHC = torch.empty(len(streams), H, self.n_classes)
        for a_HC, replica in zip(a_RHC, streams, strict=True):
            generator = replica.generator("feedback", index)
            init_weights_(a_HC, *self.config.layer_init(last), generator)
        return {"head": a_RHC, "head_bias": torch.zeros(len(streams), self.n_classes)}
