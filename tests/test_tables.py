"""Verdicts, cells and rendering, on ledgers made by hand."""

import csv
import io

import pytest
from rows import row

from paper import cells as cells_module
from paper import convergence, paths, render
from paper.cells import REPRODUCED, cells, published, verdict
from paper.settings import PUBLISHED, SETTINGS
from sal import SALConfig

TITLES = [
    "CIFAR-10", "Digits", "FER2013", "Fashion-MNIST", "MNIST", "PCam", "STL-10", "SVHN", "Semeion",
    "USPS",
]  # fmt: skip
COLUMNS = ["Baseline", "SAL-1", "SAL-2", "SAL-4", "SAL-8", "SAL-16"]


def cell(rows, dataset="Digits", column="SAL-4"):
    table = cells("table2", rows, convergence.runs())
    return next(c for c in table if (c.dataset, c.column) == (dataset, column))


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ([1.0, 3.0, 2.0], [1]),
        ([3.001, 3.004, 2.0], [0, 1]),  # alike as they are written
        ([1.0, None, 2.0], [2]),  # not run
        ([None, None], []),
    ],
)
def test_the_highest_mean_of_a_column_is_bold_and_so_are_its_equals(means, expected):
    column = [
        cells_module.Measured({} if mean is None else dict.fromkeys(range(5), mean), 0)
        for mean in means
    ]
    texts = render.highest_in_bold(column, "accuracy")
    assert [n for n, text in enumerate(texts) if text.startswith("**")] == expected
    plain = [render.measured(found, "accuracy") for found in column]
    assert [text.replace("**", "") for text in texts] == plain


def test_a_mean_of_fewer_seeds_is_never_bold():
    few, whole = (
        cells_module.Measured(dict.fromkeys(range(n), float(10 - n)), 5 - n) for n in (4, 5)
    )
    texts = render.highest_in_bold([few, whole], "accuracy")
    assert texts == ["6.00 ± 0.00 (n=4), 1 diverged", "**5.00 ± 0.00**"]


@pytest.fixture
def runs():
    return convergence.runs()["Digits", "SAL-4"]  # published: 53.59 +- 8.37


@pytest.mark.parametrize(
    ("metric", "values", "target", "std", "expected"),
    [
        ("accuracy", [50.0] * 5, 50.6, 0.1, "reproduced"),  # floor of 0.3 points: within 0.6
        ("accuracy", [50.0] * 5, 50.61, 0.1, "differs"),
        ("accuracy", [50.0] * 5, 49.4, 0.1, "reproduced"),
        ("accuracy", [50.0] * 5, 49.39, 0.1, "differs"),
        ("accuracy", [50.0] * 5, 54.0, 2.0, "reproduced"),  # published std above the floor
        ("accuracy", [50.0] * 5, 54.01, 2.0, "differs"),
        ("val_loss", [1.0] * 5, 1.02, 0.0, "reproduced"),  # floor of 0.01: within 0.02
        ("val_loss", [1.0] * 5, 1.0201, 0.0, "differs"),
        ("train_loss", [1.0] * 5, 0.98, 0.0, "reproduced"),
        ("accuracy", [0.0, 100.0, 50.0, 50.0, 50.0], 50.0, 0.1, "reproduced"),  # of the mean
        ("accuracy", [50.0] * 4, 50.0, 1.0, "partial: 4 of 5 seeds"),
        ("accuracy", [50.0], 90.0, 1.0, "partial: 1 of 5 seeds"),
        ("accuracy", [], 50.0, 1.0, "not run"),
    ],
)
def test_the_verdict_is_two_standard_deviations_with_a_floor(metric, values, target, std, expected):
    assert verdict(metric, values, target, std) == expected


def test_published_tables_are_the_papers():
    for table, metric in [("table2", "accuracy"), ("table3", "train_loss"), ("table4", "val_loss")]:
        frame = published(table)
        assert list(dict.fromkeys(frame["dataset"])) == TITLES
        assert list(dict.fromkeys(frame["column"])) == COLUMNS
        assert set(frame["metric"]) == {metric}
        assert len(frame) == 60
    with pytest.raises(ValueError, match="has no table 'table9'"):
        published("table9")


