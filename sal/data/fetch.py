"""Fetch an official file: resumed where it was cut, checked before anyone reads it.

Bytes go into `<name>.part`; only a file whose md5 is the published one gets its name. Proxies are
those of the environment (`HTTPS_PROXY`, `NO_PROXY`, ...), as `requests` reads them.
"""

import errno
import hashlib
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3

from sal.data.progress import bar

CONNECT_SECONDS = 5.0  # short: machines without a network have to get on with it
READ_SECONDS = 30.0  # silence after which a transfer counts as cut
CONNECTIONS = 5  # per address without a byte more; each goes on where the last one was cut
BACKOFF_SECONDS = 1.0  # before the second connection; doubled before each further one
LONGEST_WAIT_SECONDS = 60.0  # even where a server asks for more
BUSY = (429, 500, 502, 503, 504)  # statuses that may pass
CHUNK_BYTES = 1 << 16
BAR_FROM_BYTES = 4 << 20  # smaller files get no progress bar


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One official file, and the addresses that serve the very same bytes."""

    name: str
    md5: str
    urls: tuple[str, ...]  # tried in this order

    @classmethod
    def at(cls, url: str, md5: str) -> "RemoteFile":
        """A file that has one address, which ends in its name."""
        return cls(name=url.rsplit("/", 1)[1], md5=md5, urls=(url,))


class FetchError(Exception):
    """A file can't be had: `reasons` has one line for each address tried."""

    def __init__(self, reasons: list[str]):
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class _AddressError(Exception):
    """This address won't do; try the next one."""


class _CutError(Exception):
    """The transfer stopped half-way, or the server is busy; what came is kept."""

    def __init__(self, why: str, wait: float = 0.0):
        super().__init__(why)
        self.wait = wait
        """Seconds that the server asks for."""


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
    path = folder / remote.name
    if path.exists() and md5(path) == remote.md5:
        return path
    reasons = []
    for number, url in enumerate(remote.urls):
        # Each address has its own: another's answer must not cost what came from the first.
        part = path.with_name(f"{path.name}.{number}.part" if number else f"{path.name}.part")
        try:
            _fetch_from(url, remote.md5, part)
        except _AddressError as error:
            reasons.append(f"{url}: {error}")
        else:
            os.replace(part, path)
            return path
    raise FetchError(reasons)


def _fetch_from(url: str, wanted: str, part: Path) -> None:
    resumed = part.exists()
    _complete(url, part)
    found = md5(part)
    if resumed and found != wanted:  # the part may be of another file: once more, afresh
        part.unlink()
        _complete(url, part)
        found = md5(part)
    if found != wanted:
        part.unlink()
        raise _AddressError(f"md5 is {found}, published is {wanted}; thrown away unread")


def _complete(url: str, part: Path) -> None:
    attempt, most = 0, 0
    while True:
        try:
            return _transfer(url, part)
        except _CutError as error:
            cut = error
        have = part.stat().st_size if part.exists() else 0
        attempt, most = (0 if have > most else attempt + 1), max(have, most)
        if attempt == CONNECTIONS:
            raise _AddressError(f"cut {CONNECTIONS} times without a byte more: {cut}")
        backoff = BACKOFF_SECONDS * 2 ** max(attempt - 1, 0)
        time.sleep(min(max(backoff, cut.wait), LONGEST_WAIT_SECONDS))


def _transfer(url: str, part: Path) -> None:
    """One connection: append to `part` what is missing, or start over if the server can't."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    timeout = (CONNECT_SECONDS, READ_SECONDS)
    try:
        reply = requests.get(url, headers=headers, stream=True, timeout=timeout)
    except requests.RequestException as error:
        raise (_CutError if _may_pass(error) else _AddressError)(_in_words(error)) from error
    except OSError as error:  # such as certificates that are not where the environment says
        if error.errno is not None:
            raise
        raise _AddressError(str(error)) from error
    with reply:
        if have and reply.status_code == 416:  # nothing is missing: the checksum will tell
            return
        if reply.status_code in BUSY:
            asked = reply.headers.get("Retry-After", "")
            wait = float(asked) if asked.isdecimal() else 0.0
            raise _CutError(f"HTTP {reply.status_code} {reply.reason}", wait)
        resumes = reply.status_code == 206
        if resumes and not reply.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise _AddressError("the server sent another range than the one asked for")
        if reply.status_code not in (200, 206):
            raise _AddressError(f"HTTP {reply.status_code} {reply.reason}")
        _write(reply, part, have if resumes else 0)


def _write(reply: requests.Response, part: Path, start: int) -> None:
    length = reply.headers.get("Content-Length", "")
    total = start + int(length) if length.isdecimal() else None
    part.parent.mkdir(parents=True, exist_ok=True)
    check_space(part.parent, (total or start) - start, part.stem)
    with (
        part.open("ab" if start else "wb") as file,
        bar(total, part.stem, start, BAR_FROM_BYTES) as shown,
    ):
        try:
            # Raw bytes: a .gz must not be unpacked on the way.
            for chunk in reply.raw.stream(CHUNK_BYTES, decode_content=False):
                file.write(chunk)
                shown.update(len(chunk))
        except urllib3.exceptions.HTTPError as error:
            raise _CutError(_in_words(error)) from error
        if total is not None and file.tell() < total:
            raise _CutError(f"{file.tell()} of {total} bytes came")


def check_space(folder: Path, needed: int, what: str) -> None:
    """Raises OSError (ENOSPC) unless `folder`, which exists, has room for `needed` bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        why = f"{os.strerror(errno.ENOSPC)}: {what} needs {_size(needed)}, {_size(free)} are free"
        raise OSError(errno.ENOSPC, why, str(folder))


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _may_pass(error: requests.RequestException) -> bool:
    """Whether to try again: not where a name is unknown, a connection refused or not trusted."""
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.ProxyError):
        return False
    reason = error.args[0] if error.args else None
    reason = getattr(reason, "reason", None) or reason
    lasting = urllib3.exceptions.NewConnectionError | urllib3.exceptions.SSLError
    return isinstance(error, requests.ConnectionError | requests.Timeout) and not isinstance(
        reason, lasting
    )


def _in_words(error: Exception) -> str:
    """The innermost message: requests wraps "connection refused" three layers deep."""
    while error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    error = getattr(error, "reason", None) or error
    return str(error).split("): ", 1)[-1] or type(error).__name__


def md5(path: Path) -> str:
    """The md5 sum of a file, in hex."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file, bar(path.stat().st_size, f"checking {path.name}") as shown:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            shown.update(len(chunk))
    return digest.hexdigest()
