"""What the page shows, from the committed results alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from paper import (
    against_moe,
    anchors,
    billion,
    check,
    claims,
    convergence,
    deviations,
    memory,
    methods,
    paths,
    render,
    routing,
    scaling,
    table1,
    tuning,
)
from paper.cells import Cell, rows_of
from paper.report import curves, html
from paper.results import counting, read
from paper.settings import PUBLISHED
from sal.run import Run

FIGURES = {
    "figure1": "Figure 1: the method",
    "figure2": "Figure 2: depth",
    "figure3": "Figure 3: width",
    "figure4": "Figure 4: beside a mixture of experts",
    "figure5": "Figure 5: beside a mixture of experts",
    "tuning": "Error against step size",
    "mechanism": "What the mechanism does",
    "routing": "Router and prototypes drawn again",
    "costs": "What a sample costs",
    "billion": "Four billion parameters, layer by layer",
    "health": "Deep nets, layer by layer",
    "peers": "A training step beside other packages'",
    "peers_gpu": "A training step beside other packages', on a GPU",
    "recovery_field": "The study of what the paper leaves out: all settings",
    "recovery_cells": "The study: what is left of the differences, cell by cell",
}
"""Figures by name, with their titles."""


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    anchor: str
    title: str
    body: str
    """HTML."""


@dataclass(frozen=True)
class Drill:
    """The runs of one cell of Tables 2 to 4."""

    anchor: str
    title: str
    cells: Sequence[Cell]
    """The same runs' three metrics."""
    rows: Sequence[Mapping[str, Any]]
    config: str
    protocol: str
    curve: str


def anchor(dataset: str, column: str) -> str:
    """Where a cell's runs are on the page."""
    return f"runs-{dataset}-{column}".lower().replace(" ", "-")


def tables(place: paths.Place) -> dict[str, list[Cell]]:
    """Tables 2 to 4, cell by cell, in the tables' own setting."""
    return convergence.tables(read(place.ledger(convergence.EXPERIMENT))[0])[PUBLISHED]


def drills(place: paths.Place, of_tables: Mapping[str, Sequence[Cell]]) -> list[Drill]:
    """The runs behind every cell that was run."""
    by_run = counting(place, convergence.EXPERIMENT)
    found = []
    for (dataset, column), runs in convergence.runs().items():
        rows = rows_of(by_run, runs)
        if rows:
            title = f"{dataset}, {column}"
            found.append(
                Drill(
                    anchor(dataset, column),
                    title,
                    [
                        cell
                        for cells in of_tables.values()
                        for cell in cells
                        if (cell.dataset, cell.column) == (dataset, column)
                    ],
                    rows,
                    _config(runs[0]),
                    json.dumps(runs[0].protocol.to_dict()),
                    curves.svg(rows, f"training curves of {title}"),
                )
            )
    return found


def _config(run: Run) -> str:
    """A configuration as JSON."""
    return json.dumps({"method": run.learner, **run.config.to_dict()})


def sections(place: paths.Place) -> list[Section]:
    """Everything below the verdicts, as HTML."""
    found = [
        _pages("claims", "The paper's claims", claims.pages(place)),
        _pages("data", "The data sets (Table 1)", table1.pages(place)),
        _figures("figures", "Figures 1 to 5", place, list(FIGURES)[:5], scaling.pages(place)),
        _pages("moe", "Beside a mixture of experts, in numbers", against_moe.pages(place)),
        _pages("tuned", "Every method at its own step size", tuning.pages(place), place, "tuning"),
        _figures(
            "mechanism",
            "What the mechanism does",
            place,
            ["mechanism", "routing"],
            routing.pages(place),
        ),
        _pages("methods", "Other methods at the paper's step size", _methods(place)),
        _pages("anchors", "Our baselines beside others' numbers", anchors.pages(place)),
        _pages("deviations", "What the paper leaves open", deviations.pages(place)),
        _study(place),
        _costs(place),
    ]
    return [section for section in found if section.body]


def _methods(place: paths.Place) -> Mapping[Path, str]:
    return methods.pages(place, read(place.ledger(convergence.EXPERIMENT))[0])


def _pages(
    name: str,
    title: str,
    texts: Mapping[Path, str],
    place: paths.Place | None = None,
    figure: str | None = None,
) -> Section:
    body = "".join(html.of_markdown(text) for path, text in texts.items() if path.suffix == ".md")
    if figure is not None:
        body = _figure(place, figure) + body
    return Section(name, title, body)


def _figures(
    name: str, title: str, place: paths.Place, names: Sequence[str], texts: Mapping[Path, str]
) -> Section:
    pages = {path.stem: text for path, text in texts.items() if path.suffix == ".md"}
    body = "".join(
        _figure(place, each) + (html.of_markdown(pages[each]) if each in pages else "")
        for each in names
    )
    return Section(name, title, body)


def _figure(place: paths.Place, name: str) -> str:
    """A figure, or that it was not made."""
    path, title = place.figure(name, "png"), FIGURES[name]
    if not path.exists():
        return f"<h3>{title}</h3><p>Not run.</p>"
    return (
        f'<figure id="figure-{name}"><img src="{html.data_uri(path)}" alt="{title}">'
        f"<figcaption>{title}</figcaption></figure>"
    )


def _study(place: paths.Place) -> Section:
    """The recovery study's report."""
    text = "".join(
        path.read_text(encoding="utf-8") for path in paths.documents(place, paths.RECOVERY)
    )
    body = "" if not text else html.of_markdown(_without_images(text))
    figures = "".join(_figure(place, name) for name in ("recovery_field", "recovery_cells"))
    return Section("study", "The study of what the paper leaves out", body and body + figures)


def _without_images(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("!["))


def _costs(place: paths.Place) -> Section:
    """Hours of all ledgers, memory, speed."""
    frame = hours(place)
    page = render.markdown_page(
        "Hours of the runs",
        [
            "Of all rows of each ledger, each from its start to its end: on a CPU on one thread, "
            "often beside other work; on a GPU often beside other runs that share it."
        ],
        frame,
    )
    body = html.of_markdown(page)
    for module in (memory, billion):
        texts = module.pages(place)
        body += "".join(html.of_markdown(t) for path, t in texts.items() if path.suffix == ".md")
    body += "".join(_figure(place, name) for name in ("costs", "billion", "health"))
    for name in ("peers", "peers_gpu"):
        if (table := place.table(name, "md")).exists():
            body += html.of_markdown(table.read_text(encoding="utf-8")) + _figure(place, name)
    return Section("costs", "Costs: hours, memory, speed", body)


def hours(place: paths.Place) -> pd.DataFrame:
    """Runs of each ledger, and their hours on CPUs and on GPUs, as texts."""
    lines = {}
    for name in check.LEDGERS:
        rows, _ = read(place.ledger(name))
        if rows:
            machines = sorted({_machine(row) for row in rows})
            lines[name] = [str(len(rows)), *_hours(rows), "; ".join(machines)]
    columns = ["runs", "hours on a CPU", "on a GPU", "processors"]
    frame = pd.DataFrame.from_dict(lines, orient="index", columns=columns)
    return frame.rename_axis("Ledger")


def _machine(row: Mapping[str, Any]) -> str:
    return row["machine"]["cpu"] if row["device"] == "cpu" else row["device"]


def _hours(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of the rows made on a CPU, and of the others."""
    groups = (
        [row for row in rows if (row["device"] == "cpu") == on_cpu] for on_cpu in (True, False)
    )
    return [
        f"{sum(row['seconds'] for row in group) / 3600:.2f}" if group else "–" for group in groups
    ]
