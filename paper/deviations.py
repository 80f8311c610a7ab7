"""Every choice that the paper leaves open, what we chose, why, and how much each answer moves.

What is ours and, one at a time, every other answer to a question of ``paper.recovery`` or of
``paper.choices``, on Digits and USPS: the difference to our choice seed by seed, beside the paper's
own number.

``python -m paper.deviations --help`` lists the options; ``nox -s deviations -- OPTIONS`` is the
same.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from statsmodels.stats.multitest import multipletests

from paper import convergence, paths, render
from paper.cells import NOT_RUN, SEEDS, Measured, apart, measure, published
from paper.choices import (
    BASELINE,
    BECAUSE,
    MIXTURE,
    OF_METHODS,
    READINGS,
    SAYS,
    UNTRIED,
    Reread,
    Variant,
)
from paper.methods import column
from paper.options import add_machine_options, carry_out, seeds, train
from paper.paired import ALPHA, against_zero, overlap, resampled
from paper.recovery import study as recovery
from paper.recovery.settings import OF_DATA, OF_ROUTING, QUESTIONS, Setting
from paper.results import counting, key, read
from paper.settings import PUBLISHED
from sal.data import DATASETS
from sal.run import Run

EXPERIMENT = SESSION = "deviations"
OURS = Setting.of({"feedback": "0.58", "hidden weights": "stacked"})
"""The setting ``published``, as answers to the study's questions."""
OWN = {"bp": OURS, "sal": OURS, "moe": Variant("moe")}
"""What each method has in the tables; the setting has the baseline as SAL with 0 areas."""
SETS = ("digits", "usps")
COLUMNS = (("bp", 0), ("sal", 1), ("sal", 4), ("sal", 16), ("moe", 4), ("moe", 16))
"""Methods with their K; 0: it has no areas."""
CELLS = tuple((dataset, *own) for dataset in SETS for own in COLUMNS)

Cell = tuple[str, str, int]
ByRun = Mapping[str, Mapping[str, Any]]


def others() -> Iterator[tuple[str, str, Setting | Variant]]:
    """(question, option, what is ours with this answer in place of our own)."""
    for question, options in QUESTIONS.items():
        for option in options:
            if option != OURS.answer(question):
                yield question, option, OURS.varied(question, option)
    for method, questions in OF_METHODS.items():
        for question, (_, *options) in questions.items():
            for option in options:
                yield question, option, Variant(method, questions[question][option].fields)


def runs(count: int = SEEDS) -> list[Run]:
    """All runs, seed by seed; once for answers that agree in one."""
    every = []
    for seed in range(count):
        for dataset, method, areas in CELLS:
            every += OWN[method].runs([dataset], [areas], [seed])
        for question, _, answered in others():
            for dataset, method, areas in CELLS:
                if arises(question, dataset, method, areas):
                    every += answered.runs([dataset], [areas], [seed])
    return list(dict.fromkeys(every))


def ledgers(place: paths.Place) -> ByRun:
    """The rows that count, of the experiments that have such runs."""
    return counting(place, convergence.EXPERIMENT, recovery.EXPERIMENT, EXPERIMENT)


def arises(question: str, dataset: str, method: str, areas: int) -> bool:
    """Whether a question is one of the method, with so many areas, on the data set."""
    spec = DATASETS[dataset]
    if question == "split" and spec.has_test_part:
        return False
    square = spec.size[0] * spec.size[1] in OURS.config(1).hidden
    if question in ("residual", "the baseline's residual") and not square:
        return False
    return method in _methods(question) and (areas != 1 or question not in OF_ROUTING)


def _methods(question: str) -> tuple[str, ...]:
    """The methods that a question is put to."""
    if question in BASELINE:
        return ("bp",)
    if question in MIXTURE:
        return ("moe",)
    if question in READINGS:
        return tuple(OWN)
    return ("bp", "sal") if question in OF_DATA else ("sal",)


def accuracy(by_run: ByRun, answered: Setting | Variant, dataset: str, areas: int) -> Measured:
    """What the ledger has of some answers, in percent; 0 areas: of the baseline."""
    return measure(by_run, answered.runs([dataset], [areas], range(SEEDS)), "accuracy")


def changes(by_run: ByRun) -> pd.DataFrame:
    """One line an answer and cell: its metric, and the difference to ours between equal seeds.

    And p of a paired t-test (``resampled`` on Digits), and q, its false discovery rate by Benjamini
    and Hochberg among all differences in accuracy of the page that have all seeds.
    """
    ours = {cell: _own(by_run, cell, "accuracy") for cell in CELLS}
    lines = []
    for question, option, answered in others():
        for cell in CELLS:
            if arises(question, *cell):
                dataset, _, areas = cell
                other = accuracy(by_run, answered, dataset, areas)
                lines.append(_line(question, option, cell, "accuracy", other, ours[cell]))
    for question, reread in READINGS.items():
        for cell in CELLS:
            other = _own(_read(by_run, cell, reread), cell, reread.metric)
            own = _own(by_run, cell, reread.metric)
            lines.append(_line(question, reread.other, cell, reread.metric, other, own))
    frame = pd.DataFrame(lines).assign(q=math.nan)
    full = (frame["pairs"] == SEEDS) & (frame["metric"] == "accuracy")
    if full.any():
        frame.loc[full, "q"] = multipletests(frame.loc[full, "p"].astype(float), method="fdr_bh")[1]
    return frame


