"""Verdicts on the paper's claims: from ledgers made by hand, and from the committed ones."""

import json

import pytest
from rows import row, write

from paper import (
    claims,
    convergence,
    costs,
    entrants,
    measured,
    mechanism,
    methods,
    overfitting,
    paths,
    questions,
    routing,
    scaling,
    tuning,
    verdicts,
)
from paper.claims import CLAIMS
from paper.paired import against_zero
from paper.verdicts import HOLDS, NOT, OPEN, Ledgers, judge
from sal import credit

NOISE = (0.0, 0.01, 0.03, 0.02, 0.05)
UP, DOWN, FLAT = (
    dict(enumerate(values))
    for values in ([5.0, 5.1, 4.9, 5.2, 5.0], [-5.0, -5.1, -4.9, -5.2, -5.0], [1, -1.1, 0.2, -1, 1])
)


def spread(value, seed):
    """A value of a seed, so that seeds differ a little and comparisons are not without spread."""
    return value + NOISE[seed % 5] * (1 + abs(value)) / 10


def add(place, experiment, runs, *accuracies, **changes):
    """Rows of runs with these accuracies by epoch, a little more with each seed."""
    rows = [row(run, *(spread(value, run.seed) for value in accuracies), **changes) for run in runs]
    write(place, experiment, rows)


def table(place, dataset, **accuracies):
    """Rows of Table 2: method and K, such as sal_4, with the accuracies of its epochs."""
    for column, values in accuracies.items():
        name, _, k = column.partition("_")
        (runs,) = methods.runs([name], [dataset], [int(k)] if k else [1]).values()
        add(
            place, convergence.EXPERIMENT, runs, *(values if isinstance(values, list) else [values])
        )


def verdict(place, claim, recipe="published"):
    return CLAIMS[claim].ask(Ledgers(place), recipe).verdict


# The rule


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([UP, UP], HOLDS),
        ([UP], HOLDS),
        ([UP, FLAT], OPEN),
        ([UP, DOWN], NOT),
        ([DOWN], NOT),
        ([FLAT], OPEN),
        ([], OPEN),
        ([{seed: UP[seed] for seed in (0, 1)}], OPEN),
    ],
)
def test_a_claim_holds_if_every_comparison_shows_it_and_not_if_one_shows_the_opposite(
    values, expected
):
    found = judge({("digits", str(n)): against_zero(own) for n, own in enumerate(values)})
    assert found.verdict == expected


def values_of(effect, noise=(-1.0, 0.5, 1.0, -0.5, 0.0)):
    """Five values whose mean is so many of their standard deviations, which is 0.79."""
    return {seed: effect * 0.7906 + each for seed, each in enumerate(noise)}


def test_what_all_have_to_show_needs_no_correction_and_what_one_may_show_does():
    many = {("mnist", str(n)): against_zero(values_of(1.5)) for n in range(28)}
    assert many["mnist", "0"].p < 0.05 < 28 * many["mnist", "0"].p
    assert judge(many).verdict == HOLDS
    one = against_zero(values_of(-1.5))
    assert judge({("usps", "a"): one}).verdict == NOT
    assert judge(many | {("usps", "a"): one}).verdict == OPEN, "one of 29 may be chance"


def test_steps_and_trends_are_corrected_each_among_themselves():
    up = {("usps", "a doubling"): against_zero(values_of(1.5))}
    steps = {("usps", str(n)): against_zero(FLAT) for n in range(9)}
    found = judge(up, steps).comparisons
    assert found["usps", "a doubling"].p_holm == found["usps", "a doubling"].p


def test_seeds_that_hold_out_parts_of_the_same_samples_show_less():
    narrow = against_zero(values_of(1.5))
    with_a_test_part, without = (judge({(name, "a"): narrow}) for name in ("usps", "semeion"))
    assert (with_a_test_part.verdict, without.verdict) == (HOLDS, OPEN)
    one, other = (each.comparisons for each in (with_a_test_part, without))
    assert one["usps", "a"].p == narrow.p < 0.05 < other["semeion", "a"].p


