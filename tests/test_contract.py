"""What every registered method promises: the checks of ``baselines.conformance``, and the list."""

import math
import sys
from dataclasses import dataclass

import pytest
import torch

from baselines import BUILT_IN, _registry, conformance, learner_class, learners, left_out
from baselines.__main__ import main as list_main
from baselines.conformance import CHECKS, configs, floor_problem, problems
from baselines.gradient import GradientLearner
from baselines.TEMPLATE import Template, TemplateConfig
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


class Forgetful(TemplateConfig):
    def to_dict(self):
        return {**super().to_dict(), "weight_scale": 1.5}


class Tail(Template):
    """Steps along a direction that it keeps beside its state."""

    def step(self, x, y, lr):
        super().step(x, y, lr * len(getattr(self, "taken", ())) or lr)
        object.__setattr__(self, "taken", [*getattr(self, "taken", ()), 1])


class Elsewhere(Template):
    def areas_of(self):
        return {"layer0": 3}

    def routes(self, x):
        return {"layer0": torch.full(x.shape[:2], 3)}


class Restless(Template):
    def after_epoch(self, epoch, streams):
        next(self.parameters()).add_(torch.randn(()))


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
    def build(self, streams):
        net = super().build(streams)
        net[0].constant = torch.ones(3)
        return net


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
    "says_what_it_is": (broken(version="1"), "version must be an integer"),
    "configuration_survives_json": (broken(Config=Forgetful), "another configuration"),
    "logits_have_a_row_a_sample": (OneRow, "logits must be"),
    "a_step_is_the_update_times_the_rate": (Momentum, "off"),
    "an_epoch_is_its_steps": (OtherEpoch, "epoch and its steps end with other bits"),
    "the_seed_alone_decides": (Restless, "drawn from PyTorch's own generator"),
    "a_replica_is_the_same_run_alone": (Coupled, "replica . differs"),
    "state_dict_is_all_of_it": (Tail, "goes on from a state_dict otherwise"),
    "predicting_changes_nothing": (Counting, "logits changed the learner"),
    "only_what_is_learned_is_a_parameter": (Feedback, "are parameters and never changed"),
    "it_moves_as_a_whole": (Plain, "leaves .*constant.* behind"),
    "areas_are_in_range": (Elsewhere, "areas outside"),
    "bad_input_is_refused": (Careless, "must be refused by a ValueError"),
    "learning_lowers_the_loss": (Standing, "the loss went from"),
}


def test_every_check_has_a_method_that_breaks_it():
    assert list(BROKEN) == [check.__name__ for check in CHECKS]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_method_that_breaks_a_promise_fails_its_check(check):
    method, message = BROKEN[check.__name__]
    with pytest.raises(AssertionError, match=message):
        for config in configs(method):
            check(method, config)


def test_numbers_of_pytorchs_own_generator_are_noticed_in_the_net_as_well():
    (check,) = [check for check in CHECKS if check.__name__ == "the_seed_alone_decides"]
    with pytest.raises(AssertionError, match="own generator"):
        check(OwnRandomness, OwnRandomness.Config())


@pytest.mark.parametrize("floor", [Floor(0.1, 0.0), Floor(-1.0, 95.0), Floor(0.1, 101.0), None])
def test_a_floor_that_says_nothing_is_none(floor):
    with pytest.raises(AssertionError, match="floor must be"):
        CHECKS[0](broken(floor=floor), Template.Config())


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


@dataclass(frozen=True, kw_only=True)
class Endless(TemplateConfig):
    """A value that JSON does not have."""

    clip: float = math.inf


class Undecorated(TemplateConfig):
    """No dataclass of its own, so no fields of its own."""

    more: tuple[int, ...] = (32,)


def test_a_configuration_is_a_dataclass_of_its_own_and_goes_through_json():
    problems = conformance.problems(broken(Config=Undecorated))
    first = next(iter(problems.values()))
    assert "decorated by @dataclass(frozen=True, kw_only=True)" in first
    problems = conformance.problems(broken(Config=Endless))
    assert any("not JSON compliant" in text for text in problems.values())


def test_a_method_that_cannot_be_built_is_told_so_once():
    class Unbuilt(Template):
        def build(self, streams):
            raise RuntimeError("no net today")

    sentence = "It can be built, as it is and deep, and holds its tensors itself."
    ((what, why),) = conformance.problems(Unbuilt).items()
    assert what == sentence
    assert why.startswith("RuntimeError: no net today, of ")
    assert str(Unbuilt.Config()) in why

    class Nested(Template):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.inner = torch.nn.Linear(2, 2)

    (why,) = conformance.problems(Nested).values()
    assert "inner.weight, inner.bias are in submodules" in why


