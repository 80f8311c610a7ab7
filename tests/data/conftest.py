"""Official files written small, and a local server that can misbehave.

Tests override the registry's addresses, checksums, counts and digests, and nothing else: fetching,
parsing, preparing and checking are the code that users run.
"""

import bz2
import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
import threading
import time
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from sal.data import DATASETS, content_sha256, fetch, find

REAL_DATA_DIR = os.environ.get("SAL_DATA_DIR")  # before the tests take it away


@pytest.fixture
def real_data_dir():
    if not REAL_DATA_DIR:
        pytest.skip("SAL_DATA_DIR is not set: no prepared data to check")
    return REAL_DATA_DIR


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    monkeypatch.setattr(fetch, "BACKOFF_SECONDS", 0.001)
    for name in ("SAL_DATA_DIR", "SAL_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data"


# --- the server -----------------------------------------------------------------------------------


@dataclass
class Server:
    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)  # path -> what it serves
    redirects: dict[str, str] = field(default_factory=dict)
    cuts: dict[str, list[int]] = field(default_factory=dict)  # path -> bytes sent before each cut
    busy: dict[str, list[tuple[int, dict]]] = field(default_factory=dict)  # status, headers
    ranges: bool = True  # whether it honours Range
    delay: float = 0.0  # seconds before each answer
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # (path, Range)


@pytest.fixture
def server():
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):  # noqa: N802
            asked = self.headers.get("Range")
            state.requests.append((self.path, asked))
            if state.delay:
                time.sleep(state.delay)
            if state.busy.get(self.path):
                status, headers = state.busy[self.path].pop(0)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                return
            if self.path in state.redirects:
                self.send_response(302)
                self.send_header("Location", state.redirects[self.path])
                self.end_headers()
                return
            if self.path not in state.files:
                self.send_error(404)
                return
            body, start = state.files[self.path], 0
            if asked and state.ranges:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
                if start >= len(body):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            stops = state.cuts.get(self.path)
            end = start + stops.pop(0) if stops else len(body)
            self.wfile.write(body[start:end])

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state.address = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        http.shutdown()
        thread.join()


# --- official formats -----------------------------------------------------------------------------


@dataclass
class Official:
    """A small data set: its official files, and the arrays they have to become."""

    key: str
    files: dict[str, bytes]
    arrays: dict[str, np.ndarray]


def labels_of(rng, n):
    return rng.integers(0, 10, n)


def grey(rgb_NHWC):
    return np.stack([np.asarray(Image.fromarray(rgb_HWC).convert("L")) for rgb_HWC in rgb_NHWC])


def tar_gz(members):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


@pytest.fixture
def pack_tar():
    """A gzipped tar archive: `pack_tar({name: content})`."""
    return tar_gz


def idx_gz(array_u8):
    header = struct.pack(f">BBBB{array_u8.ndim}I", 0, 0, 8, array_u8.ndim, *array_u8.shape)
    return gzip.compress(header + array_u8.astype(np.uint8).tobytes())


def make_idx(key, rng):
    arrays, files = {}, {}
    for part, stem, n in (("train", "train", 5), ("test", "t10k", 3)):
        images, labels = rng.integers(0, 256, (n, 28, 28), np.uint8), labels_of(rng, n)
        files[f"{stem}-images-idx3-ubyte.gz"] = idx_gz(images)
        files[f"{stem}-labels-idx1-ubyte.gz"] = idx_gz(labels)
        arrays |= {f"{part}_images": images, f"{part}_labels": labels}
    return Official(key, files, arrays)


def make_semeion(key, rng):
    images, labels = rng.integers(0, 2, (6, 16, 16), np.uint8), labels_of(rng, 6)
    lines = (
        " ".join(f"{pixel:.4f}" for pixel in image.ravel())
        + " "
        + " ".join(str(int(label == k)) for k in range(10))
        + " \n"
        for image, label in zip(images, labels, strict=True)
    )
    content = "".join(lines).encode()
    return Official(
        key, {"semeion.data": content}, {"train_images": images, "train_labels": labels}
    )


