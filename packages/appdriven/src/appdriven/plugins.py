"""What other packages bring: their declarations, through entry points."""

from __future__ import annotations

from importlib import resources
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from appdriven.application import Application
from isopleth.errors import ConfigError

#: A package says ``NAME = "its_module"`` in this group, and carries ``application.toml`` in that module.
GROUP = "appdriven.applications"


def list_tools() -> dict[str, EntryPoint]:
    """List the tools that ship a declaration, by name."""
    return {point.name: point for point in sorted(entry_points(group=GROUP))}


def find_application(tool: str) -> Path | None:
    """Find the declaration that a tool ships; None if it has no entry point.

    Raises
    ------
    ConfigError
        If there is an entry point without a file.
    """
    point = list_tools().get(tool)
    if point is None:
        return None
    path = Path(str(resources.files(point.module) / "application.toml"))
    if not path.is_file():
        raise ConfigError(
            f"the entry point {tool!r} of {GROUP} must carry application.toml, got none", where=path
        )
    return path


def load_application(tool: str) -> Application | None:
    """Load the declaration that a tool ships; None if it has no entry point."""
    path = find_application(tool)
    return None if path is None else Application.load(path)
