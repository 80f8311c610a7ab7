"""The study's report, from the ledger alone: tables, figures, and their places in its README."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product
from pathlib import Path
from statistics import median

import pandas as pd
from rich.console import Console

from paper import paths, render
from paper.cells import ROUNDING, SEEDS
from paper.recovery import figures
from paper.recovery.misfit import (
    READINGS,
    TABLES,
    Rows,
    cells_of,
    deviations,
    misfit,
    of_their_code,
    run_keys,
)
from paper.recovery.settings import FACTORIAL, QUESTIONS, Setting, variations
from paper.recovery.study import (
    AFTERWARDS,
    AREAS,
    BASE,
    EXPERIMENT,
    FINAL,
    IMAGES,
    IN_FULL,
    LARGER,
    LAST,
    MISSED,
    SMALL,
    WINNERS,
    Stage,
    deciding,
    ledgers,
    named,
    overall,
    stages,
    winner,
    without,
)
from paper.results import key
from sal.data import DATASETS

SESSION = "recover"
SHOWN = 5
"""Settings of a ranking that the README shows; the csv has all."""


def pages(place: paths.Place) -> dict[Path, str]:
    """Every generated text: the csv of all settings, and the README with its blocks filled."""
    return _pages(Study.read(place), place) if place.ledger(EXPERIMENT).exists() else {}


def _pages(study: Study, place: paths.Place) -> dict[Path, str]:
    texts = {place.table("recovery", "csv"): study.frame.to_csv(index=False)}
    for path in paths.documents(place, paths.RECOVERY):
        texts[path] = path.read_text(encoding="utf-8")
        for name, block in BLOCKS.items():
            texts[path] = render.between_marks(texts[path], name, block(study))
    return texts


def write(place: paths.Place, console: Console) -> bool:
    """Writes the report's files and figures, and prints the rankings; whether it is complete.

    Raises:
        OSError: A file cannot be written.
    """
    study = Study.read(place)
    paths.write(_pages(study, place))
    figures.draw(study.frame, study.leaders(), study.centres(), place)
    for stage in study.stages:
        console.print(f"{stage.name}: {_progress(stage, study.rows)}", highlight=False)
    console.print(_ranking(study), highlight=False, markup=False)
    return study.complete


class Study:
    """The rows at hand, and the stages as far as they decide them."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.stages = list(stages(rows))

    @classmethod
    def read(cls, place: paths.Place) -> Study:
        """From the ledgers, and the base's runs from that of Table 2."""
        rows = ledgers(place)
        for run in REFERENCE.runs():
            # There the output layer's start is left to be as the hidden layer's, here it is said.
            config = replace(run.config, output_init=None, output_init_scale=None)
            if found := rows.get(key(replace(run, config=config))):
                rows.setdefault(key(run), found)
        return cls(rows)

    @property
    def complete(self) -> bool:
        """Whether all stages are decided and have all their runs."""
        return self.winner is not None and all(stage.best(self.rows, 1) for stage in self.stages)

    @cached_property
    def winner(self) -> Setting | None:
        """The setting that fits best in the end; None before the end."""
        return winner(self.stages, self.rows)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One line for each setting, data set, K, metric and number of seeds of a complete cell."""
        found = {}
        for stage in (*self.stages, REFERENCE):
            for dataset, areas, setting in product(stage.datasets, stage.areas, stage.settings):
                cell = deviations(self.rows, setting, dataset, areas, stage.seeds)
                names = run_keys(setting, dataset, areas, stage.seeds)
                for metric, deviation in (cell or {}).items():
                    mean = _mean([self.rows[name][metric] for name in names])
                    where = (setting.name, dataset, areas, metric, len(stage.seeds))
                    found[where] = (mean, round(deviation, 3))
        return pd.DataFrame(
            [(*where, *values) for where, values in found.items()],
            columns=["setting", "dataset", "areas", "metric", "seeds", "mean", "deviation"],
        )

    def leaders(self) -> list[Setting]:
        """The base, and the three best settings of the last complete stage that chooses SAL's."""
        ranked = self._ranked()
        return list(dict.fromkeys([BASE, *(ranked[1][:3] if ranked else ())]))

    def centres(self) -> list[Setting]:
        """The settings that the second stage changes one answer of."""
        return list(dict.fromkeys([BASE, *(self.stages[0].best(self.rows, 1) or ())]))

    def _ranked(self) -> tuple[Stage, tuple[Setting, ...]] | None:
        for stage in reversed(self.stages):
            if stage.name in AFTERWARDS or 0 in stage.areas:
                continue
            if best := stage.best(self.rows, len(stage.settings)):
                return stage, best
        return None


REFERENCE = Stage(
    "Table 2",
    (BASE,),
    ("digits", "semeion", "usps", "fashion_mnist", "mnist", "cifar10", "stl10"),
    AREAS,
    tuple(range(SEEDS)),
)
"""The runs of the base that Table 2 holds."""


def _mean(values: Sequence[float | None]) -> float | None:
    return None if None in values else round(sum(values) / len(values), 4)


