"""Speed, for asv: 100 training steps, an epoch, a prediction, and the first step of a process.

``setup`` runs again before every timed call, so a call has to be longer than what the clock and a
cold cache cost: 100 steps, not one.
"""

from __future__ import annotations

import torch

from benchmarks.cases import DEVICES, LR, STEPS, B, Suite, add_suites, batch, synchronise

SHAPES = {
    "784-256-10, batch 16": ((256,), 16),
    "784-256-10, batch 128": ((256,), 128),
    "784-1024-10, batch 16": ((1024,), 16),
    "784-256-256-256-10, batch 16": ((256, 256, 256), 16),
}


class _Steps(Suite):
    params = (list(SHAPES), DEVICES)
    param_names = ("shape", "device")
    repeat = (2, 10, 1.0)

    def setup(self, shape, device):
        hidden, size = SHAPES[shape]
        self.learner = self.build(device, hidden=hidden)
        self.batch = batch(size, device=device)
        for _ in range(10):
            self.learner.step(*self.batch, LR)
        synchronise(device)

    def time_100_steps(self, shape, device):
        for _ in range(STEPS):
            self.learner.step(*self.batch, LR)
        synchronise(device)


class _Epoch(Suite):
    params = ([1, 5], DEVICES)
    param_names = ("replicas", "device")
    repeat = (2, 10, 1.0)

    def setup(self, replicas, device):
        self.learner = self.build(device, replicas=replicas)
        x, y = batch(1024, device=device)
        order = torch.arange(1024, device=device).expand(replicas, -1)
        self.arguments = (x[0], y[0], order, B, LR)
        self.learner.epoch(x[0], y[0], order[:, : 2 * B], B, LR)
        synchronise(device)

    def time_epoch_of_1024(self, replicas, device):
        self.learner.epoch(*self.arguments)
        synchronise(device)


class _Prediction(Suite):
    params = (DEVICES,)
    param_names = ("device",)
    repeat = (2, 10, 1.0)

    def setup(self, device):
        self.learner, (self.x, _) = self.build(device), batch(2000, device=device)
        self.learner.logits(self.x)
        synchronise(device)

    def time_logits_of_2000(self, device):
        self.learner.logits(self.x)
        synchronise(device)


class _Cold(Suite):
    number = repeat = min_run_count = 1  # a second call in the same process would be warm
    warmup_time = 0

    def setup(self):
        self.learner, self.batch = self.build(), batch()

    def time_first_step_of_a_process(self):
        self.learner.step(*self.batch, LR)


add_suites(globals(), _Steps, _Epoch, _Prediction, _Cold)
