"""NAME: what it is, in a line.

Copied from ``baselines/TEMPLATE.py``: replace what is in capitals, and the rule by your own. As it
stands it is backpropagation by autograd.

Axes: B samples, D inputs, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.gradient import GradientLearner
from sal import Config, Floor, Streams
from sal.config import positive


@dataclass(frozen=True, kw_only=True)
class TemplateConfig(Config):
    """The method's choices: a default and a line of text for each.

    Raises:
        ValueError: A field is outside its range; the message names the field and its range.
    """

    hidden: tuple[int, ...] = (256,)
    """Sizes of the hidden layers, input side first."""

    weight_scale: float = 1.0
    """Factor, > 0, of the first weights, N(0, 2 / inputs)."""

    def __post_init__(self) -> None:
        positive("weight_scale", self.weight_scale)


class Template(GradientLearner):
    """NAME (AUTHORS, YEAR, equation)."""

    name = "template"
    summary = "NAME (AUTHORS, VENUE YEAR)"
    version = 1
    Config = TemplateConfig
    floor = Floor(lr=0.1, accuracy=95.0)

    def build(self, streams: Streams) -> nn.Module:
        """The net of one replica, [B, D] to [B, C]; random numbers from ``streams`` alone."""
        sizes = (self.in_features, *self.config.hidden, self.n_classes)
        parts: list[nn.Module] = []
        for index, (inputs, outputs) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
            linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
            scale = self.config.weight_scale * (2 / inputs) ** 0.5
            generator = streams.generator("weights", index)
            linear.weight.data.normal_(std=scale, generator=generator)
            linear.bias.data.zero_()
            parts += [linear, nn.ReLU()]
        return nn.Sequential(*parts[:-1])

    def fill_gradients(self, net: nn.Module, x_BD: Tensor, y_B: Tensor) -> None:
        """Sets ``grad`` of every parameter to what a step subtracts, but for the step size."""
        with torch.enable_grad():
            nn.functional.cross_entropy(net(x_BD), y_B).backward()
