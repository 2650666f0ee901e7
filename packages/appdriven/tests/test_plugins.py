"""Every tool of the workspace ships a declaration, and its own record can be judged by it."""

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from appdriven import plugins
from appdriven.application import Application, check_application
from appdriven.runs import evaluate_run, find_score
from isopleth.errors import ConfigError
from isopleth.report import read_evaluation

PACKAGES = Path(__file__).parents[2]
TOOLS = sorted(path.parent.name for path in PACKAGES.glob("*/pyproject.toml"))
RECORDED = sorted(path.parents[3].name for path in PACKAGES.glob("*/src/*/evidence/evaluation.json"))


def module_of(tool):
    """The module that a tool's pyproject.toml names in the group; installed metadata may be older."""
    project = tomllib.loads((PACKAGES / tool / "pyproject.toml").read_text())["project"]
    return project["entry-points"][plugins.GROUP][tool]


def declaration_of(tool):
    return PACKAGES / tool / "src" / module_of(tool) / "application.toml"


def test_the_workspace_has_its_tools():
    assert {"archesweather", "climalign", "geostint", "appdriven"} <= set(TOOLS)


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_ships_a_declaration_that_checks(tool, run):
    path = declaration_of(tool)
    assert check_application(path) == []
    code, out, err = run("check", path)
    assert code == 0, err
    assert Application.load(path).name in out


@pytest.mark.parametrize("tool", RECORDED)
def test_what_a_declaration_asks_for_stands_in_the_committed_record(tool):
    record = declaration_of(tool).parent / "evidence" / "evaluation.json"
    evaluation, application = read_evaluation(record), Application.load(declaration_of(tool))
    score = find_score(evaluation, application, application.metrics.primary)
    assert score is not None
    assert score.units == application.task.units
    if application.data.predictions is None:  # else baselines are computed when the run is evaluated
        assert set(application.baselines.domain) <= set(score.baselines)


@pytest.mark.parametrize("tool", RECORDED)
def test_a_run_is_judged_by_its_tools_declaration(tool, monkeypatch):
    record = declaration_of(tool).parent / "evidence" / "evaluation.json"
    points = [EntryPoint(tool, module_of(tool), plugins.GROUP)]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    card = evaluate_run(record, tool=tool)
    application = Application.load(declaration_of(tool))
    assert card.application == application.to_dict()
    assert card.headline.metric == application.metrics.primary.name
    assert "is not in this run" not in card.headline.sentence
    assert not card.violations


def test_a_tool_ships_its_declaration_by_an_entry_point(monkeypatch):
    point = EntryPoint("storms", "appdriven", plugins.GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point] if group == plugins.GROUP else [])
    assert plugins.load_application("storms").name == "Storm intensity in 24 hours"
    assert plugins.load_application("rain") is None
    bare = [EntryPoint("bare", "appdriven.card", plugins.GROUP)]
    monkeypatch.setattr(plugins, "entry_points", lambda group: bare)
    with pytest.raises(ConfigError, match=r"must carry application.toml, got none"):
        plugins.find_application("bare")
