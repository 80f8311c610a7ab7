"""Everything that was measured on one page, and the same as PDF. It trains nothing.

``python -m paper.report --help`` lists the options; ``nox -s report -- OPTIONS`` is the same.

The page needs no other file and no network; without JavaScript its tables are there and do not
sort. The PDF is printed by Chromium, where that is installed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.console import Console

from paper import check, convergence, paths, render
from paper.cells import DIFFERS, NOT_RUN, REPRODUCED, SEEDS, Cell
from paper.options import carry_out
from paper.provenance import git
from paper.report import content
from paper.report.curves import METRICS
from paper.results import read

HERE = Path(__file__).resolve().parent
SCRIPTS = ("sortable.min.js", "sortable.a11y.min.js")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
KINDS = {REPRODUCED: ("✓", "good"), DIFFERS: ("✗", "bad"), NOT_RUN: ("", "")}
"""Verdict -> its mark, and the class of its cell."""


def page(place: paths.Place) -> str:
    """The whole page."""
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"), undefined=StrictUndefined, autoescape=True
    )
    tables = content.tables(place)
    sections = content.sections(place)
    rows = [row for name in check.LEDGERS for row in read(place.ledger(name))[0]]
    return environment.get_template("page.html").render(
        css=(HERE / "templates" / "page.css").read_text(encoding="utf-8"),
        script="\n".join((HERE / "vendor" / name).read_text(encoding="utf-8") for name in SCRIPTS),
        commit=git("rev-parse", "HEAD"),
        runs=len(rows),
        hours=sum(row["seconds"] for row in rows) / 3600,
        tables={name: _table(name, cells) for name, cells in tables.items()},
        sections=sections,
        anchors={section.anchor for section in sections},
        drills=content.drills(place, tables),
        words=METRICS,
    )


def _table(name: str, cells: Sequence[Cell]) -> dict[str, Any]:
    by_dataset: dict[str, list[Mapping[str, Any]]] = {}
    for cell in cells:
        by_dataset.setdefault(cell.dataset, []).append(_cell(cell))
    return {
        "title": convergence.TITLES[name],
        "summary": render.summary(cells),
        "columns": list(dict.fromkeys(cell.column for cell in cells)),
        "rows": by_dataset,
    }


def _cell(cell: Cell) -> Mapping[str, Any]:
    mark, kind = KINDS.get(cell.verdict, (f"n = {cell.n}" if cell.n < SEEDS else "", ""))
    published = render.value(cell.published_mean, cell.published_std, cell.metric)
    return {
        "mean": cell.mean,
        "ours": None if cell.mean is None else render.value(cell.mean, cell.std, cell.metric),
        "mark": mark,
        "kind": kind,
        "published": published,
        "anchor": content.anchor(cell.dataset, cell.column),
    }


def print_pdf(source: Path, target: Path) -> str | None:
    """Prints a page to a PDF; returns why there is none, if there is none."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        return f"none of {', '.join(BROWSERS)} is installed"
    with tempfile.TemporaryDirectory() as profile:
        command = [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--no-pdf-header-footer"),
            *(f"--user-data-dir={profile}", f"--print-to-pdf={target}", source.as_uri()),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode or not target.exists():
        return f"{browser} failed: {(done.stderr.strip().splitlines() or ['no word'])[-1]}"
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 1 where there is no PDF."""
    parser = argparse.ArgumentParser(
        prog="python -m paper.report", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--to", type=Path, metavar="FOLDER", help="where to; default paper/site, which is not kept"
    )
    options = parser.parse_args(arguments)
    return carry_out(lambda console: _run(options, console))


def _run(options: argparse.Namespace, console: Console) -> int:
    place = paths.committed()
    folder = (options.to or place.root / "site").resolve()
    index, pdf = folder / "index.html", folder / "report.pdf"
    paths.write({index: page(place)})
    console.print(f"written: {index}", highlight=False, soft_wrap=True)
    if problem := print_pdf(index, pdf):
        print(f"error: no PDF: {problem}", file=sys.stderr)
        return 1
    console.print(f"written: {pdf}", highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
