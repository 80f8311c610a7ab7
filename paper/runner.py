"""Carries out runs: side by side, resumable, with a progress bar, into the ledger.

A backend spreads runs over workers, each with one thread. This process alone writes the ledger, one
row as soon as a run ends, so an interruption loses at most the runs in flight.
"""

from __future__ import annotations

import hashlib
import pkgutil
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from baselines import learner_class, version_of
from paper.backends import Backend, OnEpoch
from paper.backends.here import Here
from paper.paths import Place
from paper.provenance import MADE_WITH, provenance
from paper.results import METRICS, append, check_writable, current, identity, key, read, why_stale
from sal.data import find, known_digest, load
from sal.run import Run, execute
from sal.train import CHECKPOINT_AFTER


@dataclass(frozen=True)
class Task:
    """What the runs of one call have in common."""

    experiment: str
    device: str
    made_with: str
    """As in ``provenance``: workers must have the same code as the process that gives them runs."""
    checkpoint_after: float
    probe: str | None = None
    """Where a ``sal.train.Probe`` is, such as "paper.mechanism:probe"; None: none."""

    @classmethod
    def now(
        cls,
        experiment: str,
        device: str,
        checkpoint_after: float = CHECKPOINT_AFTER,
        probe: str | None = None,
    ) -> Task:
        """For runs that start now."""
        return cls(experiment, device, MADE_WITH, checkpoint_after, probe)


Job = tuple[Run, Task, Path]
"""A run and where its checkpoint is: what a worker is given."""


@dataclass
class Summary:
    """What came of a set of runs."""

    done: int = 0
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    """Run's label -> why it has no result."""


def make(
    runs: Sequence[Run],
    experiment: str,
    place: Place,
    console: Console,
    *,
    device: str = "cpu",
    backend: Backend = Here(),  # noqa: B008 (it does not change)
    checkpoint_after: float = CHECKPOINT_AFTER,
    probe: str | None = None,
) -> Summary:
    """Makes the runs that the ledger does not hold yet; see ``sal.train`` for checkpoints.

    What a run holds besides what ``sal.train`` records is up to ``probe``, as in ``Task``: an
    experiment has the same for all of its runs.

    Raises:
        LedgerError: The ledger cannot be written. What was written before stands.
        ValueError: The backend cannot be used as it was set up.
        KeyboardInterrupt: Ctrl-C; what was written before stands.
    """
    runs, ledger = list(dict.fromkeys(runs)), place.ledger(experiment)
    check_writable(ledger)
    rows, problems = read(ledger)
    todo = missing(runs, rows)
    print_problems(problems, console)
    _explain(runs, todo, rows, ledger.name, console)
    summary = Summary(skipped=len(runs) - len(todo))
    if not todo:
        return summary
    task = Task.now(experiment, device, checkpoint_after, probe)
    jobs: list[Job] = [(run, task, _checkpoint(place, run, task)) for run in todo]
    with _progress(console) as progress:
        bar = progress.add_task("", total=sum(map(_cost, todo)), runs=f"0/{len(todo)} runs")
        seen = Counter()  # epochs of each run, not once more where it starts anew

        def on_epoch(job: Job, epoch: int) -> None:
            run = job[0]
            if (more := epoch - seen[run]) > 0:
                seen[run] = epoch
                progress.advance(bar, more * _cost(run, epochs=1))

        with closing(backend.carry_out(jobs, _work, on_epoch)) as ended:
            for job, row, error in ended:
                run, _, checkpoint = job
                if error is None and identity(row) != key(run):
                    error = f"the backend gives it the row of another run, {identity(row)}"
                if error is None and (why := why_stale(row, None)):
                    error = f"{why}: its file changed meanwhile, start the command anew"
                if error is None:
                    error = _kept(row, ledger)
                if error is None:
                    _discard(checkpoint)
                    summary.done += 1
                else:
                    summary.failed[run.label] = error
                on_epoch(job, run.protocol.epochs)
                finished = summary.done + len(summary.failed)
                progress.update(bar, runs=f"{finished}/{len(todo)} runs")
                console.print(
                    f"  {run.label}: {error or _metrics(row)}", highlight=False, markup=False
                )
    return summary


def _kept(row: Mapping[str, Any], ledger: Path) -> str | None:
    """Puts a row into the ledger; why it cannot be one, if it cannot."""
    try:
        append(ledger, row)
    except (TypeError, ValueError) as error:
        return f"its row is no JSON: {error}"
    return None


