"""The pieces that every fully connected net here is made of.

Axes: B samples of a batch, D inputs and H outputs of a layer, C classes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def init_weights_(w_DH: Tensor, kind: str, scale: float, generator: torch.Generator) -> Tensor:
    """Fills a weight matrix in place; see ``NetConfig.init`` for the kinds.

    Numbers are drawn on the CPU in float32 whatever the tensor's own type, so that runs in other
    precisions and on other devices start from the same weights.
    """
    inputs = w_DH.shape[0]
    in_place = w_DH.dtype == torch.float32 and w_DH.device.type == "cpu"
    draw = w_DH if in_place else torch.empty(w_DH.shape)
    if kind == "torch":
        bound = 1 / math.sqrt(inputs)
        draw.uniform_(-bound, bound, generator=generator)
    else:
        draw.normal_(generator=generator)
        if kind == "kaiming":
            scale = scale * math.sqrt(2 / inputs)
    draw.mul_(scale)
    return w_DH if in_place else w_DH.copy_(draw)


def activate(a_BH: Tensor, kind: str) -> Tensor:
    """f(a) for one of ``config.ACTIVATIONS``."""
    if kind == "relu":
        return torch.relu(a_BH)
    return torch.tanh(a_BH) if kind == "tanh" else a_BH


def times_derivative(delta_BH: Tensor, f_BH: Tensor, kind: str) -> Tensor:
    """delta * f'(a), from the activation's value ``f_BH`` = f(a); relu'(0) is 0."""
    if kind == "relu":
        return delta_BH * (f_BH > 0)
    return delta_BH * (1 - f_BH * f_BH) if kind == "tanh" else delta_BH


def output_error(z_BC: Tensor, y_B: Tensor) -> Tensor:
    """softmax(z) - one_hot(y): gradient of each sample's cross-entropy in its logits."""
    e_BC = torch.softmax(z_BC, dim=1)
    e_BC.scatter_add_(1, y_B.unsqueeze(1), e_BC.new_full((1, 1), -1.0).expand(len(y_B), 1))
    return e_BC
