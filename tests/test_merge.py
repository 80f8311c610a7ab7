"""Runs of other machines come into the ledger once, and never in place of another result."""

import json
import shutil

import pytest
from rows import row, write

from baselines import BPConfig
from paper import merge, paths
from paper.results import current, read
from sal.run import Run
from sal.train import Protocol

MACHINE = {"machine": {"cpu": "one"}, "finished": "2026-01-01", "weights_sha256": "w", "split": "s"}
MACHINE |= {"git_dirty": False}


def made(seed, accuracy=50.0, **changes):
    run = Run(dataset="digits", learner="bp", config=BPConfig(), seed=seed)
    return row(run, accuracy, **{"experiment": "table2", **MACHINE, **changes})


@pytest.fixture
def here(place, monkeypatch):
    monkeypatch.setattr(paths, "committed", lambda: place)
    return place


@pytest.fixture
def shard(tmp_path):
    def make(name, *rows, experiment="table2"):
        write(paths.Place(tmp_path / name, published=True), experiment, rows)
        return str(tmp_path / name)

    return make


def seeds(place, experiment="table2"):
    rows, problems = read(place.ledger(experiment))
    assert problems == []
    return [row["seed"] for row in rows]


def test_rows_of_several_folders_are_added_once(here, shard, capsys):
    write(here, "table2", [made(0)])
    others = [shard("a", made(0), made(1)), shard("b", made(1), made(2), made(2))]
    assert merge.main(others) == 0
    assert seeds(here) == [0, 1, 2]
    assert "2 rows added, 2 there already, 1 stale or made again, 0 try" in capsys.readouterr().out
    assert merge.main(others) == 0
    assert seeds(here) == [0, 1, 2]


def test_every_experiment_goes_into_its_own_ledger_which_need_not_be_there(here, shard, tmp_path):
    shard("a", made(0))
    shard("a", made(1, experiment="depth"), experiment="depth")
    assert merge.main([str(tmp_path / "a")]) == 0
    assert (seeds(here), seeds(here, "depth")) == ([0], [1])


@pytest.mark.parametrize("inner", ["", "results", "paper/results"])
def test_a_folder_of_ledgers_a_place_and_a_checkout_will_do(here, shard, tmp_path, inner):
    found = paths.Place(tmp_path / "a", published=True).ledger("table2")
    shard("a", made(0))
    folder = tmp_path / "other"
    (folder / inner).mkdir(parents=True)
    shutil.move(found, folder / inner)
    assert merge.main([str(folder)]) == 0
    assert seeds(here) == [0]


@pytest.mark.parametrize(
    "change",
    [{"weights_sha256": "v"}, {"split": "other"}, {"status": "diverged"}],
)
def test_a_conflict_is_refused_and_nothing_is_written_not_even_elsewhere(
    here, shard, capsys, change
):
    write(here, "table2", [made(0)])
    other = shard("a", made(0, **change), made(1))
    shard("a", made(2, experiment="depth"), experiment="depth")
    assert merge.main([other]) == 2
    assert seeds(here) == [0]
    assert not here.ledger("depth").exists()
    message = capsys.readouterr().err
    assert f"conflict: digits bp seed 0: {next(iter(change))}; one (2026-01-01) and one" in message
    assert "1 runs have different results in two ledgers; nothing was written" in message


def test_conflicting_rows_are_left_out_if_told_so(here, shard):
    write(here, "table2", [made(0)])
    other = shard("a", made(0, weights_sha256="v"), made(1))
    assert merge.main([other, "--keep-ours"]) == 0
    rows, _ = read(here.ledger("table2"))
    assert [(row["seed"], row["weights_sha256"]) for row in rows] == [(0, "w"), (1, "w")]


def test_two_folders_that_disagree_are_a_conflict_though_nothing_is_here(here, shard):
    others = [shard("a", made(0)), shard("b", made(0, weights_sha256="v"))]
    assert merge.main(others) == 2
    assert not here.ledger("table2").exists()


