"""Brings the runs that were made elsewhere into the ledgers here: ``nox -s merge -- DIR...``.

A run that is in several with the same result is there once. One with different results is a
conflict: nothing is written unless ``--keep-ours`` says that the row here stays, or that of the
folder given first. Whose numbers are the better ones is never asked.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from baselines import BUILT_IN_NAMES
from paper import convergence, paths
from paper.options import carry_out
from paper.results import (
    LedgerError,
    append,
    check_writable,
    current,
    label_of,
    read,
    run_of,
)
from paper.runner import print_problems
from sal.train import Protocol

Row = Mapping[str, Any]
RESULT = ("status", "weights_sha256", "split", "data_sha256")
"""What two rows of the same run must agree in, to the last bit. Equal weights may have losses that
another processor rounds otherwise."""


@dataclass
class Merged:
    """What of other ledgers of one experiment goes into the one here."""

    new: list[Row] = field(default_factory=list)
    there: int = 0
    """Runs that are here already, with the same result."""
    stale: int = 0
    """Rows that do not count where they are: of other data or another version of the method, or
    with a later row of the same run."""
    foreign: int = 0
    """Rows that do not belong here: of methods from elsewhere, of configurations that there are
    not, of uncommitted code, of try-outs of other epochs."""
    conflicts: list[tuple[Row, Row]] = field(default_factory=list)
    """The row that stays, and the other."""


def merge(ours: Sequence[Row], *others: Sequence[Row]) -> Merged:
    """Sorts the rows of other ledgers of the same experiment; the first of equal runs stays."""
    merged, known = Merged(), current(ours)
    for rows in others:
        own = [row for row in rows if not _is_foreign(row)]
        theirs = current(own)
        merged.foreign += len(rows) - len(own)
        merged.stale += len(own) - len(theirs)
        for run, row in theirs.items():
            if (mine := known.get(run)) is None:
                merged.new.append(row)
                known[run] = row
            elif all(mine[name] == row[name] for name in RESULT):
                merged.there += 1
            else:
                merged.conflicts.append((mine, row))
    return merged


def _is_foreign(row: Row) -> bool:
    epochs = row["protocol"].get("epochs", Protocol.epochs)
    try_out = row["experiment"] == convergence.EXPERIMENT and epochs != Protocol.epochs
    try:
        run_of(row)
    except (ValueError, TypeError):
        return True
    from_elsewhere = row["learner"] not in BUILT_IN_NAMES
    return try_out or from_elsewhere or row["git_dirty"] is not False


def ledgers(folder: Path) -> list[Path]:
    """The ledgers in a folder of results, or in ``results`` below it, or in ``paper/results``.

    Raises:
        ValueError: There are none.
    """
    for candidate in (folder, folder / "results", folder / "paper" / "results"):
        if found := sorted(candidate.glob("*.jsonl")):
            return found
    raise ValueError(
        f"no ledger in {folder}: give a folder of .jsonl files, one that has such a folder "
        "`results`, or a checkout"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 0 only if there is no conflict left."""
    parser = argparse.ArgumentParser(prog="merge", description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="results from there")
    parser.add_argument(
        "--keep-ours",
        action="store_true",
        help="leave out rows that conflict with those here, or in a folder given earlier",
    )
    options = parser.parse_args(arguments)
    return carry_out(
        lambda console: _run(options, paths.committed(), console),
        interrupted="what was written stands; the same command goes on",
    )


def _run(options: argparse.Namespace, place: paths.Place, console: Console) -> int:
    shards: dict[str, list[Path]] = {}
    for folder in options.folders:
        for file in ledgers(folder):
            shards.setdefault(file.stem, []).append(file)
    merged = {
        name: merge(_rows(place.ledger(name), name, console), *_read(files, name, console))
        for name, files in shards.items()
    }
    conflicts = [pair for one in merged.values() for pair in one.conflicts]
    for ours, theirs in conflicts:
        print(f"conflict: {_told(ours, theirs)}", file=sys.stderr)
    if conflicts and not options.keep_ours:
        print(
            f"error: {len(conflicts)} runs have different results in two ledgers; nothing was "
            "written. With another processor or PyTorch the last bits may differ, with the same "
            "ones none may. Find out which is the case; --keep-ours leaves out the second of each",
            file=sys.stderr,
        )
        return 2
    for name, one in merged.items():
        if one.new:
            check_writable(place.ledger(name))
    for name, one in merged.items():
        for row in one.new:
            append(place.ledger(name), dict(row))
        console.print(
            f"{name}: {len(one.new)} rows added, {one.there} there already, {one.stale} stale or "
            f"made again, {one.foreign} try-outs or of code that is not committed here, "
            f"{len(one.conflicts)} left out as conflicting",
            highlight=False,
            soft_wrap=True,
        )
    return 0


def _read(files: Iterable[Path], name: str, console: Console) -> list[list[Row]]:
    return [_rows(file, name, console) for file in files]


def _rows(ledger: Path, experiment: str, console: Console) -> list[Row]:
    rows, problems = read(ledger)
    print_problems(problems, console)
    if other := {row["experiment"] for row in rows} - {experiment}:
        raise LedgerError(
            f"{ledger} has rows of {', '.join(sorted(map(str, other)))}; a ledger is named after "
            "its experiment. Move them to ledgers of their own"
        )
    return rows


def _told(ours: Row, theirs: Row) -> str:
    differ = ", ".join(name for name in RESULT if ours[name] != theirs[name])
    where = " and ".join(f"{_machine(row)} ({row['finished']})" for row in (ours, theirs))
    return f"{label_of(theirs)}: {differ}; {where}"


def _machine(row: Row) -> str:
    return (row["machine"] or {}).get("cpu") or "a machine without a name"


if __name__ == "__main__":
    sys.exit(main())
