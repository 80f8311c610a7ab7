"""Mixtures of areas: several a sample, weighted by gates, and what keeps all of them in use.

The gates are the softmax of the scores over all areas (Fedus et al. 2022, "Switch"), or over the
chosen ones alone (Shazeer et al. 2017, eq. 3, without its noise).

Axes: R replicas, B samples of a batch, K areas, J chosen areas of a sample, the best first.
"""

from __future__ import annotations

import torch
from torch import Tensor

GATES = ("all", "chosen")
BALANCES = ("importance", "switch")


def choose(s_RBK: Tensor, areas: int) -> Tensor:
    """The areas [R, B, J] with the best scores; of equals, the lowest index first."""
    return torch.sort(s_RBK, dim=-1, descending=True, stable=True).indices[..., :areas]


def gates(s_RBK: Tensor, chosen_RBJ: Tensor, over: str) -> Tensor:
    """Weight [R, B, J] of each chosen area; ``over``: one of ``GATES``."""
    if over == "chosen":
        return torch.softmax(s_RBK.gather(-1, chosen_RBJ), dim=-1)
    return torch.softmax(s_RBK, dim=-1).gather(-1, chosen_RBJ)


def imbalance(s_RBK: Tensor, chosen_RBJ: Tensor, over: str, kind: str) -> Tensor:
    """How unevenly a batch uses the areas [R]: 0 or 1 at best, differentiable in the scores.

    importance: squared coefficient of variation of the gates' sums over the batch (Shazeer et al.
    2017, eq. 6 and 7); switch: K * sum over k of (share of samples whose best is k) * (mean of its
    softmax) (Fedus et al. 2022, eq. 4).
    """
    K = s_RBK.shape[-1]
    if kind == "importance":
        g_RBJ = gates(s_RBK, chosen_RBJ, over)
        empty_RBK = torch.zeros_like(s_RBK)
        sums_RK = empty_RBK.scatter(-1, chosen_RBJ, g_RBJ).sum(1)
        return sums_RK.var(-1, correction=0) / sums_RK.mean(-1).square()
    share_RK = torch.nn.functional.one_hot(chosen_RBJ[..., 0], K).to(s_RBK.dtype).mean(1)
    return K * (share_RK * torch.softmax(s_RBK, dim=-1).mean(1)).sum(-1)
