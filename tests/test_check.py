"""What ``check_paper`` says of rows that nobody here could have made, and of metrics elsewhere."""

import re
from dataclasses import replace

import pytest
from rich.console import Console

from baselines import BPConfig
from paper import check, convergence, paths
from paper.results import append
from paper.runner import Task, run_row
from sal.data import DATASETS
from sal.run import Run
from sal.train import Protocol

pytestmark = pytest.mark.skipif(
    check.git("rev-parse", "HEAD") is None, reason="not in a git checkout with commits"
)
ELSEWHERE = {"machine": {"cpu": "another"}, "weights_sha256": "0" * 64}


def make_row(**choices):
    protocol = Protocol(epochs=1, **choices)
    run = Run(dataset="digits", learner="bp", config=BPConfig(), seed=0, protocol=protocol)
    row = run_row(run, Task.now("table2", "cpu"))
    return row | {"git_dirty": False}


@pytest.fixture(scope="module")
def row():
    return make_row()


@pytest.fixture(scope="module")
def diverged():
    return make_row(lr=1e30)


@pytest.fixture
def checked(tmp_path, monkeypatch, capsys):
    """Checks a place that holds the rows and their tables; the status and what was complained."""
    place = paths.Place(tmp_path, published=True)
    monkeypatch.setattr(paths, "committed", lambda: place)
    monkeypatch.setattr(paths, "README", tmp_path / "none.md")

    def check_rows(*rows, rerun=2):
        for row in rows:
            append(place.ledger("table2"), row)
        convergence.write(place, Protocol.epochs, Console(quiet=True))
        capsys.readouterr()
        status = check.main(["--rerun", str(rerun), "--draw", "0"])
        return status, capsys.readouterr().err.splitlines()

    return check_rows


@pytest.mark.parametrize("change", [{"learner": "unheard-of"}, {"dataset": "unheard-of"}])
def test_a_row_of_a_method_or_a_data_set_that_is_not_here_is_stale_and_not_fatal(
    checked, row, change
):
    assert checked(row, row | change) == (0, [])


def test_a_row_without_a_machine_or_data_is_named_and_not_fatal(checked, row):
    status, errors = checked(row | {"machine": None}, row | {"data_sha256": None})
    assert (status, errors) == (0, [])


def test_a_row_of_a_method_from_elsewhere_is_refused(checked, row, monkeypatch):
    monkeypatch.setattr(check, "BUILT_IN_NAMES", ())  # as if the method were a plug-in's
    status, (error,) = checked(row)
    assert status == 1
    assert "digits bp epochs=1 seed 0: no method of this repository" in error


def test_a_row_whose_configuration_is_not_to_be_had_any_more_is_named(checked, row):
    old = row | {"config": row["config"] | {"dropout": 0.5}}
    status, (error,) = checked(old)
    assert status == 1
    assert "digits bp seed 0: cannot be made again" in error
    assert "dropout" in error


@pytest.mark.parametrize("metric", ["accuracy", "train_loss", "val_loss"])
@pytest.mark.parametrize(("tolerances", "status"), [(0.9, 0), (1.1, 1)])
def test_elsewhere_each_metric_has_its_tolerance(checked, row, metric, tolerances, status):
    off = tolerances * {"accuracy": 2.0, "train_loss": 0.01, "val_loss": 0.01}[metric]
    found, errors = checked(row | ELSEWHERE | {metric: row[metric] - off})
    assert found == status
    assert [metric in error for error in errors] == [True] * status


def test_a_row_that_diverged_is_repeated_as_one_that_diverges(checked, diverged):
    assert checked(diverged | ELSEWHERE) == (0, [])


@pytest.mark.parametrize("which", ["the row", "its repetition"])
def test_a_run_that_diverges_on_one_machine_only_is_an_error(checked, row, diverged, which):
    ok = {name: row[name] for name in ("status", "accuracy", "train_loss", "val_loss", "history")}
    bad = {name: diverged[name] for name in ok}
    claimed = row | bad if which == "the row" else diverged | ok
    status, (error,) = checked(claimed | ELSEWHERE)
    assert status == 1
    assert re.search("digits bp epochs=1.* seed 0: made again, it is", error)


def test_rows_of_a_set_without_published_digest_are_of_the_same_data(checked, row, monkeypatch):
    spec = replace(DATASETS[row["dataset"]], content_sha256=None)
    monkeypatch.setitem(DATASETS, row["dataset"], spec)
    status, problems = checked(row, row | {"data_sha256": "f" * 64, "seed": 1}, rerun=0)
    assert status == 1
    assert "other rows of this data set were made on other data" in problems[0]


def test_rows_of_one_run_may_differ_between_machine_types_versions_and_data(checked, row):
    others = [ELSEWHERE, {"learner_version": 0}, {"data_sha256": "f" * 64}]
    rows = [row, *(row | {"weights_sha256": f"{n}" * 64} | c for n, c in enumerate(others))]
    assert checked(*rows, rerun=0) == (0, [])
