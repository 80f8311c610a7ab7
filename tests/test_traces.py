"""Numerics do not change without a new version: 50 steps of every method, as recorded.

A recorded trace proves nothing about correctness; it makes a change of numerics visible, in float64
and beyond rounding (the order of sums in float32 is pinned by ``test_simd.py``). After an
intended change raise the method's ``version`` and record again: ``python tests/test_traces.py``.
"""

import json
from pathlib import Path

import pytest
import torch

from baselines import BUILT_IN, BPConfig, MoEConfig, SALRedrawnConfig
from sal import SALConfig, Streams

D, C, B = 20, 5, 16
DEEP = {"hidden": (16, 16, 16), "activation": "tanh", "input_activation": "linear"}
ROUTED = SALConfig(**DEEP, areas=(4, 4, 4), residual="after", init_scale=0.3)
CASES = {
    **{f"sal_{part}": [ROUTED] for part in ("step", "frozen", "random", "hash", "bp")},
    "sal_redrawn": [SALRedrawnConfig(**vars(ROUTED), routing_seed=7)],
    "moe": [
        MoEConfig(areas=(4,)),
        MoEConfig(**DEEP, areas=(4, 4, 4), experts=2, gates="chosen", balance="switch"),
    ],
    "bp": [BPConfig(), BPConfig(**DEEP, residual="after")],
    "sal": [
        SALConfig(),
        SALConfig(areas=(4,)),
        SALConfig(areas=(16,), area_norm="count", derivative=False),
        SALConfig(**DEEP, areas=(4, 4, 4), residual="inside", init_scale=0.3, area_norm="batch"),
    ],
}
FOLDER = Path(__file__).parent / "traces"


def configs_of(learner_class):
    return CASES.get(learner_class.name, [learner_class.Config()])


def trace(learner_class, config):
    """Sums over every parameter after each tenth of 50 float64 steps, and the last logits."""
    learner = learner_class(config, D, C, [Streams(0)]).double()
    generator = torch.Generator().manual_seed(0)
    sums = []
    for number in range(50):
        x = torch.randn(1, B, D, generator=generator, dtype=torch.float64)
        learner.step(x, torch.randint(0, C, (1, B), generator=generator), 0.02)
        if number % 10 == 9:
            sums.append(
                {
                    n: [p.sum().item(), p.square().sum().item()]
                    for n, p in learner.named_parameters()
                }
            )
    return {"sums": sums, "logits": learner.logits(x)[0].tolist()}


def record(learner_class):
    return {
        "version": learner_class.version,
        "cases": [
            {"config": config.to_dict(), **trace(learner_class, config)}
            for config in configs_of(learner_class)
        ],
    }


def flat(value):
    if isinstance(value, dict):
        return [number for key in sorted(value) for number in flat(value[key])]
    return (
        [number for item in value for number in flat(item)] if isinstance(value, list) else [value]
    )


@pytest.mark.parametrize("learner_class", BUILT_IN, ids=lambda learner: learner.name)
def test_fifty_steps_are_as_recorded_for_this_version(learner_class):
    recorded = json.loads((FOLDER / f"{learner_class.name}.json").read_text())
    assert recorded["version"] == learner_class.version, "record the traces of the new version"
    configs = configs_of(learner_class)
    assert [learner_class.Config.from_dict(case["config"]) for case in recorded["cases"]] == configs
    for case, config in zip(recorded["cases"], configs, strict=True):
        now = trace(learner_class, config)
        for part in ("sums", "logits"):
            assert flat(now[part]) == pytest.approx(flat(case[part]), rel=1e-10, abs=1e-12)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for method in BUILT_IN:
        text = json.dumps(record(method), indent=1)
        (FOLDER / f"{method.name}.json").write_text(text + "\n")