def _progress(stage: Stage, rows: Rows) -> str:
    runs = stage.runs()
    return f"{sum(key(run) in rows for run in runs)} of {len(runs)} runs"


def _stages(study: Study) -> str:
    lines = _head("stage", "settings", "data sets", "K", "seeds", "runs made")
    for stage in study.stages:
        titles = ", ".join(_titles(stage.datasets))
        areas = "baseline" if stage.areas == (0,) else ", ".join(map(str, stage.areas))
        lines.append(
            f"| {stage.name} | {len(stage.settings)} | {titles} | {areas} | {len(stage.seeds)} | "
            f"{_progress(stage, study.rows)} |"
        )
    return "\n".join(lines) + "\n"


def _ranking(study: Study) -> str:
    """The best settings of each stage that ``_in_full`` has not, and the base."""
    blocks = []
    for stage in study.stages:
        if stage.name in (IN_FULL, MISSED):
            continue
        ranking = stage.ranking(study.rows)
        cells = stage.complete(study.rows)
        blocks.append(
            f"**{stage.name}**, {len(stage.settings)} settings on {len(cells)} of "
            f"{len(stage.cells)} cells\n"
        )
        if not cells:
            continue
        names = sorted({dataset for dataset, _ in cells}, key=stage.datasets.index)
        blocks += _head("rank", "setting", "misfit", *_titles(names))
        for rank, (score, setting) in enumerate(ranking, start=1):
            if math.isinf(score) or (rank > SHOWN and setting != BASE):
                continue
            parts = [
                misfit(
                    study.rows, setting, [cell for cell in cells if cell[0] == name], stage.seeds
                )
                for name in names
            ]
            shown = " | ".join(f"{part:.1f}" for part in parts)
            blocks.append(f"| {rank} | {setting.name} | **{score:.1f}** | {shown} |")
        blocks[-1] += "\n"
    return "\n".join(blocks)


def _factorial(study: Study) -> str:
    """For each option of the factorial, the median misfit over all others, and the least."""
    stage = study.stages[0]
    lines = _head("question", "option", *_titles(stage.datasets), "all")
    for question, options in FACTORIAL.items():
        for option in options:
            having = [s for s in stage.settings if s.answer(question) == option]
            scores = [sorted(column) for column in zip(*_by_set(study, stage, having), strict=True)]
            shown = " | ".join(
                "–" if math.isinf(column[-1]) else f"{median(column):.1f} ({column[0]:.1f})"
                for column in scores
            )
            lines.append(f"| {question} | {option} | {shown} |")
    return "\n".join(lines) + "\n"


def _varied(study: Study) -> str:
    """What changing one answer of the base and of the best combination does, per data set."""
    if len(study.stages) < 2:
        return "not run\n"
    stage, lines = study.stages[1], []
    for centre in study.centres():
        head = _head("question", "option", *_titles(stage.datasets), "all")
        lines += ["", f"Around *{centre.name}*:", "", *head]
        settings = [centre, *variations(centre)]
        for setting, scores in zip(settings, _by_set(study, stage, settings), strict=True):
            shown = " | ".join("–" if math.isinf(score) else f"{score:.1f}" for score in scores)
            changed = [q for q in QUESTIONS if setting.answer(q) != centre.answer(q)]
            what = f"{changed[0]} | {setting.answer(changed[0])}" if changed else "none changed | –"
            lines.append(f"| {what} | {shown} |")
    return "\n".join(lines[1:]) + "\n"


def _titles(names: Sequence[str]) -> list[str]:
    return [DATASETS[name].title for name in names]


def _head(*columns: str) -> list[str]:
    """The first two lines of a Markdown table."""
    return [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]


def _by_set(study: Study, stage: Stage, settings: Sequence[Setting]) -> list[list[float]]:
    """Each setting's misfit on each of the stage's data sets, and on all of them."""
    groups = [*((name,) for name in stage.datasets), stage.datasets]
    return [
        [
            misfit(study.rows, setting, [(n, k) for n in names for k in stage.areas], stage.seeds)
            for names in groups
        ]
        for setting in settings
    ]


def _outcome(study: Study) -> str:
    """The settings of the last stage, those that it missed, and the base, on every data set."""
    found = deciding(study.stages)
    if study.winner is None:
        return "not decided yet\n"
    names = [name for stage in found for name in stage.datasets]
    lines = _head("setting", "misfit", "within 2", *_titles(names))
    missed = named(study.stages, MISSED)
    afterwards = missed.best(study.rows, WINNERS) if missed else None
    ranked = [
        setting
        for group in (found[-1].settings, afterwards or ())
        for setting in sorted(group, key=lambda s: overall(study.rows, s, found))
    ]
    for setting in dict.fromkeys([*ranked, BASE]):
        by_set = [
            misfit(study.rows, setting, [(name, count) for count in stage.areas], stage.seeds)
            for stage in found
            for name in stage.datasets
        ]
        shown = " | ".join(f"{score:.1f}" for score in by_set)
        score, within = overall(study.rows, setting, found), _within(study, setting, found)
        lines.append(f"| {setting.name} | **{score:.1f}** | {within} | {shown} |")
    return "\n".join(lines) + "\n"


