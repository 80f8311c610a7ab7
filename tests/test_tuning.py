"""Matched tuning: choices from curves made by hand, and that the test part is not read first."""

import argparse
import math
from dataclasses import replace

import pytest
import torch
from matplotlib import pyplot as plt
from rich.console import Console
from rows import row, write

from baselines import FA, learner_class
from paper import entrants, paths, runner, scaling, tuning
from paper.results import append, read
from sal import SAL
from sal.data import find, known_digest, load
from sal.data.dataset import Dataset
from sal.data.partition import partition
from sal.streams import Streams
from sal.train import Protocol

COLUMN = "Baseline"
QUIET = Console(quiet=True)
OPTIONS = argparse.Namespace(device="cpu", jobs=1, backend="here", scheduler=None, submit=[])
ARGUMENTS = ("--datasets", "digits", "--backend", "here")


@pytest.fixture
def contestants(plugins):
    """As ``plugins``, and the tuning knows them."""

    def register(**found):
        plugins(**found)
        entrants.two_layer.cache_clear()

    yield register
    entrants.two_layer.cache_clear()


def pretend(monkeypatch, accuracy):
    """Rows without training: ``accuracy`` of each run, which fails where that is None.

    Gives (place, experiment, run) of each.
    """
    made = []

    def make(runs, experiment, place, console, **options):
        made.extend((place, experiment, run) for run in runs)
        found = {run: accuracy(run) for run in runs}
        write(place, experiment, [row(run, got) for run, got in found.items() if got is not None])
        failed = {run.label: "it fell over" for run, got in found.items() if got is None}
        return runner.Summary(done=len(runs) - len(failed), failed=failed)

    monkeypatch.setattr("paper.options.make", make)
    monkeypatch.setattr("paper.options.load", lambda name: None)
    return made


@pytest.fixture
def committed(place, monkeypatch):
    """A place that is taken for the committed one; of all that is written, the page is."""
    for other in (tuning.convergence, tuning.against_moe):
        monkeypatch.setattr(other, "write", lambda *arguments: None)
    monkeypatch.setattr(tuning.style, "save", lambda figures, place: plt.close("all"))
    monkeypatch.setattr(paths, "committed", lambda: place)
    monkeypatch.setattr(paths, "IS_CHECKOUT", True)
    monkeypatch.setattr(paths, "README", place.root / "none.md")
    return place


def best_at(lr):
    """An accuracy that is the higher, the nearer the step size to ``lr``."""
    return lambda run: 90 - abs(math.log10(run.protocol.lr / lr))


def curve(*accuracies, first=0):
    return dict(enumerate(accuracies, start=first))


def test_the_grid_has_eight_step_sizes_half_a_decade_apart_from_the_papers_up():
    rates = [tuning.rate(step) for step in tuning.GRID]
    assert len(rates) == 8 and rates[0] == Protocol.lr
    ratios = [b / a for a, b in zip(rates[:-1], rates[1:], strict=True)]
    assert ratios == pytest.approx([10**0.5] * 7, rel=1e-3)


def test_every_step_size_of_the_grid_is_tried_before_any_is_chosen():
    assert tuning.wanted({}) == list(tuning.GRID)
    assert tuning.wanted(curve(1, 2, 3)) == [3, 4, 5, 6, 7]
    assert tuning.chosen(curve(1, 3, 2)) is None


def test_the_best_is_chosen_and_the_smallest_of_equals():
    assert tuning.chosen(curve(1, 2, 5, 4, 3, 2, 1, 0)) == 2
    assert tuning.chosen(curve(1, 2, 5, 4, 5, 2, 1, 0)) == 2


def test_a_step_size_that_diverged_is_never_the_best():
    assert tuning.chosen(curve(1, 2, *[-math.inf] * 6)) == 1


