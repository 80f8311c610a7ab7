"""Backpropagation, the paper's baseline: the same net, trained by the gradient.

Written out instead of differentiated automatically, which costs less for nets this small; the
tests hold it against autograd.
"""

from __future__ import annotations

from dataclasses import dataclass

from baselines.dense import DenseConfig, DenseLearner
from sal.learner import Floor
from sal.net import Rule


@dataclass(frozen=True, kw_only=True)
class BPConfig(DenseConfig):
    """The baseline's choices; the defaults reproduce its column of Table 2."""


class BP(DenseLearner):
    """Stochastic gradient descent on the mean cross-entropy, by backpropagation."""

    name = "bp"
    summary = "Backpropagation, the paper's baseline (Rumelhart et al. 1986)"
    version = 2
    Config = BPConfig
    floor = Floor(lr=0.1, accuracy=95.0)
    rule = Rule(credit="chained")
