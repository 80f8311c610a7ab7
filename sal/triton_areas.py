"""Area-conditional linear maps as Triton kernels, all replicas at once (eq. 4, 7 and 8).

The operations of ``sal.areas``, one kernel each. A program belongs to one area of one replica: it
reads the batch's areas, picks the samples that are its own and multiplies those, so there is no
sort, no gathered copy of weights, no weight-sized gradient and no word to the host: a step can be
captured in a CUDA graph. Programs write disjoint outputs in a fixed order of sums, without atomics
or autotuning: the same bits every time, and for a replica the same alone as beside others.

On the CPU the kernels run, slowly, in Triton's interpreter: set ``TRITON_INTERPRET=1`` before
anything imports triton (torchvision does).

Axes: R replicas, B samples of a batch, D inputs, H outputs, K areas; within a kernel also S samples
that are searched together and T own samples that are multiplied together, and D and H are blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sal.config import NORMS, one_of

try:
    import triton
    import triton.language as tl
except ModuleNotFoundError as error:
    raise ImportError(
        "sal.triton_areas needs Triton, which comes with PyTorch for CUDA on Linux; without it use "
        "the engines grouped or masked"
    ) from error

# Constants, and not tuned at run time, for the bits of a sum depend on them.
TILE = 16
"""T: the paper's batch, and the least that tl.dot takes everywhere."""
SEARCH = 64
"""S: at most one tile in 64 samples is not full, for each area."""
BLOCK_D, BLOCK_H = 64, 64
"""On an H100, 32 x 32 is faster for the outputs of one replica of 784 x 256 alone, 10 against 12
µs; all else is slower with it (benchmarks/README.md)."""
WARPS = 4


def linear(x_RBD: Tensor, w_RKDH: Tensor, b_RKH: Tensor | None, area_RB: Tensor | None) -> Tensor:
    """x W_k + b_k with each sample's own area k (eq. 4).

    Args:
        x_RBD: Inputs, float32 or float64 as all that follow.
        w_RKDH: Weights, contiguous.
        b_RKH: Biases, contiguous; None: none.
        area_RB: Each sample's area, integers in [0, K), which is not checked: it would take a
            synchronisation. None: there is but one area.

    Returns:
        Outputs [R, B, H].

    Raises:
        ValueError: Shapes, types or devices do not go together; on the CPU without the interpreter.
    """
    _check(w_RKDH, b_RKH, x_RBD, area_RB)
    R, K, D, H = w_RKDH.shape
    B = x_RBD.shape[1]
    out_RBH = x_RBD.new_empty(R, B, H)
    _linear[R * K, triton.cdiv(H, BLOCK_H), triton.cdiv(B, SEARCH)](
        *(x_RBD.contiguous(), w_RKDH, b_RKH, _contiguous(area_RB), out_RBH, B, K, D, H),
        *(SEARCH, TILE, BLOCK_D, BLOCK_H),
        num_warps=WARPS,
    )
    return out_RBH


def descend_(
    w_RKDH: Tensor,
    b_RKH: Tensor | None,
    x_RBD: Tensor,
    delta_RBH: Tensor,
    area_RB: Tensor | None,
    norm: str,
    lr: float,
) -> None:
    """In place, for every chosen area k: W_k -= lr / n_k * sum of x delta^T over S_k (eq. 7 and 8).

    S_k holds the samples that chose k. Areas that nobody chose are not written.

    Args:
        w_RKDH: Weights, contiguous, float32 or float64 as all that follow.
        b_RKH: Biases, contiguous; None: none.
        x_RBD: The layer's inputs.
        delta_RBH: The layer's errors.
        area_RB: As in ``linear``.
        norm: What n_k is: B / K (share), B (batch) or the size of S_k (count).
        lr: Step size; negative to ascend.

    Raises:
        ValueError: As ``linear``; unknown norm.
    """
    one_of("norm", norm, NORMS)
    _check(w_RKDH, b_RKH, x_RBD, area_RB, delta_RBH)
    R, K, D, H = w_RKDH.shape
    B = x_RBD.shape[1]
    rate = -lr * {"share": K / B, "batch": 1 / B, "count": 1.0}[norm]
    _descend[R * K, triton.cdiv(D, BLOCK_D), triton.cdiv(H, BLOCK_H)](
        *(w_RKDH, b_RKH, x_RBD.contiguous(), delta_RBH.contiguous(), _contiguous(area_RB)),
        *(rate, norm == "count", B, K, D, H, SEARCH, TILE, BLOCK_D, BLOCK_H),
        num_warps=WARPS,
    )


