"""Frozen feedback: how the output error reaches each layer (paper, section 3.4.1, eq. 6)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sal.streams import Streams


def init_feedback(n_classes: int, outputs: int, scale: float, generator: torch.Generator) -> Tensor:
    """Feedback matrix B [C, H] of a layer with H outputs, another number than C.

    "If [the sizes agree, B] is typically set as an identity matrix (common in the output layer);
    otherwise, it is initialized randomly and remains frozen": N(0, scale^2).
    """
    return torch.empty(n_classes, outputs).normal_(generator=generator).mul_(scale)


def draw_feedback(
    streams: Sequence[Streams], layer: int, n_classes: int, outputs: int, scale: float
) -> Tensor:
    """Feedback matrices B [R, C, H] of a layer, each replica's from its own stream."""
    generators = [replica.generator("feedback", layer) for replica in streams]
    return torch.stack([init_feedback(n_classes, outputs, scale, g) for g in generators])


def project(e_RBC: Tensor, b_RCH: Tensor | None) -> Tensor:
    """Error signal e B of a layer (eq. 6); e itself where B is the identity."""
    return e_RBC if b_RCH is None else e_RBC @ b_RCH
