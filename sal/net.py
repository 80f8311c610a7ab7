"""The fully connected net that every built-in method trains, and its pass forward.

Axes: R replicas, B samples of a batch, D inputs and H outputs of a layer, C classes, K areas, F
routing features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sal import areas, mixture
from sal.config import NORMS, one_of
from sal.hashing import areas_by_hash
from sal.streams import Streams


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of all replicas: views into a learner's tensors."""

    weight_RKDH: Tensor
    bias_RKH: Tensor | None
    activation: str
    residual: str
    rate: float = 1.0
    """The layer's step size as a multiple of the net's; with 0 it stays as it starts."""
    feedback_RCH: Tensor | None = None
    """The output error reaches the layer through it, where errors go directly; None: identity."""
    backward_RDH: Tensor | None = None
    """The layer's error goes back through it, where errors are chained; None: its weights."""
    router_RDF: Tensor | None = None
    """None: there is one area, or its choice is by hash."""
    router_bias_RF: Tensor | None = None
    prototypes_RKF: Tensor | None = None
    """None: the router's features are the scores, one an area."""
    salt_RD: Tensor | None = None
    """Areas are chosen by a hash of the net's input with it (``sal.hashing``)."""
    fresh: bool = False
    """Whether that hash covers the whole batch, so that areas are drawn anew at every step."""
    experts: int = 0
    """Areas that each sample takes, its output their sum weighted by gates, the softmax of their
    scores; 0: one area, unweighted."""
    gates: str = "all"
    """What the softmax is over: all areas, or the chosen ones."""
    mask_RDH: Tensor | None = None
    """Connections that there are, 1 or 0; the others' weights stay 0. None: all."""
    head_RHC: Tensor | None = None
    """A linear classifier of the layer's output, where errors are local."""
    head_bias_RC: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How errors reach the layers of a net, and what is made of them."""

    credit: str
    """direct: from the output to every layer, through its feedback (eq. 6); chained: from layer to
    layer, through the transposes of matrices, as backpropagation does; local: from a classifier of
    the layer's own."""
    signal: str = "error"
    """What goes directly to the hidden layers: error, softmax(z) - one_hot(y), or target,
    -one_hot(y)."""
    derivative: bool = True
    """Whether a layer's error is multiplied by f'(a)."""
    area_norm: str = "batch"
    """Divisor of an area's update, one of ``config.NORMS``."""
    router_rate: float = 1.0
    """Router's step size as a multiple of the net's."""
    error_limit: float = math.inf
    """Bound of the absolute value of every element of a layer's error."""
    decay: float = 0.0
    """Weight decay, of every matrix that learns, as a multiple of the step size."""
    mirror: bool = False
    """Whether the matrices that errors go back through learn as the weights do."""
    balance: str = "importance"
    """Loss that keeps mixed areas in use, one of ``mixture.BALANCES``."""
    balance_weight: float = 0.0
    """Its factor."""

    def __post_init__(self) -> None:
        one_of("credit", self.credit, ("direct", "chained", "local"))
        one_of("signal", self.signal, ("error", "target"))
        one_of("area_norm", self.area_norm, NORMS)
        one_of("balance", self.balance, mixture.BALANCES)


class Trace(NamedTuple):
    """What a layer keeps of its pass forward for its own update."""

    x_RBD: Tensor
    r_RBF: Tensor | None
    area_RB: Tensor | None
    f_RBH: Tensor


def forward(
    layers: Sequence[Layer], x_RBD: Tensor, engine: str = "grouped"
) -> tuple[Tensor, list[Trace]]:
    """Logits [R, B, C] and each layer's trace (eq. 1 to 5)."""
    traces, h_RBX = [], x_RBD
    for layer in layers:
        h_RBX, trace = pass_through(layer, h_RBX, x_RBD, engine)
        traces.append(trace)
    return h_RBX, traces


def pass_through(layer: Layer, h_RBD: Tensor, x_RBX: Tensor, engine: str) -> tuple[Tensor, Trace]:
    """A layer's output [R, B, H] for its input ``h_RBD``, and its trace; ``x_RBX``: the net's."""
    r_RBF, area_RB = route(layer, h_RBD, x_RBX)
    if layer.experts:
        chosen_RBJ = mixture.choose(r_RBF, layer.experts)
        g_RBJ = mixture.gates(r_RBF, chosen_RBJ, layer.gates)
        f_RBH = sum(
            g_RB.unsqueeze(-1) * transform(layer, h_RBD, area_RB, engine)
            for g_RB, area_RB in zip(g_RBJ.unbind(-1), chosen_RBJ.unbind(-1), strict=True)
        )
    else:
        f_RBH = transform(layer, h_RBD, area_RB, engine)
    out_RBH = f_RBH + h_RBD if layer.residual == "after" else f_RBH
    return out_RBH, Trace(h_RBD, r_RBF, area_RB, f_RBH)


