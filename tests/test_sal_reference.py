"""SAL's fast path equals the slow reference in float64: values, updates, router, state."""

import itertools

import numpy as np
import pytest
import torch

from sal import SAL, SALConfig, Streams, reference
from sal.config import NORMS

D, C, B = 12, 4, 9
NETS = {
    "two layers": {"hidden": (7,), "areas": (3,)},
    "one area": {"hidden": (7,), "areas": (1,)},
    "more areas than samples": {"hidden": (7,), "areas": (20,)},
    "areas everywhere": {"hidden": (6, 6, 5), "areas": (3, 4, 2, 2)},
    "input as wide as hidden": {"hidden": (12, 12), "areas": (2, 3)},
    "hidden as wide as output": {"hidden": (4,), "areas": (2,)},
    "no hidden layer": {"hidden": (), "areas": (3,)},
    "linear first layer": {
        "hidden": (6, 6), "areas": (2, 2), "activation": "tanh", "input_activation": "linear"
    },
    "no biases": {"hidden": (7, 7), "areas": (3, 2), "bias": False},
    "more router features": {"hidden": (7,), "areas": (5,), "router_features": 11},
    "slower router": {"hidden": (7,), "areas": (3,), "router_rate": 0.25},
    "frozen router without bias": {
        "hidden": (7, 7), "areas": (3, 2), "router_rate": 0.0, "router_bias": False
    },
    "learning router without bias": {"hidden": (7,), "areas": (3,), "router_bias": False},
    "unit prototypes": {"hidden": (7,), "areas": (5,), "prototypes": "unit"},
    "bounded errors": {"hidden": (7, 7), "areas": (3,), "error_limit": 0.3},
    "bounded errors, tanh": {
        "hidden": (7, 7), "areas": (3,), "error_limit": 0.3, "activation": "tanh"
    },
    "faster output layer": {"hidden": (7, 7), "areas": (3, 1, 2), "output_rate": 3.0},
}  # fmt: skip


def build(engine=None, seed=0, **choices):
    """A learner in float64 whose weights are large enough for every path to matter."""
    config = SALConfig(**{"init_scale": 0.4, **choices})
    return SAL(config, D, C, [Streams(seed)], engine=engine).double()


def batch(seed=0, size=B):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, size, D, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, C, (1, size), generator=generator)


def theta(learner):
    return {name: tensor[0].numpy().copy() for name, tensor in learner.tensors().items()}


def assert_same(ours, slow):
    assert ours.keys() == slow.keys()
    for name, value in ours.items():
        np.testing.assert_allclose(value, slow[name], rtol=1e-11, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("engine", SAL.engines[:3])
@pytest.mark.parametrize("net", NETS)
def test_values_and_routes_equal_the_reference(net, engine):
    learner, (x, _) = build(engine, **NETS[net]), batch()
    slow = [reference.forward(theta(learner), learner.config, sample) for sample in x[0].numpy()]
    np.testing.assert_allclose(
        learner.logits(x)[0].numpy(), [layers[-1]["z"] for layers in slow], rtol=1e-12
    )
    for name, areas in learner.routes(x).items():
        assert areas[0].tolist() == [layers[int(name[5:])]["k"] for layers in slow]


@pytest.mark.parametrize("engine", SAL.engines[:3])
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(
    ("norm", "derivative", "residual"),
    list(itertools.product(NORMS, (True, False), ("none", "after", "inside"))),
)
def test_update_equals_the_reference(net, norm, derivative, residual, engine):
    learner = build(engine, area_norm=norm, derivative=derivative, residual=residual, **NETS[net])
    (x, y), before = batch(), theta(learner)
    slow = reference.update(before, learner.config, x[0].numpy(), y[0].numpy())
    learner.step(x, y, 1.0)
    after = theta(learner)
    assert_same({name: before[name] - after[name] for name in slow}, slow)


@pytest.mark.parametrize("engine", SAL.engines[:3])
@pytest.mark.parametrize("net", NETS)
def test_twenty_steps_equal_twenty_reference_steps(net, engine):
    learner = build(engine, **NETS[net])
    slow = theta(learner)
    for number in range(20):
        x, y = batch(number, size=1 if number == 19 else B)
        for name, value in reference.update(
            slow, learner.config, x[0].numpy(), y[0].numpy()
        ).items():
            slow[name] -= 0.05 * value
        learner.step(x, y, 0.05)
    assert_same(theta(learner), slow)


def test_the_reference_follows_the_gradient_where_feedback_is_the_transposed_weight():
    """With B = W^T of a net of two layers and one area, SAL's update is the loss's gradient."""
    learner, (x, y) = build(hidden=(7,), areas=(1,), activation="tanh"), batch()
    learner.feedback0.copy_(learner.weight1[:, 0].mT)
    weights = [learner.weight0[0, 0].clone().requires_grad_() for _ in "w"]
    hidden = torch.tanh(x[0] @ weights[0] + learner.bias0[0, 0])
    logits = hidden @ learner.weight1[0, 0] + learner.bias1[0, 0]
    torch.nn.functional.cross_entropy(logits, y[0]).backward()
    torch.testing.assert_close(learner.update(x, y)["weight0"][0, 0], weights[0].grad)
