"""Jobs side by side in worker processes of this machine.

When this process ends, however it ends, its workers end too.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from joblib.externals import loky

from paper.backends import ATTEMPTS, POLL_SECONDS, Endings, Job, Work, killed, outcome


@dataclass(frozen=True)
class Processes:
    """Worker processes, by the standard library or by loky, which joblib brings."""

    count: int = 1
    by_loky: bool = False

    def carry_out(
        self, jobs: Sequence[Job], work: Work, on_epoch: Callable[[Job, int], None]
    ) -> Endings:
        """See ``Backend``."""
        waiting, attempts = deque(jobs), Counter()
        count = min(self.count, len(jobs))
        while waiting:
            pool, parent = self._pool(count, on_epoch)
            flying: dict[Future, Job] = {}
            try:
                while waiting or flying:
                    while waiting and _may_start(waiting[0], flying.values(), attempts, count):
                        with _sigint_held():
                            flying[pool.submit(_work, work, waiting[0])] = waiting[0]
                        waiting.popleft()  # not before: submit raises if a worker has died
                    for future in wait(flying, POLL_SECONDS, FIRST_COMPLETED).done:
                        job = flying[future]
                        result, error = future.result()
                        del flying[future]
                        yield job, result, error
            except BrokenProcessPool:
                for job in flying.values():
                    attempts[job] += 1
                    if attempts[job] < ATTEMPTS:
                        waiting.append(job)
                    else:
                        yield job, None, killed(ATTEMPTS)
            finally:
                parent.close()  # ends workers that are still at it
                pool.shutdown(wait=False)

    def _pool(self, count: int, on_epoch):
        """A pool of workers, and what they end with when it is closed."""
        if self.by_loky:
            context = loky.backend.get_context("loky")
            make = partial(loky.ProcessPoolExecutor, context=context)
        else:
            context = multiprocessing.get_context("spawn")
            make = partial(ProcessPoolExecutor, mp_context=context)
        epochs = context.SimpleQueue()
        alive, parent = context.Pipe(duplex=False)  # closes with this process: see _watch
        threading.Thread(target=_listen, args=(epochs, on_epoch), daemon=True).start()
        return make(count, initializer=_start_worker, initargs=(epochs, alive)), parent


@contextmanager
def _sigint_held():
    """Holds Ctrl-C back, so that workers start without it: they inherit what is held back."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _may_start(job, flying, attempts, count) -> bool:
    """Whether a job may start beside those in flight.

    A death ends every job in flight. So a last attempt is made alone, that none fails for another.
    """
    if attempts[job] == ATTEMPTS - 1:
        return not flying
    return len(flying) < count and all(attempts[other] < ATTEMPTS - 1 for other in flying)


def _listen(epochs, on_epoch) -> None:
    while True:
        on_epoch(*epochs.get())


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


def _work(work: Work, job: Job):
    return outcome(work, job, lambda epoch: _epochs.put((job, epoch)))
