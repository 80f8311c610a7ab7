"""Area-conditional linear maps: each sample uses and updates one of K matrices (eq. 4, 7 and 8).

Two implementations of the same three operations. ``grouped`` sorts the samples by area and makes
one product per chosen area: least work, and areas that nobody chose are not touched; it reads the
group sizes on the host. ``masked`` computes with all K areas and masks: K times the arithmetic,
but no host synchronisation, so it suits an accelerator.

Axes: B samples of a batch, D inputs, H outputs, K areas.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

ENGINES = ("grouped", "masked")
NORMS = ("share", "batch", "count")


class Groups(NamedTuple):
    """Which sample takes which area, in the form that an engine needs."""

    areas: int
    """K."""
    spans: tuple[tuple[int, int, int], ...] | None
    """grouped: (area, start, stop) in sorted order, chosen areas only; masked: None."""
    order_B: Tensor | None
    """grouped: sorted position -> sample, or None where the order is the batch's own."""
    area_B: Tensor | None
    """The choice itself, or None where there is but one area."""
    mask_KB: Tensor | None
    """masked: whether sample b takes area k; grouped: None."""


def group(a_B: Tensor | None, areas: int, size: int, engine: str) -> Groups:
    """Groups the ``size`` samples of a batch by their areas ``a_B`` (None: one area for all)."""
    if a_B is None:
        return Groups(areas, ((0, 0, size),), None, None, None)
    if engine == "masked":
        indices_K1 = torch.arange(areas, device=a_B.device).unsqueeze(1)
        return Groups(areas, None, None, a_B, a_B == indices_K1)
    spans, start = [], 0
    for area, count in enumerate(torch.bincount(a_B, minlength=areas).tolist()):
        if count:
            spans.append((area, start, start + count))
            start += count
    order_B = torch.argsort(a_B, stable=True) if len(spans) > 1 else None
    return Groups(areas, tuple(spans), order_B, a_B, None)


def linear(x_BD: Tensor, w_KDH: Tensor, b_KH: Tensor | None, groups: Groups) -> Tensor:
    """x W_k + b_k with each sample's own area k (eq. 4)."""
    if groups.spans is None:
        x_KBD = x_BD.expand(groups.areas, *x_BD.shape)
        out_KBH = (
            torch.bmm(x_KBD, w_KDH) if b_KH is None else torch.baddbmm(b_KH[:, None], x_KBD, w_KDH)
        )
        a_1BH = groups.area_B[None, :, None].expand(1, -1, w_KDH.shape[2])
        return out_KBH.gather(0, a_1BH).squeeze(0)
    x_sorted_BD = _sorted(x_BD, groups)
    out_BH = x_BD.new_empty(len(x_BD), w_KDH.shape[2])
    for k, i, j in groups.spans:
        if b_KH is None:
            torch.mm(x_sorted_BD[i:j], w_KDH[k], out=out_BH[i:j])
        else:
            torch.addmm(b_KH[k], x_sorted_BD[i:j], w_KDH[k], out=out_BH[i:j])
    if groups.order_B is None:
        return out_BH
    return torch.empty_like(out_BH).index_copy_(0, groups.order_B, out_BH)


def descend_(
    w_KDH: Tensor,
    b_KH: Tensor | None,
    x_BD: Tensor,
    delta_BH: Tensor,
    groups: Groups,
    norm: str,
    lr: float,
) -> None:
    """In place, for every chosen area k: W_k -= lr / n_k * sum of x delta^T over S_k (eq. 7 and 8).

    S_k holds the samples that chose k, m is the batch size. The paper's divisor is lost; ``norm``
    says what n_k is: m / K (``share``, the area's fair share), m (``batch``), |S_k| (``count``).
    """
    if groups.spans is None:
        mask_KB1 = groups.mask_KB.unsqueeze(2)  # selects, for 0 times a NaN would be one
        factor = _masked_factor(groups.mask_KB.to(delta_BH.dtype), norm)
        scaled_KBH = torch.where(mask_KB1, delta_BH, 0) * factor
        w_KDH.baddbmm_(torch.where(mask_KB1, x_BD, 0).mT, scaled_KBH, alpha=-lr)
        if b_KH is not None:
            b_KH.sub_(scaled_KBH.sum(1), alpha=lr)
        return
    x_sorted_BD, delta_sorted_BH = _sorted(x_BD, groups), _sorted(delta_BH, groups)
    for k, i, j in groups.spans:
        rate = -lr * _factor(groups.areas, len(x_BD), j - i, norm)
        w_KDH[k].addmm_(x_sorted_BD[i:j].T, delta_sorted_BH[i:j], alpha=rate)
        if b_KH is not None:
            b_KH[k].add_(delta_sorted_BH[i:j].sum(0), alpha=rate)


def _sorted(t_BX: Tensor, groups: Groups) -> Tensor:
    return t_BX if groups.order_B is None else t_BX.index_select(0, groups.order_B)


def _factor(areas: int, batch: int, count: int, norm: str) -> float:
    return {"share": areas / batch, "batch": 1 / batch, "count": 1 / count}[norm]


def _masked_factor(mask_KB: Tensor, norm: str) -> Tensor | float:
    if norm == "count":
        return 1 / mask_KB.sum(1).clamp(min=1)[:, None, None]
    return _factor(*mask_KB.shape, 1, norm)
