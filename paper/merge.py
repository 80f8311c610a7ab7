"""Brings the runs that were made elsewhere into the ledgers here: ``nox -s merge -- DIR...``.

A run that is in both with the same result is there once. One that has another result is a conflict:
nothing is written unless ``--keep-ours`` says that the row here stays. Whose numbers are the better
ones is never asked.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from baselines import BUILT_IN
from paper import convergence, paths
from paper.options import carry_out
from paper.results import (
    LedgerError,
    append,
    check_writable,
    identity,
    is_current,
    read,
)
from paper.runner import print_problems
from sal.train import Protocol

Row = Mapping[str, Any]
RESULT = ("status", "weights_sha256", "split")
"""What two rows of the same run must agree in, to the last bit. Equal weights may have losses that
another processor rounds otherwise."""
CONTEXT = ("learner_version", "data_sha256")
"""What the result of a run depends on besides its identity."""


@dataclass
class Merged:
    """What of other ledgers of one experiment goes into the one here."""

    new: list[Row] = field(default_factory=list)
    there: int = 0
    """Rows that are here already, with the same result."""
    stale: int = 0
    """Rows of other data or another version of the method: they do not count, and stay away."""
    foreign: int = 0
    """Rows that do not belong here: of methods from elsewhere, of try-outs of other epochs."""
    conflicts: list[tuple[Row, Row]] = field(default_factory=list)
    """Ours and theirs."""


def merge(ours: Sequence[Row], *others: Sequence[Row]) -> Merged:
    """Sorts the rows of other ledgers of the same experiment; the first of equal runs stays."""
    merged, known = Merged(), {_key(row): row for row in ours}
    for row in (row for other in others for row in other):
        mine = known.get(_key(row))
        if _is_foreign(row):
            merged.foreign += 1
        elif not is_current(row):
            merged.stale += 1
        elif mine is None:
            merged.new.append(row)
            known[_key(row)] = row
        elif all(mine[name] == row[name] for name in RESULT):
            merged.there += 1
        else:
            merged.conflicts.append((mine, row))
    return merged


def _is_foreign(row: Row) -> bool:
    epochs = row["protocol"].get("epochs", Protocol.epochs)
    try_out = row["experiment"] == convergence.EXPERIMENT and epochs != Protocol.epochs
    return try_out or row["learner"] not in {learner.name for learner in BUILT_IN}


def _key(row: Row) -> tuple[str, ...]:
    return identity(row), *(str(row[name]) for name in CONTEXT)


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
        "--keep-ours", action="store_true", help="leave out rows that conflict with those here"
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
            f"error: {len(conflicts)} runs have another result there than here; nothing was "
            "written. With another processor or PyTorch the last bits may differ, with the same "
            "ones none may. Find out which is the case, then leave theirs out: --keep-ours",
            file=sys.stderr,
        )
        return 2
    for name in merged:
        check_writable(place.ledger(name))
    for name, one in merged.items():
        for row in one.new:
            append(place.ledger(name), dict(row))
        console.print(
            f"{name}: {len(one.new)} rows added, {one.there} there already, {one.stale} stale, "
            f"{one.foreign} try-outs or of methods from elsewhere, "
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
    where = " and ".join(f"{row['machine']['cpu']} ({row['finished']})" for row in (ours, theirs))
    return f"{theirs['dataset']} {theirs['learner']} seed {theirs['seed']}: {differ}; {where}"


if __name__ == "__main__":
    sys.exit(main())
