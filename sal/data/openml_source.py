"""OpenML's copies of data sets, through the `openml` package.

OpenML has no checksum that the official owner gave, and orders and encodes as its uploader chose.
So a copy counts only if what is prepared from it has the known digest: see `Source.vouched`.

Axes: N images, D columns, H rows, W columns of an image, C = 3 colours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sal.data.errors import DataCorrupt
from sal.data.fetch import FetchError
from sal.data.official import prepared, to_grey
from sal.data.spec import Arrays, DatasetSpec
from sal.data.store import content_sha256

RETRIES = 2


@dataclass(frozen=True, kw_only=True)
class OpenML:
    """A data set of OpenML's: all parts in one table, one image a row, in official order."""

    id: int
    label: Callable[[np.ndarray], np.ndarray] = lambda given_N: given_N
    """The labels in OpenML -> 0, 1, ..."""
    pixel: Callable[[np.ndarray], np.ndarray] = lambda given_ND: given_ND
    """The values in OpenML -> 0 to `pixel_max`, which are then cut to bytes."""
    layouts: tuple[str, ...] = ("CHW",)
    """Orders in which colours may lie in a row; the one that has the digest is taken."""
    online, vouched = True, False

    @property
    def name(self) -> str:
        """Such as "OpenML 554"."""
        return f"OpenML {self.id}"

    def lacking(self, folder: Path) -> str | None:
        """See `Source`."""

    def read(self, folder: Path, scratch: Path, spec: DatasetSpec) -> Arrays:
        """See `Source`."""
        x_ND, y_N = self._table(scratch)
        columns = spec.size[0] * spec.size[1] * spec.channels
        if x_ND.shape != (spec.total, columns):
            raise DataCorrupt(
                f"{self.name} has {x_ND.shape[0]} rows of {x_ND.shape[1]} values; "
                f"{spec.title} officially has {spec.total} of {columns}."
            )
        bytes_ND = self.pixel(x_ND).astype(np.uint8)
        for layout in self.layouts:
            arrays = self._parts(_images(bytes_ND, layout, spec), y_N, spec)
            if content_sha256(arrays) == spec.content_sha256:
                break
        return arrays

    def _table(self, scratch: Path) -> tuple[np.ndarray, np.ndarray]:
        """(values [N,D], labels [N]) as OpenML has them."""
        try:
            import openml
        except ImportError as error:
            raise FetchError(
                [f'{self.name}: the package is not installed: pip install "sal-repro[data]"']
            ) from error
        before = openml.config.get_config_as_dict()
        openml.config.set_root_cache_directory(str(scratch))
        openml.config.set_retry_policy(before["retry_policy"], RETRIES)
        try:
            found = openml.datasets.get_dataset(
                self.id,
                download_data=True,
                download_features_meta_data=True,
                cache_format="feather",
            )
            x, y, _, _ = found.get_data(target=found.default_target_attribute)
            return x.to_numpy(dtype=np.float64), self.label(y.astype(str).astype(int).to_numpy())
        except OSError as error:
            if error.errno is not None and error.filename is not None:
                raise  # the folder's fault
            raise FetchError([f"{self.name}: {error}"]) from error
        except Exception as error:  # a server's answers can be wrong in any way
            raise FetchError([f"{self.name}: {type(error).__name__}: {error}"]) from error
        finally:
            openml.config.set_root_cache_directory(before["cachedir"])
            openml.config.set_retry_policy(
                before["retry_policy"], int(before["connection_n_retries"])
            )

    @staticmethod
    def _parts(images_NHW: np.ndarray, y_N: np.ndarray, spec: DatasetSpec) -> Arrays:
        parts, start = {}, 0
        for part, count in spec.counts.items():
            parts[part] = (images_NHW[start : start + count], y_N[start : start + count])
            start += count
        return prepared(**parts)


def _images(bytes_ND: np.ndarray, layout: str, spec: DatasetSpec) -> np.ndarray:
    if spec.channels == 1:
        return bytes_ND.reshape(-1, *spec.size)
    lengths = {"C": 3, "H": spec.size[0], "W": spec.size[1]}
    shaped = bytes_ND.reshape(-1, *(lengths[axis] for axis in layout))
    return to_grey(shaped.transpose(0, *(1 + layout.index(axis) for axis in "HWC")))
