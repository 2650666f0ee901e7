"""A card is a page, JSON of a shipped schema, and Markdown; checklists, gates and assertions read it."""

import json
import re
from dataclasses import replace

import pytest
import yaml

from appdriven.assertion import assert_claim, list_quantities
from appdriven.card import load_card_schema, make_schema, read_card, render_markdown, render_page, write_card
from appdriven.coherence import Check
from appdriven.compare import compare_cards
from appdriven.evaluation import evaluate
from appdriven.predictions import Predictions
from appdriven.review import PROFILES, review
from isopleth.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def card(application, table):
    return evaluate(application, table, Predictions(0.8 * table.numbers("last")))


def test_the_shipped_schema_is_that_of_the_code_and_fits_a_card(card):
    from jsonschema import Draft202012Validator

    assert load_card_schema() == make_schema()
    Draft202012Validator.check_schema(make_schema())
    Draft202012Validator(load_card_schema()).validate(json.loads(json.dumps(card.to_dict())))


def test_a_card_is_read_as_it_was_written(card, tmp_path):
    files = write_card(card, tmp_path)
    again = read_card(tmp_path)
    assert again.to_dict() == card.to_dict()
    assert render_page(again) == render_page(card)
    assert set(files) == {"json", "html", "markdown"}


def test_the_page_loads_nothing_and_runs_nothing(card):
    page = render_page(replace(card, application={**card.application, "name": "<script>alert(1)</script>"}))
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!#|data:|https://(?:neurips\.cc|pmc\.ncbi|dome-ml))', page)
    assert "has no single score" in page
    for section in ("Coherence", "Baselines", "Claims", "Decision", "Split", "Shift", "Checklist"):
        assert f"<h2>{section}</h2>" in page


def test_the_markdown_has_front_matter_and_what_is_not_known(card):
    text = render_markdown(card)
    front = yaml.safe_load(text.split("---")[1])
    assert front["model-index"][0]["results"][0]["metrics"][0]["type"] == "rmse"
    assert "`constraints.memory_mb`: not limited" in text


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[1]",
        '{"schema": "appdriven.card/1"}',
        '{"schema": "appdriven.card/1", "application": {}, "evaluation": {}}',
        "\x00",
    ],
)
def test_what_is_no_card_is_refused(tmp_path, content):
    (tmp_path / "card.json").write_text(content)
    with pytest.raises(DataError, match=r"card|evaluation|application|must"):
        read_card(tmp_path)


@pytest.mark.parametrize("profile", list(PROFILES))
def test_items_are_verified_stated_or_missing(card, profile):
    items = review(card, profile)
    assert {item.status for item in items} <= {"verified", "stated", "missing"}
    assert len(items) == len(PROFILES[profile].items) >= 10
    assert PROFILES[profile].link.startswith("https://")


def test_an_author_cannot_verify_what_the_software_saw_broken(card):
    def status(one, word):
        return next(item for item in review(one, "reforms") if word in item.text)

    assert status(card, "no test sample").status == "verified"
    assert status(card, "no scaling").status == "missing"
    scaled = replace(card, audit={**card.audit, "checked_statistics": ["last"]})
    assert status(scaled, "no scaling").status == "verified"
    leaking = replace(
        card,
        audit={**card.audit, "duplicate_count": 3, "problems": ["3 test samples also stand in training"]},
    )
    assert status(leaking, "no test sample").status == "missing"
    assert status(leaking, "as far apart").status == "stated"
    red = replace(card, coherence=(Check("MAE", passed=False, finding="x"),))
    assert status(red, "contradict").status != "verified"
    silent = replace(
        card, application={**card.application, "scope": {"out_of_scope": "unknown: never asked"}}
    )
    assert status(silent, "what the model is not for").status == "missing"
    with pytest.raises(ConfigError, match="profile must be one of"):
        review(card, "nature")


