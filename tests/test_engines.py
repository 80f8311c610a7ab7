"""The engines give the same, and the compiled one the same bits however it goes about it."""

import ast
import dataclasses
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from baselines import (
    BP,
    DFA,
    DRTP,
    FA,
    SALBP,
    BPConfig,
    DFAConfig,
    DRTPConfig,
    FAConfig,
    MoE,
    MoEConfig,
    SALFrozen,
    SALHash,
    SALRandom,
    SALRedrawn,
    SALRedrawnConfig,
    SALStep,
    Shallow,
    ShallowConfig,
)
from sal import SAL, SALConfig, Streams, compiled, kernels, simd
from sal.config import ACTIVATIONS, RESIDUALS
from sal.data import load
from sal.data.partition import partition
from sal.data.pixels import Pixels
from sal.descent import descend_
from sal.net import Layer, Rule
from sal.train import epoch_order

D, C, B, N = 20, 5, 16, 16 * 6 + 7
SEEDS = (0, 1, 2)
NETS = {
    "bp": (BP, BPConfig(hidden=(33, 33, 20))),
    "fa": (FA, FAConfig(hidden=(33, 33, 20))),
    "dfa": (DFA, DFAConfig(hidden=(33, 33, 20), feedback_scale=0.3)),
    "drtp": (DRTP, DRTPConfig(hidden=(33, 33, 20))),
    "shallow": (Shallow, ShallowConfig(hidden=(33, 33, 20))),
    "moe": (MoE, MoEConfig(hidden=(33, 33, 20), areas=(30, 1, 3))),
    "moe, switch": (MoE, MoEConfig(hidden=(33, 33), areas=(1, 4, 3), balance="switch")),
    **{
        method.name: (method, SALConfig(hidden=(33, 33, 20), areas=(30, 1, 3), init_scale=0.3))
        for method in (SAL, SALStep, SALFrozen, SALRandom, SALHash, SALBP)
    },
    "sal_redrawn": (
        SALRedrawn,
        SALRedrawnConfig(hidden=(33, 33, 20), areas=(30, 1, 3), init_scale=0.3, routing_seed=9),
    ),
}
nets = pytest.mark.parametrize("net", NETS)


def build(net, seeds=SEEDS, engine=None, **choices):
    learner, config = NETS[net]
    config = dataclasses.replace(config, **choices)
    return learner(config, D, C, [Streams(seed) for seed in seeds], engine=engine)


def data():
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(0, 256, (N, D), generator=generator).to(torch.uint8)
    order = torch.stack([torch.randperm(N, generator=generator) for _ in SEEDS])
    pixels = Pixels(values, 2 / 255, -1.0)
    return pixels, torch.randint(0, C, (N,), generator=generator), order


def digests(learner):
    return [learner.digest(r) for r in range(learner.replicas)]


@nets
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("residual", RESIDUALS)
@pytest.mark.parametrize("bias", [True, False])
def test_a_compiled_epoch_equals_the_steps_in_pytorch(net, activation, residual, bias, monkeypatch):
    choices = {"activation": activation, "residual": residual, "bias": bias}
    x, y, order = data()
    x = x[torch.arange(N)].double()
    slow = build(net, engine=build(net).engines[1], **choices).double()
    slow.epoch(x, y, order, B, 0.05)
    for waiting in (0, 10):
        monkeypatch.setattr(compiled, "WAITING", waiting)
        fast = build(net, engine="compiled", **choices).double()
        fast.epoch(x, y, order, B, 0.05)
        for name, tensor in fast.tensors().items():
            torch.testing.assert_close(tensor, slow.tensors()[name], rtol=1e-11, atol=1e-13)


@nets
def test_how_long_updates_wait_changes_no_bit(net, monkeypatch):
    seen = set()
    for waiting, most in itertools.product((0, 0.1, 0.5, 10), (2, 3, 8)):
        monkeypatch.setattr(compiled, "WAITING", waiting)
        monkeypatch.setattr(compiled, "MOST_SLOTS", most)
        learner = build(net)
        for _ in range(3):
            learner.epoch(*data(), B, 0.05)
        seen.add(tuple(digests(learner)))
    assert len(seen) == 1


@nets
def test_blocks_threads_and_neighbours_change_no_bit(net, monkeypatch):
    x, y, order = data()
    together = build(net)
    together.epoch(x, y, order, B, 0.05)
    threaded = build(net)
    threaded.threads = 2
    threaded.epoch(x, y, order, B, 0.05)
    monkeypatch.setattr(compiled, "WAITING", 10)  # an epoch lets updates wait, steps cannot
    stepwise = build(net)
    for batch in order.split(B, dim=1):
        stepwise.step(x[batch], y[batch], 0.05)
    alone = [build(net, (seed,)) for seed in SEEDS]
    for r, learner in enumerate(alone):
        learner.epoch(x, y, order[r : r + 1], B, 0.05)
    assert digests(threaded) == digests(together) == digests(stepwise)
    assert [learner.digest(0) for learner in alone] == digests(together)


