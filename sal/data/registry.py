"""The ten data sets of the paper: counts, sizes, digests, licences and the ways to each.

Facts that no file here can show come from the owners' pages and papers. `content_sha256` is the
digest of the prepared arrays (see `sal.data.store.content_sha256`): whatever the source, the
prepared form must have it. Where nobody has prepared the set yet, it is None, and the digest of the
first one prepared from checked official files is recorded in the data folder. Addresses and md5
sums of the files are those of torchvision's data set classes, but for PCam's address at Zenodo.
"""

from __future__ import annotations

import difflib

import numpy as np

from sal.data import medmnist_sets, official
from sal.data.errors import UnknownDataset
from sal.data.fetch import RemoteFile
from sal.data.openml_source import OpenML
from sal.data.sources import Bundled, ByHand, Files
from sal.data.spec import DatasetSpec

_DIGITS = tuple("0123456789")
_TEST = "the official test part"
_SPLIT = "a fifth of each class, drawn by the seed: there is no official test part"


def _idx(mirrors: tuple[str, ...], md5s: dict[str, str]) -> Files:
    files = (
        RemoteFile(name=name, md5=md5, urls=tuple(mirror + name for mirror in mirrors))
        for name, md5 in md5s.items()
    )
    return Files(files=tuple(files), parse=official.read_idx)


def _pcam_file(name: str, md5: str, drive_id: str) -> RemoteFile:
    return RemoteFile(
        name=name,
        md5=md5,
        urls=(
            f"https://zenodo.org/records/2546921/files/{name}?download=1",
            f"https://drive.usercontent.google.com/download?id={drive_id}&export=download&confirm=t",
        ),
    )


_SVHN = "http://ufldl.stanford.edu/housenumbers/"
_LIBSVM = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/"

