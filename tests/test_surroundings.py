"""Clock, time zone, locale, encoding: what surrounds a run is not in its result."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from rows import row, write

from baselines import BPConfig
from paper import paths
from paper.results import current, read
from paper.runner import Task, run_row
from sal.run import Run
from sal.train import Protocol

ELSEWHERE = {
    "LC_ALL": "C",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONUTF8": "0",
    "TZ": "Asia/Kathmandu",
    "PYTHONHASHSEED": "7",
    "OMP_NUM_THREADS": "2",
    "COLUMNS": "40",
}
RUN = Run(dataset="digits", learner="bp", config=BPConfig(), seed=0, protocol=Protocol(epochs=2))
MAKE = """
import json, locale
assert locale.getpreferredencoding(False).upper() not in ("UTF-8", "UTF8")
from test_surroundings import RUN, Task, run_row
print(json.dumps(run_row(RUN, Task.now("table2", "cpu"))))
"""


def python(*arguments):
    here = os.path.dirname(__file__)
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=paths.REPOSITORY,
        env=os.environ | ELSEWHERE | {"PYTHONPATH": here},
        capture_output=True,
        text=True,
    )


def test_a_run_in_another_zone_locale_and_encoding_is_the_same_and_dated_in_utc():
    done = python("-c", MAKE)
    assert done.returncode == 0, done.stderr
    there, here = json.loads(done.stdout), run_row(RUN, Task.now("table2", "cpu"))
    finished = datetime.fromisoformat(there.pop("finished"))
    assert finished.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - finished) < timedelta(minutes=5)
    for name in ("finished", "seconds"):
        here.pop(name)
        there.pop(name, None)
    assert there == here


@pytest.mark.slow
def test_what_is_committed_is_rendered_to_the_same_bytes_in_an_ascii_locale():
    done = python("-m", "paper.check", "--rerun", "0")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_row_that_counts_is_the_last_one_written_whatever_the_clock_said(place):
    rows = [
        row(RUN, 50.0, finished="2026-06-01T00:00:00+00:00"),
        row(RUN, 60.0, finished="1970-01-01T00:00:00+00:00"),
    ]
    write(place, "table2", rows)
    (counts,) = current(read(place.ledger("table2"))[0]).values()
    assert counts["accuracy"] == 60.0


def test_a_clock_set_back_in_mid_run_gives_no_negative_time(monkeypatch):
    clock = iter(range(10**9, 0, -3600))
    monkeypatch.setattr("time.time", lambda: next(clock))
    made = run_row(RUN, Task.now("table2", "cpu"))
    assert 0 < made["seconds"] < 300