def _runs_of_ours(cell: Cell) -> list[Run]:
    dataset, method, areas = cell
    return OWN[method].runs([dataset], [areas], range(SEEDS))


def _own(by_run: ByRun, cell: Cell, metric: str) -> Measured:
    return measure(by_run, _runs_of_ours(cell), metric)


def _read(by_run: ByRun, cell: Cell, reread: Reread) -> ByRun:
    """The rows of our runs, read otherwise; one that diverged stays as it is."""
    names = [name for name in map(key, _runs_of_ours(cell)) if name in by_run]
    rows = {name: by_run[name] for name in names}
    return {
        name: {**row, **reread.reading(row)} if row["status"] == "ok" else row
        for name, row in rows.items()
    }


def _line(
    question: str, option: str, cell: Cell, metric: str, other: Measured, own: Measured
) -> dict[str, Any]:
    change = apart(other, own)
    tested = against_zero(change.values)
    return {
        "question": question,
        "option": option,
        "dataset": DATASETS[cell[0]].title,
        "column": column(*cell[1:]),
        "metric": metric,
        "mean": other.mean,
        "std": other.std,
        "n": len(other.values),
        "diverged": other.diverged,
        "change": change.mean,
        "change_std": change.std,
        "pairs": len(change.values),
        "p": tested and resampled(tested, overlap(cell[0])).p,
    }


def pages(place: paths.Place) -> dict[Path, str]:
    """The generated files with their texts, from the ledger alone; none without rows."""
    if not read(place.ledger(EXPERIMENT))[0]:
        return {}
    by_run = ledgers(place)
    frame = changes(by_run)
    csv = frame.to_csv(index=False, float_format="%.4f", lineterminator="\n")
    return {
        place.report(EXPERIMENT): _page(by_run, frame),
        place.table(EXPERIMENT, "csv"): csv,
    }


def _page(by_run: ByRun, frame: pd.DataFrame) -> str:
    notes = [
        f"Generated by `nox -s {SESSION}` from `results/{EXPERIMENT}.jsonl` and, for runs that "
        f"are there already, `{recovery.EXPERIMENT}.jsonl` and `{convergence.EXPERIMENT}.jsonl`; "
        f"do not edit. What the tables are made with (SAL in the setting `{PUBLISHED}`) with one "
        "answer changed: validation accuracy in percent and, in brackets, its difference to ours, "
        f"mean ± sample standard deviation over runs of the same seed, {SEEDS} seeds (n where "
        "not). *–*: the question does not arise. These differences are at the paper's step size, "
        "where most nets are far from converged.",
        "What fits over all seven data sets is in the study, [recovery](recovery/README.md). From "
        "there are the *misfits* below, mean squares of deviations from the paper in published "
        "standard deviations. *The base* is the setting that was recovered on Fashion-MNIST, *the "
        "tanh combination* the best of the study's first stage; one answer is changed around each, "
        "on Digits, Semeion and USPS.",
        "First, of each choice the other answer that moves the accuracy most, and in which cell: "
        f"of those that are shown to move it (q < {ALPHA:g}, the false discovery rate among all "
        "differences of this page that have all seeds, by paired t-tests, on Digits the corrected "
        "one of claims.md), or else of all. Choices "
        "that are shown to matter come first, by the size of the change, and an answer whose runs "
        "diverged before all; the largest of many differences that are not shown may be chance. "
        "Then what is ours, and choice by choice all answers.",
    ]
    text = render.markdown_page("What the paper leaves open", notes, _opening(frame))
    rows = {
        "**ours**": [render.measured(_own(by_run, cell, "accuracy"), "accuracy") for cell in CELLS],
        "the paper": [_published(dataset, column(*own)) for dataset, *own in CELLS],
    }
    text += render.markdown_section("Ours", [], _frame(rows, CELLS))
    cells = frame.set_index(["question", "option", "dataset", "column"])
    return text + "".join(_section(question, cells) for question in SAYS)


