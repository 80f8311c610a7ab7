"""What methods share whose layers have several areas of which each sample takes one, or a few.

Axes: R replicas, B samples, D inputs and H outputs of a layer, K areas.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sal.config import NetConfig, counts
from sal.net import Layer, draw_weights, pass_through, route
from sal.netlearner import NetLearner
from sal.streams import Streams


@dataclass(frozen=True, kw_only=True)
class AreaConfig(NetConfig):
    """A net with areas.

    Raises:
        ValueError: A field is outside its range; the message names the field and its range.
    """

    areas: tuple[int, ...] = (1,)
    """K of the first, second, ... layer, each >= 1; layers beyond the tuple have one area.
    Section 4.1 varies K "in the first layer"; 4.2 has K = 4 in the input and hidden layers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "areas", counts("areas", self.areas))
        layers = len(self.hidden) + 1
        if len(self.areas) > layers:
            raise ValueError(
                f"areas must be at most {layers} integers >= 1, one for each layer of "
                f"hidden={self.hidden} from the first on; got {self.areas!r}"
            )

    def layer_areas(self, layer: int) -> int:
        """K of layer ``layer``, counted from 0."""
        return self.areas[layer] if layer < len(self.areas) else 1


class AreaLearner(NetLearner):
    """A net whose layers have areas. Abstract: a method says how they are chosen and learn.

    Args:
        config: Choices.
        in_features: D.
        n_classes: C.
        streams: One a replica; uses weights, and what ``besides`` uses.
        engine: How it is computed: compiled (``sal.compiled``), or in PyTorch by one of the ways of
            ``sal.areas``; None: compiled on the CPU, the last one on a GPU.

    Raises:
        TypeError, ValueError: As ``Learner``; unknown engine.
    """

    engines = ("compiled", "grouped", "masked", "triton")
    learns = ("weight", "bias", "router", "router_bias")
    fresh: bool = False
    """As ``Layer.fresh``; this and the next two may be properties."""
    experts: int = 0
    """Areas that a sample takes where there are several, weighted by gates; 0: one, unweighted."""
    gates: str = "all"
    """As ``Layer.gates``."""

    def __init__(
        self,
        config: AreaConfig,
        in_features: int,
        n_classes: int,
        streams: Sequence[Streams],
        engine: str | None = None,
    ) -> None:
        super().__init__(config, in_features, n_classes, streams, engine)
        for index, sizes in enumerate(self.sizes):
            K = config.layer_areas(index)
            weight = draw_weights(streams, index, K, sizes, config.layer_init(index))
            tensors = {"weight": weight}
            if config.bias:
                tensors["bias"] = torch.zeros(len(streams), K, sizes[1])
            self.add(index, tensors | self.besides(index, *sizes, streams))

    @abstractmethod
    def besides(self, index: int, D: int, H: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """What a layer has besides weights and biases, named as ``Layer``'s fields are."""

    def layers(self, state: dict[str, Tensor]) -> list[Layer]:
        """The net as views into the tensors of ``state``."""
        return [
            Layer(
                weight_RKDH=state[f"weight{index}"],
                bias_RKH=state.get(f"bias{index}"),
                activation=self.config.layer_activation(index),
                residual=self.config.layer_residual(index, *sizes),
                rate=self.layer_rate(index),
                feedback_RCH=state.get(f"feedback{index}"),
                router_RDF=state.get(f"router{index}"),
                router_bias_RF=state.get(f"router_bias{index}"),
                prototypes_RKF=state.get(f"prototypes{index}"),
                salt_RD=state.get(f"salt{index}"),
                fresh=self.fresh,
                experts=self.experts if self.config.layer_areas(index) > 1 else 0,
                gates=self.gates,
            )
            for index, sizes in enumerate(self.sizes)
        ]

    def routes(self, x_RBD: Tensor) -> dict[str, Tensor]:
        """Area [R, B] of each sample in each layer that has several, the best where it takes more.

        Changes nothing.
        """
        last, found, h_RBX = max(self._routed(), default=-1), {}, x_RBD
        for index, layer in enumerate(self.layers(self.tensors())[: last + 1]):
            if index == last:  # what follows the last router does not matter
                _, area_RB = route(layer, h_RBX, x_RBD)
            else:
                h_RBX, (_, _, area_RB, _) = pass_through(layer, h_RBX, x_RBD, self.engine)
            if area_RB is not None:
                found[f"layer{index}"] = area_RB
        return found

    def areas_of(self) -> dict[str, int]:
        """K of each layer that has several areas."""
        return {f"layer{index}": self.config.layer_areas(index) for index in self._routed()}

    def _routed(self) -> list[int]:
        return [index for index in range(len(self.sizes)) if self.config.layer_areas(index) > 1]
