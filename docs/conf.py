"""How Sphinx builds the API reference: ``nox -s docs``."""

import doctest
from importlib.metadata import version as version_of

project = "sal-repro"
copyright = "the sal-repro contributors"
version = release = version_of("sal-repro")

extensions = [
    "myst_parser",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["build", "api/*/modules.rst"]

apidoc_modules = [
    {
        "path": f"../{package}",
        "destination": f"api/{package}",
        "separate_modules": True,
        "module_first": True,
        "exclude_patterns": ["../**/__main__.py", *excluded],
    }
    for package, excluded in (
        ("sal", []),
        ("baselines", ["../baselines/TEMPLATE.py"]),
        ("paper", []),
    )
]
autodoc_default_options = {
    "members": True,
    "ignore-module-all": True,  # what a package exports is described where it is
    "show-inheritance": True,
    "member-order": "bysource",
}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
default_role = "code"

doctest_default_flags = doctest.ELLIPSIS

html_theme = "furo"
html_title = f"sal-repro {version}"


def setup(app):
    """Texts of attributes are texts: Napoleon would take what is before a colon for a type."""

    def with_empty_type(app, what, name, obj, options, lines):
        if what in ("attribute", "data", "property") and lines:
            lines[0] = f": {lines[0]}"

    app.connect("autodoc-process-docstring", with_empty_type, priority=400)  # before Napoleon