def test_an_empty_ledger_gives_sixty_cells_that_are_not_run():
    table = cells("table2", [], convergence.runs())
    assert len(table) == 60
    assert {(c.verdict, c.n, c.mean, c.std) for c in table} == {("not run", 0, None, None)}


def test_a_cell_is_the_mean_and_sample_deviation_over_seeds(runs):
    found = cell(
        [row(run, accuracy) for run, accuracy in zip(runs, [50, 52, 54, 56, 58], strict=True)]
    )
    assert (found.mean, found.n, found.verdict) == (54.0, 5, REPRODUCED)
    assert found.std == pytest.approx(10**0.5)  # sum of squares 40 over n - 1 = 4
    assert (found.published_mean, found.published_std) == (53.59, 8.37)


def test_diverged_runs_are_counted_and_never_averaged(runs):
    rows = [row(run, 50.0) for run in runs[:3]]
    rows += [row(run, None, status="diverged") for run in runs[3:]]
    found = cell(rows)
    assert (found.mean, found.n, found.diverged) == (50.0, 3, 2)
    assert found.verdict == "partial: 3 of 5 seeds"
    assert cell(rows[3:]).mean is None


@pytest.mark.parametrize(
    "change",
    [
        {"learner_version": 0},
        {"data_sha256": "0" * 64},
        {"seed": 5},
        {"dataset": "semeion"},
        {"learner": "unheard-of"},
        {"config": {"areas": [3]}},
        {"protocol": {"epochs": 24}},
    ],
)
def test_rows_of_other_runs_and_stale_rows_do_not_count(runs, change):
    assert cell([row(runs[0], 50.0)]).n == 1
    assert cell([row(runs[0], 50.0) | change]).n == 0


def test_a_stale_row_hides_no_row_that_counts(runs):
    good = row(runs[0], 50.0)
    assert cell([good, good | {"learner_version": 0, "accuracy": 10.0}]).mean == 50.0


def test_of_two_rows_of_a_run_the_later_counts(runs):
    assert cell([row(runs[0], 40.0), row(runs[0], 50.0)]).mean == 50.0


@pytest.fixture
def table(runs):
    rows = [row(run, 53.0 + run.seed) for run in runs]
    rows += [row(run, 80.0) for run in convergence.runs()["USPS", "Baseline"][:2]]
    rows += [row(run, 99.0) for run in convergence.runs()["MNIST", "Baseline"]]
    return cells("table2", rows, convergence.runs())


def test_csv_has_a_line_for_every_cell_with_what_a_reader_needs_to_check_it(table):
    lines = list(csv.DictReader(io.StringIO(render.csv(table))))
    assert len(lines) == 60
    digits = next(x for x in lines if (x["dataset"], x["column"]) == ("Digits", "SAL-4"))
    assert float(digits["mean"]) == 55.0
    assert float(digits["difference"]) == pytest.approx(1.41)
    assert float(digits["tolerance"]) == pytest.approx(16.74)
    missing = next(x for x in lines if x["dataset"] == "PCam")
    assert (missing["mean"], missing["n"], missing["verdict"]) == ("", "0", "not run")


def test_markdown_shows_ours_the_published_value_and_the_verdict(table):
    page = render.markdown("Title", ["Note."], table)
    assert "**55.00 ± 1.58** (n=5)<br>paper 53.59 ± 8.37<br>reproduced" in page
    assert "**80.00 ± 0.00** (n=2)<br>paper 81.74 ± 1.12<br>partial: 2 of 5 seeds" in page
    assert "**99.00 ± 0.00** (n=5)<br>paper 90.64 ± 0.18<br>differs" in page
    assert "not run<br>paper 69.18 ± 0.27" in page
    assert "Of 60 cells: 1 reproduced, 1 differs, 57 not run, 1 partial." in page
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0].removeprefix("| ") for line in rows] == ["Data set", *TITLES]
    assert {line.count("|") for line in rows} == {8}


def test_the_readme_table_marks_each_verdict(table):
    page = render.compact(table)
    assert "**55.00** ✓<br>53.59" in page
    assert "**80.00** n=2<br>81.74" in page
    assert "**99.00** ✗<br>90.64" in page
    assert "–<br>69.18" in page