def test_a_step_size_that_leaves_more_than_guessings_loss_is_not_chosen_and_still_shown(place):
    losses = {0: 2.2, 1: math.log(10), 2: math.log(10) + 0.01, 3: 900.0}
    for step in tuning.GRID:
        run = tuning.search("usps", "SAL-16", step, tuning.SEARCH_SEED)
        write(
            place,
            tuning.EXPERIMENT,
            [row(run, 90.0 + min(step, 3), train_loss=losses.get(step, 900.0))],
        )
    by_run = tuning.ledgers(place)
    assert tuning.chosen(tuning.curve(by_run, "usps", "SAL-16", tuning.SEARCH_SEED)) == 1
    frame = tuning.table(tuning.results(by_run))
    shown = frame[(frame["column"] == "SAL-16") & (frame["part"] == "search")]
    assert list(shown["mean"]) == [90, 91, 92, *[93] * 5] and not shown["diverged"].any()


@pytest.mark.parametrize(
    ("found", "next_step"),
    [
        (curve(1, 2, 3, 4, 5, 6, 7, 8), 8),
        (curve(8, 7, 6, 5, 4, 3, 2, 1), -1),
        (curve(9, 8, 7, 6, 5, 4, 3, 2, 1, first=-1), -2),
    ],
)
def test_a_best_at_an_end_extends_the_grid(found, next_step):
    assert tuning.wanted(found) == [next_step]
    assert tuning.chosen(found) is None
    assert tuning.wanted(found | {next_step: 0}) == []


def test_the_grid_is_not_extended_for_ever():
    found = curve(*range(len(tuning.REACH)), first=tuning.REACH[0])
    assert tuning.wanted(found) == []
    assert tuning.chosen(found) == tuning.REACH[-1]


def column_of(run):
    """The contestant that a run is of."""
    (column,) = [
        column
        for column, contestant in entrants.two_layer().items()
        if contestant == (run.learner, run.config)
    ]
    return column


PEAKS = {"Baseline": 3, "FA": 0, "DFA": -3, "SAL-1": 7, "SAL-4": 10, "SAL-16": 99}
"""Steps at which accuracies that are made up are highest; of all others at 5."""


@pytest.mark.parametrize("dataset", ["digits", "usps"])
def test_every_contestant_has_the_same_budget_and_more_only_beyond_a_best_at_an_end(
    place, monkeypatch, dataset
):
    steps_of = {tuning.rate(step): step for step in tuning.REACH}

    def accuracy(run):
        peak = PEAKS.get(column_of(run), 5)
        return 80 - abs(steps_of[run.protocol.lr] - peak) / 2

    made = pretend(monkeypatch, accuracy)
    monkeypatch.setattr(tuning, "FRESH", (5, 6))
    assert tuning._tune(dataset, list(entrants.two_layer()), place, QUIET, OPTIONS, True) == 0
    tried = {}
    for *_, run in made:
        if run.protocol.validate_on == "training":
            own = tried.setdefault((column_of(run), run.seed), [])
            own.append(steps_of[run.protocol.lr])
    seeds = (5, 6) if dataset == "digits" else (tuning.SEARCH_SEED,)
    assert tried.keys() == {(column, seed) for column in entrants.two_layer() for seed in seeds}
    extra = {3: [], 5: [], 0: [-1], -3: [-1, -2, -3, -4], 7: [8], 10: [8, 9, 10, 11]}
    for (column, _), own in tried.items():
        peak = PEAKS.get(column, 5)
        beyond = extra.get(peak, [*range(8, tuning.REACH[-1] + 1)])
        assert own == [*tuning.GRID, *beyond], column


@pytest.mark.parametrize(("inputs", "more"), [(784, 0.02), (256, 0.04), (64, 0.15)])
def test_a_dense_net_of_4096_units_has_as_many_weights_as_sal_16_and_few_more(inputs, more):
    sizes = {
        column: sum(
            getattr(config, "layer_areas", lambda layer: 1)(layer) * D * H
            for layer, (D, H) in enumerate(config.sizes(inputs, 10))
        )
        for column, (_, config) in entrants.two_layer().items()
    }
    assert 1 <= sizes[entrants.WIDE_COLUMN] / sizes["SAL-16"] < 1 + more
    assert sizes["Baseline"] == sizes["SAL-1"]


