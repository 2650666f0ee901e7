"""Every command and every piece of Python in the READMEs and the docs runs as it is written."""

import os
import re
import sys
from pathlib import Path

import pytest

from workspace import PACKAGES, ROOT, run

BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
HOW_TOS = sorted((ROOT / "docs").glob("*.md")) + sorted((ROOT / "docs" / "howto").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(p.folder / "README.md" for p in PACKAGES), *HOW_TOS]
# The README that such a page includes has a page of its own above.
WALKS = sorted((ROOT / "docs" / "tools").glob("*.md"))


def find_blocks() -> list[pytest.param]:
    blocks = []
    for path in PAGES:
        for number, (language, text) in enumerate(BLOCK.findall(path.read_text())):
            slow = "demo" in text and "make" not in text  # `--config demo` too: it trains
            name = f"{path.parent.name}-{path.stem}-{number}"
            blocks.append(pytest.param(language, text, id=name, marks=[pytest.mark.slow] if slow else []))
    return blocks


def find_walks() -> list[pytest.param]:
    pages = {path.stem: BLOCK.findall(path.read_text()) for path in WALKS}
    # The page of a tool that `make new` laid down has no walk yet.
    return [pytest.param(blocks, id=name) for name, blocks in pages.items() if blocks]


@pytest.fixture
def workplace(tmp_path, text) -> Path:
    """A folder with the files that the READMEs speak of, in their real layouts."""
    from isopleth.testing import write_era5_old_cds

    if "archive" in text:
        from isopleth.samples import sea_level, write_sea_level_sample

        world = sea_level(first_year=1993, last_year=2049, members=2, resolution_deg=12)
        write_sea_level_sample(tmp_path / "archive", world, resolution_deg=10)
    write_era5_old_cds(tmp_path).path.rename(tmp_path / "era5.nc")
    fixes = [divmod(hour, 24) for hour in range(0, 60, 6)]
    rows = [f"A,2024-09-0{day + 1} {hour:02d}:00,15,{300 - day - hour / 24},40" for day, hour in fixes]
    (tmp_path / "tracks.csv").write_text("\n".join(["track_id,time,lat,lon,wind", *rows]))
    return tmp_path


def split_commands(text: str) -> list[str]:
    joined = text.replace("\\\n", " ")
    return [
        line.partition(" #")[0].strip() for line in joined.splitlines() if line.strip() and line[0] != "#"
    ]


def quoted(command: str) -> list[str]:
    return command.split("'")[1::2]


def execute(command: str, workplace: Path, uv: str) -> None:
    """Run one command; those that would build the environment anew are only checked to exist."""
    if command.startswith("make "):
        done = run("make", "--dry-run", "--silent", *command.split()[1:], cwd=ROOT)
    elif command.startswith(("git clone", "cd ")):
        return
    elif command.startswith("pip install "):
        done = run(uv, "pip", "install", "--python", sys.executable, "--dry-run", *quoted(command), cwd=ROOT)
    else:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = run("bash", "-ec", command, cwd=workplace, PATH=path)
    assert done.returncode == 0, f"{command}\n{done.stderr}"


def run_block(language: str, text: str, workplace: Path, uv: str) -> None:
    if language == "python":
        done = run(sys.executable, "-W", "error", "-c", text, cwd=workplace)
        assert done.returncode == 0, done.stderr
    else:
        for command in split_commands(text):
            execute(command, workplace, uv)


@pytest.mark.parametrize(("language", "text"), find_blocks())
def test_a_block_runs_as_written(language, text, workplace, uv):
    run_block(language, text, workplace, uv)


@pytest.mark.slow
@pytest.mark.parametrize("blocks", find_walks())
def test_a_tools_walk_runs_from_its_first_block_to_its_last(blocks, tmp_path, uv):
    for language, text in blocks:
        run_block(language, text, tmp_path, uv)


@pytest.mark.parametrize("path", WALKS, ids=lambda path: path.stem)
def test_a_tools_page_has_the_sections_of_all(path):
    page, readme = path.read_text(), f"../../packages/{path.stem}/README.md"
    if page == f"```{{include}} {readme}\n```\n":
        return  # as `make new` lays it down
    first, own, *rest = re.findall(r"^## (.*)$", page, flags=re.MULTILINE)
    assert first == "Five minutes on the sample"
    assert rest == ["On a cluster", "What the paper claims, and what we saw", "Evidence"]
    # The README is cut before its part on one's own data, which follows the walk, and before its evidence.
    assert f"\n## {own}\n" in (path.parent / readme).read_text()
    assert re.findall(r"^:(.*)$", page, flags=re.MULTILINE) == [
        f'end-before: "## {own}"', f'start-after: "## {own}"',
        'end-before: "## Evidence"', 'start-after: "## Evidence"',
    ]  # fmt: skip
