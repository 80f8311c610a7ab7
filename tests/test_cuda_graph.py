"""Replayed steps are the eager ones, bit for bit."""

import pytest
import torch

from baselines import BP, BPConfig
from sal import SAL, SALConfig, Streams, cuda_graph

D, C, B, M = 48, 4, 16, 16 * 5 + 3
LEARNERS = {
    "sal": (SAL, SALConfig(areas=(5,), init_scale=0.4, hidden=(32,))),
    "bp": (BP, BPConfig(hidden=(32,))),
}


def build(name):
    learner, config = LEARNERS[name]
    return learner(config, D, C, [Streams(0), Streams(1)])


def data():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(M, D, generator=generator), torch.randint(0, C, (M,), generator=generator)
    return x, y, torch.stack([torch.randperm(M, generator=generator) for _ in range(2)])


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("name", LEARNERS)
def test_an_epoch_of_replays_equals_the_eager_steps_and_is_captured_once(name):
    eager, replayed = build(name).cuda(), build(name).cuda()
    names = replayed.state_dict().keys()
    x, y, order = (tensor.cuda() for tensor in data())
    graphs = []
    for size, lr in ((B, 0.1), (B, 0.1), (B, 0.05), (B + 1, 0.05), (2 * M, 0.05)):
        for batch in order.split(size, dim=1):
            eager.step(x[batch], y[batch], lr)
        cuda_graph.epoch(replayed, x, y, order, size, lr)
        assert [replayed.digest(r) for r in range(2)] == [eager.digest(r) for r in range(2)]
        graphs.append(cuda_graph._captured[replayed].graph)
    assert graphs[0] is graphs[1]
    assert len(set(map(id, graphs))) == 3
    assert replayed.state_dict().keys() == names


def test_a_learner_on_the_cpu_is_refused():
    with pytest.raises(ValueError, match="needs a learner on a CUDA device"):
        cuda_graph.epoch(build("sal"), *data(), B, 0.1)
