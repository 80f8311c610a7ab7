"""From official files to prepared arrays, through torchvision's parsers.

Legend of axes: N images, C = 3 colours, H rows, W columns.

Each reader takes the folder that holds a source's files, and an empty one for scratch, and returns
the prepared arrays: `train_images` uint8 [N,H,W], `train_labels` int64 [N], and `val_*` and
`test_*` where there are such parts; grey, native resolution, official order. The files' checksums
must have held before: CIFAR-10's batches are pickles, which can run code. torchvision is imported
where it is needed, since it takes seconds and a run on prepared data does without.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from sal.data.archives import extract, gunzip
from sal.data.spec import Arrays

GREY_CHUNK = 1024
"""Colour images made grey at a time: the sums take four times their bytes."""


def to_grey(rgb_NHWC: np.ndarray) -> np.ndarray:
    """Colour to grey exactly as PIL's `convert("L")`: ITU-R 601-2 luma in 16-bit fixed point.

    Args:
        rgb_NHWC: uint8, the last axis red, green, blue.

    Returns:
        uint8 [N,H,W].
    """
    grey_NHW = np.empty(rgb_NHWC.shape[:-1], dtype=np.uint8)
    for start in range(0, len(rgb_NHWC), GREY_CHUNK):
        chunk = rgb_NHWC[start : start + GREY_CHUNK].astype(np.uint32)
        red, green, blue = np.moveaxis(chunk, -1, 0)
        luma = (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16
        grey_NHW[start : start + GREY_CHUNK] = luma
    return grey_NHW


def prepared(**parts: tuple[np.ndarray, np.ndarray]) -> Arrays:
    """The prepared arrays of parts: name -> (images [N,H,W], labels [N])."""
    arrays = {}
    for part, (images_NHW, labels_N) in parts.items():
        arrays[f"{part}_images"] = np.ascontiguousarray(images_NHW)
        arrays[f"{part}_labels"] = np.asarray(labels_N, dtype=np.int64)
    return arrays


def _trusting(parser: type) -> type:
    """The parser without its own checks of file checksums, which `fetch` has made already."""
    skipped = {"_check_integrity": lambda self: True, "_load_meta": lambda self: None}
    return type(parser.__name__, (parser,), skipped)


def read_digits() -> Arrays:
    """Digits, which scikit-learn ships."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return prepared(train=(bunch.images.astype(np.uint8), bunch.target))


