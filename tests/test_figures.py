"""Figures 1 to 5 and what is measured beside them: from ledgers made by hand, and small nets."""

import csv
import io
import json

import pandas as pd
import pytest
import torch
from rich.console import Console

from baselines import BP, learner_class
from paper import against_moe, billion, costs, figure1, health, measured, memory, paths, scaling
from paper.results import COLUMNS
from paper.scaling import EXPERIMENTS, deep, weight_bytes
from sal import SAL, Streams
from sal.data import DATASETS

DEPTH, WIDTH = EXPERIMENTS["figure2"], EXPERIMENTS["figure3"]


@pytest.fixture
def place(tmp_path):
    return paths.Place(tmp_path, published=True)


def row(run, accuracies, **changes):
    """A ledger row of a run with these accuracies, epoch by epoch."""
    values = {
        **dict.fromkeys(COLUMNS),
        **run.identity(),
        "status": "ok",
        "accuracy": accuracies[-1],
        "train_loss": 1.0,
        "val_loss": 2.0,
        "history": {"accuracy": accuracies},
        "data_sha256": DATASETS[run.dataset].content_sha256,
        "learner_version": learner_class(run.learner).version,
    }
    return values | changes


def write(place, name, rows):
    ledger = place.ledger(name)
    ledger.parent.mkdir(parents=True, exist_ok=True)
    ledger.write_text("".join(json.dumps(each) + "\n" for each in rows))


def table(text):
    return list(csv.DictReader(io.StringIO(text)))


# Figures 2 and 3


def test_depth_counts_matrices_and_follows_section_4_2():
    sal = deep("sal", DEPTH.shape(8))
    assert (len(sal.hidden), set(sal.hidden), set(sal.areas)) == (7, {256}, {4})
    layers = [sal.layer_activation(n) for n in range(8)]
    assert layers == ["linear", *["tanh"] * 6, "linear"]
    kinds = [sal.layer_residual(n, *size) for n, size in enumerate(sal.sizes(256, 10))]
    assert kinds == [*["after"] * 7, "none"], "Semeion has as many pixels as there are units"
    assert [sal.layer_areas(n) for n in range(8)] == [*[4] * 7, 1]
    assert len(WIDTH.shape(512)) == 63


def test_the_widest_net_has_the_parameters_that_the_paper_names():
    """Section 4.3: "approximately 1B activation parameters and over 4B total parameters"."""
    total = weight_bytes(deep("sal", WIDTH.shape(4096)), 256, 10) / 4
    active = weight_bytes(deep("bp", WIDTH.shape(4096)), 256, 10) / 4
    assert 4.0e9 < total < 4.3e9
    assert 1.0e9 < active < 1.1e9


def test_plotted_numbers_are_means_over_seeds_and_what_was_not_run_says_so(place):
    cells = scaling.runs(DEPTH)
    rows = [row(run, [40.0 + run.seed]) for run in cells["semeion", "sal", 4]]
    rows += [row(run, [30.0]) for run in cells["semeion", "bp", 4][:2]]
    write(place, "depth", rows)
    pages = scaling.pages(place)
    found = {
        (line["dataset"], line["method"], line["depth"], line["metric"]): line
        for line in table(pages[place.figure("figure2", "csv")])
    }
    line = found["Semeion", "sal", "4", "accuracy"]
    assert (line["mean"], line["std"], line["n"]) == ("42.0000", "1.5811", "5")
    assert found["Semeion", "sal", "8", "accuracy"]["n"] == "0"
    assert found["CIFAR-10", "bp", "2", "accuracy"]["mean"] == ""
    page = pages[place.table("figure2", "md")]
    (semeion,) = [text for text in page.splitlines() if text.startswith("| Semeion, SAL")]
    assert semeion == "| Semeion, SAL | not run | 42.00 ± 1.58 |" + " not run |" * 5
    assert "30.00 ± 0.00 (n=2)" in page


def test_what_was_not_run_tells_its_hours_where_a_step_was_timed(place, monkeypatch):
    write(place, "depth", [row(scaling.runs(DEPTH)["semeion", "sal", 4][0], [40.0])])
    monkeypatch.setattr(scaling, "step_seconds", lambda *arguments: 0.01)
    scaling.time_steps(place, DEPTH, Console(quiet=True))
    page = scaling.pages(place)[place.table("figure2", "md")]
    steps = DATASETS["cifar10"].counts["train"] / 16 * 25 * 5
    assert f"not run ({steps * 0.01 / 3600:.1f} h)" in page