def test_a_step_the_other_way_takes_a_trend_back():
    up = {("digits", "a doubling"): against_zero(UP)}
    assert judge(up, {("digits", "step"): against_zero(FLAT)}).verdict == HOLDS
    found = judge(up, {("digits", "step"): against_zero(DOWN)})
    assert found.verdict == NOT and "1 of 1 steps go the other way" in found.evidence


def test_the_data_sets_that_a_verdict_rests_on_are_named():
    asked = dict.fromkeys((name, "a") for name in ("digits", "usps", "mnist", "svhn"))
    alone = judge(asked | {("digits", "a"): against_zero(UP)}).evidence
    assert "on Digits alone of 4 data sets asked" in alone
    most = judge({what: what[0] != "svhn" and against_zero(UP) or None for what in asked}).evidence
    assert "on 3 of 4 data sets asked (not SVHN)" in most
    assert "all 4 data sets" in judge(dict.fromkeys(asked, against_zero(UP))).evidence


def test_what_was_not_run_counts_for_nothing_and_few_seeds_are_said():
    a, b = ("digits", "a"), ("usps", "b")
    found = judge({a: against_zero(UP), b: None})
    assert found.verdict == HOLDS and list(found.comparisons) == [a]
    lacking = judge({a: against_zero(UP), ("digits", "b"): None, b: None})
    assert lacking.verdict == OPEN, "on a set that was run all have to show it"
    assert lacking.evidence.startswith("1 of 2 comparisons on Digits alone")
    assert lacking.evidence.endswith("; not there: b")
    assert judge({b: None}).evidence == "not run at this recipe"
    few = judge({a: against_zero({0: 1.0, 1: 1.0})})
    assert "1 with too few seeds" in few.evidence


def test_a_run_that_diverged_guesses(place):
    runs = tuning.as_published("digits", "Baseline")
    write(place, "table2", [row(run, 90.0, 80.0) for run in runs[:4]])
    gone = row(runs[4], 70.0) | {"status": "diverged", "accuracy": None}
    write(place, "table2", [gone])
    rows = Ledgers(place).rows("published", "digits", "Baseline")
    assert verdicts.last(rows) == {0: 80, 1: 80, 2: 80, 3: 80, 4: 10}
    assert verdicts.early(rows)[4] == pytest.approx((70 + 4 * 10) / 5)


# The claims, each both ways


@pytest.mark.parametrize(("sal", "expected"), [(70, HOLDS), (30, NOT)])
def test_sal_and_the_baseline(place, sal, expected):
    assert verdict(place, "SAL beats the baseline") == OPEN
    table(place, "digits", bp=40, sal_4=sal)
    assert verdict(place, "SAL beats the baseline") == expected
    assert verdict(place, "SAL beats the baseline", "tuned") == OPEN


def test_pcam_is_the_papers_own_exception(place):
    table(place, "digits", bp=40, sal_4=70)
    table(place, "pcam", bp=80, sal_4=70, moe_4=80)
    for claim in ("SAL beats the baseline", "SAL beats a mixture of experts"):
        assert not any(
            dataset == "pcam"
            for dataset, _ in CLAIMS[claim].ask(Ledgers(place), "published").comparisons
        )


