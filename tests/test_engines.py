"""The engines give the same, and the compiled one the same bits however it goes about it."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from baselines import BP, BPConfig
from sal import SAL, SALConfig, Streams, compiled, kernels
from sal.config import ACTIVATIONS, RESIDUALS
from sal.data import load
from sal.data.partition import partition
from sal.data.pixels import Pixels
from sal.train import epoch_order

D, C, B, N = 20, 5, 16, 16 * 6 + 7
SEEDS = (0, 1, 2)
NETS = {
    "bp": (BP, BPConfig(hidden=(33, 33, 20))),
    "sal": (SAL, SALConfig(hidden=(33, 33, 20), areas=(30, 1, 3), init_scale=0.3)),
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
    slow = build(net, engine=NETS[net][0].engines[1], **choices).double()
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
    for engine in NETS[net][0].engines[:2]:
        learner = build(net, (0,), engine, activation=activation).double()
        learner.step(x, y[None, :B], 0.05)
        after.append({name: t.isfinite() for name, t in learner.tensors().items()})
    assert not all(finite.all() for finite in after[0].values())
    for name, finite in after[0].items():
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


@nets
def test_what_the_compiled_engine_cannot_take_is_refused(net):
    x, y, order = data()
    learner = build(net)
    before = digests(learner)
    with pytest.raises(IndexError, match=r"positions must be in \[0, 103\), got 0 to 103"):
        learner.epoch(x, y, torch.where(order == 5, N, order), B, 0.05)
    with pytest.raises(IndexError, match=r"labels must be in \[0, 5\), got 0 to 5"):
        learner.epoch(x, y + (y == 4).long(), order, B, 0.05)
    with pytest.raises(ValueError, match=r"inputs must be of the net's type, torch.float32; got"):
        learner.epoch(x[torch.arange(N)].double(), y, order, B, 0.05)
    learner.epoch(x, y, order[:, :0], B, 0.05)  # no step at all
    assert digests(learner) == before
    with pytest.raises(ValueError, match="contiguous tensors of one type"):
        learner.weight0.data = learner.weight0.data.mT.contiguous().mT
        learner.epoch(x, y, order, B, 0.05)
    with pytest.raises(ValueError, match="float32 or float64"):
        build(net).half().epoch(x, y, order, B, 0.05)


def test_an_engine_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="engine must be one of None, 'compiled', 'grouped'"):
        build("sal", engine="cuda")


def test_without_numba_the_engines_in_pytorch_remain(monkeypatch):
    monkeypatch.setattr("sal.netlearner.compiled", None)
    assert build("bp").engine == "torch"
    assert build("sal").engine == "grouped"
    with pytest.raises(ValueError, match="needs Numba"):
        build("sal", engine="compiled")
