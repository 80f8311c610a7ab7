"""Carries out runs: side by side, resumable, with a progress bar, into the ledger.

Runs are spread over worker processes, each with one thread. The parent alone writes the ledger, one
row as soon as a run ends, so an interruption loses at most the runs in flight; and when the parent
ends, however it ends, its workers end too.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import pkgutil
import signal
import threading
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
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
from paper.results import append, check_writable, current, identity, key, read, why_stale
from sal.data import find, known_digest, load
from sal.run import Run, execute
from sal.train import CHECKPOINT_AFTER

ATTEMPTS = 3
"""How often a run is tried whose worker is killed."""
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Task:
    """What the runs of one call have in common."""

    experiment: str
    device: str
    provenance: str
    """As JSON, taken before the first run starts."""
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
        return cls(experiment, device, json.dumps(provenance(device)), checkpoint_after, probe)


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
    checkpoint_after: float = CHECKPOINT_AFTER,
    probe: str | None = None,
) -> Summary:
    """Makes the runs that the ledger does not hold yet; see ``sal.train`` for checkpoints.

    What a run holds besides what ``sal.train`` records is up to ``probe``, as in ``Task``: an
    experiment has the same for all of its runs.

    Raises:
        LedgerError: The ledger cannot be written. What was written before stands.
        KeyboardInterrupt: Ctrl-C; what was written before stands.
    """
    ledger = place.ledger(experiment)
    check_writable(ledger)
    rows, problems = read(ledger)
    todo = missing(runs, rows)
    print_problems(problems, console)
    _explain(runs, todo, rows, ledger.name, console)
    summary = Summary(skipped=len(runs) - len(todo))
    if not todo:
        return summary
    task = Task.now(experiment, device, checkpoint_after, probe)
    tasks = [(run, task, _checkpoint(place, run, task)) for run in todo]
    with _progress(console) as progress:
        bar = progress.add_task("", total=sum(map(_cost, todo)), runs=f"0/{len(todo)} runs")
        for ended, row, error in _in_parallel(
            tasks, min(jobs, len(tasks)), lambda run: progress.advance(bar, _cost(run, epochs=1))
        ):
            run, _, checkpoint = ended
            if error is None:
                append(ledger, row)
                _discard(checkpoint)
                summary.done += 1
            else:
                summary.failed[run.label] = error
            finished = summary.done + len(summary.failed)
            progress.update(bar, runs=f"{finished}/{len(todo)} runs")
            console.print(f"  {run.label}: {error or _metrics(row)}", highlight=False, markup=False)
    return summary


def run_row(run: Run, task: Task, checkpoint: Path | None = None, on_epoch=None) -> dict[str, Any]:
    """Carries out one run and makes its ledger row."""
    data = _dataset(run.dataset)
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
        **{name: outcome.last(name) for name in ("accuracy", "train_loss", "val_loss")},
        "history": outcome.history,
        "seconds": round(outcome.seconds, 2),
        "weights_sha256": outcome.weights_sha256,
        "data_sha256": data.sha256,
        "learner_version": learner_class(run.learner).version,
        **json.loads(task.provenance),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


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
    version = learner_class(run.learner).version
    name = f"{key(run)} {version} {known_digest(find(run.dataset))} {task.device}"
    name += f" {task.probe}" if task.probe else ""
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
                    with _sigint_held():
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


@contextmanager
def _sigint_held():
    """Holds Ctrl-C back, so that workers start without it: they inherit what is held back."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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


def _discard(checkpoint: Path) -> None:
    """Removes a checkpoint, and what a worker that was killed while writing it left."""
    if checkpoint.parent.is_dir():
        for file in checkpoint.parent.iterdir():
            if file.name.startswith(checkpoint.name):
                file.unlink(missing_ok=True)


def _work(run: Run, task: Task, checkpoint: Path):
    def on_epoch(epoch, outcomes) -> None:
        _epochs.put(run)

    try:
        return run_row(run, task, checkpoint, on_epoch), None
    except Exception as error:  # reported with the run's name; the other runs go on
        return None, f"{type(error).__name__}: {error}"
