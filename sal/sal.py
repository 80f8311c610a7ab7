"""Selective Adaptive Learning (arXiv 2601.21561), to be read from top to bottom.

A step, for every layer l:

1. Route (eq. 1-3): each sample's area is k = argmax_k <p_k, x V + c>; V, c learned, p frozen.
2. Forward (eq. 4, 5): h = f(x W_k + b_k), with the sample's own k, and a residual connection.
3. Error (eq. 6): delta = (e B) * f'(a), e = softmax(z) - one_hot(y), B frozen.
4. Update (eq. 7, 8): the chosen areas only, W_k -= lr / n_k * sum over S_k of x delta^T.
5. Router (eq. 9): V and c descend the cross-entropy of the features themselves.

Nothing is differentiated automatically, and no layer waits for another's error.

Axes: R replicas, B samples, D inputs and H outputs of a layer, C classes, K areas, F routing
features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sal import areas, routing
from sal.config import NetConfig, one_of, positive
from sal.feedback import init_feedback, project
from sal.learner import Learner
from sal.net import activate, init_weights_, output_error, times_derivative
from sal.streams import Streams


@dataclass(frozen=True, kw_only=True)
class SALConfig(NetConfig):
    """SAL's choices. The defaults are those that reproduce the paper's Fashion-MNIST results.

    Raises:
        ValueError: A field is outside its range; the message names the field and its range.
    """

    init_scale: float = 0.01
    """Weights start from 0.01 N(0, 1), each area by itself: larger ones miss Fashion-MNIST. (The
    paper says "Kaiming initialization"; that fits the baseline, not SAL.)"""

    areas: tuple[int, ...] = (1,)
    """K of the first, second, ... layer, each >= 1; layers beyond the tuple have one area.
    Section 4.1 varies K "in the first layer"; 4.2 has K = 4 in the input and hidden layers."""

    derivative: bool = True
    """Whether a layer's error is multiplied by f'(a) (eq. 6, whose formula is lost). Needed on
    Fashion-MNIST."""

    feedback_scale: float = 1.0
    """Standard deviation of the feedback matrices, > 0: "initialized randomly". Smaller misses
    Fashion-MNIST. A layer with as many outputs as classes has the identity instead."""

    area_norm: str = "share"
    """Divisor of an area's update (eq. 8, lost): share (m / K), batch (m) or count (|S_k|), where m
    is the batch size. With share, K areas make the routed layer's step K times larger: it is what
    fits Fashion-MNIST for K = 2..16."""

    router_features: int | None = None
    """F, number of routing features (eq. 1), at least the number of classes, since the router's
    cross-entropy reads them as logits; None: the number of classes."""

    router_init: str = "torch"
    """Initial distribution of V, as ``init``; torch also draws the router's bias from it, which
    otherwise starts at zero."""

    router_rate: float = 1.0
    """Router's step size as a multiple of the net's, > 0. The paper names one learning rate."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "areas", tuple(self.areas))
        layers = len(self.hidden) + 1
        good = all(isinstance(k, int) and not isinstance(k, bool) and k >= 1 for k in self.areas)
        if not good or len(self.areas) > layers:
            raise ValueError(
                f"areas must be at most {layers} integers >= 1, one for each layer of "
                f"hidden={self.hidden} from the first on; got {self.areas!r}"
            )
        one_of("area_norm", self.area_norm, areas.NORMS)
        one_of("router_init", self.router_init, ("torch", "normal", "kaiming"))
        positive("feedback_scale", self.feedback_scale)
        positive("router_rate", self.router_rate)

    def layer_areas(self, layer: int) -> int:
        """K of layer ``layer``, counted from 0."""
        return self.areas[layer] if layer < len(self.areas) else 1


class Layer(NamedTuple):
    """One layer of one replica: views into the learner's tensors."""

    w_KDH: Tensor
    b_KH: Tensor | None
    feedback_CH: Tensor | None
    v_DF: Tensor | None
    c_F: Tensor | None
    p_KF: Tensor | None
    activation: str
    residual: str


class Trace(NamedTuple):
    """What a layer keeps of its forward pass for its own update."""

    x_BD: Tensor
    r_BF: Tensor | None
    groups: areas.Groups
    f_BH: Tensor


