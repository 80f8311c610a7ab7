"""SAL at four billion parameters: 64 layers of 4096 units with four areas, on a CPU (section 4.3).

``python -m paper.billion --help`` lists the options; ``nox -s billion -- OPTIONS`` is the same.

Weights are drawn where they lie, each layer's update is added at once, and there are neither
gradients nor an optimiser's copies, so the process holds the parameters and little else. A
checkpoint is written from where the weights lie and read back into them.
"""

from __future__ import annotations

import argparse
import math
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure
from rich.console import Console

from paper import health, measured, paths, render
from paper.options import carry_out, count
from paper.provenance import provenance
from paper.scaling import AREAS, LIBRARIES, OVERHEAD, available_bytes, deep, weight_bytes
from sal.data import load
from sal.data.partition import partition
from sal.learner import Learner
from sal.net import forward
from sal.sal import SAL
from sal.streams import Streams
from sal.train import Protocol, epoch_order

NAME = SESSION = "billion"
WIDTH, LAYERS, STEPS = 4096, 64, 20
DATASET = "semeion"


def check_memory(parameter_bytes: int) -> None:
    """Raises ValueError unless the net fits; asked before anything is allocated."""
    needed = parameter_bytes * (1 + OVERHEAD) + LIBRARIES
    if needed > (free := available_bytes()):
        raise ValueError(
            f"the net needs {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free: close other "
            "programs, or give a smaller --width or --layers"
        )


def check_disk(parameter_bytes: int, scratch: Path) -> None:
    """Raises ValueError unless the checkpoint fits on a disk that is not memory."""
    lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    kinds = {fields[1]: fields[2] for fields in lines}
    path = scratch.resolve()
    mount = next(str(each) for each in (path, *path.parents) if str(each) in kinds)
    if kinds[mount] in ("tmpfs", "ramfs"):
        raise ValueError(f"{scratch} is in memory; give --scratch a folder on a disk")
    if (free := shutil.disk_usage(scratch).free) < 1.05 * parameter_bytes:
        raise ValueError(
            f"the checkpoint needs {parameter_bytes / 1e9:.1f} GB and {scratch} has "
            f"{free / 1e9:.1f} GB; give --scratch another folder"
        )


