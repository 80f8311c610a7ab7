"""The benchmarks measure every method, skip what a commit lacks, and notice where nothing ran."""

import copy
import functools
import itertools
import json
import math
import re
import sys
import warnings
from pathlib import Path

import pandas as pd
import pytest
import torch

from baselines import learner_class, learners
from benchmarks import cases, guard, memory, peers, quality, speed
from paper import paths

ROOT = Path(__file__).parent.parent
COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODULES = (speed, memory, quality)
SUITES = [
    suite
    for module in MODULES
    for name, suite in vars(module).items()
    if isinstance(suite, type) and issubclass(suite, cases.Suite) and not name.startswith("_")
    if suite is not cases.Suite
]
BODY = re.compile("(time|peakmem|track)_")


def bodies(suite):
    return [name for name in vars(suite.__base__) if BODY.match(name)]


def results(folder, rows, commit=COMMIT):
    """A file as asv writes it: ``rows`` gives the values of each benchmark."""
    page = {
        "commit_hash": commit,
        "result_columns": ["result", "params", "version", "started_at", "duration"],
        "results": {name: [values, [], "v", 1000_000, 1.0] for name, values in rows.items()},
    }
    path = folder / "machine" / f"{commit[:8]}-virtualenv-py3.11.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(page))


# The guard


def test_the_guard_passes_where_every_benchmark_has_a_number(tmp_path):
    results(tmp_path, {"speed.a": [0.1, math.nan], "quality.b": [0.0]})
    assert guard.problems(tmp_path, COMMIT) == []


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (None, "speed.a failed"),
        ([None], "speed.a failed"),
        ([0.1, None], "speed.a failed"),
        ([math.nan, math.nan], "speed.a skipped everything"),
    ],
)
def test_the_guard_names_a_benchmark_that_failed_or_skipped_everything(tmp_path, values, complaint):
    results(tmp_path, {"speed.a": values, "speed.b": [0.1]})
    (problem,) = guard.problems(tmp_path, COMMIT)
    assert problem.startswith(complaint)


def test_the_guard_fails_where_asv_wrote_nothing_or_only_another_commit(tmp_path):
    results(tmp_path, {"speed.a": [0.1]}, commit="f" * 40)
    assert guard.problems(tmp_path, COMMIT)[0].startswith("nothing was measured")
    results(tmp_path, {})
    assert guard.problems(tmp_path, COMMIT)[0].startswith("nothing was measured")


def test_the_guard_does_not_take_an_earlier_runs_numbers(tmp_path):
    results(tmp_path, {"speed.a": [0.1]})
    assert guard.problems(tmp_path, COMMIT, since=999) == []
    assert guard.problems(tmp_path, COMMIT, since=1001) != []


def test_the_guard_excuses_the_gpu_where_there_is_none(tmp_path):
    results(tmp_path, {"memory.GPUMemory_bp": [math.nan], "speed.a": [0.1]})
    assert guard.problems(tmp_path, COMMIT, has_gpu=False) == []
    assert guard.problems(tmp_path, COMMIT, has_gpu=True) != []


def test_the_guard_wants_some_number_of_a_base_commit_and_not_all(tmp_path):
    results(tmp_path, {"speed.new": [math.nan], "speed.a": [0.1]})
    assert guard.problems(tmp_path, COMMIT, is_base=True) == []
    results(tmp_path, {"speed.new": [math.nan]})
    assert guard.problems(tmp_path, COMMIT, is_base=True) != []


def test_the_guard_reports_a_file_that_it_cannot_read(tmp_path):
    results(tmp_path, {"speed.a": [0.1]})
    (path,) = tmp_path.rglob("*.json")
    path.write_text("{")
    assert any("cannot be read" in problem for problem in guard.problems(tmp_path, COMMIT))


