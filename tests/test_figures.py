"""Figures 1 to 5 and what is measured beside them: from ledgers made by hand, and small nets."""

import csv
import io
import json
import subprocess
import sys

import pytest
import torch
from rich.console import Console
from rows import row, write

from baselines import BP
from paper import against_moe, billion, costs, figure1, health, measured, memory, scaling
from paper.results import LedgerError
from paper.scaling import EXPERIMENTS, deep, weight_bytes
from sal import SAL, Streams
from sal.data import DataError, load

DEPTH, WIDTH = EXPERIMENTS["figure2"], EXPERIMENTS["figure3"]


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
    rows = [row(run, 40.0 + run.seed) for run in cells["semeion", "sal", 4]]
    rows += [row(run, 30.0) for run in cells["semeion", "bp", 4][:2]]
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


def test_runs_that_were_made_on_a_gpu_are_named(place):
    cells = scaling.runs(WIDTH)
    own = cells["semeion", "sal", 2048]
    rows = [row(run, 50.0) for run in (*cells["semeion", "sal", 1024], own[0])]
    write(place, "width", rows)
    page = place.table("figure3", "md")
    assert "float32:" not in scaling.pages(place)[page]
    changes = {"device": "NVIDIA X", "torch_version": "2.9"}
    write(place, "width", [row(run, 50.0, **changes) for run in own[1:]])
    text = "On NVIDIA X, PyTorch 2.9, float32: Semeion sal 2048 (4 of 5 runs).\n"
    assert text in scaling.pages(place)[page]


def test_what_was_not_run_tells_its_hours_where_a_step_was_timed(place, monkeypatch):
    write(place, "depth", [row(scaling.runs(DEPTH)["semeion", "sal", 4][0], 40.0)])
    monkeypatch.setattr(scaling, "step_seconds", lambda *arguments: 0.01)
    monkeypatch.setattr(scaling, "_samples", lambda dataset, inputs: (None, 50_000))
    cells = scaling.runs(DEPTH, ["cifar10"], [2, 4])
    scaling.time_steps(place, DEPTH, cells, Console(quiet=True))
    page = scaling.pages(place)[place.table("figure2", "md")]
    steps = 50_000 / 16 * 25 * 5
    told = f"not run (10 ms a step, {steps * 0.01 / 3600:.1f} h)"
    (line,) = [line for line in page.splitlines() if line.startswith("| CIFAR-10, SAL")]
    assert line.count(told) == 2, "of seven depths"


def test_nets_that_do_not_fit_are_left_out_by_name(monkeypatch, capsys):
    cells = scaling.runs(WIDTH, ["semeion"], [256, 4096])
    monkeypatch.setattr(scaling, "available_bytes", lambda: int(8e9))
    kept = scaling._that_fit(cells, 2, Console(width=200))
    assert kept == [cells["semeion", name, 256] for name in ("bp", "sal")]
    told = capsys.readouterr().out
    assert "left out: Semeion sal 4096: 2 nets of 16.7 GB do not fit into 8.0 GB" in told
    assert len(scaling._that_fit(cells, 1, Console(quiet=True))) == 3, "BP's 4.2 GB alone fit"


def test_without_rows_there_is_no_page_and_with_them_a_figure(place):
    assert scaling.pages(place) == {}
    write(place, "width", [row(run, 50.0) for run in scaling.runs(WIDTH)["stl10", "bp", 256]])
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
        ({"datasets": ["cifar10"], "methods": ["fa"]}, "depth has no"),
    ],
)
def test_what_a_figure_does_not_have_is_refused(choices, message):
    with pytest.raises(ValueError, match=message):
        scaling.runs(DEPTH, **choices)


def test_a_step_is_timed_as_the_best_of_few(monkeypatch):
    clock = iter([0.0, 9.0, 10.0, 16.0])
    monkeypatch.setattr(scaling.time, "perf_counter", lambda: next(clock))
    x = torch.rand(2 * 3 * 16, 20)
    assert scaling.step_seconds(deep("sal", (16, 16)), "sal", x, 3) == 2.0, "6 s for 3 steps"


def test_diverged_runs_are_told_and_not_called_not_run(place):
    cells = scaling.runs(DEPTH)
    rows = [row(run, 50.0, status="diverged") for run in cells["cifar10", "bp", 2]]
    frame = scaling.table(DEPTH, scaling.found(DEPTH, rows))
    titles = [axis.get_title() for axis in scaling.draw("figure2", frame).axes]
    assert titles[:2] == ["CIFAR-10 (5 diverged)", "FER2013 (not run)"]


# Figures 4 and 5


def test_curves_are_means_over_seeds_of_each_epoch(place):
    cells = against_moe.runs(["digits"])
    rows = [row(run, 10.0 + run.seed, 20.0 + run.seed) for run in cells["digits", "moe", 4]]
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
    rows = [row(run, 10.0, 20.0) for run in against_moe.runs(["digits"])["digits", "moe", 4]]
    figure = against_moe.draw("figure4", against_moe.curves(rows, against_moe.FIGURES["figure4"]))
    said = [[text.get_text() for text in axis.texts] for axis in figure.axes]
    assert said[0] == ["not run"]
    assert said[5 + 2] == ["SAL: not run"], "Digits, K = 4"
    assert [axis.get_title() for axis in figure.axes[:5]] == [f"K = {k}" for k in (1, 2, 4, 8, 16)]
    assert {axis.get_xlabel() for axis in figure.axes[-5:]} == {"epoch"}
    assert len(figure.axes[5 + 2].get_yticks()) > 1, "beside panels without runs"


