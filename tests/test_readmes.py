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


def find_blocks() -> list[pytest.param]:
    blocks = []
    for path in PAGES:
        for number, (language, text) in enumerate(BLOCK.findall(path.read_text())):
            slow = "demo" in text and "make" not in text  # `--config demo` too: it trains
            name = f"{path.parent.name}-{path.stem}-{number}"
            blocks.append(pytest.param(language, text, id=name, marks=[pytest.mark.slow] if slow else []))
    return blocks


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


@pytest.mark.parametrize(("language", "text"), find_blocks())
def test_a_block_runs_as_written(language, text, workplace, uv):
    if language == "python":
        done = run(sys.executable, "-W", "error", "-c", text, cwd=workplace)
        assert done.returncode == 0, done.stderr
    else:
        for command in split_commands(text):
            execute(command, workplace, uv)
