"""Memory, for asv: peak of a process that trains, and of what PyTorch holds on a GPU meanwhile.

asv's ``peakmem`` is the whole process, PyTorch's libraries included, and knows nothing of a GPU.
"""

from __future__ import annotations

import torch

from benchmarks.cases import LR, STEPS, Suite, add_suites, batch

WIDTHS = [256, 1024]


class _Memory(Suite):
    params = (WIDTHS,)
    param_names = ("width",)

    def setup(self, width):
        self.learner, self.batch = self.build(hidden=(width,)), batch()

    def peakmem_100_steps(self, width):
        for _ in range(STEPS):
            self.learner.step(*self.batch, LR)


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


add_suites(globals(), _Memory, _GPUMemory)
