"""Where runs are carried out makes no difference to them; a killed worker costs one attempt."""

import argparse
import io
import re
import shutil
import signal
import sys
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console
from workers import Watched, kill, needs_proc, processes, until

from baselines import BPConfig
from paper import backends, options, paths, provenance, runner
from paper.backends import ATTEMPTS, killed, uninterrupted
from paper.backends.here import Here
from paper.backends.processes import Processes
from paper.results import read
from paper.runner import make
from sal import SALConfig
from sal.run import Run
from sal.train import Protocol


def run(seed=0, epochs=2, learner="bp", config=BPConfig()):  # noqa: B008
    protocol = Protocol(epochs=epochs)
    return Run(dataset="digits", learner=learner, config=config, seed=seed, protocol=protocol)


RUNS = [run(), run(1, learner="sal", config=SALConfig(areas=(4,)))]
LONG = run(2, epochs=100)  # of some seconds: long enough to be killed in the middle


def made_by(backend, folder, runs=RUNS, **choices):
    """Rows by seed, without what differs from run to run, and what failed."""
    place = paths.Place(folder, published=True)
    console = Console(file=io.StringIO(), width=1000)
    summary = make(runs, "table2", place, console, backend=backend, **choices)
    rows, problems = read(place.ledger("table2"))
    assert problems == []
    assert summary.failed or not list(place.checkpoints().glob("*.pt*"))
    for row in rows:
        del row["seconds"], row["finished"]
    return {row["seed"]: row for row in rows}, summary.failed


@pytest.fixture(scope="module")
def made_here(tmp_path_factory):
    rows, failed = made_by(Here(), tmp_path_factory.mktemp("here"), [*RUNS, LONG])
    assert failed == {}
    return rows


@contextmanager
def dask_cluster(workers=2, threads=1, failures=3):
    """A real cluster on this machine, with nannies that replace workers that die."""
    distributed = pytest.importorskip("distributed")
    import dask

    from paper.backends.dask import Dask

    settings = {
        "distributed.scheduler.allowed-failures": failures,
        "distributed.deploy.lost-worker-timeout": "300s",  # a slow machine restarts it slowly
    }
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=threads,
            processes=True,
            dashboard_address=":0",  # any free port: other tests may run beside
            silence_logs="CRITICAL",
        ) as cluster,
    ):
        yield cluster, Dask(cluster.scheduler_address)


def slurm(folder, count=2, **parameters):
    pytest.importorskip("submitit")
    from paper.backends.slurm import Slurm

    return Slurm(folder, count, {"cluster": "local", "timeout_min": 5, **parameters})


restarted_slowly = pytest.mark.filterwarnings("ignore:.*has no workers")  # on a slow machine


def workers_of(cluster):
    return [worker.pid for worker in cluster.workers.values() if worker.pid]


@pytest.mark.parametrize("by_loky", [False, True])
def test_worker_processes_give_the_bits_of_this_process(tmp_path, made_here, by_loky):
    rows, failed = made_by(Processes(2, by_loky), tmp_path)
    assert (rows, failed) == ({seed: made_here[seed] for seed in (0, 1)}, {})


@pytest.mark.slow
def test_dask_gives_the_bits_of_this_process_and_tells_epochs(tmp_path, made_here):
    epochs = []
    with dask_cluster() as (_, backend):
        rows, failed = made_by(
            Watched(backend, lambda run, epoch: epochs.append((run.seed, epoch))), tmp_path
        )
    assert (rows, failed) == ({seed: made_here[seed] for seed in (0, 1)}, {})
    assert set(epochs) <= {(seed, epoch) for seed in (0, 1) for epoch in (1, 2)}
    assert epochs


@pytest.mark.slow
def test_submitit_gives_the_bits_of_this_process(tmp_path, made_here):
    rows, failed = made_by(slurm(tmp_path / "jobs"), tmp_path)
    assert (rows, failed) == ({seed: made_here[seed] for seed in (0, 1)}, {})
    assert list((tmp_path / "jobs").iterdir()) == []


