"""What is known about a data set beforehand, and the ways to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np


class ArrayLike(Protocol):
    """An array, or a file that is read slice by slice."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Some rows, as an array."""


Arrays = Mapping[str, ArrayLike]
"""Prepared arrays: `train_images` uint8 [N,H,W], `train_labels` int64 [N], `val_*`, `test_*`."""


class Source(Protocol):
    """One way to a data set."""

    name: str
    """For messages, such as "OpenML 554"."""
    online: bool
    """Whether it needs a network."""
    vouched: bool
    """Whether checksums of its own vouch for it. One without can be taken only for a data set
    whose content digest is known."""

    def lacking(self, folder: Path) -> str | None:
        """What has to be done before it can be read, and None where nothing has."""

    def read(self, folder: Path, scratch: Path, spec: DatasetSpec) -> Arrays:
        """The prepared arrays.

        Args:
            folder: for official files, which are kept until the set is prepared.
            scratch: an empty folder for anything else; what is returned may read from it.
            spec: of the data set, with the digest known for it.

        Raises:
            FetchError: it can't be had.
            OSError: the folder can't be written, or is full.
            Exception: whatever a parser raises on damaged files.
        """


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """Everything known beforehand about a data set."""

    key: str  # its name in files and on the command line
    title: str  # its name in the paper's tables
    classes: tuple[str, ...]  # names of the classes, in the order of the labels
    size: tuple[int, int]  # (H, W) in pixels
    pixel_max: int  # the largest value a pixel can take
    channels: int  # of the official images: 3 for colour, made grey here; 1 for grey
    counts: Mapping[str, int]  # part -> images: "train", perhaps "val" and "test"
    validation: str  # which part the paper's "validation" is taken to be
    citation: str
    licence: str | None  # None: none established; see the citation
    sources: tuple[Source, ...]  # tried in this order
    class_counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # by part, if known
    content_sha256: str | None = None  # of the prepared arrays; None: not known
    official_bytes: int = 0  # of the official files as they are fetched, roughly
    mapped: bool = False  # prepared as a folder of .npy files, which are mapped into memory

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def total(self) -> int:
        """Images in all parts."""
        return sum(self.counts.values())

    @property
    def has_test_part(self) -> bool:
        """Whether its owners set images aside for testing."""
        return "test" in self.counts

    @property
    def file(self) -> str:
        """Name of the prepared file, or folder, in the data folder."""
        return self.key if self.mapped else f"{self.key}.npz"
