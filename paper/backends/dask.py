"""Jobs on a Dask cluster that is there already."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass

from distributed import Client, KilledWorker, as_completed, get_worker

from paper.backends import KILLED, Ended, Job, Work, outcome

CONNECT_WITHIN = "30s"


@dataclass(frozen=True)
class Dask:
    """The workers of a scheduler, each of one thread, which see the same files as this process.

    The scheduler counts the deaths of a job's workers: its ``allowed-failures`` stand in for
    ``ATTEMPTS``. Jobs under way end on their workers even if this process is interrupted.
    """

    address: str
    """Of the scheduler, such as tcp://host:8786."""

    def carry_out(
        self, jobs: Sequence[Job], work: Work, on_epoch: Callable[[Job, int], None]
    ) -> Iterator[Ended]:
        """See ``Backend``."""
        if not re.fullmatch(r"(\w+://)?.+:\d+", self.address):
            raise ValueError(
                f"a Dask scheduler's address is such as tcp://host:8786, got {self.address!r}"
            )
        try:
            client = Client(self.address, timeout=CONNECT_WITHIN, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"no Dask scheduler answers at {self.address} within {CONNECT_WITHIN}: {error}. "
                "Start one with `dask scheduler`, and workers with `dask worker --nthreads 1`."
            ) from error
        topic = f"epochs-{uuid.uuid4()}"
        with client:
            client.subscribe_topic(topic, lambda event: on_epoch(jobs[event[1][0]], event[1][1]))
            futures = {
                client.submit(_work, work, job, topic, number, key=f"{topic}-{number}"): job
                for number, job in enumerate(jobs)
            }
            for future in as_completed(futures, loop=client.loop):
                yield futures[future], *_outcome(future)


def _outcome(future):
    try:
        return future.result()
    except KilledWorker:
        return None, KILLED
    except CancelledError:
        return None, "the Dask scheduler has gone"
    except Exception as error:  # before the work began: the package is not there, or another
        return None, f"a Dask worker cannot do it: {type(error).__name__}: {error}"


def _work(work: Work, job: Job, topic: str, number: int):
    worker = get_worker()
    if (threads := worker.state.nthreads) != 1:
        return None, (
            f"the Dask worker {worker.address} has {threads} threads, which would share PyTorch's "
            "settings: start workers with --nthreads 1"
        )
    return outcome(work, job, lambda epoch: worker.log_event(topic, (number, epoch)))
