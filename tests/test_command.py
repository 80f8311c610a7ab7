"""Making runs and checking results, as a user does: commands, interruptions, bad input."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console
from workers import needs_proc, until, workers

from baselines import BP, BPConfig
from paper import check, convergence, options, paths
from paper.backends.here import Here
from paper.backends.processes import Processes
from paper.results import COLUMNS, append, read
from paper.runner import Summary, make
from sal import SAL, SALConfig
from sal.data import load
from sal.run import Run, execute
from sal.train import Protocol

SHORT = Protocol(epochs=2)
LONG = Protocol(epochs=800)  # some ten seconds: long enough to be killed in the middle


def run(seed=0, protocol=SHORT, **choices):
    values = {"dataset": "digits", "learner": "bp", "config": BPConfig(), **choices}
    return Run(seed=seed, protocol=protocol, **values)


@pytest.fixture
def console(capsys):
    return Console(width=200)


def rows(place):
    found, problems = read(place.ledger("table2"))
    assert problems == []
    return found


def weights(place):
    return {row["seed"]: row["weights_sha256"] for row in rows(place)}


@pytest.fixture(scope="module")
def real_rows(tmp_path_factory):
    """Rows of Digits made by the paper's own protocol, one seed."""
    place = paths.Place(tmp_path_factory.mktemp("real"), published=True)
    wanted = convergence.runs(["digits"], areas=(4,), seeds=1)
    make([r for cell in wanted.values() for r in cell], "table2", place, Console(quiet=True))
    return [row | {"git_dirty": False} for row in rows(place)]


# Making runs


def test_a_row_says_all_about_its_run_and_equals_the_run_made_in_process(place, console):
    wanted = run(config=SALConfig(areas=(4,)), learner="sal")
    assert make([wanted], "table2", place, console, backend=Processes()).done == 1
    (row,) = rows(place)
    assert set(row) == set(COLUMNS)
    outcome, split = execute(wanted, SAL, load("digits"))
    assert row["weights_sha256"] == outcome.weights_sha256
    assert row["history"] == outcome.history
    assert (row["areas"], row["epochs"], row["split"]) == ([4], 2, split)
    assert row["accuracy"] == outcome.history["accuracy"][-1]
    assert row["device"] == "cpu"
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=paths.REPOSITORY
    )
    assert row["git_sha"] == (head.stdout.strip() or None)


def test_only_what_is_missing_is_made_and_the_rest_said_to_be_skipped(place, console, capsys):
    make([run(0)], "table2", place, console)
    summary = make([run(0), run(1)], "table2", place, console)
    assert (summary.done, summary.skipped, summary.failed) == (1, 1, {})
    assert "1 of 2 runs are in table2.jsonl already" in capsys.readouterr().out
    assert sorted(weights(place)) == [0, 1]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"learner_version": 0}, f"version 0 of bp, now {BP.version}"),
        ({"data_sha256": "f" * 64}, "on data ffff"),
    ],
)
def test_a_stale_row_is_made_again_and_the_reason_said(place, console, capsys, change, why):
    make([run()], "table2", place, console)
    (row,) = rows(place)
    place.ledger("table2").write_text(json.dumps(row | change) + "\n")
    assert make([run()], "table2", place, console).done == 1
    assert why in capsys.readouterr().out
    assert [r["weights_sha256"] for r in rows(place)] == [row["weights_sha256"]] * 2


def test_side_by_side_gives_the_same_weights_as_one_by_one(place, tmp_path, console):
    other = paths.Place(tmp_path / "other", published=True)
    runs = [run(seed) for seed in range(3)]
    make(runs, "table2", place, console, backend=Here())
    make(runs, "table2", other, console, backend=Processes(3))
    assert weights(place) == weights(other)
    assert len(set(weights(place).values())) == 3


def test_a_run_that_fails_is_named_and_the_others_go_on(place, console, monkeypatch, tmp_path):
    monkeypatch.setenv("SAL_DATA_DIR", str(tmp_path / "empty"))
    monkeypatch.setenv("SAL_OFFLINE", "1")
    summary = make([run(dataset="usps"), run()], "table2", place, console)
    assert summary.done == 1
    (reason,) = summary.failed.values()
    assert [label.split()[:2] for label in summary.failed] == [["usps", "bp"]]
    assert "DataMissing" in reason


def test_a_diverged_run_is_a_row_that_says_so(place, console):
    make([run(protocol=Protocol(epochs=3, lr=1e30))], "table2", place, console)
    (row,) = rows(place)
    assert (row["status"], row["accuracy"], row["val_loss"]) == ("diverged", None, None)


# Interruptions, of real processes

DRIVER = """
import signal
import sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job ignores
sys.path.insert(0, {tests!r})
import test_command as t
from paper import convergence, paths
place = paths.Place(Path(sys.argv[1]), published=True)
paths.committed = lambda: place
paths.README = Path("none")
runs = {{("Digits", "Baseline"): [t.run(seed, t.LONG) for seed in range(3)]}}
t.convergence.runs = lambda *a, **k: runs
if __name__ == "__main__":
    sys.exit(convergence.main(["table2", "--datasets", "digits", "--jobs", "2"]))
"""


