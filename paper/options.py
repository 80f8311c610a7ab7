"""What the commands that train have in common."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from joblib import cpu_count
from rich.console import Console

from paper.backends import Backend
from paper.backends.here import Here
from paper.backends.processes import Processes
from paper.cells import SEEDS
from paper.paths import Place
from paper.results import LedgerError, check_writable, read
from paper.runner import Summary, make, missing
from sal.data import DATASETS, DataError, DataMissing, find, load
from sal.learner import DEVICES
from sal.run import Run, set_up_device

GOES_ON = "finished runs are in the ledger; the same command goes on"


def carry_out(command: Callable[[Console], int], interrupted: str = GOES_ON) -> int:
    """The exit status of a command: its own, 2 for an error that it names, 130 for Ctrl-C.

    Errors that are named: wrong choices, data, ledgers, and files that cannot be read or written.
    ``interrupted`` says what is left of it after Ctrl-C. ``kill`` and a terminal that closes do
    the same as Ctrl-C, so that jobs on clusters end too.
    """
    console = Console()
    try:
        with _stopped_by(signal.SIGTERM, signal.SIGHUP):
            return command(console)
    except (ValueError, DataError, LedgerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.filename is None:
            raise
        print(f"error: cannot use {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        console.print(f"interrupted: {interrupted}")
        return 130


@contextmanager
def _stopped_by(*signals: signal.Signals) -> Iterator[None]:
    """Raises KeyboardInterrupt for signals that would end this process, unless they are ignored."""

    def stop(number, frame) -> None:
        for each in ending:  # a terminal that closes sends more than one
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    ending = [number for number in signals if signal.getsignal(number) == signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        ending = []  # only there can they be handled
    try:
        for number in ending:
            signal.signal(number, stop)
        yield
    finally:
        for number in ending:
            signal.signal(number, signal.SIG_DFL)


def count(text: str) -> int:
    """An option's value as an integer >= 1.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer >= 1, got {text!r}")
    return int(text)


def seeds(text: str) -> int:
    """An option's value as a number of seeds, 1 to those that tables and figures average.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    if count(text) > SEEDS:
        raise argparse.ArgumentTypeError(f"must be at most {SEEDS}, which are averaged, got {text}")
    return int(text)


BACKENDS = {
    "processes": "a worker process each on this machine",
    "loky": "the same by joblib's loky",
    "here": "one after another in this process, for a debugger",
    "dask": "on a Dask cluster that is there: --scheduler",
    "slurm": "as jobs of Slurm through submitit: --submit",
}
"""Where runs can be carried out; the first is the default."""


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--device``, ``--jobs``, and ``--backend`` with what belongs to it."""
    group = parser.add_argument_group("machines")
    group.add_argument("--device", choices=DEVICES, default="cpu", help="default cpu")
    group.add_argument(
        "--jobs",
        type=count,
        metavar="N",
        default=cpu_count(),
        help="runs side by side, one thread each; default the number of cores. Dask takes what "
        "its workers can do",
    )
    default, *_ = BACKENDS
    group.add_argument(
        "--backend",
        choices=BACKENDS,
        default=default,
        help="; ".join(f"{name}: {what}" for name, what in BACKENDS.items())
        + f". Default {default}. Clusters need the same files as this machine",
    )
    group.add_argument("--scheduler", metavar="ADDRESS", help="Dask's, such as tcp://host:8786")
    group.add_argument(
        "--submit",
        nargs="+",
        action="extend",
        type=_parameter,
        default=[],
        metavar="KEY=VALUE",
        help="for submitit, such as slurm_partition=cpu timeout_min=240; cluster=local tries it "
        "without Slurm",
    )


def _parameter(text: str) -> tuple[str, str | int | float | bool]:
    """As in JSON where that says the same: 4, 0.5, true; else a text: 00:30:00, 0042, 1.10."""
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise argparse.ArgumentTypeError(f"must be KEY=VALUE, got {text!r}")
    try:
        meant = json.loads(value, parse_constant=str)
    except ValueError:
        return key, value
    is_number = isinstance(meant, int | float) and json.dumps(meant) == value
    return key, meant if is_number else value