def test_stale_rows_stay_away_and_are_no_conflict(here, shard, capsys):
    write(here, "table2", [made(0)])
    old = made(0, weights_sha256="v", learner_version=0)
    other = shard("a", old, made(1, data_sha256="other"))
    assert merge.main([other]) == 0
    assert seeds(here) == [0]
    assert "0 rows added, 0 there already, 2 stale" in capsys.readouterr().out


def test_a_shard_that_adds_nothing_makes_no_ledger(here, shard):
    assert merge.main([shard("a", made(0, learner_version=0))]) == 0
    assert not here.ledger("table2").exists()


def test_rows_that_their_own_ledger_has_replaced_count_for_nothing(here, shard):
    write(here, "table2", [made(0, weights_sha256="old"), made(0)])
    other = shard("a", made(0, weights_sha256="older"), made(0), made(1, weights_sha256="old"))
    shard("a", made(1))
    assert merge.main([other]) == 0
    counts = current(read(here.ledger("table2"))[0])
    assert sorted((row["seed"], row["weights_sha256"]) for row in counts.values()) == [
        (0, "w"),
        (1, "w"),
    ]


def test_rows_of_uncommitted_code_stay_away(here, shard, capsys):
    unknown = made(2, git_sha=None, git_dirty=None)  # as an installed wheel writes them
    dirty = made(0, git_dirty=True), made(1, git_dirty=True)
    assert merge.main([shard("a", made(0), *dirty, unknown)]) == 0
    assert seeds(here) == [0]
    assert "3 try-outs or of code that is not committed here" in capsys.readouterr().out


def test_a_conflict_names_what_the_run_chose_and_machines_without_a_name(here, shard, capsys):
    run = Run(dataset="digits", learner="bp", config=BPConfig(), seed=0, protocol=Protocol(lr=0.1))
    write(here, "table2", [row(run, 50.0, **{"experiment": "table2", **MACHINE})])
    theirs = {"experiment": "table2", **MACHINE, "weights_sha256": "v", "machine": None}
    assert merge.main([shard("a", row(run, 50.0, **theirs))]) == 2
    message = capsys.readouterr().err
    assert "digits bp lr=0.1 seed 0: weights_sha256; one (2026-01-01) and a machine wi" in message


def test_a_row_here_that_is_stale_gives_way_to_one_that_counts(here, shard):
    write(here, "table2", [made(0, learner_version=0)])
    assert merge.main([shard("a", made(0, weights_sha256="v"))]) == 0
    (counts,) = current(read(here.ledger("table2"))[0]).values()
    assert counts["weights_sha256"] == "v"


def test_losses_rounded_otherwise_on_another_processor_are_no_conflict(here, shard):
    write(here, "table2", [made(0)])
    other = made(0, history={"accuracy": [50.0], "train_loss": [1.000001]})
    assert merge.main([shard("a", other)]) == 0
    assert seeds(here) == [0]


def test_try_outs_and_methods_from_elsewhere_stay_away(here, shard, capsys):
    run = Run(
        dataset="digits", learner="bp", config=BPConfig(), seed=0, protocol=Protocol(epochs=1)
    )
    try_out = row(run, 50.0, experiment="table2", **MACHINE)
    unknown = made(3, config={"dropout": 0.5})
    other = shard("a", try_out, made(1, learner="my_rule"), made(2), unknown)
    assert merge.main([other]) == 0
    assert seeds(here) == [2]
    assert "3 try-outs or of code that is not committed here" in capsys.readouterr().out


def test_a_torn_line_is_told_and_the_others_are_merged(here, shard, tmp_path, capsys):
    folder = shard("a", made(0))
    ledger = paths.Place(tmp_path / "a", published=True).ledger("table2")
    with ledger.open("a") as file:
        file.write(json.dumps(made(1))[:100])
    assert merge.main([folder]) == 0
    assert seeds(here) == [0]
    assert "line 2: cut off" in capsys.readouterr().out


def test_what_is_no_shard_is_named(here, shard, tmp_path, capsys):
    assert merge.main([str(tmp_path / "none")]) == 2
    assert f"no ledger in {tmp_path / 'none'}" in capsys.readouterr().err
    assert merge.main([shard("a", made(0, experiment="depth"))]) == 2
    assert "has rows of depth; a ledger is named after its experiment" in capsys.readouterr().err
