"""Jobs as jobs of Slurm, through submitit."""

from __future__ import annotations

import shutil
import time
import uuid
import warnings
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError, UncompletedJobError

from paper.backends import (
    ATTEMPTS,
    POLL_SECONDS,
    Endings,
    Job,
    Work,
    killed,
    outcome,
    uninterrupted,
)

TRY_AGAIN_SECONDS = 60.0


@dataclass(frozen=True)
class Slurm:
    """A Slurm cluster whose machines see the same files as this process.

    Its jobs are cancelled when this process is interrupted, not when it is killed with -9.
    """

    folder: Path
    """For submitit's scripts, logs and results, in a folder of its own for each call: Slurm's
    numbers come again. It stays if a job has failed."""
    count: int
    """Jobs queued or running at a time, at most. Where the cluster takes fewer, the others wait."""
    parameters: Mapping[str, str | int | float | bool]
    """For submitit's AutoExecutor, such as {"slurm_partition": "cpu", "timeout_min": 240}; and
    ``cluster``, slurm unless given: local has the jobs run on this machine, without Slurm."""

    def carry_out(
        self, jobs: Sequence[Job], work: Work, on_epoch: Callable[[Job, int], None]
    ) -> Endings:
        """See ``Backend``. Tells nothing of epochs."""
        folder, all_well = self.folder / str(uuid.uuid4()), True
        executor = self._executor(folder)
        waiting, attempts, has_taken, again = deque(jobs), Counter(), False, 0.0
        flying: dict[submitit.Job, Job] = {}
        try:
            while waiting or flying:
                if time.monotonic() >= again:
                    refusal = self._fill(executor, work, waiting, flying)
                    again = time.monotonic() + TRY_AGAIN_SECONDS
                    has_taken |= bool(flying)
                    if refusal and not has_taken:
                        raise ValueError(f"{executor.cluster} refuses a job: {refusal}")
                    if refusal and not flying:
                        warnings.warn(f"{executor.cluster} takes no job: {refusal}", stacklevel=2)
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
                if ended:
                    again = 0.0
                else:
                    time.sleep(POLL_SECONDS)
        finally:
            with uninterrupted():
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

    def _fill(self, executor, work: Work, waiting: deque, flying: dict) -> Exception | None:
        """Submits what waits, as many as may be in flight; why the cluster refuses more, if so."""
        while waiting and len(flying) < self.count:
            try:
                with uninterrupted():
                    flying[executor.submit(_work, work, waiting[0])] = waiting[0]
            except (FailedSubmissionError, FailedJobError) as error:  # of sbatch
                return error
            waiting.popleft()
        return None


def _work(work: Work, job: Job):
    return outcome(work, job, lambda epoch: None)
