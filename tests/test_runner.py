"""Who pays when a worker is killed: the run that it made, and no other."""

import io
import time

import pytest
from rich.console import Console
from workers import Watched, kill, needs_proc, workers

from baselines import BPConfig
from paper import paths, runner
from paper.backends import ATTEMPTS, killed
from paper.backends.processes import Processes
from paper.results import read
from paper.runner import make
from sal.run import Run
from sal.train import Protocol


def run(seed=0, epochs=2, dataset="digits", hidden=(256,), batch_size=16):
    protocol = Protocol(epochs=epochs, batch_size=batch_size)
    config = BPConfig(hidden=hidden)
    return Run(dataset=dataset, learner="bp", config=config, seed=seed, protocol=protocol)


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=1000)


def seeds(place):
    rows, problems = read(place.ledger("table2"))
    assert problems == []
    return sorted(row["seed"] for row in rows)


def assert_as_if_undisturbed(made, place, tmp_path, console):
    """The one row of ``place`` is what its run gives when nothing is killed."""
    other = paths.Place(tmp_path / "other", published=True)
    make([made], "table2", other, console)
    (row,), (undisturbed,) = (read(p.ledger("table2"))[0] for p in (place, other))
    assert row["weights_sha256"] == undisturbed["weights_sha256"]
    assert row["history"] == undisturbed["history"]


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("by_loky", [False, True])
def test_a_run_beside_one_that_always_kills_its_worker_is_made(place, console, by_loky):
    deadly = run(0, epochs=100, hidden=(2000,), batch_size=1)  # of half a second an epoch

    def kill_at_epochs_of_the_deadly(run, epoch):
        if run == deadly:
            kill(workers())

    backend = Watched(Processes(2, by_loky), kill_at_epochs_of_the_deadly)
    summary = make([deadly, run(1, epochs=150)], "table2", place, console, backend=backend)
    assert summary.failed == {deadly.label: killed(ATTEMPTS)}
    assert summary.done == 1
    assert seeds(place) == [1]


@needs_proc
@pytest.mark.slow
def test_no_run_is_forgotten_when_a_worker_is_killed_while_a_row_is_written(
    place, console, monkeypatch
):
    append = runner.append

    def append_and_kill(ledger, row):
        append(ledger, row)
        if row["seed"] == 0:
            kill(workers())
            time.sleep(1)  # the pool notices before it is given the next run

    monkeypatch.setattr(runner, "append", append_and_kill)
    runs = [run(0), run(1, epochs=100), run(2), run(3)]
    summary = make(runs, "table2", place, console, backend=Processes(2))
    assert (summary.done, summary.failed) == (4, {})
    assert seeds(place) == [0, 1, 2, 3]


@needs_proc
@pytest.mark.slow
def test_a_run_whose_worker_is_killed_between_two_epochs_gives_the_same_weights(
    place, tmp_path, console
):
    epochs = []

    def kill_at_the_third(run, epoch):
        epochs.append(epoch)
        if len(epochs) == 3:
            kill(workers())

    make(
        [run(epochs=150)], "table2", place, console, backend=Watched(Processes(), kill_at_the_third)
    )
    killed_after = len(epochs) - 150
    assert 3 <= killed_after < 150
    assert_as_if_undisturbed(run(epochs=150), place, tmp_path, console)


def test_an_error_is_printed_as_it_is_whatever_brackets_it_has(
    place, tmp_path, console, monkeypatch
):
    folder = tmp_path / "[" / "data]" / "[red]"
    monkeypatch.setenv("SAL_DATA_DIR", str(folder))
    monkeypatch.setenv("SAL_OFFLINE", "1")
    summary = make([run(dataset="usps"), run(1)], "table2", place, console)
    assert [label.split()[:2] for label in summary.failed] == [["usps", "bp"]]
    assert summary.done == 1
    assert str(folder) in console.file.getvalue()


def test_a_torn_line_is_reported_with_its_place_whatever_brackets_that_has(tmp_path, console):
    place = paths.Place(tmp_path / "[" / "results]", published=True)
    make([run()], "table2", place, console)
    with place.ledger("table2").open("ab") as file:
        file.write(b'{"experiment":"tab')
    assert make([run()], "table2", place, console).skipped == 1
    assert f"{place.ledger('table2')} line 2: cut off" in console.file.getvalue()


@needs_proc
@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_checkpoint_which_its_row_then_replaces(
    place, tmp_path, console
):
    epochs = []

    def kill_at_the_twentieth(run, epoch):
        epochs.append(epoch)
        if len(epochs) == 20:
            assert list(place.checkpoints().glob("*.pt"))
            kill(workers())

    backend = Watched(Processes(), kill_at_the_twentieth)
    make([run(epochs=60)], "table2", place, console, backend=backend, checkpoint_after=0)
    assert 60 <= len(epochs) <= 65, "it did not start anew"
    assert list(place.checkpoints().iterdir()) == []
    assert_as_if_undisturbed(run(epochs=60), place, tmp_path, console)
