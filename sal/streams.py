"""Named random streams: every random number of a run comes from one of these.

A stream is named by the seed, its name and integers (layer, area, epoch), and by nothing else.
Adding areas, layers or epochs therefore changes no other stream: area 0 of SAL-16 starts from the
weights of SAL-1, and every method of a seed sees the same samples in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

STREAMS = ("weights", "router", "feedback", "prototypes", "order", "split", "mask")
"""Every stream there is, in the order that fixes its number. Append only."""


@dataclass(frozen=True)
class Streams:
    """The random streams of one run.

    Args:
        seed: The run's seed, >= 0.

    Raises:
        ValueError: The seed is negative or not an integer.

    Example:
        >>> from sal import Streams
        >>> Streams(0).integer("weights", 0) == Streams(0).integer("weights", 0)
        True
        >>> Streams(0).integer("weights", 0) == Streams(0).integer("weights", 1)
        False
    """

    seed: int

    def __post_init__(self) -> None:
        if not isinstance(self.seed, int) or isinstance(self.seed, bool) or self.seed < 0:
            raise ValueError(f"seed must be an integer >= 0, got {self.seed!r}")

    def integer(self, name: str, *index: int) -> int:
        """The 63-bit integer that seeds stream ``name`` at ``index``.

        Raises:
            ValueError: There is no stream of that name.
        """
        if name not in STREAMS:
            raise ValueError(f"no random stream named {name!r}; there are {', '.join(STREAMS)}")
        sequence = np.random.SeedSequence(self.seed, spawn_key=(STREAMS.index(name), *index))
        return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))

    def generator(self, name: str, *index: int) -> torch.Generator:
        """A fresh CPU generator at the start of stream ``name`` at ``index``.

        Always on the CPU, so that a run on another device starts from the same numbers.
        """
        return torch.Generator().manual_seed(self.integer(name, *index))
