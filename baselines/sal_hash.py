"""SAL's ablation: areas by a hash of the input."""

from __future__ import annotations

from baselines.hashed import HashedSAL
from sal.learner import Floor


class SALHash(HashedSAL):
    """Each input has one area of each layer, for good, and similar inputs have others.

    As the hash layers of Roller et al. (2021): routing without anything to route by.
    """

    name = "sal_hash"
    summary = "SAL with areas by a hash of the input (ablation)"
    version = 1
    floor = Floor(lr=0.03, accuracy=93.0)
