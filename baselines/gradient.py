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
        nets = [self.build(replica) for replica in streams]
        # Tensors are kept stacked, as the contract wants them, and lent to one net in turn.
        self._net = [nets[0]]  # in a list, so that it is not a submodule
        for name, _ in nets[0].named_parameters():
            tensors = [net.get_parameter(name).detach() for net in nets]
            stacked = nn.Parameter(torch.stack(tensors), requires_grad=False)
            self.register_parameter(_flat(name), stacked)
        for name, _ in nets[0].named_buffers():
            self.register_buffer(_flat(name), torch.stack([net.get_buffer(name) for net in nets]))

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
            self._parameters[name].sub_(update, alpha=lr)

    def update(self, x_RBD: Tensor, y_RB: Tensor) -> dict[str, Tensor]:
        """The step's direction by parameter name. Pure."""
        self.check_batch(x_RBD, y_RB)
        result = {name: torch.zeros_like(p) for name, p in self.named_parameters()}
        for r, net in enumerate(self._nets()):
            with torch.no_grad():
                self.fill_gradients(net, x_RBD[r], y_RB[r])
            for name, p in net.named_parameters():
                if p.grad is not None:
                    result[_flat(name)][r] = p.grad
                    p.grad = None
        return result

    def _nets(self) -> Iterator[nn.Module]:
        """The net with each replica's tensors in turn."""
        (net,) = self._net
        modules = dict(net.named_modules())
        for r in range(self.replicas):
            for name, p in net.named_parameters():
                p.data = self._parameters[_flat(name)][r]
            for name, _ in list(net.named_buffers()):
                owner, _, own = name.rpartition(".")
                modules[owner]._buffers[own] = self._buffers[_flat(name)][r]
            yield net


def _flat(name: str) -> str:
    """A name without dots, which a registered tensor cannot have."""
    return name.replace(".", "__")
