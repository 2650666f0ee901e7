"""Windows hold the states they say, at any step and lead, in any calendar; recent samples come when told."""

from dataclasses import replace

import cftime
import numpy as np
import pytest
import xarray as xr

from archesweather.clock import month_and_hour, step_hours, steps_in_lead
from archesweather.config import FitConfig, SplitConfig
from archesweather.data import RecentSampler, clock_table, make_loaders, make_windows
from archesweather.prepared import open_prepared
from isopleth.data import pack
from isopleth.data.times import TimeAxis
from isopleth.errors import ConfigError, DataError

SPLIT = SplitConfig(
    train=("2018-12-01", "2018-12-20"),
    validate=("2018-12-21", "2018-12-31"),
    test=("2019-01-01", "2019-01-09"),
)


@pytest.mark.parametrize(
    ("step_hours", "lead_hours", "leads"), [(6, 24, 1), (6, 6, 3), (24, 24, 2), (12, 36, 2)]
)
def test_a_window_is_the_states_at_its_leads(
    tmp_path, make_fields, small_fields, prepare_small, train_config, step_hours, lead_hours, leads
):
    make_fields(small_fields, n_time=40 * 24 // step_hours, step_hours=step_hours).to_netcdf(
        tmp_path / "f.nc"
    )
    prepared = prepare_small(source=str(tmp_path / "f.nc"), lead_hours=lead_hours, train=SPLIT.train)
    config = train_config(
        prepared.path, tmp_path, lead_hours=lead_hours, split=SPLIT, rollout_steps=leads, batch_size=3
    )
    windows = make_windows(prepared, config)
    training, _ = make_loaders(windows, config)
    lead = np.timedelta64(lead_hours, "h")
    clock = clock_table(prepared.store, lead_hours, leads)
    for batch in training:
        assert batch["inputs"].shape == (3, 2, 8, 8, 16)
        assert batch["targets"].shape == (3, leads, 8, 8, 16)
        for sample in range(3):
            now = prepared.store.times[batch["index"][sample]]
            wanted = [now - lead, now, *(now + (1 + number) * lead for number in range(leads))]
            assert all(np.datetime64("2018-12-01") <= time < np.datetime64("2018-12-21") for time in wanted)
            rows = np.searchsorted(prepared.store.times, wanted)
            states = prepared.store.read(rows)
            np.testing.assert_array_equal(batch["inputs"][sample], states[:2])
            np.testing.assert_array_equal(batch["targets"][sample], states[2:])
            for number, time in enumerate(wanted[1:-1]):
                month, hour = clock[batch["index"][sample], number]
                assert (month, hour) == (time.item().month, time.item().hour)


def test_a_gap_costs_the_windows_over_it_and_shifts_no_other(
    tmp_path, make_fields, small_fields, prepare_small, train_config
):
    make_fields(small_fields).drop_isel(time=[8]).to_netcdf(tmp_path / "gap.nc")
    prepared = prepare_small(source=str(tmp_path / "gap.nc"), train=SPLIT.train)
    windows = make_windows(prepared, train_config(prepared.path, tmp_path, split=SPLIT))["train"]
    times = prepared.store.times[windows.rows]
    assert (np.diff(times, axis=1) == np.timedelta64(24, "h")).all()
    assert len(windows) == 18 - 3


def test_periods_share_no_state(prepare_small, train_config, tmp_path):
    prepared = prepare_small(train=SPLIT.train)
    windows = make_windows(prepared, train_config(prepared.path, tmp_path, split=SPLIT, rollout_steps=2))
    assert not set(windows["train"].touched) & set(windows["validate"].touched)
    with pytest.raises(ConfigError, match=r"split\.train and split\.validate must not overlap"):
        replace(SPLIT, validate=("2018-12-20", "2018-12-31"))


def test_statistics_that_saw_the_validation_period_are_refused(prepare_small, train_config, tmp_path):
    prepared = prepare_small(train=("2018-12-01", "2018-12-31"))
    with pytest.raises(ConfigError, match="statistics must be fitted to the training period alone"):
        make_windows(prepared, train_config(prepared.path, tmp_path, split=SPLIT))


