"""Whole storms on one side, by season or by storm."""

import numpy as np
import pytest

from cyclone_fusion.config import SampleConfig, SplitConfig
from cyclone_fusion.data import build_samples
from cyclone_fusion.split import split_samples
from isopleth.errors import ConfigError, DataError

SEASONS = SplitConfig(train_until=2005, validate_until=2007)


@pytest.fixture
def samples(tracks):
    return build_samples(tracks, SampleConfig())


@pytest.mark.parametrize("config", [SEASONS, SplitConfig(by="storm")], ids=["season", "storm"])
def test_no_storm_is_on_two_sides(samples, config):
    split = split_samples(samples, config)
    sides = [set(part["track_id"].values) for part in (split.train, split.validate, split.test)]
    assert sides[0] | sides[1] | sides[2] == {f"S{number:03d}" for number in range(30)}
    assert sum(map(len, sides)) == 30


def test_seasons_follow_each_other(samples):
    split = split_samples(samples, SEASONS)
    assert split.train["season"].values.max() == 2005
    assert set(split.validate["season"].values) == {2006, 2007}
    assert split.test["season"].values.min() == 2008


def test_storms_are_divided_60_20_20_and_by_the_seed(samples):
    count = [
        len(set(part["track_id"].values))
        for part in vars(split_samples(samples, SplitConfig(by="storm"))).values()
    ]
    assert count == [18, 6, 6]
    other = split_samples(samples, SplitConfig(by="storm", seed=1))
    assert set(other.test["track_id"].values) != set(
        split_samples(samples, SplitConfig(by="storm")).test["track_id"].values
    )


def test_a_storm_of_two_seasons_is_refused(samples):
    season = samples["season"].values.copy()
    season[np.flatnonzero(samples["track_id"].values == "S003")[0]] = 2009
    with pytest.raises(DataError, match="S003"):
        split_samples(samples.assign_coords(season=("sample", season)), SEASONS)


def test_an_empty_side_is_refused(samples):
    with pytest.raises(DataError, match="the test seasons must hold samples"):
        split_samples(samples, SplitConfig(train_until=2008, validate_until=2009))


def test_shares_beyond_all_are_refused():
    with pytest.raises(ConfigError, match="both"):
        SplitConfig(by="storm", validate=0.6, test=0.5)
