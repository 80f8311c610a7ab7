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

from sal.data.dataset import Dataset
from sal.data.pixels import Pixels
from sal.streams import Streams

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
        validation_share: Of a set without test part.

    Raises:
        ValueError: The share leaves a part without a sample of every class.
    """
    images, pixel_max = resized(data.train_images, data.pixel_max, size)
    x_ND = Pixels.of(images, pixel_max, pixels)
    if data.test_images is not None:
        rows = len(streams)
        return Partition(
            "official test part",
            x_ND,
            data.train_labels,
            torch.arange(len(x_ND)).expand(rows, -1),
            Pixels.of(*resized(data.test_images, data.pixel_max, size), pixels),
            data.test_labels,
            torch.arange(len(data.test_images)).expand(rows, -1),
        )
    try:
        parts = [
            train_test_split(
                np.arange(len(x_ND)),
                test_size=validation_share,
                random_state=replica.integer("split") % 2**32,
                stratify=data.train_labels.numpy(),
            )
            for replica in streams
        ]
    except ValueError as error:
        raise ValueError(
            f"validation_share {validation_share} does not split {data.title} so that both parts "
            f"have every class; take another: {error}"
        ) from error
    train_RN, val_RM = (
        torch.from_numpy(np.sort(np.stack(part))) for part in zip(*parts, strict=True)
    )
    return Partition(
        f"stratified {100 * (1 - validation_share):.0f}/{100 * validation_share:.0f} of the seed",
        x_ND,
        data.train_labels,
        train_RN,
        x_ND,
        data.train_labels,
        val_RM,
    )


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
