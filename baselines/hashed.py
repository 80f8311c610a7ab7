"""What methods share that choose areas by a hash."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sal.arealearner import AreaConfig
from sal.hashing import draw_salt
from sal.streams import Streams


def layer_salt(
    config: AreaConfig, index: int, in_features: int, streams: Sequence[Streams]
) -> dict[str, Tensor]:
    """The salt [R, D] of a layer's hash of the net's input; nothing where there is one area."""
    if config.layer_areas(index) == 1:
        return {}
    salts = [draw_salt(in_features, replica.generator("router", index)) for replica in streams]
    return {"salt": torch.stack(salts)}