@needs_proc
@pytest.mark.slow
@restarted_slowly
def test_a_dask_worker_killed_in_mid_run_costs_no_run_and_no_bit(tmp_path, made_here):
    killed = []
    with dask_cluster(workers=1) as (cluster, backend):

        def kill_at_the_third(run, epoch):
            if run == LONG and epoch >= 3 and not killed:
                killed.append(kill(workers_of(cluster)))

        rows, failed = made_by(Watched(backend, kill_at_the_third), tmp_path, [LONG, RUNS[0]])
    assert killed == [1]
    assert (rows, failed) == ({seed: made_here[seed] for seed in (0, 2)}, {})


@needs_proc
@pytest.mark.slow
@restarted_slowly
def test_a_run_that_always_kills_its_dask_worker_is_given_up_and_the_others_are_made(
    tmp_path, made_here
):
    ledger, told = paths.Place(tmp_path, published=True).ledger("table2"), []
    deadly = run(3, epochs=100_000)
    with dask_cluster(workers=1, failures=0) as (cluster, backend):

        def kill_the_deadly(run, epoch):
            if run != deadly:
                told.append((run.seed, epoch))
            elif {seed for seed, _ in told} <= {row["seed"] for row in read(ledger)[0]}:
                kill(workers_of(cluster))

        runs = [RUNS[0], deadly, RUNS[1]]  # one of the two at least waits when the worker dies
        rows, failed = made_by(Watched(backend, kill_the_deadly), tmp_path, runs)
    assert rows == {seed: made_here[seed] for seed in (0, 1)}
    assert failed == {deadly.label: killed(1)}
    assert sorted(told) == [(0, 1), (0, 2), (1, 1), (1, 2)], "what is in the ledger is not redone"


@pytest.mark.slow
def test_a_run_that_nobody_waits_for_any_longer_ends_on_its_dask_worker(tmp_path, monkeypatch):
    with dask_cluster(workers=1) as (cluster, backend):
        from distributed import Client

        told = []

        def interrupt_when_it_has_begun(seconds):
            if told:
                raise KeyboardInterrupt
            time.sleep(seconds)

        clock = SimpleNamespace(sleep=interrupt_when_it_has_begun, monotonic=time.monotonic)
        monkeypatch.setattr("paper.backends.dask.time", clock)
        watched = Watched(backend, lambda run, epoch: told.append(epoch))
        with pytest.raises(KeyboardInterrupt):
            made_by(watched, tmp_path, [run(epochs=1_000_000)])
        with Client(cluster, set_as_default=False) as client:

            def busy():
                return client.run(lambda dask_worker: len(dask_worker.active_threads))

            until(lambda: not any(busy().values()), 60)


@pytest.mark.slow
def test_dask_says_that_there_are_no_workers_and_waits_for_some(tmp_path, made_here, monkeypatch):
    with dask_cluster(workers=0) as (cluster, backend):
        said = []

        def add_one(message, **_):
            said.append(message)
            cluster.scale(1)

        monkeypatch.setattr("paper.backends.dask.LOOK_FOR_WORKERS_SECONDS", 0.5)
        monkeypatch.setattr("paper.backends.dask.warnings", SimpleNamespace(warn=add_one))
        rows, failed = made_by(backend, tmp_path, RUNS[:1])
    assert (rows, failed) == ({0: made_here[0]}, {})
    assert len(said) == 1
    assert f"{backend.address} has no workers" in said[0]


