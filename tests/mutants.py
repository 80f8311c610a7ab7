"""Defects of one line in the method's code, and the test that finds each: ``nox -s mutants``.

Each is put into a copy of the code, and its test has to fail there; before that, all of them have
to pass without. ``test_mutants.py`` sees to it that the list stays true to the code.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).parent.parent
COPIED = ("sal", "baselines", "paper", "tests", "benchmarks", "pyproject.toml")


@dataclass(frozen=True)
class Mutant:
    """One line, what becomes of it, and the test that fails then."""

    what: str
    file: str
    line: str
    becomes: str
    test: str


MUTANTS = (
    Mutant(
        "beyond its first block of inputs a kernel takes the weights of the first replica's area 0",
        "sal/triton_areas.py",
        "            w_DH = _load(w_RKDH + rk * D * H, d_D, d_D < D, h_H, h_H < H, H)",
        "            w_DH = _load(w_RKDH + (d < 1) * rk * D * H, d_D, d_D < D, h_H, h_H < H, H)",
        "tests/test_triton.py::test_each_replica_is_bit_identical_to_itself_alone",
    ),
    Mutant(
        "a sample takes the area that it fits least (eq. 3)",
        "sal/net.py",
        "    return torch.argmax(scores_RBK, dim=-1)",
        "    return torch.argmin(scores_RBK, dim=-1)",
        "tests/test_sal_reference.py::test_values_and_routes_equal_the_reference",
    ),
    Mutant(
        "the router moves by the sum over the batch, not the mean (eq. 9)",
        "sal/descent.py",
        "    target.router_RDF.baddbmm_(trace.x_RBD.mT, q_RBF, alpha=-rate)",
        "    target.router_RDF.baddbmm_(trace.x_RBD.mT, q_RBF, alpha=-lr)",
        "tests/test_sal_reference.py::test_twenty_steps_equal_twenty_reference_steps",
    ),
    Mutant(
        "the error is the softmax, without the target",
        "sal/net.py",
        "    return e_RBC.scatter_add_(-1, y_RB1, torch.full_like(y_RB1, -1, dtype=e_RBC.dtype))",
        "    return e_RBC",
        "tests/test_sal_reference.py::test_update_equals_the_reference",
    ),
    Mutant(
        "ReLU's derivative is one at zero (eq. 6)",
        "sal/net.py",
        "        return delta_RBH * (f_RBH > 0)",
        "        return delta_RBH * (f_RBH >= 0)",
        "tests/test_sal_reference.py::test_update_equals_the_reference",
    ),
    Mutant(
        "an update goes up the gradient (eq. 7)",
        "sal/areas.py",
        "            rate = -lr * _share(norm, K, m, len(index_S))",
        "            rate = lr * _share(norm, K, m, len(index_S))",
        "tests/test_properties.py::"
        "test_an_update_is_the_sum_over_an_areas_samples_in_any_order_and_others_stay",
    ),
    Mutant(
        "an area's fair share is the whole batch (eq. 8)",
        "sal/areas.py",
        '    return {"share": areas / batch, "batch": 1 / batch, "count": 1 / count}[norm]',
        '    return {"share": 1 / batch, "batch": 1 / batch, "count": 1 / count}[norm]',
        "tests/test_sal_limits.py::test_share_makes_the_step_k_times_as_large_as_batch",
    ),
    Mutant(
        "areas that nobody chose are written to",
        "sal/areas.py",
        "        x_RKBD = torch.where(mask_RKB1, x_RBD.unsqueeze(1), 0)"
        "  # for 0 times a NaN would be one",
        "        x_RKBD = x_RBD.unsqueeze(1) * mask_RKB1",
        "tests/test_sal_limits.py::"
        "test_a_sample_that_is_not_finite_spoils_no_area_but_its_own[masked]",
    ),
    Mutant(
        "every layer gets the same random numbers",
        "sal/streams.py",
        "        sequence = np.random.SeedSequence(self.seed, "
        "spawn_key=(STREAMS.index(name), *index))",
        "        sequence = np.random.SeedSequence(self.seed, spawn_key=(STREAMS.index(name),))",
        "tests/test_train.py::test_streams_of_different_names_indices_and_seeds_are_different",
    ),
    Mutant(
        "every epoch has the order of the first",
        "sal/train.py",
        '            torch.randperm(samples, generator=replica.generator("order", epoch))',
        '            torch.randperm(samples, generator=replica.generator("order", 0))',
        "tests/test_train.py::test_an_epoch_visits_every_sample_once_in_an_order_of_its_own",
    ),
    Mutant(
        "accuracy is averaged over batches of unequal size",
        "sal/train.py",
        '            "accuracy": round(100 * correct_R[r].item() / M, 4),',
        '            "accuracy": round(100 * correct_R[r].item() / (M // batch * batch or M), 4),',
        "tests/test_train.py::test_evaluation_averages_over_samples_and_not_over_batches",
    ),
    Mutant(
        "feedback reaches another unit than its own (eq. 6)",
        "sal/feedback.py",
        "    return e_RBC if b_RCH is None else e_RBC @ b_RCH",
        "    return e_RBC if b_RCH is None else e_RBC @ b_RCH.flip(2)",
        "tests/test_feedback.py::test_direct_feedback_is_the_papers_formula",
    ),
    Mutant(
        "the compiled engine shares an update by the samples of the batch alone (eq. 8)",
        "sal/kernels.py",
        "        share = K / rows if norm == SHARE else 1 / rows if norm == BATCH else 1 / count",
        "        share = 1 / rows if norm == SHARE else 1 / rows if norm == BATCH else 1 / count",
        "tests/test_engines.py::test_a_compiled_epoch_equals_the_steps_in_pytorch",
    ),
)


def survivors() -> list[str]:
    """Puts in one defect after the other; returns what should have failed and did not."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        if failed := _failed(copy, *{mutant.test for mutant in MUTANTS}):
            return [f"without any defect: {failed}"]
        return [mutant.what for mutant in tqdm(MUTANTS) if not _found(copy, mutant)]


def _found(copy: Path, mutant: Mutant) -> bool:
    file = copy / mutant.file
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole.replace(mutant.line, mutant.becomes), encoding="utf-8")
    try:
        failed = _failed(copy, mutant.test)
    finally:
        file.write_text(whole, encoding="utf-8")
    tqdm.write(f"{'found' if failed else 'NOT FOUND'}: {mutant.what}")
    return failed is not None


def _failed(copy: Path, *tests: str) -> str | None:
    """The first test that fails; None where all pass.

    Raises:
        RuntimeError: They could not be run.
    """
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(
        command,
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
    )
    if done.returncode == 0:
        return None
    if done.returncode != 1:
        raise RuntimeError(f"{' '.join(tests)} could not be run:\n{done.stdout}{done.stderr}")
    return next(line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR")))


if __name__ == "__main__":
    survived = survivors()
    for what in survived:
        print(f"error: no test fails: {what}", file=sys.stderr)
    print(f"{len(MUTANTS) - len(survived)} of {len(MUTANTS)} defects found")
    sys.exit(1 if survived else 0)