def test_without_rows_there_is_no_page_and_with_them_a_figure(place):
    assert scaling.pages(place) == {}
    write(place, "width", [row(run, [50.0]) for run in scaling.runs(WIDTH)["stl10", "bp", 256]])
    scaling.write(place, "figure3", Console(quiet=True))
    assert place.figure("figure3", "pdf").stat().st_size > 1000
    rows, _ = scaling.read(place.ledger("width"))
    drawn = scaling.draw("figure3", scaling.table(WIDTH, scaling.found(WIDTH, rows)))
    titles = [axis.get_title() for axis in drawn.axes]
    assert titles[0] == "CIFAR-10 (not run)"
    assert titles[3] == "STL-10 (n = 5)"


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"values": [3]}, "depth must be of"),
        ({"methods": ["moe"]}, "methods must be of"),
        ({"datasets": ["mnist"]}, "data sets must be of"),
    ],
)
def test_what_a_figure_does_not_have_is_refused(choices, message):
    with pytest.raises(ValueError, match=message):
        scaling.runs(DEPTH, **choices)


def test_a_step_of_a_deep_net_is_timed():
    assert 0 < scaling.step_seconds(deep("sal", (16, 16)), "sal", 20, 3) < 60


# Figures 4 and 5


def test_curves_are_means_over_seeds_of_each_epoch(place):
    cells = against_moe.runs(["digits"])
    rows = [row(run, [10.0 + run.seed, 20.0 + run.seed]) for run in cells["digits", "moe", 4]]
    write(place, "table2", rows)
    text = against_moe.pages(place)[place.figure("figure4", "csv")]
    first, second = table(text)
    assert (first["method"], first["areas"], first["epoch"]) == ("moe", "4", "1")
    assert (first["mean"], second["mean"], second["std"]) == ("12.0000", "22.0000", "1.5811")
    assert place.figure("figure5", "csv") not in against_moe.pages(place)


def test_a_mixture_of_one_expert_is_the_baselines_runs():
    cells = against_moe.runs(["digits"])
    assert {run.learner for run in cells["digits", "moe", 1]} == {"bp"}
    assert {run.learner for run in cells["digits", "moe", 2]} == {"moe"}


def test_panels_without_runs_say_so(place):
    rows = [row(run, [10.0, 20.0]) for run in against_moe.runs(["digits"])["digits", "moe", 4]]
    figure = against_moe.draw("figure4", against_moe.curves(rows, against_moe.FIGURES["figure4"]))
    said = [[text.get_text() for text in axis.texts] for axis in figure.axes]
    assert said[0] == ["not run"]
    assert said[5 + 2] == [], "Digits, K = 4"


# What is measured


def test_figure_1_shows_what_the_learner_has():
    learner = SAL(figure1.CONFIG, 30, 7, [Streams(0)])
    texts = {text.get_text() for text in figure1.draw(learner).axes[0].texts}
    assert "30 × 256, relu" in texts
    assert "e\nidentity" in texts
    assert any("V 256 × 7" in text for text in texts)
    assert sum("x W$_{" in text for text in texts) == 4, "areas by name, in both layers"


def test_health_measures_what_a_step_changes():
    config = deep("sal", (16, 16, 16))
    learner = SAL(config, 12, 4, [Streams(0)]).double()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 40, 12, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 4, (1, 40), generator=generator)
    numbers = health.measure(learner, x, y, 0.1)
    update = learner.update(x, y)
    routes = learner.routes(x)
    for index, layer in enumerate(numbers):
        step, weight = update[f"weight{index}"][0], learner.tensors()[f"weight{index}"][0]
        area = routes.get(f"layer{index}", torch.zeros(1, 40, dtype=torch.int64)).unique()
        expected = 0.1 * (step[area].square().sum() / weight[area].square().sum()).sqrt()
        assert layer["update"] == pytest.approx(expected.item())
        assert layer["areas_used"] == len(area) / len(weight)
    assert numbers[-1]["activation"] == pytest.approx(
        learner.logits(x).square().mean().sqrt().item()
    )
    dense = BP(deep("bp", (16, 16)), 12, 4, [Streams(0)]).double()
    assert all(layer["areas_used"] == 1 for layer in health.measure(dense, x, y, 0.1))


