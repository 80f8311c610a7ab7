"""The prepared form on disk, in the data folder.

`<key>.npz` with the arrays `train_images` uint8 [N,H,W], `train_labels` int64 [N], and `val_*` and
`test_*` where the official data have such parts; or, for sets too large to be kept in memory, a
folder `<key>` with the same arrays as .npy files, which are mapped (an npz file can't be). The
arrays' content digest, not the file's, identifies the data.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import platformdirs
from filelock import FileLock

from sal.data.errors import DataCorrupt, DataError
from sal.data.progress import bar
from sal.data.spec import Arrays, DatasetSpec
from sal.files import write_whole

_DTYPES = {"images": np.dtype(np.uint8), "labels": np.dtype(np.int64)}
CHUNK = 1024
"""Rows of a mapped array written at a time."""


def data_dir(root: str | os.PathLike | None = None) -> Path:
    """The data folder: `root`, else the variable `SAL_DATA_DIR`, else the user's cache folder."""
    chosen = root or os.environ.get("SAL_DATA_DIR")
    if chosen:
        return Path(chosen).expanduser()
    return platformdirs.user_cache_path("sal", appauthor=False) / "data"


def content_sha256(arrays: dict[str, np.ndarray]) -> str:
    """The digest that identifies prepared arrays, however they are stored.

    Args:
        arrays: name -> array.

    Returns:
        sha256, in hex, over each name in sorted order, its dtype, its shape and its C-order bytes.
    """
    digest = hashlib.sha256()
    for key in sorted(arrays):
        array = arrays[key]
        for field in (key, str(array.dtype), str(array.shape)):
            digest.update(field.encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return digest.hexdigest()


def read(path: Path, parts: Sequence[str]) -> dict[str, np.ndarray]:
    """Read a prepared file or folder; the arrays' values are not yet checked.

    Args:
        path: the npz file, or the folder of .npy files. Those are mapped, for reading only.
        parts: the parts that have to be there, and no others: "train", "test".

    Returns:
        name -> array, uint8 or int64 as the name demands.

    Raises:
        FileNotFoundError: there is neither.
        DataCorrupt: it does not hold the arrays of these parts.
        DataError: it can't be read, for want of permission, memory or a sound disk.
    """
    wanted = {f"{part}_{kind}": dtype for part in parts for kind, dtype in _DTYPES.items()}
    form = "npz file" if path.suffix == ".npz" else "folder of .npy files"
    try:
        arrays = (_read_npz if path.suffix == ".npz" else _read_folder)(path, sorted(wanted))
    except FileNotFoundError as error:
        raise FileNotFoundError(path) from error
    except (IsADirectoryError, NotADirectoryError) as error:
        if not path.exists():
            raise FileNotFoundError(path) from error
        raise DataCorrupt(f"it is not a readable {form} ({error})") from error
    except (
        AttributeError,  # a bare .npy, which is no archive
        TypeError,
        OSError,
        EOFError,
        ValueError,
        KeyError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        if isinstance(error, OSError) and error.errno is not None:  # no fault of the data
            raise DataError(
                f"{path} can't be read: {error.strerror}. Check permissions, memory and the disk."
            ) from error
        raise DataCorrupt(f"it is not a readable {form} ({error})") from error
    for key, dtype in wanted.items():
        if arrays[key].dtype != dtype:
            raise DataCorrupt(f"{key} is {arrays[key].dtype}; wanted {dtype}")
    return arrays


def _read_npz(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as npz:
        _check_names(sorted(npz.files), names)
        return {name: npz[name] for name in names}


def _read_folder(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    _check_names(sorted(file.stem for file in path.iterdir() if file.suffix == ".npy"), names)
    return {name: np.load(path / f"{name}.npy", mmap_mode="r") for name in names}


def _check_names(found: list[str], wanted: list[str]) -> None:
    if found != wanted:
        raise DataCorrupt(f"it holds {found}; wanted {wanted}")


def write(path: Path, arrays: Arrays) -> None:
    """Write a prepared file, or a folder where the name has no suffix. What is there is replaced.

    Raises:
        OSError: the folder can't be written or is full.
    """
    if path.suffix == ".npz":
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        return
    remove(path)
    path.mkdir()
    for name, array in arrays.items():  # not through a map: there, a full disk is a signal
        header = np.lib.format.header_data_from_array_1_0(np.empty(0, array.dtype))
        rows = range(0, array.shape[0], CHUNK)
        size = math.prod(array.shape) * array.dtype.itemsize
        with (path / f"{name}.npy").open("wb") as file, bar(size, f"preparing {name}") as shown:
            np.lib.format.write_array_header_1_0(file, header | {"shape": tuple(array.shape)})
            for start in rows:
                shown.update(file.write(np.ascontiguousarray(array[start : start + CHUNK]).data))
            file.flush()
            os.fsync(file.fileno())


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def known_digest(spec: DatasetSpec, root: Path | None = None) -> str | None:
    """The content digest that the set must have: the registry's, else that recorded in the folder.

    Raises:
        DataError: the record is there and can't be read.
    """
    return spec.content_sha256 or recorded_digests(root or data_dir()).get(spec.key)


def recorded_digests(root: Path) -> Mapping[str, str]:
    """Key -> content digest, of the data sets whose digest was first seen in this data folder.

    Raises:
        DataError: the record is there and can't be read.
    """
    path = root / "digests.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(value, str) for value in [*found, *found.values()]):
            raise ValueError("not a record of names and digests")
        return found
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(
            f"{path} can't be read ({error}). It tells by which digests data sets are known here; "
            "mend it, or delete it to have them recorded anew."
        ) from error


def record_digest(root: Path, key: str, digest: str) -> None:
    """Record the content digest of a data set that has none yet.

    Raises:
        OSError: the folder can't be written.
        DataError: the record is there and can't be read.
    """
    path = root / "digests.json"
    with FileLock(root / ".digests.lock"):
        text = json.dumps({key: digest} | dict(recorded_digests(root)), indent=1, sort_keys=True)
        write_whole(path, lambda file: file.write(f"{text}\n".encode()))
