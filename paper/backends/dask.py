"""Jobs on a Dask cluster that is there already."""

from __future__ import annotations

import re
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

from distributed import Client, Future, KilledWorker, as_completed, get_worker
from distributed.client import ClosedClientError

from paper.backends import POLL_SECONDS, Endings, Job, OnEpoch, Work, killed, outcome

GONE = "the Dask scheduler has gone"
CONNECT_WITHIN = "30s"
LOOK_FOR_WORKERS_SECONDS = 15.0
"""Warns when it has found none twice: one that has died may be started anew."""


@dataclass(frozen=True)
class Dask:
    """The workers of a scheduler, each of one thread, which see the same files as this process.

    The scheduler counts the deaths of a job's workers: one more than its ``allowed-failures`` stand
    in for ``ATTEMPTS``. It charges them to jobs that only queued on the worker too, so one that it
    gives up has a second chance when the others are over, alone.
    """

    address: str
    """Of the scheduler, such as tcp://host:8786."""

    def carry_out(
        self, jobs: Sequence[Job], work: Work, on_epoch: Callable[[Job, int], None]
    ) -> Endings:
        """See ``Backend``. Warns while the cluster has no worker."""
        with self._client() as client:
            topic = f"epochs-{uuid.uuid4()}"
            client.subscribe_topic(topic, lambda event: on_epoch(jobs[event[1][0]], event[1][1]))

            def made(numbers: Iterable[int]) -> Iterator[tuple[int, Any]]:
                futures = {
                    client.submit(_work, work, jobs[number], topic, number, pure=False): number
                    for number in numbers
                }
                for future in _as_completed(futures, client, self.address):
                    number, ended = futures.pop(future), _outcome(future)
                    future.release()  # or it is made anew when the worker dies that keeps it
                    yield number, ended

            suspects = []
            for number, ended in made(range(len(jobs))):
                if isinstance(ended, KilledWorker):
                    suspects.append(number)
                else:
                    yield jobs[number], *ended
            for suspect in suspects:
                try:
                    ((_, ended),) = made([suspect])
                except ClosedClientError:
                    ended = None, GONE
                if isinstance(ended, KilledWorker):
                    ended = None, killed(ended.allowed_failures + 1)
                yield jobs[suspect], *ended

    def _client(self) -> Client:
        if not re.fullmatch(r"(\w+://)?.+:\d+", self.address):
            raise ValueError(
                f"a Dask scheduler's address is such as tcp://host:8786, got {self.address!r}"
            )
        try:
            return Client(self.address, timeout=CONNECT_WITHIN, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"no Dask scheduler answers at {self.address} within {CONNECT_WITHIN}: {error}. "
                "Start one with `dask scheduler`, and workers with `dask worker --nthreads 1`."
            ) from error


def _as_completed(futures, client: Client, address: str) -> Iterator[Future]:
    ended, looked, in_vain = as_completed(futures, loop=client.loop), -float("inf"), 0
    while not ended.is_empty():
        yield from ended.next_batch(block=False)
        if time.monotonic() - looked > LOOK_FOR_WORKERS_SECONDS:
            looked, in_vain = time.monotonic(), 0 if _has_workers(client) else in_vain + 1
            if in_vain == 2:
                warnings.warn(
                    f"the Dask scheduler at {address} has no workers: runs wait until there are. "
                    f"Start some with `dask worker {address} --nthreads 1`",
                    stacklevel=2,
                )
        time.sleep(POLL_SECONDS)


def _has_workers(client: Client) -> bool:
    try:
        return client.status != "running" or bool(client.ncores())
    except OSError:  # the scheduler has gone, which the runs will tell
        return True


def _outcome(future: Future) -> tuple[Any, str | None] | KilledWorker:
    try:
        return future.result()
    except KilledWorker as error:
        return error
    except CancelledError:
        return None, GONE
    except Exception as error:  # before the work began: the package is not there, or another
        return None, f"a Dask worker cannot do it: {type(error).__name__}: {error}"


def _work(work: Work, job: Job, topic: str, number: int):
    worker = get_worker()
    if (threads := worker.state.nthreads) != 1:
        return None, (
            f"the Dask worker {worker.address} has {threads} threads, which would share PyTorch's "
            "settings: start workers with --nthreads 1"
        )
    return outcome(work, job, _on_epoch(worker, topic, number))


def _on_epoch(worker, topic: str, number: int) -> OnEpoch:
    key = worker.get_current_task()

    def tell(epoch: int) -> None:
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            raise RuntimeError("nobody waits for this run any longer")
        worker.log_event(topic, (number, epoch))

    return tell