def test_one_seed_is_drawn_without_a_band():
    cells = scaling.runs(WIDTH, ["semeion"], [256, 512], ["sal"], seeds=1)
    rows = [row(run, 50.0) for own in cells.values() for run in own]
    frame = scaling.table(WIDTH, scaling.found(WIDTH, rows))
    figure = scaling.draw("figure3", frame)
    panel = figure.axes[scaling.PAPERS.index("semeion")]
    assert panel.get_title() == "Semeion (n = 1)"
    assert [list(line.get_ydata()) for line in panel.lines] == [[50.0, 50.0]]


def test_the_page_has_both_methods_at_the_end(place):
    rows = [row(run, 10.0, 20.0) for run in against_moe.runs(["digits"])["digits", "moe", 4]]
    rows += [row(run, 1.0, 2.0) for run in against_moe.runs(["digits"])["digits", "sal", 4][:2]]
    write(place, "table2", rows)
    against_moe.write(place, Console(quiet=True))
    page = place.table("figure4", "md").read_text()
    assert "| Digits, MoE | not run | not run | 20.00 ± 0.00 | not run | not run |" in page
    assert "| Digits, SAL | not run | not run | 2.00 ± 0.00 (n=2) | not run | not run |" in page
    assert place.figure("figure4", "png").exists()
    assert not place.figure("figure5", "png").exists()


# What is measured


def test_figure_1_shows_what_the_learner_has():
    learner = SAL(figure1.CONFIG, 30, 7, [Streams(0)])
    texts = {text.get_text() for text in figure1.draw(learner).axes[0].texts}
    assert "30 × 256, relu" in texts
    assert "δ = e\nidentity" in texts
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


def test_a_net_that_does_not_fit_is_refused_before_anything_is_allocated(
    monkeypatch, tmp_path, capsys
):
    digits = load("digits")
    monkeypatch.setattr(billion, "load", lambda name: digits)
    monkeypatch.setattr(billion, "available_bytes", lambda: int(1e9))
    monkeypatch.setattr(billion, "SAL", lambda *arguments: pytest.fail("allocated"))
    assert billion.main(["--scratch", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "needs 18.0 GB and 1.0 GB are free" in error
    assert "smaller --width" in error


def test_a_scratch_folder_that_is_memory_or_full_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"needs 1000000000.0 GB .* give --scratch another"):
        billion.check_disk(10**18, tmp_path)
    text = f"none {tmp_path.resolve()} tmpfs rw 0 0\n"
    monkeypatch.setattr(billion.Path, "read_text", lambda path: text)
    with pytest.raises(ValueError, match="is in memory; give --scratch"):
        billion.check_disk(1, tmp_path)


@pytest.mark.parametrize("arguments", [["--layers", "1"], ["--width", "0"], ["--steps", "x"]])
def test_impossible_sizes_of_the_billion_are_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        billion.main(arguments)
    assert "must be" in capsys.readouterr().err


@pytest.mark.data
def test_a_small_one_of_the_billion_trains_and_comes_back_from_its_checkpoint(tmp_path, place):
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
    assert len(billion.draw(result).axes) == 3


def test_the_measurement_survives_a_checkpoint_that_cannot_be_written(tmp_path, monkeypatch, place):
    def full(*arguments):
        raise RuntimeError("no space left on the device")

    digits = load("digits")
    monkeypatch.setattr(billion, "load", lambda name: digits)
    monkeypatch.setattr(torch, "save", full)
    result = billion.train(16, 3, 2, tmp_path / "state.pt", Console(quiet=True))
    assert len(result["steps"]) == 2
    measured.write(place, "billion", result)
    assert "No checkpoint**: no space left" in billion.pages(place)[place.table("billion", "md")]


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
    where = {"git_sha": "0" * 40, "git_dirty": False, "torch_version": "2"}
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
    times = ([1.0, 2.0, 4.0], [8.0, 4.0, 8.0])
    for net, own in zip(nets, times, strict=True):
        net["us_a_sample"] = own
    result = {"nets": nets, "machine": {"cpu": "A (b)"}}
    frame = costs.table(result).set_index("areas")
    assert frame.loc[4, "ratio"] == 2.0, "of 8, 2, 2; the medians' ratio is 4"
    assert frame.loc[4, "operations_ratio"] == pytest.approx(1.1)
    assert len(costs.draw(result).axes) == 3


def test_a_contestant_that_fails_is_named_with_its_reason(monkeypatch):
    monkeypatch.setattr(memory, "CONTESTANTS", {"Nobody": (None, 8)})
    with pytest.raises(LedgerError, match="Nobody: exit status 2: .*invalid choice: 'Nobody'"):
        memory.measure(Console(quiet=True))


def test_a_peak_has_the_gradients_of_plain_backpropagation_in_it():
    code = (  # a fresh process, for one that has freed memory grows less
        "from paper import memory; memory.CONTESTANTS = {'plain': (memory.autograd, 512)}; "
        "memory.main(['--one', 'plain'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    net = memory.Residual(512)
    assert found["parameter_bytes"] == 4 * sum(p.numel() for p in net.parameters())
    assert found["peak_bytes"] > 1.5 * found["parameter_bytes"]


def test_what_was_measured_with_uncommitted_code_is_a_problem(place):
    measured.write(place, "memory", {"git_sha": "0" * 40, "git_dirty": True})
    measured.write(place, "costs", {"git_sha": "0" * 40, "git_dirty": False})
    measured.write(place, "health", {"git_sha": None, "git_dirty": None})
    problems = measured.problems(place)
    assert [text.split(".")[0] for text in problems] == ["memory", "health"]
