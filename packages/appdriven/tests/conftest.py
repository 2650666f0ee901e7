"""A small application: an AR(1) series with features, its declaration, and files of both."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from appdriven.application import Application

DECLARATION = {
    "name": "A series",
    "task": {
        "summary": "Predict the next value.", "decision": "Whether to act.", "decided_by": "a tester",
        "affected": ["nobody"], "deployment_unit": "a day", "variable": "level", "units": "m", "lead": "1D",
        "range": [-20.0, 20.0],
    },
    "data": {
        "name": "AR(1)", "kind": "simulated", "source": "a program", "licence": "CC0",
        "fingerprint": "unknown: drawn anew",
        "columns": {"target": "level", "time": "time", "persistence": "last", "features": ["last", "noise"]},
    },
    "harms": {
        "description": "none", "event": {"threshold": 1.5, "direction": "above"},
        "costs": {"hit": 1.0, "miss": 5.0, "false_alarm": 1.0},
    },
    "constraints": {"latency_seconds": 10.0, "memory_mb": "unknown: not limited", "notes": "none"},
    "metrics": {
        "primary": {"name": "rmse", "threshold": 1.2, "set_by": "the tester"},
        "guard": [{"name": "mae", "threshold": "unknown: nobody asked", "set_by": "the tester"}],
    },
    "baselines": {"domain": ["persistence", "climatology"], "learned": ["linear"]},
    "splits": {"kind": "time", "reason": "later times", "n": 4, "embargo": "5D"},
    "subgroups": {"columns": ["half"], "minimum": 10},
    "uncertainty": {"over": "time", "draws": 100},
    "budget": {"train_seconds": 10.0, "predict_seconds": 1.0, "parameters": "unknown: none"},
    "scope": {"out_of_scope": ["all else"]},
}  # fmt: skip


@pytest.fixture
def declaration() -> dict:
    """The declaration as parsed TOML, free to be changed."""
    return copy.deepcopy(DECLARATION)


@pytest.fixture(scope="session")
def application() -> Application:
    return Application.from_dict(DECLARATION)


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    level = np.zeros(601)
    for day in range(1, 601):
        level[day] = 0.8 * level[day - 1] + rng.normal()
    return pd.DataFrame(
        {
            "time": pd.date_range("2001-01-01", periods=600),
            "level": level[1:],
            "last": level[:-1],
            "noise": rng.normal(size=600),
            "half": np.where(np.arange(600) % 2, "odd", "even"),
        }
    )


@pytest.fixture(scope="session")
def table(frame, application):
    from appdriven.table import Table

    return Table(frame, application.data.columns)


def as_toml(content: dict, path: str = "") -> str:
    """Write a declaration as TOML; enough of it for declarations."""
    plain = {key: value for key, value in content.items() if not isinstance(value, dict)}
    lines = [f"[{path}]"] if path else []
    lines += [f"{key} = {_literal(value)}" for key, value in plain.items()]
    tables = {key: value for key, value in content.items() if isinstance(value, dict)}
    return "\n".join(
        [*lines, *(as_toml(value, f"{path}.{key}".lstrip(".")) for key, value in tables.items())]
    )


def _literal(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return json.dumps(value)


@pytest.fixture
def declare(tmp_path):
    """Write a declaration as application.toml; give the path."""

    def write(content: dict) -> Path:
        path = tmp_path / "application.toml"
        path.write_text(as_toml(content))
        return path

    return write


@pytest.fixture
def files(tmp_path, declaration, declare, frame):
    """A folder with application.toml, data.csv and predictions.csv."""
    declare(declaration)
    frame.to_csv(tmp_path / "data.csv", index=False)
    said = frame.assign(prediction=0.8 * frame["last"])[["time", "prediction"]]
    said.to_csv(tmp_path / "predictions.csv", index=False)
    return tmp_path


@pytest.fixture
def run(capsys):
    """Run a command line; give its exit code, stdout and stderr."""
    from appdriven.cli import tool

    def call(*words: object) -> tuple[int, str, str]:
        code = tool.main([str(word) for word in words])
        return (code, *capsys.readouterr())

    return call
