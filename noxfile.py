"""Every task of the project; `nox --list` names them, `nox` alone runs lint, tests and docs."""

import shutil
import sys
import time
from pathlib import Path

import nox

nox.options.reuse_existing_virtualenvs = True
nox.options.default_venv_backend = "venv"
PATIENCE = 60.0
"""Seconds that a command has to end its workers, or its jobs on a cluster, after Ctrl-C."""


def _python(session: nox.Session, *arguments: str) -> None:
    """Runs a module in the Python that nox runs in."""
    session.run(
        *(sys.executable, "-m", *arguments),
        interrupt_timeout=PATIENCE,
        terminate_timeout=PATIENCE,
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting and CITATION.cff; arguments go to ruff check."""
    session.install("-c", "requirements.lock", "cffconvert", "ruff")
    session.run("cffconvert", "--validate")
    session.run("ruff", "format", "--check")
    session.run("ruff", "check", *session.posargs)


# A PyTorch for each session's environment would cost gigabytes: what needs one runs in nox's own.


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Run the tests, files side by side; arguments go to pytest (-- -n 0: one after another)."""
    side_by_side = ("--numprocesses", "logical", "--maxprocesses", "4")
    side_by_side += ("--dist", "loadfile", "--no-loadscope-reorder")  # the longest are first
    _python(session, "pytest", *side_by_side, *session.posargs)


@nox.session(venv_backend="none", default=False)
def mutants(session: nox.Session) -> None:
    """Put a dozen defects of one line into a copy of the code; a test has to find each."""
    session.run(sys.executable, "tests/mutants.py", *session.posargs)


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """Build the API reference in docs/build/html, run its examples; arguments go to sphinx."""
    for builder in ("html", "doctest"):
        _python(
            session,
            *("sphinx", "--fail-on-warning", "--keep-going", "--quiet"),
            *("--builder", builder, *session.posargs, "docs", f"docs/build/{builder}"),
        )
    session.log("written: docs/build/html/index.html")


@nox.session(name="list", venv_backend="none", default=False)
def list_(session: nox.Session) -> None:
    """List the methods and the data sets, one line each."""
    _python(session, "baselines", *session.posargs)


@nox.session(venv_backend="none", default=False)
def new_baseline(session: nox.Session) -> None:
    """Write a distribution with a method that runs (-- NAME); arguments go to baselines.new."""
    _python(session, "baselines.new", *session.posargs)


@nox.session(venv_backend="none", default=False)
def conformance(session: nox.Session) -> None:
    """Hold methods to the contract (-- NAME...); arguments go to baselines.conformance."""
    _python(session, "baselines.conformance", *session.posargs)


@nox.session(venv_backend="none", default=False)
def data(session: nox.Session) -> None:
    """Fetch data sets, or say what is at hand (-- --all); arguments go to sal.data."""
    _python(session, "sal.data", *session.posargs)


@nox.session(venv_backend="none", default=False)
def check_paper(session: nox.Session) -> None:
    """Check the committed tables against the ledger; arguments go to paper.check."""
    _python(session, "paper.check", *session.posargs)


@nox.session(venv_backend="none", default=False)
def reproduce_table1(session: nox.Session) -> None:
    """Count the data sets at hand and rebuild Table 1; arguments go to paper.table1."""
    _python(session, "paper.table1", *session.posargs)


@nox.session(venv_backend="none", default=False)
def reproduce_table2(session: nox.Session) -> None:
    """Train what the ledger lacks, rebuild Tables 2 to 4; arguments go to paper.convergence."""
    _python(session, "paper.convergence", "table2", *session.posargs)


@nox.session(venv_backend="none", default=False)
def reproduce_table3(session: nox.Session) -> None:
    """The same, printing Table 3, training loss; arguments go to paper.convergence."""
    _python(session, "paper.convergence", "table3", *session.posargs)


@nox.session(venv_backend="none", default=False)
def reproduce_table4(session: nox.Session) -> None:
    """The same, printing Table 4, validation loss; arguments go to paper.convergence."""
    _python(session, "paper.convergence", "table4", *session.posargs)


@nox.session(venv_backend="none", default=False)
def merge(session: nox.Session) -> None:
    """Bring runs made elsewhere into the ledgers (-- DIR...); arguments go to paper.merge."""
    _python(session, "paper.merge", *session.posargs)


@nox.session(venv_backend="none", default=False)
def recover(session: nox.Session) -> None:
    """Train what the recovery study lacks and report on it; arguments go to paper.recovery."""
    _python(session, "paper.recovery", *session.posargs)


@nox.session(venv_backend="none", default=False)
def anchors(session: nox.Session) -> None:
    """Train BP, FA and DFA as others have published them; arguments go to paper.anchors."""
    _python(session, "paper.anchors", *session.posargs)


@nox.session(venv_backend="none", default=False)
def reproduce_figure1(session: nox.Session) -> None:
    """Draw the method's diagram; arguments go to paper.figure1."""
    _python(session, "paper.figure1", *session.posargs)


@nox.session(venv_backend="none", default=False)
def reproduce_figure2(session: nox.Session) -> None:
    """Train what the ledger lacks, draw depth; arguments go to paper.scaling."""
    _python(session, "paper.scaling", "figure2", *session.posargs)


@nox.session(venv_backend="none", default=False)
def reproduce_figure3(session: nox.Session) -> None:
    """Train what the ledger lacks, draw width; arguments go to paper.scaling."""
    _python(session, "paper.scaling", "figure3", *session.posargs)


@nox.session(venv_backend="none", default=False)
def reproduce_figure4(session: nox.Session) -> None:
    """Train SAL and MoE, draw Figures 4 and 5; arguments go to paper.against_moe."""
    _python(session, "paper.against_moe", *session.posargs)


@nox.session(venv_backend="none", default=False)
def reproduce_figure5(session: nox.Session) -> None:
    """The same; arguments go to paper.against_moe."""
    _python(session, "paper.against_moe", *session.posargs)


@nox.session(venv_backend="none", default=False)
def billion(session: nox.Session) -> None:
    """Train SAL at four billion parameters; arguments go to paper.billion."""
    _python(session, "paper.billion", *session.posargs)


@nox.session(venv_backend="none", default=False)
def memory(session: nox.Session) -> None:
    """Measure peak memory beside backpropagation; arguments go to paper.memory."""
    _python(session, "paper.memory", *session.posargs)


@nox.session(venv_backend="none", default=False)
def costs(session: nox.Session) -> None:
    """Measure what a sample costs against K and width; arguments go to paper.costs."""
    _python(session, "paper.costs", *session.posargs)


@nox.session(venv_backend="none", default=False)
def health(session: nox.Session) -> None:
    """Measure norms and areas in use in deep nets; arguments go to paper.health."""
    _python(session, "paper.health", *session.posargs)


@nox.session(venv_backend="none", default=False)
def matched_tuning(session: nox.Session) -> None:
    """Compare methods each at its own best step size; arguments go to paper.tuning."""
    _python(session, "paper.tuning", *session.posargs)


@nox.session(venv_backend="none", default=False)
def mechanism(session: nox.Session) -> None:
    """Measure what routing and feedback do in training; arguments go to paper.mechanism."""
    _python(session, "paper.mechanism", *session.posargs)


@nox.session(venv_backend="none", default=False)
def routing(session: nox.Session) -> None:
    """Draw SAL's router and prototypes again, all else the same; arguments go to paper.routing."""
    _python(session, "paper.routing", *session.posargs)


@nox.session(venv_backend="none", default=False)
def deviations(session: nox.Session) -> None:
    """Change each choice of ours, one at a time; arguments go to paper.deviations."""
    _python(session, "paper.deviations", *session.posargs)


@nox.session(venv_backend="none", default=False)
def claims(session: nox.Session) -> None:
    """Judge the paper's claims by what is in the ledgers; arguments go to paper.claims."""
    _python(session, "paper.claims", *session.posargs)


@nox.session(venv_backend="none", default=False)
def report(session: nox.Session) -> None:
    """Put everything on one page, and the same as PDF; arguments go to paper.report."""
    _python(session, "paper.report", *session.posargs)


EVERYTHING = {
    "reproduce_table1": (),
    "reproduce_table2": (
        *("--learners", "fa", "dfa", "moe", "sal_step", "sal_frozen", "sal_random", "sal_hash"),
        *("sal_bp", "--areas", "1", "2", "4", "8", "16"),
    ),
    "recover": (),
    "anchors": (),
    "reproduce_figure1": (),
    "reproduce_figure4": (),
    "memory": (),
    "costs": (),
    "health": (),
    "billion": (),
    "peers": (),
    "reproduce_figure2": (),
    "reproduce_figure3": (),
    "matched_tuning": (),
    "mechanism": (),
    "routing": (),
    "deviations": (),
    "claims": (),
    "report": (),
}
"""What makes every table and figure, the longest late, and each after what it reads."""


@nox.session(venv_backend="none", default=False)
def reproduce_all(session: nox.Session) -> None:
    """Make every table and figure in turn; runs that are in a ledger are not made again."""
    for name, arguments in EVERYTHING.items():
        session.notify(name, posargs=arguments)


@nox.session(venv_backend="none", default=False)
def peers(session: nox.Session) -> None:
    """Time a training step beside other packages' in one run; arguments go to benchmarks.peers."""
    _python(session, "benchmarks.peers", *session.posargs)


# asv has an environment with a PyTorch of its own, in .asv, which it keeps.


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure HEAD by asv's suites in one round of two; arguments go to asv run."""
    measure(session, "run", "HEAD", "--attribute", "rounds=1", *session.posargs)


@nox.session(default=False)
def regressions(session: nox.Session) -> None:
    """Fail where HEAD is 1.3 times worse than a base commit; arguments: it, asv continuous's."""
    base, *options = session.posargs or ["HEAD~1"]
    measure(
        session, "continuous", base, "HEAD", "--factor", "1.3", *options, guard=("--base", base)
    )


def measure(session: nox.Session, *command: str, guard: tuple[str, ...] = ()) -> None:
    """Run asv, and fail if it measured nothing, which it calls a success."""
    session.install("-c", "requirements.lock", "asv")
    session.run("asv", "machine", "--yes", silent=True)
    since = time.time()
    session.run("asv", *command)
    session.run("python", "-m", "benchmarks.guard", "--since", str(since), *guard)


@nox.session(default=False)
def lock(session: nox.Session) -> None:
    """Bring requirements.lock up to date; arguments go to uv (-- --upgrade)."""
    session.install("uv")
    session.run(
        *("uv", "pip", "compile", "pyproject.toml", "--all-extras"),
        *("--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"),
        *("--custom-compile-command", "nox -s lock", "--output-file", "requirements.lock"),
        *session.posargs,
    )


@nox.session(default=False)
def build(session: nox.Session) -> None:
    """Build sdist and wheel in dist/ and check them; arguments go to build."""
    session.install("build", "check-wheel-contents", "twine")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build", *session.posargs)
    session.run("twine", "check", "--strict", *map(str, Path("dist").iterdir()))
    session.run("check-wheel-contents", "dist")
