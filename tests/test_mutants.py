"""The list of defects is true to the code; ``nox -s mutants`` puts them in one after the other."""

import ast

import pytest
from mutants import MUTANTS, ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_a_defect_is_of_one_line_that_is_there_once_and_names_a_test_that_there_is(mutant):
    lines = (ROOT / mutant.file).read_text(encoding="utf-8").splitlines()
    assert lines.count(mutant.line) == 1
    assert "\n" not in mutant.becomes
    assert mutant.becomes != mutant.line
    file, _, name = mutant.test.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name.partition("[")[0] in {node.name for node in tree.body if hasattr(node, "name")}