def busy(pid):
    """Seconds of processor time that a process has used; 0 once it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def driver(tmp_path):
    """Starts the command on three long runs in a place of its own; ends it afterwards."""
    script = tmp_path / "driver.py"
    script.write_text(DRIVER.format(tests=os.path.dirname(__file__)))
    started = []

    def start():
        process = subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / "place")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(paths.REPOSITORY)},
        )
        started.append(process)
        return process

    yield start, paths.Place(tmp_path / "place", published=True)
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def at_work(process):
    until(lambda: len(workers(process.pid)) == 2 and min(map(busy, workers(process.pid))) > 2.5)
    return workers(process.pid)


@pytest.mark.slow
@needs_proc
def test_killed_workers_are_retried_and_a_killed_or_interrupted_parent_loses_no_row(driver):
    start, place = driver
    ledger = place.ledger("table2")

    process = start()  # Ctrl-C
    trainers = at_work(process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: workers get it, too
    output = process.communicate(timeout=30)[0]
    assert process.returncode == 130, output
    assert "interrupted" in output
    assert "Traceback" not in output
    until(lambda: not any(map(busy, trainers)), 10)
    assert rows(place) == []

    process = start()  # kill, as a batch system does to a command that is out of time
    trainers = at_work(process)
    process.terminate()
    output = process.communicate(timeout=30)[0]
    assert process.returncode == 130, output
    assert "interrupted" in output
    until(lambda: not any(map(busy, trainers)), 10)

    process = start()  # kill -9 of the parent, after its first row
    until(lambda: ledger.exists() and ledger.stat().st_size > 0)
    trainers = workers(process.pid)
    assert trainers
    process.kill()
    process.communicate()
    until(lambda: not any(map(busy, trainers)), 10)
    kept = weights(place)
    assert 1 <= len(kept) <= 2

    process = start()  # goes on; kill -9 of a worker in the middle of its run
    until(lambda: workers(process.pid) and min(map(busy, workers(process.pid))) > 2.5)
    os.kill(workers(process.pid)[0], signal.SIGKILL)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    assert f"{len(kept)} of 3 runs are in table2.jsonl already" in output
    assert "0 failed" in output
    assert weights(place).items() >= kept.items()
    undisturbed, _ = execute(run(2, LONG), BP, load("digits"))
    assert weights(place)[2] == undisturbed.weights_sha256
    assert [row["seed"] for row in rows(place)].count(2) == 1


# Bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--datasets", "nonsuch"], "nonsuch"),
        (["--datasets", "digits", "--areas", "0"], "areas must be columns of the table"),
        (["--datasets", "digits", "--areas", "3"], "areas must be columns of the table"),
        (["--datasets", "digits", "--seeds", "6"], "averages 5 seeds"),
        (["--fresh", "--epochs", "1"], "leave out --epochs or --fresh"),
        (["--datasets", "pathmnist"], "pathmnist is not in the paper's tables"),
    ],
)
def test_bad_arguments_end_with_a_sentence_and_train_nothing(
    arguments, message, place, monkeypatch, capsys
):
    monkeypatch.setattr(paths, "committed", lambda: place)
    assert convergence.main(["table2", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert not place.ledger("table2").exists()


@pytest.mark.parametrize("arguments", [["--seeds", "0"], ["--jobs", "x"], ["--quick", "--fresh"]])
def test_arguments_that_cannot_be_parsed_end_with_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        convergence.main(["table2", *arguments])
    assert stopped.value.code == 2
    assert "usage: python -m paper.convergence" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_an_error(capsys):
    assert convergence.main(["table2", "--quick", "--device", "cuda"]) == 2
    assert "PyTorch finds no GPU here" in capsys.readouterr().err


def test_a_results_folder_that_cannot_be_written_is_an_error_before_training(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(paths, "committed", lambda: paths.Place(tmp_path / "file", published=True))
    assert convergence.main(["table2", "--datasets", "digits", "--seeds", "1"]) == 2
    assert "cannot write results to" in capsys.readouterr().err


@pytest.fixture
def no_training(place, monkeypatch, tmp_path):
    """A committed place of its own, an empty data folder, no network, and nothing that trains."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("SAL_DATA_DIR", str(folder))
    monkeypatch.setenv("SAL_OFFLINE", "1")
    monkeypatch.setattr(paths, "committed", lambda: place)
    monkeypatch.setattr(paths, "README", tmp_path / "none.md")
    made = []
    monkeypatch.setattr(options, "make", lambda runs, *_, **__: made.extend(runs) or Summary())
    return folder, made


