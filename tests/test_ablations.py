"""SAL's ablations: each is SAL but for one part, and hashes choose evenly and repeatably."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from baselines import (
    BP,
    SALBP,
    BPConfig,
    SALFrozen,
    SALHash,
    SALRandom,
    SALRedrawn,
    SALRedrawnConfig,
    SALStep,
)
from sal import SAL, SALConfig, Streams, hashing
from sal.hashing import areas_by_hash, draw_salt

D, C, B = 16, 4, 32
CONFIG = SALConfig(hidden=(16, 16), areas=(3, 2), init_scale=0.3)


def batch(seed=0, size=B, replicas=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(replicas, size, D, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, C, (replicas, size), generator=generator)


def build(method, config=CONFIG, seeds=(0,)):
    return method(config, D, C, [Streams(seed) for seed in seeds]).double()


@pytest.mark.parametrize("method", [SALFrozen, SALRandom, SALHash, SALBP])
def test_an_ablation_starts_from_the_weights_of_sal(method):
    sal, ablation = build(SAL), build(method)
    for name, p in ablation.named_parameters():
        assert torch.equal(p, sal.tensors()[name])


def test_a_frozen_router_is_sal_with_a_router_rate_of_zero():
    sal, frozen = build(SAL, replace(CONFIG, router_rate=0.0)), build(SALFrozen)
    for number in range(5):
        for learner in (sal, frozen):
            learner.step(*batch(number), 0.1)
    assert sal.digest(0) == frozen.digest(0)
    assert not any(name.startswith("router") for name, _ in frozen.named_parameters())


def redrawn(seed):
    return SALRedrawnConfig(**vars(CONFIG), routing_seed=seed)


def test_routing_drawn_by_the_runs_own_seed_is_sal():
    sal, ours = build(SAL, seeds=(3,)), build(SALRedrawn, redrawn(3), seeds=(3,))
    for number in range(5):
        for learner in (sal, ours):
            learner.step(*batch(number), 0.1)
    assert sal.digest(0) == ours.digest(0)


def test_only_routing_is_drawn_again():
    sal, ours = build(SAL, seeds=(3,)), build(SALRedrawn, redrawn(4), seeds=(3,))
    start, other = sal.state_dict(), ours.state_dict()
    differ = {name for name in start if not torch.equal(start[name], other[name])}
    assert differ == {f"{what}{n}" for what in ("router", "prototypes") for n in (0, 1)} | {
        f"router_bias{n}" for n in (0, 1)
    }
    theirs = build(SAL, seeds=(4,)).state_dict()
    assert all(torch.equal(other[name], theirs[name]) for name in differ)


@pytest.mark.parametrize("seed", [-1, 1.0, True, None])
def test_a_routing_seed_is_a_seed(seed):
    with pytest.raises(ValueError, match="routing_seed must be an integer >= 0"):
        redrawn(seed)


def test_backpropagated_errors_with_one_area_are_backpropagation():
    config = SALConfig(hidden=(16, 16), init="kaiming", init_scale=1.0)
    bp, ours = build(BP, BPConfig(hidden=(16, 16))), build(SALBP, config)
    for number in range(5):
        for learner in (bp, ours):
            learner.step(*batch(number), 0.1)
    for name, p in bp.named_parameters():
        assert torch.equal(ours.tensors()[name].squeeze(1), p)


@pytest.mark.parametrize("residual", ["none", "after", "inside"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_backpropagated_errors_go_through_the_areas_that_were_chosen(residual, activation):
    """With the update divided by the batch, autograd's gradient of the net with areas held."""
    config = replace(CONFIG, area_norm="batch", residual=residual, activation=activation)
    learner, (x, y) = build(SALBP, config), batch()
    routes = learner.routes(x)
    params = {n: p[0].clone().requires_grad_() for n, p in learner.named_parameters()}
    f = {"relu": torch.relu, "tanh": torch.tanh}[activation]
    rows = []
    for s in range(B):
        h = x[0, s]
        for n in range(2):
            k = routes[f"layer{n}"][0, s]
            a = h @ params[f"weight{n}"][k] + params[f"bias{n}"][k]
            out = f(a + h if residual == "inside" else a)
            h = out + h if residual == "after" else out
        rows.append(h @ params["weight2"][0] + params["bias2"][0])
    torch.nn.functional.cross_entropy(torch.stack(rows), y[0]).backward()
    update = learner.update(x, y)
    for name, p in params.items():
        if not name.startswith("router"):
            torch.testing.assert_close(update[name][0], p.grad, msg=name)
    sal = build(SAL, config).update(x, y)
    for name in ("router0", "router_bias0"):  # the first layer's input is the same
        assert torch.equal(update[name], sal[name])


