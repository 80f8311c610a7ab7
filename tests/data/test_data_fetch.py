"""Fetching: resumes, checks, goes on to the next address, and fails fast and clearly."""

import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

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
    server.cuts["/usps.bz2"] = [1] * 100
    with pytest.raises(DataMissing, match="usps.bz2: cut 5 times"):
        load("usps", root=root)


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
        (source,) = spec.sources
        files = (replace(source.files[0], urls=(url,)),)
        spec = replace(spec, sources=(replace(source, files=files),))
        monkeypatch.setitem(DATASETS, "semeion", spec)
        started = time.monotonic()
        with pytest.raises(DataMissing, match="refused"):
            load("semeion", root=root)
    assert time.monotonic() - started < 2
    assert not root.exists()


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
def test_a_disk_full_while_preparing_keeps_the_official_files(make, publish, root):
    publish(make("usps"))
    root.mkdir()
    (root / f".usps.npz.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(DataMissing, match="No space left on device"):
        load("usps", root=root)
    assert not (root / "usps.npz").exists()
    assert (root / "official" / "usps" / "usps.bz2").exists()
