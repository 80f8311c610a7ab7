"""Trains what the recovery study lacks, and writes its report.

``python -m paper.recovery --help`` lists the options; ``nox -s recover -- OPTIONS`` is the same.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from joblib import cpu_count
from rich.console import Console

from paper import paths
from paper.recovery import report
from paper.recovery.study import EXPERIMENT, stages
from paper.results import LedgerError, check_writable, current, read
from paper.runner import make
from sal.data import DATASETS, DataError, resolve_name
from sal.learner import DEVICES
from sal.run import set_up_device


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 0 only if the study is complete."""
    options = _parser().parse_args(arguments)
    console = Console()
    place = paths.committed()
    try:
        if not options.render_only:
            set_up_device(options.device)
            _train(options, place, console)
        report.write(place, console)
        return 0
    except (ValueError, DataError, LedgerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        console.print("interrupted: finished runs are in the ledger; the same command goes on")
        return 130


def _train(options: argparse.Namespace, place: paths.Place, console: Console) -> None:
    ledger = place.ledger(EXPERIMENT)
    check_writable(ledger)
    only = [resolve_name(name) for name in options.datasets or DATASETS]
    rows = current(read(ledger)[0])
    for stage in stages(rows):
        runs = [
            run
            for run in stage.runs()
            if run.dataset in only and (options.seeds is None or run.seed < options.seeds)
        ]
        console.print(f"{stage.name}: {len(stage.settings)} settings, {len(runs)} runs")
        summary = make(runs, EXPERIMENT, place, console, device=options.device, jobs=options.jobs)
        if summary.failed:
            label, why = next(iter(summary.failed.items()))
            raise ValueError(f"{len(summary.failed)} runs failed, the first: {label}: {why}")
        rows.update(current(read(ledger)[0]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="recover", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--datasets", nargs="+", metavar="NAME", help="only runs on these; default all"
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="only seeds 0 to N-1")
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="default cpu")
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        default=cpu_count(),
        help="runs side by side, one thread each; default the number of cores",
    )
    parser.add_argument("--render-only", action="store_true", help="only write the report")
    return parser


if __name__ == "__main__":
    sys.exit(main())
