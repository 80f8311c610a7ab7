"""What the commands that train have in common."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from joblib import cpu_count

from sal.data import DataError, DataMissing, load
from sal.learner import DEVICES


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
