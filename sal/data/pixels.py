"""Pixels as the inputs of a net: kept as bytes, scaled when they are taken.

Axes: N images, D pixels of an image.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sal.config import one_of

SCALINGS = {
    "signed": "2 x / max - 1, in [-1, 1]: what fits the published baseline",
    "unit": "x / max, in [0, 1]",
}


@dataclass(frozen=True, eq=False)
class Pixels:
    """Flat images. ``pixels[positions]`` are float32 inputs, as indexing a tensor [N, D] gives.

    A value x becomes x * scale + offset: two float32 operations, each rounded, in every engine.
    """

    values_ND: Tensor
    """uint8."""
    scale: float
    offset: float

    @classmethod
    def of(cls, images_NHW: Tensor, pixel_max: int, scaling: str) -> Pixels:
        """The pixels of uint8 images; ``scaling`` is a key of ``SCALINGS``.

        Raises:
            ValueError: ``scaling`` is none of them.
        """
        one_of("pixels", scaling, tuple(SCALINGS))
        signed = scaling == "signed"
        return cls(images_NHW.flatten(1), (2 if signed else 1) / pixel_max, -1.0 if signed else 0.0)

    def __getitem__(self, index: Tensor) -> Tensor:
        return self.values_ND[index].float().mul_(self.scale).add_(self.offset)

    def __len__(self) -> int:
        return len(self.values_ND)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, D)."""
        return tuple(self.values_ND.shape)

    @property
    def device(self):
        """Where the bytes are."""
        return self.values_ND.device

    def to(self, device: str) -> Pixels:
        """The same on another device."""
        return Pixels(self.values_ND.to(device), self.scale, self.offset)
