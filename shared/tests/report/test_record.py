"""The record: exactly the agreed JSON, both ways, and nothing else."""

from __future__ import annotations

import copy
import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isopleth.errors import DataError
from isopleth.report import Claim, Score, load_schema, read_evaluation, validate, write_evaluation
from isopleth.report.record import Evaluation
from isopleth.verify import Interval

# The example of the design document, but for what it abbreviates by an ellipsis, and with a claim's units.
DESIGN = json.loads(
    """
{"schema": "isopleth.evaluation/1", "tool": "archesweather", "version": "0.1.0", "task": "one sentence",
 "data": {"name": "x", "kind": "real", "source": "x", "train": "x", "test": "x", "fingerprint": "sha256:%s"},
 "scores": [{"metric": "rmse", "variable": "geopotential_500", "units": "m2 s-2", "better": "lower",
             "stratum": {"lead_hours": 24}, "model": 61.2, "interval": [59.8, 62.5],
             "baselines": {"persistence": 93.0, "climatology": 120.4}, "n": 365}],
 "claims": [{"claim": "column attention beats 3D windows at equal compute", "holds": true,
             "difference": -2.1, "interval": [-2.9, -1.2], "units": "m2 s-2",
             "evidence": "paired block bootstrap"}],
 "cost": {"parameters": 0, "train_seconds": 0, "predict_seconds": 0, "peak_memory_mb": 0, "device": "cpu"},
 "provenance": {"command": "x", "config_hash": "x", "seed": 0, "versions": {}}}
"""
    % ("0" * 64)
)


def test_design_example_is_valid_and_survives_both_ways():
    assert Evaluation.from_dict(DESIGN).to_dict() == DESIGN


def test_keys_stand_in_the_order_of_the_design():
    assert list(Evaluation.from_dict(DESIGN).to_dict()) == list(DESIGN)


def test_schema_is_itself_valid():
    import jsonschema

    jsonschema.Draft202012Validator.check_schema(load_schema())


def test_file_round_trip(evaluation, tmp_path):
    path = write_evaluation(evaluation, tmp_path)
    assert path == tmp_path / "evaluation.json"
    assert read_evaluation(path) == read_evaluation(tmp_path) == evaluation


def test_numpy_numbers_become_json(evaluation, tmp_path):
    score = dataclasses.replace(
        evaluation.scores[0],
        model=np.float32(0.5),
        n=np.int64(3),
        interval=np.array([0.25, 0.75]),
        stratum={"lead_hours": np.int32(6)},
    )
    write_evaluation(dataclasses.replace(evaluation, scores=[score]), tmp_path)
    back = read_evaluation(tmp_path).scores[0]
    assert (back.model, back.n, back.interval, dict(back.stratum)) == (
        0.5,
        3,
        (0.25, 0.75),
        {"lead_hours": 6},
    )


