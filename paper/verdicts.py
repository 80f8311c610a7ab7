"""The one rule for verdicts on claims, and the committed runs that it is applied to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from paper import entrants, methods, paths, scaling, tuning
from paper.cells import SEEDS, rows_of
from paper.paired import Comparison, against_zero, holm, overlap, paired, resampled, slope
from paper.results import counting
from sal.data import DATASETS
from sal.run import Run

HOLDS, NOT, OPEN = "holds", "does not hold", "cannot be said"
RECIPES = ("published", "tuned")
EARLY = 5
"""Epochs that are called early."""

Values = Mapping[int, float]
"""By seed."""
Rows = Mapping[int, Mapping[str, Any]]
"""By seed: the runs of one method on one data set."""
Comparisons = Mapping[tuple[str, str], Comparison | None]
"""By data set and what is compared, such as SAL-16 − Baseline; None where it was not run."""


@dataclass
class Finding:
    """What came of one claim at one recipe."""

    verdict: str
    evidence: str
    comparisons: Comparisons = field(default_factory=dict)
    """Those that were run, with Holm's correction over them, and so the steps of trends."""


NOT_RUN = Finding(OPEN, "not run at this recipe")


def judge(asked: Comparisons, steps: Comparisons | None = None) -> Finding:
    """The rule for claims that something is larger everywhere.

    *Holds*: every comparison shows it (p < 0.05 each, which needs no correction where all have to,
    and all seeds), and none is missing on a data set that has others. *Does not hold*: one shows
    the opposite, or one of the ``steps`` of a trend does (p < 0.05 after Holm's correction, over
    the comparisons, and over the steps). *Cannot be said*: otherwise, and without runs. Data sets
    that were not run count for nothing, and are named.
    """
    found, back = _run(asked), _run(steps or {})
    if not found:
        return NOT_RUN
    here = {dataset for dataset, _ in found}
    missing = [
        what for (dataset, what) in asked if dataset in here and (dataset, what) not in found
    ]
    shown = sum(each.sign_alone == 1 for each in found.values())
    against = sum(each.sign == -1 for each in found.values())
    turns = sum(each.sign == -1 for each in back.values())
    count = f"{len(found)} of {len(found) + len(missing)}" if missing else str(len(found))
    text = f"{count} comparison{'s' if count != '1' else ''} on {_coverage(asked, found)}: "
    neither = len(found) - shown - against
    text += f"{shown} show it, {against} the opposite after Holm's correction, {neither} neither"
    if few := sum(each.n < SEEDS for each in found.values()):
        text += f" ({few} with too few seeds)"
    if missing:
        text += f"; not there: {', '.join(dict.fromkeys(missing))}"
    if back:
        text += f"; {turns} of {len(back)} steps go the other way"
    all_show = shown == len(found) and not missing
    verdict = NOT if against or turns else HOLDS if all_show else OPEN
    return Finding(verdict, text, {**found, **back})


def _run(asked: Comparisons) -> dict[tuple[str, str], Comparison]:
    """Those that were run, with Holm's correction over them.

    Seeds that hold out parts of the same samples are not independent: ``resampled``.
    """
    found = {what: resampled(each, overlap(what[0])) for what, each in asked.items() if each}
    return {what: each for what, each in holm(found).items() if each is not None}


def _coverage(asked: Comparisons, found: Comparisons) -> str:
    """The data sets that were run, of those asked for."""
    every, there = (list(dict.fromkeys(dataset for dataset, _ in each)) for each in (asked, found))
    titles = [DATASETS[dataset].title for dataset in there]
    missing = [DATASETS[dataset].title for dataset in every if dataset not in there]
    if not missing:
        return " and ".join(titles) if len(titles) < 3 else f"all {len(every)} data sets asked"
    if len(there) < 3:
        return f"{' and '.join(titles)} alone of {len(every)} data sets asked"
    return f"{len(there)} of {len(every)} data sets asked (not {', '.join(missing)})"


