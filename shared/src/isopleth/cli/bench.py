"""Run benchmark scripts one after the other, and keep what each prints."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

from isopleth.errors import DataError, IsoplethError
from isopleth.io.write import write_json

logger = logging.getLogger("isopleth.bench")


def run_benchmarks(folder: Path, *, only: str = "", seconds: float = 1800.0) -> dict[str, Any]:
    """Run every ``benchmarks/*.py`` below a folder and write its record beside it.

    A benchmark is a script whose last line on stdout is one JSON object (see `isopleth.benchmark.emit`). One
    at a time: two would measure each other. A script that fails does not keep the others from running.

    Parameters
    ----------
    folder : Path
        Where to look.
    only : str
        Part of the file names to run.
    seconds : float
        Time limit of each.

    Returns
    -------
    dict
        By benchmark, its ratios by name.

    Raises
    ------
    DataError
        If there is no such script.
    IsoplethError
        If one failed, after all have run; names them.
    """
    scripts = sorted(
        path for path in folder.rglob("benchmarks/*.py") if only in path.name and _is_ours(path, folder)
    )
    if not scripts:
        raise DataError(f"a folder must hold benchmarks/*{only}*.py, got none", where=folder.absolute())
    ratios: dict[str, Any] = {}
    failed: list[str] = []
    for script in scripts:
        try:
            record = run_benchmark(script, seconds=seconds)
        except IsoplethError as error:
            logger.warning("%s", error)
            failed.append(script.stem)
            continue
        write_json(script.with_suffix(".json"), record)
        ratios[record["benchmark"]] = {each["name"]: each["ratio"] for each in record["ratios"]}
    if failed:
        raise IsoplethError(f"every benchmark must run through, got failures in {', '.join(failed)}")
    return ratios


def run_benchmark(script: Path, *, seconds: float) -> dict[str, Any]:
    """Run one script in a fresh interpreter and read the record that it prints last."""
    logger.info("%s", script)
    try:
        done = subprocess.run(  # noqa: S603 - a script of the folder that the user named
            [sys.executable, script], stdout=subprocess.PIPE, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise IsoplethError(
            f"a benchmark must end within {seconds:g} s", where=script, hint="give it more --minutes"
        ) from error
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise IsoplethError(f"a benchmark must exit with 0, got {done.returncode}", where=script)
    try:
        record = json.loads(lines[-1])
        return {name: record[name] for name in ("benchmark", "machine", "sides", "ratios", "note")}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise IsoplethError(
            f"a benchmark's last line must be its JSON record, got {lines[-1][:80]!r}", where=script
        ) from error


def _is_ours(path: Path, folder: Path) -> bool:
    """Leave out environments and other hidden folders."""
    return not any(part.startswith(".") or part == "site-packages" for part in path.relative_to(folder).parts)
