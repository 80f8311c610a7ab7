"""A data set in memory, checked against what is known about it.

Legend of axes: N images, H rows, W columns.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sal.data.errors import DataCorrupt
from sal.data.spec import DatasetSpec

PARTS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Dataset:
    """The official parts of one data set, grey, in native resolution and official order.

    Args:
        spec: what the arrays have to agree with.
        train_images: uint8 [N,H,W], values in [0, pixel_max]. Of a large set they are mapped from
            the disk and must not be written to.
        train_labels: int64 [N], values in [0, n_classes).
        test_images: the same for the test part; None where the set has none.
        test_labels: the same for the test part; None where the set has none.
        val_images: the same for an official validation part, which is kept apart: what the paper
            calls validation is the test part.
        val_labels: the same.
        sha256: the arrays' content digest (`content_sha256`), to be recorded in results.

    Raises:
        DataCorrupt: an array disagrees with `spec`.
    """

    spec: DatasetSpec
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor | None
    test_labels: Tensor | None
    sha256: str
    val_images: Tensor | None = None
    val_labels: Tensor | None = None

    def __post_init__(self):
        for part in PARTS:
            images, labels = getattr(self, f"{part}_images"), getattr(self, f"{part}_labels")
            _check_part(self.spec, part, images, labels)

    @property
    def name(self) -> str:
        """The key in the registry, such as "fashion_mnist"."""
        return self.spec.key

    @property
    def title(self) -> str:
        """The name in the paper, such as "Fashion-MNIST"."""
        return self.spec.title

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return self.spec.n_classes

    @property
    def in_features(self) -> int:
        """Pixels of an image, H * W."""
        return self.spec.size[0] * self.spec.size[1]

    @property
    def pixel_max(self) -> int:
        """The largest value a pixel can take: 255 unless the set is coarser."""
        return self.spec.pixel_max


def _check_part(spec: DatasetSpec, part: str, images: Tensor | None, labels: Tensor | None) -> None:
    n = spec.counts.get(part)

    def check(holds: bool, given: str, wanted: str) -> None:
        if not holds:
            raise DataCorrupt(f"{spec.title}, {part} part: {given}; wanted {wanted}.")

    if n is None:
        check(images is None and labels is None, "arrays", "none: there is no such official part")
        return
    for kind, array, dtype, axes in (
        ("images", images, torch.uint8, "NHW"),
        ("labels", labels, torch.int64, "N"),
    ):
        check(isinstance(array, Tensor), f"{kind} are {type(array).__name__}", "a tensor")
        check(array.dtype == dtype, f"{kind} are {array.dtype}", str(dtype))
        shape = list(array.shape)
        check(len(shape) == len(axes), f"{kind} of shape {shape}", f"axes [{','.join(axes)}]")
    size, given = list(spec.size), list(images.shape[1:])
    check(given == size, f"images of H x W = {given}", f"{size}")
    check(len(images) == len(labels), f"{len(images)} images, {len(labels)} labels", "as many")
    check(len(images) == n, f"{len(images)} images", f"the official {n}")
    pixel = int(images.max())
    check(pixel <= spec.pixel_max, f"a pixel of {pixel}", f"at most {spec.pixel_max}")
    for label in (int(labels.min()), int(labels.max())):
        check(0 <= label < spec.n_classes, f"a label {label}", f"0 to {spec.n_classes - 1}")
    if wanted := spec.class_counts.get(part):
        found = torch.bincount(labels, minlength=spec.n_classes).tolist()
        check(found == list(wanted), f"{found} images a class", f"the official {list(wanted)}")
