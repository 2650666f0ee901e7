"""The workspace's own rules: bounds between packages, one changelog and licence each, a clean environment."""

import ast
import re
import subprocess
import sys

import pytest
from packaging.requirements import Requirement

from workspace import PACKAGES, ROOT, TOOLS, Package

NAMES = {package.name for package in PACKAGES}


def list_requirements(package: Package) -> list[Requirement]:
    """List what a package needs, with all its extras."""
    extras = package.project.get("optional-dependencies", {}).values()
    return [Requirement(text) for texts in (package.project["dependencies"], *extras) for text in texts]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.name)
def test_internal_dependencies_are_bounded_on_both_sides(package):
    for requirement in list_requirements(package):
        if requirement.name in NAMES:
            operators = {specifier.operator for specifier in requirement.specifier}
            assert operators == {">=", "<"}, f"{requirement} must have a floor and a next-version cap"


def test_a_dependency_has_one_floor():
    """Of several only the highest would be tried: the lowest versions are tested in one environment."""
    floors: dict[str, dict[str, str]] = {}
    for package in PACKAGES:
        for requirement in list_requirements(package):
            (floor,) = [each.version for each in requirement.specifier if each.operator in (">=", "==")]
            floors.setdefault(requirement.name, {})[package.name] = floor
    several = {name: found for name, found in floors.items() if len(set(found.values())) > 1}
    assert several == {}


@pytest.mark.parametrize("tool", TOOLS, ids=lambda p: p.name)
def test_a_tool_depends_on_the_core_and_on_no_other_tool(tool):
    wanted = {Requirement(text).name for text in tool.project["dependencies"]}
    assert wanted & NAMES == {"isopleth"}


@pytest.mark.parametrize("tool", TOOLS, ids=lambda p: p.name)
def test_a_tool_imports_no_other_tool(tool):
    others = {other.name.replace("-", "_") for other in TOOLS} - {tool.name.replace("-", "_")}
    for path in tool.folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not {name.partition(".")[0] for name in names} & others, path


def test_the_environment_satisfies_every_bound(uv):
    checked = subprocess.run(
        [uv, "pip", "check", "--python", sys.executable], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.name)
def test_each_package_stands_alone(package):
    for name in ("README.md", "CHANGELOG.md", "LICENSE"):
        assert (package.folder / name).is_file(), name
    assert (package.folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert package.project["requires-python"] == ">=3.11"
    source = package.folder / "src" / package.name.replace("-", "_") / "__init__.py"
    version = re.search(r'^__version__ = "(.+)"$', source.read_text(), flags=re.MULTILINE)
    assert version is not None
    assert version[1] == package.project["version"]
    assert f"## {version[1]}" in (package.folder / "CHANGELOG.md").read_text()
    citation = (ROOT if package.folder.name == "shared" else package.folder) / "CITATION.cff"
    assert f"\nversion: {version[1]}\n" in citation.read_text()


def test_every_tool_is_known_to_the_linters():
    config = (ROOT / "pyproject.toml").read_text()
    for tool in TOOLS:
        assert f'"{tool.name.replace("-", "_")}"' in config, "add it to [tool.importlinter] and [tool.mypy]"


def test_no_registry_host_is_named_outside_the_lock():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    hosts = re.compile(r"pypi\.o" + r"rg|pythonhosted\.o" + r"rg|registry\.npm" + r"js|deb\.debian\.o" + "rg")
    for name in listed.splitlines():
        path = ROOT / name
        if name != "uv.lock" and path.suffix not in (".png", ".svg") and path.is_file():
            assert not hosts.search(path.read_text(errors="ignore")), name
