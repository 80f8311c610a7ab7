"""Areas by a hash of the net's input: routing that neither learns nor knows what inputs look like.

Axes: R replicas, B samples of a batch, D inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor

# A 64-bit number's upper half, and splitmix64's multipliers, as signed numbers.
_UPPER, _FIRST, _SECOND = 33, 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64
_AFTER_30, _AFTER_27, _AFTER_31 = 2**34 - 1, 2**37 - 1, 2**33 - 1


def mix(z):
    """splitmix64's finaliser of signed 64-bit integers: each bit depends on all (Steele 2014)."""
    z = (z ^ (z >> 30 & _AFTER_30)) * _FIRST
    z = (z ^ (z >> 27 & _AFTER_27)) * _SECOND
    return z ^ (z >> 31 & _AFTER_31)


def upper(z):
    """The upper 31 bits, as a number >= 0."""
    return z >> _UPPER & 0x7FFFFFFF


def areas_by_hash(x_RBD: Tensor, salt_RD: Tensor, areas: int, fresh: bool) -> Tensor:
    """Area [R, B] of each sample: a hash of its bits, multilinear with ``salt_RD``, modulo K.

    Args:
        x_RBD: The net's input, hashed as float32: equal numbers have equal areas.
        salt_RD: 64-bit integers.
        areas: K.
        fresh: Hash the whole batch with each sample, so that one's area is another in any other
            company: a random choice, made anew at every step, that is still a function of what it
            is given.
    """
    bits_RBD = (x_RBD.float() + 0.0).view(torch.int32).long()  # -0.0 becomes 0.0
    z_RB = (bits_RBD * salt_RD.unsqueeze(1)).sum(2)
    if fresh:
        z_RB = z_RB ^ mix(z_RB.sum(1, keepdim=True))
    return upper(mix(z_RB)) % areas


def draw_salt(inputs: int, generator: torch.Generator) -> Tensor:
    """Odd 64-bit integers [D]."""
    return torch.randint(-(2**62), 2**62, (inputs,), generator=generator) * 2 + 1
