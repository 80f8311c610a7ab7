"""An adapter for methods that are one net in ordinary PyTorch and a way to fill its gradients.

Axes: R replicas, B samples, D inputs, C classes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from sal.config import Config
from sal.learner import Learner
from sal.streams import Streams


class GradientLearner(Learner):
    """A method of one ``nn.Module`` a replica; the adapter steps, and goes through the replicas.

    Abstract: a method says how a replica's net is built, and how its gradients are filled. Simple
    and slow: a loop over replicas, and whatever the net's own PyTorch costs.

    Args:
        config: The method's own configuration.
        in_features: D.
        n_classes: C.
        streams: One a replica.

    Raises:
        TypeError, ValueError: As ``Learner``.
    """

    def __init__(
        self, config: Config, in_features: int, n_classes: int, streams: Sequence[Streams]
    ) -> None:
        super().__init__(config, in_features, n_classes, streams)
        self._owners: dict[str, tuple[str, str]] = {}
        nets = [self.build(replica) for replica in streams]
        # Tensors are kept stacked, as the contract wants them, and lent to one net in turn.
        self._net = [nets[0]]  # in a list, so that it is not a submodule
        for kind in ("parameters", "buffers"):
            for name, _ in getattr(nets[0], f"named_{kind}")():
                stacked = torch.stack([_get(net, kind, name).detach() for net in nets])
                flat = name.replace(".", "__")  # a registered tensor's name cannot have dots
                if hasattr(self, flat):
                    raise ValueError(f"rename {name!r} in the net: {flat!r} is taken")
                if kind == "parameters":
                    self.register_parameter(flat, nn.Parameter(stacked, requires_grad=False))
                else:
                    self.register_buffer(flat, stacked)
                self._owners[flat] = (kind, name)

    @abstractmethod
    def build(self, streams: Streams) -> nn.Module:
        """The net of one replica, [B, D] to [B, C].

        Every random number from ``streams.generator``: none from PyTorch's own generator. What is
        frozen, such as feedback, is a buffer.
        """

    @abstractmethod
    def fill_gradients(self, net: nn.Module, x_BD: Tensor, y_B: Tensor) -> None:
        """Sets ``grad`` of every parameter of a replica's net to the update's direction.

        Gradients are None before; one that is left so is taken for zero. Buffers must stay as they
        are. Autograd records nothing unless it is asked to: ``torch.enable_grad()``.
        """

    def logits(self, x_RBD: Tensor) -> Tensor:
        """Logits [R, B, C] of ``x_RBD``. Changes nothing."""
        with torch.no_grad():
            nets = zip(self._nets(), x_RBD, strict=True)
            return torch.stack([net(x_BD) for net, x_BD in nets])

    def step(self, x_RBD: Tensor, y_RB: Tensor, lr: float) -> None:
        """One step, in place."""
        for name, update in self.update(x_RBD, y_RB).items():
            self.get_parameter(name).sub_(update, alpha=lr)

    def update(self, x_RBD: Tensor, y_RB: Tensor) -> dict[str, Tensor]:
        """The step's direction by parameter name. Pure."""
        self.check_batch(x_RBD, y_RB)
        result = {name: torch.zeros_like(p) for name, p in self.named_parameters()}
        for r, net in enumerate(self._nets()):
            with torch.no_grad():
                self.fill_gradients(net, x_RBD[r], y_RB[r])
            for flat, update in result.items():
                p = net.get_parameter(self._owners[flat][1])
                if p.grad is not None:
                    update[r] = p.grad
        return result

    def _nets(self) -> Iterator[nn.Module]:
        """The net with each replica's tensors in turn, without gradients."""
        (net,) = self._net
        for r in range(self.replicas):
            for flat, (kind, name) in self._owners.items():
                lent = _get(net, kind, name)  # the tensor stays, which several modules may share
                lent.data, lent.grad = self.tensors()[flat].data[r], None
            yield net


def _get(net: nn.Module, kind: str, name: str) -> Tensor:
    return net.get_parameter(name) if kind == "parameters" else net.get_buffer(name)
