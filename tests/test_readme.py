"""What the README tells a newcomer to type is what runs, and its links lead somewhere."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for path in [*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("paper/*/*.md")]
    if not path.relative_to(ROOT).parts[0].startswith(".")
)
INSTALL = "python3 -m venv .venv && . .venv/bin/activate && pip install -r requirements.lock -e ."


def commands(text: str) -> list[str]:
    """Lines of the fenced shell blocks, with continuations joined and comments left out."""
    blocks = re.findall(r"^```(?:bash|sh|shell|console)\n(.*?)^```", text, re.M | re.S)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    lines = [" ".join(line.removeprefix("$ ").split()) for line in lines]
    return [line for line in lines if line and not line.startswith("#")]


def nox_sessions(text: str) -> set[str]:
    """Sessions named after `nox -s` or `nox --session` anywhere in the text."""
    found = re.findall(r"nox (?:-s|--sessions?)((?: [a-z]\w*)+)", text)
    return {name for names in found for name in names.split()}


def declared(requirements: list[str]) -> set[str]:
    """Normalised distribution names of requirement lines."""
    names = [re.match(r"[A-Za-z0-9._-]+", line).group() for line in requirements]
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


@pytest.fixture(scope="module")
def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def ci_command() -> str:
    return (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()[-1]


def test_ci_runs_the_readme_test_command(readme, ci_command):
    assert f"{INSTALL} && nox -s lint tests docs check_paper" == ci_command
    assert ci_command in commands(readme)


def test_readme_gives_the_command_that_rebuilds_table_2(readme):
    assert f"{INSTALL} && nox -s reproduce_table2 -- --fresh" in commands(readme)


def test_readme_says_which_name_pip_knows_the_package_by(readme):
    assert "sal-repro" in readme
    assert "sal-torch" in readme, "another distribution installs `import sal`: readers must know"


@pytest.mark.parametrize("document", [*DOCUMENTS, ".ci/run"])
def test_every_nox_session_named_in_the_documents_exists(document):
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    sessions = {node.name.rstrip("_") for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert nox_sessions((ROOT / document).read_text(encoding="utf-8")) <= sessions


@pytest.mark.parametrize("document", [*DOCUMENTS, "noxfile.py"])
def test_every_module_run_by_the_documents_exists(document):
    text = (ROOT / document).read_text(encoding="utf-8").replace('"-m", "', "python -m ")
    for module in re.findall(r"python3? -m ((?:sal|baselines|benchmarks|paper)[\w.]*)", text):
        path = ROOT / module.rstrip(".").replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_relative_link_in_the_documents_leads_to_a_file(document):
    text = re.sub(
        r"^```.*?^```", "", (ROOT / document).read_text(encoding="utf-8"), flags=re.M | re.S
    )
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:|#", target):
            assert ((ROOT / document).parent / target.split("#")[0]).exists(), target


def test_workflows_do_nothing_but_install_and_call_nox():
    for workflow in (ROOT / ".github/workflows").glob("*.yml"):
        steps = re.findall(r"^\s*(?:- )?run: *(.*)$", workflow.read_text(encoding="utf-8"), re.M)
        assert steps
        for step in steps:
            assert step.startswith(("pip install ", "nox -s ")), f"{workflow.name}: {step}"


def test_lock_pins_every_declared_dependency_and_names_no_place():
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pins = [line for line in lock.splitlines() if line and not line.lstrip().startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9.-]+==[\w.+!-]+", pin) for pin in pins)
    assert declared(wanted) <= declared(pins)
    assert not re.search(r"://|--index|--find-links|(?<![\w.])/", lock)


def test_citation_and_package_state_the_same_version():
    versions = [
        re.search(pattern, (ROOT / name).read_text(encoding="utf-8"), re.M).group(1)
        for name, pattern in [
            ("CITATION.cff", r"^version: (\S+)$"),
            ("pyproject.toml", r'^version = "(.+)"$'),
        ]
    ]
    assert versions[0] == versions[1]


def test_the_readme_example_runs_as_it_stands(readme, capsys):
    (code,) = re.findall(r"^```python\n(.*?)^```", readme, re.M | re.S)
    exec(compile(code, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5, "one for each replica"
    assert all(float(number) > 0 for line in lines for number in line.split())