class _Plugin:
    def __init__(self, value, load):
        self.name, self.value, self.load = value.split(":")[1].lower(), value, load


def test_a_plugin_that_cannot_be_used_is_named_and_the_others_remain(monkeypatch):
    def broken():
        raise ImportError("no such module")

    bp = learner_class("bp")
    points = [
        _Plugin("a:Broken", broken),
        _Plugin("b:Taken", lambda: bp),
        _Plugin("c:NoLearner", lambda: dict),
        _Plugin("e:NoSummary", lambda: type("NoSummary", (bp,), {"name": "x", "summary": None})),
        _Plugin("f:NoConfig", lambda: type("NoConfig", (bp,), {"name": "x", "Config": dict})),
        _Plugin("g:Upper", lambda: type("Upper", (bp,), {"name": "X"})),
        _Plugin("h:Exits", lambda: sys.exit("usage: mine [-h]")),
        _Plugin("i:Abstract", lambda: type("Abstract", (GradientLearner,), {"name": "x"})),
        _Plugin("j:Endless", lambda: type("Endless", (bp,), {"name": "x", "Config": Endless})),
        _Plugin("d:Good", lambda: type("Good", (bp,), {"name": "good"})),
    ]
    monkeypatch.setattr("baselines.entry_points", lambda group: points)
    _registry.cache_clear()
    try:
        with pytest.warns(UserWarning) as warned:
            found = learners()
        assert set(found) == {learner.name for learner in BUILT_IN} | {"good"}
        messages = [str(warning.message) for warning in warned]
        assert [message.split()[1] for message in messages] == [
            "a:Broken",
            "b:Taken",
            "c:NoLearner",
            "e:NoSummary",
            "f:NoConfig",
            "g:Upper",
            "h:Exits",
            "i:Abstract",
            "j:Endless",
        ]
        assert list(left_out()) == [
            "broken",
            "taken",
            "nolearner",
            "nosummary",
            "noconfig",
            "upper",
            "exits",
            "abstract",
            "endless",
        ]
        assert "abstract: it must define" in left_out()["abstract"]
        assert "Endless() must make a configuration of JSON values" in left_out()["endless"]
        assert left_out()["broken"] == "ImportError: no such module"
        with pytest.raises(ValueError, match="method 'broken' is left out: ImportError"):
            learner_class("broken")
    finally:
        monkeypatch.undo()
        _registry.cache_clear()


class Awkward(Template):
    """A buffer of two modules, and gradients that are there when it raises."""

    summary = "signs [eq. 3] of [/x] it"

    def build(self, streams):
        net = super().build(streams)
        shared = torch.ones(1)
        net[0].register_buffer("shared", shared)
        net[2].register_buffer("shared", shared)
        return net

    def fill_gradients(self, net, x, y):
        super().fill_gradients(net, x, y)
        if torch.isnan(x).any():
            raise RuntimeError("nothing to learn from")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_buffer_may_belong_to_two_modules_of_a_net(check):
    check(Awkward, Awkward.Config())


def test_gradients_of_a_step_that_failed_are_not_added_to_the_next():
    learner, (x, y) = conformance.build(Awkward, Awkward.Config()), conformance.batch()
    before = learner.update(x, y)
    with pytest.raises(RuntimeError, match="nothing to learn from"):
        learner.update(torch.full_like(x, float("nan")), y)
    for name, update in learner.update(x, y).items():
        assert torch.equal(update, before[name])


def test_a_net_whose_names_cannot_be_told_apart_is_refused():
    class Collides(Template):
        def build(self, streams):
            net = super().build(streams)
            net.register_parameter("0__weight", torch.nn.Parameter(torch.zeros(1)))
            return net

    with pytest.raises(ValueError, match="rename .* in the net: '0__weight' is taken"):
        conformance.build(Collides, Collides.Config())


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
    _registry.cache_clear()
    try:
        assert list_main() == 1
        assert "left out: broken: ImportError: no such module" in capsys.readouterr().out
        monkeypatch.setattr(conformance, "problems", lambda method: {})
        assert conformance.main([]) == 1
        assert "method 'broken' is left out: ImportError" in capsys.readouterr().err
    finally:
        monkeypatch.undo()
        _registry.cache_clear()
