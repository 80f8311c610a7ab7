"""Where runs are carried out: in this process, in others of this machine, or on a cluster.

A backend takes jobs, whatever they are, and what to do with one, and yields each with its outcome
as it ends. Results do not depend on it: the bits are a run's own.
"""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import torch

from paper.paths import PACKAGES, REPOSITORY

ATTEMPTS = 3
"""How often a job is tried whose worker is killed."""
POLL_SECONDS = 0.2

Job = TypeVar("Job", bound=Hashable)
Result = TypeVar("Result")
OnEpoch = Callable[[int], None]
"""Told the number of each epoch, from 1, as it ends."""
Work = Callable[[Job, OnEpoch], Result]
"""Does a job; named at the top level of a module, since workers import it."""
Ended = tuple[Job, Result | None, str | None]
"""A job with its result, or None and why there is none."""
Endings = Generator[Ended, None, None]
"""Jobs as they end; closed, it leaves none behind that goes on."""


class Backend(Protocol):
    """Somewhere to carry out jobs."""

    def carry_out(
        self, jobs: Sequence[Job], work: Work, on_epoch: Callable[[Job, int], None]
    ) -> Endings:
        """Yields jobs as they end, in whatever order.

        ``on_epoch`` is called for epochs of jobs under way, from any thread, where the backend can
        tell. A job whose worker is killed is tried again, ``ATTEMPTS`` times in all.

        Raises:
            ValueError: The backend cannot be used as it was set up.
        """
        ...


def killed(times: int, why: str = "out of memory?") -> str:
    """Why a job is given up whose worker was killed ``times`` times."""
    return f"its worker was killed {times} times ({why})"


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Puts off what stops this process (see ``paper.options.carry_out``) to the end of a block."""
    if threading.current_thread() is not threading.main_thread():
        yield  # no signal is handled here
        return
    seen: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, frame: seen.append(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if callable(signal.getsignal(number))
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in dict.fromkeys(seen):
            signal.raise_signal(number)


def outcome(work: Work, job: Job, on_epoch: OnEpoch) -> tuple[Result | None, str | None]:
    """Result and error of ``work``: one job's error is told with its name, the others go on."""
    try:
        return work(job, on_epoch), None
    except (Exception, SystemExit) as error:  # somebody else's code
        return None, f"{type(error).__name__}: {error}{_where(error)}"


def _where(error: BaseException) -> str:
    """The innermost line of neither this suite nor PyTorch that an error came from, if any."""
    ours = [*(REPOSITORY / package for package in PACKAGES), Path(torch.__file__).parent]
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not any(Path(frame.filename).is_relative_to(folder) for folder in ours)
    ]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