@triton.jit
def _linear(
    x_RBD,
    w_RKDH,
    b_RKH,
    area_RB,
    out_RBH,
    B,
    K,
    D,
    H,
    SEARCH: tl.constexpr,
    TILE: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_H: tl.constexpr,
):
    """Outputs of one area's samples among SEARCH of the batch, for a block of H."""
    rk = tl.program_id(0).to(tl.int64)
    r = rk // K
    h_H = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
    sample_S, rank_S, count = _own(area_RB, r, rk % K, tl.program_id(2) * SEARCH, B, SEARCH)
    for start in range(0, count, TILE):
        sample_T, own_T = _tile(sample_S, rank_S, count, start, TILE)
        a_TH = tl.full((TILE, BLOCK_H), 0, out_RBH.dtype.element_ty)
        if b_RKH is not None:
            a_TH += tl.load(b_RKH + rk * H + h_H, h_H < H, 0)[None, :]
        for d in range(0, D, BLOCK_D):
            d_D = d + tl.arange(0, BLOCK_D)
            x_TD = _load(x_RBD + r * B * D, sample_T, own_T, d_D, d_D < D, D)
            w_DH = _load(w_RKDH + rk * D * H, d_D, d_D < D, h_H, h_H < H, H)
            a_TH = tl.dot(x_TD, w_DH, a_TH, input_precision="ieee", out_dtype=a_TH.dtype)
        out_TH = out_RBH + r * B * H + sample_T[:, None] * H + h_H[None, :]
        tl.store(out_TH, a_TH, own_T[:, None] & (h_H < H)[None, :])


@triton.jit
def _descend(
    w_RKDH,
    b_RKH,
    x_RBD,
    delta_RBH,
    area_RB,
    rate: tl.float64,
    BY_COUNT: tl.constexpr,
    B,
    K,
    D,
    H,
    SEARCH: tl.constexpr,
    TILE: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_H: tl.constexpr,
):
    """Adds rate (/ |S_k|) * sum of x delta^T to one area's block of D x H; block 0 of D, the bias.

    The rate is float64, as a float would be passed as float32, and is rounded once, here.
    """
    dtype: tl.constexpr = w_RKDH.dtype.element_ty
    rk = tl.program_id(0).to(tl.int64)
    r = rk // K
    d_D = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    h_H = tl.program_id(2) * BLOCK_H + tl.arange(0, BLOCK_H)
    sum_DH = tl.full((BLOCK_D, BLOCK_H), 0, dtype)
    sum_H = tl.full((BLOCK_H,), 0, dtype)
    total = 0
    for first in range(0, B, SEARCH):
        sample_S, rank_S, count = _own(area_RB, r, rk % K, first, B, SEARCH)
        for start in range(0, count, TILE):
            sample_T, own_T = _tile(sample_S, rank_S, count, start, TILE)
            x_TD = _load(x_RBD + r * B * D, sample_T, own_T, d_D, d_D < D, D)
            delta_TH = _load(delta_RBH + r * B * H, sample_T, own_T, h_H, h_H < H, H)
            sum_DH = tl.dot(
                tl.trans(x_TD), delta_TH, sum_DH, input_precision="ieee", out_dtype=dtype
            )
            sum_H += tl.sum(delta_TH, 0)
        total += count
    if total > 0:
        rate_1 = tl.full((1,), rate, tl.float64)
        if BY_COUNT:
            rate_1 = rate_1 / total
        rate_1 = rate_1.to(dtype)
        w_DH = w_RKDH + rk * D * H + d_D[:, None] * H + h_H[None, :]
        inside_DH = (d_D < D)[:, None] & (h_H < H)[None, :]
        tl.store(w_DH, tl.load(w_DH, inside_DH) + rate_1[None, :] * sum_DH, inside_DH)
        if b_RKH is not None:
            if tl.program_id(1) == 0:
                b_H = b_RKH + rk * H + h_H
                tl.store(b_H, tl.load(b_H, h_H < H) + rate_1 * sum_H, h_H < H)