def machines(options: argparse.Namespace, place: Place) -> dict[str, Any]:
    """Device and backend of ``runner.make``, as asked for by ``add_machine_options``.

    Raises:
        ValueError: The device is not there, a package is missing, or an option that the backend
            needs; or there is one that it does not.
    """
    backend = options.backend
    for name, used_by in (("scheduler", "dask"), ("submit", "slurm")):
        if getattr(options, name) and backend != used_by:
            raise ValueError(f"--{name} is for --backend {used_by}, not for {backend}")
    try:
        chosen = _backend(options, place)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"--backend {backend} needs the package {error.name}: in the checkout, pip install -e "
            "'.[cluster]'"
        ) from error
    if backend not in ("dask", "slurm"):  # whose machines find out for themselves
        set_up_device(options.device)
    return {"device": options.device, "backend": chosen}


def _backend(options: argparse.Namespace, place: Place) -> Backend:
    # Those of clusters are imported where they are used: their packages are optional.
    match options.backend:
        case "here":
            return Here()
        case "dask":
            from paper.backends.dask import Dask

            if not options.scheduler:
                raise ValueError("--backend dask needs --scheduler, such as tcp://host:8786")
            return Dask(options.scheduler)
        case "slurm":
            from paper.backends.slurm import Slurm

            return Slurm(place.checkpoints() / "submitit", options.jobs, dict(options.submit))
        case name:
            return Processes(options.jobs, by_loky=name == "loky")


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


@dataclass
class Trained:
    """What came of runs that were asked for."""

    todo: Sequence[Run]
    """Those whose data set is at hand, or whose rows are there."""
    summary: Summary
    absent: Mapping[str, DataError]
    """Data sets that are not at hand, by name."""
    failures: dict[str, object]
    """What failed, and why: runs, data sets that are not the official ones, and absent ones that
    were asked for by name."""

    def tell(self, console: Console) -> int:
        """Prints what is missing, and how to get it. Returns the exit status."""
        named = {DATASETS[name].title for name in self.absent} & self.failures.keys()
        if self.absent and not named:
            titles = ", ".join(DATASETS[name].title for name in self.absent)
            console.print(
                f"Left out, not at hand: {titles}. To get them: `python -m sal.data "
                f"{' '.join(self.absent)}` fetches them where there is a network and says why it "
                "cannot; or set SAL_DATA_DIR to a folder that it filled on another machine.",
                highlight=False,
                soft_wrap=True,
            )
        for label, why in self.failures.items():
            print(f"error: {label}: {why}", file=sys.stderr)
        return 1 if self.failures else 0


def train(
    runs: Sequence[Run],
    experiment: str,
    place: Place,
    console: Console,
    options: argparse.Namespace,
    by_name: bool,
    probe: str | None = None,
) -> Trained:
    """Makes the runs that the ledger does not hold and whose data are at hand.

    Args:
        runs: All that is asked for.
        experiment: Of the ledger.
        place: Where it lies.
        console: For progress.
        options: Of ``add_machine_options``.
        by_name: Whether the data sets were asked for by name, so that an absent one is a failure.
        probe: As in ``runner.make``.

    Raises:
        ValueError: As for ``machines``.
        LedgerError: The ledger cannot be written.
    """
    machine = machines(options, place)
    ledger = place.ledger(experiment)
    check_writable(ledger)
    needed = {run.dataset for run in missing(runs, read(ledger)[0])}
    absent, corrupt = not_at_hand([name for name in DATASETS if name in needed])
    todo = [run for run in runs if run.dataset not in absent | corrupt]
    summary = make(todo, experiment, place, console, **machine, probe=probe)
    failures = {DATASETS[name].title: error for name, error in corrupt.items()} | summary.failed
    if by_name:
        failures |= {DATASETS[name].title: error for name, error in absent.items()}
    return Trained(todo, summary, absent, failures)


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