def broken(path: str, value: object) -> dict:
    """Return the design's example with one place changed; deleted where the value is `...`."""
    record = copy.deepcopy(DESIGN)
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    place = record
    for key in parents:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return record


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("schema", "isopleth.evaluation/2", r"\$\.schema must be 'isopleth.evaluation/1'"),
        ("task", ..., r"\$ must have 'task'"),
        ("task", "  ", r"\$\.task must not be empty"),
        ("extra", 1, r"\$ must have no key but schema, tool"),
        ("data.kind", "synthetic", r"\$\.data\.kind must be one of 'real', 'simulated', got 'synthetic'"),
        ("data.fingerprint", "abc", r"\$\.data\.fingerprint must match"),
        ("scores.0.model", math.nan, r"\$\.scores\[0\]\.model must be a finite number, got nan"),
        ("scores.0.model", -math.inf, r"\$\.scores\[0\]\.model must be a finite number"),
        ("scores.0.model", 10**400, r"\$\.scores\[0\]\.model must be a finite number"),
        pytest.param(
            "scores.0.model",
            10**5000,
            r"\$\.scores\[0\]\.model must be a finite number, got an integer of",
            id="huge",
        ),
        ("scores.0.model", "61", r"\$\.scores\[0\]\.model must be of type number, got '61'"),
        ("scores.0.model", True, r"\$\.scores\[0\]\.model must be of type number, got True"),
        ("scores.0.model", None, r"\$\.scores\[0\]\.model must be of type number, got None"),
        (
            "scores.0.baselines.persistence",
            math.nan,
            r"\$\.scores\[0\]\.baselines\.persistence must be a finite",
        ),
        ("scores.0.interval", [1.0], r"\$\.scores\[0\]\.interval must be null or \[low, high\]"),
        ("scores.0.interval", [2.0, 1.0], r"\$\.scores\[0\]\.interval must run from low to high"),
        ("scores.0.n", 0, r"\$\.scores\[0\]\.n must be at least 1"),
        ("scores.0.n", 1.5, r"\$\.scores\[0\]\.n must be of type integer"),
        ("scores.0.better", "bigger", r"\$\.scores\[0\]\.better must be one of"),
        ("scores.0.stratum.lead_hours", None, r"\$\.scores\[0\]\.stratum\.lead_hours must be of type"),
        ("claims.0.holds", "yes", r"\$\.claims\[0\]\.holds must be of type boolean or null"),
        ("claims.0.claim", "\ud800", r"\$\.claims\[0\]\.claim must be text that UTF-8 can hold"),
        ("cost.train_seconds", -1, r"\$\.cost\.train_seconds must be at least 0"),
        ("provenance.seed", None, r"\$\.provenance\.seed must be of type integer"),
    ],
)
def test_error_names_the_json_path(path, value, says):
    with pytest.raises(DataError, match=says):
        validate(broken(path, value))


def test_undecided_claim_and_absent_intervals_are_valid():
    validate(broken("claims.0.holds", None))
    validate(broken("claims.0.difference", None))
    validate(broken("scores.0.interval", None))


@pytest.mark.parametrize("record", [None, [], "text", 3, {}, {"schema": None}])
def test_what_is_no_record_is_refused(record):
    with pytest.raises(DataError, match=r"\$"):
        validate(record)


def test_nan_is_refused_and_the_old_file_stays(evaluation, tmp_path):
    path = write_evaluation(evaluation, tmp_path)
    before = path.read_bytes()
    bad = dataclasses.replace(
        evaluation, scores=[dataclasses.replace(evaluation.scores[0], model=float("nan"))]
    )
    with pytest.raises(DataError, match=r"scores\[0\]\.model"):
        write_evaluation(bad, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["evaluation.json"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "must be JSON"),
        (json.dumps(DESIGN).encode()[:-40], "must be JSON"),
        (json.dumps(DESIGN).encode("utf-16"), "must be JSON"),
        (b"[" * 100_000, "must be JSON"),
        (b'{"tool": "a", "tool": "b"}', "'tool' twice"),
        (json.dumps(broken("scores.0.model", math.nan)).encode(), r"scores\[0\]\.model must be a finite"),
        (json.dumps(DESIGN).replace("61.2", "1e999").encode(), r"scores\[0\]\.model must be a finite"),
    ],
)
def test_broken_file_is_one_error_that_names_it(content, says, tmp_path):
    path = tmp_path / "evaluation.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        read_evaluation(path)
    assert caught.value.where == str(path)


def test_missing_file_says_who_writes_it(tmp_path):
    with pytest.raises(DataError, match=r"evaluation.json.*demo command writes it"):
        read_evaluation(tmp_path / "evaluation.json")


def score_of(model, better="lower", interval=None, **baselines) -> Score:
    return Score(
        metric="m",
        variable="v",
        units="1",
        better=better,
        model=model,
        interval=interval,
        baselines=baselines,
        n=1,
    )


