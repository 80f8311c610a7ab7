"""Selective Adaptive Learning (arXiv 2601.21561), to be read from top to bottom.

A step, for every layer l:

1. Route (eq. 1-3): each sample's area is k = argmax_k <p_k, x V + c>; V, c learned, p frozen.
2. Forward (eq. 4, 5): h = f(x W_k + b_k), with the sample's own k, and a residual connection.
3. Error (eq. 6): delta = (e B) * f'(a), e = softmax(z) - one_hot(y), B frozen: ``credit.direct``.
4. Update (eq. 7, 8): the chosen areas only, W_k -= lr / n_k * sum over S_k of x delta^T.
5. Router (eq. 9): V and c descend the cross-entropy of the features themselves.

Steps 1 and 2 are ``net.forward``; ``compiled`` does all of it once more, fast. Nothing is
differentiated automatically, and no layer waits for another's error.

Axes: R replicas, B samples, D inputs and H outputs of a layer, C classes, K areas, F routing
features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sal import areas, credit
from sal.config import NetConfig, not_negative, one_of, positive
from sal.feedback import draw_feedback
from sal.net import (
    Layer,
    Rule,
    choose,
    forward,
    init_weights_,
    output_error,
    pass_through,
    routing_features,
)
from sal.netlearner import NetLearner
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

    error_limit: float | None = None
    """Bound, > 0, of the absolute value of every element of a layer's error; None: unbounded."""

    output_rate: float = 1.0
    """The output layer's step size as a multiple of the net's, > 0. The paper names one rate."""

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

    router_init_scale: float = 1.0
    """Factor of the router's initial weights and bias, > 0."""

    router_bias: bool = True
    """Whether the router has a bias (eq. 1, lost: a "learnable linear mapping")."""

    router_rate: float = 1.0
    """Router's step size as a multiple of the net's, >= 0; 0 leaves the router as it starts. The
    paper names one learning rate."""

    prototypes: str = "normal"
    """Distribution of the frozen prototypes (eq. 2: "randomly initialized"): normal (N(0, 1)) or
    unit (the same, each scaled to length 1, so that none wins by its length)."""

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
        one_of("prototypes", self.prototypes, ("normal", "unit"))
        positive("feedback_scale", self.feedback_scale)
        positive("output_rate", self.output_rate)
        positive("router_init_scale", self.router_init_scale)
        not_negative("router_rate", self.router_rate)
        if self.error_limit is not None:
            positive("error_limit", self.error_limit)

    def layer_areas(self, layer: int) -> int:
        """K of layer ``layer``, counted from 0."""
        return self.areas[layer] if layer < len(self.areas) else 1


