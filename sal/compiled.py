"""The compiled engine: whole epochs of a fully connected net on one CPU core, without Python.

It computes what ``sal.sal`` and ``baselines.bp`` spell out in PyTorch. What makes it fast:

- Products run in register tiles (``sal.simd``); an area's samples are one product.
- An update is added to the weights where they lie: no gradient the size of the weights, and areas
  that nobody chose are not read.
- An area's update waits until the area is chosen again: block by block of its rows, it is then
  applied and the new samples pass through while the block is in the cache. Each visit to an area
  so reads and writes its weights once, where a forward pass and an update read them twice. Waiting
  changes no bit, since sums have a fixed order; at the end of a call nothing waits.
- Pixels stay bytes; a batch is scaled as it is gathered.

Axes: R replicas, N samples of a data set, M samples of an epoch, D inputs and H outputs of a layer,
C classes, K areas, F routing features.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numba import njit
from torch import Tensor

from sal import config, hashing, kernels, mixture, simd
from sal.config import ACTIVATIONS, NORMS, RESIDUALS
from sal.data.pixels import Pixels
from sal.mixture import BALANCES
from sal.net import Layer, Rule

WAITING = 0.1
"""Memory for waiting updates, at most this share of a layer's weights."""
MOST_SLOTS = 8
"""Batches whose updates may wait."""


def train(
    layers: Sequence[Layer],
    rule: Rule,
    x_ND: Tensor | Pixels,
    y_N: Tensor,
    order_RM: Tensor,
    batch_size: int,
    lr: float,
    threads: int = 1,
) -> None:
    """Steps through M samples in the given order, in place; the last batch holds what is left.

    Args:
        layers: The net; float32 or float64, contiguous, on the CPU.
        rule: The learning rule.
        x_ND: Inputs in the net's type, or pixels.
        y_N: Labels, int64 in [0, C).
        order_RM: For each replica, positions in ``x_ND``.
        batch_size: B, >= 1.
        lr: Step size.
        threads: Replicas are spread over so many; their bits do not depend on it.

    Raises:
        ValueError: Tensors do not fit together in shape, type or device, or one of the net's is
            not contiguous.
        IndexError: A position or a label is out of range.
    """
    weight = layers[0].weight_RKDH
    pixels = x_ND if isinstance(x_ND, Pixels) else Pixels(x_ND, 1.0, 0.0)
    _check(layers, rule, pixels, y_N, order_RM, batch_size)
    if not isinstance(x_ND, Pixels) and x_ND.dtype != weight.dtype:
        raise ValueError(f"inputs must be of the net's type, {weight.dtype}; got {x_ND.dtype}")
    if order_RM.shape[1] == 0:
        return
    like = np.empty(0, str(weight.dtype).removeprefix("torch."))
    x = pixels.values_ND.contiguous().numpy()
    y, order = y_N.contiguous().numpy(), order_RM.contiguous().numpy()
    if not 0 <= order.min() <= order.max() < len(x):
        raise IndexError(f"positions must be in [0, {len(x)}), got {order.min()} to {order.max()}")
    taken, classes = y[order], layers[-1].weight_RKDH.shape[3]
    if not 0 <= taken.min() <= taken.max() < classes:
        raise IndexError(f"labels must be in [0, {classes}), got {taken.min()} to {taken.max()}")
    plan = np.array([_row(layer, batch_size) for layer in layers])
    strides = np.array([_strides(layer) for layer in layers])
    numbers = np.array(
        [
            *(rule.credit == "chained", rule.derivative, NORMS.index(rule.area_norm), batch_size),
            *(rule.signal == "target", BALANCES.index(rule.balance)),
        ],
        np.int64,
    )
    rates = np.array(
        [
            *(lr, rule.router_rate, rule.error_limit, rule.balance_weight),
            *(layer.rate for layer in layers),
        ]
    )

    def run(r: int) -> None:
        _steps(
            plan + r * strides, numbers, rates, x, pixels.scale, pixels.offset, y, order[r], like
        )

    if threads == 1 or len(order) == 1:
        for r in range(len(order)):
            run(r)
        return
    with ThreadPoolExecutor(min(threads, len(order))) as pool:
        list(pool.map(run, range(len(order))))


def _check(
    layers: Sequence[Layer],
    rule: Rule,
    x_ND: Pixels,
    y_N: Tensor,
    order_RM: Tensor,
    batch_size: int,
) -> None:
    """Raises ValueError unless all fit together: compiled code would not notice."""
    weight, last = layers[0].weight_RKDH, layers[-1]
    R, _, D, _ = weight.shape
    if weight.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"the compiled engine takes float32 or float64, got {weight.dtype}")
    tensors = [array for layer in layers for array in _arrays(layer) if array is not None]
    salts = [tensor for tensor in tensors if tensor.dtype == torch.int64]
    for salt in salts:
        if tuple(salt.shape) != (R, D) or not salt.is_contiguous():
            raise ValueError(f"wanted salts [R, D] with R={R}, D={D}; got {tuple(salt.shape)}")
    for tensor in (tensor for tensor in tensors if tensor.dtype != torch.int64):
        if not (tensor.is_contiguous() and tensor.dtype == weight.dtype and len(tensor) == R):
            raise ValueError(
                f"the compiled engine takes contiguous tensors of one type, {weight.dtype}, and "
                f"{R} replicas; got {tensor.dtype}, {tuple(tensor.shape)}, {tensor.stride()}"
            )
    devices = {str(tensor.device) for tensor in (*tensors, x_ND.values_ND, y_N, order_RM)}
    if devices != {"cpu"}:
        raise ValueError(f"the compiled engine runs on the CPU, got tensors on {sorted(devices)}")
    N = len(x_ND)
    if (x_ND.shape, tuple(y_N.shape), order_RM.dim(), len(order_RM)) != ((N, D), (N,), 2, R):
        raise ValueError(
            f"wanted x [N, D], y [N] and order [R, M] with D={D} and R={R}; got x {x_ND.shape}, "
            f"y {tuple(y_N.shape)} and order {tuple(order_RM.shape)}"
        )
    if y_N.is_floating_point() or order_RM.is_floating_point() or batch_size < 1:
        raise ValueError(
            f"wanted integer labels and positions and a batch size >= 1; got {y_N.dtype}, "
            f"{order_RM.dtype} and {batch_size}"
        )
    gradient = rule.credit == "chained" and rule.area_norm == "batch"
    unknown = rule.credit == "local" or rule.decay or rule.mirror or not all(map(_known, layers))
    unknown = unknown or (not gradient and any(layer.experts for layer in layers))
    if unknown:
        raise ValueError(
            "the compiled engine knows direct and chained errors of layers whose samples take one "
            "area each, mixed by gates only with chained errors, without masks, weight decay, "
            "learned feedback, or a stand-in for several areas' weights; take another engine"
        )
    _check_shapes(layers, rule)
    if last.activation != "linear" or last.residual != "none":
        raise ValueError(
            "the output layer must be linear and without a residual connection; got "
            f"{last.activation}, {last.residual}"
        )


