"""The study's report, from the ledger alone."""

from __future__ import annotations

from rich.console import Console

from paper import paths
from paper.recovery.study import EXPERIMENT, stages
from paper.results import current, read


def write(place: paths.Place, console: Console) -> None:
    """Prints the ranking of each stage."""
    rows = current(read(place.ledger(EXPERIMENT))[0])
    for stage in stages(rows):
        console.print(stage.name)
        for score, setting in stage.ranking(rows)[:20]:
            console.print(f"  {score:8.2f}  {setting.name}", highlight=False)
