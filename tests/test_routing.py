"""Routing drawn again: what differs between its runs, the spread's interval, page and figure."""

from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from rows import row, write
from scipy import stats

from paper import methods, routing, tuning
from sal.train import Protocol


def test_draws_differ_in_nothing_but_routing_or_in_all_else_and_none_is_a_seed_of_the_tables():
    cells = routing.runs({}, ["digits", "usps"])
    assert set(cells) == {
        (name, "published", k, part)
        for name in ("digits", "usps")
        for k in (4, 16)
        for part in routing.PARTS
    }
    for (dataset, _, k, part), runs in cells.items():
        draws = [run.config.routing_seed if part == "routing" else run.seed for run in runs]
        assert len(set(draws)) == len(runs) == routing.DRAWS
        assert not set(draws) & {*tuning.PUBLISHED_SEEDS, *tuning.FRESH, tuning.SEARCH_SEED}
        (sal, *_) = methods.runs(["sal"], [dataset], [k]).popitem()[1]
        for run in runs:
            other = run.seed if part == "routing" else run.config.routing_seed
            assert (other, run.dataset, run.protocol) == (sal.seed, dataset, sal.protocol)
            theirs = run.config.to_dict()
            assert theirs == sal.config.to_dict() | {"routing_seed": theirs["routing_seed"]}


def test_at_its_own_step_size_the_seed_is_one_whose_test_part_the_search_has_not_seen(place):
    seed = tuning.FRESH[0]
    for step in tuning.GRID:
        run = tuning.search("digits", "SAL-4", step, seed)
        write(place, tuning.EXPERIMENT, [row(run, 50 - abs(step - 3))])
    cells = routing.runs(tuning.ledgers(place), ["digits"])
    assert {cell[2] for cell in cells if cell[1] == "tuned"} == {4}, "SAL-16 was not searched"
    runs = cells["digits", "tuned", 4, "routing"]
    assert {(run.seed, run.protocol) for run in runs} == {(seed, Protocol(lr=tuning.rate(3)))}


def test_the_interval_is_the_textbooks_and_wider_among_many():
    values = [1.0, 2.0, 4.0, 8.0, 9.0]
    found, std = routing.spread(values), np.std(values, ddof=1)
    assert found.std == pytest.approx(std)
    assert found.low == pytest.approx(std * np.sqrt(4 / stats.chi2.ppf(0.975, 4)))
    assert found.high == pytest.approx(std * np.sqrt(4 / stats.chi2.ppf(0.025, 4)))
    among = routing.spread(values, 4)
    assert among.low < found.low < found.high < among.high


def test_the_interval_covers_the_spread_of_normal_accuracies_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(90, 2.0, (2000, routing.DRAWS))
    found = [routing.spread(own) for own in draws]
    share = np.mean([own.low < 2.0 < own.high for own in found])
    assert share == pytest.approx(0.95, abs=0.02)


def test_every_net_without_a_step_size_of_its_own_is_named(place, monkeypatch, capsys):
    monkeypatch.setattr(routing.paths, "committed", lambda: place)
    trained = []
    monkeypatch.setattr(
        routing, "train", lambda runs, *_: trained.extend(runs) or SimpleNamespace(tell=lambda _: 0)
    )
    for step in tuning.GRID:
        run = tuning.search("digits", "SAL-4", step, tuning.FRESH[0])
        write(place, tuning.EXPERIMENT, [row(run, 50 - abs(step - 3))])
    assert routing.main(["--datasets", "digits"]) == 1
    assert "no step size was chosen yet for SAL-16 on Digits" in capsys.readouterr().out
    assert len(trained) == 3 * len(routing.PARTS) * routing.DRAWS


def test_page_and_figure_are_of_full_cells_and_a_run_that_diverged_guesses(place):
    assert routing.pages(place) == {}
    runs = routing.runs({}, ["digits"])["digits", "published", 4, "routing"]
    rows = [row(run, 40.0 + n) for n, run in enumerate(runs)]
    write(place, routing.EXPERIMENT, rows[:-1])
    assert routing.pages(place) == {}, "a draw is missing"
    write(place, routing.EXPERIMENT, [rows[-1] | {"status": "diverged", "accuracy": None}])
    page = routing.pages(place)[place.table("routing", "md")]
    (line,) = [line for line in page.splitlines() if line.startswith("| Digits |")]
    assert "| published | SAL-4 | routing | 20 |" in line and "10.00 to 58.00" in line
    routing.write(place, Console(quiet=True))
    assert place.figure("routing", "png").exists()
    figure = routing.draw(routing.table(routing._found(place)))
    assert [text.get_text() for text in figure.axes[1].texts] == ["not run"]