def read_semeion(folder: Path, scratch: Path) -> Arrays:
    """Semeion from `semeion.data`; torchvision makes its 0 and 1 into 0 and 255, undone here."""
    from torchvision.datasets import SEMEION

    parsed = _trusting(SEMEION)(folder, download=False)
    return prepared(train=(parsed.data // 255, parsed.labels))


def read_usps(folder: Path, scratch: Path) -> Arrays:
    """USPS from `usps.bz2` and `usps.t.bz2`, its [-1, 1] stored as uint8((x + 1) / 2 * 255)."""
    from torchvision.datasets import USPS

    train, test = USPS(folder, train=True), USPS(folder, train=False)
    return prepared(train=(train.data, train.targets), test=(test.data, test.targets))


def read_idx(folder: Path, scratch: Path) -> Arrays:
    """MNIST or Fashion-MNIST from the four `*-ubyte.gz` files."""
    from torchvision.datasets.mnist import read_image_file, read_label_file

    def parse(name: str, read) -> np.ndarray:
        return read(gunzip(folder / f"{name}.gz", scratch)).numpy()

    train, test = (
        (
            parse(f"{part}-images-idx3-ubyte", read_image_file),
            parse(f"{part}-labels-idx1-ubyte", read_label_file),
        )
        for part in ("train", "t10k")
    )
    return prepared(train=train, test=test)


def read_cifar10(folder: Path, scratch: Path) -> Arrays:
    """CIFAR-10 from the python version's archive, made grey."""
    from torchvision.datasets import CIFAR10

    members = {f"{CIFAR10.base_folder}/{name}" for name, _ in CIFAR10.train_list}
    members |= {f"{CIFAR10.base_folder}/{name}" for name, _ in CIFAR10.test_list}
    extract(folder / CIFAR10.filename, members, scratch)
    train, test = (_trusting(CIFAR10)(scratch, train=part) for part in (True, False))
    return prepared(
        train=(to_grey(train.data), train.targets), test=(to_grey(test.data), test.targets)
    )


def read_svhn(folder: Path, scratch: Path) -> Arrays:
    """SVHN's cropped digits from the two `*_32x32.mat` files, made grey; "0" has label 0."""
    from torchvision.datasets import SVHN

    parts = {}
    for part in ("train", "test"):
        parsed = _trusting(SVHN)(folder, split=part)
        parts[part] = (to_grey(np.moveaxis(parsed.data, 1, -1)), parsed.labels)
    return prepared(**parts)


def read_stl10(folder: Path, scratch: Path) -> Arrays:
    """STL-10's labelled part from the binary archive, made grey."""
    from torchvision.datasets import STL10

    names = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")
    extract(folder / STL10.filename, {f"{STL10.base_folder}/{name}" for name in names}, scratch)
    parts = {}
    for part in ("train", "test"):
        parsed = _trusting(STL10)(scratch, split=part)
        parts[part] = (to_grey(np.moveaxis(parsed.data, 1, -1)), parsed.labels)
    return prepared(**parts)


class _GreyPatches:
    """The patches of one of PCam's files, read and made grey slice by slice."""

    dtype = np.dtype(np.uint8)

    def __init__(self, path: Path):
        import h5py

        self._x_NHWC = h5py.File(path)["x"]
        self.shape = self._x_NHWC.shape[:-1]
        if self._x_NHWC.ndim != 4 or self._x_NHWC.shape[-1] != 3 or self._x_NHWC.dtype != np.uint8:
            raise ValueError(
                f"{path.name} holds {self._x_NHWC.dtype} {self._x_NHWC.shape}; "
                "wanted uint8 images of three colours [N,H,W,3]"
            )

    def __getitem__(self, rows: slice) -> np.ndarray:
        return to_grey(self._x_NHWC[rows])


def read_pcam(folder: Path, scratch: Path) -> Arrays:
    """PCam from its six `.h5.gz` files, which are unpacked first; patches are read when asked for.

    torchvision's class reads one patch at a time, opening the file anew for each; so h5py is used
    directly.
    """
    import h5py
    from torchvision.datasets import PCAM

    arrays = {}
    for part, files in PCAM._FILES.items():
        images, labels = (gunzip(folder / f"{name}.gz", scratch) for name, _, _ in files.values())
        with h5py.File(labels) as opened:
            arrays[f"{part}_labels"] = opened["y"][:].reshape(-1).astype(np.int64)
        arrays[f"{part}_images"] = _GreyPatches(images)
    return arrays


FER2013_PARTS = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
"""Usage in FER2013's csv -> part."""


def read_fer2013(path: Path) -> Arrays:
    """FER2013 from `fer2013.csv` or `icml_face_data.csv`, whose columns are ordered otherwise.

    torchvision's class puts both test parts together; so the csv is read here.

    Raises:
        ValueError: a row is not as it should be; the message names it.
    """
    parts = {part: ([], []) for part in FER2013_PARTS.values()}
    with path.open(newline="", encoding="ascii") as file:
        for number, row in enumerate(csv.DictReader(file, skipinitialspace=True), start=2):
            try:
                if None in row:
                    raise ValueError("more columns than the header")
                images, labels = parts[FER2013_PARTS[row["Usage"]]]
                pixels = np.array(row["pixels"].split(), dtype=np.int64).reshape(48, 48)
                if pixels.min() < 0 or pixels.max() > 255:
                    raise ValueError(f"pixels from {pixels.min()} to {pixels.max()}")
                label = int(row["emotion"])
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                raise ValueError(
                    f"line {number} of {path.name} is no row of emotion, pixels (48 x 48 of 0 to "
                    f"255) and Usage ({', '.join(FER2013_PARTS)}): {error}"
                ) from error
            images.append(pixels.astype(np.uint8))
            labels.append(label)
    return prepared(
        **{part: (np.stack(images), labels) for part, (images, labels) in parts.items()}
    )
