"""Jobs as jobs of Slurm, through submitit."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import submitit
from submitit.core import utils

from paper.backends import ATTEMPTS, KILLED, POLL_SECONDS, Ended, Job, Work, outcome


@dataclass(frozen=True)
class Slurm:
    """A Slurm cluster whose machines see the same files as this process."""

    folder: Path
    """For submitit's scripts, logs and results."""
    count: int
    """Jobs queued or running at a time."""
    parameters: Mapping[str, str | int]
    """For submitit's AutoExecutor, such as {"slurm_partition": "cpu", "timeout_min": 240}; and
    ``cluster``, slurm unless given: local has the jobs run on this machine, without Slurm."""

    def carry_out(
        self, jobs: Sequence[Job], work: Work, on_epoch: Callable[[Job, int], None]
    ) -> Iterator[Ended]:
        """See ``Backend``. Tells nothing of epochs."""
        executor = self._executor()
        waiting, attempts = deque(jobs), Counter()
        flying: dict[submitit.Job, Job] = {}
        try:
            while waiting or flying:
                while waiting and len(flying) < self.count:
                    job = waiting.popleft()
                    flying[_submit(executor, work, job)] = job
                ended = [submitted for submitted in flying if submitted.done()]
                for submitted in ended:
                    job = flying.pop(submitted)
                    try:
                        result, error = submitted.result()
                    except submitit.core.utils.FailedJobError as failure:
                        result, error = None, f"job {submitted.job_id} cannot do it: {failure}"
                    except submitit.core.utils.UncompletedJobError:
                        attempts[job] += 1
                        if attempts[job] < ATTEMPTS:
                            waiting.append(job)
                            continue
                        result, error = None, f"{KILLED}; its log: {submitted.paths.stderr}"
                    yield job, result, error
                if not ended:
                    time.sleep(POLL_SECONDS)
        finally:
            for submitted in flying:
                with suppress(OSError):
                    submitted.cancel(check=False)

    def _executor(self) -> submitit.AutoExecutor:
        parameters = dict(self.parameters)
        cluster = parameters.pop("cluster", "slurm")
        try:
            executor = submitit.AutoExecutor(self.folder, cluster=cluster)
            executor.update_parameters(**parameters)
        except Exception as error:  # submitit raises whatever comes
            raise ValueError(
                f"submitit cannot submit to {cluster} with {parameters or 'no parameters'}: {error}"
            ) from error
        return executor


def _submit(executor: submitit.AutoExecutor, work: Work, job: Job) -> submitit.Job:
    try:
        return executor.submit(_work, work, job)
    except (utils.FailedSubmissionError, utils.FailedJobError) as error:  # of sbatch
        raise ValueError(f"{executor.cluster} refuses a job: {error}") from error


def _work(work: Work, job: Job):
    return outcome(work, job, lambda epoch: None)
