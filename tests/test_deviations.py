"""Choices the paper leaves open, one changed at a time."""

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from rows import row, write

from baselines import learner_class
from baselines.moe import MoEConfig
from paper import choices, deviations, methods
from paper.recovery.settings import OF_DATA, OF_ROUTING, QUESTIONS, Setting
from paper.results import key
from paper.settings import PUBLISHED, SETTINGS
from sal.arealearner import AreaConfig
from sal.streams import Streams
from sal.train import Protocol

PAPER = Path(deviations.__file__).parent
ASKED = choices.BASELINE | choices.MIXTURE
AREAS = {"bp": 0, "moe": 4}
CELL = ("digits", "sal", 4)


def lines(page, start):
    return [line for line in page.splitlines() if line.startswith(start)]


def page_of(place):
    return deviations.pages(place)[place.root / "deviations.md"]


def add(place, answered, *accuracies, cell=CELL, **changes):
    """A row for each of the first seeds, whose accuracy was 1 after the epoch before."""
    runs = answered.runs([cell[0]], [cell[2]], range(len(accuracies)))
    rows = [row(run, 1.0, each, **changes) for run, each in zip(runs, accuracies, strict=True)]
    write(place, "deviations", rows)


def test_ours_is_the_setting_of_the_tables():
    assert deviations.OURS.config(4) == replace(SETTINGS[PUBLISHED], areas=(4,))
    assert deviations.OURS.protocol() == Protocol()
    for method, areas in (("bp", 0), ("moe", 4), ("moe", 16)):
        (tables,) = methods.runs([method], ["usps"], [areas]).values()
        ours = deviations.OWN[method].runs(["usps"], [areas], range(5))
        assert [key(run) for run in ours] == [key(run) for run in tables]


def test_every_choice_has_what_the_paper_says_and_why_ours_and_every_other_answer_is_tried():
    questions = [*QUESTIONS, *ASKED, *choices.READINGS, *choices.UNTRIED]
    assert list(choices.SAYS) == list(choices.BECAUSE) == questions
    tried = {(question, option) for question, option, _ in deviations.others()}
    every = {(question, option) for question, own in (QUESTIONS | ASKED).items() for option in own}
    ours = {(question, deviations.OURS.answer(question)) for question in QUESTIONS}
    ours |= {(question, next(iter(options))) for question, options in ASKED.items()}
    assert tried == every - ours


def test_every_field_that_only_the_mixture_has_is_asked_about():
    own = {field.name for field in fields(MoEConfig)} - {field.name for field in fields(AreaConfig)}
    changed = {name for _, _, each in deviations.others() for name in getattr(each, "fields", ())}
    assert own and own <= changed


def test_numbers_in_the_reasons_stand_in_the_reports_where_they_speak_of_the_question():
    study = (PAPER / "recovery" / "README.md").read_text(encoding="utf-8").splitlines()
    scale = (PAPER / "tables" / "billion.md").read_text(encoding="utf-8").splitlines()
    for question, because in choices.BECAUSE.items():
        measured = re.sub(r"section \d\.\d|eq\. \d", "", because)
        ours = f"| {deviations.OURS.name} |"
        words = ("none changed", "baseline", ours, question) if question in QUESTIONS else ("",)
        lines = [line for line in study if any(word in line for word in words)]
        lines += [] if question in QUESTIONS else scale
        known = {number for line in lines for number in re.findall(r"\d+\.\d+", line)}
        assert set(re.findall(r"\d+\.\d+", measured)) <= known, question


def test_one_answer_is_changed_at_a_time():
    for question, option, answered in deviations.others():
        if isinstance(answered, Setting):
            assert answered.answer(question) == option
            assert all(
                answered.answer(other) == deviations.OURS.answer(other)
                for other in QUESTIONS
                if other != question
            )
        else:
            (ours, *_) = ASKED[question].values()
            assert not ours.fields, "ours is what the tables are made with"
            assert answered.fields == ASKED[question][option].fields
            where = (["usps"], [AREAS[answered.method]], [0])
            (own,), (other,) = deviations.OWN[answered.method].runs(*where), answered.runs(*where)
            config = replace(own.config, **answered.fields)
            assert other == replace(own, config=config) != own


