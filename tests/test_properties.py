"""What holds for whatever comes: properties of ledger, registry, routing, updates and rendering."""

import dataclasses
import json
import string

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rows import row

from baselines import BUILT_IN, learner_class, learners
from paper import render
from paper.cells import FLOOR, REPRODUCED, SEEDS, Cell, Measured, tolerance, verdict
from paper.merge import merge
from paper.results import append, current, identity, key, read
from sal import SALConfig
from sal.areas import descend_, linear
from sal.config import ACTIVATIONS, INITS, RESIDUALS
from sal.data import DATASETS, UnknownDataset, UnsupportedDataset, find
from sal.net import choose
from sal.run import Run
from sal.streams import STREAMS, Streams
from sal.train import Protocol

many = settings(max_examples=50, deadline=None, derandomize=True)
in_a_folder = settings(many, suppress_health_check=[HealthCheck.function_scoped_fixture])

texts = st.text(max_size=30)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)  # fmt: skip
counts = st.integers(1, 40)
positive = st.floats(1e-6, 1e6)
configs = st.builds(
    SALConfig,
    hidden=st.lists(counts, min_size=1, max_size=4).map(tuple),
    activation=st.sampled_from(ACTIVATIONS),
    residual=st.sampled_from(RESIDUALS),
    bias=st.booleans(),
    init=st.sampled_from(INITS),
    init_scale=positive,
    output_rate=positive,
    areas=st.tuples(counts),
)
protocols = st.builds(Protocol, epochs=counts, batch_size=counts, lr=positive)
runs = st.builds(
    Run,
    dataset=st.sampled_from(list(DATASETS)),
    learner=st.just("sal"),
    config=configs,
    seed=st.integers(0, 2**40),
    protocol=protocols,
)


@st.composite
def ledger_rows(draw):
    """A row of any run, with history and split of any JSON."""
    free = {"history": draw(st.dictionaries(texts, values)), "split": draw(values)}
    return row(draw(runs), 50.0, git_dirty=False, **free)


# the ledger


@in_a_folder
@given(st.lists(ledger_rows(), max_size=4))
def test_rows_of_whatever_text_and_numbers_are_read_as_they_were_written(ledger, rows):
    ledger.unlink(missing_ok=True)
    for each in rows:
        append(ledger, each)
    assert read(ledger) == (json.loads(json.dumps(rows)), [])


@in_a_folder
@given(
    st.lists(ledger_rows(), min_size=1, max_size=3),
    st.lists(st.binary(max_size=50).filter(lambda line: b"\n" not in line), max_size=3),
    st.randoms(use_true_random=False),
)
def test_garbage_between_lines_costs_no_row_and_every_line_of_it_is_told(
    ledger, rows, garbage, random
):
    garbage = [line for line in garbage if line.strip()]
    lines = [json.dumps(each).encode() for each in rows]
    for line in garbage:
        lines.insert(random.randint(0, len(lines)), line)
    ledger.parent.mkdir(parents=True, exist_ok=True)
    ledger.write_bytes(b"\n".join(lines))
    found, problems = read(ledger)
    assert found == rows
    assert len(problems) == len(garbage)


@in_a_folder
@given(st.lists(ledger_rows(), min_size=2, max_size=3), st.floats(0, 1), ledger_rows())
def test_a_ledger_cut_off_anywhere_keeps_the_rows_before_and_takes_new_ones(
    ledger, rows, share, new
):
    ledger.unlink(missing_ok=True)
    for each in rows:
        append(ledger, each)
    whole = ledger.read_bytes()
    cut = round(share * len(whole))
    ledger.write_bytes(whole[:cut])
    append(ledger, new)
    found, problems = read(ledger)
    ends = [i for i, byte in enumerate(whole) if byte == ord("\n")]
    before = sum(end <= cut for end in ends)
    assert found == [*rows[:before], new]
    assert len(problems) == (cut not in (0, *ends, *(end + 1 for end in ends)))


@many
@given(runs, st.randoms(use_true_random=False))
def test_a_run_is_told_by_its_values_not_by_their_order(run, random):
    config = list(run.config.to_dict().items())
    random.shuffle(config)
    assert identity(row(run, 1.0, config=dict(config))) == key(run)


@many
@given(runs, runs, st.data())
def test_two_runs_that_differ_in_one_choice_have_two_keys(one, other, data):
    part = data.draw(st.sampled_from(["run", "config", "protocol"]))
    whole = one if part == "run" else getattr(one, part)
    field = data.draw(st.sampled_from([field.name for field in dataclasses.fields(whole)]))
    drawn = getattr(other if part == "run" else getattr(other, part), field)
    changed = dataclasses.replace(whole, **{field: drawn})
    mixed = changed if part == "run" else dataclasses.replace(one, **{part: changed})
    assert (key(one) == key(mixed)) == (one == mixed)


