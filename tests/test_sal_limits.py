"""What must hold of SAL whatever its numbers: limits, invariances, frozen things, determinism."""

import dataclasses

import pytest
import torch

from sal import SAL, SALConfig, Streams
from sal.net import output_error

D, C, B = 12, 4, 9


def build(seeds=(0,), engine=None, **choices):
    config = SALConfig(**{"init_scale": 0.4, "hidden": (7,), **choices})
    return SAL(config, D, C, [Streams(seed) for seed in seeds], engine=engine)


def batch(seed=0, size=B, replicas=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(replicas, size, D, generator=generator)
    return x, torch.randint(0, C, (replicas, size), generator=generator)


def test_sal_with_one_area_is_a_dense_net_with_fixed_feedback():
    learner, (x, y) = build().double(), batch()
    x = x.double()
    w0, b0, w1, b1 = (
        learner.tensors()[n][0, 0].clone() for n in ("weight0", "bias0", "weight1", "bias1")
    )
    learner.step(x, y, 0.1)
    a = x[0] @ w0 + b0
    e = output_error(a.relu() @ w1 + b1, y[0])
    delta = (e @ learner.feedback0[0]) * (a > 0)
    torch.testing.assert_close(learner.weight0[0, 0], w0 - 0.1 * x[0].T @ delta / B)
    torch.testing.assert_close(learner.bias0[0, 0], b0 - 0.1 * delta.mean(0))
    torch.testing.assert_close(learner.weight1[0, 0], w1 - 0.1 * a.relu().T @ e / B)
    torch.testing.assert_close(learner.bias1[0, 0], b1 - 0.1 * e.mean(0))


def test_one_area_has_no_router():
    assert not any(name.startswith(("router", "prototypes")) for name in build().state_dict())


@pytest.mark.parametrize("engine", SAL.engines[:3])
def test_areas_that_nobody_chose_are_bit_identical_after_a_step(engine):
    learner, (x, y) = build(areas=(8,), engine=engine), batch()
    before = {name: tensor.clone() for name, tensor in learner.tensors().items()}
    chosen = set(learner.routes(x)["layer0"].flatten().tolist())
    assert 0 < len(chosen) < 8
    learner.step(x, y, 0.1)
    for area in range(8):
        same = [
            torch.equal(before[n][:, area], learner.tensors()[n][:, area])
            for n in ("weight0", "bias0")
        ]
        assert same == ([False, False] if area in chosen else [True, True])


def test_feedback_and_prototypes_are_buffers():
    assert set(dict(build(areas=(4,)).named_buffers())) == {"feedback0", "prototypes0"}


def test_nothing_is_differentiated_automatically(monkeypatch):
    learner = build(areas=(4,))
    assert not any(p.requires_grad for p in learner.parameters())
    monkeypatch.setattr(torch.Tensor, "backward", None)
    monkeypatch.setattr(torch.autograd, "grad", None)
    learner.step(*batch(), 0.1)


@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e4])
def test_routing_is_invariant_to_the_scale_of_the_prototypes(factor):
    learner, (x, _) = build(areas=(6,)), batch(size=200)
    routes = learner.routes(x)["layer0"]
    assert len(routes.unique()) > 1
    learner.prototypes0.mul_(factor)
    assert torch.equal(learner.routes(x)["layer0"], routes)


def test_routing_is_not_invariant_to_the_prototypes_themselves():
    learner, (x, _) = build(areas=(6,)), batch(size=200)
    routes = learner.routes(x)["layer0"]
    learner.prototypes0.neg_()
    assert not torch.equal(learner.routes(x)["layer0"], routes)


def test_the_router_learns_to_classify_by_its_own_loss():
    learner, (x, _) = build(areas=(4,)), batch(size=64)
    y = x[:, :, :C].argmax(2)

    def loss():
        r = x[0] @ learner.router0[0] + learner.router_bias0[0]
        return torch.nn.functional.cross_entropy(r, y[0]).item()

    first = loss()
    for _ in range(500):
        learner.step(x, y, 0.1)
    assert loss() < 0.5 * first


def test_more_areas_start_from_the_weights_router_and_feedback_of_fewer():
    few, many = build(areas=(2,)), build(areas=(5,))
    torch.testing.assert_close(many.weight0[:, :2], few.weight0, rtol=0, atol=0)
    for name in ("weight1", "router0", "router_bias0", "feedback0"):
        assert torch.equal(many.tensors()[name], few.tensors()[name])


def test_share_makes_the_step_k_times_as_large_as_batch():
    share, (x, y) = build(areas=(5,), area_norm="share"), batch()
    ratio = (
        share.update(x, y)["weight0"] / build(areas=(5,), area_norm="batch").update(x, y)["weight0"]
    )
    finite = ratio[ratio.isfinite()]
    assert len(finite)
    torch.testing.assert_close(finite, torch.full_like(finite, 5.0))