@pytest.mark.parametrize("inputs", [64, 256, 784, 1024, 3072])
def test_a_sample_uses_three_to_four_percent_more_of_sal_k_than_of_the_baseline(inputs):
    def active(column):
        name, config = entrants.two_layer()[column]
        net = learner_class(name)(config, inputs, 10, [Streams(0)])
        areas = {f"weight{layer}": k for layer, k in enumerate(getattr(config, "areas", ()))}
        areas |= {name.replace("weight", "bias"): k for name, k in areas.items()}
        return sum(p.numel() // areas.get(name, 1) for name, p in net.named_parameters())

    assert active("SAL-1") == active("Baseline")
    for k in (4, 16):
        assert 1.03 < active(f"SAL-{k}") / active("Baseline") < 1.04


class Untouchable:
    """A test part that nobody may look at."""

    def __getattr__(self, name):
        raise AssertionError(f"the test part was read: {name}")

    def __len__(self):
        raise AssertionError("the test part was read: its length")


def tune_on(data, name, place, monkeypatch, columns=(COLUMN, "SAL-4")):
    """The search and the finals of one set, with short runs; every run's Protocol, in order."""
    made = []

    def short(run, task, checkpoint=None, on_epoch=None):
        made.append(run)
        row = real(replace(run, protocol=replace(run.protocol, epochs=1)), task)
        return row | run.identity()

    def make(runs, experiment, place, console, **options):
        task = runner.Task.now(experiment, "cpu")
        for run in runs:
            append(place.ledger(experiment), short(run, task))
        return runner.Summary(done=len(runs))

    real = runner.run_row
    monkeypatch.setattr("paper.options.make", make)
    monkeypatch.setattr("paper.runner._dataset", lambda name: data)
    monkeypatch.setattr("paper.options.load", lambda name: data)
    monkeypatch.setattr(tuning, "GRID", (0, 4))
    monkeypatch.setattr(tuning, "FRESH", (5, 6))
    monkeypatch.setattr(tuning, "PUBLISHED_SEEDS", (0,))
    monkeypatch.setattr(tuning, "REACH", range(-1, 6))
    status = tuning._tune(name, list(columns), place, QUIET, OPTIONS, by_name=True)
    return made, status


def official(test_images):
    """Digits in the place of USPS, with a test part."""
    digits, data = load("digits"), object.__new__(Dataset)  # whose checks would read the images
    parts = {
        "spec": digits.spec,
        "sha256": known_digest(find("usps")),
        "train_images": digits.train_images[:300],
        "train_labels": digits.train_labels[:300],
        "test_images": test_images,
        "test_labels": digits.train_labels[300:400],
    }
    for name, value in parts.items():
        object.__setattr__(data, name, value)
    return data


def test_the_test_part_is_not_read_before_the_step_size_is_fixed(place, monkeypatch):
    with pytest.raises(AssertionError, match="the test part was read"):
        tune_on(official(Untouchable()), "usps", place, monkeypatch)
    rows = tuning.ledgers(place).values()
    assert rows and all(row["protocol"]["validate_on"] == "training" for row in rows)
    by_run = tuning.ledgers(place)
    for column in (COLUMN, "SAL-4"):
        found = tuning.curve(by_run, "usps", column, tuning.SEARCH_SEED)
        assert tuning.chosen(found) is not None, "the search came to its end"


def test_with_other_test_images_the_same_step_sizes_are_chosen(tmp_path, monkeypatch):
    digits, chosen = load("digits"), []
    for number, images in enumerate((digits.train_images[300:400], digits.train_images[:100])):
        place = paths.Place(tmp_path / str(number), published=True)
        made, status = tune_on(official(images), "usps", place, monkeypatch)
        assert status == 0
        last_search = max(n for n, run in enumerate(made) if run.protocol.validate_on == "training")
        assert all(run.protocol.validate_on == "training" for run in made[:last_search])
        chosen.append([run.protocol.lr for run in made if run.protocol.validate_on == "test"])
    assert chosen[0] == chosen[1]


def test_a_set_without_a_test_part_is_searched_within_each_seeds_own_training_part():
    digits = load("digits")
    assert tuning.search_seed("digits", 7) == 7 != tuning.search_seed("mnist", 7)
    streams = [Streams(7), Streams(8)]
    final = partition(digits, streams)
    search = partition(digits, streams, validate_on="training")
    for r in range(2):
        held_out = set(final.val_index_RM[r].tolist())
        parts = [set(index[r].tolist()) for index in (search.train_index_RN, search.val_index_RM)]
        assert not parts[0] & parts[1]
        assert parts[0] | parts[1] == set(final.train_index_RN[r].tolist())
        assert not held_out & (parts[0] | parts[1])
        counts = torch.bincount(digits.train_labels[final.train_index_RN[r]], minlength=10)
        share = torch.bincount(digits.train_labels[search.val_index_RM[r]], minlength=10) / counts
        assert (share - 0.2).abs().max() < 0.01


def sections(page):
    """Title of a section -> the first column of its table, by method."""
    found = {}
    for text in page.split("\n## ")[1:]:
        title, *lines = text.splitlines()
        cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
        found[title] = {name: first for name, first, *_ in cells[1:]}
    return found


def test_the_best_of_each_table_is_bold_and_the_step_sizes_are_from_least_to_largest(place):
    for column, accuracy, steps in (("Baseline", 90, (2, 3)), ("SAL-4", 80, (4, 4))):
        for seed, best in zip(tuning.FRESH, (steps * 3)[:5], strict=True):
            searched(place, column, seed, {step: 90 - abs(step - best) for step in tuning.GRID})
            write(place, "tuning", [row(tuning.final("digits", column, best, seed), accuracy)])
        runs = tuning.as_published("digits", column)
        write(place, "table2", [row(run, 100 - accuracy) for run in runs])
    page = sections(tuning.pages(place)[place.table("tuning", "md")])
    published, tuned, _, steps = page.values()
    assert (published["Baseline"], published["SAL-4"]) == ("10.00 ± 0.00", "**20.00 ± 0.00**")
    assert (tuned["Baseline"], tuned["SAL-4"]) == ("**90.00 ± 0.00**", "80.00 ± 0.00")
    assert (steps["Baseline"], steps["SAL-4"]) == ("0.001 to 0.00316", "0.01")


def test_runs_that_were_made_on_a_gpu_are_named(place):
    seed, *_ = tuning.FRESH
    searched(place, "SAL-4", seed, {step: 90 - step for step in tuning.REACH})
    best = tuning.chosen(tuning.curve(tuning.ledgers(place), "digits", "SAL-4", seed))
    page = place.table("tuning", "md")
    assert "float32:" not in tuning.pages(place)[page]
    final, published = (
        tuning.final("digits", "SAL-4", best, seed),
        tuning.as_published("digits", "SAL-4")[0],
    )
    changes = {"device": "NVIDIA X", "torch_version": "2.9"}
    write(place, "tuning", [row(final, 50.0, **changes)])
    write(place, "table2", [row(published, 50.0, **changes)])
    text = (
        f"On NVIDIA X, PyTorch 2.9, float32: SAL-4 on Digits (2 of {len(tuning.REACH) + 2} runs)."
    )
    assert text in tuning.pages(place)[page]


def test_the_page_has_published_and_tuned_and_the_chosen_step_size(place, monkeypatch):
    tune_on(load("digits"), "digits", place, monkeypatch, columns=(COLUMN,))
    texts = tuning.pages(place)
    page = sections(texts[place.table("tuning", "md")])
    assert list(page) == [
        "At the paper's step size",
        "Each at its best",
        "The best ones' losses",
        "The step sizes of the best",
    ]
    published, tuned, losses, steps = (rows[COLUMN] for rows in page.values())
    assert published.endswith("(n=1)") and tuned.endswith("(n=2)") and losses.endswith("(n=2)")
    rates = [tuning.rate(step) for step in tuning.REACH]
    assert {float(text) for text in steps.split(" to ")} <= set(rates)
    assert all(rows["FA"] == "not run" for rows in page.values())
    frame = tuning.table(tuning.results(tuning.ledgers(place)))
    own = frame[frame["column"] == COLUMN].set_index("part")
    assert own.loc["tuned", "n"] == 2 and own.loc["published", "n"] == 1
    figure = tuning.draw(frame)
    assert [axis.get_title() for axis in figure.axes] == [
        "Digits: other methods",
        "Digits: SAL and baseline",
    ]


def lines_of(axis):
    """Each line's points that are drawn."""
    return {
        line.get_label(): {x: y for x, y in line.get_xydata().tolist() if not math.isnan(y)}
        for line in axis.lines
    }


def searched(place, column, seed, accuracies):
    """Rows of a search: step -> accuracy; None where it diverged."""
    for step, accuracy in accuracies.items():
        run = tuning.search("digits", column, step, seed)
        gone = accuracy is None
        status = "diverged" if gone else "ok"
        write(place, "tuning", [row(run, *[] if gone else [accuracy], status=status)])


def test_the_figure_has_the_mean_error_of_step_sizes_that_all_searches_have(place):
    grid = {step: 90 + step for step in tuning.GRID}  # the best is at its end
    for seed in tuning.FRESH:
        searched(place, "Baseline", seed, grid | {8: 10} | ({9: 10} if seed == 5 else {}))
        searched(place, "SAL-4", seed, grid | {8: None if seed == 6 else 98 - seed})
    frame = tuning.table(tuning.results(tuning.ledgers(place)))
    left, right = tuning.draw(frame).axes
    rates = [tuning.rate(step) for step in range(10)]
    baseline, sal = lines_of(left)["Baseline"], lines_of(right)["SAL-4"]
    assert baseline == pytest.approx(dict(zip(rates, [*range(10, 2, -1), 90], strict=False)))
    assert lines_of(right)["Baseline"] == baseline, "SAL stands beside it"
    assert list(sal) == rates[:8], "a seed diverged at the next"
    assert "SAL-4" not in lines_of(left) and "FA" not in lines_of(right)
    assert left.get_yscale() == "log" and left.get_ylim() == right.get_ylim()
    texts = [left.yaxis.get_major_formatter()(value) for value in (0.5, 2, 50)]
    assert texts == ["0.5", "2", "50"]
    assert any(list(line.get_xdata()) == [Protocol.lr] * 2 for line in left.lines), "the paper's"


def test_the_lowest_panel_of_each_column_says_its_step_sizes(place):
    for dataset, seed in (("digits", 5), ("semeion", 5), ("usps", 10)):
        runs = [tuning.search(dataset, "FA", step, seed) for step in tuning.GRID]
        write(place, tuning.EXPERIMENT, [row(run, 50.0) for run in runs])
    axes = tuning.draw(tuning.table(tuning.results(tuning.ledgers(place)))).axes
    shown = [axis for axis in axes if axis.get_visible()]
    assert [axis.get_xlabel() for axis in shown] == ["", "", *["step size"] * 4]
    assert all(axis.xaxis.get_tick_params()["labelbottom"] for axis in shown[2:])


def dots(axis):
    """Step size and error of each dot, and whether it is filled."""
    return [
        (x, y, line.get_markerfacecolor() != "white")
        for line in axis.lines
        if line.get_marker() == "o"
        for x, y in line.get_xydata().tolist()
    ]


def test_a_dot_is_the_median_of_the_chosen_step_sizes_hollow_where_not_all_have_it(place):
    for seed, best in zip(tuning.FRESH, (2, 3, 3, 4, 4), strict=True):
        searched(place, "Baseline", seed, {step: 90 - abs(step - best) for step in tuning.GRID})
        beyond = {8: 95, 9: 80} if seed > 6 else {}
        searched(place, "SAL-4", seed, {step: 90 - abs(step - 5) for step in tuning.GRID} | beyond)
    left, right = tuning.draw(tuning.table(tuning.results(tuning.ledgers(place)))).axes
    assert dots(left) == [(tuning.rate(3), pytest.approx(10.6), True)]
    assert (tuning.rate(8), pytest.approx(5), False) in dots(right)


def test_methods_of_other_distributions_are_tuned_beside_the_suites_own(
    place, monkeypatch, contestants
):
    contestants(
        my_fa=type("FA", (FA,), {"name": "my_fa"}), my_sal=type("SAL", (SAL,), {"name": "my_sal"})
    )
    tune_on(load("digits"), "digits", place, monkeypatch, columns=("my_fa", "my_sal-4"))
    frame = tuning.table(tuning.results(tuning.ledgers(place)))
    figure = tuning.draw(frame)
    for column in ("my_fa", "my_sal-4"):
        own = frame[frame["column"] == column].set_index("part")
        assert own.loc["tuned", "n"] == 2 and own.loc["published", "n"] == 1
    lines = lines_of(figure.axes[0])
    assert len(lines["my_fa"]) > 1 and not lines["FA"]
    looks = entrants.looks()
    assert looks["my_fa"][0] != looks["my_sal-4"][0], "two plug-ins can be told apart"
    assert "my_sal-16" not in set(frame["column"]), "nothing of it was asked for"


def test_without_names_the_suites_own_methods_are_tuned_alone(committed, monkeypatch, contestants):
    contestants(my_fa=type("FA", (FA,), {"name": "my_fa"}))
    assert "my_fa" in entrants.two_layer()
    made = pretend(monkeypatch, best_at(0.01))
    assert tuning.main([*ARGUMENTS]) == 0
    assert {place.root for place, _, _ in made} == {committed.root}
    assert {run.learner for *_, run in made} == {"bp", "fa", "dfa", "moe", "sal"}


def test_a_plugins_runs_do_not_go_into_the_committed_ledger(
    committed, monkeypatch, contestants, capsys
):
    contestants(my_fa=type("FA", (FA,), {"name": "my_fa"}))
    made = pretend(monkeypatch, best_at(0.01))
    assert tuning.main([*ARGUMENTS, "--methods", "FA", "my_fa"]) == 2
    error = capsys.readouterr().err
    assert "my_fa is not of this suite" in error and error.endswith("add --fresh\n")
    assert not made


def test_a_plugin_stands_beside_the_committed_methods_which_are_not_made_again(
    committed, monkeypatch, contestants
):
    contestants(my_fa=type("FA", (FA,), {"name": "my_fa"}))
    made = pretend(monkeypatch, best_at(0.01))
    for dataset in ("digits", "usps"):
        arguments = ("--datasets", dataset, "--backend", "here", "--methods", "FA")
        assert tuning.main(arguments) == 0
    ledgers = {name: committed.ledger(name).read_bytes() for name in ("tuning", "table2")}
    made.clear()
    assert tuning.main([*ARGUMENTS, "--fresh", "--methods", "my_fa"]) == 0
    assert {(place.root, run.learner) for place, _, run in made} == {
        (committed.root / "fresh", "my_fa")
    }
    assert ledgers == {name: committed.ledger(name).read_bytes() for name in ledgers}
    page = paths.fresh().table("tuning", "md").read_text()
    assert "Not the committed results" in page and "USPS" not in page, "not searched here"
    published, tuned, _, steps = sections(page).values()
    for column in ("FA", "my_fa"):  # of equals, both are the best
        assert (published[column], tuned[column]) == ("**88.00 ± 0.00**", "**90.00 ± 0.00**")
        assert steps[column] == "0.01"
    assert "my_fa" not in committed.table("tuning", "md").read_text()


def test_fresh_makes_the_suites_own_methods_anew_and_shows_them(committed, monkeypatch):
    at_an_end = best_at(tuning.rate(tuning.GRID[-1]))  # so that the grid is extended
    pretend(monkeypatch, at_an_end)
    assert tuning.main([*ARGUMENTS, "--methods", "FA"]) == 0
    made = pretend(monkeypatch, lambda run: at_an_end(run) - 10)
    assert tuning.main([*ARGUMENTS, "--fresh", "--methods", "FA"]) == 0
    there = {name: len(read(committed.ledger(name))[0]) for name in ("tuning", "table2")}
    assert len(made) == sum(there.values())
    page = paths.fresh().table("tuning", "md").read_text()
    assert "80.00 ± 0.00" in page and "90.00" not in page


def test_a_plugin_whose_configuration_fails_is_named_and_the_others_stay(contestants):
    calls = []

    def explode(*arguments):
        calls.append(arguments)
        if len(calls) > 1:  # the registry asks first
            raise RuntimeError("no configuration today")

    config = type("Config", (FA.Config,), {"__init__": explode})
    contestants(bad=type("FA", (FA,), {"name": "bad", "Config": config}))
    with pytest.warns(UserWarning, match="plug-in bad is left out of the tuning: no configuration"):
        found = entrants.two_layer()
    assert "bad" not in found and "SAL-16" in found


def test_deep_nets_are_those_of_figure_2_and_tuned_on_one_set_alone():
    figure = scaling.EXPERIMENTS["figure2"]
    assert set(entrants.DEPTHS) <= set(figure.values)
    assert entrants.DEEP_ON in tuning.DATASETS_ASKED
    for dataset in tuning.DATASETS_ASKED:
        there = set(entrants.on(dataset)) & set(entrants.deep())
        assert there == (set(entrants.deep()) if dataset == "semeion" else set())
    for (dataset, method, depth), runs in scaling.runs(figure, ["semeion"]).items():
        if depth in entrants.DEPTHS and method in ("bp", "sal"):
            column = entrants.deep_column("SAL-4" if method == "sal" else "Baseline", depth)
            assert tuning.as_published(dataset, column) == runs


def test_deep_nets_are_tuned_and_their_published_runs_are_figure_2s(committed, monkeypatch):
    made = pretend(monkeypatch, best_at(0.01))
    arguments = ("--datasets", "semeion", "--backend", "here", "--methods")
    assert tuning.main([*arguments, "Baseline", "SAL-4, depth 8"]) == 0
    where = {
        (experiment, len(run.config.hidden))
        for _, experiment, run in made
        if run.protocol == Protocol()
    }
    assert where == {("table2", 1), ("depth", 7)}
    page = committed.table("tuning", "md").read_text()
    assert "Deep nets, on Semeion" in page
    (line,) = [line for line in page.splitlines() if line.startswith("| SAL-4, depth 8 |")]
    assert line == "| SAL-4, depth 8 | 88.00 ± 0.00 | 90.00 ± 0.00 | 0.01 |"
    made.clear()
    other = ("--datasets", "digits", "--backend", "here", "--methods")
    assert tuning.main([*other, "SAL-4, depth 8"]) == 0
    assert not made, "on Semeion alone"


def test_deep_nets_alone_have_a_page_and_no_figure(place):
    for seed in tuning.FRESH:
        for step in tuning.GRID:
            run = tuning.search("semeion", "SAL-4, depth 8", step, seed)
            write(place, tuning.EXPERIMENT, [row(run, 50 - abs(step - 3))])
    tuning.write(place, QUIET)
    assert "| SAL-4, depth 8 | not run | not run | 0.00316 |" in (
        place.table("tuning", "md").read_text()
    )
    assert not place.figure("tuning", "png").exists()


def test_a_method_made_anew_is_not_completed_by_its_committed_search(committed, monkeypatch):
    pretend(monkeypatch, best_at(tuning.rate(tuning.GRID[-1])))  # extends the grid: best at its end
    assert tuning.main([*ARGUMENTS, "--methods", "FA", "DFA"]) == 0
    one = tuning.search("digits", "FA", 0, tuning.FRESH[0])
    write(paths.fresh(), tuning.EXPERIMENT, [row(one, 12.0)])
    tuning.write(paths.fresh(), QUIET)
    _, tuned, _, steps = sections(paths.fresh().table("tuning", "md").read_text()).values()
    assert (tuned["FA"], steps["FA"]) == ("not run", "not run")
    assert tuned["DFA"] != "not run"


def test_a_method_that_fails_is_named_and_the_others_are_tuned(committed, monkeypatch, capsys):
    best = best_at(0.01)
    made = pretend(monkeypatch, lambda run: None if run.learner == "fa" else best(run))
    assert tuning.main([*ARGUMENTS, "--methods", "FA", "DFA"]) == 1
    assert "digits fa lr=0.01 validate_on=training seed 5: it fell over" in capsys.readouterr().err
    _, tuned, _, _ = sections(committed.table("tuning", "md").read_text()).values()
    assert tuned["DFA"] == "**90.00 ± 0.00**"
    assert len({id(run) for *_, run in made if run.learner == "fa"}) == 8 * len(tuning.FRESH)


def test_nothing_is_written_without_a_search(place):
    tuning.write(place, QUIET)
    assert not list(place.root.rglob("*.*"))
