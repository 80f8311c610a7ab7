"""The prepared form: nothing but the official arrays gets through."""

import errno
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sal.data import (
    DATASETS,
    DataCorrupt,
    DataError,
    DataMissing,
    Dataset,
    UnknownDataset,
    content_sha256,
    data_dir,
    find,
    load,
)
from sal.data.__main__ import main


@pytest.fixture
def prepared(make, publish, server, root):
    """A small USPS, prepared in the folder: (path, spec, arrays)."""
    official = make("usps")
    spec = publish(official)
    load("usps", root=root)
    server.files.clear()
    return root / "usps.npz", spec, official.arrays


def test_the_digest_is_the_one_defined():
    arrays = {
        "train_labels": np.array([7, 2], dtype=np.int64),
        "train_images": np.asfortranarray(np.arange(8, dtype=np.uint8).reshape(2, 2, 2)),
    }
    text = b"train_imagesuint8(2, 2, 2)" + bytes(range(8))
    text += b"train_labelsint64(2,)" + (7).to_bytes(8, "little") + (2).to_bytes(8, "little")
    assert content_sha256(arrays) == hashlib.sha256(text).hexdigest()


@pytest.mark.data
@pytest.mark.parametrize("key", DATASETS)
def test_real_data_have_the_registry_digest(key, real_data_dir):
    if not (Path(real_data_dir) / DATASETS[key].file).exists():
        pytest.skip(f"{DATASETS[key].file} is not in SAL_DATA_DIR")
    dataset = load(key, root=real_data_dir, download=False)
    assert dataset.sha256 == DATASETS[key].content_sha256 or DATASETS[key].content_sha256 is None
    assert len(dataset.train_labels.unique()) == dataset.n_classes
    assert int(dataset.train_images.max()) == dataset.pixel_max


def truncated(path, arrays):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def one_byte_flipped(path, arrays):
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)


def empty(path, arrays):
    path.write_bytes(b"")


def some_text(path, arrays):
    path.write_text("<html>Please log in</html>")


def bare_npy(path, arrays):
    with path.open("wb") as file:
        np.save(file, arrays["train_images"])


def folder(path, arrays):
    path.unlink()
    path.mkdir()


def saved(path, arrays, **changes):
    arrays = arrays | changes
    np.savez(path, **{key: array for key, array in arrays.items() if array is not None})


def object_array(path, arrays):
    saved(path, arrays, train_labels=np.array([0, None, 2, 3], dtype=object))


def missing_part(path, arrays):
    saved(path, arrays, test_images=None, test_labels=None)


def extra_array(path, arrays):
    saved(path, arrays, val_images=arrays["test_images"])


def narrow_labels(path, arrays):
    saved(path, arrays, train_labels=arrays["train_labels"].astype(np.int32))


def one_pixel_changed(path, arrays):
    images = arrays["train_images"].copy()
    images[0, 0, 0] ^= 1
    saved(path, arrays, train_images=images)


def label_out_of_range(path, arrays):
    saved(path, arrays, test_labels=np.array([0, 10, 1]))


def wrong_image_size(path, arrays):
    saved(path, arrays, train_images=np.zeros((4, 16, 15), np.uint8))


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (truncated, "not a readable npz"),
        (one_byte_flipped, "not a readable npz"),
        (empty, "not a readable npz"),
        (some_text, "not a readable npz"),
        (bare_npy, "not a readable npz"),
        (folder, "not a readable npz.*directory"),
        (object_array, "not a readable npz.*allow_pickle"),
        (missing_part, r"holds \['train_images', 'train_labels'\]; wanted \['test_images'"),
        (extra_array, "holds .*val_images"),
        (narrow_labels, "train_labels is int32; wanted int64"),
        (one_pixel_changed, "the content digest differs"),
        (label_out_of_range, "test part: a label 10; wanted 0 to 9"),
        (wrong_image_size, r"H x W = \[16, 15\]; wanted \[16, 16\]"),
    ],
)
def test_a_file_that_is_not_the_official_data_is_refused(damage, why, prepared, root, server):
    path, spec, arrays = prepared
    damage(path, arrays)
    server.requests.clear()
    with pytest.raises(DataCorrupt, match=why) as caught:
        load("usps", root=root)
    message = str(caught.value)
    assert str(path) in message and "Delete" in message
    assert f"expected: {spec.content_sha256}" in message and "found: " in message
    assert path.exists() and server.requests == []  # nothing is deleted or fetched unasked


def test_a_file_that_cannot_be_read_is_not_called_corrupt(prepared, root, monkeypatch):
    def exhausted(*args, **options):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(np, "load", exhausted)
    with pytest.raises(DataError, match="usps.npz can't be read: Cannot allocate memory") as caught:
        load("usps", root=root)
    assert type(caught.value) is DataError


