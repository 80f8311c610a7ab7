"""Jobs as jobs of Slurm, through submitit."""

from __future__ import annotations

import shutil
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError, UncompletedJobError

from paper.backends import ATTEMPTS, POLL_SECONDS, Ended, Job, Work, killed, outcome


@dataclass(frozen=True)
class Slurm:
    """A Slurm cluster whose machines see the same files as this process.

    Its jobs are cancelled when this process is interrupted, not when it is killed with -9.
    """

    folder: Path
    """For submitit's scripts, logs and results, in a folder of its own for each call: Slurm's
    numbers come again. It stays if a job has failed."""
    count: int
    """Jobs queued or running at a time; fewer where the cluster takes no more."""
    parameters: Mapping[str, str | int | float | bool]
    """For submitit's AutoExecutor, such as {"slurm_partition": "cpu", "timeout_min": 240}; and
    ``cluster``, slurm unless given: local has the jobs run on this machine, without Slurm."""

    def carry_out(
        self, jobs: Sequence[Job], work: Work, on_epoch: Callable[[Job, int], None]
    ) -> Iterator[Ended]:
        """See ``Backend``. Tells nothing of epochs."""
        folder, all_well = self.folder / str(uuid.uuid4()), True
        executor = self._executor(folder)
        waiting, attempts, room = deque(jobs), Counter(), self.count
        flying: dict[submitit.Job, Job] = {}
        try:
            while waiting or flying:
                room = _fill(executor, work, waiting, flying, room)
                ended = [submitted for submitted in flying if submitted.done()]
                for submitted in ended:
                    job = flying.pop(submitted)
                    try:
                        result, error = submitted.result()
                    except FailedJobError as failure:
                        result, error = None, f"job {submitted.job_id} cannot do it: {failure}"
                    except UncompletedJobError:
                        attempts[job] += 1
                        if attempts[job] < ATTEMPTS:
                            waiting.append(job)
                            continue
                        why = killed(ATTEMPTS, "out of memory or time?")
                        result, error = None, f"{why}; its log: {submitted.paths.stderr}"
                    all_well &= error is None
                    yield job, result, error
                room = min(room + len(ended), self.count)  # it may take more again
                if not ended:
                    time.sleep(POLL_SECONDS)
        finally:
            for submitted in flying:
                with suppress(OSError):
                    submitted.cancel(check=False)
            if all_well and not flying:
                shutil.rmtree(folder, ignore_errors=True)

    def _executor(self, folder: Path) -> submitit.AutoExecutor:
        parameters = dict(self.parameters)
        cluster = parameters.pop("cluster", "slurm")
        try:
            executor = submitit.AutoExecutor(folder, cluster=cluster)
            executor.update_parameters(**parameters)
        except Exception as error:  # submitit raises whatever comes
            raise ValueError(
                f"submitit cannot submit to {cluster} with {parameters or 'no parameters'}: {error}"
            ) from error
        return executor


def _fill(executor, work: Work, waiting: deque, flying: dict, room: int) -> int:
    """Submits what waits, and returns how many the cluster takes at a time, at most ``room``."""
    while waiting and len(flying) < room:
        try:
            submitted = executor.submit(_work, work, waiting[0])
        except (FailedSubmissionError, FailedJobError) as error:  # of sbatch
            if not flying:
                raise ValueError(f"{executor.cluster} refuses a job: {error}") from error
            return len(flying)
        flying[submitted] = waiting.popleft()
    return room


def _work(work: Work, job: Job):
    return outcome(work, job, lambda epoch: None)