class Ledgers:
    """The committed results; each ledger is read once."""

    def __init__(self, place: paths.Place) -> None:
        self.place = place
        self.of_tables = tuning.ledgers(place)
        self._rows: dict[tuple[str, str, str], Rows] = {}
        self._ledgers: dict[str, Mapping[str, Mapping[str, Any]]] = {}

    def of(self, experiment: str) -> Mapping[str, Mapping[str, Any]]:
        """The rows of an experiment that count."""
        if experiment not in self._ledgers:
            self._ledgers[experiment] = counting(self.place, experiment)
        return self._ledgers[experiment]

    def rows(self, recipe: str, dataset: str, column: str) -> Rows:
        """A column's runs at a recipe."""
        cell = (recipe, dataset, column)
        if cell not in self._rows:
            self._rows[cell] = there(self.of_tables, self._runs(*cell))
        return self._rows[cell]

    def scaled(self, recipe: str, figure: str, dataset: str, column: str) -> dict[int, Rows]:
        """Runs of a deep net by depth or width, of those that have all seeds.

        Tuned, there are some depths on one data set.
        """
        if recipe == "tuned":
            deep = figure == "figure2" and dataset == entrants.DEEP_ON
            found = {
                depth: self.rows(recipe, dataset, entrants.deep_column(column, depth))
                for depth in (entrants.DEPTHS if deep else ())
            }
        else:
            experiment = scaling.EXPERIMENTS[figure]
            cells = scaling.runs(experiment, [dataset], methods=[entrants.DEEP[column]])
            by_run = self.of(experiment.name)
            found = {value: there(by_run, own) for (_, _, value), own in cells.items()}
        return {value: found[value] for value in sorted(found) if len(found[value]) >= SEEDS}

    def _runs(self, recipe: str, dataset: str, column: str) -> list[Run]:
        if recipe == "tuned":
            if column not in entrants.everyone():
                return []
            steps = tuning.result(self.of_tables, dataset, column)["steps"]
            return [
                tuning.final(dataset, column, step, seed)
                for seed, step in steps.items()
                if step is not None
            ]
        if column in entrants.everyone():
            return tuning.as_published(dataset, column)
        name, _, k = column.lower().partition("-")
        (runs,) = methods.runs([name], [dataset], [int(k)]).values()
        return runs


def there(by_run: Mapping[str, Mapping[str, Any]], runs: Sequence[Run]) -> Rows:
    """The rows of those runs that a ledger has."""
    return {row["seed"]: row for row in rows_of(by_run, runs)}


def last(rows: Rows) -> Values:
    """``accuracy`` by seed."""
    return {seed: accuracy(row) for seed, row in rows.items()}


def accuracy(row: Mapping[str, Any]) -> float:
    """Accuracy in percent after the last epoch; a run that diverged guesses."""
    return row["accuracy"] if row["status"] == "ok" else _guessing(row)


def early(rows: Rows) -> Values:
    """Mean accuracy in percent over the first epochs; a run that diverged guesses from then on."""
    found = {}
    for seed, row in rows.items():
        own = row["history"].get("accuracy", [])[:EARLY]
        epochs = min(EARLY, row["protocol"]["epochs"])
        found[seed] = float(np.mean([*own, *[_guessing(row)] * (epochs - len(own))]))
    return found


def _guessing(row: Mapping[str, Any]) -> float:
    return 100 / DATASETS[row["dataset"]].n_classes


def finished(rows: Rows) -> Rows:
    """Those that did not diverge."""
    return {seed: row for seed, row in rows.items() if row["status"] == "ok"}


def trend(
    dataset: str, of_what: str, of_x: Mapping[int, Values], margin: float = 0.0
) -> tuple[Comparisons, Comparisons]:
    """Change a doubling of x, by least squares and seed by seed, and from each x to the next.

    Over the x that have all seeds; three at least.

    Args:
        dataset: Its name.
        of_what: What x is, such as depth.
        of_x: Values by x and seed.
        margin: Is added to the change a doubling.
    """
    complete = {x: of_x[x] for x in sorted(of_x) if len(of_x[x]) >= SEEDS}
    if len(complete) < 3:
        return {(dataset, f"a doubling of {of_what}"): None}, {}
    seeds = set.intersection(*(set(values) for values in complete.values()))
    changes = {s: slope({x: values[s] for x, values in complete.items()}) for s in seeds}
    what = f"a doubling of {of_what}, {min(complete)} to {max(complete)}"
    return {(dataset, what): against_zero({s: each + margin for s, each in changes.items()})}, {
        (dataset, f"{of_what} {after} − {of_what} {before}"): paired(
            complete[after], complete[before]
        )
        for before, after in pairwise(complete)
    }
