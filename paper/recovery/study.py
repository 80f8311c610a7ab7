"""The study's stages: which settings are run on what, and which go on to the next stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from paper import convergence
from paper.cells import SEEDS
from paper.convergence import AREAS
from paper.paths import Place
from paper.recovery.misfit import Rows, misfit, run_keys
from paper.recovery.settings import OF_DATA, QUESTIONS, Setting, factorial, variations
from paper.results import counting
from sal.run import Run

EXPERIMENT = "recovery"
FINAL, IMAGES, LAST = "final", "final on STL-10", "winners"
"""Names of the stages that decide: the first two the settings of the last, it and the first the
winner."""
LITERAL = "Kaiming in both layers"
"""Name of a stage after them: the text's "Kaiming initialization" at its word, each area for
itself."""
IN_FULL = "STL-10 in full"
"""Name of the next: would five seeds and all K on STL-10 have sent others to the last stage?"""
MISSED = "missed by the choice"
"""Name of the one that runs those others, if there are any, on what they have not been run on."""
AFTERWARDS = (LITERAL, IN_FULL, MISSED)
"""Stages that have no part in any choice."""
BASE = Setting()
"""The setting recovered on Fashion-MNIST."""
ROUNDS = 3
"""Times that one choice is changed, from the best combination with each activation on."""
FINALISTS, WINNERS = 20, 3
"""Settings that go on from the screen, and from the final."""


@dataclass(frozen=True)
class Stage:
    """Settings, and the cells that each is run on."""

    name: str
    settings: tuple[Setting, ...]
    datasets: tuple[str, ...]
    areas: tuple[int, ...]
    seeds: tuple[int, ...]
    one_by_one: bool = False
    """Whether the first setting has all its runs before any second one."""

    @property
    def cells(self) -> list[tuple[str, int]]:
        """All (data set, K)."""
        return list(product(self.datasets, self.areas))

    def runs(self) -> list[Run]:
        """All runs: the first seed before any second one, one data set and one K at a time.

        Settings that agree in a run, as those do with one area that differ in routing, share it.
        """
        groups = [(s,) for s in self.settings] if self.one_by_one else [self.settings]
        return list(
            dict.fromkeys(
                run
                for settings in groups
                for seed in self.seeds
                for dataset, count in self.cells
                for setting in settings
                for run in setting.runs([dataset], [count], [seed])
            )
        )

    def complete(self, rows: Rows) -> list[tuple[str, int]]:
        """The cells (data set, K) of which all settings have all their runs."""
        return [
            (dataset, count)
            for dataset, count in self.cells
            if all(
                name in rows
                for setting in self.settings
                for name in run_keys(setting, dataset, count, self.seeds)
            )
        ]

    def ranking(self, rows: Rows) -> list[tuple[float, Setting]]:
        """(misfit over the complete cells, setting), best first; infinite where there are none."""
        cells = self.complete(rows)
        scored = [(misfit(rows, setting, cells, self.seeds), setting) for setting in self.settings]
        return sorted(scored, key=lambda pair: pair[0])

    def best(self, rows: Rows, count: int) -> tuple[Setting, ...] | None:
        """The settings that fit best; None as long as runs are missing."""
        if self.complete(rows) != self.cells:
            return None
        return tuple(setting for _, setting in self.ranking(rows)[:count])


SMALL = ("digits", "semeion", "usps")
LARGER = ("fashion_mnist", "mnist", "cifar10", "stl10")


def ledgers(place: Place) -> dict[str, Mapping[str, Any]]:
    """The rows that count: of the study, and runs of its settings that Table 2 has."""
    return counting(place, convergence.EXPERIMENT, EXPERIMENT)


def screen(name: str, settings: Sequence[Setting]) -> Stage:
    """One seed on the small sets, at one, some and many areas."""
    return Stage(name, tuple(dict.fromkeys(settings)), SMALL, (1, 4, 16), (0,))


def pooled(settings: Sequence[Setting]) -> Stage:
    """What the finalists are taken from: screened settings with the base's answers about data."""
    return screen("screen", [s for s in settings if not _of_data(s)])


def _of_data(setting: Setting) -> bool:
    return any(question in OF_DATA for question, _ in setting.choices)


def _descent(rows: Rows, start: Setting) -> Iterator[Stage]:
    """Stages that change one answer each, from where the last one found the best."""
    questions = [question for question in QUESTIONS if question not in OF_DATA]
    centre = start
    for number in range(1, ROUNDS + 1):
        stage = screen(
            f"round {number} from {start.name}", [centre, *variations(centre, questions)]
        )
        yield stage
        best = stage.best(rows, 1)
        if best is None or best[0] == centre:
            return
        centre = best[0]


