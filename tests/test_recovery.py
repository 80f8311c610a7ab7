"""The recovery study: settings, its likelihood against numbers worked out by hand, its stages."""

import math
from dataclasses import replace

import pytest

from paper import paths
from paper.cells import SEEDS
from paper.recovery import __main__ as command
from paper.recovery import report, study
from paper.recovery.misfit import best_epoch, deviations, last, misfit, running
from paper.recovery.settings import FACTORIAL, QUESTIONS, Setting, factorial, variations
from paper.recovery.study import BASE, FINALISTS, SMALL, WINNERS, Stage, stages
from paper.results import key
from paper.settings import SETTINGS
from sal.train import Protocol

TANH = Setting.of({"activation": "tanh", "divisor": "count"})


def row(accuracy=50.0, train_loss=1.0, val_loss=1.1, status="ok", **changes):
    return {
        "status": status, "accuracy": accuracy, "train_loss": train_loss, "val_loss": val_loss,
        **changes,
    }  # fmt: skip


def rows_of(stage, value=lambda run: row()):
    return {key(run): value(run) for run in stage.runs()}


# Settings


def test_the_base_is_the_setting_recovered_on_fashion_mnist_at_the_papers_protocol():
    said = {"output_init": "normal", "output_init_scale": 0.01}  # there: as the hidden layer
    recovered = replace(SETTINGS["fashion-mnist"], areas=(4,))
    assert Setting().config(4) == replace(recovered, **said)
    assert [Setting().config(4).layer_init(n) for n in (0, 1)] == [recovered.layer_init(0)] * 2
    assert Setting().protocol() == Protocol()
    assert Setting().name == "base"


@pytest.mark.parametrize("setting", [Setting(), TANH, *factorial()[::13]])
def test_a_setting_is_known_by_its_name(setting):
    assert Setting.named(setting.name) == setting


def test_choices_are_kept_in_one_order_and_the_bases_answers_are_left_out():
    other = Setting.of({"divisor": "count", "derivative": "yes", "activation": "tanh"})
    assert other == TANH
    assert TANH.name == "activation: tanh; divisor: count"
    assert (TANH.answer("divisor"), TANH.answer("residual")) == ("count", "none")
    assert TANH.varied("divisor", "m / K").name == "activation: tanh"


@pytest.mark.parametrize("choices", [{"colour": "red"}, {"activation": "gelu"}])
def test_an_answer_that_there_is_not_is_refused(choices):
    with pytest.raises(ValueError, match="there is no option"):
        Setting.of(choices)


def test_every_option_makes_a_run_that_differs_from_the_bases():
    for setting in variations(BASE):
        (ours,), (base,) = (s.runs(["digits"], [4], [0]) for s in (setting, BASE))
        assert key(ours) != key(base), setting.name


def test_variations_change_one_answer_each_and_leave_none_out():
    found = list(variations(TANH))
    assert len(set(found)) == len(found) == sum(len(q) - 1 for q in QUESTIONS.values())
    for setting in found:
        assert sum(setting.answer(q) != TANH.answer(q) for q in QUESTIONS) == 1


def test_the_factorial_has_every_combination_once():
    found = {tuple(s.answer(q) for q in FACTORIAL) for s in factorial()}
    assert len(found) == len(factorial()) == math.prod(map(len, FACTORIAL.values()))


# Likelihood: published Digits SAL-4 is 53.59 +- 8.37 %, 2.06 +- 0.08 and 2.07 +- 0.08; CIFAR-10
# SAL-1 has 1.90 +- 0.00 as training loss, whose floor is 0.01.


def cell_rows(setting, dataset, areas, values):
    runs = setting.runs([dataset], [areas], range(len(values)))
    return dict(zip(map(key, runs), values, strict=True))


def test_deviations_are_of_the_mean_over_seeds_in_published_standard_deviations():
    rows = cell_rows(
        BASE, "digits", 4, [row(53.59 + 8.37, 2.06, 2.15), row(53.59 + 16.74, 2.06, 2.15)]
    )
    found = deviations(rows, BASE, "digits", 4, (0, 1))
    assert found == pytest.approx({"accuracy": 1.5, "train_loss": 0.0, "val_loss": 1.0})
    assert deviations(rows, BASE, "digits", 4, (0, 1, 2)) is None


