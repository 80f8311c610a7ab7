"""Choices the paper leaves open, one changed at a time."""

from dataclasses import replace

from rows import row, write

from paper import deviations
from paper.recovery.settings import QUESTIONS
from paper.settings import PUBLISHED, SETTINGS
from sal.train import Protocol


def test_ours_is_the_setting_of_the_tables():
    assert deviations.OURS.config(4) == replace(SETTINGS[PUBLISHED], areas=(4,))
    assert deviations.OURS.protocol() == Protocol()


def test_every_question_says_what_the_paper_says_and_every_other_answer_is_tried():
    assert set(deviations.SAYS) == set(QUESTIONS)
    tried = {(question, option) for question, option, _ in deviations.others()}
    every = {(question, option) for question, own in QUESTIONS.items() for option in own}
    ours = {(question, deviations.OURS.answer(question)) for question in QUESTIONS}
    assert tried == every - ours


def test_one_answer_is_changed_at_a_time():
    for question, option, setting in deviations.others():
        assert setting.answer(question) == option
        assert all(
            setting.answer(other) == deviations.OURS.answer(other)
            for other in QUESTIONS
            if other != question
        )


def test_no_run_is_made_twice():
    runs = deviations.runs(2)
    assert len(runs) == len(set(runs))
    assert {run.seed for run in runs} == {0, 1}
    assert {run.learner for run in runs} == {"bp", "sal"}
    assert not any(run.protocol.validation_share != 0.2 for run in runs if run.dataset == "usps")
    residual = {run.dataset for run in runs if getattr(run.config, "residual", "none") != "none"}
    assert residual == {"usps"}, "where a layer has as many outputs as inputs"


def test_runs_of_other_ledgers_are_not_made_again(place):
    runs = deviations.OURS.runs(["digits"], [4], [0])
    write(place, "recovery", [row(runs[0], 50.0)])
    assert deviations.accuracy(deviations.ledgers(place), deviations.OURS, "digits", 4).values


def test_the_page_has_the_difference_to_ours_between_equal_seeds(place):
    assert deviations.pages(place) == {}
    tanh = deviations.OURS.varied("activation", "tanh")
    for setting, accuracies in ((deviations.OURS, (50.0, 60.0)), (tanh, (53.0, 64.0))):
        runs = setting.runs(["digits"], [4], [0, 1])
        rows = [row(run, value) for run, value in zip(runs, accuracies, strict=True)]
        write(place, "deviations", rows)
    texts = deviations.pages(place)
    page = texts[place.root / "deviations.md"]
    (line,) = [line for line in page.splitlines() if line.startswith("| tanh")]
    assert "58.50 (+3.50 ± 0.71, n=2)" in line
    runs = deviations.OURS.varied("activation", "tanh").runs(["usps"], [4], [0])
    write(place, "deviations", [row(runs[0], 70.0)])
    page = deviations.pages(place)[place.root / "deviations.md"]
    (line,) = [line for line in page.splitlines() if line.startswith("| tanh")]
    assert "70.00 (ours not run)" in line
    (other,) = [line for line in page.splitlines() if line.startswith("| clamped to 1 ")]
    assert "not run" in other and "–" in other.split("|")[2]
    for question in QUESTIONS:
        assert f"## {question.capitalize()}" in page
