"""What all tests share."""

import pytest
import torch

from paper import paths

torch.set_num_threads(1)  # nets this small gain nothing from more, and lose much on a busy machine


@pytest.fixture
def place(tmp_path):
    """A folder of results of the test's own."""
    return paths.Place(tmp_path, published=True)


@pytest.fixture
def ledger(place):
    """A ledger that does not exist yet."""
    return place.ledger("table2")
