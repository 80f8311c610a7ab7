"""Anchors: errors beside published ones, from ledgers made by hand."""

import json

import pytest

from baselines import learner_class, version_of
from paper import anchors, paths
from paper.results import COLUMNS, METRICS
from sal.data import DATASETS, DataMissing


@pytest.fixture
def place(tmp_path):
    return paths.Place(tmp_path, published=True)


def write(place, accuracies):
    """{(method, step size): accuracies of seeds 0, 1, ...; None: diverged} as a ledger."""
    lines = []
    for cell, values in accuracies.items():
        for run, accuracy in zip(anchors.runs()[cell], values, strict=False):
            row = {
                **dict.fromkeys(COLUMNS),
                **run.identity(),
                "status": "diverged" if accuracy is None else "ok",
                **dict.fromkeys(METRICS, accuracy),
                "data_sha256": DATASETS["mnist"].content_sha256,
                "learner_version": version_of(learner_class(run.learner)),
            }
            lines.append(json.dumps(row) + "\n")
    ledger = place.ledger("anchors")
    ledger.parent.mkdir(parents=True)
    ledger.write_text("".join(lines))


def test_the_net_is_the_one_that_was_published():
    for (name, lr), runs in anchors.runs().items():
        assert {run.config.sizes(784, 10) for run in runs} == {((784, 800), (800, 10))}
        assert {(run.learner, run.protocol.lr, run.config.activation) for run in runs} == {
            (name, lr, "tanh")
        }
        assert [run.seed for run in runs] == [0, 1, 2]


def test_cells_are_test_errors_beside_the_published_ones(place):
    first, second, *_ = anchors.RATES
    write(
        place,
        {
            ("bp", first): [98.2, 98.4, 98.6],
            ("dfa", second): [98.0, None, 98.0],
        },
    )
    pages = anchors.pages(place)
    rows = {
        line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ")[1:]
        for line in pages[place.table("anchors", "md")].splitlines()
        if line.startswith("| ")
    }
    assert rows["BP"] == ["1.60 ± 0.20", *["not run"] * (len(anchors.RATES) - 1), "1.59"]
    assert rows["DFA"][:2] == ["not run", "2.00 ± 0.00 (n=2), 1 diverged"]
    assert rows["DFA"][-1] == "1.68"
    csv = pages[place.table("anchors", "csv")].splitlines()
    assert csv[1] == f"bp,{first:.4f},1.6000,0.2000,3,0,1.5900"


def test_without_runs_there_is_no_page(place):
    assert anchors.pages(place) == {}


def test_without_mnist_it_is_said_and_nothing_is_written(place, monkeypatch, capsys):
    def absent(name):
        raise DataMissing("MNIST is not at hand")

    monkeypatch.setattr(paths, "committed", lambda: place)
    monkeypatch.setattr(anchors, "load", absent)
    assert anchors.main([]) == 2
    assert "error: MNIST is not at hand" in capsys.readouterr().err
    assert not place.table("anchors", "md").exists()
