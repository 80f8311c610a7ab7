"""The mixture of experts: against autograd sample by sample, the MLP, and another package."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn

from baselines import BP, BPConfig, MoE, MoEConfig
from sal import Streams

D, C, B = 8, 4, 11
FUNCTIONS = {"relu": torch.relu, "tanh": torch.tanh, "linear": lambda a: a}


def batch(seed=0, replicas=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(replicas, B, D, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, C, (replicas, B), generator=generator)


def build(config, replicas=1, engine=None):
    streams = [Streams(seed) for seed in range(replicas)]
    return MoE(config, D, C, streams, engine=engine).double()


def loss_by_samples(learner, params, x_BD, y_B):
    """The loss of one replica as the papers write it: sample by sample, expert by expert."""
    config, rows = learner.config, []
    uses = [[] for _ in learner.sizes]  # of each layer, each sample's {expert: gate} and softmax
    for x in x_BD:
        h = x
        for n in range(len(learner.sizes)):
            w_KDH, b_KH = params[f"weight{n}"], params[f"bias{n}"]
            K = len(w_KDH)
            if K == 1:
                gates = {0: 1.0}
            else:
                scores = h @ params[f"router{n}"] + params[f"router_bias{n}"]
                p_K = torch.exp(scores) / torch.exp(scores).sum()
                best = sorted(range(K), key=lambda k: -scores[k].item())[: config.experts]
                total = sum(p_K[k] for k in best) if config.gates == "chosen" else 1.0
                gates = {k: p_K[k] / total for k in best}
                uses[n].append((best, gates, p_K))
            kind = config.layer_residual(n, *learner.sizes[n])
            f = FUNCTIONS[config.layer_activation(n)]
            inside = h if kind == "inside" else 0
            out = sum(g * f(h @ w_KDH[k] + b_KH[k] + inside) for k, g in gates.items())
            h = out + h if kind == "after" else out
        rows.append(h)
    loss = nn.functional.cross_entropy(torch.stack(rows), y_B)
    for use in filter(None, uses):
        K = len(use[0][2])
        if config.balance == "importance":
            sums = torch.stack([sum(g.get(k, 0 * p[0]) for _, g, p in use) for k in range(K)])
            uneven = ((sums - sums.mean()) ** 2).mean() / sums.mean() ** 2
        else:
            shares = [sum(best[0] == k for best, _, _ in use) / B for k in range(K)]
            means = torch.stack([p for _, _, p in use]).mean(0)
            uneven = K * sum(share * mean for share, mean in zip(shares, means, strict=True))
        loss = loss + config.balance_weight * uneven
    return loss


CHOICES = list(
    itertools.product(
        [((D, D), (3, 1, 2)), ((7,), (4,)), ((), (5,))],
        ["relu", "tanh"],
        ["none", "after", "inside"],
        ["importance", "switch"],
        [(1, "all"), (2, "all"), (2, "chosen"), (1, "chosen")],
    )
)


@pytest.mark.parametrize(("net", "activation", "residual", "balance", "mixing"), CHOICES)
def test_update_is_the_gradient_of_the_papers_loss(net, activation, residual, balance, mixing):
    (hidden, areas), (experts, gates) = net, mixing
    config = MoEConfig(
        hidden=hidden,
        areas=areas,
        activation=activation,
        residual=residual,
        balance=balance,
        experts=experts,
        gates=gates,
    )
    x, y = batch(replicas=2)
    for engine in build(config).engines:
        learner = build(config, 2, engine)
        params = {n: p.clone().requires_grad_() for n, p in learner.named_parameters()}
        for r in range(2):
            own = {n: p[r] for n, p in params.items()}
            loss_by_samples(learner, own, x[r], y[r]).backward()
        learner.step(x, y, 0.1)
        for name, p in learner.named_parameters():
            expected = params[name].detach() - 0.1 * params[name].grad
            torch.testing.assert_close(p, expected, msg=f"{name}, {engine}", rtol=1e-9, atol=1e-11)


def test_one_expert_is_the_mlp_bit_for_bit():
    x, y = (tensor.float() if tensor.is_floating_point() else tensor for tensor in batch())
    moe = MoE(MoEConfig(hidden=(16, 16)), D, C, [Streams(0)])
    bp = BP(BPConfig(hidden=(16, 16)), D, C, [Streams(0)])
    for _ in range(5):
        moe.step(x, y, 0.1)
        bp.step(x, y, 0.1)
    for name, p in bp.named_parameters():
        assert torch.equal(moe.tensors()[name].flatten(), p.flatten())


def test_all_experts_alike_are_the_mlp_where_gates_sum_to_one():
    config = MoEConfig(hidden=(7,), areas=(3,), experts=3, balance_weight=0.0)
    moe, bp = build(config), BP(BPConfig(hidden=(7,)), D, C, [Streams(0)]).double()
    moe.weight0[:] = bp.weight0.unsqueeze(1)
    x, _ = batch()
    torch.testing.assert_close(moe.logits(x), bp.logits(x))


def test_an_expert_that_nobody_chose_is_bit_identical():
    learner = build(MoEConfig(hidden=(7,), areas=(12,)))
    x, y = batch()
    chosen = set(learner.routes(x)["layer0"].flatten().tolist())
    before = learner.weight0.clone()
    learner.step(x, y, 0.1)
    changed = (learner.weight0 != before).flatten(2).any(2)[0]
    assert 1 < len(chosen) < 12
    assert set(changed.nonzero().flatten().tolist()) == chosen


@pytest.mark.parametrize("balance", ["importance", "switch"])
def test_the_balance_keeps_experts_in_use(balance):
    """All samples choose expert 0 at first; with the loss, others get some, and without, none."""
    shares = {}
    for weight in (0.0, 1.0):
        config = MoEConfig(hidden=(7,), areas=(4,), balance=balance, balance_weight=weight)
        learner = build(config)
        learner.router0.mul_(0.1)
        learner.router_bias0.copy_(torch.tensor([[1.0, 0, 0, 0]]))
        for number in range(300):
            learner.step(*batch(number), 0.05)
        area = learner.routes(torch.cat([batch(n)[0] for n in range(50)], 1))["layer0"]
        shares[weight] = (area == 0).double().mean().item()
    assert shares[1.0] < 0.6 < 0.9 < shares[0.0]


def test_updates_are_those_of_mixture_of_experts():
    """With what it has: two experts a sample, gates over these, the balance of Switch.

    It differs in: no bias of the gates, experts that keep the size, a limit of samples an expert
    (here as many as there are), the second expert left out at random (here never), float32 masks.
    """
    package = pytest.importorskip("mixture_of_experts", reason="mixture-of-experts is missing")
    config = MoEConfig(
        hidden=(D,), areas=(3,), experts=2, gates="chosen", balance="switch", balance_weight=0.01
    )
    learner, (x, y) = build(config), batch()
    w_KDH = learner.weight0[0].clone().requires_grad_()
    b_KH = learner.bias0[0].clone().requires_grad_()

    class Experts(nn.Module):
        def forward(self, x_KND):
            return torch.relu(torch.baddbmm(b_KH.unsqueeze(1), x_KND, w_KDH))

    other = package.MoE(
        dim=D,
        num_experts=3,
        experts=Experts(),
        second_policy_train="all",
        capacity_factor_train=3.0,
        loss_coef=0.01,
    ).double()
    other.gate.w_gating.data = learner.router0[0].clone()
    h_1BD, balance = other(x)
    z_BC = h_1BD[0] @ learner.weight1[0, 0] + learner.bias1[0, 0]
    (nn.functional.cross_entropy(z_BC, y[0]) + balance).backward()
    update = learner.update(x, y)
    for name, theirs in {
        "weight0": w_KDH.grad,
        "bias0": b_KH.grad,
        "router0": other.gate.w_gating.grad,
    }.items():
        torch.testing.assert_close(update[name][0], theirs, rtol=1e-6, atol=1e-8, msg=name)


@pytest.mark.parametrize(
    ("field", "value"),
    [("experts", 0), ("experts", 5), ("experts", 1.5), ("gates", "some"), ("balance", "none")]
    + [("balance_weight", -1.0)],
)
def test_impossible_choices_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        replace(MoEConfig(areas=(4,)), **{field: value})


def test_the_compiled_engine_is_refused_where_it_does_not_know_the_gates():
    with pytest.raises(ValueError, match="engine must be one of None, 'grouped', 'masked'"):
        build(MoEConfig(areas=(4,), experts=2), engine="compiled")