def _check_shapes(layers: Sequence[Layer], rule: Rule) -> None:
    """Raises ValueError unless the layers' tensors fit each other."""
    R, _, inputs, _ = layers[0].weight_RKDH.shape
    classes = layers[-1].weight_RKDH.shape[3]
    for index, layer in enumerate(layers):
        _, K, D, H = layer.weight_RKDH.shape
        F = 0 if layer.router_RDF is None else layer.router_RDF.shape[-1]
        wanted = {
            "weight_RKDH": (R, K, inputs, H),
            "bias_RKH": (R, K, H),
            "feedback_RCH": (R, classes, H),
            "backward_RDH": (R, D, H),
            "router_RDF": (R, D, F),
            "router_bias_RF": (R, F),
            "prototypes_RKF": (R, K, F),
        }
        for name, shape in wanted.items():
            tensor = getattr(layer, name)
            if tensor is not None and tuple(tensor.shape) != shape:
                given = tuple(tensor.shape)
                raise ValueError(f"layer {index}: {name} must be {shape}, got {given}")
        if rule.credit == "direct" and layer.feedback_RCH is None and H != classes:
            raise ValueError(
                f"layer {index} has no feedback, takes the output's error as it is, and needs as "
                f"many outputs as there are classes, {classes}; got {H}"
            )
        if layer.residual != "none" and D != H:
            raise ValueError(
                f"layer {index} has a residual connection, and needs as many outputs as inputs; "
                f"got {D} inputs and {H} outputs"
            )
        inputs = H


def _known(layer: Layer) -> bool:
    """Whether the kernels can compute a layer: see ``_check``."""
    several = layer.weight_RKDH.shape[1] > 1
    scored = layer.router_RDF is not None and layer.prototypes_RKF is None
    mixes_one = layer.experts == 0 or (layer.experts == 1 and layer.gates == "all" and scored)
    if scored and layer.router_RDF.shape[2] != layer.weight_RKDH.shape[1]:
        return False
    routed = (layer.router_RDF is not None) != (layer.salt_RD is not None)
    masked = layer.mask_RDH is not None or layer.head_RHC is not None
    if several and layer.backward_RDH is not None:
        return False
    return mixes_one and not masked and (routed or not several)


def _arrays(layer: Layer) -> tuple[Tensor | None, ...]:
    return (
        *(layer.weight_RKDH, layer.bias_RKH, layer.feedback_RCH),
        *(layer.router_RDF, layer.router_bias_RF, layer.prototypes_RKF, layer.backward_RDH),
        layer.salt_RD,
    )


def _row(layer: Layer, batch: int) -> list[int]:
    """The layer's row of the plan, for replica 0."""
    _, K, D, H = layer.weight_RKDH.shape
    slots = min(int(WAITING * K * D * H / (batch * (D + H))), MOST_SLOTS)
    return [
        *(D, H, K, 0 if layer.router_RDF is None else layer.router_RDF.shape[2]),
        *(ACTIVATIONS.index(layer.activation), RESIDUALS.index(layer.residual)),
        *(slots if slots > 1 else 0, layer.experts, layer.fresh),
        *(0 if array is None else array.data_ptr() for array in _arrays(layer)),
    ]


def _strides(layer: Layer) -> list[int]:
    """What takes a layer's row of the plan from one replica to the next."""
    addresses = (
        0 if array is None else array.stride(0) * array.element_size() for array in _arrays(layer)
    )
    return [0] * kernels.WEIGHT + list(addresses)


SOURCES = (config, hashing, kernels, mixture, simd)
"""The modules that go into the compiled code."""


def _cached(sources: str):
    """``kernels.steps``, compiled and kept on disk between processes.

    Numba's cache notices a change of this file, but not of the others that go into the code; what
    a function closes over, it notices, too.
    """

    def steps(plan, numbers, rates, x_ND, scale, offset, y_N, order_M, like):
        if len(sources) > 0:
            kernels.steps(plan, numbers, rates, x_ND, scale, offset, y_N, order_M, like)

    try:
        return njit(cache=True, nogil=True)(steps)
    except RuntimeError as error:  # no folder to write to
        warnings.warn(f"every process compiles anew, set NUMBA_CACHE_DIR: {error}", stacklevel=2)
        return njit(nogil=True)(steps)


_steps = _cached(
    hashlib.sha256(b"".join(Path(m.__file__).read_bytes() for m in SOURCES)).hexdigest()
)
