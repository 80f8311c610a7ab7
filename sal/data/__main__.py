"""`python -m sal.data NAMES`: fetch what is absent, check what is there, print a table."""

import argparse
import sys

from sal.data import DATASETS, DataError, data_dir, load, resolve_name

_ROW = "{:<14} {:>7} {:>7} {:>9} {:>8}  {}"


def main(argv: list[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: the arguments; default those of the process.

    Returns:
        0 if every set asked for is there and correct, else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m sal.data", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(DATASETS))
    parser.add_argument("--all", action="store_true", help="all of them")
    parser.add_argument("--root", help="data folder (default: $SAL_DATA_DIR, else a user cache)")
    parser.add_argument("--no-download", action="store_true", help="only check what is there")
    args = parser.parse_args(argv)
    if bool(args.names) == args.all:
        parser.error("give names of data sets, or --all")
    try:
        keys = list(DATASETS) if args.all else [resolve_name(name) for name in args.names]
    except DataError as error:
        parser.error(str(error))

    failures = []
    print(f"Data folder: {data_dir(args.root)}")
    print(_ROW.format("set", "train", "test", "size", "classes", "state"))
    for key in keys:
        spec = DATASETS[key]
        try:
            load(key, root=args.root, download=not args.no_download)
            state = "digest ok"
        except DataError as error:
            failures.append(str(error))
            state = f"{type(error).__name__} (see below)"
        size = "x".join(map(str, spec.size))
        test = "none" if spec.n_test is None else spec.n_test
        print(_ROW.format(spec.title, spec.n_train, test, size, spec.n_classes, state), flush=True)
    for failure in failures:
        print(f"\n{failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
