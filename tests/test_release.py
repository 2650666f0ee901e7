"""`make release` in a copy of the repository: what it changes, and what it refuses."""

import re
import subprocess
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from workspace import copy_workspace, make, use_this_environment

TODAY = f"{datetime.now(UTC):%Y-%m-%d}"


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    return copy_workspace(tmp_path_factory.mktemp("copy"))


def git(copy: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=copy, capture_output=True, text=True, check=True).stdout


@pytest.fixture(autouse=True)
def _put_back(copy):
    yield
    git(copy, "reset", "--quiet", "--hard", "HEAD")


def release(copy: Path, uv: str, package: str, bump: str):
    return make("release", f"PKG={package}", f"BUMP={bump}", f"UV={uv}", *use_this_environment(), cwd=copy)


def describe_change(copy: Path, folder: str) -> None:
    log = copy / folder / "CHANGELOG.md"
    log.write_text(log.read_text().replace("## Unreleased\n", "## Unreleased\n\n- A change.\n", 1))
    git(copy, "commit", "--quiet", "--all", "--message", "Change")


@pytest.mark.parametrize(
    ("package", "bump", "reason"),
    [
        ("no-such-tool", "minor", "no package 'no-such-tool'"),
        ("", "minor", "no package ''"),
        ("../shared", "minor", "no package '../shared'"),
        ("geostint", "enormous", "BUMP 'enormous'"),
        ("geostint", "", "BUMP ''"),
    ],
)
def test_what_cannot_be_released_is_refused(package, bump, reason, copy, uv):
    tags = git(copy, "tag")
    done = release(copy, uv, package, bump)
    assert done.returncode != 0
    assert reason in done.stderr
    assert git(copy, "status", "--porcelain") == ""
    assert git(copy, "tag") == tags


def test_a_tree_with_changes_is_refused(copy, uv):
    (copy / "README.md").write_text("Changed.\n")
    done = release(copy, uv, "geostint", "minor")
    assert "uncommitted changes" in done.stderr
    assert git(copy, "status", "--porcelain") == " M README.md\n"


def test_a_release_without_a_change_is_refused(copy, uv):
    log = copy / "packages" / "geostint" / "CHANGELOG.md"
    log.write_text("# Changelog\n\n## Unreleased\n\n## 0.0.1 (2026-11-23)\n\n- First.\n")
    git(copy, "commit", "--quiet", "--all", "--message", "Nothing to say")
    done = release(copy, uv, "geostint", "minor")
    assert "packages/geostint/CHANGELOG.md says nothing under '## Unreleased'" in done.stderr


@pytest.mark.slow  # uv asks the index
def test_a_tool_is_released(copy, uv):
    describe_change(copy, "packages/geostint")
    version = raised(copy, "packages/geostint", "patch")
    done = release(copy, uv, "geostint", "patch")
    assert done.returncode == 0, done.stderr
    assert f"geostint/v{version}" in done.stdout
    check_release(copy, "packages/geostint", "geostint", version)
    changed = git(copy, "show", "--name-only", "--format=", "HEAD").split()
    assert {name for name in changed if not name.startswith("packages/geostint/")} == {"uv.lock"}
    # No other version moves.
    assert git(copy, "diff", "--numstat", "HEAD~1", "HEAD", "uv.lock").split() == ["1", "1", "uv.lock"]


def raised(copy: Path, folder: str, bump: str) -> str:
    """Raise a version by hand."""
    project = tomllib.loads((copy / folder / "pyproject.toml").read_text())["project"]
    major, minor, patch = map(int, project["version"].split("."))
    return f"{major}.{minor + 1}.0" if bump == "minor" else f"{major}.{minor}.{patch + 1}"


def check_release(copy: Path, folder: str, package: str, version: str) -> None:
    """Look at all places where a version stands."""
    assert tomllib.loads((copy / folder / "pyproject.toml").read_text())["project"]["version"] == version
    (module,) = (copy / folder / "src").glob("*/__init__.py")
    assert f'\n__version__ = "{version}"\n' in module.read_text()
    log = (copy / folder / "CHANGELOG.md").read_text()
    assert f"## Unreleased\n\n## {version} ({TODAY})\n\n- A change.\n" in log
    citation = copy / ("" if folder == "shared" else folder) / "CITATION.cff"
    assert f"\nversion: {version}\ndate-released: {TODAY}\n" in citation.read_text()
    locked = tomllib.loads((copy / "uv.lock").read_text())["package"]
    assert [each["version"] for each in locked if each["name"] == package] == [version]
    assert git(copy, "status", "--porcelain") == ""
    assert git(copy, "cat-file", "-t", f"{package}/v{version}") == "tag\n"
    assert git(copy, "rev-parse", f"{package}/v{version}^{{}}") == git(copy, "rev-parse", "HEAD")
    assert git(copy, "log", "-1", "--format=%s") == f"Release {package} {version}\n"


@pytest.mark.slow  # uv asks the index
def test_a_core_that_leaves_the_bounds_of_the_tools_takes_them_along(copy, uv):
    describe_change(copy, "shared")
    version = raised(copy, "shared", "minor")
    done = release(copy, uv, "isopleth", "minor")
    assert done.returncode == 0, done.stderr
    check_release(copy, "shared", "isopleth", version)
    tools = sorted(copy.glob("packages/*/pyproject.toml"))
    for path in [*tools, copy / ".ci" / "template" / "pyproject.toml"]:
        wanted = map(Requirement, tomllib.loads(path.read_text())["project"]["dependencies"])
        (core,) = [each for each in wanted if each.name == "isopleth"]
        assert version in core.specifier
        assert {each.operator for each in core.specifier} == {">=", "<"}
    for path in tools:
        log = (path.parent / "CHANGELOG.md").read_text()
        assert re.search(rf"^## Unreleased\n\n- Needs isopleth {re.escape(version)}\.\n", log, re.MULTILINE)


@pytest.mark.slow  # uv asks the index
def test_a_core_within_the_bounds_leaves_the_tools_alone(copy, uv):
    describe_change(copy, "shared")
    before = {path: path.read_text() for path in copy.glob("packages/*/pyproject.toml")}
    assert release(copy, uv, "isopleth", "patch").returncode == 0
    assert before == {path: path.read_text() for path in before}
