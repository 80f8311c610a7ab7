"""Checks what is committed: tables equal their ledgers, rows have a past, results can be repeated.

``python -m paper.check --help`` lists the options; ``nox -s check_paper -- OPTIONS`` is the same.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from baselines import BUILT_IN_NAMES
from paper import (
    against_moe,
    anchors,
    billion,
    claims,
    convergence,
    costs,
    deviations,
    health,
    measured,
    mechanism,
    memory,
    paths,
    routing,
    scaling,
    table1,
    tuning,
)
from paper.provenance import git
from paper.recovery import report as recovery
from paper.results import identity, is_current, label_of, read, run_of
from paper.runner import Task, run_row
from sal.learner import DEVICES

LEDGERS = (
    *(module.EXPERIMENT for module in (convergence, recovery, anchors)),
    *(module.EXPERIMENT for module in (tuning, mechanism, routing, deviations)),
    *(experiment.name for experiment in scaling.EXPERIMENTS.values()),
)
"""Experiments whose ledger is committed."""
PROBES = {mechanism.EXPERIMENT: mechanism.PROBE}
"""What they look at besides."""
TABLES = (
    *(convergence, recovery, anchors, table1),
    *(scaling, against_moe, billion, memory, costs, health, tuning, mechanism, routing),
    *(deviations, claims),
)
"""Modules with committed ``pages(place)``, and the nox SESSION that writes them."""
RERUN_DATASET = "digits"
"""Of the rows that are made again: at hand everywhere, and quick."""
MACHINE = ("cpu", "isa", "arch", "system")
"""Two machines that agree in these give the same bits."""
ELSEWHERE = {"accuracy": 2.0, "train_loss": 0.01, "val_loss": 0.01}
"""How far a repeated run may be off on another machine: percent points, nats."""


def table_problems(place: paths.Place) -> list[str]:
    """Tables that are not what their ledger renders to."""
    problems = []
    for module in TABLES:
        for path, text in module.pages(place).items():
            if not path.exists():
                problems.append(f"{path} is missing: run nox -s {module.SESSION}")
            elif path.read_text(encoding="utf-8") != text:
                problems.append(
                    f"{path} is not what the ledger renders to: it was edited, or not rendered "
                    f"again; run nox -s {module.SESSION} -- --render-only"
                )
    return problems


def row_problems(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Rows that may not be committed: of unknown or uncommitted code, or contradicting others."""
    problems, ancestors, weights, digests = [], {}, {}, {}
    for row in rows:
        label = label_of(row)
        # Nothing is said of former methods.
        if row["learner"] not in BUILT_IN_NAMES and is_current(row):
            problems.append(f"{label}: no method of this repository; keep its rows where it is")
        sha = row["git_sha"]
        if sha is None or row["git_dirty"] is not False:
            problems.append(f"{label}: made from uncommitted code; commit, then make it again")
            continue
        if sha not in ancestors:
            ancestors[sha] = git("merge-base", "--is-ancestor", sha, "HEAD") is not None
        if not ancestors[sha]:
            problems.append(f"{label}: commit {sha[:12]} is not in the history of HEAD")
        digest = digests.setdefault(row["dataset"], row["data_sha256"]) if is_current(row) else None
        if digest not in (None, row["data_sha256"]):  # of a set whose digest is not published
            problems.append(f"{label}: other rows of this data set were made on other data")
        where = (identity(row), row["learner_version"], row["data_sha256"], _machine(row))
        if weights.setdefault(where, row["weights_sha256"]) != row["weights_sha256"]:
            problems.append(f"{label}: two rows of the same run on one machine type disagree")
    return problems


def rerun_problem(row: dict[str, Any], device: str = "cpu") -> str | None:
    """Makes a row's run again on a device; says how the outcome differs, if it does."""
    label = label_of(row)
    try:
        run = run_of(row)
    except (ValueError, TypeError) as error:
        return f"{label}: cannot be made again: {error}"
    again = run_row(run, Task.now(row["experiment"], device, probe=PROBES.get(row["experiment"])))
    if _machine(row) == _machine(again):
        same = again["weights_sha256"] == row["weights_sha256"]
        print(f"  {label}: weights {'equal' if same else 'DIFFER'} (same machine type)")
        if not same:
            return f"{label}: made again, its weights differ from the ledger's"
        other = [name for name, own in row["history"].items() if again["history"].get(name) != own]
        return f"{label}: made again, {', '.join(other)} differ" if other else None
    if again["status"] != row["status"]:
        return f"{label}: made again, it is {again['status']}, not {row['status']}"
    off = {
        name: abs(again[name] - row[name])
        for name, tolerance in ELSEWHERE.items()
        if row["status"] == "ok" and not abs(again[name] - row[name]) <= tolerance
    }
    print(f"  {label}: metrics {'differ' if off else 'agree'} (another machine or PyTorch)")
    return f"{label}: made again, it is off by {off}" if off else None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns 0 if everything holds, else 1."""
    parser = argparse.ArgumentParser(prog="check_paper", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rerun",
        type=int,
        default=2,
        metavar="N",
        help="rows of Digits of each ledger to make again; default 2",
    )
    parser.add_argument("--draw", type=int, metavar="SEED", help="repeat a draw of those rows")
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="default cpu")
    options = parser.parse_args(arguments)
    place = paths.committed()
    problems = table_problems(place) + measured.problems(place)
    if git("rev-parse", "HEAD") is None:
        problems.append("rows cannot be checked: this is no git checkout with its history")
    draw = random.randrange(2**32) if options.draw is None else options.draw
    chosen = []
    for name in LEDGERS:
        rows, torn = read(place.ledger(name))
        problems += torn + row_problems(rows)
        counting = [row for row in rows if is_current(row)]
        digits = [row for row in counting if row["dataset"] == RERUN_DATASET]
        chosen += random.Random(draw).sample(digits, min(options.rerun, len(digits)))
        print(f"{name}: {len(rows)} rows, {len(rows) - len(counting)} of them stale")
    if options.rerun and not chosen:
        problems.append(f"there is no row of {RERUN_DATASET} to make again")
    print(f"making {len(chosen)} rows of {RERUN_DATASET} again (--draw {draw})")
    problems += filter(None, (rerun_problem(row, options.device) for row in chosen))
    return _report(problems)


def _report(problems: Iterable[str]) -> int:
    problems = list(problems)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    print("nothing to object to" if not problems else f"{len(problems)} problems")
    return 1 if problems else 0


def _machine(row: dict[str, Any]) -> tuple:
    return (
        *((row["machine"] or {}).get(name) for name in MACHINE),
        row["torch_version"],
        row["device"],
    )


if __name__ == "__main__":
    sys.exit(main())