@pytest.mark.parametrize(
    ("claim", "columns"),
    [
        ("SAL beats a baseline with as many parameters in all", [("SAL-16", entrants.WIDE_COLUMN)]),
        ("SAL beats FA and DFA", [("SAL-4", "FA"), ("SAL-16", "DFA")]),
        ("Several areas beat one", [("SAL-4", "SAL-1"), ("SAL-16", "SAL-1")]),
        (
            "SAL needs the larger step of its areas",
            [("SAL-4", "SAL-4, step / 4"), ("SAL-16", "SAL-16, step / 16")],
        ),
    ],
)
@pytest.mark.parametrize(("first", "second", "expected"), [(70, 60, HOLDS), (60, 70, NOT)])
def test_our_own_questions(place, claim, columns, first, second, expected):
    done = set()
    for ends in columns:
        for column, accuracy in zip(ends, (first, second), strict=True):
            if column not in done:
                runs = tuning.as_published("usps", column)
                add(place, convergence.EXPERIMENT, runs, accuracy)
                done.add(column)
    assert verdict(place, claim) == expected


def test_tuned_runs_are_those_at_the_chosen_step_size(place):
    for column, best in (("Baseline", 3), ("SAL-4", 2)):
        for seed in tuning.FRESH:
            searched = [tuning.search("digits", column, step, seed) for step in tuning.GRID]
            rows = [row(run, 50 - abs(step - best)) for step, run in enumerate(searched)]
            write(place, tuning.EXPERIMENT, rows)
            for step, accuracy in ((best, 95 if column == "Baseline" else 90), (5, 10)):
                add(
                    place, tuning.EXPERIMENT, [tuning.final("digits", column, step, seed)], accuracy
                )
    found = CLAIMS["SAL beats the baseline"].ask(Ledgers(place), "tuned")
    assert found.verdict == NOT
    assert found.comparisons["digits", "SAL-4 − Baseline"].mean == pytest.approx(-5, abs=0.1)


@pytest.mark.parametrize(("gain", "expected"), [(2, HOLDS), (-2, NOT)])
def test_rising_with_areas_is_a_slope_over_doublings(place, gain, expected):
    table(place, "digits", **{f"sal_{2**n}": 50 + gain * n for n in range(5)})
    for claim, more in (("Accuracy rises with K", 0), ("Accuracy rises with K, or stays", 0.25)):
        found = CLAIMS[claim].ask(Ledgers(place), "published")
        assert found.verdict == expected
        trend = found.comparisons["digits", "a doubling of K, 1 to 16"]
        assert trend.mean == pytest.approx(gain + more, abs=0.05)
        table(place, "svhn", **{f"sal_{2**n}": 50 - gain * n for n in range(5)})
        again = CLAIMS[claim].ask(Ledgers(place), "published")
        assert again.verdict == expected, "the paper does not say it of SVHN"


@pytest.mark.parametrize(("gain", "expected"), [(-0.15, HOLDS), (-0.5, NOT)])
def test_staying_is_no_falling(place, gain, expected):
    table(place, "digits", **{f"sal_{2**n}": 50 + gain * n for n in range(5)})
    assert verdict(place, "Accuracy rises with K, or stays") == expected
    assert verdict(place, "Accuracy rises with K") == NOT


def scaled(place, figure, dataset, method, accuracies, **changes):
    """Rows of figure 2 or 3: depth or width -> accuracy."""
    experiment = scaling.EXPERIMENTS[figure]
    cells = scaling.runs(experiment, [dataset], list(accuracies), [method])
    for (_, _, value), runs in cells.items():
        add(place, experiment.name, runs, accuracies[value], **changes)


@pytest.mark.parametrize(("lead", "expected"), [(1, HOLDS), (-1, NOT)])
def test_the_gap_over_depth(place, lead, expected):
    depths = (2, 4, 8, 16)
    scaled(place, "figure2", "stl10", "bp", dict.fromkeys(depths, 30.0))
    scaled(place, "figure2", "stl10", "sal", {d: 40 + lead * n for n, d in enumerate(depths)})
    claim = "The gap between SAL and the baseline grows with depth"
    assert verdict(place, claim) == expected
    assert CLAIMS[claim].ask(Ledgers(place), "tuned") is verdicts.NOT_RUN