def test_the_guards_exit_status_is_what_it_found(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(guard, "RESULTS", tmp_path)
    monkeypatch.setattr(guard, "commit_hash", lambda name: COMMIT)
    assert guard.main([]) == 1
    assert "nothing was measured" in capsys.readouterr().err
    results(tmp_path, {"speed.a": [0.1]})
    assert guard.main([]) == guard.main(["HEAD", "--base", "HEAD~1", "--since", "0"]) == 0


# asv's configuration


def test_asv_keeps_its_files_where_the_guard_looks_and_git_does_not():
    text = re.sub(r"^\s*//.*$", "", (ROOT / "asv.conf.json").read_text("utf-8"), flags=re.M)
    conf = json.loads(text)
    assert ROOT / conf["results_dir"] == guard.RESULTS
    assert conf["branches"] == ["HEAD"], "`asv run` measures what is checked out"
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    for key in ("env_dir", "results_dir", "html_dir"):
        assert conf[key].split("/")[0] + "/" in ignored
    for command in (conf["build_command"][-1], conf["install_command"][-1]):
        assert "--no-deps" in command, "asv finds several wheels otherwise"


# The suites


def test_every_registered_method_is_in_every_suite():
    for module in MODULES:
        stems = {
            suite.__name__.split("_")[0] for suite in SUITES if suite.__module__ in str(module)
        }
        for stem, case in itertools.product(stems, cases.cases()):
            assert getattr(module, f"{stem}_{case.identifier}").case == case
    assert {suite.case.method for suite in SUITES} == set(learners())


def test_a_plugin_is_benchmarked_without_an_edit(monkeypatch):
    bp, sal = learner_class("bp"), learner_class("sal")
    plugins = {
        "flat": type("Flat", (bp,), {"name": "flat"}),
        "with-areas": type("WithAreas", (sal,), {"name": "with-areas"}),
    }
    monkeypatch.setattr("baselines.learners", lambda: plugins)
    module = {"__name__": "plugged"}
    cases.add_suites(module, speed._Steps)
    found = {name for name, value in module.items() if isinstance(value, type)}
    names = ("flat", *(f"with_areas_{k}" for k in cases.AREAS[1:]))
    assert found == {f"Steps_{name}" for name in names}
    assert module["Steps_flat"]().build().name == "flat"
    assert module["Steps_with_areas_4"]().build().config.areas == (4,)


def test_a_method_that_a_commit_lacks_is_skipped_and_not_taken_for_another():
    suite = speed.Steps_of_tomorrow()
    with pytest.raises(NotImplementedError, match="no such method"):
        suite.setup("784-256-10, batch 16", "cpu")
    with pytest.raises(AttributeError):
        _ = speed.anything_else


def test_a_commit_without_any_method_skips_everything(monkeypatch):
    monkeypatch.setitem(sys.modules, "baselines", None)  # `import baselines` fails
    assert cases.cases() == []
    with pytest.raises(NotImplementedError, match="not in this commit"):
        cases.Case("bp").build()


def test_a_configuration_without_the_field_is_skipped(monkeypatch):
    with pytest.raises(NotImplementedError, match="bp has no areas"):
        cases.Case("bp", 4).build()


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.__name__)
def test_every_body_runs(suite, monkeypatch):
    from sal.train import Protocol

    for module in (speed, memory):
        monkeypatch.setattr(module, "STEPS", 2)
    monkeypatch.setattr("sal.train.Protocol", functools.partial(Protocol, epochs=1))
    assert len(bodies(suite)) == 1, "asv prepares each benchmark by the suite's setup"
    first = [values[0] for values in getattr(suite, "params", ())]
    instance = suite()
    if "GPU" in suite.__name__ and not torch.cuda.is_available():
        with pytest.raises(NotImplementedError, match="no GPU"):
            instance.setup(*first)
        return
    instance.setup(*first)
    value = getattr(instance, bodies(suite)[0])(*first)
    # Within a process that has done much, memory may be had without asking for more.
    assert value is None or value > 0 or (value == 0 and suite.__name__.startswith("MemoryShare"))