def run_row(run: Run, task: Task, checkpoint: Path | None = None, on_epoch=None) -> dict[str, Any]:
    """Carries out one run and makes its ledger row.

    Raises:
        RuntimeError: The code here is not what the task was started with.
        ValueError: It has changed since it was imported.
        Exception: Whatever the run raises.
    """
    if task.made_with != MADE_WITH:
        raise RuntimeError(
            f"the worker on {platform.node()} has {MADE_WITH}, the command that gave it the run "
            f"{task.made_with}: bring both to the same state and start both anew"
        )
    data, where = _dataset(run.dataset), _provenance(task.device)
    outcome, split = execute(
        run,
        learner_class(run.learner),
        data,
        device=task.device,
        checkpoint=checkpoint,
        checkpoint_after=task.checkpoint_after,
        on_epoch=on_epoch or (lambda epoch, outcomes: None),
        probe=task.probe and pkgutil.resolve_name(task.probe),
    )
    areas = getattr(run.config, "areas", None)
    return {
        "experiment": task.experiment,
        **run.identity(),
        "areas": None if areas is None else list(areas),
        "epochs": run.protocol.epochs,
        "split": split,
        "status": outcome.status,
        **{name: outcome.last(name) for name in METRICS},
        "history": outcome.history,
        "seconds": round(outcome.seconds, 2),
        "weights_sha256": outcome.weights_sha256,
        "data_sha256": data.sha256,
        "learner_version": version_of(learner_class(run.learner)),
        **where,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@lru_cache(maxsize=1)
def _provenance(device: str) -> dict[str, Any]:
    return provenance(device)  # what this process has imported, whatever is committed later


@lru_cache(maxsize=1)
def _dataset(name: str):
    return load(name)


def missing(runs: Sequence[Run], rows: Sequence[dict[str, Any]]) -> list[Run]:
    """The runs that have no row that counts."""
    there = current(rows)
    return [run for run in runs if key(run) not in there]


def print_problems(problems: Sequence[str], console: Console) -> None:
    """Prints which lines of the ledger had to be skipped, and why, as ``read`` tells."""
    for problem in problems:
        console.print(problem, style="yellow", highlight=False, markup=False, soft_wrap=True)


def _explain(
    runs: Sequence[Run],
    todo: Sequence[Run],
    rows: Sequence[dict[str, Any]],
    ledger: str,
    console: Console,
) -> None:
    """Says which runs are skipped, and which are made again and why."""
    if skipped := len(runs) - len(todo):
        console.print(
            f"{skipped} of {len(runs)} runs are in {ledger} already, with the same "
            "configuration, data and version of the method: skipped",
            highlight=False,
        )
    wanted = {key(run): run for run in todo}
    stale = {
        name: why_stale(row, known_digest(find(wanted[name].dataset)))
        for row in rows
        if (name := identity(row)) in wanted
    }
    for why, count in Counter(stale.values()).items():
        console.print(f"{count} runs in {ledger} are stale, {why}: made again", markup=False)


def _checkpoint(place: Place, run: Run, task: Task) -> Path:
    version = version_of(learner_class(run.learner))
    name = f"{key(run)} {version} {known_digest(find(run.dataset))} {task.device}"
    name += f" {task.made_with}" + (f" {task.probe}" if task.probe else "")
    return place.checkpoints() / f"{hashlib.sha256(name.encode()).hexdigest()[:20]}.pt"


def _cost(run: Run, epochs: int | None = None) -> float:
    """Arithmetic of a run in arbitrary units: the size of the progress bar."""
    spec = find(run.dataset)
    width = sum(getattr(run.config, "hidden", (256,)))
    rows, columns = (run.protocol.size or length for length in spec.size)
    return (epochs or run.protocol.epochs) * spec.counts["train"] * rows * columns * width


def _metrics(row: dict[str, Any]) -> str:
    if row["status"] != "ok":
        return f"{row['status']} after {len(row['history'].get('accuracy', []))} epochs"
    return (
        f"{row['accuracy']:.2f} %, loss {row['train_loss']:.3f} (training) "
        f"{row['val_loss']:.3f} (validation), {row['seconds']:.0f} s"
    )


def _progress(console: Console) -> Progress:
    return Progress(
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TextColumn("{task.fields[runs]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
        console=console,
        disable=not console.is_terminal,
        speed_estimate_period=600,
    )


def _discard(checkpoint: Path) -> None:
    """Removes a checkpoint, and what a worker that was killed while writing it left."""
    if checkpoint.parent.is_dir():
        for file in checkpoint.parent.iterdir():
            if file.name.startswith(checkpoint.name):
                file.unlink(missing_ok=True)


def _work(job: Job, on_epoch: OnEpoch) -> dict[str, Any]:
    run, task, checkpoint = job
    return run_row(run, task, checkpoint, lambda epoch, outcomes: on_epoch(epoch))
