"""Fetching: resumes, checks, goes on to the next address, and fails fast and clearly."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import requests
import urllib3

from sal.data import DATASETS, DataMissing, load

needs_full_device = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="no /dev/full: a full disk can't be had here"
)


def ranges_asked(server, path):
    return [asked for requested, asked in server.requests if requested == path]


def test_a_cut_connection_is_resumed_where_it_stopped(make, publish, server, root):
    publish(make("usps"))
    server.cuts["/usps.bz2"] = [100, 50]
    load("usps", root=root)
    assert ranges_asked(server, "/usps.bz2") == [None, "bytes=100-", "bytes=150-"]


def test_an_interrupted_program_resumes_from_its_part_file(make, publish, server, root):
    official = make("usps")
    publish(official)
    folder = root / "official" / "usps"
    folder.mkdir(parents=True)
    (folder / "usps.bz2.part").write_bytes(official.files["usps.bz2"][:70])
    (folder / "usps.t.bz2.part").write_bytes(official.files["usps.t.bz2"])  # only a rename missing
    load("usps", root=root)
    assert ranges_asked(server, "/usps.bz2") == ["bytes=70-"]


def test_a_server_without_ranges_is_read_from_the_start_again(make, publish, server, root):
    publish(make("usps"))
    server.ranges = False
    server.cuts["/usps.bz2"] = [100]
    load("usps", root=root)
    assert ranges_asked(server, "/usps.bz2") == [None, "bytes=100-"]


def test_a_part_file_of_another_file_is_thrown_away(make, publish, server, root):
    publish(make("usps"))
    folder = root / "official" / "usps"
    folder.mkdir(parents=True)
    (folder / "usps.bz2.part").write_bytes(b"something else")
    load("usps", root=root)
    assert ranges_asked(server, "/usps.bz2") == ["bytes=14-", None]


def test_a_connection_cut_again_and_again_gives_up(make, publish, server, root):
    publish(make("usps"))
    server.cuts["/usps.bz2"] = [1] + [0] * 100
    with pytest.raises(DataMissing, match="usps.bz2: cut 5 times without a byte more"):
        load("usps", root=root)
    assert len(ranges_asked(server, "/usps.bz2")) == 6


def test_a_line_that_is_cut_often_gets_there_as_long_as_bytes_come(make, publish, server, root):
    official = make("usps")
    publish(official)
    size = len(official.files["usps.bz2"])
    server.cuts["/usps.bz2"] = [size // 20] * 19
    load("usps", root=root)
    assert len(ranges_asked(server, "/usps.bz2")) == 20


def test_another_addresss_answer_does_not_cost_what_came_from_the_first(
    make, publish, server, root
):
    official = make("usps")
    publish(official, mirrors=("", "/page"))
    server.cuts["/usps.bz2"] = [200] + [0] * 5
    server.files["/page/usps.bz2"] = b"<html>over quota</html>"
    with pytest.raises(DataMissing, match="thrown away unread"):
        load("usps", root=root)
    part = root / "official" / "usps" / "usps.bz2.part"
    assert part.read_bytes() == official.files["usps.bz2"][:200]
    server.files["/page/usps.bz2"] = official.files["usps.bz2"]
    load("usps", root=root)
    assert ranges_asked(server, "/usps.bz2")[-1] == "bytes=200-"


def test_certificates_that_are_not_there_are_named_as_the_address_s_fault(
    make, publish, root, monkeypatch
):
    spec = publish(make("semeion"))
    (source, *_) = spec.sources
    files = (replace(source.files[0], urls=("https://127.0.0.1:9/semeion.data",)),)
    spec = replace(spec, sources=(replace(source, files=files),))
    monkeypatch.setitem(DATASETS, "semeion", spec)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonsuch.pem")
    with pytest.raises(DataMissing, match="127.0.0.1:9/semeion.data: .*nonsuch.pem"):
        load("semeion", root=root)


def test_a_busy_server_is_asked_again_after_a_growing_while(
    make, publish, server, root, monkeypatch
):
    waits = []
    monkeypatch.setattr("sal.data.fetch.time.sleep", waits.append)
    monkeypatch.setattr("sal.data.fetch.BACKOFF_SECONDS", 1.0)
    publish(make("semeion"))
    server.busy["/semeion.data"] = [(503, {}), (429, {"Retry-After": "7"}), (500, {}),
                                    (502, {"Retry-After": "100000"})]  # fmt: skip
    load("semeion", root=root)
    assert waits == [1.0, 7.0, 4.0, 60.0]


def test_a_server_that_stays_busy_is_left_for_the_next(make, publish, server, root):
    publish(make("semeion"), mirrors=("/busy", ""))
    server.busy["/busy/semeion.data"] = [(503, {})] * 100
    load("semeion", root=root)
    assert [path for path, _ in server.requests] == ["/busy/semeion.data"] * 5 + ["/semeion.data"]


def test_a_connection_that_is_dropped_before_the_answer_is_made_again(
    make, publish, server, root, monkeypatch
):
    publish(make("semeion"))
    real, calls = requests.get, []

    def dropping(url, **options):
        calls.append(url)
        if len(calls) == 1:
            raise requests.ConnectionError(
                urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionResetError())
            )
        return real(url, **options)

    monkeypatch.setattr(requests, "get", dropping)
    load("semeion", root=root)
    assert len(calls) == 2


def test_proxies_of_the_environment_are_used(make, publish, server, root, monkeypatch):
    official = make("semeion")
    spec = publish(official)
    (source, *_) = spec.sources
    files = (replace(source.files[0], urls=("http://data.invalid/semeion.data",)),)
    spec = replace(spec, sources=(replace(source, files=files),))
    monkeypatch.setitem(DATASETS, "semeion", spec)
    monkeypatch.setenv("http_proxy", server.address)
    server.files["http://data.invalid/semeion.data"] = official.files["semeion.data"]
    load("semeion", root=root)
    assert [path for path, _ in server.requests] == ["http://data.invalid/semeion.data"]


def test_too_little_room_is_told_before_anything_is_fetched(
    make, publish, server, root, monkeypatch
):
    publish(make("usps"))
    monkeypatch.setattr("sal.data.fetch.shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(DataMissing, match="No space left.*preparing USPS needs 8.5 MB, 0.0 MB are"):
        load("usps", root=root)
    assert server.requests == []


def test_too_little_room_for_a_file_is_told_before_it_is_written(
    make, publish, server, root, monkeypatch
):
    official = make("usps")
    publish(official)
    size = len(official.files["usps.bz2"])
    monkeypatch.setattr("sal.data.loader._room", lambda spec, folder: 0)
    monkeypatch.setattr(
        "sal.data.fetch.shutil.disk_usage", lambda path: SimpleNamespace(free=size - 1)
    )
    with pytest.raises(DataMissing, match="No space left.*usps.bz2 needs"):
        load("usps", root=root)
    assert not list(root.rglob("usps.bz2*"))


PROGRAM = """
import json, sys
from dataclasses import replace
from sal.data import DATASETS, load
from sal.data.fetch import RemoteFile

