"""Every choice that the paper leaves open, what we chose, and how much each answer moves.

The setting ``published`` and, one at a time, every other answer of ``paper/recovery``'s questions,
on Digits and USPS: the difference to our choice seed by seed, beside the paper's own number.

``python -m paper.deviations --help`` lists the options; ``nox -s deviations -- OPTIONS`` is the
same.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from paper import convergence, paths, render
from paper.cells import SEEDS, Measured, apart, measure, published
from paper.options import add_machine_options, carry_out, seeds, train
from paper.recovery import study as recovery
from paper.recovery.settings import OF_DATA, OF_ROUTING, QUESTIONS, Setting
from paper.results import counting, key, read
from paper.settings import PUBLISHED
from sal.data import DATASETS
from sal.run import Run

EXPERIMENT = SESSION = "deviations"
OURS = Setting.of({"feedback": "0.58", "hidden weights": "stacked"})
"""The setting ``published``, as answers to the study's questions."""
SETS = ("digits", "usps")
AREAS = (0, 1, 4, 16)
"""0: the baseline."""
SAYS = {
    "activation": '"ReLU activation" (4.1.1); tanh in 4.2',
    "derivative": "eq. 6, whose formula is lost in our text",
    "feedback": '"initialized randomly and remains frozen"',
    "hidden weights": '"Kaiming initialization"',
    "output weights": '"Kaiming initialization"',
    "residual": "eq. 5, whose formula is lost; not named for two layers",
    "biases": "nothing",
    "output rate": "one learning rate, 1e-4",
    "error": "nothing",
    "divisor": "eq. 8, whose formula is lost",
    "areas": '"we varied the number of areas in the first layer" (4.1.1)',
    "router features": '"typically set" for one layer to a number that is lost in our text',
    "router weights": '"learnable linear mapping"',
    "router bias": '"learnable linear mapping"',
    "router rate": "one learning rate, 1e-4",
    "prototypes": '"randomly initialized and kept frozen"',
    "pixels": "nothing",
    "size": "a column of Table 1 that is lost in our text",
    "split": "nothing",
}
"""What the paper says to each question."""

ByRun = Mapping[str, Mapping[str, Any]]


def others() -> Iterator[tuple[str, str, Setting]]:
    """(question, option, our setting with this answer in place of ours)."""
    for question, options in QUESTIONS.items():
        for option in options:
            if option != OURS.answer(question):
                yield question, option, OURS.varied(question, option)


def runs(count: int = SEEDS) -> list[Run]:
    """All runs, seed by seed; once for settings that agree in one."""
    every = []
    for seed in range(count):
        every += OURS.runs(SETS, AREAS, [seed])
        for question, _, setting in others():
            for dataset, areas in product(SETS, AREAS):
                if matters(question, dataset, areas):
                    every += setting.runs([dataset], [areas], [seed])
    return list(dict.fromkeys(every))


def ledgers(place: paths.Place) -> ByRun:
    """The rows that count, of the experiments that have such runs."""
    return counting(place, convergence.EXPERIMENT, recovery.EXPERIMENT, EXPERIMENT)


def matters(question: str, dataset: str, areas: int) -> bool:
    """Whether a question arises for the baseline (0 areas), for one area, or for several."""
    spec = DATASETS[dataset]
    if question == "split" and "test" in spec.counts:
        return False
    if question == "residual" and spec.size[0] * spec.size[1] not in OURS.config(1).hidden:
        return False
    if areas == 0:
        return question in OF_DATA
    return areas > 1 or question not in OF_ROUTING


def accuracy(by_run: ByRun, setting: Setting, dataset: str, areas: int) -> Measured:
    """What the ledger has of a setting, in percent; 0 areas: of the baseline."""
    return measure(by_run, setting.runs([dataset], [areas], range(SEEDS)), "accuracy")


def changes(by_run: ByRun) -> pd.DataFrame:
    """One line an answer and cell: accuracy, and its difference to ours between equal seeds."""
    ours = {cell: accuracy(by_run, OURS, *cell) for cell in product(SETS, AREAS)}
    lines = []
    for question, option, setting in others():
        for cell, own in ours.items():
            if not matters(question, *cell):
                continue
            other = accuracy(by_run, setting, *cell)
            change = apart(other, own)
            lines.append(
                {
                    "question": question,
                    "option": option,
                    "dataset": DATASETS[cell[0]].title,
                    "column": _column(cell[1]),
                    "mean": other.mean,
                    "std": other.std,
                    "n": len(other.values),
                    "diverged": other.diverged,
                    "change": change.mean,
                    "change_std": change.std,
                    "pairs": len(change.values),
                }
            )
    return pd.DataFrame(lines)


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
        f"do not edit. The setting `{PUBLISHED}` with one answer changed: validation accuracy in "
        "percent and, in brackets, its difference to ours, mean ± sample standard deviation over "
        f"runs of the same seed, {SEEDS} seeds (n where not). *–*: the question does not arise. "
        "Why ours is ours, and what fits over all seven data sets: "
        "[recovery](recovery/README.md). These differences are at the paper's step size, where "
        "most nets are far from converged.",
    ]
    columns = list(product(SETS, AREAS))
    cells = frame.set_index(["question", "option", "dataset", "column"])
    ours = [_plain(accuracy(by_run, OURS, *cell)) for cell in columns]
    rows = {"**ours**": ours, "the paper": [_published(*cell) for cell in columns]}
    grid = _frame(rows, columns)
    text = render.markdown_page("What the paper leaves open", notes, grid)
    for question, options in QUESTIONS.items():
        own = OURS.answer(question)
        told = [f"The paper: {SAYS[question]}. Ours: **{own}**{_code(options[own].code)}."]
        rows = {
            f"{option}{_code(options[option].code)}": [
                _change(cells, (question, option, DATASETS[name].title, _column(areas)))
                for name, areas in columns
            ]
            for option in options
            if option != own
        }
        text += render.markdown_section(question.capitalize(), told, _frame(rows, columns))
    return text


def _frame(rows: Mapping[str, Sequence[str]], columns: Sequence[tuple[str, int]]) -> pd.DataFrame:
    names = [f"{DATASETS[dataset].title}, {_column(areas)}" for dataset, areas in columns]
    return pd.DataFrame.from_dict(rows, orient="index", columns=names).rename_axis("Answer")


def _column(areas: int) -> str:
    return f"SAL-{areas}" if areas else "Baseline"


def _code(code: str) -> str:
    return f" (`{code}`)" if code else ""


def _plain(found: Measured) -> str:
    return render.measured(found, "accuracy")


def _published(dataset: str, areas: int) -> str:
    frame = published("table2")
    own = (frame["dataset"] == DATASETS[dataset].title) & (frame["column"] == _column(areas))
    (cell,) = frame[own].to_dict("records")
    return render.value(cell["mean"], cell["std"], "accuracy")


def _change(cells: pd.DataFrame, cell: tuple[str, str, str, str]) -> str:
    if cell not in cells.index:
        return "–"
    own = cells.loc[cell]
    if not own["n"]:
        return f"{int(own['diverged'])} diverged" if own["diverged"] else "not run"
    diverged = f", {int(own['diverged'])} diverged" if own["diverged"] else ""
    if not own["pairs"]:
        return f"{own['mean']:.2f} (ours not run{diverged})"
    spread = "" if pd.isna(own["change_std"]) else f" ± {own['change_std']:.2f}"
    count = "" if own["pairs"] == SEEDS else f", n={int(own['pairs'])}"
    return f"{own['mean']:.2f} ({own['change']:+.2f}{spread}{count}{diverged})"


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
