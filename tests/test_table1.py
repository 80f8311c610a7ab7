"""Table 1: what the paper says, what is counted, and what is not there."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from paper import paths, table1
from sal.data import DATASETS, load


@pytest.fixture
def here(place, monkeypatch, tmp_path):
    """A place taken for the committed one, and a data folder without data: only Digits is had."""
    monkeypatch.setattr(paths, "committed", lambda: place)
    monkeypatch.setenv("SAL_DATA_DIR", str(tmp_path / "no data"))
    monkeypatch.setenv("SAL_OFFLINE", "1")
    return place


def test_sets_at_hand_are_counted_and_the_others_are_absent(here, capsys):
    assert table1.main([]) == 0
    table = pd.read_csv(here.table("table1", "csv"), index_col="Data set")
    assert list(table.index) == ["CIFAR-10", "PCam", "STL-10", "SVHN", "MNIST", "Fashion-MNIST",
                                 "Digits", "USPS", "Semeion", "FER2013"]  # fmt: skip
    assert table["At hand"].to_dict() == dict.fromkeys(table.index, "absent") | {"Digits": "agrees"}
    assert table.loc["Digits", ["Classes", "Samples", "Resolution"]].tolist() == [10, 1797, "8 x 8"]
    assert table.loc["PCam", "Parts"] == "262144 train + 32768 val + 32768 test"
    assert "| Digits | 10 | 1797 | 8 x 8 | grey |" in here.table("table1", "md").read_text()
    assert r"Digits & 10 & 1797 & 8 x 8 & grey &" in here.table("table1", "tex").read_text()
    assert here.sheet("digits").stat().st_size > 10_000
    assert not here.sheet("mnist").exists()
    assert capsys.readouterr().out.count(": absent") == 9


def test_what_is_counted_comes_from_the_arrays():
    data = load("digits")
    assert table1.count(data) == {
        "parts": {"train": 1797},
        "classes": list(range(10)),
        "size": [8, 8],
        "pixel_max": 16,
        "sha256": DATASETS["digits"].content_sha256,
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"parts": {"train": 1796}}, "differs: samples, parts"),
        ({"classes": list(range(9))}, "differs: classes"),
        ({"size": [16, 16]}, "differs: size"),
    ],
)
def test_a_difference_is_shown_as_one(change, said):
    facts = {"digits": table1.count(load("digits")) | change}
    row = table1.frame(facts).loc["Digits"]
    assert row["At hand"] == said
    if "parts" in change:
        assert row["Samples"] == "1797 (here 1796)"


def test_a_registry_that_contradicts_the_paper_is_shown(monkeypatch):
    spec = replace(DATASETS["svhn"], channels=1, counts={"train": 73257, "test": 26031})
    monkeypatch.setitem(DATASETS, "svhn", spec)
    row = table1.frame({}).loc["SVHN"]
    assert row["Samples"] == "99289 (here 99288)"
    assert row["Channels"] == "RGB to grey (here grey)"


def test_the_table_is_rendered_again_from_what_was_counted(here, capsys):
    assert table1.main(["--no-sheets"]) == 0
    before = here.table("table1", "md").read_text()
    here.table("table1", "md").unlink()
    assert table1.main(["--render-only"]) == 0
    assert here.table("table1", "md").read_text() == before


def test_a_set_that_is_not_there_any_more_keeps_what_was_counted(here, capsys):
    facts = {"usps": table1._expected(DATASETS["usps"]) | {"sha256": "1" * 64, "pixel_max": 255}}
    counted = here.root / "results" / "data.json"
    counted.parent.mkdir(parents=True)
    counted.write_text(json.dumps(facts))
    assert table1.main(["--no-sheets"]) == 0
    assert "USPS: absent; what was counted before stays" in capsys.readouterr().out
    table = pd.read_csv(here.table("table1", "csv"), index_col="Data set")
    assert table.loc[["Digits", "USPS", "MNIST"], "At hand"].tolist() == ["agrees"] * 2 + ["absent"]


def test_a_set_that_is_not_the_official_one_is_named_and_the_others_are_counted(
    here, capsys, tmp_path
):
    (tmp_path / "no data").mkdir()
    (tmp_path / "no data" / "semeion.npz").write_bytes(b"something else")
    assert table1.main(["--no-sheets"]) == 1
    assert "error: Semeion: " in capsys.readouterr().err
    assert list(json.loads((here.root / "results" / "data.json").read_text())) == ["digits"]
