"""Sparse evolutionary training: after each epoch the weakest connections move elsewhere.

Axes: R replicas, D inputs and H outputs of a layer, N = D * H connections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.dense import DenseLearner
from baselines.sparse import SparseConfig, draw_mask
from sal.config import positive
from sal.learner import Floor
from sal.net import Rule, init_weights_
from sal.streams import Streams


@dataclass(frozen=True, kw_only=True)
class SETConfig(SparseConfig):
    """Sparse evolutionary training's choices.

    Raises:
        ValueError: A field is outside its range; the message names the field and its range.
    """

    moved: float = 0.3
    """Share of the connections that move after an epoch, in (0, 1] (Mocanu et al. 2018: 0.3)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("moved", self.moved)
        if self.moved > 1:
            raise ValueError(f"moved must be in (0, 1], got {self.moved!r}")


class SET(DenseLearner):
    """A sparse net whose connections of least magnitude are removed and as many drawn anew.

    Mocanu et al. 2018, algorithm 1, who take the smallest positive and the largest negative ones;
    for weights around 0 these are the smallest by magnitude. New ones start as first weights do,
    where there was no connection before: not where one has just been removed.
    """

    name = "set"
    summary = "Sparse evolutionary training (Mocanu et al., Nature Communications 9, 2018)"
    version = 1
    Config = SETConfig
    floor = Floor(lr=0.1, accuracy=95.0)
    engines = ("torch",)
    rule = Rule(credit="chained")

    def besides(self, index: int, D: int, H: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """A hidden layer's first mask."""
        return draw_mask(self.config, index, D, H, streams)

    def after_epoch(self, epoch: int, streams: Sequence[Streams]) -> None:
        """Moves the weakest connections of every hidden layer."""
        tensors = self.tensors()
        for index in range(len(self.config.hidden)):
            for r, replica in enumerate(streams):
                _move_(
                    tensors[f"weight{index}"][r],
                    tensors[f"mask{index}"][r],
                    self.config.layer_init(index),
                    self.config.moved,
                    replica.generator("mask", index, epoch),
                )


def _move_(
    w_DH: Tensor, m_DH: Tensor, init: tuple[str, float], share: float, generator: torch.Generator
) -> None:
    """In place. Random numbers are drawn on the CPU, whatever the device."""
    w_N, m_N = w_DH.view(-1), m_DH.view(-1)
    there_M, free_M = (m_N > 0).nonzero().squeeze(1), (m_N == 0).nonzero().squeeze(1)
    count = min(round(share * len(there_M)), len(free_M))
    weakest_M = there_M[w_N[there_M].abs().argsort(stable=True)[:count]]
    chosen = torch.randperm(len(free_M), generator=generator)[:count]
    new_M = free_M[chosen.to(free_M.device)]
    drawn_N = init_weights_(torch.empty_like(w_DH, device="cpu"), *init, generator).view(-1)
    w_N[weakest_M], m_N[weakest_M] = 0, 0
    w_N[new_M], m_N[new_M] = drawn_N.to(w_N.device)[new_M], 1
