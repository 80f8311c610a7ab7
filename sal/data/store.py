"""The prepared form on disk: one `<key>.npz` per data set in the data folder.

Arrays: `train_images` uint8 [N,H,W], `train_labels` int64 [N], and `test_*` where the official
data have a test part. The arrays' content digest, not the file's, identifies the data.
"""

import hashlib
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
import platformdirs

from sal.data.errors import DataCorrupt, DataError

_DTYPES = {"images": np.dtype(np.uint8), "labels": np.dtype(np.int64)}


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


def read_npz(path: Path, parts: list[str]) -> dict[str, np.ndarray]:
    """Read a prepared file; the arrays' values are not yet checked.

    Args:
        path: the npz file.
        parts: the parts that have to be there, and no others: "train", "test".

    Returns:
        name -> array, uint8 or int64 as the name demands.

    Raises:
        FileNotFoundError: there is no such file.
        DataCorrupt: it is not an npz file of these parts.
        DataError: the file can't be opened.
    """
    wanted = {f"{part}_{kind}": dtype for part in parts for kind, dtype in _DTYPES.items()}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as npz:
            found = sorted(npz.files)
            if found != sorted(wanted):
                raise DataCorrupt(f"it holds {found}; wanted {sorted(wanted)}")
            arrays = {key: npz[key] for key in wanted}
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(path) from error
    except PermissionError as error:
        raise DataError(f"{path} can't be read: {error.strerror}. Check permissions.") from error
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
        raise DataCorrupt(f"it is not a readable npz file ({error})") from error
    for key, dtype in wanted.items():
        if arrays[key].dtype != dtype:
            raise DataCorrupt(f"{key} is {arrays[key].dtype}; wanted {dtype}")
    return arrays


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a prepared file, whole or not at all.

    Raises:
        OSError: the folder can't be written or is full; nothing is left behind.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with scratch.open("wb") as file:
            np.savez_compressed(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)
