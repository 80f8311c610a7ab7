"""The paper's claims, each with a verdict that follows from the committed rows (not in the paper).

At the paper's step size, and with every method at its own. How each is asked: ``paper.questions``;
the one rule for a verdict: ``paper.verdicts``.

``python -m paper.claims`` writes the page; ``nox -s claims`` is the same. It trains nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from rich.console import Console

from paper import against_moe, entrants, measured, paths, render, tuning
from paper.cells import SEEDS
from paper.options import carry_out
from paper.overfitting import overfits_less, overfits_less_when_deep
from paper.paired import ALPHA
from paper.questions import (
    agrees_within_an_area,
    beats,
    conflicts_less,
    costs_as_much,
    degrades_with_depth,
    does_not_collapse,
    does_not_fall_with_areas,
    gap_grows_with_depth,
    improves_with_depth,
    is_ahead_at_every_width,
    is_sensitive_to_routing,
    rises_with_areas,
    rises_with_width,
    updates_in_parallel,
)
from paper.results import read
from paper.verdicts import EARLY, RECIPES, Comparisons, Finding, Ledgers, early
from sal.data import DATASETS

NAME = SESSION = "claims"


@dataclass(frozen=True)
class Claim:
    """Something that is said of SAL, and how it is asked."""

    ask: Callable[[Ledgers, str], Finding]
    says: str
    """The paper's own words, or whose question it is."""


