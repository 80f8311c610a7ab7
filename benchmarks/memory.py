"""Memory, for asv: peak of a process that trains, and of what PyTorch holds on a GPU meanwhile.

asv's ``peakmem`` is the whole process, PyTorch's libraries included, and knows nothing of a GPU.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch

from benchmarks.cases import LR, STEPS, B, D, Suite, add_suites, batch

WIDTHS = [256, 1024]


def _resident(field):
    """Bytes of the process in memory: VmRSS now, VmHWM at its peak."""
    return 1024 * int(re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


class _Memory(Suite):
    params = (WIDTHS,)
    param_names = ("width",)

    def setup(self, width):
        self.learner, self.batch = self.build(hidden=(width,)), batch()

    def peakmem_100_steps(self, width):
        for _ in range(STEPS):
            self.learner.step(*self.batch, LR)


class _MemoryShare(Suite):
    """What training adds to the process, as a multiple of what it cannot do without."""

    params = (WIDTHS,)
    param_names = ("width",)
    unit = "x (parameters + data + one layer's activations)"

    def setup(self, width):
        if not Path("/proc/self/clear_refs").exists():
            raise NotImplementedError("no way here to ask for the peak since a moment")
        self.train(32, 10 * B)  # loads compiled code and libraries

    def train(self, width, samples):
        x_ND, y_N = torch.ones(samples, D), torch.ones(samples, dtype=torch.int64)
        learner = self.build(hidden=(width,))
        learner.epoch(x_ND, y_N, torch.arange(samples)[None], B, LR)
        tensors = [*learner.tensors().values(), x_ND, y_N, y_N]  # twice: the order is as large
        return sum(t.numel() * t.element_size() for t in tensors) + 4 * B * max(D, width)

    def track_peak_of_an_epoch(self, width):
        before = _resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        least = self.train(width, 10_000)
        return (_resident("VmHWM") - before) / least


class _GPUMemory(Suite):
    params = (WIDTHS,)
    param_names = ("width",)
    unit = "bytes"

    def setup(self, width):
        self.learner, self.batch = self.build("cuda", hidden=(width,)), batch(device="cuda")
        torch.cuda.reset_peak_memory_stats()

    def track_gpu_peak_of_100_steps(self, width):
        for _ in range(STEPS):
            self.learner.step(*self.batch, LR)
        return torch.cuda.max_memory_allocated()


add_suites(globals(), _Memory, _MemoryShare, _GPUMemory)