def test_years_that_the_store_does_not_have(prepare_small, train_config, tmp_path):
    prepared = prepare_small(train=SPLIT.train)
    split = replace(SPLIT, validate=("2019-01-09", "2019-01-20"), test=("2020", "2020"))
    with pytest.raises(DataError, match=r"at least one window.*the store reaches from 2018-12-01"):
        make_windows(prepared, train_config(prepared.path, tmp_path, split=split))


def test_some_channels_only(prepare_small, train_config, tmp_path, small_fields):
    prepared = prepare_small(train=SPLIT.train)
    part = open_prepared(prepared.path, replace(small_fields, surface=(), levels=(500,)))
    batch = make_windows(part, train_config(prepared.path, tmp_path, split=SPLIT))["train"][0]
    rows = [prepared.store.channel_index(name) for name in part.fields.channels]
    np.testing.assert_array_equal(batch["inputs"], prepared.store.read([0, 1])[:, rows])


def test_missing_cells_come_with_the_batch(tmp_path, make_fields, small_fields, prepare_small, train_config):
    fields = make_fields(small_fields)
    fields["2m_temperature"][2, 1, 1] = np.nan
    fields.to_netcdf(tmp_path / "holes.nc")
    prepared = prepare_small(source=str(tmp_path / "holes.nc"), missing="mask", train=SPLIT.train)
    batch = make_windows(prepared, train_config(prepared.path, tmp_path, split=SPLIT))["train"][[0, 1]]
    assert not batch["targets_valid"][0, 0, 0, 1, 1]
    assert batch["targets_valid"].sum() == batch["targets_valid"].numel() - 1


CALENDARS = ["noleap", "360_day", "standard", "proleptic_gregorian", "all_leap", "julian"]


@pytest.mark.parametrize("calendar", CALENDARS)
def test_month_and_hour_of_a_year_in_any_calendar(calendar):
    times = xr.date_range("1899-12-30", periods=1500, freq="6h", calendar=calendar, use_cftime=True)
    axis = TimeAxis.of(times.values)
    month, hour = month_and_hour(axis.seconds.reshape(30, 50), calendar)
    assert month.dtype == hour.dtype == np.int64
    np.testing.assert_array_equal(month.ravel(), [time.month for time in times.values])
    np.testing.assert_array_equal(hour.ravel(), [time.hour for time in times.values])


@pytest.mark.parametrize("year", [1, 1969, 2038, 2262, 9999])
def test_month_and_hour_beyond_32_bits_and_nanoseconds(year):
    date = cftime.datetime(year, 11, 30, 18, calendar="proleptic_gregorian")
    seconds = TimeAxis.of([date]).seconds
    month, hour = month_and_hour(seconds, "proleptic_gregorian")
    assert (month.item(), hour.item()) == (11, 18)


def test_clock_of_a_rollout_crosses_months_in_the_stores_calendar(tmp_path, make_fields, small_fields):
    times = xr.date_range("2018-02-27", periods=3, freq="D", calendar="360_day", use_cftime=True)
    fields = make_fields(small_fields, times=times).drop_vars("land_sea_mask")
    store = pack(fields, tmp_path / "store", train_period=(None, None))
    table = clock_table(store, 24, 3)
    np.testing.assert_array_equal(table[..., 0], [[2, 2, 2], [2, 2, 2], [2, 2, 3]])
    assert table.shape == (3, 3, 2)


def axis_of(hours):
    return TimeAxis.of(np.datetime64("2000-01-01", "s") + np.asarray(hours) * np.timedelta64(1, "h"))


def test_steps_and_leads():
    axis = axis_of([0, 6, 12, 24, 30])
    assert step_hours(axis) == 6
    assert steps_in_lead(axis, 24) == 4
    for lead in (3, 9):
        with pytest.raises(ConfigError, match=f"multiple of the 6 hours between the states, got {lead}"):
            steps_in_lead(axis, lead)
    with pytest.raises(ConfigError, match="whole hours"):
        step_hours(axis_of([0]))


