"""Every method at its own best step size, beside the paper's one for all (not in the paper).

``python -m paper.tuning --help`` lists the options; ``nox -s matched_tuning -- OPTIONS`` is the
same.

Each method gets the same budget: one grid of step sizes, judged on a validation part that is cut
from the training data; the best is fixed before the test part is read. A best step size at an end
of the grid extends the grid. One that leaves a training loss above guessing's is no choice:
whatever its accuracy, it did not train the net. On a set with an official test part one search
serves all final seeds, which are others than the search's. Where each seed holds out its own test
part (Digits, Semeion), each searches within its own training part: another's would have seen its
test part.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from paper import (
    against_moe,
    convergence,
    entrants,
    methods,
    paths,
    render,
    scaling,
    style,
    tuning_figure,
)
from paper.cells import NOT_RUN, SEEDS, Measured, measure, rows_of
from paper.options import Trained, add_machine_options, carry_out, of_the_paper, train
from paper.results import counting, key
from sal.data import DATASETS
from sal.run import Run
from sal.train import Protocol

EXPERIMENT, SESSION = "tuning", "matched_tuning"
DEPTH = scaling.EXPERIMENTS["figure2"].name
DATASETS_ASKED = ("digits", "semeion", "usps", "fashion_mnist", "mnist", "cifar10")
GRID = tuple(range(8))
"""Half decades above the paper's step size: see ``rate``."""
REACH = range(-4, GRID[-1] + 5)
"""What the grid is extended to, at most."""
FRESH = tuple(range(5, 5 + SEEDS))
"""Seeds of the final runs: in none of the runs that SAL's setting was fitted to."""
SEARCH_SEED = 10
"""Of the search on a set with an official test part."""
PUBLISHED_SEEDS = tuple(range(SEEDS))
FRESH_NOTE = (
    "**Not the committed results.** Runs that were made on this machine, and beside them the "
    "committed ones, of the data sets that were searched here."
)


LOSSES = "The best ones' losses"
LOSSES_TOLD = (
    "On the test part, in nats; guessing among ten classes has 2.303. Step sizes are chosen by "
    "accuracy, so a high loss is one of nets that are sure where they are wrong."
)


def rate(step: int) -> float:
    """The step size that lies so many half decades above the paper's."""
    return float(f"{Protocol.lr * 10 ** (step / 2):.3g}")


def search_seed(dataset: str, seed: int) -> int:
    """The seed of the search that a final seed's step size comes from."""
    return SEARCH_SEED if DATASETS[dataset].has_test_part else seed


def search(dataset: str, column: str, step: int, seed: int) -> Run:
    """The run that judges a step size; it does not read the test part."""
    return _run_of(dataset, column, Protocol(lr=rate(step), validate_on="training"), seed)


def final(dataset: str, column: str, step: int, seed: int) -> Run:
    """A run that a chosen step size is reported with."""
    return _run_of(dataset, column, Protocol(lr=rate(step)), seed)


def as_published(dataset: str, column: str) -> list[Run]:
    """The runs at the paper's step size; those of Table 2 and Figure 2 where they have them."""
    return [_run_of(dataset, column, Protocol(), seed) for seed in PUBLISHED_SEEDS]


def _run_of(dataset: str, column: str, protocol: Protocol, seed: int) -> Run:
    learner, config = entrants.everyone()[column]
    return Run(dataset=dataset, learner=learner, config=config, seed=seed, protocol=protocol)


ByRun = Mapping[str, Mapping[str, Any]]
Curve = Mapping[int, float]
"""Step of the grid -> accuracy in percent on the part cut from the training data; -inf: diverged,
or with a training loss above guessing's."""


def searched(by_run: ByRun, dataset: str, column: str, seed: int) -> dict[int, Mapping[str, Any]]:
    """The rows of a search with this seed so far, by step of the grid."""
    names = {step: key(search(dataset, column, step, seed)) for step in REACH}
    return {step: by_run[name] for step, name in names.items() if name in by_run}


