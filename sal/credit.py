"""Credit assignment: how the output error reaches the layers, and what is made of it there.

Axes: R replicas, B samples of a batch, D inputs and H outputs of a layer, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from sal import areas
from sal.feedback import project
from sal.net import Layer, Rule, Trace, output_error, times_derivative


def errors(
    layers: Sequence[Layer],
    traces: Sequence[Trace],
    z_RBC: Tensor,
    y_RB: Tensor,
    rule: Rule,
    engine: str = "grouped",
) -> Iterator[Tensor]:
    """delta [R, B, H] of the layers, the last one first, down to the lowest one that learns.

    Each is made before the next is asked for, so a layer may change its weights in between.
    """
    ways = {"direct": direct, "chained": partial(chained, engine=engine), "local": local}
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
    layers: Sequence[Layer],
    traces: Sequence[Trace],
    z_RBC: Tensor,
    y_RB: Tensor,
    rule: Rule,
    engine: str,
) -> Iterator[Tensor]:
    """Each layer's from the layer above: through its weights, or what stands in for them.

    And beside it where there is a residual connection.
    """
    grad_RBH = output_error(z_RBC, y_RB)  # of the summed loss in the layer's output
    for layer, trace in zip(reversed(layers), reversed(traces), strict=True):
        delta_RBH = _received(grad_RBH, layer, trace, rule)
        if layer is not layers[0]:
            grad_RBD = _back(layer, delta_RBH, trace.area_RB, engine)
            if layer.residual != "none":
                grad_RBD = grad_RBD + (delta_RBH if layer.residual == "inside" else grad_RBH)
            grad_RBH = grad_RBD
        yield delta_RBH


def local(
    layers: Sequence[Layer], traces: Sequence[Trace], z_RBC: Tensor, y_RB: Tensor, rule: Rule
) -> Iterator[Tensor]:
    """Each hidden layer's from its own classifier of its output, the output layer's from the net.

    The gradient of that classifier's cross-entropy (Nokland and Eidnes 2019).
    """
    outputs = [*(trace.x_RBD for trace in traces[1:]), z_RBC]
    for layer, trace, out_RBH in zip(*map(reversed, (layers, traces, outputs)), strict=True):
        if layer is layers[-1]:
            yield _received(output_error(z_RBC, y_RB), layer, trace, rule)
        else:
            e_RBC = local_error(layer, out_RBH, y_RB)
            yield _received(e_RBC @ layer.head_RHC.mT, layer, trace, rule)


def local_error(layer: Layer, h_RBH: Tensor, y_RB: Tensor) -> Tensor:
    """Error [R, B, C] of a layer's own classifier of its output."""
    return output_error(torch.baddbmm(layer.head_bias_RC.unsqueeze(1), h_RBH, layer.head_RHC), y_RB)


def _back(layer: Layer, delta_RBH: Tensor, area_RB: Tensor | None, engine: str) -> Tensor:
    """A layer's error [R, B, D] in its input: through its weights, or what stands in for them."""
    if layer.backward_RDH is not None:
        return delta_RBH @ layer.backward_RDH.mT
    return areas.linear(delta_RBH, layer.weight_RKDH.mT, None, area_RB, engine)


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
