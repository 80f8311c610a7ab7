"""Jobs one after another in this process, where a debugger sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from paper.backends import Endings, Job, Work, outcome


@dataclass(frozen=True)
class Here:
    """This process. A kill ends everything; what was yielded before stands."""

    def carry_out(
        self, jobs: Sequence[Job], work: Work, on_epoch: Callable[[Job, int], None]
    ) -> Endings:
        """See ``Backend``."""
        for job in jobs:
            yield job, *outcome(work, job, partial(on_epoch, job))