def curve(by_run: ByRun, dataset: str, column: str, seed: int) -> Curve:
    """What a search with this seed may choose from so far."""
    return _choices(searched(by_run, dataset, column, seed))


def _choices(rows: Mapping[int, Mapping[str, Any]]) -> Curve:
    return {s: row["accuracy"] if _has_learned(row) else -math.inf for s, row in rows.items()}


def _has_learned(row: Mapping[str, Any]) -> bool:
    """Whether the training loss came out no worse than that of equal odds for all classes."""
    guessing = math.log(DATASETS[row["dataset"]].n_classes)
    return row["status"] == "ok" and row["train_loss"] <= guessing


def wanted(found: Curve) -> list[int]:
    """The step sizes that a choice still needs: the grid's, or the next beyond a best at its end.

    Of equally good ones the smallest is the best.
    """
    if lacking := [step for step in GRID if step not in found]:
        return lacking
    best = _best(found)
    return [step for step in (best - 1, best + 1) if step not in found and step in REACH]


def chosen(found: Curve) -> int | None:
    """The best step size; None while the search is not finished."""
    return None if wanted(found) else _best(found)


def _best(found: Curve) -> int:
    return max(sorted(found), key=found.__getitem__)


def tell_lacking(nets: Sequence[str], console: Console) -> None:
    """Says which nets are left out at their own step size, since none was chosen yet."""
    if nets:
        console.print(
            f"no step size was chosen yet for {', '.join(nets)}: left out at their own; run "
            f"nox -s {SESSION} first",
            highlight=False,
        )


def ledgers(place: paths.Place) -> dict[str, Mapping[str, Any]]:
    """The rows that count, of the tuning, of Table 2, and of Figure 2."""
    return counting(place, convergence.EXPERIMENT, DEPTH, EXPERIMENT)


def shown(place: paths.Place) -> dict[str, Mapping[str, Any]]:
    """The rows that the page of a place shows: its own.

    The fresh place shows the committed ones too, of data sets with a search of its own, and of
    methods without: so methods stand beside others that were not trained there.
    """
    own = ledgers(place)
    if place != paths.fresh():
        return own
    entrants_here = {_entrant(row) for row in counting(place, EXPERIMENT).values()}
    datasets = {dataset for dataset, *_ in entrants_here}
    lent = {
        run: row
        for run, row in ledgers(paths.committed()).items()
        if row["dataset"] in datasets and _entrant(row) not in entrants_here
    }
    return lent | own


