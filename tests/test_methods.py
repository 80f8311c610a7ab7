"""The table of methods that the paper does not have, on ledgers made by hand and by the command."""

import csv
import io
from dataclasses import replace

import pytest

from baselines import FA, learner_class, learners, version_of
from paper import convergence, methods, paths
from paper.results import read
from paper.settings import PUBLISHED, SETTINGS
from sal.data import DATASETS


def rows_of(found):
    """{(data set, column): accuracies of seeds 0, 1, ...} as the parts of rows that count."""
    datasets = {spec.title: key for key, spec in DATASETS.items()}
    rows = []
    for (title, column), accuracies in found.items():
        name, _, k = column.partition("-")
        names = {learner.__name__: name for name, learner in learners().items()}
        method = "bp" if name == "Baseline" else names[name]
        areas = [int(k)] if k else [None]
        (runs,) = methods.runs([method], [datasets[title]], areas).values()
        for run, accuracy in zip(runs, accuracies, strict=False):
            rows.append(
                {
                    **run.identity(),
                    "status": "ok" if accuracy is not None else "diverged",
                    "accuracy": accuracy,
                    "train_loss": accuracy,
                    "val_loss": accuracy,
                    "data_sha256": DATASETS[run.dataset].content_sha256,
                    "learner_version": version_of(learner_class(run.learner)),
                }
            )
    return rows


def page(place, found):
    return methods.pages(place, rows_of(found))[place.table("methods", "md")]


def lines(text):
    """First cell of each line of a table -> the others."""
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {first: others for first, *others in cells}


def test_cells_are_means_over_seeds_with_their_spread_and_number(place):
    found = lines(
        page(
            place,
            {
                ("Digits", "FA"): [50.0, 52.0, 54.0, 56.0, 58.0],
                ("Digits", "Baseline"): [40.0, 42.0],
                ("USPS", "FA"): [50.0, None, 54.0, 55.0, 57.0],
                ("Digits", "MoE-4"): [10.0, 20.0, 30.0, 40.0, 50.0],
            },
        )
    )
    assert found["Method"] == ["Digits", "USPS"]
    assert found["FA"] == ["54.00 ± 3.16", "54.00 ± 2.94 (n=4), 1 diverged"]
    assert found["Baseline"] == ["41.00 ± 1.41 (n=2)", "–"]
    assert found["MoE-4"] == ["30.00 ± 15.81", "–"]


def test_differences_are_taken_seed_by_seed(place):
    text = page(
        place,
        {
            ("Digits", "SAL-1"): [50.0, 60.0, 70.0, 80.0, 90.0],
            ("Digits", "SALStep-4"): [51.0, 62.0, 73.0, 84.0, 95.0],
            ("Digits", "SAL-4"): [51.0, 62.0, 73.0, 84.0],
        },
    )
    found = lines(text)
    step = "the larger step, K = 4: SAL-1 x4 − SAL-1"
    assert found[step] == ["+3.00 ± 1.58"], "means of 70 and 73 with a spread of 15 each"
    assert found["areas, given that step, K = 4: SAL-4 − SAL-1 x4"] == ["+0.00 ± 0.00 (n=4)"]
    assert not any("K = 16" in line for line in found)


def test_without_a_method_besides_the_papers_there_is_no_page(place):
    assert methods.pages(place, rows_of({("Digits", "SAL-4"): [50.0]})) == {}


def test_numbers_of_all_metrics_are_there_as_csv(place):
    pages = methods.pages(place, rows_of({("Digits", "FA"): [50.0, 52.0]}))
    found = list(csv.DictReader(io.StringIO(pages[place.table("methods", "csv")])))
    assert [entry["metric"] for entry in found] == ["accuracy", "train_loss", "val_loss"]
    assert found[0] == {
        **{"dataset": "Digits", "column": "FA", "metric": "accuracy", "mean": "51.0000"},
        **{"std": "1.4142", "n": "2", "diverged": "0"},
    }


def test_ablations_run_in_sals_setting_and_others_with_their_defaults():
    for name in learners():
        config = methods.configuration(name, None)
        ours = name.startswith("sal")
        default = learner_class(name).Config().to_dict()
        assert config.to_dict() == default | (SETTINGS[PUBLISHED].to_dict() if ours else {})
    assert methods.configuration("moe", 4).areas == (4,)


