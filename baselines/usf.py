"""Sign-symmetry: backpropagation through the signs of the weights, all of one size.

Axes: R replicas, D inputs and H outputs of a layer.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from baselines.dense import DenseLearner, FeedbackConfig
from sal.learner import Floor
from sal.net import Rule, init_spread


@dataclass(frozen=True, kw_only=True)
class USFConfig(FeedbackConfig):
    """Sign-symmetry's choices."""

    feedback_scale: float = 1.0
    """Size, > 0, of the elements that errors go back through, as a multiple of the standard
    deviation that the weights start with (Xiao et al. 2019)."""


class USF(DenseLearner):
    """delta_l = (delta_{l+1} s sign(W_{l+1})^T) * f'(a_l) (Liao et al. 2016, "uSF")."""

    name = "usf"
    summary = "Sign-symmetry, uniform sign-concordant feedback (Liao et al., AAAI 2016)"
    version = 1
    Config = USFConfig
    floor = Floor(lr=0.1, accuracy=95.0)
    engines = ("torch",)
    rule = Rule(credit="chained")

    def backward(self, index: int, state: dict[str, Tensor]) -> Tensor | None:
        """The signs of the weights as they are."""
        kind, scale = self.config.layer_init(index)
        spread = init_spread(kind, scale, *self.sizes[index])
        return state[f"weight{index}"].sign() * (self.config.feedback_scale * spread)