def submitted(folder):
    """Processes of this machine that do a job of submitit from this folder."""
    return [
        pid
        for pid, _, command in processes()
        if "submitit.core._submit" in command and str(folder) in command
    ]


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, 3])
def test_a_job_of_submitit_killed_in_mid_run_costs_no_bit_and_is_given_up_at_the_third(
    tmp_path, made_here, monkeypatch, kills
):
    backend = slurm(tmp_path / "jobs", count=1)
    monkeypatch.setattr("submitit.core.core.Job._results_timeout_s", 1)  # for slow file systems
    jobs, seen, sleep = tmp_path / "jobs", [], time.sleep

    def kill_when_it_has_begun(seconds):
        for state in (tmp_path / "checkpoints").glob("*.pt"):
            if len(seen) < kills and state.stat().st_mtime_ns not in seen and submitted(jobs):
                seen.append(state.stat().st_mtime_ns)
                assert kill(submitted(jobs)) == 1
        sleep(seconds)

    monkeypatch.setattr("paper.backends.slurm.time.sleep", kill_when_it_has_begun)
    rows, failed = made_by(backend, tmp_path, [LONG], checkpoint_after=0)
    assert len(seen) == kills
    if kills == 1:
        assert (rows, failed) == ({2: made_here[2]}, {})
    else:
        assert rows == {}
        assert killed(ATTEMPTS, "out of memory or time?") in failed[LONG.label]
        log = Path(failed[LONG.label].rpartition("its log: ")[2])
        assert log.exists()
        assert uuid.UUID(log.parent.name), "of this call alone"


@pytest.mark.parametrize(
    ("workers", "says"),
    [([{}, {"a": 1}, {}, {"a": 1}], 0), ([{"a": 1}, {}, {}, {}], 1), ([{}, {}, {"a": 1}, {}], 1)],
)
def test_a_dask_worker_that_is_started_anew_is_not_missed(monkeypatch, workers, says):
    pytest.importorskip("distributed")
    from paper.backends import dask

    looks, said = iter(workers), []
    monkeypatch.setattr(dask, "LOOK_FOR_WORKERS_SECONDS", 0.0)
    monkeypatch.setattr(dask, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(dask, "warnings", SimpleNamespace(warn=lambda text, **_: said.append(text)))
    left = iter([False] * len(workers) + [True])
    waiting = SimpleNamespace(is_empty=lambda: next(left), next_batch=lambda block: [])
    monkeypatch.setattr(dask, "as_completed", lambda futures, loop: waiting)
    client = SimpleNamespace(status="running", ncores=lambda: next(looks), loop=None)
    assert list(dask._as_completed([], client, "tcp://host:1")) == []
    assert len(said) == says


@pytest.mark.timeout(60)
def test_a_job_that_was_refused_for_a_moment_is_submitted_before_another_has_ended(
    tmp_path, monkeypatch
):
    pytest.importorskip("submitit")
    from paper.backends import slurm as module

    accepted, refusals = [], iter([False, True, False])

    class Executor:
        cluster = "moody"

        def __init__(self, folder, cluster):
            pass

        def update_parameters(self, **parameters):
            pass

        def submit(self, function, work, job):
            if next(refusals):
                raise module.FailedSubmissionError("Socket timed out")
            accepted.append(job)
            return Job(job)

    @dataclass(frozen=True)
    class Job:
        name: str

        def done(self):
            return len(accepted) == 2

        def result(self):
            return f"{self.name} done", None

    monkeypatch.setattr(module.submitit, "AutoExecutor", Executor)
    monkeypatch.setattr(module, "TRY_AGAIN_SECONDS", 0.1)
    ended = module.Slurm(tmp_path, 2, {}).carry_out(["a", "b"], print, print)
    assert sorted(ended) == [("a", "a done", None), ("b", "b done", None)]


@pytest.mark.slow
def test_jobs_that_a_cluster_refuses_wait_until_others_have_ended(tmp_path, made_here, monkeypatch):
    backend = slurm(tmp_path / "jobs")
    import submitit

    submit, flying, refused = submitit.AutoExecutor.submit, [], []

    def one_at_a_time(*arguments):
        if any(not job.done() for job in flying):
            refused.append(arguments)
            raise submitit.core.utils.FailedSubmissionError("QOSMaxSubmitJobPerUserLimit")
        flying.append(submit(*arguments))
        return flying[-1]

    monkeypatch.setattr(submitit.AutoExecutor, "submit", one_at_a_time)
    rows, failed = made_by(backend, tmp_path)
    assert (rows, failed) == ({seed: made_here[seed] for seed in (0, 1)}, {})
    assert len(refused) == 1


def test_the_row_of_another_run_is_refused(tmp_path):
    class Mistaken(Here):
        def carry_out(self, jobs, work, on_epoch):
            (first, row, _), (second, *_) = super().carry_out(jobs, work, on_epoch)
            yield from [(first, row, None), (second, row, None)]

    rows, failed = made_by(Mistaken(), tmp_path)
    assert list(rows) == [0]
    assert list(failed) == [RUNS[1].label]
    assert "the row of another run" in failed[RUNS[1].label]


def test_a_run_that_is_asked_for_twice_is_made_once(tmp_path, made_here):
    rows, failed = made_by(Here(), tmp_path, [RUNS[0], RUNS[0]])
    assert (rows, failed) == ({0: made_here[0]}, {})
    assert len((tmp_path / "results" / "table2.jsonl").read_text().splitlines()) == 1


def test_code_is_the_same_by_its_contents_and_not_by_its_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "REPOSITORY", tmp_path)
    for package in ("sal", "sal/data", "baselines", "paper", "paper/fresh"):
        (tmp_path / package).mkdir()
        if package != "paper/fresh":
            (tmp_path / package / "__init__.py").touch()
    module = tmp_path / "sal/data/usps.py"
    module.write_text("a = 1")
    before = provenance.contents()
    (tmp_path / "sal/README.md").write_text("a text")
    (tmp_path / "paper/fresh/look.py").write_text("what a run or a person left")
    (tmp_path / "sal/.#usps.py").symlink_to("an editor's lock")
    assert provenance.contents() == before
    module.write_text("a = 2")
    assert provenance.contents() != before
    module.write_text("a = 1")
    assert provenance.contents() == before
    module.rename(module.with_name("svhn.py"))
    assert provenance.contents() != before