class SAL(NetLearner):
    """Selective Adaptive Learning: see the module's text for the rule, ``SALConfig`` for choices.

    Args:
        config: Choices.
        in_features: D.
        n_classes: C.
        streams: One a replica; uses weights, router, feedback and prototypes.
        engine: How it is computed: compiled (``sal.compiled``), or in PyTorch by one of the ways of
            ``sal.areas``; None: compiled on the CPU, triton on a GPU.

    Raises:
        TypeError, ValueError: As ``Learner``; fewer router features than classes; unknown engine.
    """

    name = "sal"
    summary = "Selective Adaptive Learning (arXiv 2601.21561)"
    version = 2
    Config = SALConfig
    engines = ("compiled", "grouped", "masked", "triton")

    def __init__(
        self,
        config: SALConfig,
        in_features: int,
        n_classes: int,
        streams: Sequence[Streams],
        engine: str | None = None,
    ) -> None:
        super().__init__(config, in_features, n_classes, streams, engine)
        if (config.router_features or n_classes) < n_classes:
            raise ValueError(
                f"router_features must be at least the number of classes, {n_classes}, since the "
                f"router's cross-entropy reads them as logits; got {config.router_features}"
            )
        for index in range(len(self.sizes)):
            for name, tensor in self._init_layer(index, streams).items():
                if name in ("feedback", "prototypes"):
                    self.register_buffer(f"{name}{index}", tensor)
                else:
                    setattr(self, f"{name}{index}", nn.Parameter(tensor, requires_grad=False))

    @property
    def rule(self) -> Rule:
        """Direct feedback, as the configuration says."""
        config = self.config
        return Rule(
            credit="direct",
            derivative=config.derivative,
            area_norm=config.area_norm,
            router_rate=config.router_rate,
            error_limit=math.inf if config.error_limit is None else config.error_limit,
        )

    def descend_(
        self, layers: list[Layer], targets: list[Layer], x_RBD: Tensor, y_RB: Tensor, lr: float
    ) -> None:
        """Subtracts lr times the update at ``layers`` from ``targets``, in place (eq. 6 to 9)."""
        rule = self.rule
        z_RBC, traces = forward(layers, x_RBD, self.engine)
        deltas = credit.errors(layers, traces, z_RBC, y_RB, rule)
        backwards = (reversed(part) for part in (layers, targets, traces))
        for layer, target, trace, delta_RBH in zip(*backwards, deltas, strict=True):
            if trace.r_RBF is not None:
                # Surplus features, more than there are classes, are classes that never occur.
                q_RBF = output_error(trace.r_RBF, y_RB)
                rate = lr * rule.router_rate / y_RB.shape[1]
                target.router_RDF.baddbmm_(trace.x_RBD.mT, q_RBF, alpha=-rate)
                if target.router_bias_RF is not None:
                    target.router_bias_RF.sub_(q_RBF.sum(1), alpha=rate)
            areas.descend_(
                target.weight_RKDH,
                target.bias_RKH,
                trace.x_RBD,
                delta_RBH,
                trace.area_RB,
                rule.area_norm,
                lr * layer.rate,
                self.engine,
            )

    def routes(self, x_RBD: Tensor) -> dict[str, Tensor]:
        """Area [R, B] of each sample in each layer that has a router."""
        routed, found, h_RBX = dict(self._routed()), {}, x_RBD
        for index, layer in enumerate(self.layers(self.tensors())[: max(routed, default=-1) + 1]):
            if index == max(routed):  # what follows the last router does not matter
                area_RB = choose(routing_features(h_RBX, layer), layer.prototypes_RKF)
            else:
                h_RBX, (_, _, area_RB, _) = pass_through(layer, h_RBX, self.engine)
            if index in routed:
                found[f"layer{index}"] = area_RB
        return found

    def areas_of(self) -> dict[str, int]:
        """K of each layer that has a router."""
        return {f"layer{index}": areas_K for index, areas_K in self._routed()}

    def layers(self, state: dict[str, Tensor]) -> list[Layer]:
        """The net as views into the tensors of ``state``."""
        return [
            Layer(
                weight_RKDH=state[f"weight{index}"],
                bias_RKH=state.get(f"bias{index}"),
                activation=self.config.layer_activation(index),
                residual=self.config.layer_residual(index, *sizes),
                rate=self.config.output_rate if index == len(self.config.hidden) else 1.0,
                feedback_RCH=state.get(f"feedback{index}"),
                router_RDF=state.get(f"router{index}"),
                router_bias_RF=state.get(f"router_bias{index}"),
                prototypes_RKF=state.get(f"prototypes{index}"),
            )
            for index, sizes in enumerate(self.sizes)
        ]

    def _routed(self) -> list[tuple[int, int]]:
        """(index, K) of each layer with more than one area; one area needs no router."""
        counts = [self.config.layer_areas(index) for index in range(len(self.sizes))]
        return [(index, count) for index, count in enumerate(counts) if count > 1]

    def _init_layer(self, index: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """The tensors of one layer, each replica's drawn from its own streams."""
        config, (D, H), R = self.config, self.sizes[index], len(streams)
        K, F = config.layer_areas(index), config.router_features or self.n_classes
        tensors = {"weight": torch.empty(R, K, D, H)}  # filled in place: most of the memory
        for w_KDH, replica in zip(tensors["weight"], streams, strict=True):
            for k, w_DH in enumerate(w_KDH):
                generator = replica.generator("weights", index, k)
                init_weights_(w_DH, *config.layer_init(index), generator)
        if config.bias:
            tensors["bias"] = torch.zeros(R, K, H)
        if self.n_classes != H:  # else the identity, which is not stored
            tensors["feedback"] = draw_feedback(
                streams, index, self.n_classes, H, config.feedback_scale
            )
        if K > 1:
            routers = [self._init_router(index, D, F, K, replica) for replica in streams]
            names = ("router", "router_bias", "prototypes")
            tensors |= dict(zip(names, map(torch.stack, zip(*routers, strict=True)), strict=True))
            if not config.router_bias:
                del tensors["router_bias"]
        return tensors

    def _init_router(
        self, index: int, D: int, F: int, K: int, streams: Streams
    ) -> tuple[Tensor, Tensor, Tensor]:
        """V [D, F], c [F] and p [K, F] of one replica."""
        generator = streams.generator("router", index)
        kind, scale = self.config.router_init, self.config.router_init_scale
        v_DF = init_weights_(torch.empty(D, F), kind, scale, generator)
        # PyTorch's Linear draws its bias with the weights' bound: as one more input.
        bound = scale * D**-0.5 if kind == "torch" else 0.0
        c_F = torch.empty(F).uniform_(-bound, bound, generator=generator)
        p_KF = torch.empty(K, F).normal_(generator=streams.generator("prototypes", index))
        if self.config.prototypes == "unit":
            p_KF = torch.nn.functional.normalize(p_KF, dim=1)
        return v_DF, c_F, p_KF