def main(*arguments):
    return convergence.main(
        [
            *("table2", "--datasets", "digits", "--areas", "4", "--seeds", "1"),
            *("--backend", "here", *arguments),
        ]
    )


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The place where the command puts runs of a few epochs."""
    place = paths.Place(tmp_path / "quick", published=False)
    monkeypatch.setattr(paths, "quick", lambda: place)
    return place


def test_the_command_adds_columns(here, capsys):
    assert main("--epochs", "1", "--learners", "fa", "moe") == 0
    found = lines(here.table("methods", "md").read_text())
    assert {"Baseline", "SAL-4", "FA", "MoE-4"} <= found.keys()
    assert len(read(here.ledger("table2"))[0]) == 4
    assert "other methods" in capsys.readouterr().out
    assert main("--epochs", "1", "--learners", "fa", "moe") == 0
    assert "0 runs made, 4 there already" in capsys.readouterr().out


def test_a_method_that_there_is_not_is_refused_before_anything_runs(here, capsys):
    assert main("--epochs", "1", "--learners", "fa", "dffa") == 2
    assert "no method named 'dffa'" in capsys.readouterr().err
    assert not here.ledger("table2").exists() or read(here.ledger("table2"))[0] == []


def test_a_method_with_areas_and_one_of_them_is_told_to_be_the_dense_net(here, capsys):
    quick = ["table2", "--datasets", "digits", "--areas", "1", "--seeds", "1", "--epochs", "1"]
    assert convergence.main([*quick, "--learners", "moe", "--backend", "here"]) == 1
    assert "moe: ValueError: one area is the dense net; give --areas" in capsys.readouterr().err


def test_a_method_that_cannot_run_with_every_k_has_the_columns_that_it_has(place):
    """With two experts a sample there is no K = 1."""
    (runs,) = methods.runs(["moe"], ["digits"], [4]).values()
    pair = [replace(run, config=replace(run.config, experts=2)) for run in runs]
    rows = rows_of({("Digits", "MoE-4"): [50.0]})
    rows += [rows[0] | run.identity() for run in pair]
    assert "MoE-4" in lines(methods.pages(place, rows)[place.table("methods", "md")])


def test_a_plugin_whose_class_is_called_like_another_has_a_column_of_its_own(plugins, place):
    plugins(my_fa=type("FA", (FA,), {"name": "my_fa"}))
    assert methods.column("fa", None) == "FA"
    assert methods.column("my_fa", None) == "my_fa"
    assert len(methods.runs(["fa", "my_fa"], ["digits"])) == 2


@pytest.mark.filterwarnings("ignore:plug-in")
def test_a_plugin_that_was_left_out_is_named_and_the_others_run(plugins, here, capsys):
    plugins(broken=ImportError("no such module"))
    assert main("--epochs", "1", "--learners", "broken", "shallow") == 1
    assert "error: broken: left out: ImportError: no such module" in capsys.readouterr().err
    assert {row["learner"] for row in read(here.ledger("table2"))[0]} == {"bp", "sal", "shallow"}


def test_a_plugins_runs_do_not_go_into_the_committed_ledger(plugins, monkeypatch, tmp_path, capsys):
    plugins(my_fa=type("FA", (FA,), {"name": "my_fa"}))
    place = paths.Place(tmp_path, published=True)
    monkeypatch.setattr(paths, "committed", lambda: place)
    assert main("--learners", "my_fa") == 2
    assert "my_fa is not of this suite" in capsys.readouterr().err
    assert not place.ledger("table2").exists()


def test_other_methods_go_with_the_tables_own_setting_alone(here, capsys):
    other = next(name for name in SETTINGS if name != PUBLISHED)
    assert main("--epochs", "1", "--setting", other, "--learners", "fa") == 2
    assert f"go with the setting {PUBLISHED}" in capsys.readouterr().err


def test_a_method_whose_configuration_raises_is_named_and_the_others_run(here, capsys, monkeypatch):
    def explode():
        raise RuntimeError("no configuration today")

    monkeypatch.setattr(FA, "Config", type("Config", (FA.Config,), {}))
    monkeypatch.setattr(FA.Config, "__init__", lambda self: explode())
    assert main("--epochs", "1", "--learners", "fa", "shallow") == 1
    assert "error: fa: RuntimeError: no configuration today" in capsys.readouterr().err
    assert {row["learner"] for row in read(here.ledger("table2"))[0]} == {"bp", "sal", "shallow"}
