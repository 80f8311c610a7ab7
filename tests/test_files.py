"""Files are whole or not there, whoever writes them."""

import os
import threading

import pytest

from paper import measured, paths
from paper.results import LedgerError
from sal.files import write_whole


def test_a_file_that_cannot_be_written_leaves_what_was_there_and_names_it(tmp_path):
    path = tmp_path / "made" / "page.md"
    write_whole(path, lambda file: file.write(b"first"))

    def full(file):
        file.write(b"sec")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device: '.*page\.md'$") as caught:
        write_whole(path, full)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"first" and os.listdir(path.parent) == ["page.md"]
    with pytest.raises(ZeroDivisionError):
        write_whole(path, lambda file: 1 / 0)
    assert os.listdir(path.parent) == ["page.md"]


def test_a_folder_in_the_way_is_named(tmp_path):
    (tmp_path / "page.md").mkdir()
    with pytest.raises(OSError, match=r"page\.md'$"):
        write_whole(tmp_path / "page.md", lambda file: file.write(b"text"))
    assert os.listdir(tmp_path) == ["page.md"]


def test_two_writers_and_a_reader_never_meet_half_a_file(tmp_path):
    path, texts, done = tmp_path / "page.md", ("a" * 100_000, "b" * 100_000), threading.Event()
    paths.write({path: texts[0]})
    torn = []

    def read():
        while not done.is_set():
            if path.read_text() not in texts:
                torn.append(path.read_text())

    def write(text):
        for _ in range(50):
            paths.write({path: text})

    writers = [threading.Thread(target=write, args=(text,)) for text in texts]
    reader = threading.Thread(target=read)
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert not torn and os.listdir(tmp_path) == ["page.md"]


def test_a_measurement_that_is_damaged_is_named(tmp_path):
    place = paths.Place(tmp_path, published=True)
    assert measured.read(place, "costs") is None
    measured.write(place, "costs", {"git_sha": None})
    assert measured.read(place, "costs") == {"git_sha": None}
    (tmp_path / "results" / "costs.json").write_text('{"git_sha": "ab')
    with pytest.raises(LedgerError, match=r"costs\.json is damaged, .*measure again"):
        measured.read(place, "costs")
