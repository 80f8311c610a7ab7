"""Selective Adaptive Learning (arXiv 2601.21561), to be read from top to bottom.

A step, for every layer l:

1. Route (eq. 1-3): each sample's area is k = argmax_k <p_k, x V + c>; V, c learned, p frozen.
2. Forward (eq. 4, 5): h = f(x W_k + b_k), with the sample's own k, and a residual connection.
3. Error (eq. 6): delta = (e B) * f'(a), e = softmax(z) - one_hot(y), B frozen: ``credit.direct``.
4. Update (eq. 7, 8): the chosen areas only, W_k -= lr / n_k * sum over S_k of x delta^T.
5. Router (eq. 9): V and c descend the cross-entropy of the features themselves.

Steps 1 and 2 are ``net.forward``, 4 and 5 ``descent.descend_``; ``compiled`` does all of it once
more, fast. Nothing is differentiated automatically, and no layer waits for another's error.

Axes: R replicas, B samples, D inputs and H outputs of a layer, C classes, K areas, F routing
features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from sal.arealearner import AreaConfig, AreaLearner
from sal.config import NORMS, not_negative, one_of, positive
from sal.feedback import draw_feedback
from sal.learner import Floor
from sal.net import Rule, init_weights_
from sal.streams import Streams


@dataclass(frozen=True, kw_only=True)
class SALConfig(AreaConfig):
    """SAL's choices. The defaults are those that reproduce the paper's Fashion-MNIST results.

    The tables' own are ``paper.settings.SETTINGS["published"]``.

    Raises:
        ValueError: A field is outside its range; the message names the field and its range.
    """

    init_scale: float = 0.01
    """Weights start from 0.01 N(0, 1), each area by itself: larger ones miss Fashion-MNIST. (The
    paper says "Kaiming initialization"; that fits the baseline, not SAL.)"""

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
    """Divisor of an area's update (eq. 8, lost): share (m / K), batch (m) or count (the size of
    S_k), where m is the batch size. With share, K areas make the routed layer's step K times
    larger: it is what fits Fashion-MNIST for K = 2..16."""

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
        one_of("area_norm", self.area_norm, NORMS)
        for name in ("derivative", "router_bias"):
            one_of(name, getattr(self, name), (True, False))
        one_of("router_init", self.router_init, ("torch", "normal", "kaiming"))
        one_of("prototypes", self.prototypes, ("normal", "unit"))
        positive("feedback_scale", self.feedback_scale)
        positive("output_rate", self.output_rate)
        positive("router_init_scale", self.router_init_scale)
        not_negative("router_rate", self.router_rate)
        if self.error_limit is not None:
            positive("error_limit", self.error_limit)

    def rule(self) -> Rule:
        """Direct feedback, as chosen here."""
        return Rule(
            credit="direct",
            derivative=self.derivative,
            area_norm=self.area_norm,
            router_rate=self.router_rate,
            error_limit=math.inf if self.error_limit is None else self.error_limit,
        )

    def layer_rate(self, layer: int) -> float:
        """Step size of layer ``layer`` as a multiple of the net's."""
        return self.output_rate if layer == len(self.hidden) else 1.0


class SALFamily(AreaLearner):
    """SAL and its ablations: SAL's configuration and rule. Abstract: a method says its tensors."""

    Config = SALConfig
    changes: ClassVar[dict[str, Any]] = {}
    """What a method changes in SAL's rule."""

    @property
    def rule(self) -> Rule:
        """As the configuration says, but for what the method changes."""
        return replace(self.config.rule(), **self.changes)

    def layer_rate(self, index: int) -> float:
        """As the configuration says."""
        return self.config.layer_rate(index)


class SAL(SALFamily):
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

    Example:
        Two replicas, four areas in the first layer, three epochs of the smallest data set:

        >>> from sal import SAL, SALConfig, Streams
        >>> from sal.data import load
        >>> from sal.data.partition import partition
        >>> from sal.train import Protocol, train
        >>> data, streams = load("digits"), [Streams(0), Streams(1)]
        >>> learner = SAL(SALConfig(areas=(4,)), data.in_features, data.n_classes, streams)
        >>> outcomes = train(
        ...     learner, partition(data, streams), streams, Protocol(epochs=3, lr=0.01)
        ... )
        >>> [outcome.last("accuracy") > 80 for outcome in outcomes]
        [True, True]
    """

    name = "sal"
    summary = "Selective Adaptive Learning (arXiv 2601.21561)"
    version = 2
    floor = Floor(lr=0.03, accuracy=93.0)

    def besides(self, index: int, D: int, H: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """A layer's feedback, and its router where it has several areas."""
        feedback = layer_feedback(self.config, index, self.n_classes, H, streams)
        return feedback | layer_router(self.config, index, D, self.n_classes, streams)


def layer_feedback(
    config: SALConfig, index: int, n_classes: int, H: int, streams: Sequence[Streams]
) -> dict[str, Tensor]:
    """A layer's feedback matrices [R, C, H]; none, for the identity, where H is C."""
    if n_classes == H:
        return {}
    scale = config.feedback_scale
    return {"feedback": draw_feedback(streams, index, n_classes, H, scale)}


def layer_router(
    config: SALConfig, index: int, D: int, n_classes: int, streams: Sequence[Streams]
) -> dict[str, Tensor]:
    """A layer's router V [R, D, F], its bias c [R, F] and prototypes p [R, K, F].

    Nothing where there is one area.

    Raises:
        ValueError: The configuration has fewer features than there are classes.
    """
    F = config.router_features or n_classes
    if F < n_classes:
        raise ValueError(
            f"router_features must be at least the number of classes, {n_classes}, since the "
            f"router's cross-entropy reads them as logits; got {config.router_features}"
        )
    if config.layer_areas(index) == 1:
        return {}
    routers = [_draw_router(config, index, D, F, replica) for replica in streams]
    names = ("router", "router_bias", "prototypes")
    tensors = dict(zip(names, map(torch.stack, zip(*routers, strict=True)), strict=True))
    if not config.router_bias:
        del tensors["router_bias"]
    return tensors


def _draw_router(
    config: SALConfig, index: int, D: int, F: int, streams: Streams
) -> tuple[Tensor, Tensor, Tensor]:
    """V [D, F], c [F] and p [K, F] of one replica."""
    generator = streams.generator("router", index)
    kind, scale = config.router_init, config.router_init_scale
    v_DF = init_weights_(torch.empty(D, F), kind, scale, generator)
    # PyTorch's Linear draws its bias with the weights' bound: as one more input.
    bound = scale * D**-0.5 if kind == "torch" else 0.0
    c_F = torch.empty(F).uniform_(-bound, bound, generator=generator)
    K = config.layer_areas(index)
    p_KF = torch.empty(K, F).normal_(generator=streams.generator("prototypes", index))
    if config.prototypes == "unit":
        p_KF = torch.nn.functional.normalize(p_KF, dim=1)
    return v_DF, c_F, p_KF