def test_every_other_answer_of_the_baseline_and_the_mixture_takes_a_step():
    x_RBD, y_RB = torch.randn(1, 16, 256), torch.arange(16)[None] % 10
    for question, option, answered in deviations.others():
        if question in ASKED:
            (run,) = answered.runs(["usps"], [AREAS[answered.method]], [0])
            learner = learner_class(run.learner)(run.config, 256, 10, [Streams(0)])
            before = {name: value.clone() for name, value in learner.named_parameters()}
            learner.step(x_RBD, y_RB, 0.1)
            assert learner.logits(x_RBD).isfinite().all(), (question, option)
            assert not torch.equal(before["weight0"], learner.get_parameter("weight0"))


def test_no_run_is_made_twice():
    runs = deviations.runs(2)
    assert len(runs) == len(set(runs))
    assert {run.seed for run in runs} == {0, 1}
    assert {run.learner for run in runs} == {"bp", "moe", "sal"}
    assert not any(run.protocol.validation_share != 0.2 for run in runs if run.dataset == "usps")
    residual = {run.dataset for run in runs if getattr(run.config, "residual", "none") != "none"}
    assert residual == {"usps"}, "where a layer has as many outputs as inputs"


@pytest.mark.parametrize(
    ("questions", "columns"),
    [
        (choices.BASELINE, {"Baseline"}),
        (choices.MIXTURE, {"MoE-4", "MoE-16"}),
        (OF_DATA, {"Baseline", "SAL-1", "SAL-4", "SAL-16"}),
        (OF_ROUTING, {"SAL-4", "SAL-16"}),
        (set(QUESTIONS) - {*OF_DATA, *OF_ROUTING}, {"SAL-1", "SAL-4", "SAL-16"}),
    ],
)
def test_questions_are_put_where_they_arise(questions, columns):
    frame = deviations.changes({})
    for question in questions:
        assert set(frame[frame["question"] == question]["column"]) == columns


def test_runs_of_other_ledgers_are_not_made_again(place):
    runs = deviations.OURS.runs(["digits"], [4], [0])
    write(place, "recovery", [row(runs[0], 50.0)])
    assert deviations.accuracy(deviations.ledgers(place), deviations.OURS, "digits", 4).values


def test_the_page_has_the_difference_to_ours_between_equal_seeds(place):
    assert deviations.pages(place) == {}
    tanh = deviations.OURS.varied("activation", "tanh")
    add(place, deviations.OURS, 50.0, 60.0)
    add(place, tanh, 53.0, 64.0)
    line, of_baseline = lines(page_of(place), "| tanh")
    assert "58.50 (+3.50 ± 0.71, n=2)" in line and "58.50" not in of_baseline
    add(place, tanh, 70.0, cell=("usps", "sal", 4))
    page = page_of(place)
    assert "70.00 (ours not run)" in lines(page, "| tanh")[0]
    (other,) = lines(page, "| clamped to 1 ")
    assert set(other.split("|")[2:-1]) == {" not run "}, "on all of SAL's columns, and no others"
    for question in choices.SAYS:
        assert f"## {question.capitalize()}\n" in page
        assert f", because {choices.BECAUSE[question]}." in page


def test_the_page_opens_with_the_choices_by_how_much_they_move_the_accuracy(place):
    gates = choices.Variant("moe", choices.MIXTURE["the mixture's gates"]["chosen"].fields)
    add(place, deviations.OURS, 50.0, 60.0)
    add(place, deviations.OURS.varied("biases", "no"), 51.0, 61.0)
    add(place, deviations.OURS.varied("router rate", "0"), 52.0, 62.0)
    add(place, deviations.OURS.varied("router rate", "10"), 45.0, 55.0)
    add(place, deviations.OWN["moe"], 20.0, cell=("usps", "moe", 16))
    add(place, gates, 17.0, cell=("usps", "moe", 16))
    opening = page_of(place).split("\n## ")[0]
    table = [line.split(" | ") for line in lines(opening, "| ")[1:]]
    first = [cells[0].removeprefix("| ") for cells in table]
    assert first[:3] == ["Router rate", "The mixture's gates", "Biases"]
    assert table[0][1:6] == ["1", "10", "-5.00 ± 0.00, n=2", "–", "Digits, SAL-4"]
    assert table[1][1:6] == ["all", "chosen", "-3.00, n=1", "–", "USPS, MoE-16"]
    assert table[1][6] == "1 of 4 |"
    assert {cells[3] for cells in table[5:]} == {"not run"}, "after the two that are only read"
    assert first[-len(choices.UNTRIED) :] == [name.capitalize() for name in choices.UNTRIED]
    assert sorted(first) == sorted(name.capitalize() for name in choices.SAYS)


