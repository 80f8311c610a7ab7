"""The mechanism's measures: cases whose value is known; and that looking changes nothing."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console
from rows import row, write

from baselines import learner_class
from paper import mechanism, paths, runner
from paper.results import append
from sal.data import load
from sal.data.partition import partition
from sal.run import execute
from sal.streams import Streams
from sal.train import Protocol


def test_updates_of_one_matrix_agree_or_conflict_as_their_cosine():
    found = mechanism.interference(torch.tensor([[[2.0, 0.0]], [[0.0, 3.0]], [[-1.0, 0.0]]]))
    assert found["cosine"] == pytest.approx(-1 / 3, abs=1e-5), "0, -1, 0"
    assert found["conflict"] == pytest.approx(1 / 3, abs=1e-5)
    assert found["within"] == found["cosine"]
    assert found["across"] is None, "there is one area"


def test_classes_in_areas_of_their_own_do_not_conflict():
    update_CKN = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [-1.0, 0.0]]])
    found = mechanism.interference(update_CKN)
    assert found["conflict"] == 0 and found["cosine"] == 0
    assert found["within"] is None, "no area is moved by both"
    assert found["across"] == -1, "they would conflict if they shared their weights"


def test_within_and_across_are_told_apart():
    update_CKN = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[-1.0, 0.0], [0.0, 1.0]]])
    found = mechanism.interference(update_CKN)
    assert found["within"] == 0, "the mean of -1 and 1"
    assert found["across"] == 0
    assert found["cosine"] == 0 and found["conflict"] == 0


def test_a_class_that_moves_nothing_is_in_no_pair():
    found = mechanism.interference(torch.tensor([[[1.0, 1.0]], [[0.0, 0.0]], [[1.0, 1.0]]]))
    assert found["cosine"] == 1


def test_against_numpy_with_random_updates():
    update_CKN = torch.randn(4, 3, 7, generator=torch.Generator().manual_seed(0))
    u = update_CKN.double().numpy()

    def cos(a, b):
        return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())

    pairs = [(a, b) for a in range(4) for b in range(a + 1, 4)]
    found = mechanism.interference(update_CKN)
    assert found["cosine"] == pytest.approx(np.mean([cos(u[a], u[b]) for a, b in pairs]), abs=2e-5)
    within = [cos(u[a, k], u[b, k]) for a, b in pairs for k in range(3)]
    assert found["within"] == pytest.approx(np.mean(within), abs=2e-5)
    ends = [(k, j) for k in range(3) for j in range(3) if k != j]
    across = [cos(u[a, k], u[b, j]) for a, b in pairs for k, j in ends]
    assert found["across"] == pytest.approx(np.mean(across), abs=2e-5)


def test_an_area_that_is_the_class_tells_all_of_it_and_one_for_all_nothing():
    label_B = np.arange(1000) % 10
    assert mechanism.information(label_B, label_B) == pytest.approx(1)
    assert mechanism.information(np.zeros(1000, dtype=int), label_B) == pytest.approx(0)
    halves = mechanism.information(label_B // 5, label_B)
    assert halves == pytest.approx(math.log(2) / math.log(10), abs=0.01)


def test_areas_at_random_tell_nothing_however_many():
    random = np.random.default_rng(0)
    label_B = random.integers(0, 10, 360)
    found = [mechanism.information(random.integers(0, 16, 360), label_B) for _ in range(50)]
    assert np.mean(found) == pytest.approx(0, abs=0.01)


def test_small_updates_do_not_vanish():
    update_CKN = torch.tensor([[[1e-25, 0.0]], [[-1e-25, 0.0]]])
    assert mechanism.interference(update_CKN)["cosine"] == -1


@pytest.mark.parametrize(
    ("shares", "effect"), [([0.25] * 4, 1), ([1, 0, 0, 0], 0.25), ([0.5, 0.5, 0, 0], 0.5)]
)
def test_areas_in_effect_are_those_that_share_the_samples(shares, effect):
    assert mechanism.effective(shares) == pytest.approx(effect)


@pytest.mark.parametrize(("areas", "classes"), [(4, 8), (16, 8), (5, 10), (4, 10), (16, 10)])
def test_no_even_areas_tell_more_than_the_ceiling(areas, classes):
    label_B = np.sort(np.arange(1600) % classes)
    area_B = np.arange(1600) * areas // 1600
    found, most = mechanism.information(area_B, label_B), mechanism.ceiling(areas, classes)
    nested = areas % classes == 0 or classes % areas == 0
    assert found == pytest.approx(most, abs=0.01) if nested else 0.8 * most < found < most


def test_a_control_is_sal_with_a_hash_and_all_else_the_same():
    cells = mechanism.runs({}, ["digits"])
    ours, control = (cells["digits", "published", each] for each in ("SAL-16", "SAL-16, hash"))
    assert [replace(run, learner="sal") for run in control] == ours
    assert {run.learner for run in control} == {"sal_hash"}


@pytest.fixture(scope="module")
def parts():
    return partition(load("digits"), [Streams(0)])


def sal(parts, areas):
    method = learner_class("sal")
    config = method.Config(hidden=(12,), areas=(areas,), output_init_scale=1.0)
    return method(config, parts.train_x_ND.shape[1], 10, [Streams(0)])


@pytest.mark.parametrize("areas", [1, 4])
def test_the_angle_is_zero_if_the_feedback_is_the_transposed_weights(parts, areas):
    learner = sal(parts, areas)
    index = parts.train_index_RN[:, :64]
    batch = parts.train_x_ND[index], parts.train_y_N[index]
    found = mechanism.alignment(learner, *batch)
    assert 30 < found["angle:layer0"] < 150, "random feedback"
    assert found["angle:layer1"] == pytest.approx(0, abs=0.1), "the output layer's own error"
    learner.feedback0.copy_(learner.weight1[:, 0].transpose(1, 2))
    assert mechanism.alignment(learner, *batch)["angle:layer0"] == pytest.approx(0, abs=0.1)
    learner.feedback0.neg_()
    assert mechanism.alignment(learner, *batch)["angle:layer0"] == pytest.approx(180, abs=0.1)


@pytest.mark.parametrize("column", mechanism.COLUMNS)
def test_looking_changes_nothing(column):
    first = mechanism.runs({}, ["digits"], seeds=1)["digits", "published", column][0]
    learner, config = first.learner, replace(first.config, hidden=(16,))
    run = replace(first, config=config, protocol=Protocol(epochs=2, lr=0.01))
    data = load("digits")
    plain, _ = execute(run, learner_class(learner), data)
    probed, _ = execute(run, learner_class(learner), data, probe=mechanism.probe)
    assert probed.weights_sha256 == plain.weights_sha256
    extra = set(probed.history) - set(plain.history)
    expected = {f"{what}:layer{n}" for n in (0, 1) for what in ("cosine", "conflict", "within")}
    expected |= {"across:layer0", "across:layer1"}
    expected |= {"angle:layer0", "angle:layer1"} if learner == "sal" else set()
    expected |= {"information:layer0"} if getattr(config, "areas", (1,))[0] > 1 else set()
    assert extra == expected
    assert all(len(values) == 2 for values in probed.history.values())
    if getattr(config, "areas", (1,))[0] == 1:
        assert probed.history["across:layer0"] == [None, None], "there is one area"
        assert probed.history["within:layer0"] == probed.history["cosine:layer0"]


def test_the_probe_goes_with_the_runs_into_ledger_and_figure(tmp_path):
    place = paths.Place(tmp_path, published=True)
    assert mechanism.pages(place) == {}
    cells = mechanism.runs({}, ["digits"], seeds=2)
    assert {recipe for _, recipe, _ in cells} == {"published"}, "no step size was chosen yet"
    task = runner.Task.now("mechanism", "cpu", probe=mechanism.PROBE)
    for column in ("Baseline", "SAL-4"):
        for run in cells["digits", "published", column]:
            short = replace(run, protocol=replace(run.protocol, epochs=2))
            append(place.ledger("mechanism"), runner.run_row(short, task) | run.identity())
    frame = mechanism.curves(place)
    assert set(frame["column"]) == {"Baseline", "SAL-4"}
    nowhere = frame[frame["n"] == 0]
    assert nowhere["quantity"].str.startswith("across").all(), "of one matrix"
    assert set(nowhere["column"]) == {"Baseline", "SAL-4"}
    figure = mechanism.draw(frame)
    assert figure.axes[0].get_title() == "Digits, published step size"
    gone = [
        row(run, status="diverged", accuracy=None) for run in cells["digits", "published", "SAL-16"]
    ]
    write(place, "mechanism", gone)
    figure = mechanism.draw(mechanism.curves(place))
    assert figure.axes[0].get_title() == "Digits, published step size\nSAL-16: 2 diverged"
    mechanism.write(place, Console(quiet=True))
    assert place.figure("mechanism", "png").exists()
