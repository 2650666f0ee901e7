from __future__ import annotations

import dataclasses
import logging
from collections import namedtuple

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isopleth.data import Windows, check_disjoint, split_windows
from isopleth.data.times import TimeAxis
from isopleth.errors import ConfigError, DataError


def naive_windows(times: np.ndarray, inputs: tuple, targets: tuple, step: np.timedelta64) -> list[list[int]]:
    """Look every stamp of every window up in a dictionary."""
    row = {time: i for i, time in enumerate(times)}
    present = max(inputs) if inputs else min(targets)
    found = []
    for time in times:
        stamps = [time + (offset - present) * step for offset in (*inputs, *targets)]
        if all(stamp in row for stamp in stamps):
            found.append([row[stamp] for stamp in stamps])
    return found


@pytest.mark.parametrize("budget", [0, None])
def test_a_sample_is_what_stands_in_the_store(store, budget: int | None) -> None:
    windows = Windows(store, inputs=(-2, 0), targets=(1, 3), memory_budget=budget)
    assert len(windows) == 24 - 5
    assert windows.in_memory == (budget is None)
    values = torch.from_numpy(store.read(slice(None)))
    for number in (0, 7, 18, -1):
        sample, present = windows[number], number % 19 + 2
        assert torch.equal(sample["inputs"], values[[present - 2, present]])
        assert torch.equal(sample["targets"], values[[present + 1, present + 3]])
        assert sample["index"].item() == present
        assert sample["time"].item() == store.axis.seconds[present]
        assert windows.times[number] == store.times[present]
        assert set(sample) == {"inputs", "targets", "time", "index"}


@pytest.mark.parametrize("budget", [0, None])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_batch_is_its_samples(fields, repack, budget: int | None, dtype: str) -> None:
    fields["2m_temperature"][::3, 2] = np.nan
    windows = Windows(repack(fields, missing="mask", dtype=dtype), memory_budget=budget)
    numbers = [3, 0, 21, 3, -1]
    batch = windows[numbers]
    assert batch["inputs"].shape == (5, 2, 4, 6, 8)
    assert batch["targets_valid"].shape == (5, 1, 4, 6, 8)
    assert batch["inputs"].dtype == torch.float32
    assert batch["inputs_valid"].dtype == torch.bool
    assert (batch["inputs"][~batch["inputs_valid"]] == 0).all()
    for i, number in enumerate(numbers):
        sample = windows[number]
        assert set(sample) == set(batch)
        assert all(torch.equal(batch[name][i], sample[name]) for name in sample)
    listed = windows.__getitems__(numbers)
    assert all(torch.equal(listed[2][name], batch[name][2]) for name in batch)
    for same in (np.array([1, 2]), torch.tensor([1, 2]), range(1, 3), slice(1, 3)):
        assert torch.equal(windows[same]["inputs"], windows[[1, 2]]["inputs"])


def test_memory_and_disk_and_shared_memory_agree(store) -> None:
    disk, memory, shared = Windows(store, memory_budget=0), Windows(store), Windows(store).share_memory()
    loaded_then_shared = Windows(store).load().share_memory()
    for windows in (memory, shared, loaded_then_shared):
        for name, tensor in disk[range(len(disk))].items():
            assert torch.equal(windows[range(len(disk))][name], tensor)


def test_a_batch_may_be_changed_without_harm_to_the_store(store) -> None:
    windows = Windows(store)
    before = windows[[0, 1]]["inputs"].clone()
    windows[[0, 1]]["inputs"].zero_()
    windows[0]["inputs"].zero_()
    assert torch.equal(windows[[0, 1]]["inputs"], before)


def test_only_the_period_is_loaded_and_only_if_it_fits(store) -> None:
    period = ("2000-01-02", "2000-01-03")
    assert Windows(store, period=period, memory_budget=8 * store.step_bytes).in_memory
    assert not Windows(store, period=period, memory_budget=8 * store.step_bytes - 1).in_memory
    windows = Windows(store, period=period).load()
    assert windows._loaded["fields"].shape == (8, 4, 6, 8)


def test_all_of_a_window_lies_in_its_period(store) -> None:
    windows = Windows(store, (-1, 0), (1, 4), period=("2000-01-02", "2000-01-04"))
    assert windows.touched.tolist() == list(range(4, 16))
    assert windows[0]["index"] == 5
    assert windows[-1]["index"] == 11


def test_channels_are_chosen_by_name(store) -> None:
    for budget in (0, None):
        windows = Windows(
            store,
            input_channels=["2m_temperature", "geopotential_300"],
            target_channels=["geopotential_850"],
            memory_budget=budget,
        )
        batch, whole = windows[[4, 2]], Windows(store)[[4, 2]]
        assert torch.equal(batch["inputs"], whole["inputs"][:, :, [3, 0]])
        assert torch.equal(batch["targets"], whole["targets"][:, :, [2]])
        assert windows[4]["inputs"].shape == (2, 2, 6, 8)


def test_inputs_or_targets_alone(store) -> None:
    assert set(Windows(store, (0,), ())[0]) == {"inputs", "time", "index"}
    ahead = Windows(store, (), (2, 1))[0]
    assert set(ahead) == {"targets", "time", "index"}
    assert ahead["index"] == 0


def test_stride_takes_every_nth(store) -> None:
    all_of_them = Windows(store).times
    np.testing.assert_array_equal(Windows(store, stride=5).times, all_of_them[::5])