def test_operations_and_shares_are_those_of_the_formulas():
    config = costs.configuration("sal", 4)
    dense = 2 * 2 * (784 * 256 + 256 * 10) + 2 * 10 * 256
    router = 2 * 2 * 784 * 10 + 2 * 10 * 4
    assert costs.operations(config) == dense + router
    learner = SAL(config, 784, 10, [Streams(0)])
    area, routing, output = 785 * 256, 785 * 10, 257 * 10
    share = (area + routing + output) / (4 * area + routing + output)
    assert costs.active_share(learner) == pytest.approx(share)


def test_a_net_that_does_not_fit_is_refused_before_anything_is_allocated(monkeypatch, capsys):
    monkeypatch.setattr(billion, "available_bytes", lambda: int(1e9))
    monkeypatch.setattr(billion, "SAL", lambda *arguments: pytest.fail("allocated"))
    monkeypatch.setattr(billion, "_compile", lambda: None)
    pytest.importorskip("torch")
    with pytest.raises(ValueError, match=r"needs 18.\d GB and 1.0 GB are free: .* smaller --width"):
        billion.check_memory(weight_bytes(deep("sal", WIDTH.shape(4096)), 256, 10))


@pytest.mark.data
def test_a_small_one_of_the_billion_trains_and_comes_back_from_its_checkpoint(tmp_path, place):
    from sal.data import DataError, load

    try:
        load("semeion")
    except DataError as error:
        pytest.skip(f"Semeion is not at hand: {error}")
    result = billion.train(32, 4, 3, tmp_path / "state.pt", Console(quiet=True))
    assert result["parameters"] == sum(
        p.numel() for p in SAL(deep("sal", (32,) * 3), 256, 10, [Streams(0)]).parameters()
    )
    assert len(result["steps"]) == 3
    assert result["checkpoint"]["equal"]
    assert not (tmp_path / "state.pt").exists()
    measured.write(place, "billion", result)
    page = billion.pages(place)[place.table("billion", "md")]
    assert f"{result['steps'][0]['loss']:.4f}" in page


def test_a_checkpoint_that_comes_back_otherwise_is_told(tmp_path, monkeypatch):
    learner = SAL(deep("sal", (8, 8)), 12, 4, [Streams(0)])
    monkeypatch.setattr(torch, "load", lambda path, **options: learner.state_dict())
    found = billion.round_trip(learner, tmp_path / "state.pt", Console(quiet=True))
    assert not found["equal"], "what was zeroed was read"


def test_peaks_are_measured_against_the_parameters(place):
    contestants = [
        {"contestant": "SAL-4", "width": 8, "parameter_bytes": 4_000_000, "peak_bytes": 5_000_000},
        {"contestant": "BP", "width": 8, "parameter_bytes": 1_000_000, "peak_bytes": 2_000_000},
    ]
    where = {"git_sha": "0" * 40, "torch_version": "2"}
    measured.write(place, "memory", {**where, "contestants": contestants})
    page = memory.pages(place)[place.table("memory", "md")]
    assert "| SAL-4 | 8 | 4 | 1 | 5 | 1.25 |" in page
    assert "| BP | 8 | 1 | 1 | 2 | 2.00 |" in page


def test_what_was_not_measured_has_no_page(place):
    for module in (billion, costs, health, memory):
        assert module.pages(place) == {}
    quiet = Console(quiet=True)
    measured.render(place, "costs", costs.pages, costs.draw, quiet)
    assert not place.figure("costs", "png").exists()


def test_costs_are_ratios_within_a_round():
    nets = [
        {"width": 256, "areas": 1, "operations": 100.0, "active_share": 1.0},
        {"width": 256, "areas": 4, "operations": 110.0, "active_share": 0.3},
    ]
    times = ([1.0, 2.0, 4.0], [2.0, 4.0, 8.0])
    for net, own in zip(nets, times, strict=True):
        net["us_a_sample"] = own
    frame = costs.table({"nets": nets}).set_index("areas")
    assert frame.loc[4, "ratio"] == frame.loc[4, "ratio_q75"] == 2.0
    assert frame.loc[4, "operations_ratio"] == pytest.approx(1.1)
    assert isinstance(frame, pd.DataFrame)
