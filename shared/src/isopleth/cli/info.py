"""What is installed: the first thing to send with a question."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from typing import Any

from isopleth.config import shipped_configs


def describe_installation(name: str, package: str) -> dict[str, Any]:
    """Tell a tool's version, its configs, the machine, and the versions of what it depends on."""
    return {
        "tool": name,
        "version": importlib.metadata.version(name),
        "configs": sorted(shipped_configs(package)),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "packages": _dependency_versions(name),
    }


def _dependency_versions(name: str) -> dict[str, str | None]:
    """Read the versions of direct dependencies; None stands for one that is not installed."""
    versions: dict[str, str | None] = {}
    for requirement in importlib.metadata.requires(name) or []:
        dependency = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        try:
            versions[dependency] = importlib.metadata.version(dependency)
        except importlib.metadata.PackageNotFoundError:
            versions[dependency] = None
    return versions