@many
@given(st.lists(st.lists(ledger_rows(), max_size=3), max_size=3))
def test_what_is_merged_is_what_would_count_and_a_second_time_adds_nothing(shards):
    ours, *_ = [*shards, []]
    merged = merge(ours, *shards[1:])
    together = [*ours, *merged.new]
    assert {identity(r) for r in together} == {identity(r) for s in shards for r in s}
    assert len(current(merged.new)) == len(merged.new)
    assert merge(together, *shards[1:]).new == []
    added = len(merged.new) + merged.there + merged.stale + len(merged.conflicts)
    assert added == sum(map(len, shards[1:]))


# the registry


@many
@given(configs)
def test_a_configuration_is_what_its_json_says(config):
    values = json.loads(json.dumps(config.to_dict()))
    assert SALConfig.from_dict(values) == config


@pytest.mark.parametrize("learner", BUILT_IN, ids=lambda learner: learner.name)
@many
@given(name=st.text(string.ascii_lowercase, min_size=1, max_size=8))
def test_a_field_that_a_configuration_does_not_know_is_named(learner, name):
    known = learner.Config().to_dict()
    if name not in known:
        with pytest.raises(ValueError, match=f"has no field {name}"):
            learner.Config.from_dict(known | {name: 1})


@many
@given(st.sampled_from(sorted(learners())) | texts)
def test_a_method_is_found_by_its_name_and_any_other_text_is_named(name):
    if name in learners():
        assert learner_class(name).name == name
    else:
        with pytest.raises(ValueError, match="no method named"):
            learner_class(name)


@many
@given(st.sampled_from(list(DATASETS)), st.data())
def test_a_data_set_is_found_however_its_name_is_spelt(key, data):
    title = data.draw(st.sampled_from((key, DATASETS[key].title)))
    spelt = "".join(
        data.draw(st.sampled_from(["", "-", "_", " "])) if char in "-_ "
        else data.draw(st.sampled_from((char.lower(), char.upper())))
        for char in title
    )  # fmt: skip
    assert find(spelt).key == key


@many
@given(texts)
def test_a_text_that_is_no_data_set_is_refused_by_name(text):
    try:
        assert find(text).key
    except (UnknownDataset, UnsupportedDataset) as error:
        assert repr(text)[1:-1] in str(error) or text in str(error)


@many
@given(
    st.integers(0, 2**32),
    st.lists(st.tuples(st.sampled_from(STREAMS), st.integers(0, 99)), unique=True, max_size=20),
)
def test_streams_of_different_names_differ_and_of_the_same_agree(seed, names):
    integers = [Streams(seed).integer(*name) for name in names]
    assert len(set(integers)) == len(names)
    assert integers == [Streams(seed).integer(*name) for name in names]


# routing and updates


@st.composite
def routed_layers(draw):
    """Numbers in eighths, so that float64 sums are exact in any order."""
    R, B, D, H, K = (draw(st.integers(1, n)) for n in (2, 12, 5, 4, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))

    def eighths(*shape):
        return torch.randint(-16, 17, shape, generator=generator).double() / 8

    area_RB = torch.randint(0, K, (R, B), generator=generator)
    return eighths(R, B, D), eighths(R, K, D, H), eighths(R, K, H), eighths(R, B, H), area_RB


@many
@given(routed_layers(), st.integers(-20, 20))
def test_the_choice_is_of_the_largest_product_whatever_the_scale(layer, power):
    x_RBD, _, _, _, _ = layer
    prototypes_RKF = x_RBD.flip(1) - 0.25
    area_RB = choose(x_RBD, prototypes_RKF)
    scores_RBK = torch.einsum("rbf,rkf->rbk", x_RBD, prototypes_RKF)
    chosen_RB = scores_RBK.gather(2, area_RB.unsqueeze(2)).squeeze(2)
    assert (chosen_RB == scores_RBK.amax(2)).all()
    assert torch.equal(choose(x_RBD, prototypes_RKF * 2.0**power), area_RB)


@many
@given(routed_layers(), st.sampled_from(["grouped", "masked"]))
def test_every_sample_goes_through_its_own_area_in_whatever_company(layer, engine):
    x_RBD, w_RKDH, b_RKH, _, area_RB = layer
    out_RBH = linear(x_RBD, w_RKDH, b_RKH, area_RB, engine)
    for r, area_B in enumerate(area_RB.tolist()):
        for b, k in enumerate(area_B):
            assert torch.equal(out_RBH[r, b], x_RBD[r, b] @ w_RKDH[r, k] + b_RKH[r, k])


