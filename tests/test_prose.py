"""Numbers that the texts tell, against the tables that are made from the ledgers."""

import re

import pandas as pd
import pytest
from scipy import stats

from paper import paths, tuning
from sal.data import DATASETS

PLACE = paths.committed()
SMALL = ("Digits", "Semeion", "USPS")
LARGE = ("Fashion-MNIST", "MNIST", "CIFAR-10")
README, PAPER = (
    " ".join(path.read_text(encoding="utf-8").split())
    for path in (paths.README, paths.PACKAGE / "README.md")
)


def section(heading):
    """Cells of the first table of a section of paper/README.md: row and column -> text."""
    text = (paths.PACKAGE / "README.md").read_text(encoding="utf-8")
    own = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.M | re.S).group(1)
    table = re.search(r"^\|.*?(?=^[^|])", own, re.M | re.S).group(0)
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {
        (line[0], column): cell
        for line in lines[2:]
        for column, cell in zip(lines[0][1:], line[1:], strict=True)
        if cell
    }


def cells(suffix=""):
    """Tables 2 to 4 in full, of the data sets that were run."""
    files = {n: PLACE.table(f"table{n}{suffix}", "csv") for n in (2, 3, 4)}
    found = pd.concat([pd.read_csv(file).assign(table=n) for n, file in files.items()])
    found = found[found["mean"].notna()]
    return found.assign(good=found["verdict"] == "reproduced", sal=found["column"] != "Baseline")


def test_cells_reproduced_are_counted_as_the_tables_have_them():
    published, before = cells(), cells("-fashion-mnist")
    assert len(published) == len(before) == 126 and published["sal"].sum() == 105
    told = section("What came out")
    rows = {"`published`, the tables' own": published, "`fashion-mnist`, before the study": before}
    for name, own in rows.items():
        for n in (2, 3, 4):
            assert told[name, f"Table {n}"] == f"{own[own['table'] == n]['good'].sum()} of 42"
        assert told[name, "together"] == str(own["good"].sum())
        assert told[name, "of them SAL's, of 105"] == str((own["good"] & own["sal"]).sum())
    sal = [own[own["good"] & own["sal"]] for own in (published, before)]
    small = sal[0]["dataset"].isin(SMALL).sum()
    large, large_before = (own["dataset"].isin(LARGE).sum() for own in sal)
    assert f"`published` reproduces {small} of 45" in PAPER
    assert f"{large} of 45, `fashion-mnist` {large_before}" in PAPER
    assert f"that one reproduces {large_before}, `published` {large}" in README
    good, good_before = published["good"].sum(), before["good"].sum()
    assert f"{good} of the 126 cells" in README and f"{len(sal[0])} of the 105 of SAL" in README
    assert f"Fashion-MNIST alone {good_before} and {len(sal[1])}" in README


def test_what_welchs_test_says_of_the_reproduced_cells():
    good = cells().query("good")
    ours, theirs = ((good[f"{who}mean"], good[f"{who}std"]) for who in ("", "published_"))
    p = stats.ttest_ind_from_stats(*ours, 5, *theirs, 5, equal_var=False).pvalue
    in_table2, everywhere = (p < 0.05)[good["table"] == 2].sum(), (p < 0.05).sum()
    of_table2 = (good["table"] == 2).sum()
    assert f"{in_table2} of the {of_table2} ✓ differ (p < 0.05)" in README
    assert f"{in_table2} of the {of_table2} in Table 2 and {everywhere} of all {len(good)}" in PAPER


def tuned():
    frame = pd.read_csv(PLACE.figure("tuning", "csv"))
    frame = frame[(frame["part"] == "tuned") & (frame["n"] == 5)]
    return frame.set_index(["dataset", "column"])["mean"]


def test_accuracies_at_each_methods_own_step_size():
    told = section("At each method's own step size")
    assert told
    means = tuned()
    for cell, text in told.items():
        assert text == f"{means[cell]:.1f}", cell


@pytest.mark.parametrize("column", ["Baseline", "SAL-4", "SAL-16"])
def test_the_readmes_own_sentence_on_tuning(column):
    means = tuned()
    asked = [DATASETS[name].title for name in tuning.DATASETS_ASKED]
    sets = [title for title in asked if (title, column) in means.index]
    numbers = [f"{means[title, column]:.1f}" for title in sets]
    assert f"{', '.join(numbers[:-1])} and {numbers[-1]}" in README, (sets, numbers)
    assert f"on {', '.join(sets[:-1])} and {sets[-1]}" in README


def test_the_lead_over_depth():
    frame = pd.read_csv(PLACE.figure("figure2", "csv"))
    own = frame[(frame["metric"] == "accuracy") & (frame["n"] == 5)]
    mean = own.set_index(["dataset", "method", "depth"])["mean"]
    told = section("What depth does")
    for (dataset, depth), text in told.items():
        lead = mean[dataset, "sal", int(depth)] - mean[dataset, "bp", int(depth)]
        assert abs(float(text) - lead) < 0.051, (dataset, depth, lead)
    assert len(told) == 17


def test_overfitting_is_counted_as_the_page_of_claims_has_it():
    """A row of the page: what was asked, the paper's words, the verdict at each step size."""
    page = PLACE.table("claims", "md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    verdicts = {row[0]: row[2:] for row in rows if len(row) == 4}
    counts = r"(\d+) comparisons .*: (\d+) show it, (\d+) the opposite"
    told = re.compile(r"shown in (\d+) of (\d+) comparisons")
    deep, shallow = (
        told.search(PAPER, PAPER.index(start)).groups()
        for start in ("The paper's sentence on **overfitting**", "nets of one hidden layer it is")
    )
    published = verdicts["Deep, SAL overfits less than backpropagation"][0]
    total, shown, _ = re.search(counts, published).groups()
    assert deep == (shown, total)
    total, _, opposite = re.search(
        counts, verdicts["SAL overfits less than backpropagation"][1]
    ).groups()
    assert shallow == (opposite, total)