def test_a_published_deviation_of_nothing_has_the_floor():
    rows = cell_rows(BASE, "cifar10", 1, [row(33.90 + 0.6, 1.92, 1.88)])
    found = deviations(rows, BASE, "cifar10", 1, (0,))  # published accuracy: +- 0.26, below 0.3
    assert found == pytest.approx({"accuracy": 2.0, "train_loss": 2.0, "val_loss": -3.0})


def test_no_areas_are_the_baseline_and_are_held_to_its_column():
    rows = cell_rows(BASE, "digits", 0, [row(38.53 + 5.78, 1.81, 1.81)])
    assert [run.learner for run in BASE.runs(["digits"], [0], [0])] == ["bp"]
    found = deviations(rows, BASE, "digits", 0, (0,))
    assert found == pytest.approx({"accuracy": 1.0, "train_loss": 0.0, "val_loss": 0.0})


def test_the_misfit_is_the_mean_square_over_cells_and_metrics():
    rows = cell_rows(BASE, "digits", 4, [row(53.59 + 8.37, 2.06, 2.15)])
    rows |= cell_rows(BASE, "cifar10", 1, [row(33.90 + 0.6, 1.92, 1.88)])
    cells = [("digits", 4), ("cifar10", 1)]
    expected = (1 + 0 + 1 + 4 + 4 + 9) / 6
    assert misfit(rows, BASE, cells, (0,)) == pytest.approx(expected)
    assert math.isinf(misfit(rows, BASE, [*cells, ("usps", 1)], (0,)))


def test_a_run_that_diverged_counts_as_the_worst_and_not_as_missing():
    bad = row(None, None, None, status="diverged")
    rows = cell_rows(BASE, "digits", 4, [row(), bad])
    assert misfit(rows, BASE, [("digits", 4)], (0, 1)) == 50.0**2


def test_readings_take_the_epoch_and_the_loss_that_they_say():
    history = {
        "accuracy": [10.0, 30.0, 30.0, 20.0],
        "train_loss": [2.0, 1.6, 1.4, 1.2],
        "val_loss": [2.1, 1.7, 1.5, 1.3],
    }
    made = row(20.0, 1.2, 1.3, history=history)
    assert last(made)["accuracy"] == 20.0
    assert best_epoch(made) == {"accuracy": 30.0, "train_loss": 1.6, "val_loss": 1.7}
    assert running(made) == {"accuracy": 20.0, "train_loss": pytest.approx(1.3), "val_loss": 1.3}


# Stages


def test_without_rows_there_is_only_the_first_stage():
    (only,) = stages({})
    assert only.settings == tuple(factorial())
    assert len(only.runs()) == 144 * 3 * 3
    assert only.best({}, 1) is None


def test_settings_that_fit_go_on_and_the_last_stage_is_on_untouched_sets():
    good = factorial()[77]
    assert good != BASE
    configs = {key(run) for run in good.runs([*SMALL, "stl10"], study.AREAS, range(SEEDS))}

    def value(run):  # the published numbers of Digits SAL-4 for one setting, nonsense for others
        near = 0.0 if key(run) in configs else 30.0
        return row(53.59 - near, 2.06 + near, 2.07 + near)

    rows, found = {}, []
    for stage in stages(rows):
        found.append(stage)
        rows.update(rows_of(stage, value))
    names = [stage.name for stage in found]
    assert names[:2] == ["combinations", "one choice changed"]
    assert names[3] == f"round 1 from {good.name}", "and no second one, since none is better"
    assert names[4].startswith("round 1 from ")
    assert (names[2], *names[5:]) == ("baseline", "final", "untouched sets")
    varied, baseline, around, from_relu, final, untouched = found[1:]
    assert {run.learner for run in baseline.runs()} == {"bp"}
    assert {run.protocol.validation_share for run in baseline.runs()} == {0.1, 0.2, 0.3}
    assert set(variations(good)) | set(variations(BASE)) == set(varied.settings)
    assert set(around.settings) <= {good, *variations(good)}
    assert from_relu.settings[0].answer("activation") == "relu"
    assert (len(final.settings), final.settings[0]) == (FINALISTS, good)
    assert (len(untouched.settings), untouched.settings[0]) == (WINNERS, good)
    assert not set(untouched.datasets) & {d for stage in found[:-1] for d in stage.datasets}
    assert final.best(rows, 1) == (good,)