def test_code_that_has_changed_since_it_was_imported_makes_no_row(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "contents", lambda: "code ffff")
    runner._provenance.cache_clear()
    rows, failed = made_by(Here(), tmp_path, [RUNS[0]])
    assert rows == {}
    assert "the code has changed since this process began" in failed[RUNS[0].label]


@pytest.fixture
def as_in_a_terminal():
    """Signals do what they do there; tests in the background and under nohup ignore some."""
    usual = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@needs_proc
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # submitit's Popen
def test_jobs_of_submitit_are_cancelled_at_an_interruption(as_in_a_terminal, tmp_path, monkeypatch):
    jobs = tmp_path / "jobs"

    def interrupt_when_two_have_begun(seconds):
        if len(submitted(jobs)) == 2:
            raise KeyboardInterrupt
        time.sleep(seconds)

    clock = SimpleNamespace(sleep=interrupt_when_two_have_begun, monotonic=time.monotonic)
    monkeypatch.setattr("paper.backends.slurm.time", clock)
    with pytest.raises(KeyboardInterrupt):
        made_by(slurm(jobs), tmp_path, [run(seed, epochs=1_000_000) for seed in (0, 1)])
    until(lambda: not submitted(jobs), 60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_of_a_block_stops_after_it(as_in_a_terminal, number):
    done = []

    def command(console):
        with uninterrupted():
            signal.raise_signal(number)
            done.append("all of it")
        done.append("and more")

    assert options.carry_out(command) == 130
    assert done == ["all of it"]


def test_a_terminal_that_closes_stops_a_command_once_unless_it_is_to_go_on(as_in_a_terminal):
    def command(console):
        try:
            signal.raise_signal(signal.SIGHUP)
        finally:
            signal.raise_signal(signal.SIGHUP)  # the shell's, and the terminal's own
            ended.append("in order")
        return 0

    ended = []
    assert options.carry_out(command) == 130
    assert ended == ["in order"]
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    assert options.carry_out(command) == 0


def test_a_command_may_be_carried_out_in_any_thread():
    statuses = []
    thread = Thread(target=lambda: statuses.append(options.carry_out(lambda console: 7)))
    thread.start()
    thread.join()
    assert statuses == [7]


def test_an_error_of_a_run_is_told_and_the_other_runs_are_made(tmp_path, made_here, monkeypatch):
    monkeypatch.setenv("SAL_DATA_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("SAL_OFFLINE", "1")
    absent = Run(
        dataset="usps", learner="bp", config=BPConfig(), seed=0, protocol=Protocol(epochs=1)
    )
    rows, failed = made_by(Here(), tmp_path, [absent, RUNS[0]])
    assert rows == {0: made_here[0]}
    (why,) = failed.values()
    assert why.startswith("DataMissing: ") and ".py" not in why, "our own errors say it all"


def test_an_error_in_other_peoples_code_is_told_with_its_line():
    def of_a_plugin(job, on_epoch):
        return torch.ones(2, 3) @ torch.ones(2, 3)

    _, why = backends.outcome(of_a_plugin, None, None)
    line = of_a_plugin.__code__.co_firstlineno + 1
    assert why.startswith("RuntimeError: mat1 and mat2 shapes")
    assert why.endswith(f"({__file__}, line {line})")
    beside = str(paths.REPOSITORY / "sal-my-rule" / "sal_my_rule.py")
    there = {}
    exec(compile("def work(job, on_epoch):\n    return 1 / 0", beside, "exec"), there)
    _, why = backends.outcome(there["work"], None, None)
    assert why.endswith(f"({beside}, line 2)"), (
        "written into the repository, and still the author's"
    )


def test_a_run_that_wants_to_end_the_process_ends_alone():
    def of_a_plugin(job, on_epoch):
        raise SystemExit("no licence")

    _, why = backends.outcome(of_a_plugin, None, None)
    assert why.startswith("SystemExit: no licence")


def test_a_row_of_another_version_of_its_method_is_refused(tmp_path):
    class Elsewhere(Here):
        def carry_out(self, jobs, work, on_epoch):
            for job, row, error in super().carry_out(jobs, work, on_epoch):
                yield job, row | {"learner_version": "1+edited"}, error

    rows, failed = made_by(Elsewhere(), tmp_path, [RUNS[0]])
    assert rows == {}
    (why,) = failed.values()
    assert "made by version 1+edited of bp" in why and "start the command anew" in why


def test_a_checkpoint_of_other_code_is_not_gone_on_with(tmp_path, monkeypatch):
    place = paths.Place(tmp_path, published=True)
    here = runner._checkpoint(place, LONG, runner.Task.now("table2", "cpu"))
    assert here == runner._checkpoint(place, LONG, runner.Task.now("table2", "cpu"))
    monkeypatch.setattr(runner, "MADE_WITH", "code ffff")
    assert here != runner._checkpoint(place, LONG, runner.Task.now("table2", "cpu"))


def test_a_worker_with_other_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "MADE_WITH", "code ffff")
    rows, failed = made_by(Processes(), tmp_path, [RUNS[0]])
    assert rows == {}
    (why,) = failed.values()
    assert re.search(
        r"the worker on .* has code \w{12} and .*, the command .* code ffff: bring", why
    )


@pytest.mark.slow
def test_a_dask_worker_of_several_threads_is_refused(tmp_path):
    with dask_cluster(workers=1, threads=2) as (_, backend):
        rows, failed = made_by(backend, tmp_path, [RUNS[0]])
    assert rows == {}
    assert "start workers with --nthreads 1" in failed[RUNS[0].label]


def chosen(*arguments, tmp_path=Path()):
    parser = argparse.ArgumentParser()
    options.add_machine_options(parser)
    place = paths.Place(tmp_path, published=True)
    return options.machines(parser.parse_args(arguments), place)["backend"]


def test_the_command_line_chooses_a_backend(tmp_path):
    assert chosen("--jobs", "3") == Processes(3)
    assert chosen("--jobs", "3", "--backend", "loky") == Processes(3, by_loky=True)
    assert chosen("--backend", "here") == Here()


def test_the_command_line_chooses_a_cluster(tmp_path):
    pytest.importorskip("distributed")
    pytest.importorskip("submitit")
    dask = chosen("--backend", "dask", "--scheduler", "tcp://host:1")
    assert dask.address == "tcp://host:1"
    arguments = ("--submit", "slurm_partition=cpu", "timeout_min=240", "--jobs", "7")
    arguments += ("--submit", "mem_gb=0.5", "slurm_account=0042", "slurm_time=00:30:00", "a=true")
    arguments += ("b=1.10", "c=1e3", "d=Infinity")
    slurm = chosen("--backend", "slurm", *arguments, tmp_path=tmp_path)
    texts = {"slurm_partition": "cpu", "slurm_account": "0042", "slurm_time": "00:30:00"}
    texts |= {"b": "1.10", "c": "1e3", "d": "Infinity"}
    assert slurm.parameters == texts | {"timeout_min": 240, "mem_gb": 0.5, "a": True}
    assert (slurm.count, slurm.folder) == (7, tmp_path / "checkpoints" / "submitit")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend", "dask"], "--backend dask needs --scheduler"),
        (["--scheduler", "tcp://host:1"], "--scheduler is for --backend dask, not for processes"),
        (["--submit", "timeout_min=1"], "--submit is for --backend slurm, not for processes"),
    ],
)
def test_options_that_do_not_belong_together_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        chosen(*arguments)


