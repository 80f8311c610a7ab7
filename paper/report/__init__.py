"""Everything that was measured on one page: ``nox -s report``."""