WITHOUT_PCAM = tuple(name for name in DATASETS if name != "pcam")
"""The exception that the paper makes: in Table 2, and beside the mixture of experts."""
WITH_K = tuple(name for name in WITHOUT_PCAM if name != "svhn")
"""The data sets on which the paper says that accuracy rises with K, or stays high."""
OF_FIGURE_5 = against_moe.FIGURES["figure5"]
AGAINST_MOE = [(f"SAL-{k}", f"MoE-{k}") for k in (2, 4, 8, 16)]
OURS = "ours: who else could have won"
CLAIMS: dict[str, Claim] = {
    "SAL beats the baseline": Claim(
        partial(beats, pairs=[("SAL-4", "Baseline")], datasets=WITHOUT_PCAM),
        '"SAL outperforms the baseline on nine out of the ten datasets" (in its table with K = 4, '
        "all but PCam)",
    ),
    "SAL with one area beats the baseline": Claim(
        partial(beats, pairs=[("SAL-1", "Baseline")]),
        "ours: what is left for areas",
    ),
    "SAL with 16 areas beats the baseline": Claim(
        partial(beats, pairs=[("SAL-16", "Baseline")]),
        "ours: its examples, Digits and Semeion, have K = 16",
    ),
    "SAL beats a baseline with as many parameters in all": Claim(
        partial(beats, pairs=[("SAL-16", entrants.WIDE_COLUMN)]), OURS
    ),
    "SAL beats FA and DFA": Claim(
        partial(beats, pairs=[(f"SAL-{k}", name) for k in (4, 16) for name in ("FA", "DFA")]), OURS
    ),
    "Several areas beat one": Claim(
        partial(beats, pairs=[("SAL-4", "SAL-1"), ("SAL-16", "SAL-1")]), OURS
    ),
    "SAL needs the larger step of its areas": Claim(
        partial(beats, pairs=[(f"SAL-{k}", f"SAL-{k}, step / {k}") for k in (4, 16)]), OURS
    ),
    "Accuracy rises with K, or stays": Claim(
        partial(does_not_fall_with_areas, datasets=WITH_K),
        '"a positive correlation or a stable high-performance trend" on all but PCam and SVHN',
    ),
    "Accuracy rises with K": Claim(
        partial(rises_with_areas, datasets=WITH_K), "ours: the same, without staying"
    ),
    "The gap between SAL and the baseline grows with depth": Claim(
        gap_grows_with_depth,
        '"the performance gap between SAL and the baseline increases with network depth"',
    ),
    "The baseline degrades with depth": Claim(
        degrades_with_depth,
        '"the baseline undergoes degradation and optimization difficulties at greater depths"',
    ),
    "SAL degrades less with depth than the baseline": Claim(
        partial(degrades_with_depth, beyond="SAL-4"), '"SAL remains comparatively stable"'
    ),
    "On Semeion the baseline improves steadily with depth": Claim(
        partial(improves_with_depth, column="Baseline"),
        '"the BP model demonstrates steady performance improvements"',
    ),
    "On Semeion SAL improves steadily with depth": Claim(
        partial(improves_with_depth, column="SAL-4"),
        '"its performance scaling in proportion to model depth"',
    ),
    "SAL is ahead of the baseline at every width": Claim(
        is_ahead_at_every_width,
        '"consistently improves the convergence upper bound and learning efficiency across various '
        'network widths"',
    ),
    "Width raises SAL's bound": Claim(rises_with_width, "the same, read otherwise"),
    "SAL beats a mixture of experts": Claim(
        partial(beats, pairs=AGAINST_MOE, datasets=[d for d in OF_FIGURE_5 if d in WITHOUT_PCAM]),
        '"consistently achieves higher final accuracy than the MoE approach" on the data sets of '
        "Figure 5 but PCam",
    ),
    "SAL learns faster than a mixture of experts at first": Claim(
        partial(beats, pairs=AGAINST_MOE, of=early, datasets=OF_FIGURE_5),
        f'"significantly faster increase in accuracy compared to MoE", on the same; here the mean '
        f"of the first {EARLY} epochs",
    ),
    "SAL beats a mixture of experts on all data sets": Claim(
        partial(beats, pairs=AGAINST_MOE), "ours: Figure 4's four are not named"
    ),
    "SAL learns faster than a mixture of experts at first on all data sets": Claim(
        partial(beats, pairs=AGAINST_MOE, of=early), "ours: the same"
    ),
    "Deep, SAL overfits less than backpropagation": Claim(
        overfits_less_when_deep,
        '"improved robustness against overfitting compared to standard Backpropagation", of what '
        'was found "across a range of model depths and parameter scales"',
    ),
    "SAL overfits less than backpropagation": Claim(overfits_less, "ours: in the nets of Table 2"),
    "Routing does not collapse": Claim(does_not_collapse, '"preventing mode collapse"'),
    "Results are sensitive to how routing starts": Claim(
        is_sensitive_to_routing, '"Hard routing assignments are sensitive to initialization"'
    ),
    "Layers can be updated in parallel": Claim(
        updates_in_parallel,
        '"layer-wise decoupled and do not impose inter-layer synchronization"',
    ),
    "A sample costs as many operations as in a dense layer": Claim(
        partial(costs_as_much, what="operations_ratio"),
        '"consistent with standard FC layers"',
    ),
    "A sample takes as long as in a dense layer": Claim(
        partial(costs_as_much, what="ratio"), "ours: does that show on the clock"
    ),
    "Areas reduce the interference of gradients": Claim(
        partial(conflicts_less, others=("Baseline", "SAL-1")),
        '"mutually exclusive, sample-dependent regions" mitigate "gradient interference across '
        'divergent semantic patterns"',
    ),
    "Which area a sample takes reduces it further": Claim(
        partial(conflicts_less, others=("SAL-K, hash",)),
        "ours: areas by a hash of the input are exclusive and depend on the sample, too",
    ),
    "There is less interference than in a mixture of experts": Claim(
        partial(conflicts_less, others=("MoE-K",)), "ours: other routing"
    ),
    "Classes that share an area agree better": Claim(
        partial(agrees_within_an_area, others=("Baseline", "SAL-1", "SAL-K, hash")),
        "ours: does routing bring together what goes together",
    ),
}
"""In our words; what the paper says is beside them."""

Found = dict[tuple[str, str], Finding]


def findings(place: paths.Place) -> Found:
    """What came of each (claim, recipe)."""
    ledgers = Ledgers(place)
    return {
        (name, recipe): claim.ask(ledgers, recipe)
        for name, claim in CLAIMS.items()
        for recipe in RECIPES
    }


def pages(place: paths.Place) -> dict[Path, str]:
    """The generated files with their texts, from the committed results alone.

    None before anything was tuned: half of the verdicts would be missing.
    """
    if not read(place.ledger(tuning.EXPERIMENT))[0]:
        return {}
    found = findings(place)
    csv = _csv(found).to_csv(index=False, float_format="%.4g", lineterminator="\n")
    return {place.table(NAME, "md"): _page(found), place.table(NAME, "csv"): csv}


