"""The networks learn what is there, each by itself, and say so in the right place."""

from dataclasses import replace

import numpy as np
import pytest

from isopleth.errors import DataError
from isopleth.sealevel.baselines import EnsembleMean, Persistence
from isopleth.sealevel.rows import Rows
from isopleth.train.fully_connected import FullyConnectedConfig, TogetherConfig
from sealevel_projection.config import InputConfig, LearnConfig, ProjectionConfig, SegmentConfig
from sealevel_projection.experiments import hindcast_rows
from sealevel_projection.segments import divide_ocean
from sealevel_projection.train import NetworkLearner, Restricted, restrict

QUICK = LearnConfig(
    shape=FullyConnectedConfig(hidden=(16,), dropout=0.0),
    fit=TogetherConfig(epochs=30, batch_size=256, learning_rate=5e-3, l2=0.0),
    ensemble=2,
)


@pytest.fixture
def table(archive, period):
    config = ProjectionConfig(period=period, segments=SegmentConfig(method="basins", blend_km=0.0))
    segments = divide_ocean(archive, config.segments, period)
    return hindcast_rows(archive, config, segments), segments.membership


@pytest.mark.parametrize("around", ["zero", "ensemble_mean"])
def test_networks_learn_a_rule_that_the_mean_does_not_know(table, around):
    rows, membership = table
    learner = NetworkLearner(QUICK, InputConfig(around=around), membership, rows.features)
    found = learner.fit(rows)
    error = np.sqrt(np.average((found.predict(rows) - rows.target) ** 2, weights=rows.weight))
    mean = np.sqrt(np.average((EnsembleMean().predict(rows) - rows.target) ** 2, weights=rows.weight))
    assert error < 0.3 * mean
    members = found.predict_members(rows)
    assert members.shape == (2, len(rows))
    forecast = found.forecast(rows)
    np.testing.assert_allclose(forecast.mean, members.mean(axis=0))
    np.testing.assert_allclose(forecast.spread, members.std(axis=0, ddof=1))


def test_tables_trained_together_are_those_trained_alone(table):
    rows, membership = table
    few = replace(QUICK, fit=TogetherConfig(epochs=2, batch_size=256), ensemble=1)
    learner = NetworkLearner(few, InputConfig(), membership, rows.features)
    early, narrow = rows.take(rows.years < 2005), restrict(rows, rows.features[:3])
    together = learner.fit_all([rows, narrow, early])
    for one, own in zip(together, (rows, narrow, early), strict=True):
        np.testing.assert_array_equal(one.predict(own), learner.fit(own).predict(own))


def test_a_cell_between_segments_is_a_mixture_of_their_networks(table):
    rows, hard = table
    learner = NetworkLearner(replace(QUICK, ensemble=1), InputConfig(), hard, rows.features)
    found = learner.fit(rows)
    alone = []
    for segment in range(2):
        only = np.zeros_like(hard)
        only[segment] = 1.0
        alone.append(replace(found, membership=only).predict(rows))
    mixed = np.zeros_like(hard)
    mixed[0], mixed[1] = 0.25, 0.75
    centre = rows.inputs.mean(axis=1)
    expected = centre + 0.25 * (alone[0] - centre) + 0.75 * (alone[1] - centre)
    np.testing.assert_allclose(replace(found, membership=mixed).predict(rows), expected, atol=1e-4)


def test_a_segment_with_few_rows_is_served_by_all(table):
    rows, membership = table
    small = np.zeros_like(membership[:2])
    small[0] = 1.0
    small[:, rows.cell[0]] = 0.0, 1.0
    found = NetworkLearner(replace(QUICK, ensemble=1), InputConfig(), small, rows.features).fit(rows)
    own = rows.take(rows.cell == rows.cell[0])
    assert np.abs(found.predict(own) - own.target).mean() < 5.0


def test_single_forcings_are_not_counted_into_a_mean(table):
    rows, _ = table
    some = rows.features[:2]
    found = Restricted(EnsembleMean(), some).fit(rows)
    np.testing.assert_allclose(found.predict(rows), rows.inputs[:, :2].mean(axis=1))
    assert Restricted(Persistence(), some).name == "persistence"
    with pytest.raises(DataError, match="must have one of"):
        Restricted(EnsembleMean(), ("other",)).fit(rows)


def test_rows_without_a_target_are_refused(table):
    rows, membership = table
    unknown = replace(rows, target=np.full(len(rows), np.nan))
    with pytest.raises(DataError, match="target"):
        NetworkLearner(QUICK, InputConfig(), membership, rows.features).fit(unknown)


def test_networks_go_on_along_straight_lines(table):
    """What a ReLU network does far outside its training: the second difference along a ray vanishes."""
    rows, membership = table
    found = NetworkLearner(replace(QUICK, ensemble=1), InputConfig(around="zero"), membership, ()).fit(rows)

    def at(scale: float) -> Rows:
        return rows.with_inputs(rows.inputs * scale)

    far = [found.predict(at(scale)) for scale in (1000.0, 2000.0, 3000.0)]
    bend = np.abs(far[0] - 2 * far[1] + far[2])
    assert np.median(bend) < 1e-3 * np.median(np.abs(far[1]))
