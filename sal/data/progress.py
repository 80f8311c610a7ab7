"""Progress bars: on a terminal, for what takes more than a moment."""

from __future__ import annotations

import sys

from tqdm import tqdm

FROM_BYTES = 64 << 20
"""Less than that takes no time worth a bar."""


def bar(total: int | None, what: str, done: int = 0, least: int = FROM_BYTES) -> tqdm:
    """A bar over `total` bytes, `done` of them already; none for less than `least` bytes."""
    quiet = not sys.stderr.isatty() or (total or 0) < least
    return tqdm(total=total, initial=done, unit="B", unit_scale=True, desc=what, disable=quiet)
