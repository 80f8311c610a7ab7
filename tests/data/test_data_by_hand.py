"""FER2013, which the user has to get: found, checked, read row by row, and left where it is."""

import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from sal.data import DATASETS, DataCorrupt, DataMissing, load


def zipped(members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def agrees(dataset, official):
    return all(
        np.array_equal(getattr(dataset, name).numpy(), array)
        for name, array in official.arrays.items()
    )


@pytest.mark.parametrize("variant", ["fer2013.csv", "icml_face_data.csv"])
def test_either_csv_is_read_without_network_and_left_in_its_place(variant, make, put_by_hand, root):
    official = make("fer2013", variant=variant)
    path = put_by_hand(official)
    dataset = load("fer2013", root=root, download=False)
    assert agrees(dataset, official)
    assert len(dataset.val_labels) == 2 and len(dataset.test_labels) == 3
    assert path.exists() and (root / "fer2013.npz").exists()


@pytest.mark.parametrize(
    ("name", "pack", "inside"),
    [
        ("archive.zip", "zip", "fer2013/fer2013.csv"),
        ("fer2013.tar.gz", "tar", "fer2013/fer2013.csv"),
        ("in a folder/fer2013.csv", None, None),
        ("evil.zip", "zip", "../fer2013.csv"),
        ("EVIL.ZIP", "zip", "../../fer2013.csv"),
        ("evil.tar.gz", "tar", "../../fer2013.csv"),
        ("evil.tgz", "tar", "{tmp_path}/fer2013.csv"),
    ],
)
def test_it_may_lie_in_an_archive_or_a_folder_and_no_archive_decides_where_bytes_go(
    name, pack, inside, make, put_by_hand, pack_tar, root, tmp_path
):
    official = make("fer2013")
    (csv,) = official.files.values()
    inside = inside and inside.format(tmp_path=tmp_path)
    packers = {"zip": zipped, "tar": pack_tar}
    path = put_by_hand(official, pack and packers[pack]({"readme.txt": b"x", inside: csv}), name)
    before = {found for found in tmp_path.rglob("*") if found.is_file()}
    assert agrees(load("fer2013", root=root), official)
    after = {found for found in tmp_path.rglob("*") if found.is_file()}
    assert after - before == {root / "fer2013.npz", root / ".fer2013.lock"}
    assert path.exists()


def test_where_there_is_none_the_error_says_what_to_get_from_where_and_where_to_put_it(root):
    with pytest.raises(DataMissing) as caught:
        load("fer2013", root=root)
    message = str(caught.value)
    for said in ("https://www.kaggle.com/c/challenges", "account", "icml_face_data.csv"):
        assert said in message
    assert str(root / "official" / "fer2013") in message
    assert "python -m sal.data" not in message, "that would not help"


def test_a_csv_with_another_checksum_is_not_read(make, put_by_hand, root):
    put_by_hand(make("fer2013"), b"emotion,pixels,Usage\n0,1 2 3,Training\n")
    with pytest.raises(DataMissing, match="md5 of fer2013.csv is .*, published is .*not read"):
        load("fer2013", root=root)


def test_a_damaged_archive_is_named(make, put_by_hand, root):
    official = make("fer2013")
    (csv,) = official.files.values()
    put_by_hand(official, zipped({"fer2013.csv": csv})[:200], "archive.zip")
    with pytest.raises(DataMissing, match="archive.zip can't be unpacked"):
        load("fer2013", root=root)


def test_an_archive_that_unpacks_without_end_is_stopped(make, put_by_hand, root, monkeypatch):
    official = make("fer2013")
    put_by_hand(official, zipped({"fer2013.csv": bytes(30_000_000)}), "bomb.zip")
    (source,) = DATASETS["fer2013"].sources
    spec = replace(DATASETS["fer2013"], sources=(replace(source, most_bytes=2_000_000),))
    monkeypatch.setitem(DATASETS, "fer2013", spec)
    with pytest.raises(DataMissing, match="bomb.zip can't be unpacked.*more than 2000000 bytes"):
        load("fer2013", root=root)


def test_of_two_files_in_an_archive_the_one_with_the_checksum_is_taken(make, put_by_hand, root):
    official = make("fer2013")
    (csv,) = official.files.values()
    put_by_hand(official, zipped({"old/fer2013.csv": b"other", "new/fer2013.csv": csv}), "a.zip")
    assert agrees(load("fer2013", root=root), official)


def test_looking_for_it_makes_no_folder(root):
    with pytest.raises(DataMissing, match="Kaggle asks for an account"):
        load("fer2013", root=root, download=False)
    assert not root.exists()


PIXELS = " ".join(["7"] * 48 * 48)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (f"3,{PIXELS[:-2]},Training", "cannot reshape array of size 2303"),
        (f"3,{PIXELS[:-1]}256,Training", "pixels from 7 to 256"),
        (f"3,{PIXELS[:-1]}-1,Training", "pixels from -1 to 7"),
        (f"3,{PIXELS[:-1]}x,Training", "'x'"),
        (f"happy,{PIXELS},Training", "'happy'"),
        (f"3,{PIXELS},Validation", "'Validation'"),
        (f"3,{PIXELS}", "None"),
        (f"3,{PIXELS},Training,1", "more columns"),
    ],
)
def test_a_bad_row_is_named(row, why, make, put_by_hand, root):
    official = make("fer2013")
    official.files["fer2013.csv"] += f"{row}\n".encode()
    put_by_hand(official)
    with pytest.raises(DataCorrupt, match=f"line 11 of fer2013.csv is no row.*{why}"):
        load("fer2013", root=root)
    assert not (root / "fer2013.npz").exists()


def test_a_label_out_of_range_is_refused(make, put_by_hand, root):
    official = make("fer2013")
    official.files["fer2013.csv"] += f"7,{PIXELS},Training\n".encode()
    put_by_hand(official, counts={"train": 5, "val": 2, "test": 3})
    with pytest.raises(DataCorrupt, match="a label 7; wanted 0 to 6"):
        load("fer2013", root=root)