@pytest.mark.parametrize("K", [2, 5])
def test_the_larger_step_is_the_dense_net_with_a_step_size_for_each_layer(K):
    ours = build(SALStep, replace(CONFIG, areas=(K, 1, 3), output_rate=0.5))
    sal = build(SAL, replace(CONFIG, areas=(1,)))
    x, y = batch()
    once, larger = sal.update(x, y), ours.update(x, y)
    for n, factor in enumerate((K, 1, 1.5)):
        expected = factor * once[f"weight{n}"].squeeze(1)
        torch.testing.assert_close(larger[f"weight{n}"], expected)


@pytest.mark.parametrize("norm", ["batch", "count"])
def test_without_the_larger_step_there_is_none(norm):
    config = replace(CONFIG, areas=(5, 1, 3), area_norm=norm)
    assert [build(SALStep, config).layer_rate(n) for n in range(3)] == [1, 1, 1]


def test_both_zeros_have_one_area():
    zero = torch.zeros(1, 40, D)
    salt = draw_salt(D, torch.Generator().manual_seed(0))[None]
    assert torch.equal(
        areas_by_hash(zero, salt, 997, False), areas_by_hash(-zero, salt, 997, False)
    )


def test_what_rounds_to_either_zero_has_one_area_in_the_compiled_engine():
    _, y = batch(size=9)
    changed = []
    for sign in (1, -1):
        x = torch.full((1, 9, D), sign * 1e-60, dtype=torch.float64)
        config = replace(CONFIG, areas=(40, 2), activation="tanh")
        learner = SALHash(config, D, C, [Streams(0)], engine="compiled").double()
        before = learner.bias0.clone()
        learner.step(x, y, 0.1)
        changed.append((learner.bias0 != before).flatten(2).any(2)[0].nonzero().flatten().tolist())
    assert changed[0] == changed[1] and len(changed[0]) == 1


def test_an_area_that_nobody_chose_is_bit_identical():
    for method in (SALFrozen, SALRandom, SALHash, SALBP):
        learner = build(method, replace(CONFIG, areas=(40, 2)))
        x, y = batch(size=9)
        chosen = set(learner.routes(x)["layer0"].flatten().tolist())
        before = learner.weight0.clone()
        learner.step(x, y, 0.1)
        changed = (learner.weight0 != before).flatten(2).any(2)[0]
        assert set(changed.nonzero().flatten().tolist()) == chosen, method.name


def test_a_hash_knows_the_input_and_neither_the_weights_nor_the_batch():
    learner, (x, y) = build(SALHash), batch(size=200)
    first = learner.routes(x)
    learner.step(x, y, 0.5)
    order = torch.randperm(200)
    again = learner.routes(x[:, order])
    for name, area in first.items():
        assert torch.equal(again[name], area[:, order])
    assert not torch.equal(first["layer0"] % 2, first["layer1"]), "each layer has its own salt"


def test_a_random_choice_is_another_in_another_batch_and_the_same_in_the_same():
    learner, (x, _) = build(SALRandom, replace(CONFIG, areas=(8,))), batch(size=400)
    here = learner.routes(x)["layer0"]
    assert torch.equal(learner.routes(x)["layer0"], here)
    elsewhere = learner.routes(torch.cat([x, batch(1)[0]], 1))["layer0"][:, :400]
    same = (here == elsewhere).double().mean().item()
    assert same == pytest.approx(1 / 8, abs=4 * (1 / 8 * 7 / 8 / 400) ** 0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("K", [2, 3, 16])
def test_areas_are_used_evenly_even_by_inputs_that_hardly_differ(dtype, fresh, K):
    """Pixels of two levels that count in binary: the chi-square of the areas' use is ordinary."""
    numbers = torch.arange(4096)
    x = (numbers[:, None] >> torch.arange(D) & 1).to(dtype)[None] * 2 - 1
    salt = draw_salt(D, torch.Generator().manual_seed(0))[None]
    counts = torch.bincount(areas_by_hash(x, salt, K, fresh)[0], minlength=K).double()
    expected = 4096 / K
    assert ((counts - expected) ** 2 / expected).sum().item() < K - 1 + 5 * (2 * (K - 1)) ** 0.5


def test_the_finaliser_is_splitmix64s():
    """Steele et al. 2014, in Python's own integers."""
    z = 0x9E3779B97F4A7C15
    mixed = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) % 2**64
    mixed ^= mixed >> 31
    assert mixed == 0xE220A8397B1DCDAF  # the first number of its generator with seed 0
    signed = torch.tensor([z - 2**64])
    assert hashing.mix(signed).item() % 2**64 == mixed
    assert np.uint64(hashing.upper(hashing.mix(signed)).item()) == mixed >> 33
