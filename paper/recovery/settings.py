"""What the paper leaves open, the options for each question, and the settings made of them.

A setting answers every question. Where the paper is silent, a plausible line of code is evidence
too: each option says what the authors' code would look like if it were so.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from baselines import BPConfig
from sal import SALConfig
from sal.run import Run
from sal.train import Protocol


@dataclass(frozen=True)
class Option:
    """One answer to a question."""

    code: str
    """What the authors would have written."""
    sal: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ``SALConfig``."""
    protocol: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ``Protocol``."""


NONE = Option("")
QUESTIONS: dict[str, dict[str, Option]] = {
    "activation": {
        "relu": Option("h = torch.relu(a)"),
        "tanh": Option("h = torch.tanh(a)", {"activation": "tanh"}),
    },
    "derivative": {
        "yes": Option("delta = (e @ B) * f_prime(a)"),
        "no": Option("delta = e @ B", {"derivative": False}),
    },
    "feedback": {
        "normal": Option("B = torch.randn(C, H)"),
        "0.58": Option(
            "B = torch.randn(C, H) / 3**0.5  # the spread of 2 * torch.rand(C, H) - 1",
            {"feedback_scale": 3**-0.5},
        ),
        "kaiming": Option("B = kaiming_normal_(empty(H, C))", {"feedback_scale": 0.2**0.5}),
        "xavier": Option("B = xavier_normal_(empty(C, H))", {"feedback_scale": (2 / 266) ** 0.5}),
        "0.8": Option("B = 0.8 * torch.randn(C, H)", {"feedback_scale": 0.8}),
        "1.2": Option("B = 1.2 * torch.randn(C, H)", {"feedback_scale": 1.2}),
        "1.4": Option("B = 1.4 * torch.randn(C, H)", {"feedback_scale": 1.4}),
    },
    "hidden weights": {
        "0.01": Option("W = 0.01 * torch.randn(K, D, H)"),
        "stacked": Option(
            "W = kaiming_normal_(empty(K, D, H))  # takes D * H for the number of inputs",
            {"init": "stacked", "init_scale": 1.0},
        ),
        "0.03": Option("W = 0.03 * torch.randn(K, D, H)", {"init_scale": 0.03}),
        "torch": Option(
            "W = torch.stack([nn.Linear(D, H).weight.T for _ in range(K)])",
            {"init": "torch", "init_scale": 1.0},
        ),
        "kaiming": Option(
            "for k in range(K): kaiming_normal_(W[k].T)", {"init": "kaiming", "init_scale": 1.0}
        ),
    },
    "output weights": {
        "0.01": Option(
            "W = 0.01 * torch.randn(1, H, C)", {"output_init": "normal", "output_init_scale": 0.01}
        ),
        "stacked": Option(
            "W = kaiming_normal_(empty(1, H, C))  # takes H * C for the number of inputs",
            {"output_init": "stacked", "output_init_scale": 1.0},
        ),
        "torch": Option(
            "W = nn.Linear(H, C).weight.T[None]",
            {"output_init": "torch", "output_init_scale": 1.0},
        ),
        "kaiming": Option(
            "kaiming_normal_(W[0].T)", {"output_init": "kaiming", "output_init_scale": 1.0}
        ),
    },
    "residual": {
        "none": NONE,
        "inside": Option("if D == H: a = a + x", {"residual": "inside"}),
        "after": Option("if D == H: h = h + x", {"residual": "after"}),
    },
    "biases": {"yes": NONE, "no": Option("bias=False", {"bias": False})},
    "output rate": {
        "1": NONE,
        "1/3": Option("SGD([..., {'params': output, 'lr': lr / 3}])", {"output_rate": 1 / 3}),
        "3": Option("SGD([..., {'params': output, 'lr': 3 * lr}])", {"output_rate": 3.0}),
        "16": Option("W_output -= lr * x.T @ e  # the batch's sum", {"output_rate": 16.0}),
    },
    "error": {
        "as it is": NONE,
        "clamped to 1": Option("delta = delta.clamp(-1, 1)", {"error_limit": 1.0}),
        "clamped to 0.5": Option("delta = delta.clamp(-0.5, 0.5)", {"error_limit": 0.5}),
    },
    "divisor": {
        "m / K": Option("grad = x.T @ delta / (m / K)"),
        "count": Option("grad = x.T @ delta / len(S_k)", {"area_norm": "count"}),
        "m": Option("grad = x.T @ delta / m", {"area_norm": "batch"}),
    },
    "areas": {"first layer": NONE, "both layers": Option("K areas in every layer")},
    "router features": {
        "C": NONE,
        "16": Option("nn.Linear(D, 16)", {"router_features": 16}),
        "64": Option("nn.Linear(D, 64)", {"router_features": 64}),
    },
    "router weights": {
        "torch": Option("nn.Linear(D, F)"),
        "kaiming": Option("kaiming_normal_(router.weight)", {"router_init": "kaiming"}),
        "normal": Option("torch.randn(D, F)", {"router_init": "normal"}),
        "0.01": Option(
            "0.01 * torch.randn(D, F)", {"router_init": "normal", "router_init_scale": 0.01}
        ),
    },
    "router bias": {
        "yes": NONE,
        "no": Option("nn.Linear(D, F, bias=False)", {"router_bias": False}),
    },
    "router rate": {
        "1": NONE,
        "0": Option("router.requires_grad_(False)", {"router_rate": 0.0}),
        "10": Option("SGD(router.parameters(), lr=1e-3)", {"router_rate": 10.0}),
        "100": Option("SGD(router.parameters(), lr=1e-2)", {"router_rate": 100.0}),
    },
    "prototypes": {
        "normal": Option("P = torch.randn(K, F)"),
        "unit": Option("P = F.normalize(torch.randn(K, F), dim=1)", {"prototypes": "unit"}),
    },
    "pixels": {
        "[-1, 1]": Option("Normalize((0.5,), (0.5,))"),
        "[0, 1]": Option("ToTensor()", protocol={"pixels": "unit"}),
    },
    "size": {
        "native": NONE,
        "14 x 14": Option("Resize((14, 14))", protocol={"size": 14}),
        "28 x 28": Option("Resize((28, 28))", protocol={"size": 28}),
    },
    "split": {
        "80/20": Option("train_test_split(test_size=0.2)"),
        "90/10": Option("train_test_split(test_size=0.1)", protocol={"validation_share": 0.1}),
        "70/30": Option("train_test_split(test_size=0.3)", protocol={"validation_share": 0.3}),
    },
}
"""Question -> option -> what it means; the first option of each is the base's."""