def stages(rows: Rows) -> Iterator[Stage]:
    """The stages in order, as far as the rows decide who is in them.

    Take the next one only after the runs of the last are in ``rows``, which is read anew each time.
    """
    combinations = screen("combinations", factorial())
    yield combinations
    ranked = combinations.best(rows, len(combinations.settings))
    if ranked is None:
        return
    varied = screen("one choice changed", [*variations(BASE), *variations(ranked[0])])
    yield varied
    if varied.best(rows, 1) is None:
        return
    of_data = (BASE, *variations(BASE, OF_DATA))
    yield Stage("baseline", of_data, SMALL, (0,), tuple(range(SEEDS)))
    screened = [*combinations.settings, *varied.settings]
    for activation in QUESTIONS["activation"]:
        start = next(s for s in ranked if s.answer("activation") == activation)
        for around in _descent(rows, start):
            yield around
            screened += around.settings
            if around.best(rows, 1) is None:
                return
    pool = pooled(screened)
    yield pool
    finalists = _finalists(pool, rows)
    if finalists is None:
        return
    seeds = tuple(range(SEEDS))
    final = Stage(FINAL, finalists, SMALL, AREAS, seeds)
    yield final
    images = Stage(IMAGES, finalists, ("stl10",), (1, 4, 16), (0,))
    yield images
    if final.best(rows, 1) is None or images.best(rows, 1) is None:
        return
    ranked_finalists = sorted(
        finalists, key=lambda setting: overall(rows, setting, (final, images))
    )
    last = Stage(LAST, tuple(ranked_finalists[:WINNERS]), LARGER, AREAS, (0,))
    yield last
    best = winner((final, last), rows)
    if best is None:
        return
    literal = tuple(
        setting.varied("hidden weights", "kaiming").varied("output weights", "kaiming")
        for setting in (best, BASE)
    )
    yield Stage(LITERAL, literal, (*SMALL, *LARGER), (1, 4, 16), (0,))
    full = Stage(IN_FULL, tuple(ranked_finalists), ("stl10",), AREAS, seeds, one_by_one=True)
    yield full
    if full.best(rows, 1) is None:
        return
    by_full = sorted(ranked_finalists, key=lambda setting: overall(rows, setting, (final, full)))
    if missed := tuple(s for s in by_full[:WINNERS] if s not in last.settings):
        yield replace(without(last, full), name=MISSED, settings=missed)


def winner(found: Sequence[Stage], rows: Rows) -> Setting | None:
    """Of the last stage's settings, the one that fits best on all data sets; None before that."""
    last = named(found, LAST)
    if last is None or last.best(rows, 1) is None:
        return None
    return min(last.settings, key=lambda setting: overall(rows, setting, deciding(found)))


def named(found: Sequence[Stage], name: str) -> Stage | None:
    """The stage of that name; None as long as it is not reached."""
    return next((stage for stage in found if stage.name == name), None)


def deciding(found: Sequence[Stage]) -> list[Stage]:
    """The stages that the winner is told by: each data set with all K."""
    return [stage for stage in found if stage.name in (FINAL, LAST)]


def without(stage: Stage, other: Stage) -> Stage:
    """The stage on the data sets that the other one does not have."""
    return replace(stage, datasets=tuple(n for n in stage.datasets if n not in other.datasets))


def overall(rows: Rows, setting: Setting, stages: Sequence[Stage]) -> float:
    """The misfit over all cells of several stages, each cell with its stage's seeds.

    Infinite where runs lack.
    """
    sizes = [len(stage.cells) for stage in stages]
    scores = [misfit(rows, setting, stage.cells, stage.seeds) for stage in stages]
    weighted = sum(size * score for size, score in zip(sizes, scores, strict=True))
    return weighted / sum(sizes)


def _finalists(stage: Stage, rows: Rows) -> tuple[Setting, ...] | None:
    """The best half with each activation: the text says ReLU, so tanh alone would not do."""
    ranked = stage.best(rows, len(stage.settings))
    if ranked is None:
        return None
    halves = [
        [setting for setting in ranked if setting.answer("activation") == option]
        for option in QUESTIONS["activation"]
    ]
    chosen = {setting for half in halves for setting in half[: FINALISTS // len(halves)]}
    return tuple(setting for setting in ranked if setting in chosen)
