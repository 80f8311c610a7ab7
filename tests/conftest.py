"""What all tests share."""

import os

import pytest
import torch

# Without a GPU the kernels run in Triton's interpreter, to be chosen before anything imports triton
# (torch does not, torchvision does).
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

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
