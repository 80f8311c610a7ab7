"""What SAL's ablations share that choose areas by a hash."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sal.hashing import draw_salt
from sal.sal import SALFamily, layer_feedback
from sal.streams import Streams


class HashedSAL(SALFamily):
    """SAL without a router: a layer's area is a hash of the net's input. Abstract."""

    def besides(self, index: int, D: int, H: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """SAL's feedback, and the hash's salt [R, inputs] of a layer of several areas."""
        feedback = layer_feedback(self.config, index, self.n_classes, H, streams)
        if self.config.layer_areas(index) == 1:
            return feedback
        salts = [draw_salt(self.in_features, each.generator("router", index)) for each in streams]
        return feedback | {"salt": torch.stack(salts)}