def _within(study: Study, setting: Setting, stages: Sequence[Stage]) -> str:
    """How many numbers of the stages' cells are within twice the published standard deviation."""
    found = [
        deviations(study.rows, setting, *cell, stage.seeds)
        for stage in stages
        for cell in stage.cells
    ]
    within = sum(abs(value) <= 2 + ROUNDING for z in found for value in (z or {}).values())
    return f"{within} of {len(found) * len(TABLES)}"


def _in_full(study: Study) -> str:
    """The finalists by five seeds and all K on STL-10, beside the numbers they were chosen by."""
    final, images, last, full = (
        named(study.stages, name) for name in (FINAL, IMAGES, LAST, IN_FULL)
    )
    if full is None:
        return "not reached yet\n"
    then, now = (
        {setting: overall(study.rows, setting, (final, stage)) for setting in full.settings}
        for stage in (images, full)
    )
    made = [setting for setting in sorted(now, key=now.__getitem__) if math.isfinite(now[setting])]
    lines = _head(
        "rank", "rank then", "setting", "misfit", "then", "within 2", "STL-10", "then", "all sets"
    )
    for rank, setting in enumerate(made, start=1):
        scores = [
            now[setting],
            then[setting],
            *(overall(study.rows, setting, (stage,)) for stage in (full, images)),
            overall(study.rows, setting, (final, without(last, full), full)),
        ]
        shown = ["–" if math.isinf(score) else f"{score:.1f}" for score in scores]
        shown.insert(2, _within(study, setting, (final, full)))
        before = full.settings.index(setting) + 1
        lines.append(f"| {rank} | {before} | {setting.name} | {' | '.join(shown)} |")
    notes = render.other_devices(
        {full.name: [study.rows[name] for name in map(key, full.runs()) if name in study.rows]}
    )
    if lacking := len(full.settings) - len(made):
        notes.append(f"{lacking} of the {len(full.settings)} settings: not run in full.")
    return "\n".join(lines) + "\n" + "".join(f"\n{note}\n" for note in notes)


def _cells(study: Study) -> str:
    """The remaining misfit in standard deviations of every cell, of the leading settings."""
    lines = _head("setting", "data set", "K", "seeds", *TABLES)
    for setting in study.leaders():
        own = cells_of(study.frame, setting)
        for (dataset, areas, seeds), cell in own.groupby(["dataset", "areas", "seeds"], sort=False):
            by_metric = cell.set_index("metric")
            shown = [
                f"{by_metric.loc[metric, 'mean']:.{2 if metric == 'accuracy' else 3}f} "
                f"({by_metric.loc[metric, 'deviation']:+.1f})"
                for metric in TABLES
            ]
            where = (setting.name, DATASETS[dataset].title, str(areas), str(seeds))
            lines.append(f"| {' | '.join((*where, *shown))} |")
    return "\n".join(lines) + "\n"


def _readings(study: Study) -> str:
    """Whether another epoch or another training loss would fit better, for the same runs."""
    lines = _head("stage", "what the paper may report", "best setting", "its misfit")
    for stage in study.stages:
        left_out = stage.name.startswith("round ") or stage.name == MISSED  # elsewhere with others
        if left_out or 0 in stage.areas or stage.best(study.rows, 1) is None:
            continue
        cells = stage.complete(study.rows)
        for name, reading in READINGS.items():
            score, setting = min(
                ((misfit(study.rows, s, cells, stage.seeds, reading), s) for s in stage.settings),
                key=lambda pair: pair[0],
            )
            lines.append(f"| {stage.name} | {name} | {setting.name} | {score:.2f} |")
    return "\n".join(lines) + "\n"


def _yardstick(study: Study) -> str:
    """What the authors' own code would have, by the sets and seeds of the stages that decide."""
    lines = _head("data sets", "seeds", "misfit", "within 2")
    every = (*SMALL, *LARGER)
    for datasets, seeds in product((SMALL, every), (SEEDS, 1)):
        cells = list(product(datasets, AREAS))
        score, within = of_their_code(cells, seeds)
        count = f"{within:.0f} of {len(cells) * len(TABLES)}"
        titles = "all seven" if datasets == every else ", ".join(_titles(datasets))
        lines.append(f"| {titles} | {seeds} | {score:.1f} | {count} |")
    return "\n".join(lines) + "\n"


def _questions(study: Study) -> str:
    """Every question and option, with the line of code that it would be."""
    lines = _head("question", "option", "the line of code")
    for question, options in QUESTIONS.items():
        for option, meaning in options.items():
            code = f"`{meaning.code}`" if meaning.code else "–"
            lines.append(f"| {question} | {option} | {code.replace('|', '&#124;')} |")
    return "\n".join(lines) + "\n"


BLOCKS: dict[str, Callable[[Study], str]] = {
    "yardstick": _yardstick,
    "stages": _stages,
    "ranking": _ranking,
    "outcome": _outcome,
    "factorial": _factorial,
    "varied": _varied,
    "in full": _in_full,
    "cells": _cells,
    "readings": _readings,
    "questions": _questions,
}
"""Name of a block of the README -> what fills it."""
