"""Area-conditional linear maps: each sample uses and updates one of K matrices (eq. 4, 7 and 8).

In PyTorch, three ways. ``grouped`` makes one product per chosen area: least work, and areas that
nobody chose are not touched; it reads the choice on the host. ``masked`` computes with all K areas
and selects: K times the arithmetic, without host synchronisation. ``triton`` does what grouped does
in kernels of its own, without host synchronisation. (The compiled engine has its own.)

Axes: R replicas, B samples of a batch, D inputs, H outputs, K areas.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def linear(
    x_RBD: Tensor, w_RKDH: Tensor, b_RKH: Tensor | None, area_RB: Tensor | None, engine: str
) -> Tensor:
    """x W_k + b_k with each sample's own area k (eq. 4); ``area_RB`` None: one area for all."""
    if area_RB is None:
        w_RDH = w_RKDH[:, 0]
        return x_RBD @ w_RDH if b_RKH is None else torch.baddbmm(b_RKH, x_RBD, w_RDH)
    if engine == "triton":
        from sal import triton_areas

        return triton_areas.linear(x_RBD, w_RKDH, b_RKH, area_RB)
    if engine == "masked":
        out_RKBH = x_RBD.unsqueeze(1) @ w_RKDH
        if b_RKH is not None:
            out_RKBH = out_RKBH + b_RKH.unsqueeze(2)
        a_R1BH = area_RB[:, None, :, None].expand(-1, 1, -1, w_RKDH.shape[3])
        return out_RKBH.gather(1, a_R1BH).squeeze(1)
    out_RBH = x_RBD.new_empty(*x_RBD.shape[:2], w_RKDH.shape[3])
    for r, k, index_S in _groups(area_RB, w_RKDH.shape[1]):
        out_SH = x_RBD[r].index_select(0, index_S) @ w_RKDH[r, k]
        out_RBH[r].index_copy_(0, index_S, out_SH if b_RKH is None else out_SH + b_RKH[r, k])
    return out_RBH


def descend_(
    w_RKDH: Tensor,
    b_RKH: Tensor | None,
    x_RBD: Tensor,
    delta_RBH: Tensor,
    area_RB: Tensor | None,
    norm: str,
    lr: float,
    engine: str,
) -> None:
    """In place, for every chosen area k: W_k -= lr / n_k * sum of x delta^T over S_k (eq. 7 and 8).

    S_k holds the samples that chose k, m is the batch size. The paper's divisor is lost; ``norm``
    says what n_k is: m / K (``share``, the area's fair share), m (``batch``), or the size of S_k
    (``count``).
    """
    K, m = w_RKDH.shape[1], x_RBD.shape[1]
    if area_RB is None:
        w_RKDH[:, 0].baddbmm_(x_RBD.mT, delta_RBH, alpha=-lr / m)
        if b_RKH is not None:
            b_RKH[:, 0].sub_(delta_RBH.sum(1), alpha=lr / m)
    elif engine == "triton":
        from sal import triton_areas

        triton_areas.descend_(w_RKDH, b_RKH, x_RBD, delta_RBH, area_RB, norm, lr)
    elif engine == "masked":
        areas_K1 = torch.arange(K, device=area_RB.device).unsqueeze(1)
        mask_RKB1 = (area_RB.unsqueeze(1) == areas_K1).unsqueeze(3)
        x_RKBD = torch.where(mask_RKB1, x_RBD.unsqueeze(1), 0)  # for 0 times a NaN would be one
        delta_RKBH = torch.where(mask_RKB1, delta_RBH.unsqueeze(1), 0)
        if norm == "count":
            delta_RKBH = delta_RKBH / mask_RKB1.sum(2, keepdim=True).clamp(min=1)
        else:
            delta_RKBH = delta_RKBH * _share(norm, K, m, 1)
        w_RKDH.sub_(x_RKBD.mT @ delta_RKBH, alpha=lr)
        if b_RKH is not None:
            b_RKH.sub_(delta_RKBH.sum(2), alpha=lr)
    else:
        for r, k, index_S in _groups(area_RB, K):
            rate = -lr * _share(norm, K, m, len(index_S))
            x_SD, delta_SH = (t[r].index_select(0, index_S) for t in (x_RBD, delta_RBH))
            w_RKDH[r, k].addmm_(x_SD.T, delta_SH, alpha=rate)
            if b_RKH is not None:
                b_RKH[r, k].add_(delta_SH.sum(0), alpha=rate)


def _groups(area_RB: Tensor, areas: int) -> Iterator[tuple[int, int, Tensor]]:
    """(replica, area, its samples), for chosen areas only."""
    for r, area_B in enumerate(area_RB):
        order_B = torch.argsort(area_B, stable=True)
        counts = torch.bincount(area_B, minlength=areas).tolist()
        for k, index_S in enumerate(order_B.split(counts)):
            if len(index_S):
                yield r, k, index_S


def _share(norm: str, areas: int, batch: int, count: int) -> float:
    """1 / n_k."""
    return {"share": areas / batch, "batch": 1 / batch, "count": 1 / count}[norm]
