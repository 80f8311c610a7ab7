"""The registry of methods: built-in ones, and plug-ins from other distributions.

A distribution adds a method by an entry point in group ``sal.baselines`` whose value is the
``Learner`` subclass; the contract tests and the ledger then know it by its ``name``.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import keyword
import re
import warnings
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from baselines.bp import BP, BPConfig
from baselines.dfa import DFA, DFAConfig
from baselines.drtp import DRTP, DRTPConfig
from baselines.fa import FA, FAConfig
from baselines.kp import KP, KPConfig
from baselines.local import Local, LocalConfig
from baselines.moe import MoE, MoEConfig
from baselines.sal_bp import SALBP
from baselines.sal_frozen import SALFrozen
from baselines.sal_hash import SALHash
from baselines.sal_random import SALRandom
from baselines.sal_redrawn import SALRedrawn, SALRedrawnConfig
from baselines.sal_step import SALStep
from baselines.set import SET, SETConfig
from baselines.shallow import Shallow, ShallowConfig
from baselines.sparse import Sparse, SparseConfig
from baselines.usf import USF, USFConfig
from sal.config import Config
from sal.learner import Learner
from sal.sal import SAL

__all__ = [
    "BP",
    "BUILT_IN",
    "BUILT_IN_NAMES",
    "DFA",
    "DRTP",
    "FA",
    "KP",
    "SALBP",
    "SET",
    "USF",
    "BPConfig",
    "DFAConfig",
    "DRTPConfig",
    "FAConfig",
    "KPConfig",
    "Local",
    "LocalConfig",
    "MoE",
    "MoEConfig",
    "SALFrozen",
    "SALHash",
    "SALRandom",
    "SALRedrawn",
    "SALRedrawnConfig",
    "SALStep",
    "SETConfig",
    "Shallow",
    "ShallowConfig",
    "Sparse",
    "SparseConfig",
    "USFConfig",
    "learner_class",
    "learners",
    "left_out",
    "version_of",
]

BUILT_IN: tuple[type[Learner], ...] = (
    *(BP, FA, USF, KP, DFA, DRTP, Local, Shallow, MoE, Sparse, SET),
    *(SAL, SALStep, SALFrozen, SALRandom, SALHash, SALRedrawn, SALBP),
)
"""The suite's own methods. Add a line to add one."""
NAMES = "lower-case letters, digits and, between them, _, such as sign_bp"
BUILT_IN_NAMES = frozenset(learner.name for learner in BUILT_IN)


def learners() -> dict[str, type[Learner]]:
    """Every method by name. A plug-in that cannot be used is named in a warning and left out."""
    return _registry()[0]


def left_out() -> dict[str, str]:
    """Why plug-ins are left out, by the name of their entry point."""
    return _registry()[1]


@cache
def _registry() -> tuple[dict[str, type[Learner]], dict[str, str]]:
    found, reasons = {learner.name: learner for learner in BUILT_IN}, {}
    for point in entry_points(group="sal.baselines"):
        try:
            learner = point.load()
            _check(learner)
            version_of(learner)  # of the file as it is loaded, whatever becomes of it
            if learner.name in found:
                raise ValueError(f"the name {learner.name!r} is taken by {found[learner.name]}")
        except (Exception, SystemExit) as error:  # somebody else's code: the rest still runs
            reasons[point.name] = f"{type(error).__name__}: {error}"
            warnings.warn(f"plug-in {point.value} is left out: {error}", stacklevel=3)
        else:
            found[learner.name] = learner
    return found, reasons


def _check(learner: object) -> None:
    """Raises unless it can be registered; ``baselines.conformance`` asks for the rest."""
    if not (isinstance(learner, type) and issubclass(learner, Learner)):
        raise TypeError(f"{learner!r} is not a subclass of sal.Learner")
    if inspect.isabstract(learner):
        lacking = ", ".join(sorted(learner.__abstractmethods__))
        raise TypeError(f"{learner.__name__} is abstract: it must define {lacking}")
    for field, kind in {"name": str, "summary": str, "version": int, "Config": type}.items():
        if not isinstance(getattr(learner, field, None), kind):
            given = getattr(learner, field, "nothing")
            raise TypeError(f"its {field} must be a {kind.__name__}, got {given!r}")
    if not is_name(learner.name):
        raise ValueError(f"its name must be {NAMES}; got {learner.name!r}")
    if not issubclass(learner.Config, Config):
        raise TypeError(f"its Config must derive from sal.Config, got {learner.Config!r}")
    try:
        config = learner.Config()
        json.dumps(config.to_dict(), allow_nan=False)
        hash(config)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{learner.Config.__name__}() must make a configuration of JSON values, with tuples "
            f"for lists and no dicts: {error}"
        ) from error


def is_name(name: str) -> bool:
    """Whether a method may be called so: see ``NAMES``."""
    words = name, name.capitalize()  # None, True and False are words, too, for a class
    allowed = re.fullmatch(r"[a-z]([a-z0-9_]*[a-z0-9])?", name)
    return bool(allowed) and not any(map(keyword.iskeyword, words))


@cache
def version_of(learner: type[Learner]) -> int | str:
    """What a result of a method is made by: its version, of a plug-in with a digest of its file.

    The suite's own methods raise their version where their numerics change, which the tests see to.
    An author at work on a plug-in need not: results of other code than now are stale.
    """
    if learner in BUILT_IN:
        return learner.version
    try:
        source = Path(inspect.getfile(learner)).read_bytes()
    except (TypeError, OSError):  # not from a file
        return learner.version
    return f"{learner.version}+{hashlib.sha256(source).hexdigest()[:12]}"


def learner_class(name: str) -> type[Learner]:
    """The method called ``name``.

    Raises:
        ValueError: There is none; the message says why if it was left out, and lists the others.

    Example:
        >>> from baselines import learner_class
        >>> learner_class("dfa")
        <class 'baselines.dfa.DFA'>
        >>> learner_class("dfaa")
        Traceback (most recent call last):
        ValueError: no method named 'dfaa'; there are bp, ... Did you mean 'dfa'?
    """
    if name in learners():
        return learners()[name]
    if name in left_out():
        raise ValueError(f"method {name!r} is left out: {left_out()[name]}")
    close = get_close_matches(name, learners(), n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"no method named {name!r}; there are {', '.join(learners())}.{hint}")
