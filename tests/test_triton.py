"""The Triton kernels against loops over samples; on the CPU they run in Triton's interpreter."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from sal.config import NORMS

pytest.importorskip("triton")
from sal import triton_areas  # noqa: E402

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LR = 0.3
CASES = {  # R, B, D, H, K
    "one area": (1, 16, 65, 7, 1),
    "five areas": (2, 16, 128, 64, 5),
    "more areas than samples": (1, 3, 5, 72, 11),
    "one sample": (2, 1, 7, 3, 4),
    "one of everything": (1, 1, 1, 1, 1),
    "sizes beside the blocks": (1, 17, 95, 129, 3),
    "more samples than are searched together": (1, 150, 3, 2, 4),
}
TOLERANCE = {torch.float64: (1e-12, 1e-13), torch.float32: (1e-5, 1e-5)}

cases = pytest.mark.parametrize("case", CASES)
kinds = pytest.mark.parametrize(
    ("dtype", "bias"),
    [(torch.float64, True), (torch.float32, False)],
    ids=["float64", "float32 without bias"],
)


def operands(case, bias=True, dtype=torch.float64):
    """(w, b, x, delta, area); nobody takes area 1, if there is another."""
    R, B, D, H, K = CASES[case]
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, generator=generator).to(DEVICE, dtype)

    area = torch.randint(0, K, (R, B), generator=generator).to(DEVICE)
    area[area == 1] = 0
    w, b, x, delta = draw(R, K, D, H), draw(R, K, H), draw(R, B, D), draw(R, B, H)
    return w, b if bias else None, x, delta, area if K > 1 else None


def arrays(*tensors):
    """Copies in float64, apart from areas; no area means area 0."""
    return [None if t is None else t.detach().cpu().double().numpy().copy() for t in tensors]


def samples(x, area):
    """(replica, sample, area) of every sample."""
    for r, s in np.ndindex(*x.shape[:2]):
        yield r, s, 0 if area is None else int(area[r, s])


def slow_linear(x, w, b, area):
    w, b, x, area = arrays(w, b, x, area)
    out = np.zeros((*x.shape[:2], w.shape[3]))
    for r, s, k in samples(x, area):
        out[r, s] = x[r, s] @ w[r, k] + (0 if b is None else b[r, k])
    return out


def slow_descend(w, b, x, delta, area, norm, lr):
    w, b, x, delta, area = arrays(w, b, x, delta, area)
    gradient, sums = np.zeros_like(w), np.zeros((*w.shape[:2], w.shape[3]))
    counts = np.zeros(w.shape[:2])
    for r, s, k in samples(x, area):
        gradient[r, k] += np.outer(x[r, s], delta[r, s])
        sums[r, k] += delta[r, s]
        counts[r, k] += 1
    size, areas = x.shape[1], w.shape[1]
    n = {"share": size / areas, "batch": size, "count": np.maximum(counts, 1)}[norm]
    rate = np.broadcast_to(lr / np.asarray(n), counts.shape)
    new_b = None if b is None else b - rate[..., None] * sums
    return w - rate[..., None, None] * gradient, new_b


def assert_near(tensor, array):
    rtol, atol = TOLERANCE[tensor.dtype]
    np.testing.assert_allclose(tensor.cpu().numpy(), array, rtol=rtol, atol=atol)


@kinds
@cases
def test_outputs_are_each_samples_own_product(case, bias, dtype):
    w, b, x, _, area = operands(case, bias, dtype)
    assert_near(triton_areas.linear(x, w, b, area), slow_linear(x, w, b, area))


@kinds
@pytest.mark.parametrize("norm", NORMS)
@cases
def test_updates_are_the_sums_over_each_areas_own_samples(case, bias, norm, dtype):
    w, b, x, delta, area = operands(case, bias, dtype)
    new_w, new_b = slow_descend(w, b, x, delta, area, norm, LR)
    triton_areas.descend_(w, b, x, delta, area, norm, LR)
    assert_near(w, new_w)
    if bias:
        assert_near(b, new_b)


def test_inputs_of_any_layout_are_read_in_their_order():
    w, b, x, delta, area = operands("five areas")
    out = triton_areas.linear(x, w, b, area)
    x_T, delta_T, area_T = x.mT.contiguous().mT, delta.mT.contiguous().mT, area.mT.contiguous().mT
    assert not (x_T.is_contiguous() or delta_T.is_contiguous() or area_T.is_contiguous())
    assert torch.equal(triton_areas.linear(x_T, w, b, area_T), out)
    other_w, other_b = w.clone(), b.clone()
    triton_areas.descend_(w, b, x, delta, area, "share", LR)
    triton_areas.descend_(other_w, other_b, x_T, delta_T, area_T, "share", LR)
    assert torch.equal(w, other_w)
    assert torch.equal(b, other_b)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_each_replica_is_bit_identical_to_itself_alone(dtype):
    w, b, x, delta, area = operands("five areas", dtype=dtype)
    alone = [(w[r : r + 1].clone(), b[r : r + 1].clone()) for r in range(2)]
    out = triton_areas.linear(x, w, b, area)
    triton_areas.descend_(w, b, x, delta, area, "count", LR)
    for r, (w_r, b_r) in enumerate(alone):
        own = slice(r, r + 1)
        assert torch.equal(triton_areas.linear(x[own], w_r, b_r, area[own]), out[own])
        triton_areas.descend_(w_r, b_r, x[own], delta[own], area[own], "count", LR)
        assert torch.equal(w_r, w[own])
        assert torch.equal(b_r, b[own])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_in_its_area_and_areas_of_nobody_keep_their_bits(norm, value):
    w, b, x, delta, area = operands("five areas")
    for tensor in (w, b):
        tensor.view(torch.int64)[:, 1] = 0x7FF0000000000001  # a NaN that changes in any arithmetic
    before_w, before_b = w.clone(), b.clone()
    x[0, 3], delta[0, 3] = value, value
    own = int(area[0, 3])
    with np.errstate(all="ignore"):
        out = triton_areas.linear(x, w, b, area)
        triton_areas.descend_(w, b, x, delta, area, norm, LR)
    assert torch.equal(~out.isfinite().all(2).cpu(), torch.arange(16) == torch.tensor([[3], [99]]))
    for r, k in np.ndindex(2, 5):
        if not (area[r] == k).any():
            for new, old in ((w, before_w), (b, before_b)):
                assert new[r, k].cpu().numpy().tobytes() == old[r, k].cpu().numpy().tobytes()
        else:
            assert w[r, k].isfinite().any() != ((r, k) == (0, own))
            assert b[r, k].isfinite().any() != ((r, k) == (0, own))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_the_kernels_replay_in_a_cuda_graph_with_the_same_bits():
    w, b, x, delta, area = operands("five areas")
    other_w, other_b = w.clone(), b.clone()
    out = triton_areas.linear(x, w, b, area)
    triton_areas.descend_(w, b, x, delta, area, "count", LR)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        other_out = triton_areas.linear(x, other_w, other_b, area)
        triton_areas.descend_(other_w, other_b, x, delta, area, "count", LR)
    graph.replay()
    for ours, eager in ((other_out, out), (other_w, w), (other_b, b)):
        assert torch.equal(ours, eager)


def test_operands_that_do_not_go_together_are_refused():
    w, b, x, delta, area = operands("five areas")
    bad = {
        r"want x \(2, 16, 128\)": (x[..., 1:], w, b, area),
        "of the same type": (x.float(), w, b, area),
        r"want b \(2, 5, 64\)": (x, w, b[:, 1:], area),
        "5 areas want each sample's area": (x, w, b, None),
        r"shape \(2, 16\); got \(2, 15\)": (x, w, b, area[:, 1:]),
        "float32 and float64": (x.half(), w.half(), b.half(), area),
        "must be contiguous": (x, w.mT.contiguous().mT, b, area),
    }
    for message, arguments in bad.items():
        with pytest.raises(ValueError, match=message):
            triton_areas.linear(*arguments)
    with pytest.raises(ValueError, match="want delta"):
        triton_areas.descend_(w, b, x, delta[:1], area, "share", LR)
    with pytest.raises(ValueError, match="norm must be one of"):
        triton_areas.descend_(w, b, x, delta, area, "mean", LR)


def run(code, **environment):
    """What a fresh interpreter, which compiles and does not interpret, prints."""
    clean = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_triton_the_package_imports_and_the_module_says_what_it_needs():
    code = """
