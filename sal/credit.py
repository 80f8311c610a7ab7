"""Credit assignment: how the output error reaches the layers, and what is made of it there.

Axes: R replicas, B samples of a batch, D inputs and H outputs of a layer, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from sal.feedback import project
from sal.net import Layer, Rule, Trace, output_error, times_derivative


def errors(
    layers: Sequence[Layer], traces: Sequence[Trace], z_RBC: Tensor, y_RB: Tensor, rule: Rule
) -> Iterator[Tensor]:
    """delta [R, B, H] of the layers, the last one first, down to the lowest one that learns.

    Each is made before the next is asked for, so a layer may change its weights in between.
    """
    ways = {"direct": direct, "chained": chained}
    learning = [number for number, layer in enumerate(layers) if layer.rate != 0]
    lowest = min(learning, default=len(layers))
    yield from ways[rule.credit](layers[lowest:], traces[lowest:], z_RBC, y_RB, rule)


def direct(
    layers: Sequence[Layer], traces: Sequence[Trace], z_RBC: Tensor, y_RB: Tensor, rule: Rule
) -> Iterator[Tensor]:
    """Each layer's from the output, through its own frozen feedback: (e B) * f'(a) (eq. 6)."""
    e_RBC = output_error(z_RBC, y_RB)
    signal_RBC = e_RBC if rule.signal == "error" else _target(z_RBC, y_RB)
    for layer, trace in zip(reversed(layers), reversed(traces), strict=True):
        sent_RBC = e_RBC if layer is layers[-1] else signal_RBC
        yield _received(project(sent_RBC, layer.feedback_RCH), layer, trace, rule)


def chained(
    layers: Sequence[Layer], traces: Sequence[Trace], z_RBC: Tensor, y_RB: Tensor, rule: Rule
) -> Iterator[Tensor]:
    """Each layer's from the layer above: through its weights, or what stands in for them.

    And beside it where there is a residual connection.
    """
    grad_RBH = output_error(z_RBC, y_RB)  # of the summed loss in the layer's output
    for layer, trace in zip(reversed(layers), reversed(traces), strict=True):
        delta_RBH = _received(grad_RBH, layer, trace, rule)
        if layer is not layers[0]:
            back_RDH = layer.backward_RDH
            back_RDH = layer.weight_RKDH[:, 0] if back_RDH is None else back_RDH
            grad_RBD = delta_RBH @ back_RDH.mT
            if layer.residual != "none":
                grad_RBD = grad_RBD + (delta_RBH if layer.residual == "inside" else grad_RBH)
            grad_RBH = grad_RBD
        yield delta_RBH


def _received(delta_RBH: Tensor, layer: Layer, trace: Trace, rule: Rule) -> Tensor:
    """A layer's error, from what reached it."""
    if rule.derivative:
        delta_RBH = times_derivative(delta_RBH, trace.f_RBH, layer.activation)
    if rule.error_limit == math.inf:
        return delta_RBH
    return delta_RBH.clamp(-rule.error_limit, rule.error_limit)


def _target(z_RBC: Tensor, y_RB: Tensor) -> Tensor:
    """-one_hot(y): an error of which only the label is known."""
    return torch.zeros_like(z_RBC).scatter_(-1, y_RB.unsqueeze(-1), -1)
