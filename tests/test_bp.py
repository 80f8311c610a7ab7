"""Backpropagation against autograd, and as one method of the contract."""

import itertools

import pytest
import torch

from baselines import BP, BPConfig
from sal import Streams

D, C, B = 12, 4, 9


def batch(seed=0, replicas=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(replicas, B, D, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, C, (replicas, B), generator=generator)


def autograd(learner, r, x_BD, y_B):
    """Gradients of the mean cross-entropy of replica r, by PyTorch's own functions."""
    params = {n: p[r].clone().requires_grad_() for n, p in learner.named_parameters()}
    config, h = learner.config, x_BD
    functions = {"relu": torch.relu, "tanh": torch.tanh, "linear": lambda a: a}
    for index in range(len(config.hidden) + 1):
        hidden = index < len(config.hidden)
        weight = params[f"weight{index}"]
        a = torch.nn.functional.linear(h, weight.T, params.get(f"bias{index}"))
        square = hidden and weight.shape[0] == weight.shape[1]
        if square and config.residual == "inside":
            a = a + h
        kind = config.activation if hidden else "linear"
        if index == 0 and hidden and config.input_activation:
            kind = config.input_activation
        f = functions[kind](a)
        h = f + h if square and config.residual == "after" else f
    torch.nn.functional.cross_entropy(h, y_B).backward()
    return {name: p.grad for name, p in params.items()}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("hidden", [(), (7,), (D, D), (6, 6, 6, 6)])
@pytest.mark.parametrize(
    ("activation", "input_activation", "residual"),
    list(itertools.product(("relu", "tanh"), (None, "linear"), ("none", "after", "inside"))),
)
def test_update_is_the_gradient(hidden, activation, input_activation, residual, bias):
    config = BPConfig(
        hidden=hidden,
        activation=activation,
        input_activation=input_activation,
        residual=residual,
        bias=bias,
    )
    learner = BP(config, D, C, [Streams(0), Streams(1)]).double()
    x, y = batch(replicas=2)
    update = learner.update(x, y)
    for r in range(2):
        for name, gradient in autograd(learner, r, x[r], y[r]).items():
            torch.testing.assert_close(update[name][r], gradient, msg=f"{name} of replica {r}")


def test_kaiming_weights_have_the_variance_that_he_et_al_derive():
    learner = BP(BPConfig(hidden=(400,)), 900, C, [Streams(0)])
    assert learner.weight0.std().item() == pytest.approx((2 / 900) ** 0.5, rel=0.01)
    assert not learner.bias0.any()
