"""Damaged input that learns: atheris sees which of our branches a change reaches, and goes on from there.

    python tests/fuzz_guided.py TARGET RUNS

The targets are those of `fuzz_targets`, which are read in the current folder: an empty one. An input is the
number of a file and its content; the other files stay sound. The first case that is neither read nor refused
ends the process, with a traceback.
"""

from __future__ import annotations

import shutil
import sys
import warnings
from pathlib import Path

import atheris

from fuzz_targets import TARGETS, Target
from workspace import PACKAGES

SECONDS, MEMORY_MB, LONGEST = 5, 2000, 8192
SOUND, CASE, OUT, CORPUS = (Path(name).absolute() for name in ("sound", "case", "out", "corpus"))


def main(name: str, runs: int) -> None:
    """Fuzz one target; does not return."""
    target = TARGETS[name]
    for folder in (SOUND, OUT, CORPUS):
        folder.mkdir()
    sound = target.write(SOUND)
    with atheris.instrument_imports([package.name.replace("-", "_") for package in PACKAGES]):
        target.read(sound, OUT)
    files = sorted(path for path in [sound, *sound.rglob("*")] if path.is_file())
    for number, path in enumerate(files):
        (CORPUS / str(number)).write_bytes(bytes([number]) + path.read_bytes())
    limits = {"runs": runs, "timeout": SECONDS, "rss_limit_mb": MEMORY_MB, "max_len": LONGEST, "seed": 1}
    words = [f"-{option}={value}" for option, value in limits.items()]
    atheris.Setup([name, *words, str(CORPUS)], lambda data: read_case(target, sound, files, data))
    atheris.Fuzz()


def read_case(target: Target, sound: Path, files: list[Path], data: bytes) -> None:
    """Read a copy of what is sound, one file's content replaced."""
    from isopleth.errors import IsoplethError

    number, content = (data[0], data[1:]) if data else (0, data)
    source = CASE / sound.name
    shutil.rmtree(CASE, ignore_errors=True)
    CASE.mkdir()
    (shutil.copytree if sound.is_dir() else shutil.copy)(sound, source)
    (source / files[number % len(files)].relative_to(sound)).write_bytes(content)
    try:
        target.read(source, OUT)
    except IsoplethError as error:
        if not str(error).strip():
            raise RuntimeError("an error without a word") from error


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1], int(sys.argv[2]))