def _entrant(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """Data set, method and configuration."""
    return row["dataset"], row["learner"], json.dumps(row["config"], sort_keys=True)


def result(by_run: ByRun, dataset: str, column: str) -> dict[str, Any]:
    """What is known of one contestant on one data set: searches, steps by seed, accuracies."""
    seeds = dict.fromkeys(search_seed(dataset, seed) for seed in FRESH)
    searches = {seed: searched(by_run, dataset, column, seed) for seed in seeds}
    best = {seed: chosen(_choices(rows)) for seed, rows in searches.items()}
    steps = {seed: best[search_seed(dataset, seed)] for seed in FRESH}
    finals = [final(dataset, column, step, s) for s, step in steps.items() if step is not None]
    published = as_published(dataset, column)
    return {
        "searched": searches,
        "steps": steps,
        "published": measure(by_run, published, "accuracy"),
        "tuned": measure(by_run, finals, "accuracy"),
        "tuned_loss": measure(by_run, finals, "val_loss"),
        "rows": [row for rows in searches.values() for row in rows.values()]
        + rows_of(by_run, [*published, *finals]),
    }


def results(by_run: ByRun) -> dict[tuple[str, str], dict[str, Any]]:
    """``result`` of each (data set, column), of the data sets with a search run.

    Without the columns of other distributions' methods that have none anywhere.
    """
    found = {
        (dataset, column): result(by_run, dataset, column)
        for dataset in DATASETS
        for column in entrants.on(dataset)
    }
    begun = {cell for cell, one in found.items() if any(one["searched"].values())}
    datasets, columns = ({cell[place] for cell in begun} for place in (0, 1))
    columns |= set(entrants.of_the_suite(entrants.two_layer()))
    return {cell: one for cell, one in found.items() if cell[0] in datasets and cell[1] in columns}


def table(found: Mapping[tuple[str, str], Mapping[str, Any]]) -> pd.DataFrame:
    """One line a data set, contestant and step size of the search; published and tuned below."""
    lines = []
    for (dataset, column), one in found.items():
        parts = [("search", rate(step), m) for step, m in _by_step(one["searched"]).items()]
        parts.append(("published", Protocol.lr, one["published"]))
        parts.append(("tuned", _median_rate(one["steps"]), one["tuned"]))
        lines += [
            {
                "dataset": DATASETS[dataset].title,
                "column": column,
                "part": part,
                "lr": lr,
                "mean": m.mean,
                "std": m.std,
                "n": len(m.values),
                "diverged": m.diverged,
            }
            for part, lr, m in parts
        ]
    names = ["dataset", "column", "part", "lr", "mean", "std", "n", "diverged"]
    return pd.DataFrame(lines, columns=names)


def _by_step(searches: Mapping[int, Mapping[int, Mapping[str, Any]]]) -> dict[int, Measured]:
    """The accuracies of all seeds' searches, step size by step size."""
    found = {}
    for step in sorted({step for own in searches.values() for step in own}):
        rows = {seed: own[step] for seed, own in searches.items() if step in own}
        fine = {seed: row["accuracy"] for seed, row in rows.items() if row["status"] == "ok"}
        found[step] = Measured(fine, len(rows) - len(fine))
    return found


def _median_rate(steps: Mapping[int, int | None]) -> float | None:
    there = sorted(step for step in steps.values() if step is not None)
    return rate(there[len(there) // 2]) if there else None


def _rates(steps: Mapping[int, int | None]) -> str:
    """The chosen step sizes: one, or from the smallest to the largest."""
    there = [step for step in steps.values() if step is not None]
    ends = dict.fromkeys(f"{rate(step):g}" for step in (min(there), max(there))) if there else {}
    return " to ".join(ends) or NOT_RUN


def pages(place: paths.Place) -> dict[Path, str]:
    """The generated files but the figure, from the ledgers alone; none without a search."""
    found = results(shown(place))
    if not found:
        return {}
    csv = table(found).to_csv(index=False, float_format="%.6g", lineterminator="\n")
    return {
        place.table(EXPERIMENT, "md"): _page(found, place),
        place.figure(EXPERIMENT, "csv"): csv,
    }


def _page(found: Mapping[tuple[str, str], Mapping[str, Any]], place: paths.Place) -> str:
    datasets = list(dict.fromkeys(dataset for dataset, _ in found))
    there = dict.fromkeys(column for _, column in found)
    columns = [column for column in there if column not in entrants.deep()]
    notes = [FRESH_NOTE] if place == paths.fresh() else []
    notes += [
        f"Generated by `nox -s {SESSION}` from `results/{EXPERIMENT}.jsonl` and, at the paper's "
        f"step size, `results/{convergence.EXPERIMENT}.jsonl` and `results/{DEPTH}.jsonl`; do not "
        f"edit. Accuracy in percent on "
        f"the test part (of Digits and Semeion, the part that a seed holds out) after "
        f"{Protocol.epochs} epochs of plain SGD, batch {Protocol.batch_size}, mean ± sample "
        f"standard deviation over {SEEDS} seeds (n where not). Bold: the highest mean of a data "
        "set, of methods with all seeds.",
        f"*At the paper's step size*: {Protocol.lr:g}, seeds {_span(PUBLISHED_SEEDS)}. "
        f"*Each at its best*: the best of at least {len(GRID)} step sizes, half a decade apart "
        f"from {Protocol.lr:g} up, judged by the accuracy on a fifth of the training part; a best "
        "at an end extends the grid, and none is chosen that leaves a training loss above "
        f"guessing's, the logarithm of the number of classes. Then seeds {_span(FRESH)} on the "
        "test part, which no choice of a step size has seen: one search with seed "
        f"{SEARCH_SEED} for all, or, on Digits and Semeion, each seed's own within its own "
        "training part.",
        "A chosen step size is uncertain: another search might choose its neighbour. On Digits and "
        "Semeion each seed chooses anew, so the spread has that in it. On the other sets one "
        f"search with one seed sets the step size of all {SEEDS} final runs; its uncertainty is in "
        "no spread here, and in no p-value that is computed from these runs.",
        "*SAL-K, step / K*: the area's update divided by the batch and not by its fair share. "
        f"*{entrants.WIDE_COLUMN}*: as many parameters as SAL-16 and a few more (1 % at 784 "
        "inputs, 14 % on Digits). A sample uses as many parameters of SAL-1 as of the baseline, "
        "and with K > 1 the router's besides, 3 to 4 % more. SAL's router, feedback and first "
        "weights are those of the setting `published`, which fits the paper's numbers at its step "
        "size; nothing but the step size was tuned, for any method.",
        *render.other_devices(
            {
                f"{column} on {DATASETS[dataset].title}": one["rows"]
                for (dataset, column), one in found.items()
            }
        ),
    ]

    def grid(texts_of: Callable[[Sequence[Mapping[str, Any]]], list[str]]) -> pd.DataFrame:
        by_dataset = {
            DATASETS[dataset].title: texts_of([found[dataset, column] for column in columns])
            for dataset in datasets
        }
        return pd.DataFrame(by_dataset, index=pd.Index(columns, name="Method"))

    def accuracies(part: str) -> pd.DataFrame:
        return grid(lambda own: render.highest_in_bold([one[part] for one in own], "accuracy"))

    def losses(own: Sequence[Mapping[str, Any]]) -> list[str]:
        return [render.measured(one["tuned_loss"], "val_loss") for one in own]

    sections = {
        "At the paper's step size": accuracies("published"),
        "Each at its best": accuracies("tuned"),
        LOSSES: grid(losses),
        "The step sizes of the best": grid(lambda own: [_rates(one["steps"]) for one in own]),
    }
    text = render.markdown_page("Every method at its own step size", notes)
    told = {LOSSES: [LOSSES_TOLD]}
    text += "".join(
        render.markdown_section(name, told.get(name, []), own) for name, own in sections.items()
    )
    return text + _deep_section({c: found[entrants.DEEP_ON, c] for c in there if c not in columns})


def _deep_section(found: Mapping[str, Mapping[str, Any]]) -> str:
    if not found:
        return ""
    title = DATASETS[entrants.DEEP_ON].title
    frame = pd.DataFrame(
        {
            **{
                name: [render.measured(one[part], "accuracy") for one in found.values()]
                for name, part in (("published", "published"), ("at its best", "tuned"))
            },
            "its step sizes": [_rates(one["steps"]) for one in found.values()],
        },
        index=pd.Index(found, name="Method"),
    )
    told = f"Nets of Figure 2, on {title} alone: searched and reported as above."
    return render.markdown_section(f"Deep nets, on {title}", [told], frame)


def _span(seeds: Sequence[int]) -> str:
    return f"{seeds[0]} to {seeds[-1]}"


def draw(frame: pd.DataFrame) -> Figure:
    """Error against step size, two panels a data set: see ``tuning_figure``. Not of deep nets."""
    columns = entrants.two_layer().items()
    sal = [column for column, (name, _) in columns if name == "sal"]
    others = [column for column, (name, _) in columns if name != "sal"]
    there = set(frame["column"])
    panels = {"other methods": others, "SAL and baseline": ["Baseline", *sal]}
    panels = {name: [c for c in own if c in there] for name, own in panels.items()}
    return tuning_figure.draw(frame, entrants.looks(), panels)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 0 only if all that was asked for is there."""
    parser = argparse.ArgumentParser(
        prog="python -m paper.tuning",
        description="Searches step sizes, trains the chosen ones, and renders what the ledger has.",
    )
    parser.add_argument(
        "--datasets",
        nargs="+",
        metavar="NAME",
        help=f"default {', '.join(DATASETS_ASKED)}",
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=entrants.everyone(),
        metavar="METHOD",
        help=f"of {', '.join(entrants.everyone())} (those with a depth on {entrants.DEEP_ON} "
        "alone); default all of the suite's own",
    )
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="make what is asked for anew, kept apart in paper/fresh; its table has the committed "
        "results besides. Where methods of other distributions belong",
    )
    parser.add_argument("--render-only", action="store_true", help="only render what is there")
    add_machine_options(parser)
    options = parser.parse_args(arguments)
    return carry_out(lambda console: _run(options, console))


def _run(options: argparse.Namespace, console: Console) -> int:
    place, status = paths.fresh() if options.fresh else paths.committed(), 0
    if not options.render_only:
        asked = options.methods or entrants.of_the_suite(entrants.everyone())
        for column in asked:
            methods.check_belongs(entrants.everyone()[column][0], place, "--fresh")
        by_name = options.datasets is not None
        for dataset in [of_the_paper(name) for name in options.datasets or DATASETS_ASKED]:
            columns = [column for column in asked if column in entrants.on(dataset)]
            status = max(status, _tune(dataset, columns, place, console, options, by_name))
    convergence.write(place, Protocol.epochs, console)
    against_moe.write(place, console)
    if place.ledger(DEPTH).exists():
        scaling.write(place, "figure2", console)
    write(place, console)
    return status


def _tune(
    dataset: str,
    columns: Sequence[str],
    place: paths.Place,
    console: Console,
    options: argparse.Namespace,
    by_name: bool,
) -> int:
    """Searches until every choice is made, then makes the runs it is reported with.

    A contestant whose search fails is left out of what follows; the others go on.
    """

    def made(runs: Sequence[Run], experiment: str) -> Trained:
        return train(runs, experiment, place, console, options, by_name)

    seeds, status = dict.fromkeys(search_seed(dataset, seed) for seed in FRESH), 0
    while True:
        by_run = ledgers(place)
        asked = [
            (column, search(dataset, column, step, seed))
            for column in columns
            for seed in seeds
            for step in wanted(curve(by_run, dataset, column, seed))
        ]
        if not asked:
            break
        trained = made([run for _, run in asked], EXPERIMENT)
        status = max(status, trained.tell(console))
        if not trained.todo:
            return status
        failed = {column for column, run in asked if run.label in trained.failures}
        columns = [column for column in columns if column not in failed]
    finals = [
        final(dataset, column, step, seed)
        for column in columns
        for seed, step in result(by_run, dataset, column)["steps"].items()
    ]
    status = max(status, made(finals, EXPERIMENT).tell(console))
    for experiment, its in (
        (convergence.EXPERIMENT, entrants.two_layer()),
        (DEPTH, entrants.deep()),
    ):
        published = [run for c in columns if c in its for run in as_published(dataset, c)]
        if published:
            status = max(status, made(published, experiment).tell(console))
    return status


def write(place: paths.Place, console: Console) -> None:
    """Writes the page, the figure and its numbers.

    Raises:
        OSError: A file cannot be written.
    """
    texts = pages(place)
    paths.write(texts)
    if not texts:
        return
    frame, written = table(results(shown(place))), [*texts]
    if frame[(frame["part"] == "search") & frame["column"].isin(entrants.two_layer())].size:
        style.save({EXPERIMENT: draw(frame)}, place)
        written.append(place.figure(EXPERIMENT, "{pdf,png}"))
    console.print("written:", *written, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
