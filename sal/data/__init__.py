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
from sal.data.registry import DATASETS, DatasetSpec, resolve_name
from sal.data.store import content_sha256, data_dir

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
    "load",
    "resolve_name",
]
