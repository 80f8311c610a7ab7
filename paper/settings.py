"""Named settings of SAL: what the tables are made with where the paper leaves a choice open."""

from __future__ import annotations

from sal import SALConfig

SETTINGS = {
    "fashion-mnist": SALConfig(),
    "published": SALConfig(
        init="stacked",
        init_scale=1.0,
        output_init="normal",
        output_init_scale=0.01,
        feedback_scale=3**-0.5,
    ),
}
"""Name -> configuration, K aside. ``fashion-mnist`` was recovered on that set alone; ``published``
is the winner of a staged search over all seven sets at hand, nearly tied with two others: see
``recovery/README.md``."""
PUBLISHED = "published"
"""The setting that the tables beside the paper's are made with."""