def transform(layer: Layer, h_RBD: Tensor, area_RB: Tensor | None, engine: str) -> Tensor:
    """f(a) [R, B, H] of each sample's area (eq. 4)."""
    a_RBH = areas.linear(h_RBD, layer.weight_RKDH, layer.bias_RKH, area_RB, engine)
    return activate(a_RBH + h_RBD if layer.residual == "inside" else a_RBH, layer.activation)


def route(layer: Layer, h_RBD: Tensor, x_RBX: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """The router's features [R, B, F] and each sample's area [R, B], where there are such."""
    if layer.salt_RD is not None:
        K = layer.weight_RKDH.shape[1]
        return None, areas_by_hash(x_RBX, layer.salt_RD, K, layer.fresh)
    if layer.router_RDF is None:
        return None, None
    r_RBF = routing_features(h_RBD, layer)
    return r_RBF, choose(r_RBF, layer.prototypes_RKF)


def routing_features(x_RBD: Tensor, layer: Layer) -> Tensor:
    """Features r = x V + c, learned (eq. 1)."""
    if layer.router_bias_RF is None:
        return x_RBD @ layer.router_RDF
    return torch.baddbmm(layer.router_bias_RF.unsqueeze(1), x_RBD, layer.router_RDF)


def choose(r_RBF: Tensor, prototypes_RKF: Tensor | None) -> Tensor:
    """Area of each sample: argmax over k of <p_k, r>, with frozen prototypes p (eq. 2 and 3).

    Scores are plain inner products, so scaling all prototypes by one positive number changes
    nothing. Ties take the lowest index. Without prototypes the features are the scores.

    Example:
        >>> import torch
        >>> from sal.net import choose
        >>> r_RBF = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [-1.0, -1.0]]])
        >>> prototypes_RKF = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
        >>> choose(r_RBF, prototypes_RKF).tolist()
        [[0, 1, 0]]
    """
    scores_RBK = r_RBF if prototypes_RKF is None else r_RBF @ prototypes_RKF.mT
    return torch.argmax(scores_RBK, dim=-1)


def activate(a_RBH: Tensor, kind: str) -> Tensor:
    """f(a) for one of ``config.ACTIVATIONS``."""
    if kind == "relu":
        return torch.relu(a_RBH)
    return torch.tanh(a_RBH) if kind == "tanh" else a_RBH


def times_derivative(delta_RBH: Tensor, f_RBH: Tensor, kind: str) -> Tensor:
    """delta * f'(a), from the activation's value ``f_RBH`` = f(a); relu'(0) is 0."""
    if kind == "relu":
        return delta_RBH * (f_RBH > 0)
    return delta_RBH * (1 - f_RBH * f_RBH) if kind == "tanh" else delta_RBH


def output_error(z_RBC: Tensor, y_RB: Tensor) -> Tensor:
    """softmax(z) - one_hot(y): gradient of each sample's cross-entropy in its logits."""
    e_RBC = torch.softmax(z_RBC, dim=-1)
    y_RB1 = y_RB.unsqueeze(-1)
    return e_RBC.scatter_add_(-1, y_RB1, torch.full_like(y_RB1, -1, dtype=e_RBC.dtype))


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
        if kind in ("kaiming", "stacked"):
            scale = scale * math.sqrt(2 / (inputs if kind == "kaiming" else w_DH.numel()))
    draw.mul_(scale)
    return w_DH if in_place else w_DH.copy_(draw)


def draw_weights(
    streams: Sequence[Streams], index: int, areas: int, sizes: tuple[int, int], init: tuple
) -> Tensor:
    """First weights [R, K, D, H] of layer ``index``; ``init`` as ``NetConfig.layer_init`` says.

    Each area's and each replica's come from a stream of their own. Filled in place: a large net's
    weights are most of the memory.
    """
    w_RKDH = torch.empty(len(streams), areas, *sizes)
    for w_KDH, replica in zip(w_RKDH, streams, strict=True):
        for k, w_DH in enumerate(w_KDH):
            init_weights_(w_DH, *init, replica.generator("weights", index, k))
    return w_RKDH


def init_spread(kind: str, scale: float, inputs: int, outputs: int) -> float:
    """Standard deviation of the weights that ``init_weights_`` draws."""
    squares = {
        "normal": 1.0,
        "kaiming": 2 / inputs,
        "torch": 1 / (3 * inputs),
        "stacked": 2 / (inputs * outputs),
    }
    return scale * math.sqrt(squares[kind])
