"""The only place that touches data sets: `load` gives any of them by name, digest checked."""

from sal.data.dataset import Dataset
from sal.data.errors import (
    DataCorrupt,
    DataError,
    DataMissing,
    UnknownDataset,
    UnsupportedDataset,
)
from sal.data.loader import load
from sal.data.registry import DATASETS, find
from sal.data.spec import DatasetSpec
from sal.data.store import content_sha256, data_dir, known_digest

__all__ = [
    "DATASETS",
    "DataCorrupt",
    "DataError",
    "DataMissing",
    "Dataset",
    "DatasetSpec",
    "UnknownDataset",
    "UnsupportedDataset",
    "content_sha256",
    "data_dir",
    "find",
    "known_digest",
    "load",
]
