"""An epoch as replays of one captured step: a net this small waits for the host, not for the GPU.

Axes: R replicas, N samples of a data set, M samples of an epoch, B samples of a batch, D inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from sal.learner import Learner

WARM_UP = 3
"""Steps before the capture, for what happens but once: compilation, workspaces, lazy loading."""


class _Captured(NamedTuple):
    """A learner's step on fixed memory."""

    key: Hashable
    graph: torch.cuda.CUDAGraph
    x_RBD: Tensor
    y_RB: Tensor


# Beside the learner and not on it: a graph can be neither copied nor pickled.
_captured: WeakKeyDictionary[Learner, _Captured] = WeakKeyDictionary()


def epoch(
    learner: Learner, x_ND: Any, y_N: Tensor, order_RM: Tensor, batch_size: int, lr: float
) -> None:
    """``Learner.epoch`` with the same bits, replaying a CUDA graph for every full batch.

    The step is captured at the first full batch, and again when the batch size, ``lr`` or the
    learner's memory change. It must not synchronise with the host.

    Args:
        learner: On a CUDA device.
        x_ND: All inputs: anything that positions [R, B] index into rows [R, B, D] of the
            parameters' type.
        y_N: All labels.
        order_RM: For each replica, indices into them.
        batch_size: B, >= 1.
        lr: Step size.

    Raises:
        ValueError: The learner is not on a CUDA device.
        RuntimeError: The step does what cannot be captured, such as reading a number on the host.
    """
    batches = order_RM.split(batch_size, dim=1)
    if batches[0].shape[1] == batch_size:
        step = _capture(learner, batch_size, lr)
    for batch_RB in batches:
        if batch_RB.shape[1] < batch_size:
            learner.step(x_ND[batch_RB], y_N[batch_RB], lr)
        else:
            step.x_RBD.copy_(x_ND[batch_RB])
            step.y_RB.copy_(y_N[batch_RB])
            step.graph.replay()


def warm_up(step: Callable[[], None]) -> None:
    """Takes some steps on a stream of their own, as a capture needs them before it."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(side)


def _capture(learner: Learner, batch_size: int, lr: float) -> _Captured:
    tensors = learner.tensors()
    key = (batch_size, lr, *((t.data_ptr(), t.dtype) for t in tensors.values()))
    old = _captured.get(learner)
    if old is not None and old.key == key:
        return old
    like = next(learner.parameters())
    if like.device.type != "cuda":
        raise ValueError(f"a CUDA graph needs a learner on a CUDA device, got {like.device}")
    x_RBD = like.new_zeros(learner.replicas, batch_size, learner.in_features)
    y_RB = torch.zeros(x_RBD.shape[:2], dtype=torch.int64, device=like.device)
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    warm_up(lambda: learner.step(x_RBD, y_RB, lr))
    for name, tensor in tensors.items():
        tensor.copy_(before[name])
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        learner.step(x_RBD, y_RB, lr)
    _captured[learner] = _Captured(key, graph, x_RBD, y_RB)
    return _captured[learner]
