"""`load`: from the data folder if the set is there, else from its sources, in their order."""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout

from sal.data.dataset import PARTS, Dataset
from sal.data.errors import DataCorrupt, DataMissing
from sal.data.fetch import FetchError, check_space, is_offline
from sal.data.registry import find
from sal.data.sources import Bundled
from sal.data.spec import DatasetSpec, Source
from sal.data.store import (
    content_sha256,
    data_dir,
    known_digest,
    read,
    record_digest,
    remove,
    write,
)

logger = logging.getLogger("sal.data")


def load(name: str, *, root: str | os.PathLike | None = None, download: bool = True) -> Dataset:
    """Load a data set; its content digest is checked every time.

    The prepared form in the data folder is used if it is there. Digits is otherwise taken from
    scikit-learn, in memory; any other set is got from its sources, prepared and kept in the data
    folder. If another process is at that, this one waits for it.

    Args:
        name: key or title, such as "fashion_mnist" or "Fashion-MNIST".
        root: the data folder; default `SAL_DATA_DIR`, else the user's cache folder.
        download: whether the network may be used; `SAL_OFFLINE=1` forbids it for all calls.

    Returns:
        The official arrays.

    Raises:
        UnknownDataset, UnsupportedDataset: `name` is none that can be loaded.
        DataMissing: the set is not in the folder and could not be had or kept there.
        DataCorrupt: the arrays found are not the official ones.
        DataError: a file of the data folder can't be read.
    """
    spec, root = find(name), data_dir(root)
    try:
        dataset = _load_prepared(spec, root)
    except FileNotFoundError:
        pass
    else:
        _tidy(spec, root)
        return dataset
    (first, *_) = spec.sources
    if isinstance(first, Bundled):
        return _verified(spec, first.parse(), spec.content_sha256, first.name, _remedy(first))
    return _prepare(spec, root, download)


def _load_prepared(spec: DatasetSpec, root: Path) -> Dataset:
    path, known = root / spec.file, known_digest(spec, root)
    remedy = f"Delete {path} and load {spec.key!r} again, or put the right one in its place."
    if known is not None and spec.content_sha256 is None:
        remedy += f" The digest expected is that of {root / 'digests.json'}, recorded at first use."
    try:
        arrays = read(path, list(spec.counts))
    except DataCorrupt as error:
        raise _corrupt(spec, str(path), str(error), known, "none", remedy) from error
    dataset = _verified(spec, arrays, known, str(path), remedy)
    if known is None:
        logger.warning(
            "%s: nothing vouches for %s, since no content digest is known and it was not prepared "
            "here from files with the published checksums; its digest is %s",
            *(spec.title, path, dataset.sha256),
        )
    return dataset


def _record(spec: DatasetSpec, root: Path, digest: str, source: Source) -> None:
    """Keeps the digest of a set that has none yet, prepared from checked files, and says so."""
    said = f"{spec.title}: no content digest is published for it; that of {source.name}, {digest},"
    try:
        record_digest(root, spec.key, digest)
        logger.warning("%s is now recorded in %s", said, root / "digests.json")
    except OSError as error:
        logger.warning("%s is not recorded, since %s can't be written (%s)", said, root, error)


def _verified(
    spec: DatasetSpec, arrays: Mapping[str, np.ndarray], known: str | None, origin: str, remedy: str
) -> Dataset:
    digest = content_sha256(arrays)
    with warnings.catch_warnings():  # mapped arrays are for reading only; nothing here writes
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        tensors = {key: torch.from_numpy(array) for key, array in arrays.items()}
    absent = {f"{part}_{kind}": None for part in PARTS for kind in ("images", "labels")}
    try:
        dataset = Dataset(spec=spec, **(absent | tensors), sha256=digest)
    except DataCorrupt as error:
        raise _corrupt(spec, origin, str(error), known, digest, remedy) from error
    if known is not None and digest != known:
        raise _corrupt(spec, origin, "the content digest differs.", known, digest, remedy)
    return dataset


def _corrupt(
    spec: DatasetSpec, origin: str, why: str, known: str | None, digest: str, remedy: str
) -> DataCorrupt:
    return DataCorrupt(
        f"{origin} is not the official {spec.title}: {why}\n"
        f"  content digest expected: {known or 'not known'}\n"
        f"  content digest found:    {digest}\n"
        f"{remedy}"
    )


def _remedy(source: Source) -> str:
    if source.vouched:
        return "The files' own checksums held: compare the installed versions with the lock file."
    return "It is a copy that nobody vouches for, and was not kept."


