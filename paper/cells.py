"""Cells of the paper's tables: ours beside the published, with one verdict rule for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from paper import paths
from paper.results import current, key
from sal.run import Run

SEEDS = 5
"""Runs that a published cell averages."""
FLOOR = {"accuracy": 0.3, "train_loss": 0.01, "val_loss": 0.01}
"""Least standard deviation that a published value is credited with: percent points or nats."""
REPRODUCED, DIFFERS, NOT_RUN = "reproduced", "differs", "not run"


@dataclass(frozen=True)
class Cell:
    """One cell: a metric of one method on one data set."""

    dataset: str
    """The paper's name of the data set."""
    column: str
    """The paper's name of the method."""
    metric: str
    mean: float | None
    """Mean over the runs that did not diverge; None without any."""
    std: float | None
    """Their sample standard deviation (n - 1); None below two."""
    n: int
    """Their number."""
    diverged: int
    """Number of runs that diverged: counted, never averaged."""
    published_mean: float
    published_std: float
    verdict: str

    @property
    def tolerance(self) -> float:
        """How far from the published mean still counts as reproduced."""
        return tolerance(self.metric, self.published_std)


def published(table: str) -> pd.DataFrame:
    """The paper's own table: columns metric, dataset, column, mean, std."""
    frame = pd.read_csv(paths.PUBLISHED, encoding="utf-8")
    frame = frame[frame["table"] == table].reset_index(drop=True)
    if frame.empty:
        raise ValueError(f"{paths.PUBLISHED.name} has no table {table!r}")
    return frame


def tolerance(metric: str, std: float) -> float:
    """How far from a published mean with this standard deviation still counts as reproduced."""
    return 2 * max(std, FLOOR[metric])


def verdict(metric: str, values: Sequence[float], target: float, std: float) -> str:
    """The one rule, fixed before any result: see ``paper/README.md``.

    Args:
        metric: Key of ``FLOOR``.
        values: Of the runs that did not diverge.
        target: Published mean.
        std: Published standard deviation.
    """
    if not values:
        return NOT_RUN
    if len(values) < SEEDS:
        return f"partial: {len(values)} of {SEEDS} seeds"
    mean = sum(values) / len(values)
    return REPRODUCED if abs(mean - target) <= tolerance(metric, std) + 1e-9 else DIFFERS


def cells(
    table: str, rows: Sequence[Mapping[str, Any]], runs: Mapping[tuple[str, str], Sequence[Run]]
) -> list[Cell]:
    """The cells of a table, in the paper's order.

    Args:
        table: As in ``published.csv``.
        rows: Of the ledger.
        runs: The runs of each (data set title, column); cells without are not run. Rows of other
            runs, and rows that are stale, do not count.
    """
    by_run = current(rows)
    result = []
    for entry in published(table).to_dict("records"):
        wanted = runs.get((entry["dataset"], entry["column"]), ())
        found = [by_run[key(run)] for run in wanted if key(run) in by_run]
        values = [row[entry["metric"]] for row in found if row["status"] == "ok"]
        series = pd.Series(values, dtype=float)
        result.append(
            Cell(
                dataset=entry["dataset"],
                column=entry["column"],
                metric=entry["metric"],
                mean=series.mean() if values else None,
                std=series.std() if len(values) > 1 else None,
                n=len(values),
                diverged=len(found) - len(values),
                published_mean=entry["mean"],
                published_std=entry["std"],
                verdict=verdict(entry["metric"], values, entry["mean"], entry["std"]),
            )
        )
    return result
