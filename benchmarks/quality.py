"""Quality, for asv: Digits by the paper's recipe, three seeds side by side.

The error and not the accuracy, because asv takes every growth for a regression.
"""

from __future__ import annotations

from statistics import fmean

from benchmarks.cases import Suite, add_suites

SEEDS = 3


class _Digits(Suite):
    unit = "percent"

    def setup(self):
        self.build()  # skips what this commit lacks, before the rest is imported
        from sal import Streams
        from sal.data import load
        from sal.data.partition import partition
        from sal.train import Protocol, train

        data, streams = load("digits"), [Streams(seed) for seed in range(SEEDS)]
        learner = self.build(in_features=data.in_features, n_classes=data.n_classes, replicas=SEEDS)
        self.train = lambda: train(learner, partition(data, streams), streams, Protocol())

    def track_validation_error(self):
        return fmean(100 - (outcome.last("accuracy") or 0) for outcome in self.train())


add_suites(globals(), _Digits)
