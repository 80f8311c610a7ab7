"""A mixture of experts: the same net as SAL's, routed by gates and trained by backpropagation.

Axes: R replicas, D inputs and H outputs of a layer, K experts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sal import mixture
from sal.arealearner import AreaConfig, AreaLearner
from sal.config import not_negative, one_of
from sal.learner import Floor
from sal.net import Rule, init_weights_
from sal.streams import Streams


@dataclass(frozen=True, kw_only=True)
class MoEConfig(AreaConfig):
    """The mixture's choices; ``areas`` is the number of experts of each layer, as in SAL.

    Raises:
        ValueError: A field is outside its range; the message names the field and its range.
    """

    init: str = "kaiming"
    """As the baseline's."""

    experts: int = 1
    """Experts that each sample takes, >= 1, in each layer that has so many. With 1 a sample costs
    what it costs SAL."""

    gates: str = "all"
    """What the softmax of the gates is over: all experts (Fedus et al. 2022), which weights a
    layer's output by about 1 / K at the start; or the chosen ones (Shazeer et al. 2017, eq. 3),
    which for one expert is 1 and does not teach the gates."""

    balance: str = "importance"
    """Loss that keeps experts in use: importance (Shazeer et al. 2017, eq. 6 and 7) or switch
    (Fedus et al. 2022, eq. 4). Shazeer's loss of the load needs the noise of his gates, which is
    left out, so that an update depends on its batch alone."""

    balance_weight: float = 0.1
    """Its factor, >= 0 (Shazeer et al. 2017, appendix C.1: 0.1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        most = max((k for k in self.areas if k > 1), default=1)
        if type(self.experts) is not int or not 1 <= self.experts <= most:
            raise ValueError(
                f"experts must be an integer from 1 to {most}, the most that a layer of "
                f"areas={self.areas} has; got {self.experts!r}"
            )
        one_of("gates", self.gates, mixture.GATES)
        one_of("balance", self.balance, mixture.BALANCES)
        not_negative("balance_weight", self.balance_weight)


class MoE(AreaLearner):
    """h = sum over the chosen k of g_k f(x W_k + b_k), g = softmax(x V + c).

    All of it descends the gradient of the mean cross-entropy and of the balance loss.
    """

    name = "moe"
    summary = (
        "Mixture of experts by backpropagation, top-1 (Shazeer et al. 2017, Fedus et al. 2022)"
    )
    version = 1
    Config = MoEConfig
    floor = Floor(lr=0.1, accuracy=95.0)

    @property
    def engines(self) -> tuple[str, ...]:
        """The compiled engine knows one expert a sample and gates over all."""
        known = (self.config.experts, self.config.gates) == (1, "all")
        return ("compiled", "grouped", "masked") if known else ("grouped", "masked")

    @property
    def rule(self) -> Rule:
        """The gradient, and the balance that the configuration says."""
        balance, weight = self.config.balance, self.config.balance_weight
        return Rule(credit="chained", area_norm="batch", balance=balance, balance_weight=weight)

    @property
    def experts(self) -> int:
        """As the configuration says."""
        return self.config.experts

    @property
    def gates(self) -> str:
        """As the configuration says."""
        return self.config.gates

    def besides(self, index: int, D: int, H: int, streams: Sequence[Streams]) -> dict[str, Tensor]:
        """The gates V [R, D, K] and c [R, K] of a layer of several experts."""
        K = self.config.layer_areas(index)
        if K == 1:
            return {}
        v_RDK = torch.empty(len(streams), D, K)
        for v_DK, replica in zip(v_RDK, streams, strict=True):
            init_weights_(v_DK, "torch", 1.0, replica.generator("router", index))
        return {"router": v_RDK, "router_bias": torch.zeros(len(streams), K)}
