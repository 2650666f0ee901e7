"""Segments follow from the models' past alone, and soft weights add up."""

import numpy as np
import pytest

from sealevel_trend.config import PartitionConfig
from sealevel_trend.partition import build_partition, gather_series

PAST = (1993, 2022)


def test_no_partition_and_basins_cover_the_common_sea(prepared):
    sea = prepared["sea_mask"].values
    for kind, least in (("none", 1), ("basins", 6)):
        partition = build_partition(prepared, PAST, PartitionConfig(kind=kind))
        np.testing.assert_array_equal(partition.labels.values >= 0, sea)
        assert len(partition.names) >= least
        assert partition.stability is None


def test_clusters_do_not_know_of_the_altimeter_nor_of_the_future(prepared):
    config = PartitionConfig(clusters=4, neighbours=20)
    labels = build_partition(prepared, PAST, config).labels
    rng = np.random.default_rng(0)
    changed = prepared.copy()
    changed["observed"] = prepared["observed"] + rng.normal(size=prepared["observed"].shape)
    height = prepared["sea_surface_height"].copy()
    height[:, :, 30:] += rng.normal(size=height[:, :, 30:].shape)
    changed["sea_surface_height"] = height
    np.testing.assert_array_equal(build_partition(changed, PAST, config).labels, labels)
    assert set(np.unique(labels)) == {-1, 0, 1, 2, 3}


def test_stability_is_between_chance_and_sameness(prepared):
    partition = build_partition(prepared, PAST, PartitionConfig(clusters=3, neighbours=20), seeds=3)
    assert 0.1 < partition.stability <= 1


def test_series_are_departures_in_space_and_time(prepared):
    series = gather_series(prepared, PAST, 1)
    assert series.sizes["series"] == 4 * 30
    assert abs(series.isel(series=slice(0, 30)).mean("series")).max() < 1e-6
    assert gather_series(prepared, PAST, 2).sizes["series"] == 2 * 4 * 30


def test_membership_blends_only_where_asked(prepared):
    basins = build_partition(prepared, PAST, PartitionConfig(kind="basins"))
    assert basins.membership(PartitionConfig(kind="basins")) is None
    weights = basins.membership(PartitionConfig(kind="basins", seams="blend", blend_km=1500.0))
    sea = prepared["sea_mask"].values.ravel()
    assert weights.sum(axis=0)[sea] == pytest.approx(1)
    mixed = ((weights > 0) & (weights < 1)).any(axis=0)
    assert 0.05 < mixed[sea].mean() < 0.6