@pytest.mark.parametrize("backend", ["dask", "slurm"])
def test_a_package_that_is_missing_is_named_with_how_to_get_it(monkeypatch, backend):
    package = {"dask": "distributed", "slurm": "submitit"}[backend]
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"paper.backends.{backend}", raising=False)
    scheduler = ["--scheduler", "tcp://host:1"] if backend == "dask" else []
    with pytest.raises(ValueError, match=f"needs the package {package}: in the checkout, pip"):
        chosen("--backend", backend, *scheduler)


@pytest.mark.parametrize("text", ["timeout_min", "=3", "timeout_min="])
def test_a_parameter_that_is_none_is_refused(text, capsys):
    with pytest.raises(SystemExit):
        chosen("--backend", "slurm", "--submit", text)
    assert f"must be KEY=VALUE, got '{text}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cluster": "slurm"}, "submitit cannot submit to slurm with .*5.: Could not detect"),
        ({"cluster": "moon"}, "cannot submit to moon .* any executor named moon"),
        ({"timeout": 5}, "cannot submit to local with .*timeout"),
    ],
)
@pytest.mark.skipif(shutil.which("srun") is not None, reason="there is a Slurm here")
def test_a_cluster_that_is_not_there_is_named_and_nothing_is_run(tmp_path, parameters, message):
    with pytest.raises(ValueError, match=message):
        made_by(slurm(tmp_path / "jobs", **parameters), tmp_path)


def test_a_scheduler_that_does_not_answer_is_named(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    from paper.backends import dask

    monkeypatch.setattr(dask, "CONNECT_WITHIN", "1s")
    with pytest.raises(ValueError, match="no Dask scheduler answers at tcp://127.0.0.1:1 within"):
        made_by(dask.Dask("tcp://127.0.0.1:1"), tmp_path)


def test_a_cluster_that_refuses_a_job_is_named(tmp_path, monkeypatch):
    backend = slurm(tmp_path / "jobs")
    import submitit

    def refuse(*_):
        raise submitit.core.utils.FailedJobError("QOSMaxSubmitJobPerUserLimit")

    monkeypatch.setattr(submitit.AutoExecutor, "submit", refuse)
    with pytest.raises(ValueError, match="local refuses a job: QOSMaxSubmitJobPerUserLimit"):
        made_by(backend, tmp_path)