def test_the_descent_goes_on_from_what_is_better_for_three_rounds_at_most():
    start = Setting.of({"activation": "tanh"})
    path = [start]
    for question in ("derivative", "feedback", "biases", "divisor"):
        path.append(path[-1].varied(question, list(QUESTIONS[question])[1]))
    rank = {
        key(run): number
        for number, setting in enumerate(path, start=1)
        for run in setting.runs(SMALL, (1, 4, 16), [0])
    }
    rows, seen = {}, []
    for stage in study._descent(rows, start):
        seen.append(stage.settings[0])
        rows.update(rows_of(stage, lambda run: row(-9.0 * (5 - rank.get(key(run), 0)), 9.0, 9.0)))
    assert seen == path[:3]


def test_first_seeds_come_before_second_ones_and_a_ranking_is_on_cells_that_all_have():
    stage = Stage("test", (BASE, TANH), ("digits", "usps"), (1, 4), (0, 1))
    runs = stage.runs()
    assert [run.seed for run in runs] == [0] * 8 + [1] * 8
    done = [run for run in runs if run.dataset == "digits" and run.config.areas == (4,)]
    rows = {key(run): row(53.59, 2.06, 2.07) for run in done}
    worse = [run for run in done if run.config.activation == "tanh"]
    rows |= {key(run): row(53.59, 2.06, 2.15) for run in worse}
    assert stage.complete(rows) == [("digits", 4)]
    assert stage.ranking(rows) == [
        (pytest.approx(0.0), BASE),
        (pytest.approx(1 / 3), TANH),
    ]
    assert stage.best(rows, 1) is None, "cells are missing"


# Command and report


@pytest.fixture
def small(monkeypatch, place):
    """A study of two settings on Digits, in a place taken for the committed one."""
    stage = Stage("test", (BASE, TANH), ("digits",), (1, 4), (0,))
    for module in (command, report, study):
        monkeypatch.setattr(module, "stages", lambda rows: iter([stage]))
    monkeypatch.setattr(paths, "committed", lambda: place)
    monkeypatch.setattr(report, "README", place.root / "README.md")
    marks = (f"<!-- {name}:begin -->\n<!-- {name}:end -->" for name in report.BLOCKS)
    (place.root / "README.md").write_text("\n".join(marks) + "\n")
    return place


def test_the_study_is_run_once_and_reported_with_its_figures(small, capsys):
    assert command.main(["--jobs", "2"]) == 0
    assert "test: 4 of 4 runs" in capsys.readouterr().out
    text = (small.root / "README.md").read_text()
    assert "| test | 2 | Digits | 1, 4 | 1 | 4 of 4 runs |" in text
    assert "activation: tanh; divisor: count" in text
    lines = small.table("recovery", "csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * 2 * 3, "settings, K and metrics"
    for name in ("recovery_field", "recovery_cells"):
        assert small.figure(name, "png").stat().st_size > 10_000
        assert small.figure(name, "pdf").read_bytes().startswith(b"%PDF")
    before = small.ledger("recovery").read_bytes()
    assert command.main([]) == 0
    assert small.ledger("recovery").read_bytes() == before
    assert "4 of 4 runs are in recovery.jsonl already" in capsys.readouterr().out


def test_what_is_left_out_is_reported_as_not_there(small, capsys):
    assert command.main(["--seeds", "0"]) == 0
    assert "test: 0 of 4 runs" in capsys.readouterr().out
    assert (
        "| test | 2 | Digits | 1, 4 | 1 | 0 of 4 runs |" in (small.root / "README.md").read_text()
    )


def test_an_unknown_data_set_is_refused(small, capsys):
    assert command.main(["--datasets", "imagenet"]) == 2
    assert "imagenet" in capsys.readouterr().err
