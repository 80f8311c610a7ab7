"""Masks: what is not there stays 0, and what moves is the weakest."""

import pytest
import torch

from baselines import BP, SET, BPConfig, SETConfig, Sparse, SparseConfig
from sal import Streams
from sal.data import load
from sal.data.partition import partition
from sal.train import Protocol, train

D, C, B = 16, 4, 9
both = pytest.mark.parametrize(
    ("method", "config"), [(Sparse, SparseConfig), (SET, SETConfig)], ids=["sparse", "set"]
)


def batch(seed=0, replicas=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(replicas, B, D, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, C, (replicas, B), generator=generator)


def build(method, config, seeds=(0,)):
    return method(config, D, C, [Streams(seed) for seed in seeds]).double()


@both
def test_connections_are_as_many_as_asked_for_and_those_of_their_seed(method, config):
    learner = build(method, config(hidden=(10, 6), density=0.3), (0, 1))
    for index, (inputs, outputs) in enumerate([(D, 10), (10, 6)]):
        mask = learner.tensors()[f"mask{index}"]
        assert set(mask.unique().tolist()) == {0.0, 1.0}
        assert mask.sum((1, 2)).tolist() == [round(0.3 * inputs * outputs)] * 2
        assert not torch.equal(mask[0], mask[1])
    assert "mask2" not in learner.tensors(), "the output layer has all of its connections"


@both
def test_what_is_not_there_stays_zero_and_the_rest_descends_the_gradient(method, config):
    learner = build(method, config(hidden=(10, 6), activation="tanh"))
    bp = build(BP, BPConfig(hidden=(10, 6), activation="tanh"))
    x, y = batch()
    for _ in range(5):
        bp.load_state_dict({name: learner.tensors()[name] for name in bp.tensors()})
        update, gradient = learner.update(x, y), bp.update(x, y)
        for name, expected in gradient.items():
            masked = name in ("weight0", "weight1")
            mask = learner.tensors()[f"mask{name[-1]}"] if masked else 1.0
            torch.testing.assert_close(update[name], expected * mask, msg=name)
        learner.step(x, y, 0.3)
        for index in range(2):
            mask, weight = (learner.tensors()[f"{name}{index}"] for name in ("mask", "weight"))
            assert not weight[mask == 0].any()


@both
def test_a_full_mask_is_backpropagation(method, config):
    learner, bp = (
        build(method, config(hidden=(10,), density=1.0)),
        build(BP, BPConfig(hidden=(10,))),
    )
    x, y = batch()
    for name, expected in bp.update(x, y).items():
        torch.testing.assert_close(learner.update(x, y)[name], expected)


def test_after_an_epoch_the_weakest_connections_have_moved_to_free_places():
    learner = build(SET, SETConfig(hidden=(10,), density=0.25, moved=0.3))
    learner.step(*batch(), 0.3)
    mask, weight = learner.mask0[0].clone(), learner.weight0[0].clone()
    learner.after_epoch(1, [Streams(0)])
    there = int(mask.sum())
    moved = round(0.3 * there)
    gone, new = (mask > learner.mask0[0]), (mask < learner.mask0[0])
    assert (int(gone.sum()), int(new.sum()), int(learner.mask0.sum())) == (moved, moved, there)
    kept = (mask > 0) & ~gone
    assert weight[gone].abs().max() <= weight[kept].abs().min()
    assert torch.equal(learner.weight0[0][kept], weight[kept])
    assert not learner.weight0[0][learner.mask0[0] == 0].any()
    assert learner.weight0[0][new].all(), "new ones start from random weights"
    other = build(SET, SETConfig(hidden=(10,), density=0.25, moved=0.3))
    other.step(*batch(), 0.3)
    other.after_epoch(2, [Streams(0)])
    assert not torch.equal(other.mask0, learner.mask0), "each epoch draws its own"


def test_with_no_free_place_nothing_moves():
    learner = build(SET, SETConfig(hidden=(10,), density=1.0))
    before = learner.digest(0)
    learner.after_epoch(1, [Streams(0)])
    assert learner.digest(0) == before


def test_the_trainer_moves_connections_between_epochs_and_not_after_the_last():
    data, streams = load("digits"), [Streams(0)]
    parts = partition(data, streams)
    masks = []

    def note(epoch, outcomes):
        masks.append(learner.mask0.clone())

    learner = SET(SETConfig(hidden=(10,)), 64, 10, streams)
    train(learner, parts, streams, Protocol(epochs=3), on_epoch=note)
    assert not torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[1], masks[2])
    assert torch.equal(masks[2], learner.mask0)


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [(SparseConfig, "density", 0.0), (SparseConfig, "density", 1.5), (SETConfig, "moved", 2.0)],
)
def test_impossible_shares_are_refused(config, field, value):
    with pytest.raises(ValueError, match=field):
        config(**{field: value})
