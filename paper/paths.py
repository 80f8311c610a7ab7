"""The only module that knows where things lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path

from sal.files import write_whole

PACKAGE = Path(__file__).resolve().parent
REPOSITORY = PACKAGE.parent
PUBLISHED = PACKAGE / "published.csv"
README = REPOSITORY / "README.md"
RECOVERY = PACKAGE / "recovery" / "README.md"
IS_CHECKOUT = (REPOSITORY / "pyproject.toml").exists()
PACKAGES = ("sal", "baselines", "paper")
CODE = ("sal", "baselines", "paper/*.py", "pyproject.toml")
"""What a result depends on, as git pathspecs: results made while these differ from their commit are
made from uncommitted code."""


@dataclass(frozen=True)
class Place:
    """A folder of results and of the tables made from them."""

    root: Path
    published: bool
    """Whether its tables stand beside the paper's: the committed results."""

    def ledger(self, experiment: str) -> Path:
        """The ledger of an experiment, one line a run."""
        return self.root / "results" / f"{experiment}.jsonl"

    def checkpoints(self) -> Path:
        """Folder of the states of long runs in flight."""
        return self.root / "checkpoints"

    def table(self, name: str, suffix: str) -> Path:
        """A rendered table."""
        return self.root / "tables" / f"{name}.{suffix}"

    def report(self, name: str) -> Path:
        """A report in words."""
        return self.root / f"{name}.md"

    def sheet(self, dataset: str) -> Path:
        """A contact sheet of a data set: its images are its owner's, so it is never published."""
        return self.root / "sheets" / f"{dataset}.png"

    def figure(self, name: str, suffix: str) -> Path:
        """A drawn figure."""
        return self.root / "figures" / f"{name}.{suffix}"


def committed() -> Place:
    """The results that the project publishes, in the package's own folder.

    From an installed wheel, which has no repository around it, ``sal-paper`` in the working
    folder takes its place.
    """
    return Place(PACKAGE if IS_CHECKOUT else Path.cwd() / "sal-paper", published=True)


def fresh() -> Place:
    """The same runs made anew on this machine, beside the committed ones."""
    return Place(committed().root / "fresh", published=True)


def quick() -> Place:
    """Runs that are shorter than the paper's; never mixed with the others."""
    return Place(committed().root / "quick", published=False)


def documents(place: Place, *paths: Path) -> list[Path]:
    """Those of the repository's documents that hold results of ``place``: all, or none."""
    repository = place.root.parent  # of the committed place
    ours = IS_CHECKOUT and place == committed()
    return [path for path in paths if ours and path.is_relative_to(repository) and path.exists()]


def write(texts: Mapping[Path, str]) -> None:
    """Writes text files, each at once or not at all.

    Raises:
        OSError: One cannot be written.
    """
    for path, text in texts.items():
        write_whole(path, methodcaller("write", text.encode()))
