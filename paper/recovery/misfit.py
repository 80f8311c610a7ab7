"""How far a setting is from the published numbers: one likelihood over accuracy and both losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from paper.cells import FLOOR, published
from paper.recovery.settings import Setting
from paper.results import key
from sal.data import DATASETS
from sal.run import Run

TABLES = {"accuracy": "table2", "train_loss": "table3", "val_loss": "table4"}
"""Metric -> table of the paper."""
WORST = 50.0
"""Standard deviations counted for a run that diverged, and the most counted for any."""

Rows = Mapping[str, Mapping[str, Any]]
Reading = Callable[[Mapping[str, Any]], Mapping[str, float]]


def last(row: Mapping[str, Any]) -> Mapping[str, float]:
    """The metrics after the last epoch."""
    return row


@lru_cache
def target(metric: str, dataset: str, column: str) -> tuple[float, float]:
    """Published mean and standard deviation, the latter at least ``cells.FLOOR``."""
    frame = published(TABLES[metric])
    title = DATASETS[dataset].title
    (row,) = frame[(frame["dataset"] == title) & (frame["column"] == column)].to_dict("records")
    return row["mean"], max(row["std"], FLOOR[metric])


def deviations(
    rows: Rows, runs: Sequence[Run], column: str, reading: Reading = last
) -> dict[str, float] | None:
    """(ours - published) / published standard deviation by metric, of runs of one cell.

    None where not all of the runs have a row. A run that diverged counts as ``WORST``.
    """
    found = [rows.get(key(run)) for run in runs]
    if not found or None in found:
        return None
    if any(row["status"] != "ok" for row in found):
        return dict.fromkeys(TABLES, WORST)
    result = {}
    for metric in TABLES:
        mean, std = target(metric, runs[0].dataset, column)
        ours = sum(reading(row)[metric] for row in found) / len(found)
        result[metric] = max(-WORST, min(WORST, (ours - mean) / std))
    return result


def log_likelihood(deviations: Sequence[float]) -> float:
    """Of independent normal cells, up to a constant that all settings share."""
    return -0.5 * math.fsum(z * z for z in deviations)


def misfit(
    rows: Rows,
    setting: Setting,
    datasets: Sequence[str],
    areas: Sequence[int],
    seeds: Sequence[int],
    reading: Reading = last,
) -> float:
    """Mean square of the deviations over cells and metrics; infinite where runs are missing.

    It is -2 / n times the log-likelihood of n numbers: 1 is what a setting as good as another
    five runs of the authors' would have at most.
    """
    found: list[float] = []
    for dataset in datasets:
        for count in areas:
            runs = setting.runs([dataset], [count], seeds)
            cell = deviations(rows, runs, f"SAL-{count}", reading)
            if cell is None:
                return math.inf
            found += cell.values()
    return -2 * log_likelihood(found) / len(found)
