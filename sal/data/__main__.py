"""`python -m sal.data NAMES`: fetch what is absent, check what is there, print a table.

`nox -s data -- NAMES` is the same.
"""

import argparse
import sys

from sal.data import DATASETS, DataError, data_dir, find, known_digest, load
from sal.data.medmnist_sets import NAMES

_ROW = "{:<15} {:>7} {:>6} {:>6} {:>7} {:>8}  {}"


def main(argv: list[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: the arguments; default those of the process.

    Returns:
        0 if every set asked for is there and correct, else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m sal.data", description=__doc__.splitlines()[0])
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"the paper's: {', '.join(DATASETS)}; MedMNIST's: {', '.join(NAMES)}",
    )
    parser.add_argument("--all", action="store_true", help="the paper's ten")
    parser.add_argument("--root", help="data folder (default: $SAL_DATA_DIR, else a user cache)")
    parser.add_argument("--no-download", action="store_true", help="only check what is there")
    args = parser.parse_args(argv)
    if bool(args.names) == args.all:
        parser.error("give names of data sets, or --all")
    try:
        specs = list(DATASETS.values()) if args.all else [find(name) for name in args.names]
    except DataError as error:
        parser.error(str(error))

    failures = []
    print(f"Data folder: {data_dir(args.root)}")
    print(_ROW.format("set", "train", "val", "test", "size", "classes", "state"))
    for spec in specs:
        try:
            load(spec.key, root=args.root, download=not args.no_download)
            state = "digest ok" if known_digest(spec, data_dir(args.root)) else "nothing vouches"
        except DataError as error:
            failures.append(str(error))
            state = f"{type(error).__name__} (see below)"
        size = "x".join(map(str, spec.size))
        counts = [spec.counts.get(part, "none") for part in ("train", "val", "test")]
        print(_ROW.format(spec.title, *counts, size, spec.n_classes, state), flush=True)
    for failure in failures:
        print(f"\n{failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
