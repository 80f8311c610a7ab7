"""A step in PyTorch: every layer's update from its error, in place, by any ``Rule``.

What the compiled engine does fast, and what it does not know.

Axes: R replicas, B samples of a batch, D inputs and H outputs of a layer, C classes, F routing
features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sal import areas, credit, mixture
from sal.net import Layer, Rule, Trace, forward, output_error


def descend_(
    layers: Sequence[Layer],
    targets: Sequence[Layer],
    x_RBD: Tensor,
    y_RB: Tensor,
    rule: Rule,
    lr: float,
    engine: str,
) -> None:
    """Subtracts lr times the update at ``layers`` from ``targets``, the same or others, in place.

    ``engine`` is one of the ways of ``sal.areas``.
    """
    if any(layer.experts for layer in layers):
        _descend_gradient_(layers, targets, x_RBD, y_RB, rule, lr, engine)
        return
    z_RBC, traces = forward(layers, x_RBD, engine)
    deltas = credit.errors(layers, traces, z_RBC, y_RB, rule, engine)
    outputs = [*(trace.x_RBD for trace in traces[1:]), z_RBC]
    backwards = (reversed(part) for part in (layers, targets, traces, outputs))
    # Errors are made one by one, so that each layer still has its weights when its own is made.
    for layer, target, trace, out_RBH, delta_RBH in zip(*backwards, deltas, strict=False):
        if trace.r_RBF is not None and rule.router_rate:
            _descend_router_(target, trace, y_RB, lr * rule.router_rate)
        if layer.head_RHC is not None:
            _descend_head_(layer, target, out_RBH, y_RB, lr)
        _descend_weights_(layer, target, trace, delta_RBH, rule, lr * layer.rate, engine)


def _descend_weights_(
    layer: Layer,
    target: Layer,
    trace: Trace,
    delta_RBH: Tensor,
    rule: Rule,
    lr: float,
    engine: str,
) -> None:
    if rule.decay:
        target.weight_RKDH.sub_(layer.weight_RKDH.clone(), alpha=lr * rule.decay)
    if rule.mirror and layer.backward_RDH is not None:
        target.backward_RDH.sub_(layer.backward_RDH.clone(), alpha=lr * rule.decay)
        target.backward_RDH.baddbmm_(trace.x_RBD.mT, delta_RBH, alpha=-lr / delta_RBH.shape[1])
    areas.descend_(
        target.weight_RKDH,
        target.bias_RKH,
        trace.x_RBD,
        delta_RBH,
        trace.area_RB,
        rule.area_norm,
        lr,
        engine,
    )
    if layer.mask_RDH is not None:
        target.weight_RKDH.mul_(layer.mask_RDH.unsqueeze(1))


def _descend_router_(target: Layer, trace: Trace, y_RB: Tensor, lr: float) -> None:
    """The router descends the cross-entropy of its features (eq. 9).

    Surplus features, more than there are classes, are classes that never occur.
    """
    q_RBF = output_error(trace.r_RBF, y_RB)
    rate = lr / y_RB.shape[1]
    target.router_RDF.baddbmm_(trace.x_RBD.mT, q_RBF, alpha=-rate)
    if target.router_bias_RF is not None:
        target.router_bias_RF.sub_(q_RBF.sum(1), alpha=rate)


def _descend_head_(layer: Layer, target: Layer, h_RBH: Tensor, y_RB: Tensor, lr: float) -> None:
    """A layer's own classifier descends its cross-entropy."""
    e_RBC = credit.local_error(layer, h_RBH, y_RB)
    rate = lr / y_RB.shape[1]
    target.head_RHC.baddbmm_(h_RBH.mT, e_RBC, alpha=-rate)
    target.head_bias_RC.sub_(e_RBC.sum(1), alpha=rate)


LEARNED = ("weight_RKDH", "bias_RKH", "router_RDF", "router_bias_RF")
"""What a mixture learns."""


def _descend_gradient_(
    layers: Sequence[Layer],
    targets: Sequence[Layer],
    x_RBD: Tensor,
    y_RB: Tensor,
    rule: Rule,
    lr: float,
    engine: str,
) -> None:
    """Mixtures descend the gradient of the mean cross-entropy and of their imbalance: autograd."""
    plain = Rule(
        credit="chained",
        area_norm="batch",
        balance=rule.balance,
        balance_weight=rule.balance_weight,
    )
    if rule != plain:
        raise ValueError(f"mixtures learn by the gradient, {plain}; got {rule}")
    with torch.enable_grad():
        leaves = [
            {
                name: tensor.detach().requires_grad_()
                for name in LEARNED
                if (tensor := getattr(layer, name)) is not None
            }
            for layer in layers
        ]
        net = [replace(layer, **own) for layer, own in zip(layers, leaves, strict=True)]
        z_RBC, traces = forward(net, x_RBD, engine)
        loss = (
            torch.nn.functional.cross_entropy(z_RBC.flatten(0, 1), y_RB.flatten(), reduction="sum")
            / y_RB.shape[1]
        )
        for layer, trace in zip(layers, traces, strict=True):
            if layer.experts and rule.balance_weight:
                chosen_RBJ = mixture.choose(trace.r_RBF, layer.experts)
                uneven_R = mixture.imbalance(trace.r_RBF, chosen_RBJ, layer.gates, rule.balance)
                loss = loss + rule.balance_weight * uneven_R.sum()
    flat = [(n, name, leaf) for n, own in enumerate(leaves) for name, leaf in own.items()]
    gradients = torch.autograd.grad(loss, [leaf for _, _, leaf in flat])
    for (n, name, _), gradient in zip(flat, gradients, strict=True):
        getattr(targets[n], name).sub_(gradient, alpha=lr * layers[n].rate)