@pytest.mark.parametrize(("lead", "expected"), [(1, HOLDS), (-1, NOT)])
def test_the_gap_over_depth_at_each_methods_own_step_size(place, lead, expected):
    for n, depth in enumerate(entrants.DEPTHS):
        for name, accuracy in (("Baseline", 80 - n), ("SAL-4", 85 - n + lead * n)):
            column = entrants.deep_column(name, depth)
            for seed in tuning.FRESH:
                steps = [tuning.search("semeion", column, step, seed) for step in tuning.GRID]
                write(
                    place, tuning.EXPERIMENT, [row(r, 9 - abs(s - 3)) for s, r in enumerate(steps)]
                )
                add(place, tuning.EXPERIMENT, [tuning.final("semeion", column, 3, seed)], accuracy)
    claim = "The gap between SAL and the baseline grows with depth"
    assert verdict(place, claim, "tuned") == expected
    assert verdict(place, claim) == OPEN
    assert verdict(place, "On Semeion the baseline improves steadily with depth", "tuned") == NOT


def test_width_and_the_degradation_are_asked_at_the_papers_step_size_alone(place):
    for claim in ("Width raises SAL's bound", "The baseline degrades with depth"):
        found = CLAIMS[claim].ask(Ledgers(place), "tuned")
        assert found.verdict == OPEN and found.evidence.startswith("not asked")


def test_a_gap_that_grows_and_shrinks_does_not_grow(place):
    scaled(place, "figure2", "semeion", "bp", dict.fromkeys((2, 4, 8, 16, 32), 30.0))
    scaled(place, "figure2", "semeion", "sal", {2: 40, 4: 45, 8: 60, 16: 70, 32: 50})
    found = CLAIMS["The gap between SAL and the baseline grows with depth"].ask(
        Ledgers(place), "published"
    )
    assert found.verdict == NOT
    assert found.comparisons["semeion", "a doubling of depth, 2 to 32"].sign == 1
    assert found.comparisons["semeion", "depth 32 − depth 16"].sign == -1


def test_what_has_not_all_seeds_takes_no_verdict_away(place):
    scaled(place, "figure2", "stl10", "bp", {2: 30, 8: 40, 32: 35})
    scaled(place, "figure2", "stl10", "sal", {2: 30, 8: 45, 32: 48})
    claims_of_depth = (
        "The gap between SAL and the baseline grows with depth",
        "The baseline degrades with depth",
    )
    assert [verdict(place, claim) for claim in claims_of_depth] == [HOLDS] * 2
    experiment = scaling.EXPERIMENTS["figure2"]
    (runs,) = scaling.runs(experiment, ["stl10"], [64], ["bp"]).values()
    add(place, experiment.name, runs[:2], 90)
    assert [verdict(place, claim) for claim in claims_of_depth] == [HOLDS] * 2


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [({2: 30, 8: 40, 32: 35}, HOLDS), ({2: 30, 8: 40, 32: 45}, NOT), ({2: 30, 8: 40}, OPEN)],
)
def test_degradation_is_from_the_middle_to_the_deepest_and_not_of_semeion(
    place, accuracies, expected
):
    scaled(place, "figure2", "stl10", "bp", accuracies)
    scaled(place, "figure2", "semeion", "bp", {2: 90, 4: 80, 8: 70, 16: 60})
    assert verdict(place, "The baseline degrades with depth") == expected
    assert verdict(place, "On Semeion the baseline improves steadily with depth") == NOT


@pytest.mark.parametrize(("deepest", "expected"), [(46, HOLDS), (30, NOT)])
def test_sal_is_stable_if_it_loses_less_than_the_baseline(place, deepest, expected):
    scaled(place, "figure2", "stl10", "bp", {2: 30, 8: 40, 32: 35})
    assert verdict(place, "SAL degrades less with depth than the baseline") == OPEN
    scaled(place, "figure2", "stl10", "sal", {2: 30, 8: 48, 32: deepest})
    assert verdict(place, "SAL degrades less with depth than the baseline") == expected


