"""The ways to a data set: official files, an installed package, files that the user has to get.

A fourth, OpenML, is in `sal.data.openml_source`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sal.data.archives import COPY_BYTES, members
from sal.data.fetch import FetchError, RemoteFile, fetch, md5
from sal.data.spec import Arrays, DatasetSpec


@dataclass(frozen=True, kw_only=True)
class Files:
    """Official files, fetched and checked one by one."""

    files: tuple[RemoteFile, ...]
    parse: Callable[[Path, Path], Arrays]
    """(folder with the files, scratch folder) -> prepared arrays."""
    online = vouched = True

    @property
    def name(self) -> str:
        """The files' names."""
        return ", ".join(file.name for file in self.files)

    def lacking(self, folder: Path) -> str | None:
        """See `Source`."""

    def read(self, folder: Path, scratch: Path, spec: DatasetSpec) -> Arrays:
        """See `Source`."""
        for file in self.files:
            fetch(file, folder)
        return self.parse(folder, scratch)


@dataclass(frozen=True, kw_only=True)
class Bundled:
    """Data that an installed package ships."""

    name: str
    parse: Callable[[], Arrays]
    online, vouched = False, True

    def lacking(self, folder: Path) -> str | None:
        """See `Source`."""

    def read(self, folder: Path, scratch: Path, spec: DatasetSpec) -> Arrays:
        """See `Source`."""
        return self.parse()


@dataclass(frozen=True, kw_only=True)
class ByHand:
    """A file that the user has to get, plain or in a zip or tar archive; it is left in its place.

    An archive can be of anyone's making: only a file with the right name is unpacked, to a name and
    at most a size of ours, and only one whose md5 is the published one is read.
    """

    md5s: Mapping[str, str]
    """Name of the file -> md5; one of them is enough."""
    most_bytes: int
    """More than any of them has."""
    how: str
    """What to get, from where."""
    parse: Callable[[Path], Arrays]
    """The file -> prepared arrays."""
    online, vouched = False, True

    @property
    def name(self) -> str:
        """The files' names."""
        return " or ".join(self.md5s)

    def lacking(self, folder: Path) -> str | None:
        """See `Source`."""
        there = any(path.is_file() for path in folder.rglob("*"))
        return None if there else f"{self.how} Put it into {folder}"

    def read(self, folder: Path, scratch: Path, spec: DatasetSpec) -> Arrays:
        """See `Source`."""
        reasons = []
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            try:
                for file in [path] if path.name in self.md5s else self._unpacked(path, scratch):
                    found, wanted = md5(file), self.md5s[file.name]
                    if found == wanted:
                        return self.parse(file)
                    reasons.append(
                        f"{path}: md5 of {file.name} is {found}, published is {wanted}; not read"
                    )
            except PermissionError as error:
                reasons.append(f"{path} can't be read: {error.strerror}")
            except _ArchiveError as error:
                reasons.append(f"{path} can't be unpacked ({error.__cause__ or error})")
        raise FetchError([*reasons, f"{self.how} Put it into {folder}"])

    def _unpacked(self, archive: Path, scratch: Path) -> Iterator[Path]:
        """The files out of an archive that have the right name, one at a time."""
        if not archive.name.lower().endswith((".zip", ".tar", ".tar.gz", ".tgz")):
            return
        found = members(archive)
        while True:
            try:
                member, content = next(found)
                name = posixpath.basename(member)
                if name not in self.md5s:
                    continue
                with (scratch / name).open("wb") as unpacked:
                    while chunk := content.read(COPY_BYTES):
                        if unpacked.tell() > self.most_bytes:
                            raise _ArchiveError(f"{member} has more than {self.most_bytes} bytes")
                        unpacked.write(chunk)
            except StopIteration:
                return
            except (OSError, _ArchiveError) as error:
                if isinstance(error, _ArchiveError) or error.errno is not None:
                    raise
                raise _ArchiveError(archive.name) from error
            except Exception as error:  # it can be damaged in any way
                raise _ArchiveError(archive.name) from error
            yield scratch / name


class _ArchiveError(Exception):
    """An archive that is damaged, or too large; why is in its text or its cause."""
