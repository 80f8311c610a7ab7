"""Configurations: frozen dataclasses, varied by ``dataclasses.replace``, stored as JSON objects."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

ACTIVATIONS = ("relu", "tanh", "linear")
RESIDUALS = ("none", "after", "inside")
INITS = ("normal", "kaiming", "torch", "stacked")
NORMS = ("share", "batch", "count")


@dataclass(frozen=True, kw_only=True)
class Config:
    """What every method's configuration can do. Abstract: subclass it, frozen and keyword-only.

    A field that is added later must have a default that means what was done before it existed:
    stored results without the field are read with that default.
    """

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values (tuples become lists)."""
        return {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in dataclasses.fields(self)
            for value in [getattr(self, field.name)]
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The configuration that ``to_dict`` wrote; fields that are absent take their defaults.

        Raises:
            ValueError: There is a field that this class does not know, or a value it refuses.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(
                f"{cls.__name__} has no field {', '.join(unknown)}; "
                f"it has {', '.join(sorted(known))}"
            )
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


@dataclass(frozen=True, kw_only=True)
class NetConfig(Config):
    """The fully connected net that every built-in method trains (paper, sections 4.1 and 4.2).

    Raises:
        ValueError: A field is outside its range; the message names the field and its range.
    """

    hidden: tuple[int, ...] = (256,)
    """Sizes of the hidden layers, input side first, each >= 1; () is a linear classifier.
    Section 4.1: one of 256."""

    activation: str = "relu"
    """Nonlinearity of the hidden layers: relu (section 4.1), tanh (4.2) or linear."""

    input_activation: str | None = None
    """Nonlinearity of the first hidden layer where it differs: section 4.2 makes it linear.
    None: as ``activation``. The output layer is always linear."""

    residual: str = "none"
    """Residual connection around each hidden layer whose input and output sizes agree (eq. 5, whose
    formula is lost): none, after (h = f(a) + x) or inside (h = f(a + x))."""

    bias: bool = True
    """Whether layers have biases, zero at the start. The paper does not say."""

    init: str = "normal"
    """Distribution of the initial weights: normal (N(0, init_scale^2)), kaiming (N(0, 2 / inputs),
    times init_scale), torch (PyTorch's Linear default, U(+-1 / sqrt(inputs)), times it) or stacked
    (N(0, 2 / (inputs * outputs)), times it: what ``nn.init.kaiming_normal_`` makes of one tensor
    [K, inputs, outputs] of all areas, since it takes all axes but the first for inputs)."""

    init_scale: float = 1.0
    """Factor of the initial weights, > 0."""

    output_init: str | None = None
    """The same for the output layer; None: as ``init``."""

    output_init_scale: float | None = None
    """The same for the output layer; None: as ``init_scale``."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", counts("hidden", self.hidden))
        one_of("bias", self.bias, (True, False))
        one_of("activation", self.activation, ACTIVATIONS)
        one_of("input_activation", self.input_activation, (None, *ACTIVATIONS))
        one_of("residual", self.residual, RESIDUALS)
        one_of("init", self.init, INITS)
        one_of("output_init", self.output_init, (None, *INITS))
        positive("init_scale", self.init_scale)
        if self.output_init_scale is not None:
            positive("output_init_scale", self.output_init_scale)

    def sizes(self, in_features: int, n_classes: int) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of each layer, the output layer last."""
        ends = (in_features, *self.hidden, n_classes)
        return tuple(zip(ends[:-1], ends[1:], strict=True))

    def layer_activation(self, layer: int) -> str:
        """Nonlinearity of layer ``layer`` (0 is the first; the output layer is linear)."""
        if layer == len(self.hidden):
            return "linear"
        first = layer == 0 and self.input_activation is not None
        return self.input_activation if first else self.activation

    def layer_residual(self, layer: int, inputs: int, outputs: int) -> str:
        """Kind of residual connection of layer ``layer``: only hidden layers, only equal sizes."""
        return self.residual if layer < len(self.hidden) and inputs == outputs else "none"

    def layer_init(self, layer: int) -> tuple[str, float]:
        """(distribution, factor) of the initial weights of layer ``layer``."""
        if layer < len(self.hidden):
            return self.init, self.init_scale
        scale = self.output_init_scale
        return self.output_init or self.init, self.init_scale if scale is None else scale


def one_of(field: str, value: object, allowed: tuple) -> None:
    """Raises ValueError unless ``value`` is one of ``allowed``."""
    if not any(type(value) is type(each) and value == each for each in allowed):  # 1 is not True
        names = ", ".join(map(repr, allowed))
        raise ValueError(f"{field} must be one of {names}; got {value!r}")


def counts(field: str, values: object) -> tuple[int, ...]:
    """The values as a tuple; raises ValueError unless they are integers >= 1, in a sequence."""
    if not isinstance(values, list | tuple) or not all(map(_is_count, values)):
        raise ValueError(
            f"{field} must be a tuple of integers >= 1, one a layer, such as (4,); got {values!r}"
        )
    return tuple(values)


def positive(field: str, value: float) -> None:
    """Raises ValueError unless ``value`` is a finite number > 0."""
    if not _is_number(value) or not 0 < value < float("inf"):
        raise ValueError(f"{field} must be a finite number > 0, got {value!r}")


def not_negative(field: str, value: float) -> None:
    """Raises ValueError unless ``value`` is a finite number >= 0."""
    if not _is_number(value) or not 0 <= value < float("inf"):
        raise ValueError(f"{field} must be a finite number >= 0, got {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
