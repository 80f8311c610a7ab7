"""What all tests share."""

import torch

torch.set_num_threads(1)  # nets this small gain nothing from more, and lose much on a busy machine