def test_skill_is_measured_against_the_best_baseline():
    assert score_of(60.0, a=80.0, b=120.0).best_baseline == "a"
    assert score_of(60.0, a=80.0, b=120.0).skill == pytest.approx(0.25)
    assert score_of(0.9, "higher", a=0.6, b=0.5).best_baseline == "a"
    assert score_of(0.9, "higher", a=0.6, b=0.5).skill == pytest.approx(0.5)


@pytest.mark.parametrize(
    "score", [score_of(1.0), score_of(1.0, a=0.0), score_of(1.0, a=-2.0), score_of(-1.0, a=2.0)]
)
def test_skill_is_none_where_the_ratio_means_nothing(score):
    assert score.skill is None


@pytest.mark.parametrize(
    ("better", "interval", "expected"),
    [
        ("lower", (1.0, 2.0), True),
        ("lower", (4.0, 5.0), False),
        ("higher", (1.0, 2.0), False),
        ("higher", (4.0, 5.0), True),
        ("lower", (2.0, 3.0), None),
        ("lower", (2.0, 4.0), None),
        ("lower", None, None),
    ],
)
def test_beating_is_decided_by_the_interval(better, interval, expected):
    assert score_of(3.0, better, interval, a=3.0).beats_baselines is expected


TEXT = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)
NUMBER = st.floats(-1e200, 1e200)
INTERVAL = st.none() | st.tuples(NUMBER, NUMBER).map(lambda pair: tuple(sorted(pair)))
SCORES = st.builds(
    Score,
    metric=TEXT,
    variable=TEXT,
    units=TEXT,
    better=st.sampled_from(["lower", "higher"]),
    model=NUMBER,
    n=st.integers(1, 10**12),
    interval=INTERVAL,
    baselines=st.dictionaries(TEXT, NUMBER, max_size=3),
    stratum=st.dictionaries(TEXT, TEXT | NUMBER | st.booleans(), max_size=3),
)
CLAIMS = st.builds(
    Claim,
    claim=TEXT,
    holds=st.sampled_from([True, False, None]),
    evidence=TEXT,
    difference=st.none() | NUMBER,
    interval=INTERVAL,
    units=TEXT,
)


def test_a_claim_written_before_units_is_of_a_pure_number():
    record = copy.deepcopy(DESIGN)
    del record["claims"][0]["units"]
    assert Evaluation.from_dict(record).claims[0].units == "1"


@settings(max_examples=50, deadline=None)
@given(scores=st.lists(SCORES, max_size=3), claims=st.lists(CLAIMS, max_size=3))
def test_every_record_survives_json(scores, claims):
    record = dataclasses.replace(Evaluation.from_dict(DESIGN), scores=scores, claims=claims)
    assert Evaluation.from_dict(json.loads(json.dumps(record.to_dict()))) == record


@pytest.mark.parametrize(
    ("low", "high", "better", "holds"),
    [
        (-2.0, -1.0, "lower", True),
        (-2.0, -1.0, "higher", False),
        (1.0, 2.0, "lower", False),
        (1.0, 2.0, "higher", True),
        (-1.0, 2.0, "lower", None),
        (0.0, 2.0, "higher", None),
    ],
)
def test_a_claim_is_judged_by_its_interval(low, high, better, holds):
    found = Interval(low=low, high=high, value=(low + high) / 2, level=0.95, block=1)
    claim = Claim.judge("It is better", found, better=better, evidence="test", units="km")
    assert claim.units == "km"
    assert claim.holds is holds
    assert claim.interval == (low, high)
    assert claim.difference == (low + high) / 2


def test_a_claim_without_a_finite_interval_is_undecided():
    found = Interval(low=float("nan"), high=float("nan"), value=float("nan"), level=0.95, block=1)
    claim = Claim.judge("It is better", found, better="lower", evidence="test")
    assert (claim.holds, claim.difference, claim.interval) == (None, None, None)
