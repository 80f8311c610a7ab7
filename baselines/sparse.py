"""A fixed random mask: the control for what sparsity alone gives.

Axes: R replicas, D inputs and H outputs of a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.dense import DenseConfig, DenseLearner
from sal.config import positive
from sal.learner import Floor
from sal.net import Rule
from sal.streams import Streams


@dataclass(frozen=True, kw_only=True)
class SparseConfig(DenseConfig):
    """A net with holes.

    Raises:
        ValueError: A field is outside its range; the message names the field and its range.
    """

    density: float = 0.25
    """Share of a hidden layer's connections that there are, in (0, 1]: 1 / K is the share that a
    sample uses of K areas. The output layer has all of its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("density", self.density)
        if self.density > 1:
            raise ValueError(f"density must be in (0, 1], got {self.density!r}")


class Sparse(DenseLearner):
    """Backpropagation on the connections that a random mask leaves; the others stay 0.

    First weights are those of the dense net, whose scale is for more inputs: signals are smaller by
    sqrt(density) a layer than a dense net's; ``init_scale`` makes up for it.
    """

    name = "sparse"
    summary = "Static random mask, trained by backpropagation (control)"
    version = 1
    Config = SparseConfig
    floor = Floor(lr=0.1, accuracy=95.0)
    engines = ("torch",)
    rule = Rule(credit="chained")

    def besides(self, index: int, D: int, H: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """A hidden layer's mask."""
        return draw_mask(self.config, index, D, H, streams)


def draw_mask(
    config: SparseConfig, index: int, D: int, H: int, streams: Sequence[Streams]
) -> dict[str, Tensor]:
    """Mask [R, D, H] of a hidden layer: ``density`` of the connections, drawn without replacement.

    At least one.
    """
    if index == len(config.hidden):
        return {}
    m_RN = torch.zeros(len(streams), D * H)
    for m_N, replica in zip(m_RN, streams, strict=True):
        order_N = torch.randperm(D * H, generator=replica.generator("mask", index))
        m_N[order_N[: max(round(config.density * D * H), 1)]] = 1
    return {"mask": m_RN.view(len(streams), D, H)}