FACTORIAL = {
    "activation": ("relu", "tanh"),
    "derivative": ("yes", "no"),
    "feedback": ("normal", "0.58", "kaiming"),
    "hidden weights": ("0.01", "stacked"),
    "output weights": ("0.01", "stacked", "torch"),
    "residual": ("none", "inside"),
}
"""The questions that matter with one area, asked in all combinations."""
OF_DATA = ("pixels", "size", "split")
"""Questions that the baseline has, too; they are put to it alone."""
OF_ROUTING = (
    *("divisor", "areas", "router features", "router weights", "router bias", "router rate"),
    "prototypes",
)
"""Questions that do not arise with one area."""


@dataclass(frozen=True)
class Setting:
    """An answer to every question: those that differ from the base's, in the questions' order."""

    choices: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, choices: Mapping[str, str]) -> Setting:
        """The setting that differs from the base in ``choices``, question -> option.

        Raises:
            ValueError: A question or an option that there is not.
        """
        for question, option in choices.items():
            if option not in QUESTIONS.get(question, ()):
                raise ValueError(f"there is no option {option!r} of question {question!r}")
        return cls(
            tuple(
                (question, choices[question])
                for question, options in QUESTIONS.items()
                if choices.get(question, next(iter(options))) != next(iter(options))
            )
        )

    @classmethod
    def named(cls, name: str) -> Setting:
        """The setting with this ``name``."""
        if name == "base":
            return cls()
        return cls.of(dict(part.split(": ") for part in name.split("; ")))

    @property
    def name(self) -> str:
        """Such as "activation: tanh; feedback: uniform"; "base" for no difference."""
        return "; ".join(f"{question}: {option}" for question, option in self.choices) or "base"

    def answer(self, question: str) -> str:
        """The option that the setting has for a question."""
        return dict(self.choices).get(question, next(iter(QUESTIONS[question])))

    def varied(self, question: str, option: str) -> Setting:
        """The same with another answer to one question."""
        return Setting.of({**dict(self.choices), question: option})

    def config(self, areas: int) -> SALConfig:
        """SAL's configuration with K = ``areas``; with one, all answers of ``OF_ROUTING`` agree."""
        fields: dict[str, Any] = {"areas": (areas,)}
        if areas > 1 and self.answer("areas") == "both layers":
            fields["areas"] = (areas, areas)
        for question in QUESTIONS:
            if areas > 1 or question not in OF_ROUTING:
                fields |= QUESTIONS[question][self.answer(question)].sal
        return SALConfig(**fields)

    def protocol(self) -> Protocol:
        """The training protocol."""
        fields: dict[str, Any] = {}
        for question in QUESTIONS:
            fields |= QUESTIONS[question][self.answer(question)].protocol
        return Protocol(**fields)

    def runs(
        self, datasets: Sequence[str], areas: Sequence[int], seeds: Sequence[int]
    ) -> list[Run]:
        """The runs of the setting, seed by seed; 0 areas: the baseline under its protocol."""
        return [
            Run(
                dataset=dataset,
                learner="sal" if count else "bp",
                config=self.config(count) if count else BPConfig(),
                seed=seed,
                protocol=self.protocol(),
            )
            for seed in seeds
            for dataset in datasets
            for count in areas
        ]


def factorial() -> list[Setting]:
    """All combinations of ``FACTORIAL``'s options."""
    return [
        Setting.of(dict(zip(FACTORIAL, options, strict=True)))
        for options in itertools.product(*FACTORIAL.values())
    ]


def variations(
    setting: Setting, questions: Collection[str] = QUESTIONS.keys()
) -> Iterator[Setting]:
    """The setting with one answer changed, for every option of the questions."""
    for question, options in QUESTIONS.items():
        if question not in questions:
            continue
        for option in options:
            if option != setting.answer(question):
                yield setting.varied(question, option)
