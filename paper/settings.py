"""Named settings of SAL: what the tables are made with where the paper leaves a choice open."""

from __future__ import annotations

from sal import SALConfig

SETTINGS = {"fashion-mnist": SALConfig()}
"""Name -> configuration, K aside. ``fashion-mnist`` was recovered on that set alone."""
PUBLISHED = "fashion-mnist"
"""The setting that the tables beside the paper's are made with."""