def test_no_window_crosses_a_gap(make_fields, repack, caplog) -> None:
    times = np.datetime64("2000-01-01", "ns") + np.arange(24) * np.timedelta64(6, "h")
    kept = np.delete(times, [5, 6, 14])
    with caplog.at_level(logging.WARNING):
        windows = Windows(repack(make_fields(times=kept)), (-1, 0), (1,))
    expected = naive_windows(kept, (-1, 0), (1,), np.timedelta64(6, "h"))
    assert windows.rows.tolist() == expected
    assert windows.dropped == 19 - len(expected) == 4
    assert "4 left out at gaps" in caplog.text
    assert windows.step == "6 hours"


def test_a_stamp_off_the_grid_is_left_out(make_fields, repack) -> None:
    times = np.datetime64("2000-01-01", "ns") + np.arange(12) * np.timedelta64(6, "h")
    times[4] += np.timedelta64(1, "h")
    windows = Windows(repack(make_fields(times=times)), (0,), (1,))
    assert 4 not in windows.touched
    assert windows.rows.tolist() == naive_windows(times, (0,), (1,), np.timedelta64(6, "h"))
    assert windows.dropped == 2  # the window that would end at the stamp, and the one that would begin there


def test_months_are_steps(make_fields, repack) -> None:
    times = xr.date_range("2000-01-01", periods=36, freq="MS").values
    windows = Windows(repack(make_fields(times=np.delete(times, 20))), (0,), (12,))
    assert windows.step == "1 month"
    assert len(windows) == 36 - 12 - 2
    assert windows.dropped == 1


def test_a_noleap_february_is_no_gap(make_fields, noleap_times, repack) -> None:
    windows = Windows(repack(make_fields(times=noleap_times(10))), (-1, 0), (1,))
    assert (len(windows), windows.dropped) == (8, 0)


def test_a_longer_step_picks_stamps_apart(store) -> None:
    windows = Windows(store, (0,), (1,), step="1D")
    assert (np.diff(windows.rows, axis=1) == 4).all()
    assert windows.step == "1 day"


# The store is only read, so that all examples may have the same.
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hours=st.sets(st.integers(0, 60), min_size=6, max_size=40),
    inputs=st.lists(st.integers(-4, 0), unique=True, max_size=3).map(tuple),
    targets=st.lists(st.integers(1, 5), unique=True, min_size=1, max_size=2).map(tuple),
)
def test_windows_are_those_a_dictionary_finds(store, hours: set[int], inputs: tuple, targets: tuple) -> None:
    times = np.datetime64("2000-01-01", "ns") + np.array(sorted(hours)) * np.timedelta64(6, "h")
    gappy = dataclasses.replace(store, axis=TimeAxis.of(times))
    expected = naive_windows(times, inputs, targets, np.timedelta64(6, "h"))
    try:
        windows = Windows(gappy, inputs, targets, step="6h", memory_budget=0)
    except DataError:
        assert expected == []
        return
    assert windows.rows.tolist() == expected
    assert len(windows) + windows.dropped <= len(times)


# Splits


def test_splits_that_share_a_step_are_refused(store) -> None:
    with pytest.raises(
        ConfigError, match=r"train and test must not share time steps, got 4 shared.*2000-01-03T00"
    ):
        split_windows(store, {"train": ("2000-01-01", "2000-01-03"), "test": ("2000-01-03", None)})
    splits = split_windows(store, {"train": ("2000-01-01", "2000-01-04"), "test": ("2000-01-05", None)})
    assert list(splits) == ["train", "test"]
    assert splits["test"].touched.min() > splits["train"].touched.max()
    with pytest.raises(ConfigError, match=r"a and b must not share"):
        check_disjoint({"a": Windows(store), "b": Windows(store, stride=3)})


def test_statistics_that_have_seen_the_test_data_are_refused(store) -> None:
    with pytest.raises(
        ConfigError, match=r"fitted to the training period alone, got 4 steps of test.*2000-01-04T00"
    ):
        split_windows(store, {"train": ("2000-01-01", "2000-01-03"), "test": ("2000-01-04", None)})


# Hostile


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"period": ("2000-01-01", "2000-01-01T06")}, "at least one window.*got none in 2 time steps"),
        ({"period": ("1980", "1990")}, "got none in 0 time steps.*the store reaches from 2000-01-01"),
        ({"targets": (40,)}, "at least one window"),
    ],
)
def test_no_window_at_all_is_a_data_error(store, options: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Windows(store, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": (), "targets": ()}, "must have an offset"),
        ({"inputs": (0, 0)}, "inputs must be distinct"),
        ({"targets": (0.5,)}, "targets must be whole numbers"),
        ({"stride": 0}, "stride must be at least 1"),
        ({"input_channels": []}, "channels must be at least one"),
        ({"input_channels": ["vorticity"]}, "channel 'vorticity' must be one of"),
        ({"memory_budget": "much"}, "memory_budget must be"),
        ({"period": ("2001", "2000")}, "period must end after it begins"),
        ({"step": "often"}, "step must be a duration"),
    ],
)
def test_senseless_options_are_named(store, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Windows(store, **options)


def test_an_index_outside_is_an_index_error(store) -> None:
    windows = Windows(store)
    for index in (22, -23, [0, 99]):
        with pytest.raises(IndexError, match=r"windows must be in \[0, 22\)"):
            windows[index]


def test_shared_memory_that_is_too_small_is_named(store, monkeypatch) -> None:
    free = namedtuple("free", "free")
    monkeypatch.setattr("isopleth.data.windows.shutil.disk_usage", lambda place: free(10))
    with pytest.raises(ConfigError, match=r"shared memory must hold"):
        Windows(store).share_memory()
