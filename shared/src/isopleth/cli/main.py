"""The core's own command: look at a source, build an index of reports, run the benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isopleth.cli.tool import Tool
from isopleth.config import check_positive, positional

tool = Tool(
    name="isopleth",
    package="isopleth",
    summary="See how gridded data is understood, gather evaluation reports, measure speed.",
)


@dataclass(frozen=True, kw_only=True)
class InspectConfig:
    """What to look at.

    Parameters
    ----------
    source : str
        A file, folder, zarr store, glob or URL.
    """

    source: str = positional()


@tool.verb
def inspect(config: InspectConfig) -> Any:
    """Show how a source is understood: names, units, calendar, chunks, problems, advice."""
    from isopleth.io import inspect_source

    return inspect_source(config.source)


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Where the runs are.

    Parameters
    ----------
    folder : Path
        Run directories are looked for in it; index.html is written to it.
    """

    folder: Path = positional()


@tool.verb
def report(config: ReportConfig) -> dict[str, str]:
    """Build index.html over every evaluation.json below a folder."""
    from isopleth.report import write_index

    return {"index": str(write_index(config.folder))}


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """Which benchmarks to run.

    Parameters
    ----------
    folder : Path
        Every `benchmarks/*.py` below it is run; its record is written beside it as JSON.
    only : str
        Run only the benchmarks whose file name contains this.
    minutes : float
        Stop a benchmark that takes longer.
    """

    folder: Path = positional(Path())
    only: str = ""
    minutes: float = 30.0

    def __post_init__(self) -> None:
        check_positive(minutes=self.minutes)


@tool.verb
def bench(config: BenchConfig) -> dict[str, Any]:
    """Run every benchmark below a folder and keep the ratios that each prints."""
    from isopleth.cli.bench import run_benchmarks

    return run_benchmarks(config.folder, only=config.only, seconds=60 * config.minutes)


def main() -> int:
    """Run the `isopleth` command."""
    return tool.main()
