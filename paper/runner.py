"""Carries out runs: side by side, resumable, with a progress bar, into the ledger.

Runs are spread over worker processes, each with one thread. The parent alone writes the ledger, one
row as soon as a run ends, so an interruption loses at most the runs in flight; and when the parent
ends, however it ends, its workers end too.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
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

from baselines import learner_class
from paper.paths import Place
from paper.provenance import provenance
from paper.results import append, check_writable, identity, key, read, why_stale
from sal.data import DATASETS, load
from sal.run import Run, execute

ATTEMPTS = 3
"""How often a run is tried whose worker is killed."""
POLL_SECONDS = 0.2


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
    jobs: int = 1,
) -> Summary:
    """Makes the runs that the ledger does not hold yet.

    Raises:
        LedgerError: The ledger cannot be written. What was written before stands.
        KeyboardInterrupt: Ctrl-C; what was written before stands.
    """
    ledger = place.ledger(experiment)
    check_writable(ledger)
    todo, skipped = _missing(runs, ledger, console)
    summary = Summary(skipped=skipped)
    if not todo:
        return summary
    tasks = [(run, experiment, device, str(_checkpoint(place, run))) for run in todo]
    with _progress(console) as progress:
        bar = progress.add_task("", total=sum(map(_cost, todo)), runs=f"0/{len(todo)} runs")
        for task, row, error in _in_parallel(
            tasks, min(jobs, len(tasks)), lambda run: progress.advance(bar, _cost(run, epochs=1))
        ):
            run = task[0]
            if error is None:
                append(ledger, row)
                summary.done += 1
            else:
                summary.failed[run.label] = error
            finished = summary.done + len(summary.failed)
            progress.update(bar, runs=f"{finished}/{len(todo)} runs")
            console.print(f"  {run.label}: {error or _metrics(row)}", highlight=False, markup=False)
    return summary


def run_row(run: Run, experiment: str, device: str, checkpoint: str | None, on_epoch) -> dict:
    """Carries out one run and makes its ledger row."""
    data = _dataset(run.dataset)
    outcome, split = execute(
        run,
        learner_class(run.learner),
        data,
        device=device,
        checkpoint=Path(checkpoint) if checkpoint else None,
        on_epoch=on_epoch,
    )
    areas = getattr(run.config, "areas", None)
    return {
        "experiment": experiment,
        **run.identity(),
        "areas": None if areas is None else list(areas),
        "epochs": run.protocol.epochs,
        "split": split,
        "status": outcome.status,
        **{name: outcome.last(name) for name in ("accuracy", "train_loss", "val_loss")},
        "history": outcome.history,
        "seconds": round(outcome.seconds, 2),
        "weights_sha256": outcome.weights_sha256,
        "data_sha256": data.sha256,
        "learner_version": learner_class(run.learner).version,
        **provenance(device),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@lru_cache(maxsize=1)
def _dataset(name: str):
    return load(name)


def _missing(runs: Sequence[Run], ledger: Path, console: Console) -> tuple[list[Run], int]:
    rows, problems = read(ledger)
    for problem in problems:
        console.print(problem, style="yellow", highlight=False, markup=False)
    by_run = {identity(row): row for row in rows}
    todo, stale = [], Counter()
    for run in runs:
        row = by_run.get(key(run))
        why = row and why_stale(row, DATASETS[run.dataset].content_sha256)
        if row is None or why:
            todo.append(run)
        if why:
            stale[why] += 1
    skipped = len(runs) - len(todo)
    if skipped:
        console.print(
            f"{skipped} of {len(runs)} runs are in {ledger.name} already, with the same "
            "configuration, data and version of the method: skipped",
            highlight=False,
        )
    for why, count in stale.items():
        console.print(
            f"{count} runs in {ledger.name} are stale, {why}: made again", highlight=False
        )
    return todo, skipped


def _checkpoint(place: Place, run: Run) -> Path:
    name = hashlib.sha256(f"{key(run)} {learner_class(run.learner).version}".encode()).hexdigest()
    return place.checkpoints() / f"{name[:20]}.pt"


def _cost(run: Run, epochs: int | None = None) -> float:
    """Arithmetic of a run in arbitrary units: the size of the progress bar."""
    spec = DATASETS[run.dataset]
    width = sum(getattr(run.config, "hidden", (256,)))
    return (epochs or run.protocol.epochs) * spec.n_train * spec.size[0] * spec.size[1] * width


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


def _in_parallel(tasks, jobs, on_epoch):
    """Yields (task, row, None) or (task, None, error) as runs end; restarts workers that die."""
    waiting, attempts = deque(tasks), Counter()
    context = multiprocessing.get_context("spawn")
    while waiting:
        epochs = context.SimpleQueue()
        alive, parent = context.Pipe(duplex=False)  # closes with this process: see _watch
        threading.Thread(target=_listen, args=(epochs, on_epoch), daemon=True).start()
        pool = ProcessPoolExecutor(
            jobs, mp_context=context, initializer=_start_worker, initargs=(epochs, alive)
        )
        flying: dict[Future, tuple] = {}
        try:
            while waiting or flying:
                while waiting and _may_start(waiting[0], flying.values(), attempts, jobs):
                    flying[pool.submit(_work, *waiting[0])] = waiting[0]
                    waiting.popleft()  # not before: submit raises if a worker has died
                for future in wait(flying, POLL_SECONDS, FIRST_COMPLETED).done:
                    task = flying[future]
                    row, error = future.result()
                    del flying[future]
                    yield task, row, error
        except BrokenProcessPool:
            for task in flying.values():
                attempts[task] += 1
                if attempts[task] < ATTEMPTS:
                    waiting.append(task)
                else:
                    yield task, None, f"its worker was killed {ATTEMPTS} times (out of memory?)"
        finally:
            parent.close()  # ends workers that are still at it
            pool.shutdown(wait=False, cancel_futures=True)


def _may_start(task, flying, attempts, jobs) -> bool:
    """Whether a task may start beside those in flight.

    A death ends every task in flight. So a last attempt is made alone, that none fails for another.
    """
    if attempts[task] == ATTEMPTS - 1:
        return not flying
    return len(flying) < jobs and all(attempts[other] < ATTEMPTS - 1 for other in flying)


def _listen(epochs, on_epoch) -> None:
    while True:
        on_epoch(epochs.get())


def _start_worker(epochs, alive) -> None:
    global _epochs
    _epochs = epochs
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=_watch, args=(alive,), daemon=True).start()


def _watch(alive) -> None:
    """Ends this worker as soon as its parent has ended, killed or not."""
    with suppress(EOFError, OSError):
        alive.recv()
    os._exit(1)


def _work(run: Run, experiment: str, device: str, checkpoint: str):
    def on_epoch(epoch, outcomes) -> None:
        _epochs.put(run)

    try:
        return run_row(run, experiment, device, checkpoint, on_epoch), None
    except Exception as error:  # reported with the run's name; the other runs go on
        return None, f"{type(error).__name__}: {error}"