def test_an_improvement_that_breaks_off_and_comes_again_is_not_steady(place):
    scaled(place, "figure2", "semeion", "bp", {2: 50, 4: 60, 8: 40, 16: 70})
    claim = "On Semeion the baseline improves steadily with depth"
    found = CLAIMS[claim].ask(Ledgers(place), "published")
    assert found.verdict == NOT
    assert list(found.comparisons) == [
        ("semeion", "depth 4 − depth 2"),
        ("semeion", "depth 8 − depth 4"),
        ("semeion", "depth 16 − depth 8"),
    ]


def test_a_net_that_diverges_with_depth_degrades(place):
    scaled(place, "figure2", "stl10", "bp", {2: 30, 8: 40})
    scaled(place, "figure2", "stl10", "bp", {32: 45}, status="diverged", accuracy=None)
    runs = scaling.runs(scaling.EXPERIMENTS["figure2"], ["stl10"], [2], ["bp"])
    assert len(runs) == 1
    found = CLAIMS["The baseline degrades with depth"].ask(Ledgers(place), "published")
    (comparison,) = found.comparisons.values()
    assert comparison.mean == pytest.approx(30, abs=0.5), "40 minus guessing one of ten"


@pytest.mark.parametrize(("gain", "expected"), [(2, HOLDS), (-2, NOT)])
def test_improving_on_semeion_and_width(place, gain, expected):
    scaled(place, "figure2", "semeion", "bp", {2**n: 50 + gain * n for n in range(1, 5)})
    assert verdict(place, "On Semeion the baseline improves steadily with depth") == expected
    assert verdict(place, "On Semeion SAL improves steadily with depth") == OPEN
    scaled(place, "figure2", "semeion", "sal", {2**n: 50 + gain * n for n in range(1, 5)})
    assert verdict(place, "On Semeion SAL improves steadily with depth") == expected
    scaled(place, "figure3", "semeion", "sal", {256 * 2**n: 60 + gain * n for n in range(5)})
    scaled(place, "figure3", "semeion", "bp", {256 * 2**n: 59 - gain * n for n in range(5)})
    assert verdict(place, "Width raises SAL's bound") == expected
    assert verdict(place, "SAL is ahead of the baseline at every width") == expected


def test_a_width_that_was_not_run_is_not_shown_and_depths_not_run_are_named(place):
    scaled(place, "figure3", "semeion", "sal", {256: 70, 512: 70})
    scaled(place, "figure3", "semeion", "bp", {256: 50, 512: 50, 1024: 50})
    claim = CLAIMS["SAL is ahead of the baseline at every width"]
    found = claim.ask(Ledgers(place), "published")
    assert found.verdict == OPEN and "2 of 5 comparisons" in found.evidence
    assert found.evidence.endswith("width 2048, SAL-4 − Baseline, width 4096")
    scaled(place, "figure2", "stl10", "bp", {2: 30, 8: 40, 32: 35})
    found = CLAIMS["The baseline degrades with depth"].ask(Ledgers(place), "published")
    assert "depth 8 − depth 32 (64, 128 not run)" in found.evidence


def beside_the_mixture(place, dataset, sal, moe):
    curves = {"sal": sal, "moe": moe}
    table(
        place,
        dataset,
        **{f"{name}_{k}": own for name, own in curves.items() for k in (2, 4, 8, 16)},
    )


def test_early_and_late_are_told_apart_beside_the_mixture(place):
    final, first = (
        "SAL beats a mixture of experts",
        "SAL learns faster than a mixture of experts at first",
    )
    beside_the_mixture(place, "mnist", [60] * 5 + [70] * 20, [50] * 5 + [80] * 20)
    assert [verdict(place, claim) for claim in (first, final)] == [HOLDS, NOT]
    beside_the_mixture(place, "stl10", [40] * 5 + [90] * 20, [50] * 5 + [80] * 20)
    assert verdict(place, first) == NOT


