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
ROUNDING = 1e-9
"""What a number at a limit may be beyond it, for it is computed in floating point."""
FLOOR = {"accuracy": 0.3, "train_loss": 0.01, "val_loss": 0.01}
"""Least standard deviation that a published value is credited with: percent points or nats."""
REPRODUCED, DIFFERS, NOT_RUN = "reproduced", "differs", "not run"


@dataclass(frozen=True)
class Measured:
    """A metric of the runs of one cell."""

    values: Mapping[int, float]
    """Seed -> value, of the runs that did not diverge."""
    diverged: int
    """Number of runs that diverged: counted, never averaged."""

    @property
    def mean(self) -> float | None:
        """None without any value."""
        return pd.Series(self.values, dtype=float).mean() if self.values else None

    @property
    def std(self) -> float | None:
        """Sample standard deviation (n - 1); None below two values."""
        return pd.Series(self.values, dtype=float).std() if len(self.values) > 1 else None


def rows_of(
    by_run: Mapping[str, Mapping[str, Any]], runs: Sequence[Run]
) -> list[Mapping[str, Any]]:
    """What a ledger has of some runs; ``by_run`` as ``results.current`` gives it."""
    return [by_run[key(run)] for run in runs if key(run) in by_run]


def measure(by_run: Mapping[str, Mapping[str, Any]], runs: Sequence[Run], metric: str) -> Measured:
    """A metric of ``rows_of``."""
    found = rows_of(by_run, runs)
    values = {row["seed"]: row[metric] for row in found if row["status"] == "ok"}
    return Measured(values, len(found) - len(values))


def apart(plus: Measured, minus: Measured) -> Measured:
    """The differences between runs of the same seed, of the seeds that both have."""
    return Measured(differences(plus.values, minus.values), 0)


def differences(plus: Mapping[int, float], minus: Mapping[int, float]) -> dict[int, float]:
    """plus - minus by seed, of the seeds that both have."""
    return {seed: plus[seed] - minus[seed] for seed in sorted(plus.keys() & minus.keys())}


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
    return REPRODUCED if abs(mean - target) <= tolerance(metric, std) + ROUNDING else DIFFERS


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
        measured = measure(by_run, wanted, entry["metric"])
        values = list(measured.values.values())
        result.append(
            Cell(
                dataset=entry["dataset"],
                column=entry["column"],
                metric=entry["metric"],
                mean=measured.mean,
                std=measured.std,
                n=len(values),
                diverged=measured.diverged,
                published_mean=entry["mean"],
                published_std=entry["std"],
                verdict=verdict(entry["metric"], values, entry["mean"], entry["std"]),
            )
        )
    return result