def test_a_table_replaces_what_was_between_its_marks_and_nothing_else():
    text = "before\n<!-- t:begin -->\nold\n<!-- t:end -->\nafter\n"
    new = render.between_marks(text, "t", "| new |\n")
    assert new == "before\n<!-- t:begin -->\n\n| new |\n\n<!-- t:end -->\nafter\n"
    assert render.between_marks(new, "t", "| new |\n") == new
    for broken in ["no marks", text.replace("end", "END")]:
        with pytest.raises(ValueError, match="t:begin .* is missing"):
            render.between_marks(broken, "t", "| new |\n")


def test_latex_marks_what_differs_and_what_is_partial_or_not_run(table):
    page = render.latex("Title", [], table)
    assert r"$55.00 \pm 1.58$ (53.59)" in page
    assert r"$99.00 \pm 0.00$\dag (90.64)" in page
    assert r"$80.00 \pm 0.00$ (81.74), n=2" in page
    assert r"\emph{not run} (69.18)" in page
    body = [line for line in page.splitlines() if line.endswith(r"\\")]
    assert len(body) == 11
    assert {line.count("&") for line in body} == {6}


def test_the_quick_tier_says_so_and_its_rows_are_no_ones_elses(tmp_path, monkeypatch):
    place = paths.Place(tmp_path, published=False)
    page = convergence.pages(place, epochs=10)[place.table("table2", "md")]
    assert page.startswith("# QUICK TIER, 10 epochs")
    assert "not the paper's protocol" in page
    quick = convergence.runs(epochs=10)["Digits", "SAL-4"]
    assert cell([row(run, 50.0) for run in quick]).n == 0


def test_rendering_never_trains(tmp_path, monkeypatch):
    monkeypatch.setattr("sal.run.train", None)
    monkeypatch.setattr("paper.options.make", None)
    monkeypatch.setattr(paths, "committed", lambda: paths.Place(tmp_path, published=True))
    monkeypatch.setattr(paths, "README", tmp_path / "README.md")
    assert convergence.main(["table2", "--render-only"]) == 0
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {
        f"{table}{'' if setting == PUBLISHED else f'-{setting}'}.{suffix}"
        for table in ("table2", "table3", "table4")
        for setting in SETTINGS
        for suffix in ("md", "tex", "csv")
    }


@pytest.mark.parametrize(
    ("table", "metric"), [("table2", "accuracy"), ("table3", "train_loss"), ("table4", "val_loss")]
)
def test_each_table_shows_its_own_metric_of_the_same_rows(place, monkeypatch, table, metric):
    (wanted,) = convergence.runs(["digits"], areas=(), seeds=1).values()
    values = {"accuracy": 38.0, "train_loss": 1.75, "val_loss": 1.83}
    rows = [row(wanted[0], 0.0) | values]
    table_cells = convergence.tables(rows)[PUBLISHED][table]
    (found,) = [cell for cell in table_cells if cell.n]
    assert (found.dataset, found.column, found.metric) == ("Digits", "Baseline", metric)
    assert found.mean == values[metric]
    monkeypatch.setattr(convergence, "read", lambda ledger: (rows, []))
    page = convergence.pages(place)[place.table(table, "md")]
    assert f"**{values[metric]:.{2 if table == 'table2' else 3}f}** (n=1)" in page


def test_every_setting_has_runs_of_its_own_and_shares_the_baselines():
    settings = {"small": SALConfig(), "large": SALConfig(init_scale=0.1)}
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, config in settings.items():
            patch.setitem(SETTINGS, name, config)
            found[name] = convergence.runs(["digits"], seeds=1, setting=name)
    small, large = found.values()
    assert small["Digits", "Baseline"] == large["Digits", "Baseline"]
    assert small["Digits", "SAL-4"][0].config == SALConfig(areas=(4,))
    assert large["Digits", "SAL-4"][0].config == SALConfig(areas=(4,), init_scale=0.1)


def test_the_quick_and_fresh_places_lie_apart_from_the_committed_one():
    roots = {place().root for place in (paths.committed, paths.fresh, paths.quick)}
    assert len(roots) == 3
    assert not paths.quick().published
    assert cells_module.SEEDS == 5