def forward(layers: Sequence[Layer], x_BD: Tensor, engine: str) -> tuple[Tensor, list[Trace]]:
    """Logits [B, C] and each layer's trace (eq. 1 to 5)."""
    traces, h_BX = [], x_BD
    for layer in layers:
        r_BF = area_B = None
        if layer.p_KF is not None:
            r_BF = routing.features(h_BX, layer.v_DF, layer.c_F)
            area_B = routing.choose(r_BF, layer.p_KF)
        groups = areas.group(area_B, len(layer.w_KDH), len(h_BX), engine)
        a_BH = areas.linear(h_BX, layer.w_KDH, layer.b_KH, groups)
        if layer.residual == "inside":
            a_BH = a_BH + h_BX
        f_BH = activate(a_BH, layer.activation)
        traces.append(Trace(h_BX, r_BF, groups, f_BH))
        h_BX = f_BH + h_BX if layer.residual == "after" else f_BH
    return h_BX, traces


def layer_error(layer: Layer, trace: Trace, e_BC: Tensor, derivative: bool) -> Tensor:
    """delta [B, H] of a layer: the output error through its own frozen feedback (eq. 6)."""
    delta_BH = project(e_BC, layer.feedback_CH)
    return times_derivative(delta_BH, trace.f_BH, layer.activation) if derivative else delta_BH


def descend_(
    layers: Sequence[Layer],
    targets: Sequence[Layer],
    x_BD: Tensor,
    y_B: Tensor,
    lr: float,
    config: SALConfig,
    engine: str,
) -> None:
    """Subtracts lr times the update at ``layers`` from ``targets``, in place (eq. 6 to 9)."""
    z_BC, traces = forward(layers, x_BD, engine)
    e_BC = output_error(z_BC, y_B)
    for layer, target, trace in zip(layers, targets, traces, strict=True):
        delta_BH = layer_error(layer, trace, e_BC, config.derivative)
        if trace.r_BF is not None:
            q_BF = routing.feature_error(trace.r_BF, y_B)
            rate = -lr * config.router_rate / len(y_B)
            target.v_DF.addmm_(trace.x_BD.T, q_BF, alpha=rate)
            target.c_F.add_(q_BF.sum(0), alpha=rate)
        areas.descend_(
            target.w_KDH, target.b_KH, trace.x_BD, delta_BH, trace.groups, config.area_norm, lr
        )


