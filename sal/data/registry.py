"""The facts about each data set: counts, sizes, digests, licences and official sources.

`content_sha256` is the digest of the prepared arrays (see `sal.data.store.content_sha256`): the
official files, prepared, must give it whatever address they came from. Addresses and md5 sums of
the files are those of torchvision's data set classes.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sal.data import official
from sal.data.errors import UnknownDataset, UnsupportedDataset


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One official file, and the addresses that serve the very same bytes."""

    name: str
    md5: str
    urls: tuple[str, ...]  # tried in this order


@dataclass(frozen=True, kw_only=True)
class Source:
    """One way to a data set: the files to fetch, and the function that reads them."""

    files: tuple[RemoteFile, ...]  # empty: nothing to fetch, an installed package ships the data
    read: Callable[[Path], dict[str, np.ndarray]]  # folder holding the files -> prepared arrays


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """Everything known beforehand about a data set."""

    key: str  # its name in files and on the command line
    title: str  # its name in the paper's tables
    n_classes: int
    size: tuple[int, int]  # (H, W) in pixels
    pixel_max: int  # the largest value a pixel can take
    n_train: int  # images in the official training part
    n_test: int | None  # images in the official test part; None: there is no such part
    content_sha256: str  # of the prepared arrays
    citation: str
    licence: str | None  # None: none established; see the citation
    sources: tuple[Source, ...]  # tried in this order
    complete: bool = True  # whether the counts are those of the whole official set

    @property
    def counts(self) -> dict[str, int]:
        """Images in each official part, for the parts that exist."""
        parts = {"train": self.n_train, "test": self.n_test}
        return {part: n for part, n in parts.items() if n is not None}

    @property
    def bundled(self) -> bool:
        """Whether an installed package ships the data, so that nothing is ever fetched."""
        return any(not source.files for source in self.sources)


def _idx_source(mirrors: tuple[str, ...], md5s: dict[str, str]) -> Source:
    files = (
        RemoteFile(name=name, md5=md5, urls=tuple(mirror + name for mirror in mirrors))
        for name, md5 in md5s.items()
    )
    return Source(files=tuple(files), read=official.read_idx)


def _file(url: str, md5: str) -> RemoteFile:
    return RemoteFile(name=url.rsplit("/", 1)[1], md5=md5, urls=(url,))


_LIBSVM = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/"