def test_a_worse_model_does_not_pass_the_gate(application, table, card):
    same = compare_cards(card, card)
    assert same.problems == ()
    worse = evaluate(application, table, Predictions(0.5 * table.numbers("last")))
    found = compare_cards(card, worse)
    assert any(problem.startswith("rmse of level is worse") for problem in found.problems)
    assert compare_cards(worse, card).problems == ()
    few = replace(card, evaluation={**card.evaluation, "scores": card.evaluation["scores"][:1]})
    assert any("no longer scored" in problem for problem in compare_cards(card, few).problems)
    red = replace(card, coherence=(Check("MAE", passed=False, finding="x"),))
    assert "MAE: x" in compare_cards(card, red).problems
    other = {**card.evaluation, "data": {**card.evaluation["data"], "fingerprint": f"sha256:{'1' * 64}"}}
    with pytest.raises(DataError, match="of the same data"):
        compare_cards(card, replace(card, evaluation=other))


def test_assertions_are_decided_by_the_card(card):
    known = list_quantities(card)
    assert known["rmse_skill_vs_persistence.low"] < known["rmse_skill_vs_persistence"]
    assert assert_claim(card, "rmse_skill_vs_persistence > 0").holds
    assert not assert_claim(card, "rmse <= 0.1").holds
    assert assert_claim(card, "violations == 0").holds
    assert assert_claim(card, "rmse[half=odd] < 2").holds
    with pytest.raises(ConfigError, match="rmse_skill_vs_persistence"):
        assert_claim(card, "rmse_skill_vs_persistance > 0")
    for text in ("rmse", "rmse > much", "> 3", "rmse >> 3"):
        with pytest.raises(ConfigError, match="an assertion must"):
            assert_claim(card, text)


def test_the_verbs_hand_over_to_each_other(run, files):
    out = files / "card"
    words = [
        "evaluate",
        files / "application.toml",
        "--data",
        files / "data.csv",
        "--predictions",
        files / "predictions.csv",
        "--out",
        out,
    ]
    assert run(*words)[0] == 0
    assert {path.name for path in out.iterdir()} == {"card.json", "card.html", "card.md", "evaluation.json"}
    assert run("card", out, "--out", files / "again")[0] == 0
    assert (files / "again" / "card.html").read_text() == (out / "card.html").read_text()
    assert run("compare", out, files / "again")[0] == 0
    assert run("assert", out, "rmse_skill_vs_persistence > 0")[0] == 0
    code, _, err = run("assert", out, "rmse_skill_vs_persistence > 0.9")
    assert code == 1
    assert "the assertion does not hold: rmse_skill_vs_persistence = 0." in err
    for profile in PROFILES:
        code, text, _ = run("review", out, "--profile", profile, "--json")
        assert code == 0
        assert json.loads(text)["verified"] >= 3


def test_split_writes_folds_and_an_audit_and_exits_with_1_on_a_leak(run, files, frame):
    words = ["split", files / "application.toml", "--data", files / "data.csv", "--out", files / "split"]
    assert run(*words)[0] == 0
    audit = json.loads((files / "split" / "audit.json").read_text())
    assert audit["gap_days"]["q00"] >= 5
    assert (files / "split" / "folds.csv").read_text().count("test") == 600
    both = {"last": {"mean": frame["last"].mean(), "std": frame["last"].std(ddof=0)}}
    (files / "scaler.json").write_text(json.dumps(both))
    code, _, err = run(*words, "--statistics", files / "scaler.json")
    assert code == 1
    assert "were fitted on the test as well" in err


def test_init_writes_what_check_then_explains(run, tmp_path):
    path = tmp_path / "application.toml"
    code, out, _ = run(
        "init", "--out", path, "--answers", '["name=Floods", "task.decision=Close a road"]', "--json"
    )
    assert (code, json.loads(out)["open_questions"] > 30) == (0, True)
    assert 'decision = "Close a road"' in path.read_text()
    code, _, err = run("check", path)
    assert code == 2
    assert "task.summary must not be blank" in err
    assert run("init", "--out", path)[0] == 2


def test_check_knows_the_data_again(run, files, declaration, declare):
    code, out, _ = run("check", files / "application.toml", "--data", files / "data.csv", "--json")
    assert code == 0
    found = json.loads(out)["fingerprint"]
    declaration["data"]["fingerprint"] = found
    declare(declaration)
    assert run("check", files / "application.toml", "--data", files / "data.csv")[0] == 0
    declaration["data"]["fingerprint"] = f"sha256:{'0' * 64}"
    declare(declaration)
    code, _, err = run("check", files / "application.toml", "--data", files / "data.csv")
    assert code == 1
    assert f"got {found}" in err
