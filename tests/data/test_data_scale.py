"""A fifth of PCam in its official format, prepared and trained on with less memory than it has."""

import gzip
import hashlib
import json
import subprocess
import sys

import h5py
import numpy as np
import pytest
from PIL import Image

PARTS = {"train": ("train", 49_152), "val": ("valid", 8_192), "test": ("test", 8_192)}
CHUNK = 2_048
MEBIBYTES = 1_536

PROGRAM = """
import json, resource, sys
from dataclasses import replace

limit = {mebibytes} << 20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

import numpy as np
import torch
from baselines import learner_class
from sal import SALConfig
from sal.data import DATASETS, load
from sal.data.fetch import RemoteFile
from sal.run import Run, execute
from sal.train import Protocol

torch.set_num_threads(1)
try:
    np.ones({total} * 96 * 96 * 3, np.uint8)
except MemoryError:
    print("the patches do not fit into memory")
told = json.load(sys.stdin)
spec = DATASETS["pcam"]
(source,) = spec.sources
files = tuple(RemoteFile(name=n, md5=m, urls=(u,)) for n, m, u in told["files"])
DATASETS["pcam"] = replace(
    spec, counts=told["counts"], sources=(replace(source, files=files),)
)
data = load("pcam", root=told["root"])
run = Run(dataset="pcam", learner="sal", config=SALConfig(hidden=(16,), areas=(2,)), seed=0,
          protocol=Protocol(epochs=1, lr=1e-3))
outcome, split = execute(run, learner_class("sal"), data)
print(json.dumps([outcome.status, outcome.last("accuracy"), split]))
"""


def write_part(folder, stem, count, rng):
    """Patches of one colour each and a grain, brighter where there is a tumour; their labels."""
    name = f"camelyonpatch_level_2_split_{stem}"
    labels = rng.integers(0, 2, count)
    grain = rng.integers(0, 16, (96, 96, 1))
    with h5py.File(folder / f"{name}_x.h5", "w") as file:
        x = file.create_dataset("x", (count, 96, 96, 3), np.uint8)
        for start in range(0, count, CHUNK):
            colours = (
                rng.integers(0, 120, (CHUNK, 1, 1, 3))
                + 120 * labels[start : start + CHUNK, None, None, None]
            )
            x[start : start + CHUNK] = colours.astype(np.uint8) + grain.astype(np.uint8)
    with h5py.File(folder / f"{name}_y.h5", "w") as file:
        file["y"] = labels.astype(np.uint8).reshape(-1, 1, 1, 1)
    return labels


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_65536_patches_are_prepared_and_trained_on_in_one_and_a_half_gibibytes(
    server, root, tmp_path
):
    rng, labels, files, samples = np.random.default_rng(0), {}, [], {}
    for part, (stem, count) in PARTS.items():
        labels[part] = write_part(tmp_path, stem, count, rng)
        for kind in "xy":
            path = tmp_path / f"camelyonpatch_level_2_split_{stem}_{kind}.h5"
            if kind == "x":
                with h5py.File(path) as file:
                    samples[part] = {row: file["x"][row] for row in (0, 1023, 1024, count - 1)}
            packed = gzip.compress(path.read_bytes(), compresslevel=1)
            path.unlink()
            name = f"{path.name}.gz"
            server.files[f"/{name}"] = packed
            files.append((name, hashlib.md5(packed).hexdigest(), f"{server.address}/{name}"))
    counts = {part: count for part, (_, count) in PARTS.items()}
    program = PROGRAM.format(mebibytes=MEBIBYTES, total=sum(counts.values()))
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps({"files": files, "counts": counts, "root": str(root)}),
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stderr
    did_not_fit, result = done.stdout.splitlines()
    assert did_not_fit == "the patches do not fit into memory"
    status, accuracy, split = json.loads(result)
    assert (status, split) == ("ok", "official test part")
    assert accuracy > 95, "bright and dark are told apart, so labels and images belong together"
    for part in PARTS:
        images = np.load(root / "pcam" / f"{part}_images.npy", mmap_mode="r")
        for row, rgb_HWC in samples[part].items():
            assert np.array_equal(images[row], np.asarray(Image.fromarray(rgb_HWC).convert("L")))
        assert np.array_equal(np.load(root / "pcam" / f"{part}_labels.npy"), labels[part])
    assert set(json.loads((root / "digests.json").read_text())) == {"pcam"}