@pytest.mark.parametrize("engine", SAL.engines[:3])
def test_a_sample_that_is_not_finite_spoils_no_area_but_its_own(engine):
    learner, (x, y) = build(areas=(8,), engine=engine), batch()
    routes = learner.routes(x)["layer0"][0]
    x[0, 0] = float("inf")
    own = int(learner.routes(x)["layer0"][0, 0])
    learner.step(x, y, 0.1)
    spoilt = {k for k in range(8) if not learner.weight0[0, k].isfinite().all()}
    assert spoilt == {own}
    assert set(routes[1:].tolist()) - {own}, "others were chosen, too"


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"areas": (0,)}, "areas must be"),
        ({"areas": 4}, "areas must be a tuple of integers >= 1, one a layer, such as .4,.; got 4"),
        ({"hidden": 256}, "hidden must be a tuple of integers >= 1"),
        ({"hidden": ("256",)}, "hidden must be a tuple of integers >= 1"),
        ({"bias": "no"}, "bias must be one of True, False; got 'no'"),
        ({"derivative": 1}, "derivative must be one of True, False; got 1"),
        ({"router_bias": None}, "router_bias must be one of True, False; got None"),
        ({"activation": ["relu"]}, "activation must be one of"),
        ({"areas": (2, 2, 2)}, "areas must be at most 2"),
        ({"hidden": (0,)}, "hidden must be"),
        ({"activation": "gelu"}, "activation must be one of"),
        ({"residual": "yes"}, "residual must be one of"),
        ({"init_scale": 0.0}, "init_scale must be"),
        ({"feedback_scale": float("nan")}, "feedback_scale must be"),
        ({"area_norm": "mean"}, "area_norm must be one of"),
        ({"router_rate": -1.0}, "router_rate must be"),
        ({"output_rate": 0.0}, "output_rate must be"),
        ({"router_init_scale": 0.0}, "router_init_scale must be"),
        ({"error_limit": -1.0}, "error_limit must be"),
        ({"prototypes": "uniform"}, "prototypes must be one of"),
        ({"router_features": 2}, "router_features must be at least"),
    ],
)
def test_bad_configurations_are_refused_by_field(choices, message):
    with pytest.raises(ValueError, match=message):
        build(**choices)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cuda_equals_the_cpu():
    cpu, gpu = build(areas=(5,)).double(), build(areas=(5,)).double().to("cuda")
    for number in range(10):
        x, y = batch(number)
        cpu.step(x.double(), y, 0.1)
        gpu.step(x.double().cuda(), y.cuda(), 0.1)
    for name, tensor in cpu.tensors().items():
        torch.testing.assert_close(gpu.tensors()[name].cpu(), tensor)


def test_frozen_and_initial_tensors_have_the_stated_distributions():
    config = SALConfig(
        hidden=(400,),
        areas=(300,),
        init_scale=0.02,
        output_init="kaiming",
        output_init_scale=0.5,
        feedback_scale=1.7,
        router_init_scale=3.0,
    )
    learner = SAL(config, 100, 50, [Streams(0)])
    expected = {  # standard deviation, from the definition of each
        "weight0": 0.02,
        "weight1": 0.5 * (2 / 400) ** 0.5,
        "feedback0": 1.7,
        "prototypes0": 1.0,
        "router0": 3 * 100**-0.5 / 3**0.5,  # uniform within +-1 / sqrt(inputs)
        "router_bias0": 3 * 100**-0.5 / 3**0.5,
    }
    for name, std in expected.items():
        tensor = learner.tensors()[name]
        assert tensor.std().item() == pytest.approx(
            std, rel=0.2 if name == "router_bias0" else 0.03
        )
        assert abs(tensor.mean().item()) < 4 * std / tensor.numel() ** 0.5
    assert learner.router0.abs().max() <= 0.3
    unit = SAL(dataclasses.replace(config, prototypes="unit"), 100, 50, [Streams(0)])
    assert torch.allclose(unit.prototypes0.norm(dim=2), torch.ones(1, 300))
    same_way = torch.cosine_similarity(unit.prototypes0, learner.prototypes0, dim=2)
    assert torch.allclose(same_way, torch.ones(1, 300))
    assert not learner.bias0.any()
    assert not learner.bias1.any()


def test_stacked_weights_are_what_pytorch_makes_of_one_tensor_for_all_areas():
    w_KDH = torch.nn.init.kaiming_normal_(
        torch.empty(3, 100, 200), generator=torch.Generator().manual_seed(0)
    )
    learner = SAL(
        SALConfig(hidden=(200,), areas=(3,), init="stacked", init_scale=1.0),
        *(100, 10, [Streams(0)]),
    )
    assert learner.weight0.std().item() == pytest.approx(w_KDH.std().item(), rel=0.03)


def test_feedback_is_the_identity_where_sizes_agree():
    assert "feedback0" in build(hidden=(C + 1,)).state_dict()
    assert "feedback0" not in build(hidden=(C,)).state_dict()
    assert "feedback1" not in build().state_dict(), "the output layer"
