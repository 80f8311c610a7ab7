"""What is measured once and kept as ``results/<name>.json``: costs, health, memory, scale."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console

from paper import paths, style
from paper.options import carry_out
from paper.results import LedgerError

Result = Mapping[str, Any]
NOTHING_KEPT = "nothing was kept of it; what was measured before stands"
NAMES = ("billion", "memory", "costs", "health")
"""Everything that is measured once."""


def read(place: paths.Place, name: str) -> Result | None:
    """What was measured; None where nothing was.

    Raises:
        LedgerError: The file is damaged.
    """
    file = _file(place, name)
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise LedgerError(f"{file} is damaged, {error}: restore it, or measure again") from error


def write(place: paths.Place, name: str, result: Result) -> None:
    """Keeps what was measured.

    Raises:
        OSError: The file cannot be written.
    """
    paths.write({_file(place, name): json.dumps(result, separators=(",", ":")) + "\n"})


def render(
    place: paths.Place,
    name: str,
    pages: Callable[[paths.Place], Mapping[Path, str]],
    draw: Callable[[Result], Figure] | None,
    console: Console,
) -> None:
    """Writes pages, and the figure if there is one, from what was measured.

    Raises:
        OSError: A file cannot be written.
    """
    result = read(place, name)
    if result is None:
        console.print("nothing was measured yet")
        return
    texts = pages(place)
    paths.write(texts)
    written = [*texts]
    if draw is not None:
        style.save({name: draw(result)}, place)
        written.append(place.figure(name, "{pdf,png}"))
    console.print("written:", *written, highlight=False, soft_wrap=True)


def command(
    name: str,
    measure: Callable[[Console], Result],
    pages: Callable[[paths.Place], Mapping[Path, str]],
    draw: Callable[[Result], Figure] | None,
    render_only: bool,
) -> int:
    """Measures, unless ``render_only``, and renders in the committed place: the exit status."""

    def run(console: Console) -> int:
        place = paths.committed()
        if not render_only:
            write(place, name, measure(console))
        render(place, name, pages, draw, console)
        return 0

    return carry_out(run, NOTHING_KEPT)


def commit(result: Result) -> str:
    """The code that a result was measured with, for its page."""
    if result["git_sha"] is None:
        return "no commit"
    changed = "" if result["git_dirty"] is False else " with uncommitted changes"
    return f"commit {result['git_sha'][:12]}{changed}"


def problems(place: paths.Place) -> list[str]:
    """Results that may not be committed: of unknown or uncommitted code."""
    found = {name: read(place, name) for name in NAMES}
    return [
        f"{name}.json: made from uncommitted code; commit, then measure it again"
        for name, result in found.items()
        if result is not None and (result["git_sha"] is None or result["git_dirty"] is not False)
    ]


def parser(module: str, description: str) -> argparse.ArgumentParser:
    """A command line with ``--render-only``."""
    found = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    found.add_argument("--render-only", action="store_true", help="only render what is there")
    return found


def _file(place: paths.Place, name: str) -> Path:
    return place.root / "results" / f"{name}.json"