@pytest.mark.parametrize("areas", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inputs_that_share_places_in_the_cache_change_no_bit(areas, dtype):
    """One input more, always zero, and they do not share them."""
    sharing = kernels.ALIAS // dtype.itemsize
    _, y, order = data()
    x_ND = torch.randn(N, sharing + 1, generator=torch.Generator().manual_seed(1)).to(dtype)
    x_ND[:, sharing] = 0
    config = SALConfig(hidden=(130,), areas=(areas,), init_scale=0.1)
    streams = [Streams(seed) for seed in SEEDS]
    narrow, wide = (
        SAL(config, inputs, C, streams, engine="compiled").to(dtype)
        for inputs in (sharing, sharing + 1)
    )
    for name, tensor in narrow.tensors().items():
        within = tuple(slice(size) for size in tensor.shape)
        tensor.copy_(wide.tensors()[name][within])
    before = digests(narrow)
    narrow.epoch(x_ND[:, :sharing].contiguous(), y, order, B, 0.05)
    wide.epoch(x_ND, y, order, B, 0.05)
    assert not set(before) & set(digests(narrow))
    for name, tensor in narrow.tensors().items():
        within = tuple(slice(size) for size in tensor.shape)
        assert torch.equal(tensor, wide.tensors()[name][within]), name


@nets
def test_pixels_are_scaled_to_the_bits_that_indexing_gives(net):
    x, y, order = data()
    from_bytes, from_floats = build(net), build(net)
    from_bytes.epoch(x, y, order, B, 0.05)
    from_floats.epoch(x[torch.arange(N)], y, order, B, 0.05)
    assert digests(from_bytes) == digests(from_floats)


@pytest.mark.parametrize("engine", SAL.engines[:3])
def test_areas_are_chosen_as_argmax_does_with_ties_and_what_is_not_a_number(engine):
    for prototypes, chosen in (({}, 0), ({2: float("nan"), 4: float("nan")}, 2)):
        learner = build("sal", (0,), engine, areas=(6,))
        learner.router0.zero_()
        learner.router_bias0.fill_(1.0)  # sums of ones: the same in whatever order
        learner.prototypes0.fill_(1.0)  # all areas score alike
        for k, value in prototypes.items():
            learner.prototypes0[0, k] = value
        before = learner.weight0.clone()
        x, y, _ = data()
        learner.step(x[torch.arange(B)][None], y[None, :B], 0.05)
        changed = (learner.weight0 != before).flatten(2).any(2)[0]
        assert changed.nonzero().flatten().tolist() == [chosen]


@nets
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_spreads_as_far_as_in_pytorch(net, activation, value):
    x, y, _ = data()
    x = x[torch.arange(B)][None].double()
    x[0, 3, 5] = value
    after = []
    for engine in build(net).engines[:2]:
        learner = build(net, (0,), engine, activation=activation).double()
        learner.step(x, y[None, :B], 0.05)
        after.append({name: t.isfinite() for name, t in learner.tensors().items()})
    spread = not all(finite.all() for finite in after[0].values())
    assert spread or net == "shallow", "tanh ends it, and the first layer does not learn"
    for name, finite in after[0].items():
        if net.startswith("moe"):  # autograd's ReLU has no gradient where it is off, not 0 * NaN
            assert not (finite & ~after[1][name]).any(), name
        else:
            assert torch.equal(finite, after[1][name]), name


def test_the_tanh_of_float32_is_right_to_five_units_in_the_last_place():
    x = np.concatenate([np.linspace(-12, 12, 100_001), np.logspace(-30, 1, 10_001)])
    x = np.concatenate([x, -x, [0.0, np.inf, -np.inf]]).astype(np.float32)
    ours, exact = x.copy(), np.tanh(x.astype(np.float64))
    kernels._tanh_float32(ours)
    assert np.all(np.abs(ours - exact) <= 5 * np.spacing(np.abs(exact).astype(np.float32)))
    nan = np.array([np.nan], np.float32)
    kernels._tanh_float32(nan)
    assert np.isnan(nan[0])


@pytest.mark.slow
def test_fifty_steps_on_digits_with_the_triton_kernels_equal_the_compiled_ones():
    pytest.importorskip("triton")
    streams = [Streams(0)]
    parts = partition(load("digits"), streams)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    order = epoch_order(streams, 0, parts.train_index_RN.shape[1])[:, : 50 * 16]
    order = parts.train_index_RN.gather(1, order)
    config = SALConfig(hidden=(32,), areas=(4,))
    learners = {}
    for engine, place in (("compiled", "cpu"), ("triton", device)):
        learner = SAL(config, 64, 10, streams, engine=engine).to(place)
        here = parts.to(place)
        learner.epoch(here.train_x_ND, here.train_y_N, order.to(place), 16, 0.01)
        learners[engine] = learner.cpu()
    assert learners["compiled"].weight0.abs().max() > 0.1, "it learned"
    for name, tensor in learners["triton"].tensors().items():
        torch.testing.assert_close(
            tensor, learners["compiled"].tensors()[name], rtol=1e-5, atol=1e-5
        )


def bad_calls():
    """Arguments of an epoch that do not fit, and what is said of them."""
    x, y, order = data()
    floats = x[torch.arange(N)]
    shapes = r"wanted x \[N, D\], y \[N\] and order \[R, M\] with D=20 and R=3"
    return {
        "position": ((x, y, torch.where(order == 5, N, order), B), r"in \[0, 103\), got 0 to 103"),
        "label": ((x, y + (y == 4), order, B), r"labels must be in \[0, 5\), got 0 to 5"),
        "fewer labels": ((x, y[:-1], order, B), shapes),
        "labels as a column": ((x, y[:, None], order, B), shapes),
        "fewer inputs": ((floats[:, 1:], y, order, B), shapes),
        "more inputs": ((torch.cat([floats, floats], 1), y, order, B), shapes),
        "fewer replicas": ((x, y, order[:1], B), shapes),
        "more replicas": ((x, y, torch.cat([order, order]), B), shapes),
        "type of inputs": ((floats.double(), y, order, B), "inputs must be of the net's type"),
        "type of labels": ((x, y.double(), order, B), "integer labels and positions"),
        "batch size": ((x, y, order, 0), "a batch size >= 1"),
        "device": ((x, y.to("meta"), order, B), "runs on the CPU, got tensors on"),
    }


@nets
@pytest.mark.parametrize("case", bad_calls())
def test_what_does_not_fit_is_refused_and_changes_nothing(net, case):
    learner = build(net)
    before = digests(learner)
    arguments, message = bad_calls()[case]
    with pytest.raises((ValueError, IndexError), match=message):
        learner.epoch(*arguments, 0.05)
    assert digests(learner) == before


@nets
def test_nets_that_the_compiled_engine_cannot_take_are_refused(net):
    x, y, order = data()
    with pytest.raises(ValueError, match="float32 or float64"):
        build(net).half().epoch(x, y, order, B, 0.05)
    learner = build(net)
    learner.weight0.data = learner.weight0.data.mT.contiguous().mT
    with pytest.raises(ValueError, match="contiguous tensors of one type"):
        learner.epoch(x, y, order, B, 0.05)
    with pytest.raises(ValueError, match="runs on the CPU"):
        build(net, engine="compiled").to("meta").epoch(x, y, order, B, 0.05)


UNKNOWN = {
    "local errors": ({}, {"credit": "local"}),
    "decay": ({}, {"decay": 0.1}),
    "learned feedback": ({}, {"mirror": True}),
    "two areas a sample": ({"experts": 2}, {}),
    "gates over the chosen": ({"experts": 1, "gates": "chosen"}, {}),
    "mask": ({"mask_RDH": torch.ones(3, D, 33)}, {}),
    "no choice": ({"router_RDF": None}, {}),
    "gates of what prototypes score": ({"experts": 1}, {"credit": "chained", "area_norm": "batch"}),
    "gates with direct errors": ({"experts": 1, "prototypes_RKF": None}, {}),
    "another number of scores": ({"prototypes_RKF": None}, {}),
    "a stand-in for several areas": ({"backward_RDH": torch.zeros(3, D, 33)}, {}),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_the_compiled_engine_does_not_know_is_refused(case):
    of_layer, of_rule = UNKNOWN[case]
    first, *others = build("sal").layers(build("sal").tensors())
    layers = [dataclasses.replace(first, **of_layer), *others]
    with pytest.raises(ValueError, match="the compiled engine knows direct and chained errors"):
        rule = Rule(**{"credit": "direct"} | of_rule)
        compiled.train(layers, rule, *data(), B, 0.05)


SHAPES = {
    "feedback": ({"feedback_RCH": torch.zeros(3, C + 1, 33)}, r"feedback_RCH must be \(3, 5, 33\)"),
    "bias": ({"bias_RKH": torch.zeros(3, 1, 33)}, r"bias_RKH must be \(3, 30, 33\)"),
    "weights": ({"weight_RKDH": torch.zeros(3, 30, D, 32)}, r"layer 0: bias_RKH must be"),
    "router": ({"router_RDF": torch.zeros(3, D - 1, C)}, r"router_RDF must be \(3, 20, 5\)"),
    "prototypes": ({"prototypes_RKF": torch.zeros(3, 30, 9)}, r"prototypes_RKF must be"),
    "no feedback": ({"feedback_RCH": None}, "as many outputs as there are classes, 5; got 33"),
    "residual": ({"residual": "after"}, "got 20 inputs and 33 outputs"),
}


@pytest.mark.parametrize("case", SHAPES)
def test_layers_whose_tensors_do_not_fit_each_other_are_refused(case):
    of_layer, message = SHAPES[case]
    learner = build("sal")
    first, *others = learner.layers(learner.tensors())
    before = digests(learner)
    with pytest.raises(ValueError, match=message):
        layers = [dataclasses.replace(first, **of_layer), *others]
        compiled.train(layers, learner.rule, *data(), B, 0.05)
    assert digests(learner) == before


def test_a_mixture_that_does_not_learn_by_the_gradient_is_refused_in_pytorch():
    learner = build("moe", engine="grouped")
    layers = learner.layers(learner.tensors())
    with pytest.raises(ValueError, match="mixtures learn by the gradient"):
        descend_(layers, layers, *batch_of_pixels(), Rule(credit="direct"), 0.1, "grouped")


def batch_of_pixels():
    x, y, _ = data()
    return x[torch.arange(B).repeat(3, 1)], y[:B].repeat(3, 1)


def test_there_is_no_other_credit_than_direct_chained_and_local():
    with pytest.raises(ValueError, match="credit must be one of"):
        Rule(credit="telepathy")
    with pytest.raises(ValueError, match="area_norm must be one of"):
        Rule(credit="direct", area_norm="bach")
    with pytest.raises(ValueError, match="balance must be one of"):
        Rule(credit="direct", balance="even")


@nets
def test_an_epoch_of_no_samples_does_nothing(net):
    x, y, order = data()
    learner = build(net)
    before = digests(learner)
    learner.epoch(x, y, order[:, :0], B, 0.05)
    assert digests(learner) == before


def test_replicas_go_to_as_many_threads_as_asked_for(monkeypatch):
    asked = []

    class Pool(compiled.ThreadPoolExecutor):
        def __init__(self, workers):
            asked.append(workers)
            super().__init__(workers)

    monkeypatch.setattr(compiled, "ThreadPoolExecutor", Pool)
    learner = build("bp")
    for learner.threads in (1, 2, 7):
        learner.epoch(*data(), B, 0.05)
    assert asked == [2, 3], "one thread needs no pool, and three replicas no seven"


@pytest.mark.parametrize("shape", [(1, 784, 256), (16, 784, 256), (4, 256, 256), (30, 9216, 16)])
def test_waiting_updates_take_a_tenth_of_the_weights_at_most(shape):
    K, D, H = shape
    layer = Layer(
        weight_RKDH=torch.empty(1, *shape), bias_RKH=None, activation="relu", residual="none"
    )
    slots = compiled._row(layer, B)[kernels.SLOTS]
    assert slots * B * (D + H) <= 0.1 * K * D * H
    assert (slots > 1) == (2 * B * (D + H) <= 0.1 * K * D * H)


def test_compiled_code_is_known_by_every_module_of_ours_that_goes_into_it():
    used = set()
    for module in (kernels, simd):
        for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sal":
                used.add(node.module)
    used |= {"sal.hashing"} if "sal" in used else set()  # from sal import hashing
    assert used - {"sal"} == {
        *("sal.config", "sal.hashing", "sal.mixture", "sal.simd"),
    }
    assert used - {"sal"} | {"sal.kernels"} == {module.__name__ for module in compiled.SOURCES}


def test_without_a_folder_to_write_to_it_is_compiled_without_a_cache(monkeypatch):
    def njit(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function")
        return lambda function: function

    monkeypatch.setattr(compiled, "njit", njit)
    with pytest.warns(UserWarning, match="set NUMBA_CACHE_DIR: cannot cache function"):
        assert callable(compiled._cached("sources"))


def test_an_engine_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="engine must be one of None, 'compiled', 'grouped'"):
        build("sal", engine="cuda")


def test_without_numba_the_engines_in_pytorch_remain():
    code = """
import sys
sys.modules["numba"] = None
from baselines import BP, BPConfig
from sal import SAL, SALConfig, Streams
print(*(method(config, 4, 2, [Streams(0)]).engine for method, config in (
    (BP, BPConfig()), (SAL, SALConfig()))))
try:
    SAL(SALConfig(), 4, 2, [Streams(0)], engine="compiled")
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "torch grouped"
    assert "needs Numba" in done.stdout
