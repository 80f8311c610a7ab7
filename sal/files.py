"""Files that are there whole or not at all, whoever else writes them at the same time."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file beside ``path``, and gives it that name once it is on the disk.

    Folders that lack are made. Where writing fails, what was there before stands.

    Args:
        path: The file's name.
        write: Writes the contents into an open binary file.

    Raises:
        OSError: The file cannot be written; it is named.
        Exception: Whatever ``write`` raises.
    """
    partial = path.with_name(f"{path.name}.{uuid.uuid4()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
