"""The ledger: ``<experiment>.jsonl``, one line a run, only ever appended to.

A line is written under a lock, in one go, and flushed to the disk before the lock is released. A
process that dies in the middle leaves at most one line that is cut off; it is reported and skipped,
and the next line starts on a line of its own.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from baselines import learner_class, version_of
from paper import paths
from sal.config import Config
from sal.data import DataError, find, known_digest
from sal.run import Run
from sal.train import Protocol

COLUMNS = (
    "experiment dataset learner config areas seed epochs protocol split status accuracy train_loss "
    "val_loss history seconds weights_sha256 data_sha256 learner_version git_sha git_dirty "
    "torch_version device machine finished"
).split()
METRICS = ("accuracy", "train_loss", "val_loss")
"""Columns after the last epoch; None where a run diverged."""


class LedgerError(Exception):
    """The ledger cannot be read or written; the message says why and what to do."""


def check_writable(ledger: Path) -> None:
    """Raises LedgerError unless a row could be appended. Call it before hours of training."""
    try:
        ledger.parent.mkdir(parents=True, exist_ok=True)
        with ledger.open("ab"):
            pass
    except OSError as error:
        raise LedgerError(
            f"cannot write results to {ledger}: {error.strerror}. Make the folder writable."
        ) from error


def append(ledger: Path, row: dict[str, Any]) -> None:
    """Adds a row, for good: it is on the disk when this returns, or the ledger is as it was.

    Raises:
        LedgerError: The disk is full or the file not writable; the message has the row, so that
            nothing is lost.
        ValueError: The row holds NaN or infinity, or lacks a column.
    """
    if missing := [column for column in COLUMNS if column not in row]:
        raise ValueError(f"a ledger row needs {', '.join(missing)}")
    line = json.dumps(row, allow_nan=False, separators=(",", ":"))
    try:
        ledger.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(ledger, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            _append_locked(descriptor, line.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise LedgerError(
            f"cannot write a result to {ledger}: {error.strerror}. Free some space or make the "
            f"file writable, then append this line to it by hand or repeat the run:\n{line}"
        ) from error


def _append_locked(descriptor: int, line: bytes) -> None:
    size = os.fstat(descriptor).st_size
    cut_off = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
    data = (b"\n" if cut_off else b"") + line + b"\n"
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def read(ledger: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """All rows of a ledger, and what was wrong with the lines that were skipped.

    Raises:
        LedgerError: The file is there and cannot be read.
    """
    try:
        lines = ledger.read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], []
    except OSError as error:
        raise LedgerError(f"cannot read {ledger}: {error.strerror}") from error
    rows, problems = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if what := _wrong_with(row):
                problems.append(f"{ledger} line {number}: {what}; skipped")
                continue
        except (ValueError, RecursionError):
            problems.append(f"{ledger} line {number}: cut off or not JSON; skipped")
        else:
            rows.append(row)
    return rows, problems


def _wrong_with(row: Any) -> str | None:
    if not isinstance(row, dict):
        return "no row"
    if lacking := [column for column in COLUMNS if column not in row]:
        return f"lacks {', '.join(lacking)}"
    if row["status"] not in ("ok", "diverged") or type(row["seed"]) is not int:
        return f"status {row['status']!r} or seed {row['seed']!r} is none"
    if row["status"] == "ok" and (bad := [name for name in METRICS if not _is_finite(row[name])]):
        return f"{', '.join(bad)} of a run that is ok must be finite numbers"
    objects = [name for name in ("config", "protocol") if not isinstance(row[name], dict)]
    texts = [name for name in ("dataset", "learner") if not isinstance(row[name], str)]
    return f"{', '.join(objects + texts)} of the wrong type" if objects or texts else None


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def load(experiment: str = "table2", place: paths.Place | None = None) -> pd.DataFrame:
    """The ledger of an experiment as a table, one row a run, in order of writing.

    Warns of lines that had to be skipped.

    Raises:
        LedgerError: There is no such ledger, or it cannot be read.
    """
    ledger = (place or paths.committed()).ledger(experiment)
    if not ledger.exists():
        there = sorted(path.stem for path in ledger.parent.glob("*.jsonl"))
        raise LedgerError(f"there is no ledger {ledger}; there are {', '.join(there) or 'none'}")
    rows, problems = read(ledger)
    for problem in problems:
        warnings.warn(problem, stacklevel=2)
    return pd.DataFrame(rows, columns=None if rows else COLUMNS)


def identity(row: dict[str, Any]) -> str:
    """What makes a row the result of a run: equal to ``key`` of that run."""
    try:  # fields added since the row was written take their defaults
        config = _config_of(row).to_dict()
        protocol = Protocol.from_dict(row["protocol"]).to_dict()
    except (ValueError, TypeError):  # a method or configuration that is not here: no run's result
        return _canonical(row)
    return _canonical({**row, "config": config, "protocol": protocol})


def run_of(row: Mapping[str, Any]) -> Run:
    """The run that a row is the result of.

    Raises:
        ValueError: There is no such method or configuration here.
    """
    return Run(
        dataset=row["dataset"],
        learner=row["learner"],
        config=_config_of(row),
        seed=row["seed"],
        protocol=Protocol.from_dict(row["protocol"]),
    )


def _config_of(row: Mapping[str, Any]) -> Config:
    method = learner_class(row["learner"])
    try:
        return method.Config.from_dict(row["config"])
    except Exception as error:  # a plug-in may refuse what it took before, in any way
        raise ValueError(f"{row['learner']} refuses its configuration: {error}") from error


def label_of(row: Mapping[str, Any]) -> str:
    """The label of a row's run, or as much of it as can be told here."""
    try:
        return run_of(row).label
    except (ValueError, TypeError):
        return f"{row['dataset']} {row['learner']} seed {row['seed']}"


def key(run: Run) -> str:
    """What ``identity`` gives for a row of this run."""
    return _canonical(run.identity())


def current(rows: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The row that counts for each run, by ``identity``: the last that is not stale."""
    return {identity(row): row for row in rows if is_current(row)}


def counting(place: paths.Place, *experiments: str) -> dict[str, Mapping[str, Any]]:
    """``current`` of the ledgers of some experiments together."""
    return current([row for name in experiments for row in read(place.ledger(name))[0]])


def is_current(row: Mapping[str, Any]) -> bool:
    """Whether a row is of a data set and a method as they are here."""
    try:
        return why_stale(row, known_digest(find(row["dataset"]))) is None
    except DataError:  # a data set that there is not
        return False


def why_stale(row: Mapping[str, Any], data_sha256: str | None) -> str | None:
    """Why a row no longer counts; None if it does. ``data_sha256``: as it should be, if known."""
    try:
        version = version_of(learner_class(row["learner"]))
    except ValueError as error:
        return str(error)
    if row["learner_version"] != version:
        return f"made by version {row['learner_version']} of {row['learner']}, now {version}"
    if data_sha256 is not None and row["data_sha256"] != data_sha256:
        return f"made on data {str(row['data_sha256'])[:12]}, now {data_sha256[:12]}"
    return None


def _canonical(values: dict[str, Any]) -> str:
    parts = ("dataset", "learner", "config", "seed", "protocol")
    return json.dumps({part: values[part] for part in parts}, sort_keys=True)