def test_what_the_paper_says_of_the_mixture_is_asked_of_the_sets_that_it_names(place):
    final, first = (
        "SAL beats a mixture of experts",
        "SAL learns faster than a mixture of experts at first",
    )
    beside_the_mixture(place, "mnist", 70, 50)
    beside_the_mixture(place, "digits", 50, 70)
    assert [verdict(place, claim) for claim in (final, first)] == [HOLDS, HOLDS]
    for claim in (final, first):
        assert verdict(place, f"{claim} on all data sets") == NOT


def test_at_each_methods_own_step_size_only_what_is_tuned_is_asked(place):
    for k, accuracy in ((4, 90), (16, 95)):
        for name, less in (("SAL", 0), ("MoE", 5)):
            for seed in tuning.FRESH:
                runs = [tuning.search("mnist", f"{name}-{k}", step, 10) for step in tuning.GRID]
                write(
                    place, tuning.EXPERIMENT, [row(r, 9 - abs(s - 3)) for s, r in enumerate(runs)]
                )
                last = tuning.final("mnist", f"{name}-{k}", 3, seed)
                add(place, tuning.EXPERIMENT, [last], accuracy - less)
    assert verdict(place, "SAL beats a mixture of experts", "tuned") == HOLDS


def test_losses_are_compared_where_the_training_losses_are_equal():
    bp = {"history": {"train_loss": [2.0, 1.0, 0.5], "val_loss": [2.1, 1.4, 1.2]}}
    sal = {"history": {"train_loss": [1.5, 0.75], "val_loss": [1.5, 1.1]}}
    gap = overfitting._validation_gap(bp, sal)
    assert gap == pytest.approx(1.3 - 1.1), "at 0.75, half way between the baseline's epochs"
    faster = {"history": {"train_loss": [0.4, 0.2], "val_loss": [0.6, 0.5]}}
    assert overfitting._validation_gap(bp, faster) is None, "it was there within its first epoch"


@pytest.mark.parametrize(("sal", "expected"), [(1.0, HOLDS), (1.4, NOT)])
def test_overfitting(place, sal, expected):
    for column, loss in (("bp", 1.2), ("sal_4", sal), ("sal_16", sal)):
        name, _, k = column.partition("_")
        (runs,) = methods.runs([name], ["digits"], [int(k)] if k else [1]).values()
        for run in runs:
            history = {"train_loss": [2.0, 1.0], "val_loss": [2.0, spread(loss, run.seed)]}
            write(place, convergence.EXPERIMENT, [row(run, 50, history=history)])
    assert verdict(place, "SAL overfits less than backpropagation") == expected


@pytest.mark.parametrize(("sal", "expected"), [(1.0, HOLDS), (1.4, NOT)])
def test_overfitting_of_deep_nets(place, sal, expected):
    claim = CLAIMS["Deep, SAL overfits less than backpropagation"]
    assert claim.ask(Ledgers(place), "published").verdict == OPEN
    nets = (
        ("figure2", "stl10", 8),
        ("figure2", "semeion", 64),
        ("figure3", "semeion", 256),  # the same net
        ("figure3", "semeion", 512),
    )
    for figure, dataset, value in nets:
        for method, loss in (("bp", 1.2), ("sal", sal)):
            experiment = scaling.EXPERIMENTS[figure]
            (runs,) = scaling.runs(experiment, [dataset], [value], [method]).values()
            for run in runs:
                history = {"train_loss": [2.0, 1.0], "val_loss": [2.0, spread(loss, run.seed)]}
                write(place, experiment.name, [row(run, 50, history=history)])
    found = claim.ask(Ledgers(place), "published")
    assert found.verdict == expected
    assert list(found.comparisons) == [
        ("semeion", "Baseline − SAL-4, depth 64 at 1 nats"),
        ("stl10", "Baseline − SAL-4, depth 8 at 1 nats"),
        ("semeion", "Baseline − SAL-4, width 512 at 1 nats"),
    ]
    assert claim.ask(Ledgers(place), "tuned").verdict == OPEN