def test_asv_finds_the_suites_and_nothing_else():
    discovery = pytest.importorskip("asv_runner.discovery")
    found = {benchmark.name for benchmark in discovery.disc_benchmarks(str(ROOT / "benchmarks"))}
    expected = {
        f"{suite.__module__.split('.')[1]}.{suite.__name__}.{bodies(suite)[0]}" for suite in SUITES
    }
    assert found == expected


# Other packages


@pytest.fixture
def quickly(monkeypatch, tmp_path):
    """Few steps, and results in a folder of the test's own."""
    monkeypatch.setattr(peers, "WARM_UP", 2)
    monkeypatch.setattr(peers, "STEPS", 1)
    monkeypatch.setattr(peers, "LARGE_STEPS", 1)
    monkeypatch.setattr(peers, "QUICK_ROUNDS", 3)
    place = paths.Place(tmp_path, published=False)
    monkeypatch.setattr(paths, "quick", lambda: place)
    return place


def test_peers_names_every_method_and_what_is_not_installed(quickly, monkeypatch, capsys):
    for package in ("biotorch.module.biomodule", "mixture_of_experts", "st_moe_pytorch"):
        monkeypatch.setitem(sys.modules, package, None)
    assert peers.main(["--quick"]) == 0
    page = quickly.table("peers", "md").read_text("utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    status = {row[0]: row[2] for row in rows[1:]}
    assert all(case.label in status for case in cases.cases())
    missing = {label for label, cell in status.items() if cell == "not installed"}
    assert {label.split(",")[0] for label in missing} == {
        "biotorch",
        "mixture-of-experts",
        "st-moe-pytorch",
    }
    assert len(rows) == len(quickly.table("peers", "csv").read_text("utf-8").splitlines())
    assert quickly.figure("peers", "png").stat().st_size > 10_000
    assert "not installed" in capsys.readouterr().out


def test_ratios_are_taken_within_a_round_and_the_floor_is_the_last_column(quickly):
    net = torch.zeros(1)
    made = {
        peers.PLAIN: peers.Contestant(step=net.sin, trained=[net]),
        "twice": peers.Contestant(step=net.sin, trained=[net], seeds=2, floor_us=3.0),
    }
    times = {peers.PLAIN: [1.0, 10.0, 100.0], "twice": [2.0, 20.0, 200.0]}
    packages = dict.fromkeys(made, "here") | {"absent": "elsewhere"}
    table = peers.frame(made, packages, {"absent": "not installed"}, times)
    assert list(table["ratio"][:2]) == [1.0, 2.0]
    assert table.columns[-1] == "floor_us"
    assert table["floor_us"][1] == 3.0
    text = peers.markdown(table, [], "cpu")
    assert "| twice | here | 20 (11 to 110) | 2.00 (2.00 to 2.00) | 3 (we: 6.7 x) |" in text
    assert "| absent | elsewhere | not installed | – | – |" in text


def test_ratios_refer_to_a_captured_loop_where_there_is_one(quickly):
    net, captured = torch.zeros(1), peers.PLAIN + peers.CAPTURED
    labels = (peers.PLAIN, captured, "ours")
    made = {label: peers.Contestant(step=net.sin, trained=[net]) for label in labels}
    times = dict(zip(labels, ([100.0], [20.0], [10.0]), strict=True))
    table = peers.frame(made, dict.fromkeys(made, "here"), {}, times)
    assert list(table["ratio"]) == [5.0, 1.0, 0.5]
    assert peers.reference(times, peers.LARGE) == peers.PLAIN_LARGE, "that one is not captured"


def test_the_page_of_a_gpu_names_it_and_stands_beside_the_cpus():
    where = {"git_sha": COMMIT, "git_dirty": False, "torch_version": "2", "device": "NVIDIA X"}
    text = " ".join(peers.notes(where, "a title", 5))
    assert "`nox -s peers -- --device cuda`" in text
    assert "PyTorch 2, NVIDIA X; commit 0123456789ab." in text
    assert "floor.py" not in text
    assert peers.table_name("cuda") != peers.table_name("cpu")
    pages = [peers.markdown(pd.DataFrame(), [], device) for device in ("cpu", "cuda")]
    assert [page.splitlines()[0].endswith(", on a GPU") for page in pages] == [False, True]


def test_the_plot_takes_floors(tmp_path):
    made = {
        peers.PLAIN: peers.Contestant(step=list, trained=[]),
        "floored": peers.Contestant(step=list, trained=[], floor_us=8.0),
    }
    times = {peers.PLAIN: [90.0, 100.0, 120.0], "floored": [9.0, 10.0, 40.0]}
    table = peers.frame(made, {peers.PLAIN: "torch", "floored": peers.OURS}, {}, times)
    peers.plot(table, "a title", tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_a_contestant_that_does_not_train_is_refused(quickly):
    net = torch.zeros(1)
    with pytest.raises(RuntimeError, match="idle does not train"):
        peers.warm_up("idle", peers.Contestant(step=net.sin, trained=[net]))
    with pytest.raises(RuntimeError, match="mad diverges"):
        peers.warm_up("mad", peers.Contestant(step=net.log_, trained=[net]))


def test_a_package_without_metadata_is_measured_all_the_same(quickly, monkeypatch):
    """As one in a folder on the search path is."""
    of_nobody = "package-that-there-is-not"
    monkeypatch.setattr(peers, "entries", lambda device: iter([("A", of_nobody, peers.plain)]))
    made, packages, missing = peers.contestants("cpu")
    assert packages == {"A": f"{of_nobody} of unknown version"}
    assert (list(made), missing) == (["A"], {})


def test_vmap_trains_each_seed_as_the_plain_loop_does(monkeypatch):
    monkeypatch.setattr(peers, "LR", 0.1)
    nets = [peers.mlp("cpu") for _ in range(peers.SEEDS)]
    start = iter([copy.deepcopy(net) for net in nets])
    monkeypatch.setattr(peers, "mlp", lambda device: next(start))
    together = peers.vmapped("cpu")
    for _ in range(3):
        together.step()
    for seed, net in enumerate(nets):
        x, y = (part[seed : seed + 1] for part in peers.batch(replicas=peers.SEEDS))
        monkeypatch.setattr(peers, "batch", lambda size, device, both=(x, y): both)
        alone = peers.autograd(net, "cpu")
        monkeypatch.setattr(peers, "batch", cases.batch)
        for _ in range(3):
            alone.step()
        for stacked, single in zip(together.trained, alone.trained, strict=True):
            torch.testing.assert_close(stacked[seed], single)


ON_A_GPU = (
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
)


@pytest.mark.parametrize(
    ("device", "label", "make"),
    [
        pytest.param(device, label, make, marks=marks)
        for device, marks in (("cpu", ()), ("cuda", ON_A_GPU))
        for label, _, make in peers.entries(device)
    ],
)
def test_every_contestant_that_is_installed_trains(device, label, make, quickly):
    try:
        with warnings.catch_warnings(action="ignore"):
            contestant = make(device)
            peers.warm_up(label, contestant)
    except ImportError as error:
        pytest.skip(f"not installed: {error}")


def test_a_contestant_that_fails_is_named_and_the_others_are_timed(quickly, monkeypatch, capsys):
    def explode(device):
        raise RuntimeError("no step today")

    monkeypatch.setattr(
        peers,
        "entries",
        lambda device: iter([(peers.PLAIN, "torch", peers.plain), ("Bad", peers.OURS, explode)]),
    )
    assert peers.main(["--quick"]) == 0
    assert "Bad: RuntimeError: no step today" in capsys.readouterr().err
    page = (quickly.table("peers", "md")).read_text()
    assert "| Bad | this project | failed: RuntimeError | – | – |" in page