@triton.jit
def _own(area_RB, r, k, first, B, SEARCH: tl.constexpr):
    """Of SEARCH samples: themselves, the rank from 1 of those of area k, 0 of others; how many."""
    sample_S = first + tl.arange(0, SEARCH)
    own_S = sample_S < B
    if area_RB is not None:
        own_S = own_S & (tl.load(area_RB + r * B + sample_S, own_S, -1) == k)
    own_S = own_S.to(tl.int32)
    return sample_S, own_S * tl.cumsum(own_S, 0), tl.sum(own_S, 0)


@triton.jit
def _tile(sample_S, rank_S, count, start, TILE: tl.constexpr):
    """The TILE samples whose ranks follow ``start``, and which of them exist."""
    rank_T = start + 1 + tl.arange(0, TILE)
    sample_T = tl.sum(tl.where(rank_S[None, :] == rank_T[:, None], sample_S[None, :], 0), 1)
    return sample_T, rank_T <= count


@triton.jit
def _load(start, i_I, in_I, j_J, in_J, stride):
    """Elements [I, J] of a matrix, 0 where outside: selected, for 0 times a NaN would be one."""
    place_IJ = start + i_I[:, None] * stride + j_J[None, :]
    return tl.load(place_IJ, in_I[:, None] & in_J[None, :], 0)


def _contiguous(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


def _check(
    w_RKDH: Tensor,
    b_RKH: Tensor | None,
    x_RBD: Tensor,
    area_RB: Tensor | None,
    delta_RBH: Tensor | None = None,
) -> None:
    R, K, D, H = w_RKDH.shape
    B = x_RBD.shape[1]
    dtype, device = w_RKDH.dtype, w_RKDH.device
    want = {"x": (x_RBD, (R, B, D)), "b": (b_RKH, (R, K, H)), "delta": (delta_RBH, (R, B, H))}
    for name, (tensor, shape) in want.items():
        if tensor is None:
            continue
        if (tensor.shape, tensor.dtype, tensor.device) != (shape, dtype, device):
            raise ValueError(
                f"weights {tuple(w_RKDH.shape)}, {dtype}, {device} want {name} {shape} of the same "
                f"type and device; got {tuple(tensor.shape)}, {tensor.dtype}, {tensor.device}"
            )
    if (area_RB is None and K > 1) or (area_RB is not None and area_RB.shape != (R, B)):
        got = None if area_RB is None else tuple(area_RB.shape)
        raise ValueError(f"{K} areas want each sample's area, shape {(R, B)}; got {got}")
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"the kernels know float32 and float64, got {dtype}")
    if not (w_RKDH.is_contiguous() and (b_RKH is None or b_RKH.is_contiguous())):
        raise ValueError("weights and biases must be contiguous, as the update is in place")
    # Triton decides at decoration, for its own tl.sum when it is first imported.
    compiled = any(isinstance(function, triton.JITFunction) for function in (_linear, tl.sum))
    if device.type == "cpu" and compiled:
        raise ValueError(
            "tensors on the CPU need Triton's interpreter: set TRITON_INTERPRET=1 before anything "
            "imports triton, or use the engines grouped or masked"
        )
