"""Tables as Markdown, LaTeX, CSV and on the terminal. Rendering reads cells and never trains."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.table import Table

from paper.cells import DIFFERS, NOT_RUN, REPRODUCED, SEEDS, Cell, Measured

DECIMALS = {"accuracy": 2, "train_loss": 3, "val_loss": 3}


def summary(cells: Sequence[Cell]) -> str:
    """How many cells came out how, in one line."""
    counts = Counter(cell.verdict.split(":")[0] for cell in cells)
    order = sorted(counts, key=lambda verdict: (verdict != REPRODUCED, verdict != DIFFERS, verdict))
    return f"Of {len(cells)} cells: " + ", ".join(f"{counts[v]} {v}" for v in order) + "."


def markdown(title: str, notes: Sequence[str], cells: Sequence[Cell]) -> str:
    """A page with the table, ours above the published value, and the verdict."""
    frame = _grid(cells, lambda cell: "<br>".join(_lines(cell, "**{}**")))
    return markdown_page(title, [*notes, summary(cells)], frame)


def markdown_page(title: str, notes: Sequence[str], frame: pd.DataFrame | None = None) -> str:
    """A page with a table of texts, one row a data set, or whatever its index is called."""
    lines = [f"# {title}", *(line for note in notes for line in ("", note))]
    lines += [] if frame is None else ["", *_markdown_table(frame)]
    return "\n".join(lines) + "\n"


def markdown_section(title: str, notes: Sequence[str], frame: pd.DataFrame) -> str:
    """A section of a page, with a table of texts."""
    return f"\n#{markdown_page(title, notes, frame)}"


def compact(cells: Sequence[Cell]) -> str:
    """The table for the README: our mean over the published one, marked by verdict."""
    lines = _markdown_table(_grid(cells, _compact_cell))
    legend = "Ours over the paper's; ✓ reproduced, ✗ differs, n seeds where fewer than "
    return "\n".join([*lines, "", f"{legend}{SEEDS}, – not run. {summary(cells)}"]) + "\n"


def between_marks(text: str, name: str, table: str) -> str:
    """``text`` with ``table`` between its comments ``<!-- name:begin -->`` and ``:end``.

    Raises:
        ValueError: The text has no such pair of comments.
    """
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"no place for the table: {begin.strip()} ... {end} is missing")
    return f"{before}{begin}\n{table}\n{end}{after}"


def latex(title: str, notes: Sequence[str], cells: Sequence[Cell]) -> str:
    """A ``tabular`` for booktabs: ours, the published in brackets, a dagger where it differs."""
    legend = rf"Ours (published); \dag: differs; n given where not {SEEDS}."
    return tabular(title, [*notes, summary(cells)], _grid(cells, _latex_cell), legend)


def tabular(
    title: str, notes: Sequence[str], frame: pd.DataFrame, legend: str = "", align: str = "r"
) -> str:
    """A ``tabular`` for booktabs of a table of texts in LaTeX, one row a data set."""
    body = [
        f"{name} & " + " & ".join(row) + r" \\"
        for name, row in zip(frame.index, frame.to_numpy(), strict=True)
    ]
    return "\n".join(
        [
            f"% {title}",
            *(f"% {note}" for note in notes),
            rf"% Needs \usepackage{{booktabs}}. {legend}".rstrip(),
            r"\begin{tabular}{l" + align * frame.shape[1] + "}",
            r"\toprule",
            "Data set & " + " & ".join(frame.columns) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def csv(cells: Sequence[Cell]) -> str:
    """One line a cell."""
    frame = pd.DataFrame(
        {
            **{name: getattr(cell, name) for name in ("dataset", "column", "metric")},
            "mean": cell.mean,
            "std": cell.std,
            "n": cell.n,
            "diverged": cell.diverged,
            "published_mean": cell.published_mean,
            "published_std": cell.published_std,
            "difference": None if cell.mean is None else cell.mean - cell.published_mean,
            "tolerance": cell.tolerance,
            "verdict": cell.verdict,
        }
        for cell in cells
    )
    return frame.to_csv(index=False, float_format="%.4f", lineterminator="\n")


def terminal(title: str, cells: Sequence[Cell]) -> Table:
    """The table for ``rich``, for a terminal 80 wide: our mean over the published one."""
    frame = _grid(cells, _terminal_cell)
    caption = f"ours over (published); ✓ reproduced, ✗ differs, n: partial. {summary(cells)}"
    table = Table(title=title, caption=caption, show_lines=True)
    table.add_column("Data set")
    for column in frame.columns:
        table.add_column(column, justify="right")
    for name, row in zip(frame.index, frame.to_numpy(), strict=True):
        table.add_row(name, *row)
    return table


def _grid(cells: Sequence[Cell], show) -> pd.DataFrame:
    """Shown cells by data set and column, both in the order in which they first come."""
    rows = list(dict.fromkeys(cell.dataset for cell in cells))
    columns = list(dict.fromkeys(cell.column for cell in cells))
    shown = {(cell.dataset, cell.column): show(cell) for cell in cells}
    return pd.DataFrame(
        [[shown[row, column] for column in columns] for row in rows], index=rows, columns=columns
    )


def _markdown_table(frame: pd.DataFrame) -> list[str]:
    header = [frame.index.name or "Data set", *frame.columns]
    rows = [[name, *row] for name, row in zip(frame.index, frame.to_numpy(), strict=True)]
    return [
        "| " + " | ".join(header) + " |",
        "|" + "---|" * len(header),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def value(mean: float, std: float | None, metric: str, plus_minus: str = "±") -> str:
    """A mean and its spread as text."""
    digits = DECIMALS[metric]
    spread = "" if std is None else f" {plus_minus} {std:.{digits}f}"
    return f"{mean:.{digits}f}{spread}"


def other_devices(rows_of: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Notes on what was made on another device than a CPU, one a device; none without.

    Args:
        rows_of: What a note calls them -> the ledger's rows.
    """
    made: dict[str, list[str]] = {}
    for label, rows in rows_of.items():
        elsewhere = Counter(
            f"{row['device']}, PyTorch {row['torch_version']}"
            for row in rows
            if row["device"] != "cpu"
        )
        for device, count in elsewhere.items():
            made.setdefault(device, []).append(f"{label} ({count} of {len(rows)} runs)")
    return [f"On {device}, float32: {', '.join(texts)}." for device, texts in sorted(made.items())]


