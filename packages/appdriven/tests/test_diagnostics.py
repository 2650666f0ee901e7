"""Decisions, calibration and shift: known answers."""

import numpy as np
import pytest

from appdriven.application import Costs, Event
from appdriven.calibration import measure_calibration
from appdriven.decisions import break_even, weigh_decision
from appdriven.shift import is_applicable, measure_shift
from isopleth.errors import DataError


def test_costs_of_a_contingency_table_by_hand():
    truth = np.array([5.0] * 3 + [0.0] * 7)
    said = np.array([5.0, 5.0, 0.0] + [5.0] * 1 + [0.0] * 6)
    costs = Costs(hit=1.0, miss=10.0, false_alarm=2.0, correct_negative=0.0)
    found = weigh_decision(truth, {"model": said}, Event(threshold=3.0), costs)
    assert found.expected_cost["model"] == pytest.approx((2 * 1 + 1 * 10 + 1 * 2) / 10)
    assert found.expected_cost["always"] == pytest.approx((3 * 1 + 7 * 2) / 10)
    assert found.expected_cost["never"] == pytest.approx(3.0)
    assert found.expected_cost["perfect"] == pytest.approx(0.3)
    assert found.useful_ratios["model"] == pytest.approx((1 / 7, 2 / 3))
    half = found.thresholds.index(0.5)
    assert found.net_benefit["model"][half] == pytest.approx(0.2 - 0.1)
    assert found.net_benefit["always"][half] == pytest.approx(0.3 - 0.7)


def test_probabilities_act_from_the_break_even_on():
    costs = Costs(hit=1.0, miss=10.0, false_alarm=1.0)
    assert break_even(costs) == pytest.approx(0.1)
    truth = np.array([1.0, 0.0])
    event = Event(threshold=0.5)
    acts = weigh_decision(truth, {"model": np.zeros(2)}, event, costs, probability=np.array([0.11, 0.09]))
    assert acts.expected_cost["model"] == pytest.approx(0.5)


def test_acting_at_the_break_even_costs_least_for_calibrated_probabilities():
    rng = np.random.default_rng(0)
    chance = rng.uniform(size=200_000)
    came = (rng.uniform(size=chance.size) < chance).astype(float)
    costs = Costs(hit=1.0, miss=4.0, false_alarm=2.0, correct_negative=0.5)
    limit = break_even(costs)
    prices = {
        at: np.mean(np.where(chance >= at, np.where(came == 1, 1.0, 2.0), np.where(came == 1, 4.0, 0.5)))
        for at in (limit - 0.1, limit, limit + 0.1)
    }
    assert min(prices, key=prices.get) == limit


def test_events_below_a_threshold():
    event = Event(threshold=0.0, direction="below")
    found = weigh_decision(
        np.array([-1.0, 1.0]),
        {"model": np.array([-1.0, 1.0])},
        event,
        Costs(hit=0.0, miss=1.0, false_alarm=1.0),
    )
    assert found.expected_cost["model"] == 0.0


def test_calibration_of_a_line_is_its_slope():
    said = np.linspace(0, 10, 500)
    found = measure_calibration(2 * said - 1, said, np.ones(500), interval=(said - 1, said + 1), nominal=0.9)
    assert (found.slope, found.intercept) == (pytest.approx(2), pytest.approx(-1))
    assert found.coverage == pytest.approx(np.mean(abs(said - 1) <= 1))
    assert found.by_prediction["truth"][0] == pytest.approx(2 * found.by_prediction["prediction"][0] - 1)
    assert sum(found.by_prediction["share"]) == pytest.approx(1)


def test_a_constant_prediction_has_no_slope():
    found = measure_calibration(np.arange(5.0), np.ones(5), np.ones(5))
    assert (found.slope, found.intercept) == (0.0, 2.0)


def test_a_shifted_feature_is_the_first_and_its_size_is_known():
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(3000, 2)), rng.normal(size=(3000, 2)) + np.array([0.0, 1.5])
    found = measure_shift(train, test, ("still", "moved"))
    assert found.features[0].name == "moved"
    assert found.features[0].wasserstein == pytest.approx(1.5, abs=0.12)
    assert found.features[0].mean_difference == pytest.approx(1.5, abs=0.12)
    assert found.separability == pytest.approx(0.856, abs=0.04)  # Phi(1.5 / sqrt 2)
    same = measure_shift(train, rng.normal(size=(3000, 2)), ("a", "b"))
    assert same.separability == pytest.approx(0.5, abs=0.05)
    assert same.applicable > 0.9


def test_far_samples_are_outside_the_area_of_applicability():
    rng = np.random.default_rng(1)
    train = rng.normal(size=(2000, 3))
    inside = is_applicable(train, np.concatenate([train[:50] + 0.01, np.full((50, 3), 12.0)]))
    assert inside[:50].all()
    assert not inside[50:].any()
    moved = np.concatenate([rng.normal(size=(200, 3)), rng.normal(size=(200, 3)) + 9.0])
    error = np.repeat([1.0, 7.0], 200)
    found = measure_shift(train, moved, ("a", "b", "c"), squared_error=error)
    assert found.loss_outside > found.loss_inside
    with pytest.raises(DataError, match="features of one kind"):
        measure_shift(train, train[:, :2], ("a", "b"))
