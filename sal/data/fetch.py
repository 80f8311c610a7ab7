"""Fetch an official file: resumed where it was cut, checked before anyone reads it.

Bytes go into `<name>.part`; only a file whose md5 is the published one gets its name.
"""

import hashlib
import os
import sys
from pathlib import Path

import requests
import urllib3
from tqdm import tqdm

from sal.data.registry import RemoteFile

CONNECT_SECONDS = 5.0  # short: machines without a network have to get on with it
READ_SECONDS = 30.0  # silence after which a transfer counts as cut
CONNECTIONS = 5  # per address; each goes on where the last one was cut
CHUNK_BYTES = 1 << 16
BAR_FROM_BYTES = 4 << 20  # smaller files get no progress bar


class FetchError(Exception):
    """A file can't be had: `reasons` has one line for each address tried."""

    def __init__(self, reasons: list[str]):
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class _AddressError(Exception):
    """This address won't do; try the next one."""


class _CutError(Exception):
    """The transfer stopped half-way; what came is kept."""


def is_offline() -> bool:
    """Whether `SAL_OFFLINE` forbids all use of the network."""
    return os.environ.get("SAL_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def fetch(remote: RemoteFile, folder: Path) -> Path:
    """Get one official file, from the first address that serves the right bytes.

    Args:
        remote: its name, md5 and addresses.
        folder: where it goes; a verified copy already there is taken as it is.

    Returns:
        The path of the file, whose md5 holds.

    Raises:
        FetchError: no address served it.
        OSError: the folder can't be written or is full; what came so far is kept.
    """
    path, part = folder / remote.name, folder / f"{remote.name}.part"
    if path.exists() and _md5(path) == remote.md5:
        return path
    reasons = []
    for url in remote.urls:
        try:
            _fetch_from(url, remote.md5, part)
        except _AddressError as error:
            reasons.append(f"{url}: {error}")
        else:
            os.replace(part, path)
            return path
    raise FetchError(reasons)


def _fetch_from(url: str, md5: str, part: Path) -> None:
    resumed = part.exists()
    _complete(url, part)
    if resumed and _md5(part) != md5:  # the part may have been of another file: once more, afresh
        part.unlink()
        _complete(url, part)
    found = _md5(part)
    if found != md5:
        part.unlink()
        raise _AddressError(f"md5 is {found}, published is {md5}; thrown away unread")


def _complete(url: str, part: Path) -> None:
    for _ in range(CONNECTIONS):
        try:
            return _transfer(url, part)
        except _CutError as error:
            cut = error
    raise _AddressError(f"cut {CONNECTIONS} times, the last time: {cut}")


def _transfer(url: str, part: Path) -> None:
    """One connection: append to `part` what is missing, or start over if the server can't."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    timeout = (CONNECT_SECONDS, READ_SECONDS)
    try:
        reply = requests.get(url, headers=headers, stream=True, timeout=timeout)
    except requests.RequestException as error:
        raise _AddressError(_in_words(error)) from error
    with reply:
        if have and reply.status_code == 416:  # nothing is missing: the checksum will tell
            return
        resumes = reply.status_code == 206
        if resumes and not reply.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise _AddressError("the server sent another range than the one asked for")
        if reply.status_code not in (200, 206):
            raise _AddressError(f"HTTP {reply.status_code} {reply.reason}")
        _write(reply, part, have if resumes else 0)


def _write(reply: requests.Response, part: Path, start: int) -> None:
    length = reply.headers.get("Content-Length")
    total = start + int(length) if length else None
    quiet = not sys.stderr.isatty() or (total or 0) < BAR_FROM_BYTES
    bar = tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=part.stem, disable=quiet)
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("ab" if start else "wb") as file, bar:
        try:
            # Raw bytes: a .gz must not be unpacked on the way.
            for chunk in reply.raw.stream(CHUNK_BYTES, decode_content=False):
                file.write(chunk)
                bar.update(len(chunk))
        except urllib3.exceptions.HTTPError as error:
            raise _CutError(_in_words(error)) from error
        if total is not None and file.tell() < total:
            raise _CutError(f"{file.tell()} of {total} bytes came")


def _in_words(error: Exception) -> str:
    """The innermost message: requests wraps "connection refused" three layers deep."""
    while error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    error = getattr(error, "reason", None) or error
    return str(error).split("): ", 1)[-1] or type(error).__name__


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