@many
@given(routed_layers(), st.sampled_from(["grouped", "masked"]), st.randoms(use_true_random=False))
def test_an_update_is_the_sum_over_an_areas_samples_in_any_order_and_others_stay(
    layer, engine, random
):
    x_RBD, w_RKDH, b_RKH, delta_RBH, area_RB = layer
    order = list(range(x_RBD.shape[1]))
    random.shuffle(order)
    m, K = x_RBD.shape[1], w_RKDH.shape[1]
    w_after, b_after = w_RKDH.clone(), b_RKH.clone()
    batch = (x_RBD[:, order], delta_RBH[:, order], area_RB[:, order])
    descend_(w_after, b_after, *batch, "batch", float(m), engine)  # so that lr / n_k is 1
    one_hot_RBK = torch.nn.functional.one_hot(area_RB, K).double()
    sum_RKDH = torch.einsum("rbk,rbd,rbh->rkdh", one_hot_RBK, x_RBD, delta_RBH)
    sum_RKH = torch.einsum("rbk,rbh->rkh", one_hot_RBK, delta_RBH)
    torch.testing.assert_close(w_after, w_RKDH - sum_RKDH, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(b_after, b_RKH - sum_RKH, rtol=1e-12, atol=1e-12)
    unchosen_RK = one_hot_RBK.sum(1) == 0
    assert torch.equal(w_after[unchosen_RK], w_RKDH[unchosen_RK])
    assert torch.equal(b_after[unchosen_RK], b_RKH[unchosen_RK])


# verdicts and rendering

metrics = st.sampled_from(list(FLOOR))
accuracies = st.lists(st.floats(0, 100), max_size=SEEDS)
spreads = st.floats(0, 10)


@st.composite
def cells(draw):
    metric, found, std = draw(metrics), draw(accuracies), draw(spreads)
    target = draw(st.floats(0, 100))
    measured = Measured(dict(enumerate(found)), 0)
    facts = ("Digits", "SAL-1", metric, measured.mean, measured.std, len(found), draw(counts) - 1)
    return Cell(*facts, target, std, verdict(metric, found, target, std))


@many
@given(metrics, st.floats(0, 100), spreads, st.floats(-3, 3))
def test_a_verdict_depends_on_the_distance_alone(metric, target, std, times):
    mean = target + times * tolerance(metric, std)
    said = verdict(metric, [mean] * SEEDS, target, std)
    if abs(abs(times) - 1) > 1e-6:
        assert (said == REPRODUCED) == (abs(times) < 1)
    assert verdict(metric, [2 * target - mean] * SEEDS, target, std) == said or abs(times) > 0.999
    assert verdict(metric, [mean] * (SEEDS - 1), target, std) == f"partial: {SEEDS - 1} of 5 seeds"


@many
@given(cells())
def test_every_table_has_a_cell_where_it_belongs_and_says_what_came_out(cell):
    page = render.markdown("T", ["note"], [cell])
    header, rule, line = (line for line in page.splitlines() if line.startswith("|"))
    assert header.count("|") == rule.count("|") == line.count("|") == 3
    assert cell.verdict in line
    assert (f"{cell.diverged} diverged" in line) == (cell.diverged > 0)
    assert ("not run" in line) == (cell.mean is None)
    if cell.mean is not None:
        shown = float(line.split("**")[1].split(" ")[0])
        assert abs(shown - cell.mean) <= 0.5 * 10 ** -render.DECIMALS[cell.metric] + 1e-9
        assert f"(n={cell.n})" in line
    (latex,) = (line for line in render.latex("T", [], [cell]).splitlines() if "&" in line[6:8])
    assert latex.count("&") == 1
    assert latex.count("$") in (0, 2)
    head, values = render.csv([cell]).splitlines()
    assert head.count(",") == values.count(",")


@many
@given(st.lists(cells(), min_size=1, max_size=9))
def test_a_summary_counts_every_cell_once(found):
    line = render.summary(found)
    numbers = [int(word) for word in line.replace(":", "").split() if word.isdecimal()]
    assert numbers[0] == len(found)
    assert sum(numbers[1:]) == len(found)


@many
@given(texts, texts, texts)
def test_a_table_between_marks_leaves_the_rest_as_it_was(before, after, table):
    marks = "<!-- t:begin -->\n", "<!-- t:end -->"
    if any(mark.strip() in before + after + table for mark in marks):
        return
    once = render.between_marks(before + marks[0] + "old" + marks[1] + after, "t", table)
    assert once.startswith(before) and once.endswith(after) and table in once
    assert render.between_marks(once, "t", table) == once
