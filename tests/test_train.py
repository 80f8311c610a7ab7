"""The trainer, its data and its random streams."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import cross_entropy

from baselines import BP, BPConfig
from sal import SAL, SALConfig, Streams
from sal.data import load
from sal.data.partition import Partition, partition, resized
from sal.data.pixels import Pixels
from sal.run import Run, execute
from sal.streams import STREAMS
from sal.train import Outcome, Protocol, epoch_order, evaluate, train

SHORT = Protocol(epochs=3, lr=0.01)


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def build(streams, areas=4, **choices):
    return SAL(SALConfig(areas=(areas,), **choices), 64, 10, streams)


def run(digits, seeds=(0,), protocol=SHORT, **options):
    streams = [Streams(seed) for seed in seeds]
    learner = build(streams)
    return train(learner, partition(digits, streams), streams, protocol, **options)


# Random streams


def test_streams_of_different_names_indices_and_seeds_are_different():
    seeds = [
        Streams(seed).integer(name, *index)
        for seed in range(20)
        for name in STREAMS
        for index in [(), (0,), (1,), (0, 1), (1, 0)]
    ]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize("seed", [-1, 1.5, True, None])
def test_a_seed_is_a_count(seed):
    with pytest.raises(ValueError, match="seed must be an integer >= 0"):
        Streams(seed)


def test_an_unknown_stream_is_refused():
    with pytest.raises(ValueError, match="no random stream named 'noise'"):
        Streams(0).generator("noise")


# Data


def test_signed_pixels_run_from_minus_one_to_one_and_unit_pixels_from_zero():
    images = torch.tensor([[[0, 8], [16, 4]]], dtype=torch.uint8)
    signed, unit = (Pixels.of(images, 16, scaling) for scaling in ("signed", "unit"))
    assert signed[torch.tensor([0])].tolist() == [[-1.0, 0.0, 1.0, -0.5]]
    assert unit[torch.tensor([0])].tolist() == [[0.0, 0.5, 1.0, 0.25]]
    with pytest.raises(ValueError, match="pixels must be one of 'signed', 'unit'"):
        Pixels.of(images, 16, "standard")


def test_a_set_without_a_test_part_is_split_80_to_20_by_class_and_seed(digits):
    streams = [Streams(seed) for seed in (0, 1)]
    parts = partition(digits, streams)
    assert parts.train_index_RN.shape == (2, 1437)
    for train_N, val_M in zip(parts.train_index_RN, parts.val_index_RM, strict=True):
        assert sorted([*train_N.tolist(), *val_M.tolist()]) == list(range(1797))
        counts = torch.bincount(digits.train_labels, minlength=10)
        share = torch.bincount(digits.train_labels[val_M], minlength=10) / counts
        assert (share - 0.2).abs().max() < 0.01
    assert not torch.equal(parts.val_index_RM[0], parts.val_index_RM[1])
    again = partition(digits, streams[1:])
    assert torch.equal(again.val_index_RM[0], parts.val_index_RM[1])


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_the_share_that_validates_is_the_one_asked_for(digits, share):
    parts = partition(digits, [Streams(0)], validation_share=share)
    assert parts.val_index_RM.shape[1] == pytest.approx(share * 1797, abs=1)
    assert parts.train_index_RN.shape[1] + parts.val_index_RM.shape[1] == 1797
    percent = round(100 * share)
    assert parts.split == f"stratified {100 - percent}/{percent} of the seed"


@pytest.mark.parametrize("pixel_max", [1, 16, 255])
@pytest.mark.parametrize("size", [5, 16, 21])
def test_images_are_resized_as_pil_does_with_those_of_a_file(pixel_max, size):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, pixel_max + 1, (4, 16, 16), generator=generator).to(torch.uint8)
    ours, largest = resized(images, pixel_max, size)
    assert (largest, ours.shape) == (255, (4, size, size))
    for image, own in zip(images.numpy(), ours.numpy(), strict=True):
        file = Image.fromarray(np.uint8(np.round(image * (255 / pixel_max))))
        wanted = np.asarray(file.resize((size, size), Image.Resampling.BILINEAR))
        assert np.abs(own.astype(int) - wanted.astype(int)).max() <= 1
    same, largest = resized(images, pixel_max, None)
    assert same is images
    assert largest == pixel_max


def test_a_share_that_leaves_a_part_without_classes_is_refused_by_name(digits):
    with pytest.raises(ValueError, match="validation_share 0.001 does not split Digits"):
        partition(digits, [Streams(0)], validation_share=0.001)


def test_a_run_on_resized_images_has_a_net_of_their_size(digits):
    protocol = Protocol(epochs=1, size=4)
    run = Run(dataset="digits", learner="bp", config=BPConfig(), seed=0, protocol=protocol)
    made = []

    class Spy(BP):
        def __init__(self, config, in_features, *others):
            made.append(in_features)
            super().__init__(config, in_features, *others)

    execute(run, Spy, digits)
    execute(dataclasses.replace(run, protocol=Protocol(epochs=1)), Spy, digits)
    assert made == [16, 64]


# Order


def test_an_epoch_visits_every_sample_once_in_an_order_of_its_own():
    streams = [Streams(0), Streams(1)]
    orders = [epoch_order(streams, epoch, 50) for epoch in (0, 1)]
    for order in orders:
        assert all(sorted(row) == list(range(50)) for row in order.tolist())
    rows = {tuple(row) for order in orders for row in order.tolist()}
    assert len(rows) == 4


def test_every_method_of_a_seed_sees_the_same_batches(digits):
    class Spy:
        def __init__(self, learner):
            self.learner, self.seen = learner, []

        def __getattr__(self, name):
            return getattr(self.learner, name)

        def epoch(self, x_ND, y_N, order_RM, batch_size, lr):
            self.seen.append((order_RM.clone(), batch_size, lr))

    streams, seen = [Streams(7)], []
    for learner in (build(streams), build(streams, 16), BP(BPConfig(), 64, 10, streams)):
        spy = Spy(learner)
        train(spy, partition(digits, streams), streams, SHORT)
        seen.append(spy.seen)
    for other in seen[1:]:
        for (order, *rest), (other_order, *other_rest) in zip(seen[0], other, strict=True):
            assert torch.equal(order, other_order)
            assert rest == other_rest


# Evaluation


def test_evaluation_averages_over_samples_and_not_over_batches(digits, monkeypatch):
    monkeypatch.setattr("sal.train.EVAL_BATCH", (1, 250))  # 1437 = 5 * 250 + 187
    streams = [Streams(0), Streams(1)]
    learner, parts = build(streams), partition(digits, streams)
    results = evaluate(learner, parts.train_x_ND, parts.train_y_N, parts.train_index_RN, usage=True)
    for r, result in enumerate(results):
        x = parts.train_x_ND[parts.train_index_RN]
        y = parts.train_y_N[parts.train_index_RN[r]]
        z = learner.logits(x)[r]
        assert result["loss"] == pytest.approx(cross_entropy(z, y).item(), abs=2e-6)
        assert result["accuracy"] == pytest.approx(
            100 * (z.argmax(1) == y).double().mean().item(), abs=1e-4
        )
        shares = torch.bincount(learner.routes(x)["layer0"][r], minlength=4) / 1437
        assert result["usage:layer0"] == pytest.approx(shares.tolist(), abs=1e-4)


# Training


def test_one_value_of_every_metric_an_epoch(digits):
    (outcome,) = run(digits)
    assert set(outcome.history) == {
        "accuracy", "train_accuracy", "train_loss", "val_loss", "usage:layer0"
    }  # fmt: skip
    assert all(len(values) == 3 for values in outcome.history.values())
    assert all(
        sum(shares) == pytest.approx(1, abs=1e-3) for shares in outcome.history["usage:layer0"]
    )
    assert outcome.history["train_loss"][-1] < outcome.history["train_loss"][0]
    assert outcome.last("accuracy") == outcome.history["accuracy"][-1]
    assert outcome.seconds > 0


def test_same_seed_same_weights_and_history(digits):
    (first,), (second,), (other,) = run(digits), run(digits), run(digits, seeds=(1,))
    assert (first.weights_sha256, first.history) == (second.weights_sha256, second.history)
    assert other.weights_sha256 != first.weights_sha256


def test_the_process_thread_count_changes_no_bit_and_is_left_alone(digits):
    (one,), before = run(digits), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        (two,) = run(digits)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert one.weights_sha256 == two.weights_sha256


def test_replicas_side_by_side_equal_runs_alone(digits):
    together = run(digits, seeds=(0, 1))
    for seed, outcome in enumerate(together):
        (alone,) = run(digits, seeds=(seed,))
        assert (outcome.weights_sha256, outcome.history) == (alone.weights_sha256, alone.history)


def test_a_diverged_replica_has_a_status_and_no_last_value(digits):
    (outcome,) = run(digits, protocol=Protocol(epochs=3, lr=1e30))
    assert outcome.status == "diverged"
    assert outcome.last("accuracy") is None
    assert len(outcome.history.get("accuracy", [])) < 3


def test_a_run_killed_after_any_epoch_and_resumed_ends_with_the_same_bits(digits, tmp_path):
    (whole,) = run(digits)

    class Killed(Exception):
        pass

    for stop in (1, 2):
        path = tmp_path / "run.pt"

        def kill(epoch, outcomes, stop=stop):
            if epoch == stop + 1:  # in the epoch after a checkpoint
                raise Killed

        with pytest.raises(Killed):
            run(digits, checkpoint=path, checkpoint_after=0, on_epoch=kill)
        epochs = []

        def note(epoch, outcomes, epochs=epochs):
            epochs.append(epoch)

        assert path.exists()
        (resumed,) = run(digits, checkpoint=path, checkpoint_after=0, on_epoch=note)
        assert epochs == list(range(stop + 1, 4)), "it went on and did not start anew"
        assert resumed.weights_sha256 == whole.weights_sha256
        assert resumed.history == whole.history
        path.unlink()  # the caller's, once the outcome is safe


def test_short_runs_write_no_checkpoint(digits, tmp_path):
    seen = []
    run(
        digits,
        checkpoint=tmp_path / "run.pt",
        on_epoch=lambda n, o: seen.extend(tmp_path.iterdir()),
    )
    assert seen == []


def test_a_checkpoint_of_another_run_is_refused(digits, tmp_path):
    path = tmp_path / "run.pt"

    def kill(epoch, outcomes):
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(digits, checkpoint=path, checkpoint_after=0, on_epoch=kill)
    for other in ({"protocol": Protocol(epochs=4, lr=0.01)}, {"seeds": (1,)}):
        with pytest.raises(ValueError, match="is of another run"):
            run(digits, checkpoint=path, **other)


def test_a_checkpoint_that_cannot_be_written_is_a_warning_and_the_run_goes_on(digits, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning) as warned:
        (outcome,) = run(digits, checkpoint=tmp_path / "file" / "run.pt", checkpoint_after=0)
    starts = [str(warning.message).split(":")[0] for warning in warned]
    assert starts == [f"no checkpoint of epoch {epoch}" for epoch in (1, 2, 3)]
    assert outcome.weights_sha256 == run(digits)[0].weights_sha256


def test_a_checkpoint_that_is_cut_off_is_set_aside_and_the_run_starts_anew(digits, tmp_path):
    path = tmp_path / "run.pt"
    path.write_bytes(b"PK\x03\x04 cut off")
    with pytest.warns(UserWarning, match="cannot be read"):
        (outcome,) = run(digits, checkpoint=path)
    assert outcome.weights_sha256 == run(digits)[0].weights_sha256


def damaged(path, how):
    """A checkpoint that is no longer what was written."""
    whole = path.read_bytes()
    if how == "a byte":
        at = len(whole) // 2
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    elif how == "half":
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        torch.save(how, path)


@pytest.mark.parametrize("how", ["a byte", "half", "empty", {}, [1, 2]])
def test_a_checkpoint_that_is_damaged_is_set_aside_and_the_run_starts_anew(digits, tmp_path, how):
    path = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        run(digits, checkpoint=path, checkpoint_after=0, on_epoch=stop_at(2))
    damaged(path, how)
    epochs = []
    with pytest.warns(UserWarning, match="run.pt cannot be read, the run starts anew"):
        (outcome,) = run(
            digits,
            checkpoint=path,
            checkpoint_after=math.inf,
            on_epoch=lambda epoch, outcomes: epochs.append(epoch),
        )
    assert epochs[0] == 1 and outcome.weights_sha256 == run(digits)[0].weights_sha256


def stop_at(last):
    def on_epoch(epoch, outcomes):
        if epoch == last:
            raise KeyboardInterrupt

    return on_epoch


# Bad input


def hand_made(x=None, y=None):
    x = torch.zeros(20, 64) if x is None else x
    y = torch.zeros(20, dtype=torch.int64) if y is None else y
    index = torch.arange(20)[None]
    return Partition("by hand", x, y, index, x, y, index)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (hand_made(x=torch.zeros(20, 81)), "takes 64 inputs, the training images have 81 pixels"),
        (hand_made(y=torch.full((20,), 10)), "must be in 0 to 9, got 10 to 10"),
        (hand_made(y=torch.full((20,), -1)), "must be in 0 to 9, got -1 to -1"),
    ],
)
def test_data_that_do_not_fit_the_net_are_refused_before_training(data, message):
    streams = [Streams(0)]
    learner = build(streams)
    before = learner.digest(0)
    with pytest.raises(ValueError, match=message):
        train(learner, data, streams, SHORT)
    assert learner.digest(0) == before


def test_another_number_of_replicas_is_refused(digits):
    with pytest.raises(ValueError, match="has 2 replicas"):
        train(build([Streams(0), Streams(1)]), partition(digits, [Streams(0)]), [Streams(0)], SHORT)


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"lr": 0.0},
        {"lr": float("inf")},
        {"pixels": "x"},
        {"size": 0},
        {"size": 2.5},
        {"validation_share": 1.0},
    ],
)
def test_a_protocol_out_of_range_is_refused_by_field(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        Protocol(**values)


def test_an_outcome_starts_empty():
    assert Outcome().status == "ok"
    assert Outcome().history == {}


def test_logits_of_another_shape_and_streams_of_other_replicas_are_refused(digits):
    streams = [Streams(0)]
    data = partition(digits, streams)

    class Wide(BP):
        def logits(self, x):
            return super().logits(x).repeat(1, 1, 2)

    wide = Wide(BPConfig(), 64, 10, streams)
    with pytest.raises(
        ValueError, match=r"logits of bp must be .*\(1, 1437, 10\); got \(1, 1437, 20\)"
    ):
        train(wide, data, streams, SHORT)
    two = [Streams(0), Streams(1)]
    with pytest.raises(ValueError, match="the net has 1 replicas, got streams of 2"):
        train(BP(BPConfig(), 64, 10, streams), data, two, SHORT)
