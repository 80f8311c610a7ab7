"""How far a setting is from the published numbers: one score over accuracy and both losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from paper.cells import FLOOR, SEEDS, published
from paper.recovery.settings import Setting
from paper.results import key
from sal.data import DATASETS

TABLES = {"accuracy": "table2", "train_loss": "table3", "val_loss": "table4"}
"""Metric -> table of the paper."""
WORST = 50.0
"""Standard deviations counted for a cell with a run that diverged, and the most for any."""

Rows = Mapping[str, Mapping[str, Any]]
Reading = Callable[[Mapping[str, Any]], Mapping[str, float]]


def last(row: Mapping[str, Any]) -> Mapping[str, float]:
    """The metrics after the last epoch."""
    return row


def best_epoch(row: Mapping[str, Any]) -> Mapping[str, float]:
    """The metrics after the epoch with the highest validation accuracy, the first of equals."""
    accuracies = row["history"]["accuracy"]
    epoch = accuracies.index(max(accuracies))
    return {metric: row["history"][metric][epoch] for metric in TABLES}


def running(row: Mapping[str, Any]) -> Mapping[str, float]:
    """The last epoch's, with the training loss as a loop sums it up before each step.

    That sum is not recorded; it is taken to be midway between the losses before and after the
    epoch.
    """
    before, after = row["history"]["train_loss"][-2:]
    return {**{metric: row[metric] for metric in TABLES}, "train_loss": (before + after) / 2}


READINGS: dict[str, Reading] = {
    "all after the last epoch": last,
    "all after the epoch of the best validation accuracy": best_epoch,
    "training loss summed up during the last epoch": running,
}
"""What the paper may report of a run -> the reading."""


@cache
def target(metric: str, dataset: str, column: str) -> tuple[float, float]:
    """Published mean and standard deviation, the latter at least ``cells.FLOOR``."""
    frame = published(TABLES[metric])
    title = DATASETS[dataset].title
    (row,) = frame[(frame["dataset"] == title) & (frame["column"] == column)].to_dict("records")
    return row["mean"], max(row["std"], FLOOR[metric])


@cache
def run_keys(setting: Setting, dataset: str, areas: int, seeds: tuple[int, ...]) -> tuple[str, ...]:
    """The keys of a cell's runs in the ledger."""
    return tuple(key(run) for run in setting.runs([dataset], [areas], seeds))


def deviations(
    rows: Rows,
    setting: Setting,
    dataset: str,
    areas: int,
    seeds: tuple[int, ...],
    reading: Reading = last,
) -> dict[str, float] | None:
    """(ours - published) / published standard deviation of a cell, by metric.

    None where not all of the runs have a row. A cell with a run that diverged has ``WORST``.
    """
    found = [rows.get(name) for name in run_keys(setting, dataset, areas, seeds)]
    if None in found:
        return None
    if any(row["status"] != "ok" for row in found):
        return dict.fromkeys(TABLES, WORST)
    read = [reading(row) for row in found]
    result = {}
    for metric in TABLES:
        mean, std = target(metric, dataset, f"SAL-{areas}" if areas else "Baseline")
        ours = sum(values[metric] for values in read) / len(read)
        result[metric] = max(-WORST, min(WORST, (ours - mean) / std))
    return result


def misfit(
    rows: Rows,
    setting: Setting,
    cells: Sequence[tuple[str, int]],
    seeds: tuple[int, ...],
    reading: Reading = last,
) -> float:
    """Mean square of the deviations over metrics of cells (data set, K); infinite where runs lack.

    It ranks as the likelihood of independent normal numbers with the published spreads does: it is
    -2 / n times its logarithm. What the authors' own code would have: ``of_their_code``; all
    numbers at the limit of *reproduced* have 4.
    """
    found: list[float] = []
    for dataset, count in cells:
        cell = deviations(rows, setting, dataset, count, seeds, reading)
        if cell is None:
            return math.inf
        found += cell.values()
    return math.fsum(z * z for z in found) / len(found) if found else math.inf


def of_their_code(
    cells: Sequence[tuple[str, int]], seeds: int, draws: int = 4000
) -> tuple[float, float]:
    """Misfit of the authors' own code on average, and how many numbers it has within 2.

    Simulated: normal numbers with the published spreads; the published mean and spread are those
    of ``SEEDS`` of them, ours the mean of ``seeds``.
    """
    generator, found = np.random.default_rng(0), []
    for metric, table in TABLES.items():
        frame = published(table).set_index(["dataset", "column"])["std"]
        for dataset, areas in cells:
            spread = frame[DATASETS[dataset].title, f"SAL-{areas}"]
            measured = spread * np.sqrt(generator.chisquare(SEEDS - 1, draws) / (SEEDS - 1))
            theirs, ours = generator.standard_normal((2, draws)) * spread
            off = ours / seeds**0.5 - theirs / SEEDS**0.5
            found.append(off / np.maximum(measured, FLOOR[metric]))
    z = np.array(found)
    return float((z**2).mean()), float((np.abs(z) <= 2).mean() * len(z))


def cells_of(frame: pd.DataFrame, setting: Setting) -> pd.DataFrame:
    """SAL's cells of one setting, each with the most seeds that it has."""
    own = frame[(frame["setting"] == setting.name) & (frame["areas"] > 0)]
    most = own.groupby(["dataset", "areas"])["seeds"].transform("max")
    return own[own["seeds"] == most]
