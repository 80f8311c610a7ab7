"""Trains what the recovery study lacks, and writes its report.

``python -m paper.recovery --help`` lists the options; ``nox -s recover -- OPTIONS`` is the same.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from paper import convergence, paths
from paper.options import add_machine_options, carry_out, count, machines, not_at_hand, of_the_paper
from paper.recovery import report
from paper.recovery.study import EXPERIMENT, ledgers, stages
from paper.results import check_writable, counting, key
from paper.runner import make
from sal.data import DATASETS


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 0 only if the study is complete."""
    options = _parser().parse_args(arguments)
    return carry_out(lambda console: _run(options, console))


def _run(options: argparse.Namespace, console: Console) -> int:
    place = paths.committed()
    failed = {} if options.render_only else _train(options, place, console)
    complete = report.write(place, console)
    for label, why in failed.items():
        print(f"error: {label}: {why}", file=sys.stderr)
    if not complete:
        console.print("the study is not complete: the same command goes on")
    return 0 if complete and not failed else 1


def _train(options: argparse.Namespace, place: paths.Place, console: Console) -> dict[str, object]:
    """Makes the runs of one stage after the other; returns what failed, and why."""
    machine = machines(options, place)
    ledger = place.ledger(EXPERIMENT)
    check_writable(ledger)
    only = [of_the_paper(name) for name in options.datasets or DATASETS]
    elsewhere = counting(place, convergence.EXPERIMENT)
    there = ledgers(place)
    for stage in stages(there):
        runs = [
            run
            for run in stage.runs()
            if run.dataset in only
            and (options.seeds is None or run.seed < options.seeds)
            and key(run) not in elsewhere
        ]
        needed = {run.dataset for run in runs if key(run) not in there}
        absent, corrupt = not_at_hand(sorted(needed))
        if lacking := absent | corrupt:
            return lacking
        console.print(f"{stage.name}: {len(stage.settings)} settings, {len(runs)} runs")
        summary = make(runs, EXPERIMENT, place, console, **machine)
        if summary.failed:
            return summary.failed
        there.update(ledgers(place))
    return {}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="recover", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--datasets", nargs="+", metavar="NAME", help="only runs on these; default all"
    )
    parser.add_argument("--seeds", type=count, metavar="N", help="only seeds 0 to N-1")
    add_machine_options(parser)
    parser.add_argument("--render-only", action="store_true", help="only write the report")
    return parser


if __name__ == "__main__":
    sys.exit(main())
