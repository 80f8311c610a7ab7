"""Learned-frozen decoupled routing: which area each sample takes (paper, section 3.2.1).

Axes: B samples, D inputs of the layer, F routing features, K areas.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sal.net import output_error


def features(x_BD: Tensor, v_DF: Tensor, c_F: Tensor) -> Tensor:
    """Routing features r = x V + c, learned (eq. 1)."""
    return torch.addmm(c_F, x_BD, v_DF)


def choose(r_BF: Tensor, p_KF: Tensor) -> Tensor:
    """Area of each sample: argmax over k of <p_k, r>, with frozen prototypes p (eq. 2 and 3).

    Scores are plain inner products, so scaling all prototypes by one positive number changes
    nothing. Ties take the lowest index.
    """
    return torch.argmax(r_BF @ p_KF.T, dim=1)


def feature_error(r_BF: Tensor, y_B: Tensor) -> Tensor:
    """Error of the router's own loss, the cross-entropy of r against the label (eq. 9).

    With more features than classes the surplus ones are classes that never occur.
    """
    return output_error(r_BF, y_B)
