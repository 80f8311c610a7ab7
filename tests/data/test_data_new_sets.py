"""SVHN, PCam and MedMNIST's sets: digests that nobody knows yet, maps, and what is refused."""

import errno
import io
import json
import logging
import os

import numpy as np
import pytest
import scipy.io
import torch

from sal.data import (
    DATASETS,
    DataCorrupt,
    DataError,
    UnsupportedDataset,
    content_sha256,
    find,
    load,
    medmnist_sets,
    store,
)


def svhn_with(official, **changes):
    """SVHN's training file with other arrays in it."""
    stored = scipy.io.loadmat(io.BytesIO(official.files["train_32x32.mat"]))
    packed = io.BytesIO()
    scipy.io.savemat(packed, {"X": stored["X"], "y": stored["y"]} | changes)
    official.files["train_32x32.mat"] = packed.getvalue()
    return official


def test_the_paper_s_ten_are_there_with_its_total_samples():
    totals = {"CIFAR-10": 60000, "PCam": 327680, "STL-10": 13000, "SVHN": 99289, "MNIST": 70000,
              "Fashion-MNIST": 70000, "Digits": 1797, "USPS": 9298, "Semeion": 1593,
              "FER2013": 35887}  # fmt: skip
    assert {spec.title: spec.total for spec in DATASETS.values()} == totals
    for spec in DATASETS.values():
        for part, counts in spec.class_counts.items():
            assert len(counts) == spec.n_classes
            assert sum(counts) == spec.counts[part]
        assert spec.class_counts or spec.key == "pcam"


def test_svhns_ten_is_the_digit_0(make, publish, root):
    publish(svhn_with(make("svhn"), y=np.array([[10], [1], [9], [10]], np.uint8)))
    with pytest.raises(DataCorrupt):
        load("svhn", root=root)  # the digest is that of other labels
    official = svhn_with(make("svhn"), y=np.array([[10], [1], [9], [10]], np.uint8))
    official.arrays["train_labels"] = np.array([0, 1, 9, 0])
    publish(official)
    assert load("svhn", root=root).train_labels.tolist() == [0, 1, 9, 0]


def test_a_label_out_of_range_in_svhn_is_refused(make, publish, root):
    publish(svhn_with(make("svhn"), y=np.array([[11], [1], [9], [10]], np.uint8)))
    with pytest.raises(DataCorrupt, match="a label 11; wanted 0 to 9"):
        load("svhn", root=root)


def test_svhn_of_another_size_is_refused(make, publish, root):
    publish(svhn_with(make("svhn"), X=np.zeros((32, 31, 3, 4), np.uint8)))
    with pytest.raises(DataCorrupt, match=r"H x W = \[31, 32\]|H x W = \[32, 31\]"):
        load("svhn", root=root)


NAME = "camelyonpatch_level_2_split_train"


@pytest.mark.parametrize(
    ("file", "name", "array", "why"),
    [
        ("y", "y", np.full((5, 1, 1, 1), 2, np.uint8), "a label 2; wanted 0 to 1"),
        ("y", "labels", np.zeros((5, 1, 1, 1), np.uint8), "can't be parsed.*KeyError"),
        ("x", "x", np.zeros((5, 96, 95, 3), np.uint8), r"H x W = \[96, 95\]"),
        ("x", "x", np.zeros((5, 96, 96, 4), np.uint8), "three colours"),
        ("x", "x", np.zeros((5, 96, 96, 3), np.float32), "float32.*wanted uint8"),
        ("x", "x", np.zeros((4, 96, 96, 3), np.uint8), "4 images, 5 labels"),
        ("x", None, None, "can't be parsed"),
    ],
)
def test_pcam_files_that_are_not_what_they_should_be_are_refused(
    file, name, array, why, make, publish, root, pack_h5
):
    official = make("pcam")
    content = pack_h5(name, array) if name else b"\x1f\x8b" + bytes(100)
    official.files[f"{NAME}_{file}.h5.gz"] = content
    publish(official)
    with pytest.raises(DataCorrupt, match=why):
        load("pcam", root=root)
    assert not (root / "pcam").exists() and not (root / ".partial-pcam").exists()


