"""SAL's ablation: areas at random."""

from __future__ import annotations

from baselines.hashed import HashedSAL
from sal.learner import Floor


class SALRandom(HashedSAL):
    """A sample's area is another each time that it comes in another batch, as in training.

    It is a hash of the whole batch and the sample, so that an update is still a function of its
    batch. In evaluation, whose batches are the same every time, the choice is random once and for
    all, as a hash's is.
    """

    name = "sal_random"
    summary = "SAL with areas drawn anew for every training batch (ablation)"
    version = 1
    floor = Floor(lr=0.03, accuracy=93.0)
    fresh = True
