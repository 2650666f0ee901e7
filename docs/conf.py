"""Sphinx, with the field's usual theme; the reference is made from the docstrings."""

import re
import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from evidence import ROOT, sum_up

project = "isopleth"
author = "The isopleth developers"
release = version = metadata.version("isopleth")
extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
html_theme = "pydata_sphinx_theme"
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}
html_title = "isopleth"
# Pages with none below them have nothing to show at their side.
html_sidebars = {"index": [], "start": [], "tools/*": [], "howto/*": []}
autosummary_generate = True
templates_path = ["_templates"]
autodoc_typehints = "none"
numpydoc_show_class_members = False
# Links to the headings of a page.
myst_heading_anchors = 3
# How many claims of a tool's record hold, by its module's name.
myst_enable_extensions = ["substitution"]
myst_substitutions = {
    folder.name.replace("-", "_"): sum_up(folder)[1].replace(f"packages/{folder.name}#", "#")
    or "none is judged yet"
    for folder in ROOT.glob("packages/*/")
}
exclude_patterns = ["evidence.py"]


def keep_magnitudes(_app, _what, _name, _obj, _options, lines):
    """Take ``|x|`` in a docstring for a magnitude; reStructuredText takes it for a substitution."""
    lines[:] = [line if "`" in line else re.sub(r"\|(?=\w)([^|]+)\|", r"\\|\1\\|", line) for line in lines]


def setup(app):
    app.connect("autodoc-process-docstring", keep_magnitudes)
