"""Adding a method by the four steps of ``baselines/README.md``, up to a fresh environment."""

import dataclasses
import hashlib
import importlib
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest
from rows import row

from baselines import BP, BPConfig, conformance, learner_class, learners, new, version_of
from paper.results import identity, is_current, label_of, why_stale
from sal import Learner
from sal.run import Run

ROOT = Path(__file__).parent.parent


def python_blocks():
    text = (ROOT / "baselines/README.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)


@pytest.fixture
def module(monkeypatch):
    """Imports a module from its path and gives the method in it."""

    def load(path):
        monkeypatch.syspath_prepend(path.parent)
        found = vars(importlib.import_module(path.stem)).values()
        methods = [each for each in found if isinstance(each, type) and issubclass(each, Learner)]
        (method,) = [each for each in methods if each.__module__ == path.stem]
        return method

    return load


def test_the_worked_example_of_the_readme_conforms(tmp_path, module):
    (code,) = python_blocks()
    path = tmp_path / "sal_sign_bp.py"
    path.write_text(code)
    method = module(path)
    assert method.name == "sign_bp"
    assert not {text for text in conformance.problems(method).values() if text}


def test_a_new_baseline_conforms_as_it_stands_and_names_itself(tmp_path, module, capsys):
    assert new.main(["my_rule", "--into", str(tmp_path)]) == 0
    folder = tmp_path / "sal-my-rule"
    method = module(folder / "sal_my_rule.py")
    assert (method.name, method.__name__) == ("my_rule", "MyRule")
    assert not {text for text in conformance.problems(method).values() if text}
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["sal.baselines"] == {"my_rule": "sal_my_rule:MyRule"}
    assert "python -m baselines.conformance my_rule" in capsys.readouterr().out


def test_results_of_other_code_of_a_plugin_than_now_are_stale(tmp_path, module, plugins):
    (code,) = python_blocks()
    made = {}
    for name, text in (("first", code), ("second", code.replace("grad.sign_()", "grad.tanh_()"))):
        path = tmp_path / f"sal_{name}.py"
        path.write_text(text)
        made[name] = module(path)
    assert code != text, "it says sign_ somewhere"
    assert version_of(made["first"]) != version_of(made["second"])
    assert version_of(BP) == BP.version
    plugins(sign_bp=made["first"])
    run = Run(dataset="digits", learner="sign_bp", config=made["first"].Config(), seed=0)
    old = row(run, 50.0)
    assert is_current(old)
    plugins(sign_bp=made["second"])
    assert not is_current(old)
    assert "made by version 1+" in why_stale(old, None)


def test_a_method_is_known_by_its_file_as_it_was_loaded(tmp_path, module, plugins):
    (code,) = python_blocks()
    path = tmp_path / "sal_edited.py"
    path.write_text(code)
    plugins(sign_bp=module(path))
    before = path.read_bytes()
    method = learner_class("sign_bp")
    path.write_text(code + "# and more\n")
    assert version_of(method) == f"1+{hashlib.sha256(before).hexdigest()[:12]}"


def test_a_configuration_that_refuses_an_old_row_in_any_way_stops_nothing(plugins):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Refusing(BPConfig):
        def __post_init__(self):
            assert self.hidden != (7,), "seven is out"

    class Mine(BP):
        name, Config = "mine", Refusing

    plugins(mine=Mine)
    old = row(Run(dataset="digits", learner="mine", config=BPConfig(hidden=(7,)), seed=3), 50.0)
    assert identity(old)
    assert label_of(old) == "digits mine seed 3"


def test_a_configuration_that_cannot_be_compared_is_left_out(plugins):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Unhashable(BPConfig):
        schedule: dict = dataclasses.field(default_factory=dict)

    class Mine(BP):
        name, Config = "mine", Unhashable

    plugins(mine=Mine)
    with pytest.warns(UserWarning, match="with tuples for lists and no dicts"):
        assert "mine" not in learners()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sal", "there is a method 'sal' already"),
        ("My Rule", "lower-case letters"),
        ("class", "lower-case letters"),
        ("none", "lower-case letters"),
        ("../up", "lower-case letters"),
        ("a_", "lower-case letters"),
        ("repro", "is another distribution's name"),
    ],
)
def test_impossible_names_are_refused_and_nothing_is_written(tmp_path, capsys, name, message):
    assert new.main([name, "--into", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_overwritten(tmp_path, capsys):
    assert new.main(["my_rule", "--into", str(tmp_path)]) == 0
    (tmp_path / "sal-my-rule/sal_my_rule.py").write_text("mine")
    assert new.main(["my_rule", "--into", str(tmp_path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "sal-my-rule/sal_my_rule.py").read_text() == "mine"


def run(*command, cwd, ok=True, **options):
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, **options
    )
    if ok:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A fresh environment with the project's wheel and one of a new method; its Python."""
    pytest.importorskip("hatchling", reason="hatchling, which builds the wheels, is not installed")
    folder = tmp_path_factory.mktemp("plugin")
    new.write("tiny", folder)
    bad = new.write("bad", folder)[0]
    text = bad.read_text()
    start = text.index("    def fill_gradients")
    bad.write_text(text[:start] + "    def fill_gradients(self, net, x_BD, y_B):\n        1 / 0\n")
    for source in (ROOT, folder / "sal-tiny", folder / "sal-bad"):
        build = ("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder / "wheels")
        run(sys.executable, "-m", "pip", *build, source, cwd=folder)
    venv.create(folder / "env", with_pip=False)
    python = folder / "env/bin/python"
    # PyTorch and the other dependencies are lent by this environment, behind its own packages.
    packages = sysconfig.get_path("purelib", vars={"base": str(folder / "env")})
    Path(packages, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    wheels = sorted((folder / "wheels").glob("*.whl"))
    assert len(wheels) == 3
    install = ("--python", python, "install", "--no-deps", "--quiet", "--no-index")
    run(sys.executable, "-m", "pip", *install, "--force-reinstall", *wheels, cwd=folder)
    where = run(python, "-c", "import baselines; print(baselines.__file__)", cwd=folder).stdout
    assert where.startswith(str(folder / "env")), "the wheel, not the checkout"
    return python


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_method_of_another_distribution_is_one_of_all(environment, tmp_path):
    listed = run(environment, "-m", "baselines", cwd=tmp_path, env={"COLUMNS": "200"}).stdout
    assert re.search(r"│ tiny +│ NAME \(AUTHORS, VENUE YEAR\) +│ sal_tiny", listed)
    checked = run(environment, "-m", "baselines.conformance", "tiny", cwd=tmp_path).stdout
    assert "all hold" in checked
    table = ("-m", "paper.convergence", "table2", "--quick", "--datasets", "digits")
    few = ("--areas", "4", "--seeds", "1", "--epochs", "2", "--jobs", "1")
    done = run(environment, *table, *few, "--learners", "bad", "tiny", cwd=tmp_path, ok=False)
    assert done.returncode == 1
    assert "digits bad epochs=2 seed 0: ZeroDivisionError" in done.stderr
    page = (tmp_path / "sal-paper/quick/tables/methods.md").read_text()
    assert re.search(r"^\| tiny \| \d+\.\d\d", page, re.M)
    assert "| bad |" not in page
