"""Numbers that the texts tell, against the tables that are made from the ledgers."""

import re

import pandas as pd
import pytest
from scipy import stats

from paper import paths, tuning
from paper.claims import CLAIMS
from paper.verdicts import HOLDS, NOT, OPEN
from sal.data import DATASETS

PLACE = paths.committed()
SMALL = ("Digits", "Semeion", "USPS")
UNCHOSEN = ("MNIST", "CIFAR-10")
"""Data sets that had no part in choosing either setting."""
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
    small, small_before = (own["dataset"].isin(SMALL).sum() for own in sal)
    others, others_before = (own["dataset"].isin(UNCHOSEN).sum() for own in sal)
    assert f"`published` reproduces {small} of 45, `fashion-mnist` {small_before}." in PAPER
    assert f"by which neither was, {others} and {others_before} of 30" in PAPER
    assert (
        f"`published` reproduces {others} of SAL's 30 cells, the other {others_before}." in README
    )
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


@pytest.mark.parametrize("column", ["Baseline", "SAL-1", "SAL-4", "SAL-16"])
def test_the_readmes_own_sentence_on_tuning(column):
    means = tuned()
    asked = [DATASETS[name].title for name in tuning.DATASETS_ASKED]
    sets = [title for title in asked if (title, column) in means.index]
    numbers = [f"{means[title, column]:.1f}" for title in sets]
    assert f"{', '.join(numbers[:-1])} and {numbers[-1]}" in README, (sets, numbers)
    assert f"On {', '.join(sets[:-1])} and {sets[-1]} the baseline then comes to" in README


def test_the_lead_over_depth():
    frame = pd.read_csv(PLACE.figure("figure2", "csv"))
    own = frame[(frame["metric"] == "accuracy") & (frame["n"] == 5)]
    mean = own.set_index(["dataset", "method", "depth"])["mean"]
    told = section("What depth does")
    for (dataset, depth), text in told.items():
        lead = mean[dataset, "sal", int(depth)] - mean[dataset, "bp", int(depth)]
        assert abs(float(text) - lead) < 0.051, (dataset, depth, lead)
    assert len(told) == 17


def verdicts():
    """Claim -> its cell at the paper's step size, and at each method's own."""
    page = PLACE.table("claims", "md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    return {row[0]: row[2:] for row in rows if row[0] in CLAIMS and len(row) == 4}


def test_verdicts_on_what_the_paper_says_are_counted_as_the_page_has_them():
    told = verdicts()
    papers = [name for name, claim in CLAIMS.items() if not claim.says.startswith("ours")]
    counts = [
        [sum(told[name][n].startswith(f"**{each}**") for name in papers) for n in (0, 1)]
        for each in (HOLDS, NOT, OPEN)
    ]
    (holds, tuned_holds), (nots, tuned_nots), (opens, tuned_opens) = counts
    assert f"Of {len(papers)} things that the paper says, {holds} hold by our rule, " in README
    assert f", {nots} do not (" in README and f"and {opens} cannot be said, some" in README
    tuned = f"{tuned_holds} of the {len(papers)}; {tuned_nots} do not hold, {tuned_opens} cannot"
    assert tuned in README


def test_overfitting_is_counted_as_the_page_of_claims_has_it():
    counts = r"(\d+) comparisons .*: (\d+) show it, (\d+) the opposite after Holm's correction"
    told = re.compile(r"shown in (\d+) of (\d+) comparisons")
    deep, shallow = (
        told.search(PAPER, PAPER.index(start)).groups()
        for start in ("The paper's sentence on **overfitting**", "nets of one hidden layer it is")
    )
    cells_of = verdicts()
    published = cells_of["Deep, SAL overfits less than backpropagation"][0]
    total, shown, _ = re.search(counts, published).groups()
    assert deep == (shown, total)
    tuned_nets = cells_of["SAL overfits less than backpropagation"][1]
    total, _, opposite = re.search(counts, tuned_nets).groups()
    assert shallow == (opposite, total)