class Place(RecentSampler):
    """A sampler of one rank of several."""

    ranks = (0, 1)

    @property
    def place(self):
        return self.ranks


def batches(sampler, epochs):
    found = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        sampler.begin()
        for batch in sampler:
            sampler.delivered += 1
            found.append(batch)
    return found


RECENT = np.arange(20, 30)


@pytest.mark.parametrize("after", [0, 1, 6, 7, 8, 16, 100])
def test_from_its_batch_on_only_recent_samples_are_drawn(after):
    sampler = RecentSampler(30, 4, seed=1, recent=RECENT, after_batches=after)
    found = batches(sampler, 3)
    assert len(found) == 21
    assert all(min(batch) >= 20 for batch in found[after:])
    plain = RecentSampler(30, 4, seed=1, recent=RECENT, after_batches=1000)
    assert found[:after] == batches(plain, 3)[:after]
    if after == 0:
        first_epoch = np.concatenate(found[:7])
        # Each recent sample once before any a second time.
        assert sorted(first_epoch[:10]) == sorted(RECENT)
        assert not np.array_equal(first_epoch[:10], first_epoch[10:20])


def test_two_ranks_draw_together_what_one_draws():
    one = batches(RecentSampler(32, 4, seed=1, recent=RECENT, after_batches=5), 2)
    ranks = []
    for rank in (0, 1):
        Place.ranks = (rank, 2)
        ranks.append(batches(Place(32, 2, seed=1, recent=RECENT, after_batches=5), 2))
    assert [a + b for a, b in zip(*ranks, strict=True)] == one


def test_a_resumed_sampler_goes_on_across_the_switch():
    whole = batches(RecentSampler(30, 4, seed=1, recent=RECENT, after_batches=9), 2)
    first = RecentSampler(30, 4, seed=1, recent=RECENT, after_batches=9)
    first.set_epoch(1)
    first.delivered = 1
    second = RecentSampler(30, 4, seed=1, recent=RECENT, after_batches=9)
    second.load_state_dict(first.state_dict())
    second.begin()
    assert list(second) == whole[8:]
    with pytest.raises(ConfigError, match="after_batches"):
        RecentSampler(30, 4, seed=1, recent=RECENT, after_batches=8).load_state_dict(first.state_dict())


def test_recent_windows_lie_in_the_recent_past(prepare_small, train_config, tmp_path):
    prepared = prepare_small(train=SPLIT.train)
    config = train_config(
        prepared.path,
        tmp_path,
        split=SPLIT,
        recent_from="2018-12-15",
        recent_after_steps=3,
        accumulate=2,
        batch_size=3,
    )
    windows = make_windows(prepared, config)
    training, validation = make_loaders(windows, config)
    found = [batch["index"] for batch in training]
    assert len(found) == 6
    training.sampler.set_epoch(1)
    for batch in training:
        assert prepared.store.times[batch["index"] - 1].min() >= np.datetime64("2018-12-15")
    orders = [[time for batch in validation for time in batch["time"].tolist()] for _ in range(2)]
    assert orders[0] == orders[1] == sorted(orders[0])


def test_a_recent_past_without_samples_is_refused(prepare_small, train_config, tmp_path):
    prepared = prepare_small(train=SPLIT.train)
    config = train_config(
        prepared.path, tmp_path, split=SPLIT, recent_from="2018-12-20", recent_after_steps=3
    )
    with pytest.raises(ConfigError, match="recent_from must leave training samples"):
        make_loaders(make_windows(prepared, config), config)


@pytest.mark.parametrize(
    "wrong",
    [
        {"recent_from": "2007"},
        {"recent_after_steps": 5},
        {"warmup_steps": 300_000},
        {"discount": -1.0},
        {"rollout_steps": 0},
        {"learning_rate": 0.0},
    ],
)
def test_a_schedule_that_cannot_be_used(wrong):
    with pytest.raises(ConfigError, match=r"fit\."):
        FitConfig(**wrong)