def test_missing_sets_are_named_and_an_error_only_if_asked_for(no_training, capsys):
    _, made = no_training
    assert convergence.main(["table2", "--backend", "here"]) == 0
    assert "Left out, not at hand: Semeion, USPS, MNIST" in capsys.readouterr().out
    assert {run.dataset for run in made} == {"digits"}
    assert convergence.main(["table2", "--datasets", "digits", "mnist", "--backend", "here"]) == 1
    assert "error: MNIST: MNIST is not in the data folder" in capsys.readouterr().err


def test_a_corrupt_data_file_is_an_error_even_if_not_asked_for_and_the_rest_is_made(
    no_training, capsys
):
    folder, made = no_training
    (folder / "usps.npz").write_bytes(b"PK\x03\x04 cut off")
    assert convergence.main(["table2", "--backend", "here"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: USPS: ")
    assert str(folder / "usps.npz") in error
    assert {run.dataset for run in made} == {"digits"}


def test_fresh_runs_are_compared_with_the_committed_ones(
    real_rows, place, monkeypatch, capsys, tmp_path
):
    monkeypatch.setattr(paths, "committed", lambda: place)
    monkeypatch.setattr(paths, "README", tmp_path / "none.md")
    append(place.ledger("table2"), real_rows[0])
    append(place.ledger("table2"), real_rows[1] | {"weights_sha256": "0" * 64})
    arguments = ["--fresh", "--datasets", "digits", "--areas", "4", "--seeds", "1"]
    assert convergence.main(["table2", *arguments, "--backend", "here"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "2 runs made, 0 there already, 0 failed" in output
    assert "1 of 2 runs that are in the committed ledger as well have the same weights" in output


# Checking what is committed


@pytest.fixture
def committed(place, monkeypatch, real_rows, tmp_path):
    """A place with a ledger and its tables, taken for the committed one."""
    monkeypatch.setattr(paths, "committed", lambda: place)
    monkeypatch.setattr(paths, "README", tmp_path / "README.md")
    paths.README.write_text("<!-- table2:begin -->\n<!-- table2:end -->\n")

    def fill(*changes):
        place.ledger("table2").unlink(missing_ok=True)
        for row, change in zip(real_rows, [*changes, {}, {}], strict=False):
            append(place.ledger("table2"), row | change)
        convergence.write(place, Protocol.epochs, Console(quiet=True))
        return place

    return fill


needs_git = pytest.mark.skipif(
    check.git("rev-parse", "HEAD") is None, reason="not in a git checkout with commits"
)


@needs_git
def test_rows_of_real_runs_pass_with_their_runs_made_again(committed, capsys):
    committed()
    assert check.main(["--rerun", "2"]) == 0
    assert capsys.readouterr().out.count("weights equal") == 2


@needs_git
def test_a_run_that_comes_out_otherwise_is_found(committed, capsys):
    committed({"weights_sha256": "0" * 64})
    assert check.main(["--rerun", "2"]) == 1
    assert "digits bp seed 0: made again, its weights differ" in capsys.readouterr().err


@needs_git
@pytest.mark.parametrize(("off", "status"), [(0.5, 0), (50.0, 1)])
def test_a_row_of_another_machine_is_held_to_its_metrics(committed, real_rows, capsys, off, status):
    change = {"machine": {"cpu": "another"}, "accuracy": real_rows[0]["accuracy"] + off}
    committed(change | {"weights_sha256": "0" * 64})
    assert check.main(["--rerun", "2"]) == status


@needs_git
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"git_dirty": True}, "made from uncommitted code"),
        ({"git_dirty": None, "git_sha": None}, "made from uncommitted code"),
        ({"git_sha": "ab" * 20}, "commit abababababab is not in the history"),
    ],
)
def test_rows_without_a_past_are_refused(committed, capsys, change, message):
    committed(change)
    assert check.main(["--rerun", "0"]) == 1
    assert f"digits bp seed 0: {message}" in capsys.readouterr().err


@needs_git
def test_two_rows_of_a_run_that_disagree_are_refused(committed, real_rows, capsys):
    place = committed()
    append(place.ledger("table2"), real_rows[0] | {"weights_sha256": "0" * 64})
    assert check.main(["--rerun", "0"]) == 1
    assert "two rows of the same run on one machine type disagree" in capsys.readouterr().err


@needs_git
def test_a_table_that_was_edited_or_is_missing_is_refused(committed, capsys):
    place = committed()
    table = place.table("table2", "md")
    table.write_text(table.read_text().replace("not run", "reproduced"))
    place.table("table2", "tex").unlink()
    paths.README.write_text(paths.README.read_text().replace("✗", "✓").replace("n=1", "✓"))
    assert check.main(["--rerun", "0"]) == 1
    error = capsys.readouterr().err
    assert f"{table} is not what the ledger renders to" in error
    assert f"{place.table('table2', 'tex')} is missing" in error
    assert f"{paths.README} is not what" in error


@needs_git
def test_a_torn_line_is_refused(committed, capsys):
    place = committed()
    with place.ledger("table2").open("a") as file:
        file.write('{"experiment":')
    assert check.main(["--rerun", "0"]) == 1
    assert "cut off or not JSON" in capsys.readouterr().err