def _opening(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a choice, by the largest change of accuracy that another answer makes."""
    rows = []
    for question in SAYS:
        own = frame[frame["question"] == question]
        made = own[(own["pairs"] > 0) | (own["diverged"] > 0)]
        rank, told = (False, -1.0), ["–", NOT_RUN, "–", "–"]
        if len(made):
            most = max(made.to_dict("records"), key=_rank)
            rank = _rank(most) if most["metric"] == "accuracy" else (False, 0.0)
            q = "–" if pd.isna(most["q"]) else f"{most['q']:.2g}"
            cell = f"{most['dataset']}, {most['column']}"
            told = [most["option"], _difference(most), q, cell]
        ours, _ = _answers(question)
        count = f"{len(made)} of {len(own)}" if len(own) else "–"
        rows.append((rank, [question.capitalize(), ours, *told, count]))
    rows.sort(key=lambda row: row[0], reverse=True)  # stable: the rest stays in the page's order
    columns = ["Choice", "Ours", "Moves most", "Change of accuracy", "q", "In", "Cells run"]
    return pd.DataFrame([row for _, row in rows], columns=columns).set_index("Choice")


def _rank(line: Mapping[str, Any]) -> tuple[bool, float]:
    """Whether an answer is shown to move a cell, and how much; none is as much as to diverge."""
    if line["diverged"]:
        return True, math.inf
    return line["q"] < ALPHA, 0.0 if pd.isna(line["change"]) else abs(line["change"])


def _section(question: str, cells: pd.DataFrame) -> str:
    """What is said of a choice, and its other answers in all cells."""
    ours, code = _answers(question)
    title = question.capitalize()
    told = f"The paper: {SAYS[question]}. Ours: **{ours}**{_code(code.get(ours, ''))}, because "
    told += f"{BECAUSE[question]}."
    if question in UNTRIED:
        return f"\n## {title}\n\n{told} Not run: {UNTRIED[question].why}.\n"
    columns = [cell for cell in CELLS if cell[1] in _methods(question)]
    rows = {
        f"{option}{_code(code[option])}": [
            _change(cells, (question, option, DATASETS[dataset].title, column(*own)))
            for dataset, *own in columns
        ]
        for option in code
        if option != ours
    }
    if question in READINGS and READINGS[question].metric != "accuracy":
        told += " In nats; the accuracy is the same."
    return render.markdown_section(title, [told], _frame(rows, columns))


def _answers(question: str) -> tuple[str, Mapping[str, str]]:
    """Our answer to a question; and the line of code of each."""
    if question in UNTRIED:
        return UNTRIED[question].ours, {}
    if question in READINGS:
        return READINGS[question].ours, {READINGS[question].other: ""}
    options = (QUESTIONS | BASELINE | MIXTURE)[question]
    ours = OURS.answer(question) if question in QUESTIONS else next(iter(options))
    return ours, {option: answer.code for option, answer in options.items()}


def _frame(rows: Mapping[str, Sequence[str]], columns: Sequence[Cell]) -> pd.DataFrame:
    names = [f"{DATASETS[dataset].title}, {column(*own)}" for dataset, *own in columns]
    return pd.DataFrame.from_dict(rows, orient="index", columns=names).rename_axis("Answer")


def _code(code: str) -> str:
    return f" (`{code}`)" if code else ""


def _published(dataset: str, title: str) -> str:
    frame = published("table2")
    own = (frame["dataset"] == DATASETS[dataset].title) & (frame["column"] == title)
    for cell in frame[own].to_dict("records"):
        return render.value(cell["mean"], cell["std"], "accuracy")
    return "–"


def _change(cells: pd.DataFrame, cell: tuple[str, str, str, str]) -> str:
    if cell not in cells.index:
        return "–"
    own = cells.loc[cell]
    if not own["n"]:
        return f"{int(own['diverged'])} diverged" if own["diverged"] else NOT_RUN
    mean = render.value(own["mean"], None, own["metric"])
    return f"{mean} ({_difference(own)})"


def _difference(line: Mapping[str, Any]) -> str:
    """The change, its spread, the seeds where not all, and how many runs diverged."""
    digits = render.DECIMALS[line["metric"]]
    parts = [f"n={int(line['pairs'])}"] if 0 < line["pairs"] < SEEDS else []
    parts += [f"{int(line['diverged'])} diverged"] if line["diverged"] else []
    if line["pairs"]:
        spread = "" if pd.isna(line["change_std"]) else f" ± {line['change_std']:.{digits}f}"
        unit = "" if line["metric"] == "accuracy" else " nats"
        parts.insert(0, f"{line['change']:+.{digits}f}{spread}{unit}")
    elif line["n"]:
        parts.insert(0, "ours not run")
    return ", ".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 0 only if all that was asked for is there."""
    parser = argparse.ArgumentParser(
        prog="python -m paper.deviations",
        description="Trains what the ledger lacks, and writes deviations.md from it.",
    )
    parser.add_argument("--seeds", type=seeds, metavar="N", default=SEEDS, help="seeds 0 to N-1")
    parser.add_argument("--render-only", action="store_true", help="only render what is there")
    add_machine_options(parser)
    options = parser.parse_args(arguments)
    return carry_out(lambda console: _run(options, console))


def _run(options: argparse.Namespace, console: Console) -> int:
    place, status = paths.committed(), 0
    if not options.render_only:
        there = ledgers(place)
        lacking = [run for run in runs(options.seeds) if key(run) not in there]
        trained = train(lacking, EXPERIMENT, place, console, options, by_name=True)
        status = trained.tell(console)
    texts = pages(place)
    paths.write(texts)
    console.print("written:", *texts or ["nothing"], highlight=False, soft_wrap=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
