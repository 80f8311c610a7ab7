"""Who takes part in the matched tuning: columns with their methods, configurations and looks."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from baselines import BUILT_IN_NAMES, learners
from paper import methods, scaling, style
from sal.config import Config

WIDE = 4096
"""Hidden units with which a dense net has as many parameters as SAL-16 of 256."""
WIDE_COLUMN = f"Baseline, {WIDE} units"
DEEP_ON, DEPTHS = "semeion", (2, 8, 32)
"""The data set on which deep nets of Figure 2 are tuned, too, and their depths: the smallest, since
each of its seeds has a search of its own."""
DEEP = {"Baseline": "bp", "SAL-4": "sal"}
OTHER_COLOURS = ("#5D3A9B", "#8C6D1F", "#117733")
"""Of methods of other distributions."""

Entrants = Mapping[str, tuple[str, Config]]
"""Column -> method and configuration."""


@cache
def two_layer() -> Entrants:
    """Those with the net of Table 2.

    A sample uses as many parameters of SAL-K as of the baseline, and of the router 3 to 4 % more
    where K > 1, so that the baseline itself is backpropagation at equal active parameters, nearly.
    Methods of other distributions come last.
    """
    found: dict[str, tuple[str, Config]] = {
        "Baseline": ("bp", methods.configuration("bp", None)),
        "FA": ("fa", methods.configuration("fa", None)),
        "DFA": ("dfa", methods.configuration("dfa", None)),
        **{f"MoE-{k}": ("moe", methods.configuration("moe", k)) for k in (4, 16)},
        **{f"SAL-{k}": ("sal", methods.configuration("sal", k)) for k in (1, 4, 16)},
    }
    for k in (4, 16):
        found[f"SAL-{k}, step / {k}"] = ("sal", replace(found[f"SAL-{k}"][1], area_norm="batch"))
    found[WIDE_COLUMN] = ("bp", replace(found["Baseline"][1], hidden=(WIDE,)))
    for name in (name for name in learners() if name not in BUILT_IN_NAMES):
        try:
            found |= {
                methods.column(name, k): (name, methods.configuration(name, k))
                for k in methods.areas_of(name)
            }
        except Exception as error:  # other people's code
            warnings.warn(f"plug-in {name} is left out of the tuning: {error}", stacklevel=2)
    return found


@cache
def deep() -> Entrants:
    """Those with the nets of Figure 2, on ``DEEP_ON`` alone."""
    depth = scaling.EXPERIMENTS["figure2"]
    return {
        deep_column(title, value): (name, scaling.deep(name, depth.shape(value)))
        for value in DEPTHS
        for title, name in DEEP.items()
    }


def deep_column(column: str, depth: int) -> str:
    """The column of a net so many layers deep."""
    return f"{column}, depth {depth}"


def everyone() -> Entrants:
    """All of them."""
    return {**two_layer(), **deep()}


def on(dataset: str) -> Entrants:
    """All who take part on a data set."""
    return everyone() if dataset == DEEP_ON else two_layer()


def of_the_suite(entrants: Entrants) -> list[str]:
    """The columns of the suite's own methods."""
    return [column for column, (name, _) in entrants.items() if name in BUILT_IN_NAMES]


def looks() -> dict[str, tuple[str, Any]]:
    """Column -> colour and dashes, of two layers: a colour a method, dashes a K."""
    found, rest = {}, itertools.cycle(OTHER_COLOURS)
    colours = {
        name: style.COLOURS.get(name) or next(rest)
        for name in dict.fromkeys(name for name, _ in two_layer().values())
    }
    for column, (method, config) in two_layer().items():
        k = getattr(config, "areas", (1,))[0]
        dashes = {1: "-", 4: "--", 16: (0, (1, 1))}[k]
        colour = colours[method]
        if "step /" in column:
            colour = "#000000"
        if column == WIDE_COLUMN:
            colour = "#999999"
        found[column] = (colour, dashes)
    return found
