"""Official formats, served locally, become the prepared arrays."""

import hashlib
import pickle
import tarfile
from itertools import product

import numpy as np
import pytest
import torch
import torchvision.datasets as tv
from PIL import Image

from sal.data import DATASETS, DataCorrupt, DataMissing, load
from sal.data.archives import extract
from sal.data.official import to_grey

FETCHED = [
    *("semeion", "usps", "mnist", "fashion_mnist", "cifar10", "stl10", "svhn", "pcam"),
    "pathmnist",
]


@pytest.mark.parametrize("key", FETCHED)
def test_official_files_become_the_arrays_they_describe(key, make, publish, root):
    official = make(key)
    spec = publish(official)
    dataset = load(key, root=root)
    for part, kind in product(("train", "val", "test"), ("images", "labels")):
        name = f"{part}_{kind}"
        found, wanted = getattr(dataset, name), official.arrays.get(name)
        if wanted is None:
            assert found is None
        else:
            assert found.dtype == (torch.uint8 if "images" in name else torch.int64)
            assert np.array_equal(found.numpy(), wanted)
    assert dataset.sha256 == spec.content_sha256
    assert (dataset.name, dataset.title) == (key, spec.title)
    assert dataset.in_features == dataset.train_images[0].numel()


@pytest.mark.parametrize("key", FETCHED)
def test_a_prepared_set_needs_no_server_and_leaves_no_other_file(key, make, publish, server, root):
    spec = publish(make(key))
    load(key, root=root)
    server.requests.clear()
    load(key, root=root)
    assert server.requests == []
    found = {path.name for path in root.iterdir() if not path.name.startswith(".")}
    assert found == {spec.file, "official"} and not list((root / "official").iterdir())
    assert {path.name for path in root.iterdir()} - found == {f".{key}.lock"}


def test_grey_is_pil_convert_l():
    rgb_NHWC = np.random.default_rng(1).integers(0, 256, (1100, 9, 7, 3), np.uint8)
    wanted = [np.asarray(Image.fromarray(rgb_HWC).convert("L")) for rgb_HWC in rgb_NHWC]
    assert np.array_equal(to_grey(rgb_NHWC), np.stack(wanted))


def test_digits_from_scikit_learn_has_the_registry_digest_without_folder_or_network(tmp_path):
    nowhere = tmp_path / "absent"
    dataset = load("digits", root=nowhere, download=False)
    assert dataset.sha256 == DATASETS["digits"].content_sha256
    assert dataset.train_images.shape == (1797, 8, 8) and dataset.test_images is None
    assert not nowhere.exists()


def test_checksums_and_addresses_are_torchvisions():
    def facts(key):
        source = DATASETS[key].sources[0]
        return {(file.name, file.md5, file.urls) for file in source.files}

    for key, parser in (("mnist", tv.MNIST), ("fashion_mnist", tv.FashionMNIST)):
        assert facts(key) == {
            (name, md5, tuple(mirror + name for mirror in parser.mirrors))
            for name, md5 in parser.resources
        }
    assert facts("usps") == {(name, md5, (url,)) for url, name, md5 in tv.USPS.split_list.values()}
    assert facts("semeion") == {(tv.SEMEION.filename, tv.SEMEION.md5_checksum, (tv.SEMEION.url,))}
    for key, parser in (("cifar10", tv.CIFAR10), ("stl10", tv.STL10)):
        assert facts(key) == {(parser.filename, parser.tgz_md5, (parser.url,))}
    (train, test) = (tv.SVHN.split_list[part] for part in ("train", "test"))
    assert facts("svhn") == {(name, md5, (url,)) for url, name, md5 in (train, test)}
    files = [file for part in tv.PCAM._FILES.values() for file in part.values()]
    assert {(name, md5) for name, md5, _ in facts("pcam")} == {
        (f"{name}.gz", md5) for name, _, md5 in files
    }
    for name, _, (zenodo, drive) in facts("pcam"):
        assert f"2546921/files/{name}?" in zenodo
        assert {f"{n}.gz": drive_id for n, drive_id, _ in files}[name] in drive
    (fer,) = DATASETS["fer2013"].sources
    assert fer.md5s == dict(tv.FER2013._RESOURCES[name] for name in ("fer", "icml"))


def test_official_files_with_another_digest_are_refused_and_not_kept(make, publish, root):
    publish(make("usps"), content_sha256="0" * 64)
    with pytest.raises(DataCorrupt, match="digest expected: 0{64}"):
        load("usps", root=root)
    assert not (root / "usps.npz").exists()


def test_official_files_with_another_count_are_refused(make, publish, root):
    publish(make("mnist"), counts={"train": 60000, "test": 3})
    with pytest.raises(DataCorrupt, match="train part: 5 images; wanted the official 60000"):
        load("mnist", root=root)


def test_a_damaged_official_file_is_refused_even_if_its_checksum_holds(make, publish, root):
    official = make("mnist")
    name = "train-images-idx3-ubyte.gz"
    official.files[name] = official.files[name][:-40]
    publish(official)
    with pytest.raises(DataCorrupt, match="can't be parsed"):
        load("mnist", root=root)


def test_an_archive_member_outside_its_folder_is_not_written(make, publish, root, tmp_path):
    names = ("../escaped", "../../escaped", f"{tmp_path}/escaped", "cifar-10-batches-py/escaped")
    publish(make("cifar10", extra=dict.fromkeys(names, b"x")))
    load("cifar10", root=root)
    assert not list(tmp_path.rglob("escaped"))


def test_an_archive_member_that_is_a_link_is_refused(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("not for reading")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        link = tarfile.TarInfo("wanted")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        tar.addfile(link)
    with pytest.raises(DataCorrupt, match="lacks wanted"):
        extract(tmp_path / "a.tar.gz", {"wanted"}, tmp_path)
    assert not (tmp_path / "wanted").exists()


def test_an_archive_that_lacks_a_member_is_refused(make, tmp_path):
    archive = tmp_path / "stl10_binary.tar.gz"
    archive.write_bytes(make("stl10").files["stl10_binary.tar.gz"])
    with pytest.raises(DataCorrupt, match="lacks stl10_binary/fold"):
        extract(archive, {"stl10_binary/train_y.bin", "stl10_binary/fold"}, tmp_path)


class Touch:
    """Unpickled, it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_is_never_read_before_the_checksum_holds(make, publish, server, root, tmp_path):
    ran = tmp_path / "ran"
    trap = pickle.dumps(Touch(ran), protocol=2)
    pickle.loads(trap).close()
    assert ran.exists()  # the trap works
    ran.unlink()
    publish(make("cifar10"))
    hostile = make("cifar10", extra={"cifar-10-batches-py/data_batch_1": trap})
    (name, content), *_ = hostile.files.items()
    server.files[f"/{name}"] = content
    with pytest.raises(DataMissing, match=f"md5 is {hashlib.md5(content).hexdigest()}"):
        load("cifar10", root=root)
    assert not ran.exists()
