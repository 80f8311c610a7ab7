"""From official files to prepared arrays, through torchvision's parsers.

Legend of axes: N images, C = 3 colours, H rows, W columns.

Each reader takes the folder that holds a source's files and returns the prepared arrays:
`train_images` uint8 [N,H,W], `train_labels` int64 [N], and `test_*` where there is a test part;
grey, native resolution, official order. The files' checksums must have held before: CIFAR-10's
batches are pickles, which can run code. torchvision is imported where it is needed, since it takes
seconds and a run on prepared data does without.
"""

import gzip
import posixpath
import shutil
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from sal.data.errors import DataCorrupt


def to_grey(rgb_NHWC: np.ndarray) -> np.ndarray:
    """Colour to grey exactly as PIL's `convert("L")`: ITU-R 601-2 luma in 16-bit fixed point.

    Args:
        rgb_NHWC: uint8, the last axis red, green, blue.

    Returns:
        uint8 [N,H,W].
    """
    grey_NHW = np.empty(rgb_NHWC.shape[:-1], dtype=np.uint8)
    for start in range(0, len(rgb_NHWC), 1024):  # in chunks: the sums are four times the bytes
        red, green, blue = np.moveaxis(rgb_NHWC[start : start + 1024].astype(np.uint32), -1, 0)
        luma = (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16
        grey_NHW[start : start + 1024] = luma
    return grey_NHW


def extract(archive: Path, members: set[str], into: Path) -> None:
    """Take the named files, and nothing else, out of a tar archive.

    They are written under the names asked for, so nothing in the archive decides where a byte goes
    (`extract(filter="data")` would do, but Python before 3.10.12 and 3.11.4 lacks it).

    Args:
        archive: the tar file, compressed or not.
        members: names inside the archive.
        into: folder below which the files are written.

    Raises:
        DataCorrupt: a member is missing or is not a plain file.
        tarfile.TarError: the archive is damaged.
    """
    missing = set(members)
    with tarfile.open(archive, "r|*") as tar:
        for member in tar:
            name = posixpath.normpath(member.name)
            if name in missing and member.isreg():
                path = into / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with tar.extractfile(member) as packed, path.open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)
                missing.remove(name)
            if not missing:
                return
    raise DataCorrupt(f"{archive.name} lacks {', '.join(sorted(missing))}.")


def _prepared(train: tuple, test: tuple | None = None) -> dict[str, np.ndarray]:
    parts = {"train": train} if test is None else {"train": train, "test": test}
    arrays = {}
    for part, (images_NHW, labels_N) in parts.items():
        arrays[f"{part}_images"] = np.ascontiguousarray(images_NHW)
        arrays[f"{part}_labels"] = np.asarray(labels_N, dtype=np.int64)
    return arrays


def _trusting(parser: type) -> type:
    """The parser without its own checks of file checksums, which `fetch` has made already."""
    skipped = {"_check_integrity": lambda self: True, "_load_meta": lambda self: None}
    return type(parser.__name__, (parser,), skipped)


def read_digits(folder: Path) -> dict[str, np.ndarray]:
    """Digits, which scikit-learn ships: `folder` is not looked at."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return _prepared((bunch.images.astype(np.uint8), bunch.target))


def read_semeion(folder: Path) -> dict[str, np.ndarray]:
    """Semeion from `semeion.data`; torchvision makes its 0 and 1 into 0 and 255, undone here."""
    from torchvision.datasets import SEMEION

    parsed = _trusting(SEMEION)(folder, download=False)
    return _prepared((parsed.data // 255, parsed.labels))


def read_usps(folder: Path) -> dict[str, np.ndarray]:
    """USPS from `usps.bz2` and `usps.t.bz2`, its [-1, 1] stored as uint8((x + 1) / 2 * 255)."""
    from torchvision.datasets import USPS

    train, test = USPS(folder, train=True), USPS(folder, train=False)
    return _prepared((train.data, train.targets), (test.data, test.targets))


def read_idx(folder: Path) -> dict[str, np.ndarray]:
    """MNIST or Fashion-MNIST from the four `*-ubyte.gz` files."""
    from torchvision.datasets.mnist import read_image_file, read_label_file

    with tempfile.TemporaryDirectory(dir=folder) as scratch:

        def parse(name: str, read) -> np.ndarray:
            plain = Path(scratch, name)
            with gzip.open(folder / f"{name}.gz") as packed, plain.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
            return read(plain).numpy()

        train, test = (
            (
                parse(f"{part}-images-idx3-ubyte", read_image_file),
                parse(f"{part}-labels-idx1-ubyte", read_label_file),
            )
            for part in ("train", "t10k")
        )
    return _prepared(train, test)


def read_cifar10(folder: Path) -> dict[str, np.ndarray]:
    """CIFAR-10 from the python version's archive, made grey."""
    from torchvision.datasets import CIFAR10

    members = {f"{CIFAR10.base_folder}/{name}" for name, _ in CIFAR10.train_list}
    members |= {f"{CIFAR10.base_folder}/{name}" for name, _ in CIFAR10.test_list}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        extract(folder / CIFAR10.filename, members, Path(scratch))
        train, test = (_trusting(CIFAR10)(scratch, train=part) for part in (True, False))
    return _prepared((to_grey(train.data), train.targets), (to_grey(test.data), test.targets))


def read_stl10(folder: Path) -> dict[str, np.ndarray]:
    """STL-10's labelled part from the binary archive, made grey."""
    from torchvision.datasets import STL10

    names = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        extract(folder / STL10.filename, {f"{STL10.base_folder}/{n}" for n in names}, Path(scratch))
        train, test = (_trusting(STL10)(scratch, split=part) for part in ("train", "test"))
    return _prepared(
        *((to_grey(np.moveaxis(part.data, 1, -1)), part.labels) for part in (train, test))
    )
