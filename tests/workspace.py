"""The workspace as the cross-package tests see it: its packages, and how to run their commands."""

import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import MISSING, dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
# Stands for the required positional arguments of a verb.
PLACEHOLDER = "placeholder.nc"


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
CORE, *TOOLS = PACKAGES


def load_tool(name: str) -> Any:
    """Import the command line of a package: an `isopleth.cli.Tool`."""
    return import_module("isopleth.cli.main" if name == "isopleth" else f"{name.replace('-', '_')}.cli").tool


def name_required(verb: Any) -> list[str]:
    """Give a word for each argument that a verb must have."""
    required = [each for each in fields(verb.config_class) if each.default is each.default_factory is MISSING]
    return [PLACEHOLDER] * len(required)


def copy_workspace(folder: Path) -> Path:
    """Copy what git would commit, with what is not committed yet, into a repository of its own."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in names:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for words in (
        ["init", "--quiet", "--initial-branch", "main"],
        ["config", "user.name", "A tester"],
        ["config", "user.email", "tester@example.org"],
        ["add", "--all"],
        ["commit", "--quiet", "--message", "All"],
    ):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


def run(
    *command: str, cwd: Path, timeout: float = 280, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def make(*words: str, cwd: Path, timeout: float = 280) -> subprocess.CompletedProcess[str]:
    """Run a target of this Makefile somewhere; the settings of the `make` that runs the tests stay out."""
    return run("make", "-f", str(ROOT / "Makefile"), *words, cwd=cwd, timeout=timeout, MAKEFLAGS="")


def use_this_environment() -> list[str]:
    """Have `make` take the environment that runs the tests, instead of setting one up."""
    return ["READY=", f"BIN={Path(sys.executable).parent}"]