def _page(found: Found) -> str:
    notes = [
        f"Generated by `nox -s {SESSION}` from the ledgers; do not edit. *Published*: the paper's "
        "step size for all; *tuned*: every method at its own, found without the test part "
        "([tuning.md](tuning.md)). On the data sets that were run at each.",
        "The rule for claims that something is larger everywhere: *holds* if every comparison "
        "shows it, *does not hold* if one shows the opposite, or a step of a trend does, *cannot "
        f"be said* otherwise. Every: {SEEDS} seeds and p < {ALPHA:g} in a paired t-test over them; "
        "one: the same after Holm's correction over the claim's comparisons, and one over its "
        "steps. Runs of a seed see the same samples in the same order. On Digits and Semeion each "
        "seed holds out a part of its own of the same samples, so seeds are not independent: there "
        "it is the corrected test of Nadeau and Bengio (2003). On the others it is about seeds, "
        "not about other test parts; nor is it about the search for a step size, which was made "
        "once (on Digits and Semeion, for each seed). In comparisons of accuracy a run "
        "that diverged guesses; elsewhere it is left out. The other claims have their own rule "
        "beside the verdict.",
        "The rule was changed twice after results had been seen: what it was and which verdicts "
        "that changed is in the CHANGELOG.",
        "Below: the interval is a percentile bootstrap's of the mean, too narrow with so few "
        "seeds; *d* is Cohen's d_z of the paired differences.",
    ]
    grid = pd.DataFrame(
        [
            [claim.says, *(_short(found[name, recipe]) for recipe in RECIPES)]
            for name, claim in CLAIMS.items()
        ],
        index=pd.Index(CLAIMS, name="Claim"),
        columns=["the paper", *RECIPES],
    )
    text = render.markdown_page("The paper's claims", notes, grid)
    for name, claim in CLAIMS.items():
        for recipe in RECIPES:
            if own := found[name, recipe].comparisons:
                evidence = found[name, recipe].evidence
                told = [f"{_first_line(claim.ask)} {evidence[0].upper()}{evidence[1:]}."]
                text += render.markdown_section(f"{name}: {recipe}", told, _comparisons(own))
    return text


def _short(finding: Finding) -> str:
    return f"**{finding.verdict}**: {finding.evidence}"


def _first_line(ask: Callable) -> str:
    return getattr(ask, "func", ask).__doc__.splitlines()[0]


def _comparisons(found: Comparisons) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "difference": [f"{each.mean:+.3g}" for each in found.values()],
            "95 % interval": [f"{each.low:+.3g} to {each.high:+.3g}" for each in found.values()],
            "p": [f"{each.p:.2g}" for each in found.values()],
            "p (Holm)": [f"{each.p_holm:.2g}" for each in found.values()],
            "d": [f"{each.effect:.1f}" for each in found.values()],
            "n": [str(each.n) for each in found.values()],
        },
        index=pd.Index(
            [f"{DATASETS[dataset].title}, {what}" for dataset, what in found], name="What"
        ),
    )


def _csv(found: Found) -> pd.DataFrame:
    columns = "claim recipe verdict dataset what difference low high p p_holm effect n".split()
    lines = []
    for (claim, recipe), finding in found.items():
        start = [claim, recipe, finding.verdict]
        lines += [
            [
                *(*start, DATASETS[dataset].title, what, c.mean, c.low, c.high),
                *(c.p, c.p_holm, c.effect, c.n),
            ]
            for (dataset, what), c in finding.comparisons.items()
        ] or [[*start, *[None] * 9]]
    return pd.DataFrame(lines, columns=columns)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    measured.parser("paper.claims", __doc__.splitlines()[0]).parse_args(arguments)
    return carry_out(_write)


def _write(console: Console) -> int:
    place = paths.committed()
    texts = pages(place)
    paths.write(texts)
    if texts:
        console.print("written:", *texts, highlight=False, soft_wrap=True)
    else:
        console.print(f"nothing was tuned yet: run nox -s {tuning.SESSION} first")
    return 0


if __name__ == "__main__":
    sys.exit(main())
