"""What every registered method promises: see ``sal/learner.py``."""

import pytest
import torch

from baselines import BUILT_IN, learner_class, learners
from baselines.__main__ import main as list_main
from sal import Config, SALConfig, Streams
from sal.data import DATASETS

D, C, B = 16, 4, 9
CONFIGS = {name: [learner.Config()] for name, learner in learners().items()}
CONFIGS["sal"] += [
    SALConfig(areas=(5,), init_scale=0.4),
    SALConfig(hidden=(32, 32), areas=(3, 2, 2)),
]
CASES = [(name, config) for name, configs in CONFIGS.items() for config in configs]

methods = pytest.mark.parametrize(
    ("name", "config"), CASES, ids=[f"{name}-{i}" for i, (name, _) in enumerate(CASES)]
)


def build(name, config, seeds=(0,)):
    return learner_class(name)(config, D, C, [Streams(seed) for seed in seeds])


def batch(seed=0, size=B, replicas=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(replicas, size, D, generator=generator).to(dtype)
    return x, torch.randint(0, C, (replicas, size), generator=generator)


def train(learner, steps=10, replicas=1):
    for number in range(steps):
        learner.step(*batch(number, replicas=replicas), 0.1)
    return learner


@methods
def test_logits_have_a_row_for_each_sample_of_each_replica(name, config):
    x, _ = batch(replicas=2)
    z = build(name, config, (0, 1)).logits(x)
    assert z.shape == (2, B, C)
    assert z.dtype == x.dtype


@methods
def test_step_is_the_parameter_minus_the_step_size_times_the_update(name, config):
    learner, (x, y) = build(name, config, (0, 1)).double(), batch(replicas=2, dtype=torch.float64)
    before = {n: p.clone() for n, p in learner.named_parameters()}
    update = learner.update(x, y)
    assert update.keys() == before.keys()
    learner.step(x, y, 0.3)
    for n, p in learner.named_parameters():
        torch.testing.assert_close(p, before[n] - 0.3 * update[n], rtol=1e-12, atol=1e-14)


@methods
def test_an_epoch_is_its_steps_in_order_and_the_last_batch_holds_what_is_left(name, config):
    x, y = batch(size=2 * B + 1)
    order = torch.randperm(2 * B + 1)[None]
    whole, stepwise = build(name, config), build(name, config)
    whole.epoch(x[0], y[0], order, B, 0.1)
    for part in (order[:, :B], order[:, B : 2 * B], order[:, 2 * B :]):
        stepwise.step(x[0][part], y[0][part], 0.1)
    assert whole.digest(0) == stepwise.digest(0)


@methods
def test_same_seed_same_bytes_other_seed_other_bytes(name, config):
    digests = [train(build(name, config, (seed,))).digest(0) for seed in (3, 3, 4)]
    assert digests[0] == digests[1] != digests[2]


@methods
def test_each_replica_is_bit_identical_to_the_same_run_alone(name, config):
    together = train(build(name, config, (0, 1, 2)), replicas=3)
    alone = [build(name, config, (seed,)) for seed in (0, 1, 2)]
    for number in range(10):
        x, y = batch(number, replicas=3)
        for r, learner in enumerate(alone):
            learner.step(x[r : r + 1], y[r : r + 1], 0.1)
    assert [together.digest(r) for r in range(3)] == [learner.digest(0) for learner in alone]


@methods
def test_state_dict_round_trip_restores_every_bit(name, config):
    learner, other = train(build(name, config)), build(name, config, (1,))
    assert other.digest(0) != learner.digest(0)
    other.load_state_dict(learner.state_dict())
    assert other.digest(0) == learner.digest(0)
    assert train(other, 3).digest(0) == train(learner, 3).digest(0)


@methods
def test_prediction_and_update_change_nothing(name, config):
    learner = build(name, config)
    before = learner.digest(0)
    learner.logits(batch()[0])
    learner.routes(batch()[0])
    learner.update(*batch())
    assert learner.digest(0) == before


@methods
def test_only_what_is_learned_is_a_parameter(name, config):
    learner = build(name, config)
    before = {n: t.clone() for n, t in learner.tensors().items()}
    train(learner, 30)
    changed = {n for n, t in learner.tensors().items() if not torch.equal(t, before[n])}
    assert changed == set(dict(learner.named_parameters()))
    assert not any(p.requires_grad for p in learner.parameters())


@methods
def test_learning_lowers_the_loss(name, config):
    learner = build(name, config)
    x = batch(size=200)[0]
    y = x[:, :, :C].argmax(2)

    def loss():
        return torch.nn.functional.cross_entropy(learner.logits(x)[0], y[0]).item()

    first = loss()
    for _ in range(300):
        learner.step(x, y, 0.05)
    assert loss() < 0.7 * first


@methods
def test_batches_of_another_shape_are_refused(name, config):
    learner, (x, y) = build(name, config), batch()
    for bad_x, bad_y in [(x[..., 1:], y), batch(replicas=2), (x[0], y), (x, y[:, 1:])]:
        with pytest.raises(ValueError, match=r"wants x \[R, B, D\]"):
            learner.step(bad_x, bad_y, 0.1)


@methods
def test_a_configuration_survives_json_and_the_absence_of_newer_fields(name, config):
    values = config.to_dict()
    assert type(config).from_dict(values) == config
    default = type(config)().to_dict()
    newer = next(field for field in values if values[field] == default[field])
    assert type(config).from_dict({k: v for k, v in values.items() if k != newer}) == config


@methods
def test_an_unknown_field_is_refused_by_name(name, config):
    with pytest.raises(ValueError, match="has no field momentum"):
        type(config).from_dict(config.to_dict() | {"momentum": 0.9})


@methods
def test_another_methods_configuration_is_refused(name, config):
    with pytest.raises(TypeError, match="is configured by"):
        build(name, Config())


@pytest.mark.parametrize("name", learners())
def test_impossible_sizes_are_refused(name):
    make = learner_class(name)
    for sizes in [(0, C, [Streams(0)]), (D, 1, [Streams(0)]), (D, C, [])]:
        with pytest.raises(ValueError, match="in_features >= 1"):
            make(make.Config(), *sizes)


def test_an_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(
        ValueError, match=r"no method named 'sall'; .*bp, .*sal.* Did you mean 'sal'"
    ):
        learner_class("sall")


class _Plugin:
    def __init__(self, value, load):
        self.value, self.load = value, load


def test_a_plugin_that_cannot_be_used_is_named_and_the_others_remain(monkeypatch):
    def broken():
        raise ImportError("no such module")

    bp = learner_class("bp")
    points = [
        _Plugin("a:Broken", broken),
        _Plugin("b:Taken", lambda: bp),
        _Plugin("c:NoLearner", lambda: dict),
        _Plugin("d:Good", lambda: type("Good", (bp,), {"name": "good"})),
    ]
    monkeypatch.setattr("baselines.entry_points", lambda group: points)
    learners.cache_clear()
    try:
        with pytest.warns(UserWarning) as warned:
            found = learners()
        assert set(found) == {learner.name for learner in BUILT_IN} | {"good"}
        messages = [str(warning.message) for warning in warned]
        assert [message.split()[1] for message in messages] == [
            "a:Broken",
            "b:Taken",
            "c:NoLearner",
        ]
    finally:
        monkeypatch.undo()
        learners.cache_clear()


def test_methods_and_data_sets_are_listed_with_a_line_each(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert list_main() == 0
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in
            capsys.readouterr().out.splitlines()]  # fmt: skip
    for learner in BUILT_IN:
        assert [learner.name, learner.summary, "sal-repro"] in rows
    for key, spec in DATASETS.items():
        (row,) = [row for row in rows if row[:2] == [key, spec.title]]
        assert row[2:4] == [str(spec.total), str(spec.n_classes)]


def test_a_plugin_that_cannot_be_used_is_listed_with_its_reason(capsys, monkeypatch):
    def broken():
        raise ImportError("no such module")

    monkeypatch.setattr("baselines.entry_points", lambda group: [_Plugin("a:Broken", broken)])
    learners.cache_clear()
    try:
        assert list_main() == 1
        assert "a:Broken is left out: no such module" in capsys.readouterr().out
    finally:
        monkeypatch.undo()
        learners.cache_clear()
