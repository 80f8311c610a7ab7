"""The ledger: what is written is read, what is torn is reported, whose result a row is."""

import json
import math
import os
import subprocess
import sys

import pytest

from baselines import BPConfig
from paper import paths
from paper.results import (
    COLUMNS,
    LedgerError,
    append,
    check_writable,
    identity,
    key,
    load,
    read,
    why_stale,
)
from sal import SAL, SALConfig
from sal.run import Run


def make_row(number=0, padding=10, **changes):
    run = Run(dataset="digits", learner="sal", config=SALConfig(areas=(4,)), seed=number)
    row = dict.fromkeys(COLUMNS) | run.identity()
    return (
        row
        | {"learner_version": SAL.version, "data_sha256": "d", "history": "x" * padding}
        | {"status": "ok", "accuracy": 90.0, "train_loss": 0.1, "val_loss": 0.2}
        | changes
    )


def numbers(ledger):
    rows, problems = read(ledger)
    return [row["seed"] for row in rows], problems


def test_what_is_appended_is_read(ledger):
    rows = [make_row(number) for number in range(3)]
    for row in rows:
        append(ledger, row)
    assert read(ledger) == (rows, [])


def test_an_absent_and_an_empty_ledger_have_no_rows(ledger):
    assert read(ledger) == ([], [])
    check_writable(ledger)
    assert read(ledger) == ([], [])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (make_row(accuracy=float("nan")), "not JSON compliant"),
        (make_row(history=[1.0, float("inf")]), "not JSON compliant"),
        ({k: v for k, v in make_row().items() if k != "seed"}, "a ledger row needs seed"),
    ],
)
def test_a_row_that_is_none_is_refused_and_nothing_written(ledger, row, message):
    append(ledger, make_row())
    before = ledger.read_bytes()
    with pytest.raises(ValueError, match=message):
        append(ledger, row)
    assert ledger.read_bytes() == before


def test_a_last_line_cut_off_anywhere_is_reported_and_costs_no_other_row(ledger):
    for number in range(2):
        append(ledger, make_row(number))
    whole = ledger.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first + 1, len(whole) - 1):  # without its newline alone, the line is whole
        ledger.write_bytes(whole[:cut])
        found, (problem,) = numbers(ledger)
        assert found == [0]
        assert "line 2: cut off or not JSON; skipped" in problem
        append(ledger, make_row(7))
        assert numbers(ledger)[0] == [0, 7]


def test_a_row_whose_newline_alone_is_missing_counts(ledger):
    append(ledger, make_row(0))
    ledger.write_bytes(ledger.read_bytes()[:-1])
    append(ledger, make_row(1))
    assert numbers(ledger) == ([0, 1], [])


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"[1, 2]",
        b'{"seed": 3}',
        json.dumps(make_row(config=3)).encode(),
        json.dumps(make_row(accuracy=float("nan"))).encode(),
        json.dumps(make_row(accuracy="97")).encode(),
        json.dumps(make_row(val_loss=None)).encode(),
        json.dumps(make_row(train_loss=True)).encode(),
        json.dumps(make_row(status="oky")).encode(),
        json.dumps(make_row(seed=1.5)).encode(),
        json.dumps(make_row(train_loss=math.inf)).replace("Infinity", "1e400").encode(),
        b"\xff\xfe",
        b"3",
    ],
)
def test_a_bad_line_in_the_middle_is_reported_by_number_and_skipped(ledger, line):
    append(ledger, make_row(0))
    with ledger.open("ab") as file:
        file.write(line + b"\n")
    append(ledger, make_row(1))
    found, (problem,) = numbers(ledger)
    assert found == [0, 1]
    assert "line 2:" in problem


FULL_DISK = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_ledger import LedgerError, append, make_row
ledger = Path(sys.argv[1])
append(ledger, make_row(0))
size = ledger.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, size + 100))  # room for part of a row
try:
    append(ledger, make_row(1))
except LedgerError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_ledger_as_it_was_and_the_row_in_the_message(ledger):
    code = FULL_DISK.format(tests=os.path.dirname(__file__))
    done = subprocess.run(
        [sys.executable, "-c", code, str(ledger)],
        capture_output=True,
        text=True,
        check=True,
        cwd=paths.REPOSITORY,
    )
    assert numbers(ledger) == ([0], [])
    assert ledger.read_bytes().endswith(b"\n")
    message, line = done.stdout.strip().splitlines()
    assert "cannot write a result to" in message
    assert json.loads(line) == make_row(1)


def test_an_unwritable_place_is_refused_before_training_and_when_appending(tmp_path):
    (tmp_path / "file").write_text("in the way")
    ledger = tmp_path / "file" / "results" / "table2.jsonl"
    with pytest.raises(LedgerError, match=r"cannot write results to .* Make the folder writable"):
        check_writable(ledger)
    with pytest.raises(LedgerError, match="cannot write a result to"):
        append(ledger, make_row())


def test_a_run_that_diverged_has_no_metrics_and_counts(ledger):
    append(ledger, make_row(status="diverged", accuracy=None, train_loss=None, val_loss=None))
    assert numbers(ledger) == ([0], [])


def test_load_gives_a_table_with_a_row_a_run(tmp_path):
    place = paths.Place(tmp_path, published=True)
    with pytest.raises(LedgerError, match="there is no ledger .* there are none"):
        load("table2", place)
    check_writable(place.ledger("table2"))
    assert list(load("table2", place).columns) == list(COLUMNS)
    for number in range(3):
        append(place.ledger("table2"), make_row(number))
    assert load("table2", place)["seed"].tolist() == [0, 1, 2]
    with place.ledger("table2").open("a") as file:
        file.write("cut off")
    with pytest.warns(UserWarning, match="line 4: cut off"):
        assert len(load("table2", place)) == 3


def test_a_row_is_recognised_as_the_result_of_its_run():
    run = Run(dataset="digits", learner="sal", config=SALConfig(areas=(4,)), seed=3)
    assert identity(make_row(3)) == key(run)
    older = make_row(3)
    del older["config"]["router_rate"], older["protocol"]["pixels"]  # fields that came later
    assert identity(older) == key(run)


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "usps"},
        {"seed": 4},
        {"learner": "bp", "config": BPConfig().to_dict()},
        {"learner": "unheard-of"},
        {"config": SALConfig(areas=(5,)).to_dict()},
        {"config": SALConfig(areas=(4,)).to_dict() | {"router_rate": 0.5}},
        {"config": {"no such field": 1}},
        {"protocol": {"epochs": 24}},
    ],
)
def test_a_row_that_differs_in_anything_is_of_another_run(change):
    run = Run(dataset="digits", learner="sal", config=SALConfig(areas=(4,)), seed=3)
    assert identity(make_row(3) | change) != key(run)


def test_a_row_is_stale_by_version_or_data_and_says_why():
    assert why_stale(make_row(), "d") is None
    assert (
        why_stale(make_row(learner_version=0), "d")
        == f"made by version 0 of sal, now {SAL.version}"
    )
    assert why_stale(make_row(), "e") == "made on data d, now e"