class SAL(Learner):
    """Selective Adaptive Learning: see the module's text for the rule, ``SALConfig`` for choices.

    Args:
        config: Choices.
        in_features: D.
        n_classes: C.
        streams: One a replica; uses weights, router, feedback and prototypes.
        engine: How areas are computed (``areas.ENGINES``); None: grouped on the CPU, masked on an
            accelerator.

    Raises:
        TypeError, ValueError: As ``Learner``; fewer router features than classes; unknown engine.
    """

    name = "sal"
    summary = "Selective Adaptive Learning (arXiv 2601.21561)"
    version = 1
    Config = SALConfig

    def __init__(
        self,
        config: SALConfig,
        in_features: int,
        n_classes: int,
        streams: Sequence[Streams],
        engine: str | None = None,
    ) -> None:
        super().__init__(config, in_features, n_classes, streams)
        one_of("engine", engine, (None, *areas.ENGINES))
        if (config.router_features or n_classes) < n_classes:
            raise ValueError(
                f"router_features must be at least the number of classes, {n_classes}, since the "
                f"router's cross-entropy reads them as logits; got {config.router_features}"
            )
        self._engine = engine
        self._sizes = config.sizes(in_features, n_classes)
        for index in range(len(self._sizes)):
            replicas = [self._init_layer(index, replica) for replica in streams]
            for name in replicas[0]:
                tensor = torch.stack([replica[name] for replica in replicas])
                if name in ("feedback", "prototypes"):
                    self.register_buffer(f"{name}{index}", tensor)
                else:
                    setattr(self, f"{name}{index}", nn.Parameter(tensor, requires_grad=False))

    def logits(self, x_RBD: Tensor) -> Tensor:
        """Logits [R, B, C] of ``x_RBD``. Changes nothing."""
        return torch.stack([z_BC for z_BC, _ in self._forward(x_RBD)])

    def routes(self, x_RBD: Tensor) -> dict[str, Tensor]:
        """Area [R, B] of each sample in each layer that has a router."""
        traces = [traces for _, traces in self._forward(x_RBD)]
        return {
            f"layer{index}": torch.stack([replica[index].groups.area_B for replica in traces])
            for index, _ in self._routed()
        }

    def areas_of(self) -> dict[str, int]:
        """K of each layer that has a router."""
        return {f"layer{index}": areas_K for index, areas_K in self._routed()}

    def step(self, x_RBD: Tensor, y_RB: Tensor, lr: float) -> None:
        """One step, in place; areas that no sample of the batch chose stay as they are."""
        self.check_batch(x_RBD, y_RB)
        state = self.tensors()
        for r in range(self.replicas):
            layers = self._layers(state, r)
            descend_(layers, layers, x_RBD[r], y_RB[r], lr, self.config, self.engine)

    def update(self, x_RBD: Tensor, y_RB: Tensor) -> dict[str, Tensor]:
        """The step's direction by parameter name, zero for areas that nobody chose. Pure."""
        self.check_batch(x_RBD, y_RB)
        state = self.tensors()
        result = {name: torch.zeros_like(p) for name, p in self.named_parameters()}
        for r in range(self.replicas):
            layers, targets = self._layers(state, r), self._layers(state | result, r)
            descend_(layers, targets, x_RBD[r], y_RB[r], -1.0, self.config, self.engine)
        return result

    @property
    def engine(self) -> str:
        """The engine in use: the one asked for, or the device's own."""
        return self._engine or ("grouped" if self.weight0.device.type == "cpu" else "masked")

    def _forward(self, x_RBD: Tensor) -> Iterator[tuple[Tensor, list[Trace]]]:
        state = self.tensors()
        for r in range(self.replicas):
            yield forward(self._layers(state, r), x_RBD[r], self.engine)

    def _routed(self) -> list[tuple[int, int]]:
        """(index, K) of each layer with more than one area; one area needs no router."""
        counts = [self.config.layer_areas(index) for index in range(len(self._sizes))]
        return [(index, count) for index, count in enumerate(counts) if count > 1]

    def _init_layer(self, index: int, streams: Streams) -> dict[str, Tensor]:
        """The tensors of one layer of one replica, without the replica axis."""
        config, (D, H) = self.config, self._sizes[index]
        K, F = config.layer_areas(index), config.router_features or self.n_classes
        tensors = {"weight": torch.empty(K, D, H)}
        for k, w_DH in enumerate(tensors["weight"]):
            init_weights_(w_DH, *config.layer_init(index), streams.generator("weights", index, k))
        if config.bias:
            tensors["bias"] = torch.zeros(K, H)
        feedback_CH = init_feedback(
            self.n_classes, H, config.feedback_scale, streams.generator("feedback", index)
        )
        if feedback_CH is not None:
            tensors["feedback"] = feedback_CH
        if K > 1:
            generator = streams.generator("router", index)
            v_DF = init_weights_(torch.empty(D, F), config.router_init, 1.0, generator)
            # PyTorch's Linear draws its bias with the weights' bound: as one more input.
            bound = D**-0.5 if config.router_init == "torch" else 0.0
            c_F = torch.empty(F).uniform_(-bound, bound, generator=generator)
            p_KF = torch.empty(K, F).normal_(generator=streams.generator("prototypes", index))
            tensors |= {"router": v_DF, "router_bias": c_F, "prototypes": p_KF}
        return tensors

    def _layers(self, state: dict[str, Tensor], r: int) -> list[Layer]:
        """Replica ``r``'s layers as views into the tensors of ``state``."""

        def view(name: str) -> Tensor | None:
            return state[name][r] if name in state else None

        return [
            Layer(
                w_KDH=view(f"weight{index}"),
                b_KH=view(f"bias{index}"),
                feedback_CH=view(f"feedback{index}"),
                v_DF=view(f"router{index}"),
                c_F=view(f"router_bias{index}"),
                p_KF=view(f"prototypes{index}"),
                activation=self.config.layer_activation(index),
                residual=self.config.layer_residual(index, *sizes),
            )
            for index, sizes in enumerate(self._sizes)
        ]
