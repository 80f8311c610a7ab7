"""Benchmarks: suites of asv for speed, memory and quality, and a comparison with other packages."""

import shutil

HAS_GPU = shutil.which("nvidia-smi") is not None
"""Asked of the machine, not of PyTorch: that would start CUDA, and the guard has no PyTorch."""