def _prepare(spec: DatasetSpec, root: Path, download: bool) -> Dataset:
    """Get the set from the first source that works, and put it into the data folder."""
    why_not = None if download else "download=False"
    if is_offline():
        why_not = "SAL_OFFLINE forbids the network"
    usable, reasons = [], []
    for source in spec.sources:
        if why_not is not None and source.online:
            reasons.append(f"{source.name}: not asked, {why_not}")
        elif lacking := source.lacking(_official(spec, root)):
            reasons.append(lacking)
        else:
            usable.append(source)
    if not usable:
        raise _missing(spec, root, reasons)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _lock(spec, root):
            try:
                return _load_prepared(spec, root)
            except FileNotFoundError:
                return _first_that_works(spec, root, usable, reasons)
    except OSError as error:
        why = f"{error.filename or root}: {error.strerror or error}"
        raise _missing(spec, root, [f"{why} (the data folder can't be written)"]) from error


@contextmanager
def _lock(spec: DatasetSpec, root: Path) -> Iterator[None]:
    """Holds the other processes off that prepare the same set."""
    lock = FileLock(root / f".{spec.key}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.warning("another process is preparing %s; waiting for it", spec.title)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _official(spec: DatasetSpec, root: Path) -> Path:
    return root / "official" / spec.key


def _scratch(spec: DatasetSpec, root: Path) -> Path:
    return root / f".{spec.key}.scratch"


def _partial(spec: DatasetSpec, root: Path) -> Path:
    return root / f".partial-{spec.file}"


def _tidy(spec: DatasetSpec, root: Path) -> None:
    """Removes what a process left that was killed when the set was already in its place."""
    left = [_scratch(spec, root), _partial(spec, root)]
    left += [_official(spec, root)] if any(source.online for source in spec.sources) else []
    if any(path.exists() for path in left):
        with suppress(OSError, Timeout), FileLock(root / f".{spec.key}.lock", timeout=0):
            for path in left:
                remove(path)


def _first_that_works(
    spec: DatasetSpec, root: Path, sources: Sequence[Source], reasons: list[str]
) -> Dataset:
    folder, scratch, partial = _official(spec, root), _scratch(spec, root), _partial(spec, root)
    known, corrupt = known_digest(spec, root), None
    asked = replace(spec, content_sha256=known)
    for source in sources:
        if known is None and not source.vouched:
            reasons.append(
                f"{source.name}: it has no checksum of the owner's and no digest of {spec.title} "
                "is known, so nothing would tell whether it is the official one; not asked"
            )
            continue
        try:
            remove(partial)
            remove(scratch)
            scratch.mkdir()
            check_space(root, _room(spec, folder), f"preparing {spec.title}")
            write(partial, source.read(folder, scratch, asked))
            arrays = read(partial, list(spec.counts))
            dataset = _verified(spec, arrays, known, source.name, _remedy(source))
            remove(scratch)
            if known is None:  # before the file is there: one without a digest is not trusted
                _record(spec, root, dataset.sha256, source)
            os.replace(partial, root / spec.file)
        except FetchError as error:
            reasons += error.reasons
        except DataCorrupt as error:
            corrupt = error
        except MemoryError:
            raise
        except ImportError as error:
            reasons.append(f"{source.name}: a package that reads it is missing ({error})")
        except Exception as error:  # a parser may fail in any way on damaged files
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the folder's fault, not the files'
            why = f"it can't be parsed ({type(error).__name__}: {error})."
            corrupt = _corrupt(spec, source.name, why, known, "none", _remedy(source))
        else:
            if source.online:
                shutil.rmtree(folder, ignore_errors=True)
            return dataset
        finally:
            remove(partial)
            remove(scratch)
    if corrupt is None:
        raise _missing(spec, root, reasons)
    tried = "".join(f"\n  {reason}" for reason in reasons)
    raise DataCorrupt(f"{corrupt}" + (f"\nTried besides:{tried}" if tried else ""))


def _room(spec: DatasetSpec, folder: Path) -> int:
    """Bytes for the official files not there yet, the images unpacked, and these in grey."""
    rows, columns = spec.size
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    images = spec.total * rows * columns * (spec.channels + 1)
    return max(spec.official_bytes - there, 0) + images


def _missing(spec: DatasetSpec, root: Path, tried: Sequence[str]) -> DataMissing:
    lines = "\n".join(f"  {line}" for line in tried)
    form = "folder" if spec.mapped else "file"
    ways = [
        f"put the prepared {form} {spec.file} into that folder",
        "set SAL_DATA_DIR to a folder that has it",
    ]
    if any(source.online for source in spec.sources):
        ways.append(f"on a machine with a network, run `python -m sal.data {spec.key}`")
    return DataMissing(
        f"{spec.title} is not in the data folder {root} and could not be had.\n"
        f"Tried:\n{lines}\n"
        f"To get it, do one of these:\n" + "\n".join(f"  {way}" for way in ways)
    )
