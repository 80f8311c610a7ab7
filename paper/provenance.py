"""Where a result comes from: code, libraries, machine."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from paper.paths import CODE, PACKAGES, REPOSITORY


def git(*arguments: str) -> str | None:
    """Output of a git command in the repository; None where git or a repository is missing."""
    try:
        done = subprocess.run(
            ["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def code() -> dict:
    """The part of a ledger row that says what it was made by, as things stand now."""
    root = git("rev-parse", "--show-toplevel")
    is_ours = root is not None and Path(root).resolve() == REPOSITORY
    sha = git("rev-parse", "HEAD") if is_ours else None
    changed = git("status", "--porcelain", "--untracked-files=all", "--", *CODE)
    return {
        "git_sha": sha,
        "git_dirty": None if sha is None else changed != "",
        "torch_version": torch.__version__,
    }


def contents() -> str:
    """PyTorch's version and a digest of every module's contents, as they are now."""
    digest = hashlib.sha256()
    for module in (module for package in PACKAGES for module in _modules(REPOSITORY / package)):
        content = module.read_bytes()
        digest.update(f"{module.relative_to(REPOSITORY)} {len(content)}\n".encode() + content)
    return f"code {digest.hexdigest()[:12]} and PyTorch {torch.__version__}"


def _modules(package: Path) -> Iterator[Path]:
    """Those that can be imported; not what editors and runs put beside them."""
    entries = sorted(package.iterdir())
    yield from (entry for entry in entries if entry.suffix == ".py" and entry.stem.isidentifier())
    for entry in entries:
        if (entry / "__init__.py").exists():
            yield from _modules(entry)


MADE_WITH = contents()
"""What two processes must share for their runs to be of the same code: as it was imported. Not the
commit, which a change of a text moves too."""


def provenance(device: str) -> dict:
    """``code``, and the machine.

    Take it before training: commits and edits during a run are not what the run is made from.

    Raises:
        ValueError: The code has changed since it was imported, so the commit is not what runs.
    """
    if (now := contents()) != MADE_WITH:
        raise ValueError(
            f"the code has changed since this process began, from {MADE_WITH} to {now}: start anew"
        )
    return {
        **code(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "machine": {
            "cpu": _cpu_model(),
            "isa": torch.backends.cpu.get_cpu_capability(),
            "arch": platform.machine(),
            "cores": os.cpu_count(),
            "system": platform.system(),
            "python": platform.python_version(),
            "numba": _version("numba"),
        },
    }


def _version(distribution: str) -> str | None:
    """None where it is not installed: then the engines in PyTorch are used."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _cpu_model() -> str:
    """Name, family, model and stepping of the processor: virtual ones share their names."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    facts = dict(re.findall(r"^(model name|cpu family|model|stepping)\s*: (.*)$", text, re.M))
    if "model name" not in facts:
        return platform.processor()
    numbers = [f"{name} {facts[name]}" for name in ("cpu family", "model", "stepping")]
    return f"{facts['model name']} ({', '.join(numbers)})"
