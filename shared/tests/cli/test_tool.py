"""The command line around a verb: words in, config, result, exit code."""

import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from isopleth.cli import Tool
from isopleth.config import check_positive, positional, to_dict
from isopleth.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Model:
    """The network.

    Parameters
    ----------
    dim : int
        Width in channels.
    """

    dim: int = 3
    kind: Literal["a", "b"] = "a"
    deep: bool = False

    def __post_init__(self) -> None:
        check_positive(dim=self.dim)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to do."""

    source: str = positional()
    out: Path = Path("runs/x")
    full: bool = False
    lead_hours: tuple[int, ...] = (6, 24)
    region: tuple[float, float, float, float] | None = None
    model: Model = Model()


@pytest.fixture
def tool() -> Tool:
    tool = Tool(name="isopleth", package="isopleth", summary="A tool for tests.")

    @tool.verb
    def show(config: Config) -> dict[str, Any]:
        """Give the config back."""
        print("a library's chatter")  # noqa: T201
        return to_dict(config)

    @tool.verb
    def fail(config: Config) -> None:
        """Raise what the source names."""
        logging.getLogger("isopleth.test").info("about to fail")
        raise {
            "data": DataError("lat must be increasing, got 3, 2", where="a.nc", hint="sort it"),
            "bug": ZeroDivisionError("division\nby zero"),
            "disk": OSError(28, "No space left on device"),
            "interrupt": KeyboardInterrupt(),
        }[config.source]

    @tool.verb
    def measure(config: Config) -> dict[str, float]:
        """Return numbers that JSON has no name for."""
        return {"nan": float("nan"), "inf": float("inf"), "one": 1.0}

    return tool


def run_json(tool: Tool, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert tool.main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "path", "value"),
    [
        (["a"], "source", "a"),
        (["--out", "z", "a"], "source", "a"),
        (["--source", "a"], "source", "a"),
        (["a", "--model.dim", "7"], "model.dim", 7),
        (["a", "--model.dim=7"], "model.dim", 7),
        (["a", "--lead_hours", "[6, 12]"], "lead_hours", [6, 12]),
        (["a", "--full"], "full", True),
        (["--full", "a"], "full", True),
        (["a", "--full", "false"], "full", False),
        (["a", "--model.deep", "--out", "b"], "model.deep", True),
        (["a", "--region", "[-10, 10, 350, 20]"], "region", [-10.0, 10.0, 350.0, 20.0]),
    ],
)
def test_words_become_a_config(tool, capsys, words, path, value):
    found = run_json(tool, capsys, "show", *words)
    for key in path.split("."):
        found = found[key]
    assert found == value


def test_printed_config_is_read_back_to_the_same_config(tool, capsys, tmp_path):
    words = ["show", "a b", "--model.dim", "5", "--full", "--region", "[0, 1, 2, 3]"]
    expected = run_json(tool, capsys, *words)
    assert tool.main([*words, "--print_config"]) == 0
    path = tmp_path / "config.yaml"
    path.write_text(capsys.readouterr().out)
    assert run_json(tool, capsys, "show", "--config", str(path)) == expected
    assert run_json(tool, capsys, "show", f"--config={path}", "--model.dim", "9")["model"]["dim"] == 9
    assert yaml.safe_load(path.read_text())["model"] == {"dim": 5, "kind": "a", "deep": False}


def test_the_command_line_wins_over_a_config_wherever_it_stands(tool, capsys, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("source: from the file\nfull: true\nmodel: {dim: 5}\n")
    for words in (
        ["a", "--model.dim", "9", "--config", str(path)],
        [f"--config={path}", "a", "--model.dim=9"],
    ):
        found = run_json(tool, capsys, "show", *words)
        assert (found["source"], found["model"]["dim"], found["full"]) == ("a", 9, True)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["show"], ["source"]),
        (["shwo"], ["shwo", "show"]),
        (["show", "a", "b"], ["'b'"]),
        (["show", "a", "--modle.dim", "3"], ["modle.dim", "'model.dim'"]),
        (["show", "a", "--dim", "3"], ["dim", "'model.dim'"]),
        (["show", "a", "--model.dim", "0"], ["dim must be above 0, got 0"]),
        (["show", "a", "--model.dim", "many"], ["model.dim", "many"]),
        (["show", "a", "--model.kind", "c"], ["model.kind", "'a', 'b'"]),
        (["show", "a", "--region", "[1, 2]"], ["region", "4 elements"]),
        (["show", "a", "--out"], ["--out"]),
        (["show", "a", "--config", "nowhere"], ["nowhere", "shipped"]),
    ],
)
def test_what_cannot_be_used_is_named_in_one_line(tool, capsys, words, names):
    assert tool.main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    for name in names:
        assert name in captured.err


@pytest.mark.parametrize("text", ["modle: 3", "model: {dmi: 3}", "a: [", "- 1\n- 2", "3", "\x00"])
def test_a_broken_config_file_is_one_line(tool, capsys, tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    assert tool.main(["show", "a", "--config", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("source", "code", "text"),
    [
        ("data", 1, "lat must be increasing, got 3, 2 (in a.nc); sort it"),
        ("bug", 1, "unexpected ZeroDivisionError: division by zero"),
        ("disk", 1, "No space left on device"),
        ("interrupt", 130, "interrupted"),
    ],
)
def test_a_failure_is_one_line_and_a_code(tool, capsys, source, code, text):
    assert tool.main(["fail", source, "--quiet"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert text in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("level", [logging.NOTSET, logging.DEBUG])
def test_a_verb_leaves_the_logger_as_it_was(tool, level):
    logger = logging.getLogger("isopleth")
    before, handlers = logger.level, list(logger.handlers)
    logger.setLevel(level)
    try:
        for words in (["--quiet"], []):
            assert tool.main(["fail", "data", *words]) == 1
            assert logger.level == level
            assert logger.handlers == handlers
    finally:
        logger.setLevel(before)


def test_debug_lets_the_traceback_through(tool):
    with pytest.raises(ZeroDivisionError):
        tool.main(["fail", "bug", "--debug"])


def test_logs_and_chatter_go_to_stderr(tool, capsys):
    assert tool.main(["fail", "data"]) == 1
    assert "about to fail" in capsys.readouterr().err
    assert tool.main(["show", "a"]) == 0
    captured = capsys.readouterr()
    assert "chatter" in captured.err
    assert "chatter" not in captured.out
    assert "source" in captured.out


def test_a_log_line_comes_once_where_a_library_has_opened_the_root_logger(tool, capsys, monkeypatch):
    root = logging.StreamHandler(sys.stderr)
    monkeypatch.setattr(logging.getLogger(), "handlers", [root])
    assert tool.main(["fail", "data"]) == 1
    assert capsys.readouterr().err.count("about to fail") == 1
    assert logging.getLogger("isopleth").propagate


@pytest.mark.parametrize(
    ("variable", "rank", "lines"), [("RANK", "0", 1), ("RANK", "3", 0), ("LOCAL_RANK", "1", 0)]
)
def test_of_many_processes_the_first_prints(tool, capsys, monkeypatch, variable, rank, lines):
    monkeypatch.setenv(variable, rank)
    assert tool.main(["measure", "a", "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == lines


def test_json_has_no_nan(tool, capsys):
    assert run_json(tool, capsys, "measure", "a") == {"nan": None, "inf": None, "one": 1.0}


def test_version_and_help(tool, capsys):
    assert tool.main(["--version"]) == 0
    assert capsys.readouterr().out == f"isopleth {tool.version}\n"
    assert tool.main(["--help"]) == 0
    assert "Give the config back." in capsys.readouterr().out
    assert tool.main([]) == 2
    assert tool.main(["show", "--help"]) == 0
    assert "Width in channels." in capsys.readouterr().out


def test_info_says_what_is_installed(tool, capsys):
    found = run_json(tool, capsys, "info")
    assert found["version"] == tool.version
    assert "numpy" in found["packages"]


SLEEPER = """
import signal, sys, time
from dataclasses import dataclass
from pathlib import Path
from isopleth.cli import Tool

# A shell starts what it puts in the background with SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

@dataclass(frozen=True, kw_only=True)
class Config:
    mark: Path

tool = Tool(name="isopleth", package="isopleth", summary="Sleeps.")

@tool.verb
def sleep(config: Config) -> None:
    "Sleep until told to stop."
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        config.mark.write_text("unwound")

sys.exit(tool.main())
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_unwinds_the_stack(tmp_path, number, code):
    mark = tmp_path / "mark"
    command = [sys.executable, "-c", SLEEPER, "sleep", "--mark", str(mark)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "ready\n"
        os.kill(process.pid, number)
        assert process.wait(20) == code
        assert "Traceback" not in process.stderr.read()
    assert mark.read_text() == "unwound"
