"""An audit finds what was planted: neighbours, shared storms, duplicates."""

import json

import numpy as np
import pytest

from isopleth.errors import ConfigError, DataError
from isopleth.fields import Fold, audit, random_folds

LAT = np.array([0.0, 0.0, 0.0, 0.0])
LON = np.array([0.0, 10.0, 179.5, -179.5])


def fold(train, test, dropped=()):
    return Fold(*(np.array(part, dtype=np.intp) for part in (train, test, dropped)))


def test_distances_are_great_circles_across_the_dateline():
    found = audit([fold([0, 2], [1, 3])], lat=LAT, lon=LON).folds[0]
    degree = np.pi * 6371 / 180
    assert found.min_km == pytest.approx(degree, rel=1e-9)
    assert found.median_km == pytest.approx(5.5 * degree, rel=1e-9)
    assert (found.train, found.test, found.dropped) == (2, 2, 0)


def test_gap_groups_and_duplicates_are_counted():
    times = np.array(["2000-01-01", "2000-01-11", "2000-03-01", "2000-03-05"], dtype="datetime64[ns]")
    found = audit([fold([0, 3], [1, 2])], times=times, groups=["a", "b", "c", "d"], samples=np.eye(4))
    assert found.folds[0].min_gap == 4
    assert found.folds[0].shared_groups == found.folds[0].duplicates == 0
    assert found.folds[0].min_km is None
    assert found.least("min_gap") == 4
    assert found.least("min_km") is None
    assert json.loads(json.dumps(found.to_dict()))["folds"][0]["test"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lat": LAT, "lon": LON, "min_km": 112}, r"112 km apart, got 111\.195 km \(in fold 0\)"),
        ({"times": np.arange(4), "min_gap": 2}, "must be 2 apart, got 1"),
        ({"times": np.arange(4).astype("datetime64[D]"), "min_gap": "2D"}, "2 days apart, got 1 days"),
        ({"groups": ["a", "b", "c", "c"]}, "got 1 on both"),
        ({"samples": [[1, 2], [3, 4], [5, 6], [1, 2]]}, "must not stand in training, got 1"),
    ],
)
def test_a_close_fold_is_refused(options, message):
    with pytest.raises(DataError, match=message):
        audit([fold([0, 2], [1, 3])], **options)


@pytest.mark.parametrize(
    ("bad", "options", "error", "message"),
    [
        (fold([0, 1], [1, 2]), {}, DataError, "disjoint"),
        (fold([0], [], [1]), {}, DataError, "both sides"),
        (fold([0], [9]), {"lat": LAT, "lon": LON}, DataError, r"lie in \[0, 4\)"),
        (fold([0], [-1]), {"lat": LAT, "lon": LON}, DataError, "lie in"),
        (fold([0], [1]), {"min_km": 5}, ConfigError, "lat and lon"),
        (fold([0], [1]), {"lat": LAT}, ConfigError, "together"),
        (fold([0], [1]), {"min_gap": "1D"}, ConfigError, "times"),
        (fold([0], [1]), {"lat": LAT, "lon": LON, "times": np.arange(3)}, DataError, "one length"),
        (fold([0], [1]), {"lat": LAT * np.nan, "lon": LON}, DataError, "finite"),
    ],
)
def test_folds_that_are_none(bad, options, error, message):
    with pytest.raises(error, match=message):
        audit([bad], **options)


def test_no_folds_are_no_proof():
    with pytest.raises(DataError, match="at least one"):
        audit([])


def test_random_folds_on_a_grid_are_neighbours():
    lat, lon = (a.ravel() for a in np.meshgrid(np.arange(-40, 41, 2.0), np.arange(0, 360, 2.0)))
    folds = random_folds(lat.size, acknowledge_leakage=True)
    with pytest.raises(DataError, match="500 km apart"):
        audit(folds, lat=lat, lon=lon, min_km=500)
