"""MedMNIST's flat sets at 28 x 28, an extra beside the paper's ten, through the same interface.

J. Yang et al., MedMNIST v2, Scientific Data 10, 2023. What is known about them comes with the
package `medmnist` (the extra `data`).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sal.data.dataset import PARTS
from sal.data.errors import UnsupportedDataset
from sal.data.fetch import RemoteFile
from sal.data.official import prepared, to_grey
from sal.data.sources import Files
from sal.data.spec import Arrays, DatasetSpec

NAMES = (
    *("pathmnist", "chestmnist", "dermamnist", "octmnist", "pneumoniamnist", "retinamnist"),
    *("breastmnist", "bloodmnist", "tissuemnist", "organamnist", "organcmnist", "organsmnist"),
)


@cache
def spec(name: str) -> DatasetSpec:
    """What is known about one of ``NAMES``.

    Raises:
        UnsupportedDataset: the package is not installed, or an image of the set has many labels.
    """
    try:
        from medmnist import INFO
    except ImportError as error:
        raise UnsupportedDataset(
            f'{name} needs the package medmnist: pip install "sal-repro[data]"'
        ) from error
    info = INFO[name]
    if info["task"] == "multi-label, binary-class":
        raise UnsupportedDataset(
            f"{name} has {len(info['label'])} labels for each image; the methods here tell one."
        )

    def parse(folder: Path, scratch: Path) -> Arrays:
        import medmnist

        parser = getattr(medmnist, info["python_class"])
        parts = {}
        for part in PARTS:
            parsed = parser(split=part, root=folder, download=False)
            images = to_grey(parsed.imgs) if info["n_channels"] == 3 else parsed.imgs
            parts[part] = (images, parsed.labels.reshape(len(parsed.labels)))
        return prepared(**parts)

    file = RemoteFile(name=f"{name}.npz", md5=info["MD5"], urls=(info["url"],))
    return DatasetSpec(
        key=name,
        title=info["python_class"],
        classes=tuple(info["label"][str(number)] for number in range(len(info["label"]))),
        size=(28, 28),
        pixel_max=255,
        channels=info["n_channels"],
        counts={part: info["n_samples"][part] for part in PARTS},
        validation="the official test part; the official validation part is kept apart",
        citation="J. Yang et al., MedMNIST v2 - A large-scale lightweight benchmark for 2D and 3D "
        "biomedical image classification, Scientific Data 10, 2023.",
        licence=info["license"],
        sources=(Files(files=(file,), parse=parse),),
    )
