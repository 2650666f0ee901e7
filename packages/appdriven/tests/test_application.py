"""A declaration has no blanks and no unknown keys; what nobody knows is said with its reason."""

import pytest

from appdriven.application import Application, check_application, list_unknowns
from appdriven.schema import Unknown
from appdriven.template import render_template
from isopleth.errors import ConfigError, DataError


def test_a_whole_declaration_is_read_and_written_back(declaration):
    application = Application.from_dict(declaration)
    assert application.metrics.primary.threshold == 1.2
    assert application.data.fingerprint == Unknown("drawn anew")
    assert Application.from_dict(application.to_dict()) == application


def test_unknowns_are_listed_with_their_reasons(application):
    assert dict(list_unknowns(application.to_dict())) == {
        "data.fingerprint": "drawn anew",
        "constraints.memory_mb": "not limited",
        "metrics.guard[0].threshold": "nobody asked",
        "budget.parameters": "none",
    }


def place(declaration, key, value):
    *path, last = key.split(".")
    for part in path:
        declaration = declaration[part]
    if value is None:
        del declaration[last]
    else:
        declaration[last] = value


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("task.decision", "", "task.decision must not be blank"),
        ("task.decision", "   ", "task.decision must not be blank"),
        ("task.affected", [], "task.affected must not be blank"),
        ("task.decision", None, "task.decision must be filled in, got nothing"),
        ("task.decision", "unknown:", "must give its reason"),
        ("task.units", "unknown: who knows", "task.units must be known"),
        ("task.range", [1.0, 1.0], "range must run from low to high"),
        ("task.lead", "tomorrow", "lead must be a duration"),
        ("task.range", [1.0], "task.range must have 2 entries, got 1"),
        ("task.range", ["a", "b"], r"task.range\[0\] must be a number"),
        ("harms.costs.miss", 0.5, "acting must pay"),
        ("metrics.primary.name", "rsme", "the metric must be one of rmse"),
        ("splits.kind", "kfold", "splits.kind must be one of time"),
        ("uncertainty.draws", 1.5, "uncertainty.draws must be a whole number"),
        ("uncertainty.level", 95, "level must be between 0 and 1"),
        ("splits.acknowledge_leakage", "yes", "must be true or false"),
        ("scope", None, "scope must be filled in"),
        ("scope", 3, "scope must be a table"),
    ],
)
def test_what_is_wrong_is_named(declaration, key, value, message):
    place(declaration, key, value)
    with pytest.raises(ConfigError, match=message):
        Application.from_dict(declaration)


def test_a_typo_in_a_key_is_named_with_the_key_that_was_meant(declaration):
    declaration["splits"]["embarg"] = "3D"
    with pytest.raises(ConfigError, match=r"'splits.embarg' is not known; did you mean 'embargo'\?"):
        Application.from_dict(declaration)


def test_a_split_must_find_its_columns(declaration):
    declaration["splits"]["kind"] = "space"
    with pytest.raises(ConfigError, match="must name lat, lon"):
        Application.from_dict(declaration)
    declaration["splits"] |= {"kind": "holdout"}
    with pytest.raises(ConfigError, match=r"splits.start must say"):
        Application.from_dict(declaration)


def test_check_lists_every_problem_at_once(declaration, declare):
    declaration["task"]["decision"] = ""
    declaration["harms"]["description"] = ""
    declaration["extra"] = 3
    problems = check_application(declare(declaration))
    assert len(problems) == 3
    assert "Which decision does the prediction feed?" in problems[1]


@pytest.mark.parametrize("content", ["", "name = ", "\x00", "[task\n"])
def test_what_is_no_declaration_is_one_line(tmp_path, content):
    path = tmp_path / "application.toml"
    path.write_text(content)
    with pytest.raises(DataError, match="the declaration must"):
        check_application(path)


def test_a_template_asks_every_question_and_fills_answers_in(tmp_path):
    path = tmp_path / "application.toml"
    path.write_text(
        render_template({"name": "Floods", "task.range": "[0, 5]", "task.decision": "Close a road"})
    )
    problems = check_application(path)
    assert not any(problem.startswith(("name", "task.range", "task.decision")) for problem in problems)
    assert any(problem.startswith("task.affected must not be blank") for problem in problems)
    asked = []
    render_template(ask=lambda key, question: asked.append(key) or "unknown: later")
    assert "scope.out_of_scope" in asked
    assert "splits.block_km" not in asked
    with pytest.raises(ConfigError, match=r"got 'task\.colour'"):
        render_template({"task.colour": "red"})


def test_the_shipped_declaration_is_whole():
    from importlib import resources

    path = resources.files("appdriven") / "application.toml"
    assert check_application(str(path)) == []