import sys
sys.modules["triton"] = None
import sal
try:
    import sal.triton_areas
except ImportError as error:
    print(error)
"""
    assert "sal.triton_areas needs Triton" in run(code)


COMPILE = """
import torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from sal import triton_areas as t

try:
    t.linear(torch.ones(1, 1, 1), torch.ones(1, 1, 1, 1), None, None)
except ValueError as error:
    print(error)

blocks = {name: getattr(t, name) for name in ("SEARCH", "TILE", "BLOCK_D", "BLOCK_H")}

def compile(kernel, dtype, capability, **constants):
    types = {p.name: p.annotation_type or "*" + dtype for p in kernel.params}
    types |= {"area_RB": "*i64", "B": "i32", "K": "i32", "D": "i32", "H": "i32"}
    constants |= blocks
    names = [p.name for p in kernel.params]
    signature = {n: "constexpr" if n in constants else types[n] for n in names}
    fixed = {(names.index(n),): value for n, value in constants.items()}
    source = ASTSource(kernel, signature, fixed)
    target = GPUTarget("cuda", capability, 32)
    return triton.compile(source, target=target, options={"num_warps": t.WARPS}).asm["ptx"]

for capability, absent in ((80, {}), (90, {"b_RKH": None, "area_RB": None})):
    for dtype in ("fp32", "fp64"):
        for ptx in (
            compile(t._linear, dtype, capability, **absent),
            compile(t._descend, dtype, capability, BY_COUNT=capability == 90, **absent),
        ):
            print("compiled", "tf32" in ptx, "atom" in ptx)
"""


def test_the_kernels_compile_for_a_gpu_without_tf32_and_atomics(tmp_path):
    first, *rest = run(COMPILE, TRITON_CACHE_DIR=str(tmp_path)).splitlines()
    assert "need Triton's interpreter" in first
    assert rest == ["compiled False False"] * 8