def test_deleting_the_corrupt_file_and_loading_again_works(prepared, make, publish, root):
    path, _, arrays = prepared
    truncated(path, arrays)
    path.unlink()
    publish(make("usps"))
    assert load("usps", root=root).name == "usps"


def test_a_corrupt_digits_file_is_not_passed_over(root):
    root.mkdir()
    some_text(root / "digits.npz", {})
    with pytest.raises(DataCorrupt, match="Delete"):
        load("digits", root=root)


SPEC = replace(DATASETS["semeion"], counts={"train": 3}, class_counts={}, size=(2, 2))
GOOD = {
    "train_images": torch.tensor([[[0, 1], [1, 0]]] * 3, dtype=torch.uint8),
    "train_labels": torch.tensor([0, 9, 4]),
    "test_images": None,
    "test_labels": None,
}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"train_images": GOOD["train_images"].float()}, "float32; wanted torch.uint8"),
        ({"train_images": GOOD["train_images"].numpy()}, "ndarray; wanted a tensor"),
        ({"train_images": GOOD["train_images"].flatten(1)}, r"shape \[3, 4\]; wanted axes"),
        ({"train_images": GOOD["train_images"][:, :1]}, r"H x W = \[1, 2\]; wanted \[2, 2\]"),
        ({"train_images": GOOD["train_images"][:2]}, "2 images, 3 labels"),
        ({"train_images": GOOD["train_images"] * 2}, "a pixel of 2; wanted at most 1"),
        ({"train_labels": GOOD["train_labels"].int()}, "int32; wanted torch.int64"),
        ({"train_labels": torch.tensor([0, 10, 4])}, "a label 10; wanted 0 to 9"),
        ({"train_labels": torch.tensor([0, -1, 4])}, "a label -1; wanted 0 to 9"),
        ({"train_labels": None}, "NoneType; wanted a tensor"),
        ({"test_labels": torch.tensor([1])}, "no such official part"),
        ({"spec": replace(SPEC, counts={"train": 4})}, "3 images; wanted the official 4"),
        ({"spec": replace(SPEC, counts={"train": 3, "test": 1})}, "test part: images are NoneType"),
        (
            {"spec": replace(SPEC, class_counts={"train": (1, 0, 0, 1, 0, 0, 0, 0, 0, 1)})},
            r"\[1, 0, 0, 0, 1, .* images a class; wanted the official \[1, 0, 0, 1,",
        ),
    ],
)
def test_a_dataset_that_disagrees_with_its_spec_cannot_be_made(change, why):
    Dataset(**({"spec": SPEC, "sha256": ""} | GOOD))
    with pytest.raises(DataCorrupt, match=why):
        Dataset(**({"spec": SPEC, "sha256": ""} | GOOD | change))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("digits", "digits"),
        ("Fashion-MNIST", "fashion_mnist"),
        ("fashion-mnist", "fashion_mnist"),
        ("FASHION_MNIST", "fashion_mnist"),
        ("CIFAR-10", "cifar10"),
        ("stl-10", "stl10"),
        ("PCam", "pcam"),
        ("FER 2013", "fer2013"),
    ],
)
def test_a_name_is_a_key_or_a_title_in_any_case(name, key):
    assert find(name).key == key


def test_an_unknown_name_lists_the_known_ones_and_the_closest():
    with pytest.raises(UnknownDataset, match="'minst'.*mean 'mnist'.*digits, semeion, usps"):
        load("minst")
    with pytest.raises(UnknownDataset, match="None"):
        load(None)


def test_the_folder_is_the_argument_then_the_variable_then_the_users_cache(monkeypatch, tmp_path):
    assert data_dir().name == "data" and data_dir().is_absolute()
    monkeypatch.setenv("SAL_DATA_DIR", str(tmp_path / "a"))
    assert data_dir() == tmp_path / "a"
    assert data_dir(tmp_path / "b") == tmp_path / "b"


def test_the_variable_leads_to_the_prepared_file(prepared, root, monkeypatch):
    monkeypatch.setenv("SAL_DATA_DIR", str(root))
    assert load("usps", download=False).name == "usps"
    with pytest.raises(DataMissing):
        load("mnist", download=False)


def test_the_command_reports_each_set_and_fails_if_one_is_missing(root, monkeypatch, capsys):
    assert main(["digits", "--root", str(root)]) == 0
    out = capsys.readouterr().out
    assert "Digits" in out and "1797" in out and "digest ok" in out
    monkeypatch.setenv("SAL_OFFLINE", "1")
    assert main(["--all", "--root", str(root)]) == 1
    out, err = capsys.readouterr()
    assert out.count("DataMissing") == 9 and out.count("digest ok") == 1
    assert all(spec.title in out for spec in DATASETS.values())
    assert "python -m sal.data stl10" in err


@pytest.mark.parametrize("arguments", [[], ["minst"], ["digits", "--all"]])
def test_the_command_refuses_bad_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
