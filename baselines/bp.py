"""Backpropagation, the paper's baseline: the same net, trained by the gradient.

Written out instead of differentiated automatically, which costs less for nets this small; the
tests hold it against autograd.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from baselines.dense import DenseConfig, DenseLearner
from sal.net import Rule
from sal.streams import Streams


@dataclass(frozen=True, kw_only=True)
class BPConfig(DenseConfig):
    """The baseline's choices; the defaults reproduce its column of Table 2."""


class BP(DenseLearner):
    """Stochastic gradient descent on the mean cross-entropy, by backpropagation."""

    name = "bp"
    summary = "Backpropagation, the paper's baseline (Rumelhart et al. 1986)"
    version = 2
    Config = BPConfig
    rule = Rule(credit="chained")

    def frozen(self, index: int, D: int, H: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def backward(self, index: int, state: dict[str, Tensor]) -> Tensor | None:
        """The weights."""
        return None