def test_pcam_is_mapped_and_not_read(make, publish, root):
    publish(make("pcam"))
    dataset = load("pcam", root=root)
    with open("/proc/self/maps") as maps:
        assert str(root / "pcam" / "train_images.npy") in maps.read().replace(
            ".partial-pcam", "pcam"
        )
    assert dataset.val_images.shape == (2, 96, 96)
    assert torch.equal(load("pcam", root=root).train_images, dataset.train_images)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda folder: (folder / "val_labels.npy").unlink(), "it holds .*wanted"),
        (lambda folder: np.save(folder / "more.npy", np.zeros(1)), "it holds .*more"),
        (lambda folder: (folder / "train_images.npy").write_bytes(b"no npy"), "not a readable"),
        (lambda folder: np.save(folder / "train_labels.npy", np.zeros(5)), "float64; wanted int64"),
        (
            lambda folder: np.save(folder / "train_images.npy", np.zeros((5, 96, 96), np.uint8)),
            "digest differs",
        ),
        (
            lambda folder: (folder / "train_images.npy").write_bytes(
                (folder / "train_images.npy").read_bytes()[:-1]
            ),
            "not a readable",
        ),
    ],
)
def test_a_folder_that_is_not_the_official_data_is_refused(damage, why, make, publish, root):
    publish(make("pcam"))
    load("pcam", root=root)
    damage(root / "pcam")
    with pytest.raises(DataCorrupt, match=why) as caught:
        load("pcam", root=root)
    assert f"Delete {root / 'pcam'} and" in str(caught.value)


def test_a_digest_that_nobody_knows_is_recorded_at_first_use_and_said_so(
    make, publish, root, caplog
):
    official = make("svhn")
    publish(official, content_sha256=None)
    digest = load("svhn", root=root).sha256
    assert digest == content_sha256(official.arrays)
    assert f"train_32x32.mat, test_32x32.mat, {digest}, is now recorded in" in caplog.text
    assert json.loads((root / "digests.json").read_text()) == {"svhn": digest}
    caplog.clear()
    load("svhn", root=root)
    assert caplog.text == ""
    arrays = official.arrays | {"train_labels": (official.arrays["train_labels"] + 1) % 10}
    np.savez(root / "svhn.npz", **arrays)
    with pytest.raises(DataCorrupt, match=f"expected: {digest}") as caught:
        load("svhn", root=root)
    assert f"that of {root / 'digests.json'}, recorded at first use" in str(caught.value)


def test_a_prepared_file_of_unknown_digest_is_taken_with_a_warning_and_not_recorded(
    make, publish, root, caplog
):
    official = make("svhn")
    publish(official, content_sha256=None)
    root.mkdir()
    np.savez(root / "svhn.npz", **official.arrays | {"train_labels": np.zeros(4, np.int64)})
    load("svhn", root=root, download=False)
    assert "nothing vouches for" in caplog.text
    (root / "svhn.npz").unlink()
    assert np.array_equal(load("svhn", root=root).train_labels, official.arrays["train_labels"])


def test_where_a_digest_cannot_be_recorded_that_is_said(make, publish, root, caplog, monkeypatch):
    def on_a_full_disk(path, write):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(store, "write_whole", on_a_full_disk)
    publish(make("svhn"), content_sha256=None)
    load("svhn", root=root)
    assert "is not recorded, since" in caplog.text


@pytest.mark.parametrize("content", ["{", "[1]", '{"svhn": 1}', "3"])
def test_a_record_of_digests_that_cannot_be_read_is_not_passed_over(content, make, publish, root):
    publish(make("svhn"), content_sha256=None)
    root.mkdir()
    (root / "digests.json").write_text(content)
    with pytest.raises(DataError, match="digests.json can't be read"):
        load("svhn", root=root)


def test_medmnists_flat_sets_are_those_of_the_package():
    info = pytest.importorskip("medmnist").INFO
    assert set(medmnist_sets.NAMES) == {name for name in info if not name.endswith("3d")}
    for name in medmnist_sets.NAMES:
        assert name not in DATASETS
        if name == "chestmnist":
            continue
        spec = find(name)
        assert spec.counts == info[name]["n_samples"]
        assert list(spec.classes) == [info[name]["label"][str(k)] for k in range(spec.n_classes)]


def test_a_set_with_many_labels_for_each_image_is_refused():
    pytest.importorskip("medmnist")
    with pytest.raises(UnsupportedDataset, match="14 labels for each image"):
        load("ChestMNIST")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "medmnist", None)
    medmnist_sets.spec.cache_clear()
    with pytest.raises(UnsupportedDataset, match="pip install"):
        find("pathmnist")


@pytest.fixture(autouse=True)
def warnings_are_caught(caplog):
    caplog.set_level(logging.WARNING, logger="sal.data")