_SPECS = (
    DatasetSpec(
        key="digits",
        title="Digits",
        n_classes=10,
        size=(8, 8),
        pixel_max=16,
        n_train=1797,
        n_test=None,
        content_sha256="5a6410d627d1bc9c5bc0c84b72d51deead64d60992a8fdb5882af42b70ef0855",
        citation="E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI "
        "Machine Learning Repository, 1998 (its test part, as scikit-learn ships it).",
        licence="CC BY 4.0",
        sources=(Source(files=(), read=official.read_digits),),
    ),
    DatasetSpec(
        key="semeion",
        title="Semeion",
        n_classes=10,
        size=(16, 16),
        pixel_max=1,
        n_train=1593,
        n_test=None,
        content_sha256="9185aba4f554826e74d97c9fec5ff53d9383a384c193cdbb76f516251df36801",
        citation="Semeion Research Center of Sciences of Communication, Rome, and Tattile, "
        "Mairano (Brescia): Semeion Handwritten Digit, UCI Machine Learning Repository, 1994.",
        licence="CC BY 4.0",
        sources=(
            Source(
                files=(
                    _file(
                        "http://archive.ics.uci.edu/ml/machine-learning-databases/semeion/"
                        "semeion.data",
                        "cb545d371d2ce14ec121470795a77432",
                    ),
                ),
                read=official.read_semeion,
            ),
        ),
    ),
    DatasetSpec(
        key="usps",
        title="USPS",
        n_classes=10,
        size=(16, 16),
        pixel_max=255,
        n_train=7291,
        n_test=2007,
        content_sha256="00b0d836d75654024da0028a9867fbbbad1605289a969be7d0a609cbbed5cf5d",
        citation="J. J. Hull, A Database for Handwritten Text Recognition Research, "
        "IEEE TPAMI 16(5), 1994 (LIBSVM's copy).",
        licence=None,
        sources=(
            Source(
                files=(
                    _file(_LIBSVM + "usps.bz2", "ec16c51db3855ca6c91edd34d0e9b197"),
                    _file(_LIBSVM + "usps.t.bz2", "8ea070ee2aca1ac39742fdd1ef5ed118"),
                ),
                read=official.read_usps,
            ),
        ),
    ),
    DatasetSpec(
        key="mnist",
        title="MNIST",
        n_classes=10,
        size=(28, 28),
        pixel_max=255,
        n_train=60000,
        n_test=10000,
        content_sha256="33a06563302a8b92ca637b130b3796e811d5f14140edc91a2b98feb407fe0579",
        citation="Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Gradient-Based Learning Applied "
        "to Document Recognition, Proceedings of the IEEE 86(11), 1998.",
        licence=None,
        sources=(
            _idx_source(
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
        ),
    ),
    DatasetSpec(
        key="fashion_mnist",
        title="Fashion-MNIST",
        n_classes=10,
        size=(28, 28),
        pixel_max=255,
        n_train=60000,
        n_test=10000,
        content_sha256="1251015bc7eaf2f25be456e7df16a8bcaff18b789077adbc03d65b770710611e",
        citation="H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST: a Novel Image Dataset for "
        "Benchmarking Machine Learning Algorithms, arXiv 1708.07747, 2017.",
        licence="MIT",
        sources=(
            _idx_source(
                ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
                {
                    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
                    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
                    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
                },
            ),
        ),
    ),
    DatasetSpec(
        key="cifar10",
        title="CIFAR-10",
        n_classes=10,
        size=(32, 32),
        pixel_max=255,
        n_train=50000,
        n_test=10000,
        content_sha256="30b1dbc7243670d18076e78f5dedddc09fb0afc925ab7036b74f986a1f0a823e",
        citation="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, "
        "University of Toronto, 2009.",
        licence=None,
        sources=(
            Source(
                files=(
                    _file(
                        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
                        "c58f30108f718f92721af3b95e74349a",
                    ),
                ),
                read=official.read_cifar10,
            ),
        ),
    ),
    DatasetSpec(
        key="stl10",
        title="STL-10",
        n_classes=10,
        size=(96, 96),
        pixel_max=255,
        n_train=5000,
        n_test=8000,
        content_sha256="fea7c1d61cb0f435c56282344cb5e9dbf28947c9fad94b61cabdbaa65497cb4c",
        citation="A. Coates, H. Lee and A. Y. Ng, An Analysis of Single-Layer Networks in "
        "Unsupervised Feature Learning, AISTATS 2011 (its labelled part).",
        licence=None,
        sources=(
            Source(
                files=(
                    _file(
                        "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
                        "91f7769df0f17e558f3565bffb0c7dfb",
                    ),
                ),
                read=official.read_stl10,
            ),
        ),
    ),
)

DATASETS: dict[str, DatasetSpec] = {spec.key: spec for spec in _SPECS}

# The rest of the paper's ten.
_NOT_YET = {"pcam": "PCam", "svhn": "SVHN", "fer2013": "FER2013"}


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter not in "-_ ")


def resolve_name(name: str) -> str:
    """The key of the data set called `name`.

    Args:
        name: a key ("fashion_mnist") or a title ("Fashion-MNIST"); case, hyphens, underscores and
            spaces make no difference.

    Returns:
        A key of `DATASETS`.

    Raises:
        UnsupportedDataset: the paper uses it, but it can't be loaded yet.
        UnknownDataset: no data set has this name.
    """
    wanted = _plain(str(name))
    keys = {_plain(alias): key for key, spec in DATASETS.items() for alias in (key, spec.title)}
    if wanted in keys:
        return keys[wanted]
    known = f"Known data sets: {', '.join(DATASETS)}."
    if wanted in _NOT_YET:
        raise UnsupportedDataset(
            f"{_NOT_YET[wanted]} is one of the paper's ten data sets, but it is not supported "
            f"yet. {known}"
        )
    close = difflib.get_close_matches(wanted, keys, n=1)
    hint = f" Did you mean {keys[close[0]]!r}?" if close else ""
    raise UnknownDataset(f"No data set is called {name!r}.{hint} {known}")
