"""Single files out of tar and zip archives; nothing in an archive decides where a byte goes."""

from __future__ import annotations

import gzip
import posixpath
import shutil
import tarfile
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from sal.data.errors import DataCorrupt
from sal.data.progress import bar

COPY_BYTES = 1 << 20


def members(archive: Path) -> Iterator[tuple[str, BinaryIO]]:
    """(name, content) of every plain file in a tar or zip archive, one at a time.

    Raises:
        tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error: the archive is damaged.
    """
    if archive.suffix.lower() == ".zip":
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                if not entry.is_dir():
                    with opened.open(entry) as content:
                        yield posixpath.normpath(entry.filename), content
    else:
        with tarfile.open(archive, "r|*") as opened:
            for entry in opened:
                if entry.isreg():
                    with opened.extractfile(entry) as content:
                        yield posixpath.normpath(entry.name), content


def extract(archive: Path, names: Collection[str], into: Path) -> None:
    """Take the named files, and nothing else, out of an archive, under the names asked for.

    Args:
        archive: the tar or zip file.
        names: names inside the archive.
        into: folder below which the files are written.

    Raises:
        DataCorrupt: a file is missing or is not a plain one.
        tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error: the archive is damaged.
    """
    missing = set(names)
    for name, content in members(archive):
        if name in missing:
            path = into / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as unpacked:
                shutil.copyfileobj(content, unpacked, COPY_BYTES)
            missing.remove(name)
        if not missing:
            return
    raise DataCorrupt(f"{archive.name} lacks {', '.join(sorted(missing))}.")


def gunzip(packed: Path, into: Path) -> Path:
    """Unpack `name.gz` as `into`/`name`, and return that."""
    plain = into / packed.name.removesuffix(".gz")
    with (
        packed.open("rb") as raw,
        gzip.open(raw) as content,
        plain.open("wb") as unpacked,
        bar(packed.stat().st_size, f"unpacking {packed.name}") as shown,
    ):
        while chunk := content.read(COPY_BYTES):
            unpacked.write(chunk)
            shown.update(raw.tell() - shown.n)
    return plain
