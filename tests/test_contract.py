"""What every registered method promises: the checks of ``baselines.conformance``, and the list."""

import pytest
import torch

from baselines import BUILT_IN, conformance, learner_class, learners
from baselines.__main__ import main as list_main
from baselines.conformance import CHECKS, configs, floor_problem, problems
from baselines.TEMPLATE import Template
from sal import Floor
from sal.data import DATASETS

METHODS = {**learners(), "template": Template}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", METHODS)
def test_every_method_keeps_the_contract(name, check):
    for config in configs(METHODS[name]):
        check(METHODS[name], config)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_reaches_its_own_floor_on_digits(name):
    assert floor_problem(METHODS[name]) is None


def broken(**changes):
    """A method that passes but for what is changed."""
    return type("Broken", (Template,), {"name": "broken", **changes})


class Counting(Template):
    def logits(self, x):
        next(self.parameters()).add_(1e-3)
        return super().logits(x)


class Feedback(Template):
    def build(self, streams):
        net = super().build(streams)
        net.register_parameter("unused", torch.nn.Parameter(torch.zeros(3)))
        return net


class OwnRandomness(Template):
    def build(self, streams):
        net = super().build(streams)
        net[0].weight.data.normal_()
        return net


class OtherEpoch(Template):
    def epoch(self, x, y, order, batch_size, lr):
        for batch in order.split(batch_size, dim=1):
            if batch.shape[1] == batch_size:  # forgets what is left
                self.step(x[batch], y[batch], lr)


class Momentum(Template):
    def step(self, x, y, lr):
        for name, update in self.update(x, y).items():
            self._parameters[name].sub_(update, alpha=1.9 * lr)


class Coupled(Template):
    def update(self, x, y):
        return {name: u + 0 * u + u.mean(0) for name, u in super().update(x, y).items()}


class Plain(Template):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.hidden_away = torch.zeros(1)
        self.tensors = lambda: {**self._parameters, "hidden_away": self.hidden_away}


class Careless(Template):
    def check_batch(self, x, y):
        pass


class Standing(Template):
    def fill_gradients(self, net, x, y):
        pass


class OneRow(Template):
    def logits(self, x):
        return super().logits(x)[:, :1]


BROKEN = {
    "says_what_it_is": broken(version="1"),
    "logits_have_a_row_a_sample": OneRow,
    "a_step_is_the_update_times_the_rate": Momentum,
    "an_epoch_is_its_steps": OtherEpoch,
    "the_seed_alone_decides": OwnRandomness,
    "a_replica_is_the_same_run_alone": Coupled,
    "predicting_changes_nothing": Counting,
    "only_what_is_learned_is_a_parameter": Feedback,
    "it_moves_as_a_whole": Plain,
    "bad_input_is_refused": Careless,
    "learning_lowers_the_loss": Standing,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_method_that_breaks_a_promise_fails_its_check(name):
    (check,) = [check for check in CHECKS if check.__name__ == name]
    with pytest.raises(AssertionError):
        for config in configs(BROKEN[name]):
            check(BROKEN[name], config)


def test_a_method_below_its_own_floor_is_told_how_far():
    method = broken(floor=Floor(lr=1e-6, accuracy=90.0))
    assert "its floor is 90.0 %" in floor_problem(method)


def test_a_check_that_raises_is_a_problem_and_the_others_are_run():
    def explode(self, x):
        raise RuntimeError("no logits today")

    found = problems(broken(logits=explode))
    assert any("RuntimeError: no logits today" in text for text in found.values())
    assert "" in found.values()
    assert len(found) == len(CHECKS) + 1


def test_conformance_prints_what_holds_and_what_does_not(monkeypatch, capsys):
    registry = {"template": Template, "counting": Counting}
    monkeypatch.setattr(conformance, "learners", lambda: registry)
    monkeypatch.setattr(conformance, "learner_class", registry.__getitem__)
    monkeypatch.setenv("COLUMNS", "200")
    assert conformance.main(["template"]) == 0
    assert "all hold" in capsys.readouterr().out
    assert conformance.main(["counting"]) == 1
    assert "logits changed the learner" in capsys.readouterr().out


def test_conformance_of_a_method_that_there_is_not_says_so(capsys):
    assert conformance.main(["bpp"]) == 1
    assert "no method named 'bpp'" in capsys.readouterr().err


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
