"""What the suites measure: every registered method, with K areas where its configuration has any.

asv imports these files from the working tree whatever commit it measures. What a commit lacks is
skipped in ``setup``, never at import. And a case is a class of its own, not one of asv's
parameters: asv passes a parameter by its position, so a base commit that knows fewer methods would
be measured under another method's name.

Axes: R replicas, B samples, D inputs.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks import HAS_GPU

D, H, C, B, LR = 784, 256, 10, 16, 1e-4
AREAS = (1, 4, 16)
"""K of SAL; other methods with areas have the last two."""
DEVICES = ["cpu", "cuda"] if HAS_GPU else ["cpu"]
STEPS = 100


@dataclass(frozen=True)
class Case:
    """A method; with K areas in its first layer, if it has areas."""

    method: str
    areas: int | None = None

    @property
    def label(self) -> str:
        """For people, such as SAL-4."""
        from baselines import learner_class

        suffix = "" if self.areas is None else f"-{self.areas}"
        return learner_class(self.method).__name__ + suffix

    @property
    def identifier(self) -> str:
        """For asv, such as sal_4."""
        return re.sub(r"\W", "_", self.method) + ("" if self.areas is None else f"_{self.areas}")

    def build(self, in_features: int = D, n_classes: int = C, replicas: int = 1, **config: Any):
        """A new learner of seeds 0 to ``replicas`` - 1.

        Raises:
            NotImplementedError: The code that is measured has no such method, or the method no such
                field in its configuration; asv then skips the benchmark.
        """
        try:
            from baselines import learners
            from sal import Streams
        except ImportError as error:
            raise NotImplementedError(f"not in this commit: {error}") from error
        if (learner := learners().get(self.method)) is None:
            raise NotImplementedError(f"no method {self.method} in this commit")
        known = {field.name for field in dataclasses.fields(learner.Config)}
        if "hidden" not in known and config.get("hidden") == (H,):
            del config["hidden"]  # a method of a single shape has the paper's
        if self.areas is not None:
            config["areas"] = (self.areas,)
        if missing := config.keys() - known:
            raise NotImplementedError(f"{self.method} has no {', '.join(sorted(missing))}")
        streams = [Streams(seed) for seed in range(replicas)]
        return learner(learner.Config(**config), in_features, n_classes, streams)


def cases() -> list[Case]:
    """Every registered method; those with areas once for each K. Empty where there is none yet."""
    try:
        from baselines import learners
    except ImportError:
        return []
    return [
        Case(name, k)
        for name, learner in learners().items()
        for k in _areas(name, learner.Config.__dataclass_fields__)
    ]


def _areas(name: str, fields: Any) -> Sequence[int | None]:
    if "areas" not in fields:
        return [None]
    return AREAS if name == "sal" else AREAS[1:]


class Suite:
    """What benchmarks share. Subclasses are named with an underscore: asv takes those of a case."""

    case: Case | None = None
    timeout = 300

    def build(self, device: str = "cpu", **options: Any):
        """The case's learner on a device, and one thread for everything.

        Raises:
            NotImplementedError: There is nothing to measure here: no GPU, no such method.
        """
        torch.set_num_threads(1)
        if self.case is None:
            raise NotImplementedError("no such method in this commit")
        if device == "cuda" and not torch.cuda.is_available():
            raise NotImplementedError("no GPU")
        return self.case.build(**options).to(device)


def add_suites(module: dict[str, Any], *bases: type[Suite]) -> None:
    """Adds a class of each base for each case to a module's names, such as ``Steps_sal_4``.

    A name that is asked for and is not there belongs to a method that this commit lacks: it gets
    a class that skips.
    """
    stems = {base.__name__.removeprefix("_"): base for base in bases}
    for stem, base in stems.items():
        for case in cases():
            name = f"{stem}_{case.identifier}"
            module[name] = type(name, (base,), {"case": case, "__module__": module["__name__"]})

    def absent(name: str) -> type[Suite]:
        if (base := stems.get(name.partition("_")[0])) is None:
            raise AttributeError(name)
        return type(name, (base,), {"case": None, "__module__": module["__name__"]})

    module["__getattr__"] = absent


def batch(
    size: int = B, replicas: int = 1, device: str = "cpu"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs [R, B, D] that spread over the areas, and labels [R, B]; always the same."""
    generator = torch.Generator().manual_seed(0)
    x_RBD = torch.randn(replicas, size, D, generator=generator)
    y_RB = torch.randint(0, C, (replicas, size), generator=generator)
    return x_RBD.to(device), y_RB.to(device)


def synchronise(device: str) -> None:
    """Waits until the device has done what it was told."""
    if device == "cuda":
        torch.cuda.synchronize()
