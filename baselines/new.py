"""Writes a distribution with one method that runs as it stands: ``python -m baselines.new NAME``.

``nox -s new_baseline -- NAME`` is the same. What it writes, and what to do then:
``baselines/README.md``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from baselines import NAMES, is_name, learners

TEMPLATE = Path(__file__).with_name("TEMPLATE.py")
TAKEN = ("sal-repro", "sal-torch")
"""Distributions that there are."""
PROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "{distribution}"
version = "0.1.0"
description = "A method for the SAL benchmark suite"
requires-python = ">=3.11"
dependencies = ["sal-repro"]

[project.entry-points."sal.baselines"]
{name} = "{module}:{title}"

[tool.hatch.build.targets.wheel]
include = ["{module}.py"]
"""


def write(name: str, folder: Path) -> list[Path]:
    """Writes ``<folder>/sal-<name>/`` with a module and a ``pyproject.toml``; returns both files.

    Raises:
        ValueError: The name is no lower-case identifier, or a method has it.
        FileExistsError: The folder is there.
    """
    if not is_name(name):
        raise ValueError(f"a method's name is {NAMES}; got {name!r}")
    if f"sal-{name.replace('_', '-')}" in TAKEN:
        raise ValueError(f"sal-{name} is another distribution's name; call the method otherwise")
    if name in learners():
        raise ValueError(f"there is a method {name!r} already: {learners()[name].summary}")
    title = "".join(part.capitalize() for part in name.split("_"))
    module, distribution = f"sal_{name}", f"sal-{name.replace('_', '-')}"
    text = TEMPLATE.read_text(encoding="utf-8")
    text = text.replace("TemplateConfig", f"{title}Config").replace(
        "class Template", f"class {title}"
    )
    text = text.replace('"template"', f'"{name}"')
    place = folder / distribution
    place.mkdir(parents=True)
    files = {
        place / f"{module}.py": text,
        place / "pyproject.toml": PROJECT.format(
            distribution=distribution, name=name, module=module, title=title
        ),
    }
    for path, content in files.items():
        path.write_text(content, encoding="utf-8")
    return list(files)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns 2 where nothing could be written."""
    parser = argparse.ArgumentParser(
        prog="python -m baselines.new", description=__doc__.splitlines()[0]
    )
    parser.add_argument("name", metavar="NAME", help="of the method, such as sign_bp")
    parser.add_argument(
        "--into", type=Path, default=Path.cwd(), metavar="FOLDER", help="default the current one"
    )
    options = parser.parse_args(arguments)
    try:
        module, project = write(options.name, options.into)
    except FileExistsError as error:
        print(f"error: {error.filename} is there already; give --into FOLDER", file=sys.stderr)
        return 2
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(
        f"written: {module}, {project}\n"
        f"next: write the rule into {module.name}, then\n"
        f"  pip install --no-deps -e {project.parent}\n"
        f"  python -m baselines.conformance {options.name}\n"
        f"  python -m paper.convergence table2 --quick --learners {options.name}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
