"""`load`: from the data folder if the set is there, else from its official sources."""

import os
import shutil
from pathlib import Path

import numpy as np
import torch

from sal.data.dataset import Dataset
from sal.data.errors import DataCorrupt, DataMissing
from sal.data.fetch import FetchError, fetch, is_offline
from sal.data.registry import DATASETS, DatasetSpec, Source, resolve_name
from sal.data.store import content_sha256, data_dir, read_npz, write_npz


def load(name: str, *, root: str | os.PathLike | None = None, download: bool = True) -> Dataset:
    """Load a data set; its content digest is checked every time.

    The prepared file in the data folder is used if it is there. Digits is otherwise taken from
    scikit-learn, in memory; any other set is fetched from its official sources, prepared and kept
    in the data folder.

    Args:
        name: key or title, such as "fashion_mnist" or "Fashion-MNIST".
        root: the data folder; default `SAL_DATA_DIR`, else the user's cache folder.
        download: whether the network may be used; `SAL_OFFLINE=1` forbids it for all calls.

    Returns:
        The official arrays.

    Raises:
        UnknownDataset, UnsupportedDataset: `name` is none that can be loaded.
        DataMissing: the set is not in the folder and could not be fetched or kept there.
        DataCorrupt: the arrays found are not the official ones.
        DataError: the prepared file can't be read.
    """
    spec = DATASETS[resolve_name(name)]
    path = data_dir(root) / f"{spec.key}.npz"
    try:
        return _load_file(spec, path)
    except FileNotFoundError:
        pass
    if spec.bundled:
        return _read_source(spec, spec.sources[0], Path())[1]
    _prepare(spec, path, download)
    return _load_file(spec, path)


def _load_file(spec: DatasetSpec, path: Path) -> Dataset:
    remedy = f"Delete {path} and load {spec.key!r} again, or put the right file in its place."
    try:
        arrays = read_npz(path, list(spec.counts))
    except DataCorrupt as error:
        raise _corrupt(spec, str(path), str(error), "none", remedy) from error
    return _verified(spec, arrays, str(path), remedy)


def _read_source(spec: DatasetSpec, source: Source, folder: Path):
    """The arrays of a source whose files are in `folder`, and the data set made of them."""
    names = ", ".join(file.name for file in source.files) or "the installed package"
    origin = f"{names}, as {source.read.__name__} prepares it"
    remedy = "The files' own checksums held: compare the installed versions with the lock file."
    try:
        arrays = source.read(folder)
    except MemoryError:
        raise
    except Exception as error:  # a parser may fail in any way on damaged files
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the folder's fault, not the files'
        why = f"it can't be parsed ({type(error).__name__}: {error})."
        raise _corrupt(spec, origin, why, "none", remedy) from error
    return arrays, _verified(spec, arrays, origin, remedy)


def _verified(
    spec: DatasetSpec, arrays: dict[str, np.ndarray], origin: str, remedy: str
) -> Dataset:
    digest = content_sha256(arrays)
    tensors = {key: torch.from_numpy(array) for key, array in arrays.items()}
    absent = {"test_images": None, "test_labels": None}
    try:
        dataset = Dataset(spec=spec, **(absent | tensors), sha256=digest)
    except DataCorrupt as error:
        raise _corrupt(spec, origin, str(error), digest, remedy) from error
    if digest != spec.content_sha256:
        raise _corrupt(spec, origin, "the content digest differs.", digest, remedy)
    return dataset


def _corrupt(spec: DatasetSpec, origin: str, why: str, digest: str, remedy: str) -> DataCorrupt:
    return DataCorrupt(
        f"{origin} is not the official {spec.title}: {why}\n"
        f"  content digest expected: {spec.content_sha256}\n"
        f"  content digest found:    {digest}\n"
        f"{remedy}"
    )


def _prepare(spec: DatasetSpec, path: Path, download: bool) -> None:
    """Fetch the set from the first source that works and write it to `path`."""
    if not download:
        raise _missing(spec, path, ["nothing: download=False"])
    if is_offline():
        raise _missing(spec, path, ["nothing: SAL_OFFLINE forbids the network"])
    folder = path.parent / "official" / spec.key
    reasons, corrupt = [], None
    try:
        for source in spec.sources:
            try:
                for file in source.files:
                    fetch(file, folder)
                arrays, _ = _read_source(spec, source, folder)
            except FetchError as error:
                reasons += error.reasons
            except DataCorrupt as error:
                corrupt = error
            else:
                write_npz(path, arrays)
                shutil.rmtree(folder, ignore_errors=True)
                return
    except OSError as error:
        why = f"{error.filename or path.parent}: {error.strerror or error}"
        raise _missing(spec, path, [f"{why} (the data folder can't be written)"]) from error
    raise corrupt or _missing(spec, path, reasons)


def _missing(spec: DatasetSpec, path: Path, tried: list[str]) -> DataMissing:
    lines = "\n".join(f"  {line}" for line in tried)
    return DataMissing(
        f"{spec.title} is not in the data folder {path.parent} and could not be fetched.\n"
        f"Tried:\n{lines}\n"
        f"To get it, do one of these:\n"
        f"  put the prepared {path.name} into that folder;\n"
        f"  set SAL_DATA_DIR to a folder that has it;\n"
        f"  on a machine with a network, run `python -m sal.data {spec.key}`."
    )