def resident(field: str) -> int:
    """Bytes of this process: VmHWM at its peak, RssAnon now and of its own (no mapped files)."""
    return 1024 * int(re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


def forget_peak() -> None:
    """Starts the peak, VmHWM, anew."""
    Path("/proc/self/clear_refs").write_text("5")


def train(width: int, layers: int, steps: int, checkpoint: Path, console: Console) -> dict:
    """Builds the net, takes the steps, writes a checkpoint and reads it back.

    Returns:
        What was measured, as JSON values: seconds, nats, bytes.

    Raises:
        ValueError: Not enough memory, or too few samples for so many steps.
    """
    config = deep("sal", (width,) * (layers - 1))
    data, streams = load(DATASET), [Streams(0)]
    parts = partition(data, streams)
    batch = Protocol.batch_size
    inputs = parts.train_x_ND.shape[1]
    parameter_bytes = weight_bytes(config, inputs, data.n_classes)
    check_memory(parameter_bytes)
    check_disk(parameter_bytes, checkpoint.parent)
    order_RN = parts.train_index_RN.gather(1, epoch_order(streams, 0, len(parts.train_index_RN[0])))
    if steps * batch > order_RN.shape[1]:
        raise ValueError(f"at most {order_RN.shape[1] // batch} steps of one epoch, got {steps}")
    torch.set_num_threads(1)
    _compile()
    where, start = provenance("cpu"), time.perf_counter()
    learner = SAL(config, inputs, data.n_classes, streams)
    result = {
        "layers": layers,
        "width": width,
        "areas": AREAS,
        "parameters": sum(p.numel() for p in learner.parameters()),
        "parameter_bytes": sum(p.numel() * p.element_size() for p in learner.parameters()),
        "seconds_to_draw": round(time.perf_counter() - start, 2),
        **where,
    }
    console.print(
        f"{result['parameters'] / 1e9:.2f} billion parameters, "
        f"{result['parameter_bytes'] / 1e9:.2f} GB, drawn in {result['seconds_to_draw']:.0f} s"
    )
    first_RB = order_RN[:, :batch]
    of_batch = parts.train_x_ND[first_RB], parts.train_y_N[first_RB]
    result["layers_measured"] = health.measured_layers(learner, *of_batch, "at the start")
    forget_peak()
    result["steps"] = [
        _step(learner, parts, order_RN[:, n * batch : (n + 1) * batch], n + 1, console)
        for n in range(steps)
    ]
    result["peak_bytes"] = resident("VmHWM")
    after = f"after {steps} steps"
    result["layers_measured"] += health.measured_layers(learner, *of_batch, after)
    result["bytes_per_second"] = byte_rate(learner)
    try:
        result["checkpoint"] = round_trip(learner, checkpoint, console)
    except (OSError, RuntimeError) as error:  # PyTorch's writer has errors of its own
        result["checkpoint"] = {"error": str(error).splitlines()[0]}
        console.print(f"no checkpoint: {error}", markup=False)
    return result


def _compile() -> None:
    """Takes a step of a tiny net, so that the first of the large one does not compile."""
    config = deep("sal", (8, 8))
    tiny = SAL(config, 8, 2, [Streams(0)])
    tiny.step(torch.ones(1, 2, 8), torch.zeros(1, 2, dtype=torch.int64), Protocol.lr)


def _step(learner: Learner, parts, index_RB, number: int, console: Console) -> dict[str, Any]:
    x_RBD, y_RB = parts.train_x_ND[index_RB], parts.train_y_N[index_RB]
    z_RBC, traces = forward(learner.layers(learner.tensors()), x_RBD)
    loss = torch.nn.functional.cross_entropy(z_RBC[0], y_RB[0]).item()
    touched = [len(trace.area_RB.unique()) for trace in traces if trace.area_RB is not None]
    start = time.perf_counter()
    learner.step(x_RBD, y_RB, Protocol.lr)
    seconds = time.perf_counter() - start
    share = sum(touched) / (len(touched) * AREAS)
    console.print(
        f"step {number:3}: loss {loss:.4f} nats before it, {seconds:.1f} s, "
        f"{100 * share:.0f} % of the areas used, {resident('VmHWM') / 1e9:.2f} GB at most"
    )
    return {"loss": round(loss, 6), "seconds": round(seconds, 3), "areas_used": round(share, 4)}


def byte_rate(learner: Learner) -> float:
    """Bytes read and written a second, the best of passes that scale a large parameter by one."""
    largest, best = max(learner.parameters(), key=lambda p: p.numel()), math.inf
    for _ in range(5):
        start = time.perf_counter()
        largest.mul_(1.0)
        best = min(best, time.perf_counter() - start)
    return 2 * largest.numel() * largest.element_size() / best


def round_trip(learner: Learner, path: Path, console: Console) -> dict[str, Any]:
    """Writes a checkpoint, forgets the weights, reads it into them, and compares their digest."""
    digest = learner.digest(0)
    forget_peak()
    before, start = resident("VmRSS"), time.perf_counter()
    try:
        torch.save(learner.state_dict(), path)
        written, while_writing = time.perf_counter() - start, resident("VmHWM") - before
        for tensor in learner.tensors().values():
            tensor.zero_()
        before, start = resident("RssAnon"), time.perf_counter()
        state, most = torch.load(path, mmap=True, weights_only=True), before
        for name, tensor in learner.tensors().items():  # one by one, so that the peak is seen
            tensor.copy_(state[name])
            most = max(most, resident("RssAnon"))
        seconds = time.perf_counter() - start
        del state
        found = {
            "bytes": path.stat().st_size,
            "seconds_to_write": round(written, 1),
            "seconds_to_read": round(seconds, 1),
            "extra_bytes_while_writing": while_writing,
            "extra_bytes_while_reading": most - before,
            "equal": learner.digest(0) == digest,
        }
    finally:
        path.unlink(missing_ok=True)
    console.print(
        f"checkpoint of {found['bytes'] / 1e9:.2f} GB: written in {written:.0f} s, read in "
        f"{seconds:.0f} s with {found['extra_bytes_while_reading'] / 1e6:.0f} MB more memory, "
        f"{'the same bits' if found['equal'] else 'OTHER BITS'}"
    )
    return found


def pages(place: paths.Place) -> dict[Path, str]:
    """The page about the committed run; none without."""
    result = measured.read(place, NAME)
    if result is None:
        return {}
    steps = pd.DataFrame(result["steps"])
    size, rate = result["parameter_bytes"], result["bytes_per_second"]
    seconds, share = steps["seconds"].median(), steps["areas_used"].mean()
    floor, kept = 2 * size * share / rate, result["checkpoint"]
    cpu = result["machine"]["cpu"]
    notes = [
        f"Generated by `nox -s {SESSION}` from `results/billion.json`; do not edit. {cpu}, one "
        f"thread; {measured.commit(result)}. {result['layers']} layers of {result['width']} "
        f"units, K = {result['areas']}, batch {Protocol.batch_size}, Semeion, the published "
        "protocol.",
        f"- **{result['parameters'] / 1e9:.3f} billion parameters**, {size / 1e9:.2f} GB in "
        f"float32, drawn in {result['seconds_to_draw']:.0f} s; each sample uses one area in "
        f"{result['areas']}, {result['parameters'] / result['areas'] / 1e9:.2f} billion.",
        f"- **Peak memory of the process while it trains {result['peak_bytes'] / 1e9:.2f} GB**, "
        f"{result['peak_bytes'] / size:.3f} times the parameters, PyTorch's libraries included.",
        f"- **{seconds:.1f} s a step** (median of {len(steps)}; {steps['seconds'].min():.1f} to "
        f"{steps['seconds'].max():.1f}). A batch uses {100 * share:.0f} % of the areas; to read "
        f"and write these once takes {floor:.1f} s at the {rate / 1e9:.1f} GB/s that one thread "
        f"reads and writes here: we take {seconds / floor:.1f} times as long. A step by itself "
        f"reads them twice, for the outputs and for the update: {1.5 * floor:.1f} s.",
        f"- {_checkpoint_text(kept)}",
    ]
    frame = pd.DataFrame(
        {
            "loss before it [nats]": steps["loss"].map("{:.4f}".format),
            "time [s]": steps["seconds"].map("{:.2f}".format),
            "areas used": (100 * steps["areas_used"]).map("{:.0f} %".format),
        }
    )
    frame.index = pd.Index([str(number + 1) for number in steps.index], name="Step")
    title = f"SAL with {result['parameters'] / 1e9:.2g} billion parameters"
    layers = pd.DataFrame(result["layers_measured"])
    csv = layers.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    return {
        place.table(NAME, "md"): render.markdown_page(title, notes, frame),
        place.figure(NAME, "csv"): csv,
    }


def _checkpoint_text(kept: dict[str, Any]) -> str:
    if "error" in kept:
        return f"**No checkpoint**: {kept['error']}."
    return (
        f"Checkpoint of {kept['bytes'] / 1e9:.2f} GB: written in {kept['seconds_to_write']:.0f} s "
        f"with {kept['extra_bytes_while_writing'] / 1e6:.0f} MB more memory, read in "
        f"{kept['seconds_to_read']:.0f} s with {kept['extra_bytes_while_reading'] / 1e6:.0f} MB "
        f"more of the process's own, {'the same bits' if kept['equal'] else '**OTHER BITS**'}."
    )


def draw(result: measured.Result) -> Figure:
    """Norms and areas in use, layer by layer."""
    return health.panels(
        pd.DataFrame(result["layers_measured"]),
        f"Health of a net of {result['layers']} layers of {result['width']} units on Semeion, one "
        "batch of 16, step size 1e-4",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = measured.parser("paper.billion", __doc__.splitlines()[0])
    parser.add_argument("--width", type=count, default=WIDTH, metavar="W", help="default 4096")
    parser.add_argument(
        "--layers", type=at_least_two, default=LAYERS, metavar="L", help="default 64"
    )
    parser.add_argument("--steps", type=count, default=STEPS, metavar="N", help="default 20")
    parser.add_argument(
        "--scratch",
        type=Path,
        default=Path(tempfile.gettempdir()),
        metavar="FOLDER",
        help="where the checkpoint is written and removed again; default the system's",
    )
    options = parser.parse_args(arguments)
    return carry_out(lambda console: _run(options, console), measured.NOTHING_KEPT)


def at_least_two(text: str) -> int:
    """An option's value as an integer >= 2: one layer has no hidden units.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    if count(text) < 2:
        raise argparse.ArgumentTypeError(f"must be at least 2, got {text}")
    return int(text)


def _run(options: argparse.Namespace, console: Console) -> int:
    whole = (options.width, options.layers, options.steps) == (WIDTH, LAYERS, STEPS)
    place = paths.committed() if whole else paths.quick()
    if not options.render_only:
        with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
            checkpoint = Path(folder, "billion.pt")
            result = train(options.width, options.layers, options.steps, checkpoint, console)
        measured.write(place, NAME, result)
    measured.render(place, NAME, pages, draw, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
