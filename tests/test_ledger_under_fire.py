"""The ledger under the worst that a system may do: lines written in pieces, kills in between."""

import os
import subprocess
import sys

import pytest

from paper.results import (
    COLUMNS,
    METRICS,
    LedgerError,
    append,
    check_writable,
    identity,
    read,
    why_stale,
)
from sal import SALConfig
from sal.run import Run


def make_row(number=0, length=0, **changes):
    """A row whose every part follows from its number and length."""
    run = Run(dataset="digits", learner="sal", config=SALConfig(areas=(4,)), seed=number)
    facts = {"learner_version": 1, "data_sha256": "d", "history": {"loss": [number] * length}}
    metrics = {"status": "ok", **dict.fromkeys(METRICS, 1.0)}
    return dict.fromkeys(COLUMNS) | run.identity() | metrics | facts | changes


# Writers are forked by a process that has imported everything: new ones take milliseconds, so the
# kills fall into their writing. POSIX lets a write end early; here every one does, and is slow.

WRITERS = """
import os, random, signal, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_ledger_under_fire import append, make_row

ledger, kills, writers, rows, longest = Path(sys.argv[2]), *map(int, sys.argv[3:])
whole_write = os.write
def write_a_piece(descriptor, data):
    time.sleep(1e-4)
    return whole_write(descriptor, data[:1000])
os.write = write_a_piece

def start(first, count):
    if writer := os.fork():
        return writer
    for number in range(first, first + count):
        append(ledger, make_row(number, length=number * 37 % 11 * longest // 10))
        whole_write(1, f"{number}\\n".encode())
    os._exit(0)

start_of_all = time.perf_counter()
append(ledger, make_row(10**9, length=longest))
seconds = 5 * (time.perf_counter() - start_of_all)  # a few rows, however slow the machine
for kill in range(kills):
    writer = start(1000 * kill, 1000)
    time.sleep(random.uniform(0, seconds))
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
for writer in [start(1000 * (kills + n), rows) for n in range(writers)]:
    assert os.waitpid(writer, 0)[1] == 0
"""


def write_by_processes(ledger, kills=0, writers=0, rows=0, longest=15_000):
    """Rows found by number, what was acknowledged, and the ledger's problems."""
    here = os.path.dirname(__file__)
    counts = map(str, (kills, writers, rows, longest))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WRITERS, here, str(ledger), *counts],
        stdout=subprocess.PIPE,
        check=True,
    )
    (_, *found), problems = read(ledger)  # the first tells how long a row takes
    numbers = [row["seed"] for row in found]
    assert len(numbers) == len(set(numbers)), "a row is there twice"
    for row in found:
        assert row == make_row(row["seed"], length=row["seed"] * 37 % 11 * longest // 10)
    return set(numbers), set(map(int, done.stdout.split())), problems


@pytest.mark.slow
def test_a_thousand_writers_killed_in_the_middle_lose_nothing_that_was_acknowledged(ledger):
    kills = 1000
    found, acknowledged, problems = write_by_processes(ledger, kills=kills, longest=1500)
    assert acknowledged <= found
    assert len(found - acknowledged) <= kills, "killed between writing and saying so, once a kill"
    assert len(acknowledged) > kills / 2
    assert 0 < len(problems) <= kills, "at most one torn line a kill"
    assert all("cut off or not JSON; skipped" in problem for problem in problems)


def test_lines_written_in_pieces_by_eight_processes_do_not_mix(ledger):
    found, acknowledged, problems = write_by_processes(ledger, writers=8, rows=25)
    assert problems == []
    assert found == acknowledged == {1000 * n + i for n in range(8) for i in range(25)}
    assert max(map(len, ledger.read_bytes().split(b"\n"))) > 2**16


def test_a_line_nested_deeper_than_can_be_parsed_is_garbage_like_any_other(ledger):
    append(ledger, make_row(0))
    with ledger.open("ab") as file:
        file.write(b"[" * 100_000 + b"\n")
    append(ledger, make_row(1))
    rows, (problem,) = read(ledger)
    assert [row["seed"] for row in rows] == [0, 1]
    assert f"{ledger} line 2: cut off or not JSON; skipped" == problem


def test_a_ledger_that_cannot_be_read_is_no_empty_one(ledger):
    ledger.mkdir(parents=True)
    for use in (read, check_writable, lambda path: append(path, make_row())):
        with pytest.raises(LedgerError, match="Is a directory"):
            use(ledger)


def test_to_ask_whether_a_ledger_can_be_written_leaves_it_as_it_is(ledger):
    append(ledger, make_row())
    before = ledger.read_bytes()[:-5]  # cut off
    ledger.write_bytes(before)
    check_writable(ledger)
    assert ledger.read_bytes() == before


def test_a_row_of_a_method_that_is_not_here_is_stale_and_nobodys(ledger):
    row = make_row(learner="unheard-of")
    assert "no method named 'unheard-of'" in why_stale(row, "d")
    assert identity(row) != identity(make_row())
