"""Fails where asv has measured nothing, which asv calls a success: ``python -m benchmarks.guard``.

Needs nothing but Python. In asv's files null is a benchmark that failed and NaN one that skipped.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import HAS_GPU

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / ".asv/results"
"""As ``results_dir`` in asv.conf.json."""


def problems(
    results: Path,
    commit: str,
    since: float = 0,
    is_base: bool = False,
    has_gpu: bool = HAS_GPU,
) -> list[str]:
    """What is wrong with the results of a commit; empty if every benchmark has measured something.

    Args:
        results: asv's folder of results.
        commit: Full hash.
        since: Only what was measured after this time counts, in seconds since 1970.
        is_base: A commit to compare with may lack what most benchmarks measure, but not all.
        has_gpu: Whether a benchmark of the GPU must have measured something, too.
    """
    measured, found = 0, []
    for path in sorted(results.glob(f"*/{commit[:8]}-*.json")):
        try:
            page = json.loads(path.read_text(encoding="utf-8"))
            rows = [
                (name, dict(zip(page["result_columns"], row, strict=False)))
                for name, row in sorted(page["results"].items())
            ]
        except (ValueError, KeyError, TypeError) as error:
            found.append(f"{path} cannot be read: {error!r}")
            continue
        for name, row in rows:
            if row.get("started_at", 0) < since * 1000:
                continue
            values = row.get("result") or [None]
            if any(value is None for value in values):
                found.append(f"{name} failed; see what asv run --show-stderr --bench {name} says")
            elif any(math.isfinite(value) for value in values):
                measured += 1
            elif not is_base and (has_gpu or "gpu" not in name.lower()):
                found.append(f"{name} skipped everything")
    if not measured:
        found.append(f"nothing was measured: no result of commit {commit[:8]} in {results}")
    return found


def commit_hash(name: str) -> str:
    """The full hash of a commit.

    Raises:
        CalledProcessError: There is none of that name; git says so.
    """
    command = ["git", "-C", str(ROOT), "rev-parse", "--verify", f"{name}^{{commit}}"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit", nargs="?", default="HEAD", help="default HEAD")
    parser.add_argument("--base", metavar="COMMIT", help="one that must have measured something")
    parser.add_argument(
        "--since",
        type=float,
        default=0,
        metavar="SECONDS",
        help="only what was measured after this time, in seconds since 1970, counts",
    )
    options = parser.parse_args(arguments)
    found = problems(RESULTS, commit_hash(options.commit), options.since)
    if options.base:
        found += problems(RESULTS, commit_hash(options.base), options.since, is_base=True)
    for problem in found:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