def make_usps(key, rng):
    # uint8((x + 1) / 2 * 255) by hand; in float32 -0.6 comes to a little less than 51
    stored = {-1.0: 0, -0.6: 50, -0.5: 63, 0.0: 127, 0.5: 191, 1.0: 255}
    arrays, files = {}, {}
    for part, name, n in (("train", "usps.bz2", 4), ("test", "usps.t.bz2", 3)):
        x, labels = rng.choice(list(stored), (n, 256)), labels_of(rng, n)
        lines = (
            f"{label + 1} " + " ".join(f"{i}:{value:g}" for i, value in enumerate(row, 1)) + " \n"
            for row, label in zip(x, labels, strict=True)
        )
        files[name] = bz2.compress("".join(lines).encode())
        images = np.vectorize(stored.get)(x).astype(np.uint8).reshape(n, 16, 16)
        arrays |= {f"{part}_images": images, f"{part}_labels": labels}
    return Official(key, files, arrays)


def make_cifar10(key, rng, extra=None):
    parts, members = {"train": ([], []), "test": ([], [])}, dict(extra or {})
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        rgb_NHWC, labels = rng.integers(0, 256, (2, 32, 32, 3), np.uint8), labels_of(rng, 2)
        batch = {
            "data": rgb_NHWC.transpose(0, 3, 1, 2).reshape(2, 3072),
            "labels": labels.tolist(),
        }
        members[f"cifar-10-batches-py/{name}"] = pickle.dumps(batch, protocol=2)
        images, all_labels = parts["test" if name == "test_batch" else "train"]
        images.append(grey(rgb_NHWC))
        all_labels.append(labels)
    members |= extra or {}  # at the front of the archive, or in the place of a batch
    arrays = {}
    for part, (images, labels) in parts.items():
        arrays[f"{part}_images"] = np.concatenate(images)
        arrays[f"{part}_labels"] = np.concatenate(labels)
    return Official(key, {"cifar-10-python.tar.gz": tar_gz(members)}, arrays)


def make_stl10(key, rng):
    arrays, members = {}, {"stl10_binary/unlabeled_X.bin": b"never needed"}
    for part, n in (("train", 3), ("test", 2)):
        rgb_NHWC, labels = rng.integers(0, 256, (n, 96, 96, 3), np.uint8), labels_of(rng, n)
        members[f"stl10_binary/{part}_X.bin"] = rgb_NHWC.transpose(0, 3, 2, 1).tobytes()
        members[f"stl10_binary/{part}_y.bin"] = (labels + 1).astype(np.uint8).tobytes()
        arrays |= {f"{part}_images": grey(rgb_NHWC), f"{part}_labels": labels}
    return Official(key, {"stl10_binary.tar.gz": tar_gz(members)}, arrays)


def make_svhn(key, rng):
    arrays, files = {}, {}
    for part, n in (("train", 4), ("test", 3)):
        rgb_NHWC, labels = rng.integers(0, 256, (n, 32, 32, 3), np.uint8), labels_of(rng, n)
        packed = io.BytesIO()
        y = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        scipy.io.savemat(packed, {"X": rgb_NHWC.transpose(1, 2, 3, 0), "y": y})
        files[f"{part}_32x32.mat"] = packed.getvalue()
        arrays |= {f"{part}_images": grey(rgb_NHWC), f"{part}_labels": labels}
    return Official(key, files, arrays)


def h5_gz(name, array):
    packed = io.BytesIO()
    with h5py.File(packed, "w") as file:
        file[name] = array
    return gzip.compress(packed.getvalue())


@pytest.fixture
def pack_h5():
    """A gzipped HDF5 file of one array: `pack_h5("x", array)`."""
    return h5_gz


def make_pcam(key, rng):
    arrays, files = {}, {}
    for part, stem, n in (("train", "train", 5), ("val", "valid", 2), ("test", "test", 3)):
        rgb_NHWC, labels = rng.integers(0, 256, (n, 96, 96, 3), np.uint8), rng.integers(0, 2, n)
        name = f"camelyonpatch_level_2_split_{stem}"
        files[f"{name}_x.h5.gz"] = h5_gz("x", rgb_NHWC)
        files[f"{name}_y.h5.gz"] = h5_gz("y", labels.astype(np.uint8).reshape(n, 1, 1, 1))
        arrays |= {f"{part}_images": grey(rgb_NHWC), f"{part}_labels": labels}
    return Official(key, files, arrays)


