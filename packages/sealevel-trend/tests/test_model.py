"""The networks predict their own segment, their spread is that of their draws, and both survive a folder."""

import numpy as np
import pytest
import torch

from isopleth.errors import DataError
from isopleth.grid import Grid
from isopleth.train import FullyConnectedConfig, Networks, NetworksConfig, TogetherConfig
from sealevel_trend.config import EnsembleConfig, LearningConfig, PartitionConfig
from sealevel_trend.data import compute_trends
from sealevel_trend.model import EVERYWHERE, NetworkPredictor, TrendModel
from sealevel_trend.partition import build_partition
from sealevel_trend.train import Fitted, NetworkLearner, hold_out, split_segments, train_model

PAST = (1993, 2022)
QUICK = LearningConfig(
    fit=TogetherConfig(epochs=4, batch_size=64),
    network=FullyConnectedConfig(hidden=(16,)),
    ensemble=EnsembleConfig(seeds=2, passes=4),
    partition=PartitionConfig(kind="basins"),
    calibration="blocks",
)


@pytest.fixture(scope="module")
def trends(prepared):
    return compute_trends(prepared, PAST, "remove")


@pytest.fixture(scope="module")
def partition(prepared):
    return build_partition(prepared, PAST, QUICK.partition)


@pytest.fixture(scope="module")
def trained(trends, partition):
    torch.set_num_threads(1)
    return train_model(trends, partition, QUICK)


def constant_networks(values, segments, **options):
    networks = Networks(
        NetworksConfig(names=tuple(map(str, values)), in_features=4, shape=FullyConnectedConfig(hidden=(8,)))
    )
    networks.draw_weights(range(len(values)))
    for weight in networks.weights:
        weight.data.zero_()
    networks.biases[-1].data[:, 0, 0] = torch.tensor(values)
    return NetworkPredictor(networks, segments, passes=3, **options)


def test_each_row_gets_the_mean_of_its_own_segments_networks(trends, partition):
    rows = trends.rows(partition.labels)
    count = len(partition.names)
    values = [float(10 * label + seed) for label in range(count) for seed in (0, 1)]
    predictor = constant_networks(values, tuple(np.repeat(range(count), 2).tolist()))
    np.testing.assert_allclose(predictor.predict(rows), 10 * rows.segment + 0.5, atol=1e-5)
    # Networks that are constant but for their seeds: the sample deviation of a and a + 1, three passes each.
    np.testing.assert_allclose(predictor.measure_spread(rows), np.std([0, 1] * 3, ddof=1), rtol=1e-5)


def test_a_segment_without_networks_gets_those_of_everywhere_or_is_refused(trends, partition):
    rows = trends.rows(partition.labels)
    predictor = constant_networks([1.0, 2.0], (0, EVERYWHERE))
    np.testing.assert_allclose(predictor.predict(rows), np.where(rows.segment == 0, 1, 2))
    with pytest.raises(DataError, match="every segment must have a network"):
        constant_networks([1.0], (0,)).predict(rows)


def test_blending_leaves_no_step_at_a_seam(trends, partition):
    rows = trends.rows(partition.labels)
    count = len(partition.names)
    weights = partition.membership(PartitionConfig(kind="basins", seams="blend", blend_km=1500.0))
    blended = constant_networks([float(k) for k in range(count)], tuple(range(count)), membership=weights)
    expected = (weights * np.arange(count)[:, None]).sum(axis=0)[rows.cell]
    np.testing.assert_allclose(blended.predict(rows), expected, atol=1e-5)
    assert np.abs(blended.predict(rows) - rows.segment).max() > 0.3


def test_the_spread_is_the_deviation_of_all_draws(trained, trends):
    rows = trends.rows(trained.partition.labels)
    predictor = trained.model.predictor
    first = predictor.segments[0]
    own = rows.take(rows.segment == first)
    numbers = [k for k, label in enumerate(predictor.segments) if label == first]
    draws = np.stack(list(predictor.networks.subset(numbers).dropout_draws(own.inputs, passes=4, seed=0)))
    expected = draws[..., 0].reshape(-1, len(own)).std(axis=0, ddof=1)
    np.testing.assert_allclose(predictor.measure_spread(own), expected, rtol=1e-4)


def test_a_folder_gives_back_the_same_model(trained, trends, tmp_path):
    trained.model.save_pretrained(tmp_path)
    loaded = TrendModel.from_pretrained(tmp_path)
    rows = trends.rows(loaded.partition)
    before, after = (one.predictor.forecast(rows) for one in (trained.model, loaded))
    np.testing.assert_array_equal(before.mean, after.mean)
    np.testing.assert_array_equal(before.spread, after.spread)
    assert loaded.config == trained.model.config
    assert loaded.calibration == trained.calibration
    np.testing.assert_array_equal(loaded.partition, trained.partition.labels)
    with pytest.raises(DataError, match="on the model's"):
        loaded.check_grid(Grid.regular(10, 20))


def test_networks_of_a_table_do_not_depend_on_its_companions(trends, partition):
    rows = trends.rows(partition.labels)
    half = rows.take(np.arange(len(rows)) % 2 == 0)
    learner = NetworkLearner(learning=QUICK)
    alone = learner.fit(rows).predict(rows)
    _, together = learner.fit_all([half, rows])
    np.testing.assert_allclose(together.predict(rows), alone, atol=2e-5)


def test_tables_of_other_widths_are_trained_too(trends, partition):
    rows = trends.rows(partition.labels)
    narrow = trends.select(("CESM1", "MPI-GE")).rows(partition.labels)
    wide, thin = NetworkLearner(learning=QUICK).fit_all([rows, narrow])
    assert np.isfinite(wide.predict(rows)).all()
    assert np.isfinite(thin.predict(narrow)).all()


def test_networks_learn_what_a_line_cannot(trends, partition):
    rows = trends.rows(partition.labels)
    from dataclasses import replace

    bent = replace(rows, target=np.abs(rows.inputs[:, 0]), segment=np.zeros(len(rows), int))
    learning = LearningConfig(
        fit=TogetherConfig(epochs=60, batch_size=32), network=FullyConnectedConfig(hidden=(32,), dropout=0.0)
    )
    predicted = NetworkLearner(learning=learning).fit(bent).predict(bent)
    line = np.polyval(np.polyfit(bent.inputs[:, 0], bent.target, 1), bent.inputs[:, 0])
    assert np.std(predicted - bent.target) < 0.4 * np.std(line - bent.target)


def test_validation_tiles_are_whole_and_differ_by_seed():
    tiles = np.repeat(np.arange(40), 25)
    held = [hold_out(tiles, 0.2, seed) for seed in (0, 1)]
    for one in held:
        assert one.sum() == 200
        assert all(one[tiles == t].all() or not one[tiles == t].any() for t in range(40))
    assert (held[0] != held[1]).any()
    assert not hold_out(np.zeros(10, int), 0.2, 0).any()
    assert not hold_out(tiles, 0.0, 0).any()


def test_a_small_segment_calls_for_networks_of_everywhere():
    parts = dict(split_segments(np.repeat([0, 1, 2], [500, 30, 200])))
    assert set(parts) == {0, 2, EVERYWHERE}
    assert len(parts[EVERYWHERE]) == 730
    assert EVERYWHERE not in dict(split_segments(np.repeat([0, 1], [500, 200])))


def test_fitted_predictors_are_handed_out_in_order(trained):
    predictor = trained.model.predictor
    assert Fitted([predictor]).fit_all([]) == [predictor]
