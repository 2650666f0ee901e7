"""One command line for every tool: typed configs, YAML, dotted overrides, exit codes, late imports."""

from isopleth.cli.arguments import load_config
from isopleth.cli.tool import Tool

__all__ = ["Tool", "load_config"]