def make_fer2013(key, rng, variant="fer2013.csv"):
    rows, arrays = [], {}
    for part, usage, n in (("train", "Training", 4), ("val", "PublicTest", 2),
                           ("test", "PrivateTest", 3)):  # fmt: skip
        images, labels = rng.integers(0, 256, (n, 48, 48), np.uint8), rng.integers(0, 7, n)
        arrays |= {f"{part}_images": images, f"{part}_labels": labels}
        rows += [
            (str(label), " ".join(map(str, image.ravel())), usage)
            for image, label in zip(images, labels, strict=True)
        ]
    if variant == "fer2013.csv":
        lines = ["emotion,pixels,Usage", *(",".join(row) for row in rows)]
    else:
        lines = ["emotion, Usage, pixels", *(f"{row[0]}, {row[2]}, {row[1]}" for row in rows)]
    return Official(key, {variant: "\n".join([*lines, ""]).encode()}, arrays)


def make_pathmnist(key, rng):
    stored, arrays = {}, {}
    for part, n in (("train", 4), ("val", 2), ("test", 3)):
        rgb_NHWC, labels = rng.integers(0, 256, (n, 28, 28, 3), np.uint8), rng.integers(0, 9, n)
        stored |= {f"{part}_images": rgb_NHWC, f"{part}_labels": labels[:, None].astype(np.uint8)}
        arrays |= {f"{part}_images": grey(rgb_NHWC), f"{part}_labels": labels}
    packed = io.BytesIO()
    np.savez(packed, **stored)
    return Official(key, {f"{key}.npz": packed.getvalue()}, arrays)


MAKERS = {
    "svhn": make_svhn,
    "pcam": make_pcam,
    "fer2013": make_fer2013,
    "pathmnist": make_pathmnist,
    "semeion": make_semeion,
    "usps": make_usps,
    "mnist": make_idx,
    "fashion_mnist": make_idx,
    "cifar10": make_cifar10,
    "stl10": make_stl10,
}


@pytest.fixture
def make():
    """Write a small set in its official format: `make("usps")`."""

    def write(key, **options):
        return MAKERS[key](key, np.random.default_rng(0), **options)

    return write


def facts_of(official):
    """What the registry has to say of a small set."""
    parts = [part for part in ("train", "val", "test") if f"{part}_labels" in official.arrays]
    return {
        "counts": {part: len(official.arrays[f"{part}_labels"]) for part in parts},
        "class_counts": {},
        "content_sha256": content_sha256(official.arrays),
    }


@pytest.fixture
def put_by_hand(monkeypatch, root):
    """Put FER2013's csv, or something that has it inside, where the user is told to."""

    def put(official, content=None, name=None, **overrides):
        ((csv_name, csv),) = official.files.items()
        spec = DATASETS[official.key]
        (source,) = spec.sources
        md5s = source.md5s | {csv_name: hashlib.md5(csv).hexdigest()}
        facts = facts_of(official) | {"sources": (replace(source, md5s=md5s),)}
        monkeypatch.setitem(DATASETS, official.key, replace(spec, **(facts | overrides)))
        path = root / "official" / official.key / (name or csv_name)
        path.parent.mkdir(parents=True)
        path.write_bytes(csv if content is None else content)
        return path

    return put


@pytest.fixture
def publish(server, monkeypatch):
    """Serve official files and point the registry at them, checksums, counts and digest too."""

    def serve(official, *, mirrors=("",), **overrides):
        spec = find(official.key)
        (source, *_) = spec.sources
        assert {file.name for file in source.files} == set(official.files)
        for name, content in official.files.items():
            server.files[f"/{name}"] = content
        files = tuple(
            replace(
                file,
                md5=hashlib.md5(official.files[file.name]).hexdigest(),
                urls=tuple(f"{server.address}{mirror}/{file.name}" for mirror in mirrors),
            )
            for file in source.files
        )
        facts = facts_of(official) | {"sources": (replace(source, files=files),)}
        monkeypatch.setitem(DATASETS, official.key, replace(spec, **(facts | overrides)))
        return DATASETS[official.key]

    return serve
