"""Verdicts on the paper's claims: from ledgers made by hand, and from the committed ones."""

import json

import pytest
from rows import row, write

from paper import claims, convergence, methods, paths, tuning
from paper.claims import HOLDS, NOT, OPEN, Ledgers, judge
from paper.paired import against_zero
from sal import credit

UP, DOWN = {0: 5.0, 1: 5.1, 2: 4.9}, {0: -5.0, 1: -5.1, 2: -4.9}
FLAT = {0: 1.0, 1: -1.1, 2: 0.2}


def verdict(*values, **options):
    return judge({str(n): against_zero(own) for n, own in enumerate(values)}, **options).verdict


def test_a_claim_holds_if_every_comparison_shows_it_and_not_if_one_shows_the_opposite():
    assert verdict(UP, UP) == HOLDS
    assert verdict(UP, FLAT) == OPEN
    assert verdict(UP, DOWN) == NOT
    assert verdict(FLAT, FLAT) == OPEN
    assert verdict() == OPEN


def test_exceptions_that_the_paper_makes_are_allowed_both_ways():
    assert verdict(UP, UP, DOWN, exceptions=1) == HOLDS
    assert verdict(UP, FLAT, FLAT, exceptions=1) == OPEN
    assert verdict(UP, DOWN, DOWN, exceptions=1) == NOT


def test_what_was_not_run_counts_for_nothing():
    found = judge({"a": against_zero(UP), "b": None})
    assert found.verdict == HOLDS and list(found.comparisons) == ["a"]
    assert judge({"b": None}).evidence == "not run at this recipe"


def table(place, dataset, **accuracies):
    """Rows of Table 2: method and K such as sal_4 -> accuracy of seed 0, others a little more."""
    for column, accuracy in accuracies.items():
        name, _, k = column.partition("_")
        (runs,) = methods.runs([name], [dataset], [int(k)] if k else [1]).values()
        noise = (0.0, 0.1, 0.3, 0.2, 0.5)
        spread = [accuracy + 0.1 * n * e for n, e in enumerate(noise)]
        rows = [row(run, value) for run, value in zip(runs, spread, strict=True)]
        write(place, convergence.EXPERIMENT, rows)


def test_beating_is_judged_seed_by_seed_on_every_set_that_was_run(place):
    ask = claims.CLAIMS["SAL beats the baseline on all data sets but one"]
    assert ask(Ledgers(place), "published").verdict == OPEN
    table(place, "digits", bp=40, sal_16=70)
    table(place, "usps", bp=80, sal_16=90)
    found = ask(Ledgers(place), "published")
    assert found.verdict == HOLDS
    assert found.comparisons["Digits, SAL-16 − Baseline"].mean == pytest.approx(30)
    assert ask(Ledgers(place), "tuned").verdict == OPEN, "there is no tuned run"
    table(place, "mnist", bp=90, sal_16=80)
    table(place, "semeion", bp=90, sal_16=80)
    assert ask(Ledgers(place), "published").verdict == NOT


def test_tuned_runs_are_those_at_the_chosen_step_size(place):
    for column, best in (("Baseline", 3), ("SAL-16", 2)):
        for seed in (5, 6):
            found = [tuning.search("digits", column, step, seed) for step in tuning.GRID]
            searched = [
                row(run, 50 - abs(step - best))
                for step, run in zip(tuning.GRID, found, strict=True)
            ]
            write(place, tuning.EXPERIMENT, searched)
            for step, accuracy in ((best, 95 if column == "Baseline" else 90), (5, 10)):
                final = tuning.final("digits", column, step, seed)
                write(place, tuning.EXPERIMENT, [row(final, accuracy)])
    found = claims.beats(Ledgers(place), "tuned", [("SAL-16", "Baseline")])
    assert found.verdict == NOT
    assert found.comparisons["Digits, SAL-16 − Baseline"].mean == -5


def test_rising_with_areas_is_a_slope_over_doublings(place):
    table(place, "digits", sal_1=50, sal_2=52, sal_4=54, sal_8=56, sal_16=58)
    found = claims.rises_with_areas(Ledgers(place), "published")
    assert found.verdict == HOLDS
    (comparison,) = found.comparisons.values()
    assert comparison.mean == pytest.approx(2)


def test_losses_are_compared_where_the_training_losses_are_equal():
    bp = {"history": {"train_loss": [2.0, 1.0, 0.5], "val_loss": [2.1, 1.4, 1.2]}}
    sal = {"history": {"train_loss": [1.5, 0.75], "val_loss": [1.5, 1.1]}}
    gap = claims._validation_gap(bp, sal)
    assert gap == pytest.approx(1.3 - 1.1), "at 0.75, half way between the baseline's epochs"
    faster = {"history": {"train_loss": [0.4, 0.2], "val_loss": [0.6, 0.5]}}
    assert claims._validation_gap(bp, faster) is None, "it was there within its first epoch"


@pytest.mark.parametrize(("busiest", "verdict"), [(0.5, HOLDS), (0.95, NOT)])
def test_routing_has_collapsed_if_one_area_takes_nearly_all(place, busiest, verdict):
    (runs,) = methods.runs(["sal"], ["digits"], [4]).values()
    shares = [busiest, *[(1 - busiest) / 3] * 3]
    write(place, convergence.EXPERIMENT, [row(runs[0], 50, history={"usage:layer0": [shares]})])
    assert claims.does_not_collapse(Ledgers(place), "published").verdict == verdict


def test_errors_that_need_no_other_layers_weights_are_told_from_those_that_do(monkeypatch, place):
    ask = claims.CLAIMS["Layers can be updated in parallel"]
    assert ask(Ledgers(place), "published").verdict == HOLDS
    assert claims._survives_without_weights("sal")
    assert not claims._survives_without_weights("sal_bp")
    monkeypatch.setattr(credit, "direct", lambda *a: credit.chained(*a, engine="grouped"))
    assert ask(Ledgers(place), "published").verdict == NOT


def test_committed_verdicts_follow_from_committed_rows():
    place = paths.committed()
    for path, text in claims.pages(place).items():
        assert path.read_text(encoding="utf-8") == text, "run nox -s claims"


def test_other_rows_give_other_verdicts(place):
    """The guard can fail: with the baseline's and SAL-16's accuracies exchanged it does."""
    committed = paths.committed()
    rows = [json.loads(line) for line in committed.ledger("table2").read_text().splitlines()]
    claim = "SAL beats the baseline on all data sets but one"
    before = claims.CLAIMS[claim](Ledgers(committed), "published")
    for one in rows:
        one["accuracy"] = None if one["accuracy"] is None else 100 - one["accuracy"]
    write(place, "table2", rows)
    after = claims.CLAIMS[claim](Ledgers(place), "published")
    assert (before.verdict, after.verdict) == (HOLDS, NOT)


def test_every_claim_is_on_the_page_with_both_verdicts(place):
    table(place, "digits", bp=40, sal_1=45, sal_4=50, sal_16=70)
    assert claims.pages(place) == {}, "nothing was tuned"
    write(place, tuning.EXPERIMENT, [row(tuning.search("digits", "Baseline", 0, 5), 40)])
    texts = claims.pages(place)
    page = texts[place.table("claims", "md")].splitlines()
    for claim in claims.CLAIMS:
        (line,) = [line for line in page if line.startswith(f"| {claim} |")]
        assert sum(line.count(f"**{verdict}**") for verdict in (HOLDS, NOT, OPEN)) == 2
