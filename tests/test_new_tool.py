"""The how-to for an eleventh tool, followed to the letter in a copy of the repository."""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from workspace import ROOT, copy_workspace, run

HOW_TO = ROOT / "docs" / "howto" / "new-tool.md"
TOOL = "my-tool"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def copy(tmp_path) -> Iterator[Path]:
    yield copy_workspace(tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy")  # a whole environment


@pytest.fixture
def environment(uv, tmp_path) -> dict[str, str]:
    """What is set for each command: uv, and nothing else of its folder, on PATH."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "uv").symlink_to(uv)
    return {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}", "MAKEFLAGS": ""}


def list_commands() -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", HOW_TO.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [line.split() for block in blocks for line in block.splitlines()]


def follow(command: list[str], copy: Path, environment: dict[str, str]) -> str:
    done = run(*command, cwd=copy, timeout=900, **environment)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_tool_that_was_laid_down_passes_all_that_the_house_asks(copy, environment):
    commands = list_commands()
    assert ["make", "new", f"TOOL={TOOL}"] in commands
    assert {words[1] for words in commands} >= {"new", "demo", "test", "lint"}
    # Compiling all that is installed would take longer than what follows needs.
    settings = [f"PYTHON={PYTHON}", "UV_COMPILE_BYTECODE=0"]
    for command in commands:
        follow([*command, *settings], copy, environment)
    pages = (copy / "runs" / "demo" / TOOL).glob("*.html")
    assert {path.name for path in pages} == {"report.html", "card.html"}
    assert f"./{TOOL}/report.html" in (copy / "runs" / "demo" / "index.html").read_text()

    pytest_here = [str(copy / f".venv-{PYTHON}" / "bin" / "python"), "-m", "pytest", "-q", "-m", "not slow"]
    follow([*pytest_here, "tests/test_workspace.py", "tests/test_evidence.py"], copy, environment)
    contract = ["tests/test_cli_contract.py", "tests/test_readmes.py", "-k", TOOL]
    found = follow([*pytest_here, *contract], copy, environment)
    assert int(re.search(r"(\d+) passed", found)[1]) > 20


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "usage"),
        ("My Tool", "usage"),
        ("../escape", "usage"),
        ("my_tool", "usage"),
        ("geostint", "packages/geostint is there already"),
        ("numpy", "numpy is the name of an installed package"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(name, reason):
    before = sorted((ROOT / "packages").iterdir())
    done = run(sys.executable, ".ci/new", name, cwd=ROOT)
    assert done.returncode == 1
    assert reason in done.stderr
    assert sorted((ROOT / "packages").iterdir()) == before
