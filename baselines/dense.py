"""What the baselines share that train one matrix a layer: their weights, and plain descent.

Axes: R replicas, B samples, D inputs and H outputs of a layer, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sal.config import NetConfig, positive
from sal.net import Layer, draw_weights, init_weights_
from sal.netlearner import NetLearner
from sal.streams import Streams


@dataclass(frozen=True, kw_only=True)
class DenseConfig(NetConfig):
    """The net of the paper's baseline."""

    init: str = "kaiming"
    """"We employed ReLU activation with Kaiming initialization" (section 4.1.1)."""


@dataclass(frozen=True, kw_only=True)
class FeedbackConfig(DenseConfig):
    """The same net, for methods with something else than its weights on the way back.

    Raises:
        ValueError: A field is outside its range; the message names the field and its range.
    """

    feedback_scale: float = 1.0
    """Factor, > 0, of what errors go back through; each method says of what."""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("feedback_scale", self.feedback_scale)


class DenseLearner(NetLearner):
    """A fully connected net of one matrix a layer, trained by SGD on the errors of its ``rule``.

    Abstract: a method says by which rule, what tensors that needs, and what errors go back through.
    All start from the same weights.

    Args:
        config: Choices.
        in_features: D.
        n_classes: C.
        streams: One a replica; uses weights, and what ``besides`` uses.
        engine: compiled, torch or None: the device's own.

    Raises:
        TypeError, ValueError: As ``Learner``.
    """

    def __init__(
        self,
        config: NetConfig,
        in_features: int,
        n_classes: int,
        streams: Sequence[Streams],
        engine: str | None = None,
    ) -> None:
        super().__init__(config, in_features, n_classes, streams, engine)
        for index, sizes in enumerate(self.sizes):
            w_RKDH = draw_weights(streams, index, 1, sizes, config.layer_init(index))
            besides = self.besides(index, *sizes, streams)
            tensors = {"weight": w_RKDH.squeeze(1)}
            if "mask" in besides:
                tensors["weight"].mul_(besides["mask"])
            if config.bias:
                tensors["bias"] = torch.zeros(len(streams), sizes[1])
            self.add(index, tensors | besides)

    def besides(self, index: int, D: int, H: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """What a layer has besides weights and biases, named as ``Layer``'s fields are. A hook."""
        return {}

    def backward(self, index: int, state: dict[str, Tensor]) -> Tensor | None:
        """The matrices [R, D, H] that a layer's error goes back through, where errors are chained.

        A hook. None: its weights.
        """
        return state.get(f"backward{index}")

    def layers(self, state: dict[str, Tensor]) -> list[Layer]:
        """The net as views into the tensors of ``state``: one area a layer."""
        return [
            Layer(
                weight_RKDH=state[f"weight{index}"].unsqueeze(1),
                bias_RKH=state[f"bias{index}"].unsqueeze(1) if self.config.bias else None,
                activation=self.config.layer_activation(index),
                residual=self.config.layer_residual(index, *sizes),
                rate=self.layer_rate(index),
                feedback_RCH=state.get(f"feedback{index}"),
                backward_RDH=self.backward(index, state),
                mask_RDH=state.get(f"mask{index}"),
                head_RHC=state.get(f"head{index}"),
                head_bias_RC=state.get(f"head_bias{index}"),
            )
            for index, sizes in enumerate(self.sizes)
        ]


def draw_backward(
    config: FeedbackConfig, index: int, D: int, H: int, streams: Sequence[Streams]
) -> dict[str, Tensor]:
    """A matrix [R, D, H] for a layer's error to go back through, drawn as its weights are.

    Times ``feedback_scale``. None for the first layer.
    """
    if index == 0:
        return {}
    kind, scale = config.layer_init(index)
    b_RDH = torch.empty(len(streams), D, H)
    for b_DH, replica in zip(b_RDH, streams, strict=True):
        generator = replica.generator("feedback", index)
        init_weights_(b_DH, kind, scale * config.feedback_scale, generator)
    return {"backward": b_RDH}