told = json.load(sys.stdin)
spec = DATASETS["mnist"]
files = tuple(RemoteFile(name=n, md5=m, urls=tuple(u)) for n, m, u in told["files"])
DATASETS["mnist"] = replace(
    spec, counts=told["counts"], class_counts={}, content_sha256=told["digest"],
    sources=(replace(spec.sources[0], files=files),),
)
print(load("mnist", root=told["root"]).sha256)
"""


def test_two_processes_that_want_the_same_set_fetch_it_once(make, publish, server, root):
    spec = publish(make("mnist"))
    server.delay = 1.0
    told = {
        "files": [(file.name, file.md5, file.urls) for file in spec.sources[0].files],
        "counts": spec.counts,
        "digest": spec.content_sha256,
        "root": str(root),
    }
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in running:
        process.stdin.write(json.dumps(told))
        process.stdin.close()
    said = [
        (process.wait(120), process.stdout.read(), process.stderr.read()) for process in running
    ]
    for process in running:
        process.stdout.close()
        process.stderr.close()
    assert [(status, out.strip()) for status, out, _ in said] == [(0, spec.content_sha256)] * 2, (
        said
    )
    assert len(server.requests) == 4, "each of the four files once"
    assert "waiting for it" in said[0][2] + said[1][2]


def test_threads_that_want_the_same_set_fetch_it_once(make, publish, server, root, caplog):
    publish(make("mnist"))
    server.delay = 0.05
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(load("mnist", root=root))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({dataset.sha256 for dataset in found}) == 1 and len(found) == 4
    assert len(server.requests) == 4, "each of the four files once"
    assert "another process is preparing MNIST; waiting for it" in caplog.text


def test_what_a_killed_process_left_behind_is_in_nobodys_way(make, publish, root):
    spec = publish(make("pcam"))
    for left in (".pcam.scratch", ".partial-pcam"):
        (root / left).mkdir(parents=True)
        (root / left / "train_images.npy").write_bytes(b"half")
    assert load("pcam", root=root).sha256 == spec.content_sha256
    assert sorted(path.name for path in (root / "pcam").iterdir()) == sorted(
        f"{part}_{kind}.npy" for part in spec.counts for kind in ("images", "labels")
    )
    assert not (root / ".pcam.scratch").exists()


def test_what_is_left_by_a_process_killed_at_the_very_end_goes_with_the_next_load(
    make, publish, root
):
    publish(make("usps"))
    load("usps", root=root)
    left = [root / ".usps.scratch", root / "official" / "usps"]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / "usps.bz2").write_bytes(b"left")
    load("usps", root=root)
    assert not any(folder.exists() for folder in left)


def test_a_404_on_the_first_address_goes_on_to_the_second(make, publish, server, root):
    publish(make("mnist"), mirrors=("/gone", ""))
    load("mnist", root=root)
    assert server.requests[0][0].startswith("/gone/") and len(server.requests) == 8


def test_a_wrong_checksum_on_the_first_address_goes_on_to_the_second(make, publish, server, root):
    publish(make("semeion"), mirrors=("/tampered", ""))
    server.files["/tampered/semeion.data"] = b"0 " * 266
    load("semeion", root=root)
    assert [path for path, _ in server.requests] == ["/tampered/semeion.data", "/semeion.data"]


def test_a_redirect_is_followed(make, publish, server, root):
    publish(make("semeion"), mirrors=("/old",))
    server.redirects["/old/semeion.data"] = "/semeion.data"
    load("semeion", root=root)


def test_when_every_address_fails_the_error_says_why_for_each_and_what_to_do(
    make, publish, server, root
):
    publish(make("semeion"), mirrors=("/gone", ""))
    server.files["/semeion.data"] = b"not the published bytes"
    with pytest.raises(DataMissing) as caught:
        load("semeion", root=root)
    message = str(caught.value)
    assert f"{server.address}/gone/semeion.data: HTTP 404" in message
    assert f"{server.address}/semeion.data: md5 is " in message
    for way_out in ("semeion.npz into that folder", "SAL_DATA_DIR", "python -m sal.data semeion"):
        assert way_out in message
    assert not list(root.rglob("*.npz")) and not list(root.rglob("*.part"))


def test_a_refused_connection_fails_at_once(make, publish, root, monkeypatch):
    spec = publish(make("semeion"))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: refuses
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/semeion.data"
        (source, *_) = spec.sources
        files = (replace(source.files[0], urls=(url,)),)
        spec = replace(spec, sources=(replace(source, files=files),))
        monkeypatch.setitem(DATASETS, "semeion", spec)
        started = time.monotonic()
        with pytest.raises(DataMissing, match="refused"):
            load("semeion", root=root)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("how", ["SAL_OFFLINE", "download=False"])
def test_offline_never_touches_the_network(how, make, publish, server, root, monkeypatch):
    publish(make("usps"))
    if how == "SAL_OFFLINE":
        monkeypatch.setenv("SAL_OFFLINE", "1")
    with pytest.raises(DataMissing, match=how):
        load("usps", root=root, download=how != "download=False")
    assert server.requests == [] and not root.exists()


def test_a_folder_that_cannot_be_made_is_said_so_and_digits_still_work(make, publish, tmp_path):
    publish(make("usps"))
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(DataMissing, match="data folder can't be written"):
        load("usps", root=blocked / "data")
    assert load("digits", root=blocked / "data").name == "digits"
    assert blocked.read_text() == "in the way"


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions don't bind the superuser"
)
def test_a_read_only_folder_is_said_so(make, publish, root):
    publish(make("usps"))
    root.mkdir(mode=0o500)
    with pytest.raises(DataMissing, match="Permission denied.*can't be written"):
        load("usps", root=root)


@needs_full_device
def test_a_disk_full_while_fetching_is_said_so(make, publish, root):
    publish(make("usps"))
    folder = root / "official" / "usps"
    folder.mkdir(parents=True)
    (folder / "usps.bz2.part").symlink_to("/dev/full")
    with pytest.raises(DataMissing, match="No space left on device"):
        load("usps", root=root)


@needs_full_device
def test_a_disk_full_while_preparing_keeps_the_official_files(make, publish, root, monkeypatch):
    publish(make("usps"))
    real = np.savez_compressed

    def onto_a_full_disk(file, **arrays):
        with open("/dev/full", "wb") as full:
            real(full, **arrays)

    monkeypatch.setattr(np, "savez_compressed", onto_a_full_disk)
    with pytest.raises(DataMissing, match="No space left on device"):
        load("usps", root=root)
    assert not (root / "usps.npz").exists()
    assert (root / "official" / "usps" / "usps.bz2").exists()