def measured(found: Measured, metric: str, seeds: int = SEEDS, emphasis: str = "{}") -> str:
    """Mean, spread, and n where it is not ``seeds``; runs that diverged; or that none was run."""
    parts = [f"{found.diverged} diverged"] if found.diverged else []
    if found.mean is not None:
        n = len(found.values)
        count = "" if n == seeds else f" (n={n})"
        parts.insert(0, emphasis.format(value(found.mean, found.std, metric)) + count)
    return ", ".join(parts) or NOT_RUN


def highest_in_bold(column: Sequence[Measured], metric: str, seeds: int = SEEDS) -> list[str]:
    """``measured`` of each, the highest mean in bold: of those with all seeds, as it is written."""
    means = [
        round(found.mean, DECIMALS[metric]) if len(found.values) == seeds else None
        for found in column
    ]
    highest = max((mean for mean in means if mean is not None), default=math.inf)
    return [
        measured(found, metric, seeds, "**{}**" if mean == highest else "{}")
        for found, mean in zip(column, means, strict=True)
    ]


def _lines(cell: Cell, emphasis: str = "{}") -> list[str]:
    published = f"paper {cell.published_mean:.2f} ± {cell.published_std:.2f}"
    diverged = [f"{cell.diverged} diverged"] if cell.diverged else []
    if cell.mean is None:
        return [NOT_RUN, published, *diverged]
    ours = emphasis.format(value(cell.mean, cell.std, cell.metric))
    return [f"{ours} (n={cell.n})", published, cell.verdict, *diverged]


def _compact_cell(cell: Cell) -> str:
    published = f"{cell.published_mean:.2f}"
    if cell.mean is None:
        return f"–<br>{published}"
    mark = {REPRODUCED: "✓", DIFFERS: "✗"}.get(cell.verdict, f"n={cell.n}")
    return f"**{value(cell.mean, None, cell.metric)}** {mark}<br>{published}"


def _terminal_cell(cell: Cell) -> str:
    published = f"({cell.published_mean:.2f})"
    if cell.mean is None:
        return f"[bright_black]not run\n{published}[/]"
    colour, mark = {REPRODUCED: ("green", "✓"), DIFFERS: ("red", "✗")}.get(
        cell.verdict, ("yellow", f"n={cell.n}")
    )
    return f"[{colour}]{value(cell.mean, None, cell.metric)} {mark}[/]\n{published}"


def _latex_cell(cell: Cell) -> str:
    published = f"({cell.published_mean:.2f})"
    if cell.mean is None:
        return rf"\emph{{not run}} {published}"
    ours = f"${value(cell.mean, cell.std, cell.metric, chr(92) + 'pm')}$"
    mark = r"\dag" if cell.verdict == DIFFERS else ""
    count = "" if cell.n == SEEDS else f", n={cell.n}"
    return f"{ours}{mark} {published}{count}"
