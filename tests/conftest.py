"""What all tests share."""

import os
from functools import partial
from types import SimpleNamespace

import pytest
import torch

# Without a GPU the kernels run in Triton's interpreter, to be chosen before anything imports triton
# (torch does not, torchvision does).
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

import baselines  # noqa: E402
from paper import paths  # noqa: E402

torch.set_num_threads(1)  # nets this small gain nothing from more, and lose much on a busy machine


@pytest.fixture
def place(tmp_path):
    """A folder of results of the test's own."""
    return paths.Place(tmp_path, published=True)


@pytest.fixture
def ledger(place):
    """A ledger that does not exist yet."""
    return place.ledger("table2")


@pytest.fixture
def plugins(monkeypatch):
    """Registers methods of other distributions, each by the name of its entry point."""

    def register(**found):
        def load(value):
            if isinstance(value, Exception):
                raise value
            return value

        points = [
            SimpleNamespace(name=name, value=f"{name}:X", load=partial(load, value))
            for name, value in found.items()
        ]
        monkeypatch.setattr("baselines.entry_points", lambda group: points)
        baselines._registry.cache_clear()

    yield register
    monkeypatch.undo()
    baselines._registry.cache_clear()
