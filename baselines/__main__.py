"""Lists the methods and the data sets, one line each: ``python -m baselines``, ``nox -s list``."""

from __future__ import annotations

import warnings

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from baselines import BUILT_IN, learners, left_out
from sal.data import DATASETS


def main() -> int:
    """Prints both lists, and which plug-ins could not be used. Returns 1 if there are such."""
    console = Console()
    with warnings.catch_warnings(action="ignore"):  # what is left out is listed below
        found = learners()
    methods = Table("name", "method", "from", title="Methods")
    for name, learner in found.items():
        origin = "sal-repro" if learner in BUILT_IN else learner.__module__.partition(".")[0]
        methods.add_row(name, escape(learner.summary), origin)
    datasets = Table("name", "data set", "images", "classes", "pixels", title="Data sets")
    for key, spec in DATASETS.items():
        rows, columns = spec.size
        datasets.add_row(
            key, spec.title, str(spec.total), str(spec.n_classes), f"{rows} x {columns}"
        )
    console.print(methods, datasets)
    console.print("MedMNIST's flat sets are there, too: python -m sal.data --help")
    for name, reason in left_out().items():
        console.print(f"left out: {name}: {reason}", style="yellow", markup=False)
    return 1 if left_out() else 0


if __name__ == "__main__":
    raise SystemExit(main())