@pytest.mark.parametrize(("busiest", "expected"), [(0.5, HOLDS), (0.95, NOT)])
def test_routing_has_collapsed_if_one_area_takes_nearly_all(place, busiest, expected):
    (runs,) = methods.runs(["sal"], ["digits"], [4]).values()
    shares = [busiest, *[(1 - busiest) / 3] * 3]
    add(place, convergence.EXPERIMENT, runs, 50, history={"usage:layer0": [shares]})
    assert verdict(place, "Routing does not collapse") == expected


def test_one_collapsed_cell_among_many_runs_is_a_collapse(place):
    for k, collapsed in ((2, 0), (4, 0), (8, 2), (16, 3)):
        for dataset in ("digits", "usps", "semeion"):
            (runs,) = methods.runs(["sal"], [dataset], [k]).values()
            for run in runs:
                busiest = 0.99 if dataset == "usps" and run.seed < collapsed else 0.5
                shares = [busiest, *[(1 - busiest) / (k - 1)] * (k - 1)]
                history = {"usage:layer0": [shares]}
                write(place, convergence.EXPERIMENT, [row(run, 50, history=history)])
    found = CLAIMS["Routing does not collapse"].ask(Ledgers(place), "published")
    assert found.verdict == NOT
    assert "in 1 of 12 cells" in found.evidence and ": USPS SAL-16;" in found.evidence
    assert "in 5 of 60 runs" in found.evidence


@pytest.mark.parametrize(("spread", "expected"), [(8.0, HOLDS), (0.2, NOT), (1.0, OPEN)])
def test_sensitivity_is_the_spread_over_draws_of_routing_alone(place, spread, expected):
    claim = "Results are sensitive to how routing starts"
    assert verdict(place, claim) == OPEN
    for cell, runs in routing.runs({}, routing.DATASETS_ASKED).items():
        assert cell[1] == "published", "no step size was chosen"
        rows = [row(run, 50 + spread * (-1) ** n) for n, run in enumerate(runs)]
        write(place, routing.EXPERIMENT, rows[:-1])
        assert not routing.spreads({}, Ledgers(place).of(routing.EXPERIMENT)).get(cell)
        write(place, routing.EXPERIMENT, rows[-1:])
    assert verdict(place, claim) == expected
    assert verdict(place, claim, "tuned") == OPEN


def test_errors_that_need_no_other_layers_weights_are_told_from_those_that_do(monkeypatch, place):
    claim = "Layers can be updated in parallel"
    assert verdict(place, claim) == HOLDS
    monkeypatch.setattr(credit, "direct", lambda *a: credit.chained(*a, engine="grouped"))
    assert verdict(place, claim) == NOT
    monkeypatch.undo()
    monkeypatch.setattr(questions, "_survives_without_weights", lambda name: True)
    assert verdict(place, claim) == OPEN, "the control does not fail"


def test_costs_are_operations_and_time(place):
    cheap, dear = (
        "A sample costs as many operations as in a dense layer",
        "A sample takes as long as in a dense layer",
    )
    assert verdict(place, cheap) == OPEN
    nets = [
        {"width": costs.FIXED_WIDTH, "areas": k, "operations": 100.0 + k, "active_share": 1 / k}
        | {"us_a_sample": [float(k)] * 3}
        for k in (1, 4)
    ]
    nets.append(nets[1] | {"areas": 16, "operations": 105.0, "us_a_sample": [3.0] * 3})
    measured.write(place, "costs", {"nets": nets})
    assert (verdict(place, cheap), verdict(place, dear)) == (HOLDS, NOT)


