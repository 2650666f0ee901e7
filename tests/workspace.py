"""The workspace as the cross-package tests see it: its packages, and how to run their commands."""

import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Package:
    """A distribution of the workspace."""

    folder: Path
    project: dict[str, Any]

    @property
    def name(self) -> str:
        return self.project["name"]

    @property
    def command(self) -> str:
        """The console script beside this interpreter."""
        return str(Path(sys.executable).parent / self.name)


def find_packages() -> list[Package]:
    folders = [ROOT / "shared", *sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))]
    return [Package(f, tomllib.loads((f / "pyproject.toml").read_text())["project"]) for f in folders]


PACKAGES = find_packages()
TOOLS = [package for package in PACKAGES if package.folder.name != "shared"]


def run(*command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        stdin=subprocess.DEVNULL,
    )