def test_an_answer_that_diverges_moves_most(place):
    add(place, deviations.OURS, 50.0)
    add(place, deviations.OURS.varied("biases", "no"), 90.0)
    add(place, deviations.OURS.varied("output rate", "16"), 0.0, status="diverged")
    first, second = lines(page_of(place).split("\n## ")[0], "| ")[1:3]
    assert first.startswith("| Output rate | 1 | 16 | 1 diverged | – | Digits, SAL-4 |")
    assert second.startswith("| Biases | yes | no | +40.00, n=1 |")


def test_the_best_epoch_and_the_loss_during_it_are_read_of_our_runs(place):
    (run,) = deviations.OURS.runs(["digits"], [4], [0])
    history = {"accuracy": [40.0, 70.0, 50.0], "train_loss": [2.0, 1.5, 1.0], "val_loss": [2.0] * 3}
    write(place, "deviations", [row(run, 50.0, history=history)])
    page = page_of(place)
    assert "70.00 (+20.00, n=1)" in lines(page, "| the best")[0]
    assert "1.250 (+0.250 nats, n=1)" in lines(page, "| summed up")[0]
    opening = lines(page.split("\n## ")[0], "| ")[1:3]
    assert opening[0].startswith("| Reported epoch | the last | the best | +20.00, n=1 |")
    assert opening[1].startswith("| Training loss |"), "it moves no accuracy, but it is known"


def test_a_choice_that_is_not_run_says_why(place):
    add(place, deviations.OURS, 50.0)
    page = page_of(place)
    for question, untried in choices.UNTRIED.items():
        (section,) = re.findall(rf"^## {re.escape(question.capitalize())}\n\n(.*)$", page, re.M)
        assert choices.SAYS[question] in section and f"**{untried.ours}**" in section
        assert section.endswith(f" Not run: {untried.why}.")


def test_a_change_that_is_shown_comes_before_a_larger_one_that_may_be_chance(place):
    ours = (50.0, 60.0, 55.0, 52.0, 58.0)
    add(place, deviations.OURS, *ours)
    sure, loud = (0.9, 1.1, 1.0, 1.05, 0.95), (40.0, -30.0, 20.0, -10.0, 10.0)
    for question, option, changes in (("biases", "no", sure), ("router rate", "0", loud)):
        values = [own + each for own, each in zip(ours, changes, strict=True)]
        add(place, deviations.OURS.varied(question, option), *values)
    frame = deviations.changes(deviations.ledgers(place)).set_index(["question", "option"])
    found = {
        question: frame.loc[question, option].query("pairs == 5")[["p", "q"]].iloc[0]
        for question, option in (("biases", "no"), ("router rate", "0"))
    }
    tested = frame[(frame["pairs"] == 5) & (frame["metric"] == "accuracy")]
    assert found["biases"]["p"] == tested["p"].min()
    assert found["biases"]["q"] == pytest.approx(len(tested) * found["biases"]["p"])
    assert found["router rate"]["q"] > 0.05
    opening = page_of(place).split("\n## ")[0]
    first = [line.split(" | ")[0].removeprefix("| ") for line in lines(opening, "| ")[1:]]
    assert first.index("Biases") < first.index("Router rate")


def test_of_a_choice_read_in_nats_the_cell_is_the_one_that_moves_most(place):
    for cell, losses in ((CELL, [0.5, 0.5]), (("usps", "sal", 16), [1.5, 0.5])):
        (run,) = deviations.OURS.runs([cell[0]], [cell[2]], [0])
        history = {"accuracy": [1.0, 1.0], "train_loss": losses, "val_loss": losses}
        write(place, "deviations", [row(run, 1.0, 1.0, history=history, train_loss=0.5)])
    (line,) = lines(page_of(place).split("\n## ")[0], "| Training loss |")
    assert "USPS, SAL-16" in line and "+0.50" in line
