"""What the commands that train have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable

from joblib import cpu_count
from rich.console import Console

from paper.results import LedgerError
from sal.data import DATASETS, DataError, DataMissing, find, load
from sal.learner import DEVICES


def carry_out(command: Callable[[Console], int]) -> int:
    """The exit status of a command: its own, 2 for an error that it names, 130 for Ctrl-C."""
    console = Console()
    try:
        return command(console)
    except (ValueError, DataError, LedgerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        console.print("interrupted: finished runs are in the ledger; the same command goes on")
        return 130


def count(text: str) -> int:
    """An option's value as an integer >= 1.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer >= 1, got {text!r}")
    return int(text)


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--device`` and ``--jobs``."""
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="default cpu")
    parser.add_argument(
        "--jobs",
        type=count,
        metavar="N",
        default=cpu_count(),
        help="runs side by side, one thread each; default the number of cores",
    )


def of_the_paper(name: str) -> str:
    """The key of one of the paper's data sets.

    Raises:
        ValueError: It is none of them.
        UnknownDataset: There is no data set of this name.
    """
    key = find(name).key
    if key not in DATASETS:
        raise ValueError(f"{key} is not in the paper's tables, which have {', '.join(DATASETS)}")
    return key


def not_at_hand(names: Iterable[str]) -> tuple[dict[str, DataError], dict[str, DataError]]:
    """Data sets that cannot be had, and those that are there but not the official ones."""
    absent, corrupt = {}, {}
    for name in names:
        try:
            load(name)
        except DataMissing as error:
            absent[name] = error
        except DataError as error:
            corrupt[name] = error
    return absent, corrupt