@pytest.mark.parametrize(("sal", "expected"), [(0.1, HOLDS), (0.5, NOT)])
def test_interference_is_compared_where_it_is_defined(place, sal, expected):
    claim, further, beside = (
        "Areas reduce the interference of gradients",
        "Which area a sample takes reduces it further",
        "There is less interference than in a mixture of experts",
    )
    cells = mechanism.runs({}, ["digits"])
    for (_, recipe, column), runs in cells.items():
        assert recipe == "published"
        value = sal if column in ("SAL-4", "SAL-16") else 0.3
        for run in runs:
            history = {"conflict:layer0": [None, spread(value, run.seed)]}
            write(place, mechanism.EXPERIMENT, [row(run, 50, history=history)])
    dead = row(cells["digits", "published", "MoE-4"][0], 50, history={"conflict:layer0": [None]})
    write(place, mechanism.EXPERIMENT, [dead])
    assert verdict(place, claim) == verdict(place, further) == expected
    assert CLAIMS[beside].ask(Ledgers(place), "published").comparisons


def test_a_hash_that_conflicts_as_little_takes_the_merit_from_the_router(place):
    for (_, _, column), runs in mechanism.runs({}, ["digits"]).items():
        value = 0.3 if column in ("Baseline", "SAL-1") else 0.1
        for run in runs:
            history = {"conflict:layer0": [spread(value, run.seed)]}
            write(place, mechanism.EXPERIMENT, [row(run, 50, history=history)])
    assert verdict(place, "Areas reduce the interference of gradients") == HOLDS
    assert verdict(place, "Which area a sample takes reduces it further") == OPEN


@pytest.mark.parametrize(("sal", "expected"), [(0.1, HOLDS), (-0.3, NOT)])
def test_agreement_within_an_area(place, sal, expected):
    for (_, _, column), runs in mechanism.runs({}, ["digits"]).items():
        value = sal if column in ("SAL-4", "SAL-16") else -0.1
        for run in runs:
            history = {"within:layer0": [None, spread(value, run.seed)]}
            write(place, mechanism.EXPERIMENT, [row(run, 50, history=history)])
    assert verdict(place, "Classes that share an area agree better") == expected


# The page, and the committed one


def test_every_claim_is_on_the_page_with_both_verdicts(place):
    table(place, "digits", bp=40, sal_1=45, sal_4=50, sal_16=70)
    assert claims.pages(place) == {}, "nothing was tuned"
    write(place, tuning.EXPERIMENT, [row(tuning.search("digits", "Baseline", 0, 5), 40)])
    texts = claims.pages(place)
    page = texts[place.table("claims", "md")].splitlines()
    for claim in CLAIMS:
        (line,) = [line for line in page if line.startswith(f"| {claim} |")]
        assert sum(line.count(f"**{each}**") for each in (HOLDS, NOT, OPEN)) == 2


def test_committed_verdicts_follow_from_committed_rows():
    place = paths.committed()
    texts = claims.pages(place)
    there = {place.table("claims", suffix) for suffix in ("md", "csv")}
    assert set(texts) == {path for path in there if path.exists()}
    for path, text in texts.items():
        assert path.read_text(encoding="utf-8") == text, "run nox -s claims"


def test_other_rows_give_another_page(place):
    """The guard can fail: with every accuracy taken from a hundred it does."""
    committed = paths.committed()
    ledgers = {name: committed.ledger(name).read_text() for name in ("table2", "tuning")}
    for name, text in ledgers.items():
        rows = [json.loads(line) for line in text.splitlines()]
        for one in rows:
            one["accuracy"] = None if one["accuracy"] is None else 100 - one["accuracy"]
        write(place, name, rows)
    before, after = (
        next(line for line in text.splitlines() if line.startswith("| SAL beats a mixture"))
        for where in (committed, place)
        for path, text in claims.pages(where).items()
        if path.suffix == ".md"
    )
    assert before != after