_SPECS = (
    DatasetSpec(
        key="digits",
        title="Digits",
        classes=_DIGITS,
        size=(8, 8),
        pixel_max=16,
        channels=1,
        counts={"train": 1797},
        validation=_SPLIT,
        class_counts={"train": (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)},
        content_sha256="5a6410d627d1bc9c5bc0c84b72d51deead64d60992a8fdb5882af42b70ef0855",
        citation="E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI "
        "Machine Learning Repository, 1998 (its test part, as scikit-learn ships it).",
        licence="CC BY 4.0",
        sources=(Bundled(name="scikit-learn", parse=official.read_digits),),
    ),
    DatasetSpec(
        key="semeion",
        title="Semeion",
        classes=_DIGITS,
        size=(16, 16),
        pixel_max=1,
        channels=1,
        counts={"train": 1593},
        validation=_SPLIT,
        class_counts={"train": (161, 162, 159, 159, 161, 159, 161, 158, 155, 158)},
        content_sha256="9185aba4f554826e74d97c9fec5ff53d9383a384c193cdbb76f516251df36801",
        citation="Semeion Research Center of Sciences of Communication, Rome, and Tattile, "
        "Mairano (Brescia): Semeion Handwritten Digit, UCI Machine Learning Repository, 1994.",
        licence="CC BY 4.0",
        official_bytes=2_700_000,
        sources=(
            Files(
                files=(
                    RemoteFile.at(
                        "http://archive.ics.uci.edu/ml/machine-learning-databases/semeion/"
                        "semeion.data",
                        "cb545d371d2ce14ec121470795a77432",
                    ),
                ),
                parse=official.read_semeion,
            ),
            OpenML(id=1501, label=lambda given_N: given_N - 1),
        ),
    ),
    DatasetSpec(
        key="usps",
        title="USPS",
        classes=_DIGITS,
        size=(16, 16),
        pixel_max=255,
        channels=1,
        counts={"train": 7291, "test": 2007},
        validation=_TEST,
        class_counts={
            "train": (1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644),
            "test": (359, 264, 198, 166, 200, 160, 170, 147, 166, 177),
        },
        content_sha256="00b0d836d75654024da0028a9867fbbbad1605289a969be7d0a609cbbed5cf5d",
        citation="J. J. Hull, A Database for Handwritten Text Recognition Research, "
        "IEEE TPAMI 16(5), 1994 (LIBSVM's copy).",
        licence=None,
        official_bytes=8_500_000,
        sources=(
            Files(
                files=(
                    RemoteFile.at(_LIBSVM + "usps.bz2", "ec16c51db3855ca6c91edd34d0e9b197"),
                    RemoteFile.at(_LIBSVM + "usps.t.bz2", "8ea070ee2aca1ac39742fdd1ef5ed118"),
                ),
                parse=official.read_usps,
            ),
            OpenML(
                id=41082,
                label=lambda given_N: given_N - 1,
                pixel=lambda x_ND: (x_ND.astype(np.float32) + 1) / 2 * 255,
            ),
        ),
    ),
    DatasetSpec(
        key="mnist",
        title="MNIST",
        classes=_DIGITS,
        size=(28, 28),
        pixel_max=255,
        channels=1,
        counts={"train": 60000, "test": 10000},
        validation=_TEST,
        class_counts={
            "train": (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
            "test": (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
        },
        content_sha256="33a06563302a8b92ca637b130b3796e811d5f14140edc91a2b98feb407fe0579",
        citation="Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Gradient-Based Learning Applied "
        "to Document Recognition, Proceedings of the IEEE 86(11), 1998.",
        licence=None,
        official_bytes=11_600_000,
        sources=(
            _idx(
                (
                    "https://ossci-datasets.s3.amazonaws.com/mnist/",
                    "http://yann.lecun.com/exdb/mnist/",
                ),
                {
                    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
                    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
                    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
                },
            ),
            OpenML(id=554),
        ),
    ),
    DatasetSpec(
        key="fashion_mnist",
        title="Fashion-MNIST",
        classes=(
            "T-shirt",
            "trousers",
            "pullover",
            "dress",
            "coat",
            "sandal",
            "shirt",
            "sneaker",
            "bag",
            "boot",
        ),
        size=(28, 28),
        pixel_max=255,
        channels=1,
        counts={"train": 60000, "test": 10000},
        validation=_TEST,
        class_counts={
            "train": (6000, 6000, 6000, 6000, 6000, 6000, 6000, 6000, 6000, 6000),
            "test": (1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000),
        },
        content_sha256="1251015bc7eaf2f25be456e7df16a8bcaff18b789077adbc03d65b770710611e",
        citation="H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST: a Novel Image Dataset for "
        "Benchmarking Machine Learning Algorithms, arXiv 1708.07747, 2017.",
        licence="MIT",
        official_bytes=30_900_000,
        sources=(
            _idx(
                ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
                {
                    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
                    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
                    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
                },
            ),
            OpenML(id=40996),
        ),
    ),
    DatasetSpec(
        key="cifar10",
        title="CIFAR-10",
        classes=(
            "aeroplane",
            "car",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "lorry",
        ),
        size=(32, 32),
        pixel_max=255,
        channels=3,
        counts={"train": 50000, "test": 10000},
        validation=_TEST,
        class_counts={
            "train": (5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000),
            "test": (1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000),
        },
        content_sha256="30b1dbc7243670d18076e78f5dedddc09fb0afc925ab7036b74f986a1f0a823e",
        citation="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, "
        "University of Toronto, 2009.",
        licence=None,
        official_bytes=170_500_000,
        sources=(
            Files(
                files=(
                    RemoteFile.at(
                        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
                        "c58f30108f718f92721af3b95e74349a",
                    ),
                ),
                parse=official.read_cifar10,
            ),
            OpenML(id=40927),
        ),
    ),
    DatasetSpec(
        key="stl10",
        title="STL-10",
        classes=(
            "aeroplane",
            "bird",
            "car",
            "cat",
            "deer",
            "dog",
            "horse",
            "monkey",
            "ship",
            "lorry",
        ),
        size=(96, 96),
        pixel_max=255,
        channels=3,
        counts={"train": 5000, "test": 8000},
        validation=_TEST,
        class_counts={
            "train": (500, 500, 500, 500, 500, 500, 500, 500, 500, 500),
            "test": (800, 800, 800, 800, 800, 800, 800, 800, 800, 800),
        },
        content_sha256="fea7c1d61cb0f435c56282344cb5e9dbf28947c9fad94b61cabdbaa65497cb4c",
        citation="A. Coates, H. Lee and A. Y. Ng, An Analysis of Single-Layer Networks in "
        "Unsupervised Feature Learning, AISTATS 2011 (its labelled part).",
        licence=None,
        official_bytes=2_640_400_000,
        sources=(
            Files(
                files=(
                    RemoteFile.at(
                        "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
                        "91f7769df0f17e558f3565bffb0c7dfb",
                    ),
                ),
                parse=official.read_stl10,
            ),
        ),
    ),
    DatasetSpec(
        key="svhn",
        title="SVHN",
        classes=_DIGITS,
        size=(32, 32),
        pixel_max=255,
        channels=3,
        counts={"train": 73257, "test": 26032},
        validation=_TEST,
        class_counts={
            "train": (4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659),
            "test": (1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595),
        },
        citation="Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu and A. Y. Ng, Reading Digits "
        "in Natural Images with Unsupervised Feature Learning, NIPS workshop, 2011 (cropped digits "
        "without the extra part).",
        licence="for non-commercial use only",
        official_bytes=246_400_000,
        sources=(
            Files(
                files=(
                    RemoteFile.at(_SVHN + "train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
                    RemoteFile.at(_SVHN + "test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
                ),
                parse=official.read_svhn,
            ),
            OpenML(id=41081, label=lambda given_N: given_N % 10, layouts=("HWC", "CHW")),
        ),
    ),
    DatasetSpec(
        key="fer2013",
        title="FER2013",
        classes=("angry", "disgusted", "afraid", "happy", "sad", "surprised", "neutral"),
        size=(48, 48),
        pixel_max=255,
        channels=1,
        counts={"train": 28709, "val": 3589, "test": 3589},
        validation="PrivateTest, here called test; PublicTest is kept apart",
        class_counts={
            "train": (3995, 436, 4097, 7215, 4830, 3171, 4965),
            "val": (467, 56, 496, 895, 653, 415, 607),
            "test": (491, 55, 528, 879, 594, 416, 626),
        },
        citation="I. J. Goodfellow et al., Challenges in Representation Learning: A report on "
        "three machine learning contests, ICONIP 2013.",
        licence=None,
        sources=(
            ByHand(
                md5s={
                    "fer2013.csv": "f8428a1edbd21e88f42c73edd2a14f95",
                    "icml_face_data.csv": "b114b9e04e6949e5fe8b6a98b3892b1d",
                },
                most_bytes=400_000_000,
                how="Kaggle asks for an account: sign in at https://www.kaggle.com/c/"
                "challenges-in-representation-learning-facial-expression-recognition-challenge, "
                "accept its rules and download its data (the whole zip, fer2013.tar.gz or "
                "icml_face_data.csv).",
                parse=official.read_fer2013,
            ),
        ),
    ),
    DatasetSpec(
        key="pcam",
        title="PCam",
        classes=("normal", "tumour"),
        size=(96, 96),
        pixel_max=255,
        channels=3,
        counts={"train": 262144, "val": 32768, "test": 32768},
        validation="the official test part; the official validation part is kept apart",
        citation="B. S. Veeling, J. Linmans, J. Winkens, T. Cohen and M. Welling, Rotation "
        "Equivariant CNNs for Digital Pathology, MICCAI 2018.",
        licence="CC0",
        mapped=True,
        official_bytes=7_800_000_000,
        sources=(
            Files(
                files=tuple(
                    _pcam_file(f"camelyonpatch_level_2_split_{part}.h5.gz", md5, drive_id)
                    for part, md5, drive_id in (
                        (
                            "train_x",
                            "1571f514728f59376b705fc836ff4b63",
                            "1Ka0XfEMiwgCYPdTI-vv6eUElOBnKFKQ2",
                        ),
                        (
                            "train_y",
                            "35c2d7259d906cfc8143347bb8e05be7",
                            "1269yhu3pZDP8UYFQs-NYs3FPwuK-nGSG",
                        ),
                        (
                            "valid_x",
                            "d5b63470df7cfa627aeec8b9dc0c066e",
                            "1hgshYGWK8V-eGRy8LToWJJgDU_rXWVJ3",
                        ),
                        (
                            "valid_y",
                            "2b85f58b927af9964a4c15b8f7e8f179",
                            "1bH8ZRbhSVAhScTS0p9-ZzGnX91cHT3uO",
                        ),
                        (
                            "test_x",
                            "d8c2d60d490dbd479f8199bdfa0cf6ec",
                            "1qV65ZqZvWzuIVthK8eVDhIwrbnsJdbg_",
                        ),
                        (
                            "test_y",
                            "60a7035772fbdb7f34eb86d4420cf66a",
                            "17BHrSrwWKjYsOgTMmoqrIjDy6Fa2o_gP",
                        ),
                    )
                ),
                parse=official.read_pcam,
            ),
        ),
    ),
)

DATASETS: dict[str, DatasetSpec] = {spec.key: spec for spec in _SPECS}
"""The paper's ten."""


def find(name: str) -> DatasetSpec:
    """What is known about the data set called `name`: one of the paper's ten, or of MedMNIST's.

    Args:
        name: a key ("fashion_mnist") or a title ("Fashion-MNIST"); case, hyphens, underscores and
            spaces make no difference.

    Raises:
        UnknownDataset: no data set has this name.
        UnsupportedDataset: it is one of MedMNIST's that can't be had here.

    Example:
        >>> from sal.data import find
        >>> spec = find("fashion-mnist")
        >>> spec.key, spec.size, spec.counts
        ('fashion_mnist', (28, 28), {'train': 60000, 'test': 10000})
    """
    wanted = _plain(str(name))
    keys = {_plain(alias): key for key, spec in DATASETS.items() for alias in (key, spec.title)}
    if wanted in keys:
        return DATASETS[keys[wanted]]
    if wanted in medmnist_sets.NAMES:
        return medmnist_sets.spec(wanted)
    close = difflib.get_close_matches(wanted, [*keys, *medmnist_sets.NAMES], n=1)
    hint = f" Did you mean {keys.get(close[0], close[0])!r}?" if close else ""
    raise UnknownDataset(
        f"No data set is called {name!r}.{hint} The paper's: {', '.join(DATASETS)}. MedMNIST's: "
        f"{', '.join(medmnist_sets.NAMES)}."
    )


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter not in "-_ ")
