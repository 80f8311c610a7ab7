"""Paired comparisons: against closed forms, scipy's and statsmodels' own numbers, and extremes."""

import math

import numpy as np
import pytest
from scipy import stats

from paper import paired
from paper.paired import Comparison, against_zero, holm, overlap, resampled, slope

VALUES = {0: 1.0, 1: 2.5, 2: 0.5, 3: 3.0, 4: 1.5}


def test_only_seeds_that_both_have_are_compared():
    found = paired.paired({0: 3.0, 1: 5.0, 2: 9.0}, {0: 1.0, 1: 2.0, 7: 0.0})
    assert found.n == 2 and found.mean == 2.5


def test_mean_test_and_effect_are_those_of_the_textbook():
    found = against_zero(VALUES)
    values = np.array(list(VALUES.values()))
    t = values.mean() / (values.std(ddof=1) / math.sqrt(5))
    assert found.mean == pytest.approx(values.mean())
    assert found.p == pytest.approx(2 * stats.t.sf(t, 4))
    assert found.effect == pytest.approx(t / math.sqrt(5))
    assert found.p_holm == found.p


def test_the_interval_is_of_the_resampled_means_and_the_same_each_time():
    first, again = against_zero(VALUES), against_zero(VALUES)
    assert (first.low, first.high) == (again.low, again.high)
    means = [
        np.mean(np.random.default_rng(n).choice(list(VALUES.values()), 5)) for n in range(20_000)
    ]
    assert first.low == pytest.approx(np.percentile(means, 2.5), abs=0.06)
    assert first.high == pytest.approx(np.percentile(means, 97.5), abs=0.06)


def test_without_spread_a_difference_is_sure_and_none_is_none():
    sure = against_zero(dict.fromkeys(range(5), -0.3))
    assert (sure.p, sure.sign, sure.low, sure.high) == (0, -1, sure.mean, sure.mean)
    assert sure.effect == -math.inf
    none = against_zero({0: 0.0, 1: 0.0})
    assert (none.p, none.sign, none.effect) == (1, 0, 0)


def test_one_run_is_not_compared():
    assert against_zero({0: 1.0}) is None


def test_holms_correction_multiplies_the_smallest_by_their_number_and_skips_what_is_missing():
    small, large = against_zero(VALUES), against_zero({0: 1.0, 1: -1.2, 2: 0.1})
    found = holm({"a": large, "b": None, "c": small})
    assert found["b"] is None
    assert found["c"].p_holm == pytest.approx(2 * small.p)
    assert found["a"].p_holm == pytest.approx(max(2 * small.p, large.p))
    assert found["c"].p == small.p
    assert holm({"a": None}) == {"a": None}


def test_what_is_significant_alone_need_not_be_among_many():
    alone = against_zero(VALUES)
    assert alone.sign == 1
    many = holm({n: against_zero(VALUES) for n in range(5)})
    assert all(each.sign == 0 for each in many.values())


def test_seeds_that_share_samples_have_the_variance_of_nadeau_and_bengio():
    values = np.array(list(VALUES.values()))
    found = resampled(against_zero(VALUES), 0.25)
    t = values.mean() / math.sqrt((1 / 5 + 0.25) * values.var(ddof=1))
    assert found.p == found.p_holm == pytest.approx(2 * stats.t.sf(t, 4))
    assert resampled(against_zero(VALUES), 0) == against_zero(VALUES)
    sure = against_zero(dict.fromkeys(range(5), -0.3))
    assert resampled(sure, 0.25) == sure


def test_the_correction_keeps_the_level_where_differences_are_correlated():
    ratio, n, rng = 0.25, 5, np.random.default_rng(0)
    rho = ratio / (1 + ratio)
    shared, own = rng.normal(size=(2000, 1)), rng.normal(size=(2000, n))
    draws = math.sqrt(rho) * shared + math.sqrt(1 - rho) * own
    mean, effect = draws.mean(axis=1), draws.mean(axis=1) / draws.std(axis=1, ddof=1)
    plain = stats.ttest_1samp(draws, 0, axis=1).pvalue
    found = [Comparison(n, m, m, m, p, d, p) for m, d, p in zip(mean, effect, plain, strict=True)]
    corrected = np.array([resampled(each, ratio).p for each in found])
    assert np.mean(plain < 0.05) > 0.1, "without it seeds show what is not there"
    assert abs(np.mean(corrected < 0.05) - 0.05) < 0.02


def test_only_sets_without_a_test_part_share_samples():
    assert overlap("digits") == overlap("semeion") == pytest.approx(0.25)
    assert overlap("usps") == overlap("stl10") == overlap("cifar10") == 0


def test_a_slope_is_the_change_for_each_doubling():
    assert slope({1: 5.0, 2: 8.0, 4: 11.0, 16: 17.0}) == pytest.approx(3)
