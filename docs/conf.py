"""Sphinx, with the field's usual theme; the reference is made from the docstrings."""

from importlib import metadata

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
autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
exclude_patterns = ["evidence.py"]
