"""Methods that replace the weights on the way back: against theory, autograd and biotorch."""

import contextlib
import io
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from baselines import (
    BP,
    DFA,
    DRTP,
    FA,
    KP,
    USF,
    BPConfig,
    DFAConfig,
    DRTPConfig,
    FAConfig,
    KPConfig,
    Local,
    LocalConfig,
    Shallow,
    ShallowConfig,
    USFConfig,
)
from sal import SAL, SALConfig, Streams

D, C, B = 12, 4, 9
HIDDEN = [(), (7,), (7, 6), (12, 6, 6), (7, 6, 8, 5)]
depths = pytest.mark.parametrize("hidden", HIDDEN)
activations = pytest.mark.parametrize("activation", ["relu", "tanh", "linear"])


def batch(seed=0, replicas=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(replicas, B, D, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, C, (replicas, B), generator=generator)


def build(method, config, replicas=1):
    return method(config, D, C, [Streams(seed) for seed in range(replicas)]).double()


class Through(torch.autograd.Function):
    """x W forward; back through B^T in place of W^T."""

    @staticmethod
    def forward(context, x_BD, w_DH, b_DH):
        context.save_for_backward(x_BD, b_DH)
        return x_BD @ w_DH

    @staticmethod
    def backward(context, delta_BH):
        x_BD, b_DH = context.saved_tensors
        return delta_BH @ b_DH.T, x_BD.T @ delta_BH, None


def by_autograd(learner, r, x_BD, y_B):
    """Updates of replica r, from autograd with ``Through`` in every layer."""
    params = {n: p[r].clone().requires_grad_() for n, p in learner.named_parameters()}
    functions = {"relu": torch.relu, "tanh": torch.tanh, "linear": lambda a: a}
    h_BX = x_BD
    for index in range(len(learner.sizes)):
        back = learner.backward(index, learner.tensors())
        back = params[f"weight{index}"] if back is None else back[r]
        a_BH = Through.apply(h_BX, params[f"weight{index}"], back) + params[f"bias{index}"]
        h_BX = functions[learner.config.layer_activation(index)](a_BH)
    nn.functional.cross_entropy(h_BX, y_B).backward()
    return {name: p.grad for name, p in params.items()}


@depths
@activations
@pytest.mark.parametrize(("method", "config"), [(FA, FAConfig()), (USF, USFConfig())])
def test_errors_go_back_through_what_stands_in_for_the_weights(method, config, hidden, activation):
    config = replace(config, hidden=hidden, activation=activation)
    learner = build(method, config, replicas=2)
    x, y = batch(replicas=2)
    update = learner.update(x, y)
    for r in range(2):
        for name, expected in by_autograd(learner, r, x[r], y[r]).items():
            torch.testing.assert_close(update[name][r], expected, msg=name)


@depths
@activations
def test_direct_feedback_is_the_papers_formula(hidden, activation):
    """delta_l = (e B_l) * f'(a_l) (Nokland 2016, eq. 7), in numpy."""
    learner = build(DFA, DFAConfig(hidden=hidden, activation=activation))
    theta = {name: tensor[0].numpy() for name, tensor in learner.tensors().items()}
    x, y = batch()
    h, inputs, slopes = x[0].numpy(), [], []
    for index in range(len(hidden) + 1):
        inputs.append(h)
        a = h @ theta[f"weight{index}"] + theta[f"bias{index}"]
        kind = activation if index < len(hidden) else "linear"
        h, slope = {
            "relu": (np.maximum(a, 0), (a > 0) * 1.0),
            "tanh": (np.tanh(a), 1 - np.tanh(a) ** 2),
            "linear": (a, np.ones_like(a)),
        }[kind]
        slopes.append(slope)
    e = np.exp(h) / np.exp(h).sum(1, keepdims=True) - np.eye(C)[y[0]]
    update = learner.update(x, y)
    for index in range(len(hidden) + 1):
        B_l = theta.get(f"feedback{index}", np.eye(C))
        delta = (e @ B_l) * slopes[index]
        np.testing.assert_allclose(update[f"weight{index}"][0], inputs[index].T @ delta / B)
        np.testing.assert_allclose(update[f"bias{index}"][0], delta.sum(0) / B)


@pytest.mark.parametrize("hidden", HIDDEN[1:])
def test_targets_alone_reach_the_hidden_layers(hidden):
    """Frenkel et al. 2021: -(one_hot(y) B) in the place of the error, but for the output layer."""
    drtp = build(DRTP, DRTPConfig(hidden=hidden, activation="tanh"))
    bp = build(BP, BPConfig(hidden=hidden, activation="tanh"))
    x, y = batch()
    update, gradient = drtp.update(x, y), bp.update(x, y)
    last = len(hidden)
    assert torch.equal(update[f"weight{last}"], gradient[f"weight{last}"])
    h = x[0]
    for index in range(last):
        f = torch.tanh(h @ drtp.tensors()[f"weight{index}"][0])  # biases start at 0
        delta = -drtp.tensors()[f"feedback{index}"][0][y[0]] * (1 - f**2)
        torch.testing.assert_close(update[f"weight{index}"][0], h.T @ delta / B)
        torch.testing.assert_close(update[f"bias{index}"][0], delta.sum(0) / B)
        h = f


def with_tensors(learner, tensors):
    learner.load_state_dict(learner.state_dict() | tensors)
    return learner


@pytest.mark.parametrize("hidden", HIDDEN[1:])
def test_feedback_alignment_through_the_weights_is_backpropagation_and_otherwise_is_not(hidden):
    bp, fa = build(BP, BPConfig(hidden=hidden)), build(FA, FAConfig(hidden=hidden))
    assert all(torch.equal(fa.tensors()[name], p) for name, p in bp.named_parameters())
    x, y = batch()
    gradient = bp.update(x, y)
    random = fa.update(x, y)
    last = len(hidden)
    assert torch.equal(random[f"weight{last}"], gradient[f"weight{last}"])
    for index in range(last):
        assert not torch.allclose(random[f"weight{index}"], gradient[f"weight{index}"])
    same = with_tensors(
        fa, {f"backward{n}": bp.tensors()[f"weight{n}"].clone() for n in range(1, last + 1)}
    )
    for name, expected in gradient.items():
        assert torch.equal(same.update(x, y)[name], expected)


def test_with_one_hidden_layer_direct_feedback_is_feedback_alignment():
    fa, dfa = build(FA, FAConfig(hidden=(7,))), build(DFA, DFAConfig(hidden=(7,)))
    with_tensors(dfa, {"feedback0": fa.tensors()["backward1"].mT.contiguous()})
    x, y = batch()
    for name, expected in fa.update(x, y).items():
        torch.testing.assert_close(dfa.update(x, y)[name], expected)


def test_sal_with_one_area_is_direct_feedback():
    dfa = build(DFA, DFAConfig(hidden=(7, 6)))
    sal = build(SAL, SALConfig(hidden=(7, 6), init="kaiming", init_scale=1.0))
    for name, tensor in dfa.tensors().items():
        assert torch.equal(sal.tensors()[name].flatten(), tensor.flatten()), "the same streams"
    x, y = batch()
    for name, expected in dfa.update(x, y).items():
        torch.testing.assert_close(sal.update(x, y)[name].squeeze(1), expected)


@depths
def test_shallow_learns_the_output_layer_by_the_gradient_and_nothing_else(hidden):
    shallow = build(Shallow, ShallowConfig(hidden=hidden))
    gradient = build(BP, BPConfig(hidden=hidden)).update(*batch())
    last = len(hidden)
    assert set(dict(shallow.named_parameters())) == {f"weight{last}", f"bias{last}"}
    for name, value in shallow.update(*batch()).items():
        assert torch.equal(value, gradient[name])


@depths
@activations
def test_kolen_pollacks_feedback_learns_as_the_weights_do(hidden, activation):
    """Akrout et al. 2019: both descend x delta^T and decay, delta as feedback alignment's."""
    kp = build(KP, KPConfig(hidden=hidden, activation=activation, decay=0.3))
    fa = build(FA, FAConfig(hidden=hidden, activation=activation))
    x, y = batch()
    aligned = fa.update(x, y)
    for name, step in kp.update(x, y).items():
        index = int(name[-1])
        if name.startswith("bias"):
            expected = aligned[name]
        else:
            expected = aligned[f"weight{index}"] + 0.3 * kp.tensors()[name]
        torch.testing.assert_close(step, expected, msg=name)


def test_kolen_pollacks_feedback_becomes_the_weights_as_fast_as_they_decay():
    kp = build(KP, KPConfig(hidden=(7, 6), decay=0.1))
    apart = (kp.weight1 - kp.backward1).clone()
    for number in range(600):
        x, _ = batch(number)
        kp.step(x, x[:, :, :C].argmax(2), 0.3)  # something to learn, or all would decay to 0
    torch.testing.assert_close(kp.weight1 - kp.backward1, apart * 0.97**600, rtol=1e-6, atol=1e-12)
    assert (kp.weight1 - kp.backward1).abs().max() < 1e-6 < 0.1 < kp.weight1.abs().max()


@depths
@activations
@pytest.mark.parametrize("residual", ["none", "after", "inside"])
def test_local_errors_are_the_gradient_of_each_layers_own_loss(hidden, activation, residual):
    """Autograd on every layer's classifier, with the layers cut apart."""
    learner = build(Local, LocalConfig(hidden=hidden, activation=activation, residual=residual))
    params = {n: p[0].clone().requires_grad_() for n, p in learner.named_parameters()}
    functions = {"relu": torch.relu, "tanh": torch.tanh, "linear": lambda a: a}
    x, y = batch()
    h, loss = x[0], 0.0
    for index in range(len(hidden) + 1):
        h = h.detach()
        a = h @ params[f"weight{index}"] + params[f"bias{index}"]
        kind = learner.config.layer_residual(index, *learner.sizes[index])
        f = functions[learner.config.layer_activation(index)](a + h if kind == "inside" else a)
        h = f + h if kind == "after" else f
        z = h
        if index < len(hidden):
            z = h @ params[f"head{index}"] + params[f"head_bias{index}"]
        loss = loss + nn.functional.cross_entropy(z, y[0])
    loss.backward()
    for name, step in learner.update(x, y).items():
        torch.testing.assert_close(step[0], params[name].grad, msg=name)


@depths
@pytest.mark.parametrize("mode", ["fa", "dfa", "usf"])
@activations
def test_updates_are_biotorchs(mode, hidden, activation):
    """biotorch keeps layer l's direct feedback on layer l + 1, and its loss is the batch's mean."""
    biomodule = pytest.importorskip("biotorch.module.biomodule", reason="biotorch is not installed")
    functions = {"relu": nn.ReLU, "tanh": nn.Tanh, "linear": nn.Identity}
    sizes = (D, *hidden, C)
    parts = []
    for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True):
        parts += [nn.Linear(inputs, outputs), functions[activation]()]
    with contextlib.redirect_stdout(io.StringIO()):
        net = biomodule.BioModule(nn.Sequential(*parts[:-1]), mode=mode, output_dim=C).double()
    linears = [part for part in net.modules() if isinstance(part, nn.Linear)]
    method, config = {
        "fa": (FA, FAConfig),
        "dfa": (DFA, DFAConfig),
        "usf": (USF, USFConfig),
    }[mode]
    learner = build(method, config(hidden=hidden, activation=activation))
    for index, layer in enumerate(linears):
        layer.weight.data = learner.tensors()[f"weight{index}"][0].T.clone()
        layer.bias.data = learner.tensors()[f"bias{index}"][0].clone()
        if mode == "usf":
            layer.scaling_factor = (2 / sizes[index]) ** 0.5  # of our first weights
        elif mode == "fa" and index > 0:
            layer.weight_backward.data = learner.tensors()[f"backward{index}"][0].T.clone()
        elif mode == "dfa" and index > 0:
            layer.weight_backward.data = learner.tensors()[f"feedback{index - 1}"][0].clone()
    x, y = batch()
    measure = nn.functional.cross_entropy
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of its hooks
        output = net(x[0], targets=y[0], loss_function=measure)
        measure(output, y[0]).backward()
    update = learner.update(x, y)
    for index, layer in enumerate(linears):
        expected = {"weight": layer.weight.grad.T, "bias": layer.bias.grad}
        for name, value in expected.items():
            torch.testing.assert_close(update[f"{name}{index}"][0], value, rtol=1e-6, atol=1e-9)
