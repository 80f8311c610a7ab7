"""Which images train and which validate.

Axes: N training images, M validation images, R replicas, D pixels of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

from sal.config import one_of
from sal.data.dataset import Dataset
from sal.data.pixels import Pixels
from sal.streams import Streams

VALIDATE_ON = ("test", "training")
"""Where the validation part comes from."""
CHUNK = 4096
"""Images resized at a time: as floats they take four times their bytes."""


@dataclass(frozen=True, eq=False)
class Partition:
    """The two parts of a data set, as inputs and labels, and each replica's share of them."""

    split: str
    """How the parts come about, recorded in every result."""
    train_x_ND: Pixels
    train_y_N: Tensor
    train_index_RN: Tensor
    val_x_MD: Pixels
    val_y_M: Tensor
    val_index_RM: Tensor

    def to(self, device: str) -> Partition:
        """The same on another device; parts that share memory still do."""
        x_ND, y_N = self.train_x_ND.to(device), self.train_y_N.to(device)
        shared = self.val_x_MD is self.train_x_ND
        return Partition(
            self.split,
            x_ND,
            y_N,
            self.train_index_RN.to(device),
            x_ND if shared else self.val_x_MD.to(device),
            y_N if shared else self.val_y_M.to(device),
            self.val_index_RM.to(device),
        )


def partition(
    data: Dataset,
    streams: Sequence[Streams],
    pixels: str = "signed",
    size: int | None = None,
    validation_share: float = 0.2,
    validate_on: str = "test",
) -> Partition:
    """Training and validation part of each replica.

    The validation part is the official test part. A set without one (Digits, Semeion) is split
    80/20 by the replica's own ``split`` stream, stratified by class, the same for every method.
    The paper names no split; "validation" on the test part is what fits its baseline.

    Args:
        data: The data set.
        streams: One a replica.
        pixels: Scaling, a key of ``SCALINGS``.
        size: Rows and columns that images are resized to; None: as they are.
        validation_share: Of a set without test part, and of what is cut from the training part.
        validate_on: ``test``, or ``training``: the same cut once more from the training part, so
            that choices can be made without the test part, which is then not read.

    Raises:
        ValueError: The share leaves a part without a sample of every class.
    """
    one_of("validate_on", validate_on, VALIDATE_ON)
    images, pixel_max = resized(data.train_images, data.pixel_max, size)
    x_ND, y_N = Pixels.of(images, pixel_max, pixels), data.train_labels
    every_RN = np.tile(np.arange(len(x_ND)), (len(streams), 1))
    share = f"{100 * (1 - validation_share):.0f}/{100 * validation_share:.0f}"
    if data.test_images is None:
        train_RN, val_RM = _cut(data, every_RN, streams, validation_share)
        split = f"stratified {share} of the seed"
    else:
        train_RN, val_RM, split = every_RN, None, "official test part"
    if validate_on == "training":
        train_RN, val_RM = _cut(data, train_RN, streams, validation_share, 1)
        split = f"stratified {share} of the training part; without the test part ({split})"
    x_MD, y_M = x_ND, y_N
    if val_RM is None:
        x_MD = Pixels.of(*resized(data.test_images, data.pixel_max, size), pixels)
        y_M = data.test_labels
        val_RM = np.tile(np.arange(len(y_M)), (len(streams), 1))
    return Partition(
        split, x_ND, y_N, torch.from_numpy(train_RN), x_MD, y_M, torch.from_numpy(val_RM)
    )


def _cut(
    data: Dataset, rows_RN: np.ndarray, streams: Sequence[Streams], share: float, *index: int
) -> tuple[np.ndarray, np.ndarray]:
    """Each replica's images in two parts, stratified, in order; the second is the share."""
    labels_N = data.train_labels.numpy()
    try:
        parts = [
            train_test_split(
                row_N,
                test_size=share,
                random_state=replica.integer("split", *index) % 2**32,
                stratify=labels_N[row_N],
            )
            for row_N, replica in zip(rows_RN, streams, strict=True)
        ]
    except ValueError as error:
        raise ValueError(
            f"validation_share {share} does not split {data.title} so that both parts have every "
            f"class; take another: {error}"
        ) from error
    first_RN, second_RM = (np.sort(np.stack(part)) for part in zip(*parts, strict=True))
    return first_RN, second_RM


def resized(images_NHW: Tensor, pixel_max: int, size: int | None) -> tuple[Tensor, int]:
    """uint8 images with ``size`` rows and columns, and their largest value.

    As torchvision's Resize makes them of an image file: from 0 to 255, bilinear, with antialiasing
    where they shrink. None: the images themselves.
    """
    if size is None:
        return images_NHW, pixel_max
    from torchvision.transforms.v2.functional import resize  # takes seconds to import

    resized_NHW = torch.empty(len(images_NHW), size, size, dtype=torch.uint8)
    for start in range(0, len(images_NHW), CHUNK):
        part_NHW = images_NHW[start : start + CHUNK]
        full_NHW = (part_NHW.float() * (255 / pixel_max)).round().to(torch.uint8)
        shrunk_N1HW = resize(full_NHW.unsqueeze(1), [size, size], antialias=True)
        resized_NHW[start : start + CHUNK] = shrunk_N1HW.squeeze(1)
    return resized_NHW, 255
