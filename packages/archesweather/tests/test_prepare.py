"""The prepared folder holds the source's states and maps, its increments, and refuses what does not fit."""

import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from distributed import LocalCluster

from archesweather.config import FieldsConfig, PrepareConfig, StatisticsConfig
from archesweather.increments import measure_increments
from archesweather.prepare import prepare_store
from archesweather.prepared import open_prepared
from isopleth.data import Normaliser
from isopleth.errors import ConfigError, DataError, IsoplethError
from isopleth.io import open_fields


def stack(ds, fields):
    """Every channel of canonical fields in float64, (time, channel, lat, lon), written out by hand."""
    surface = [ds[name].values for name in fields.surface]
    upper = [ds[name].sel(level=level).values for name in fields.upper for level in fields.levels]
    return np.stack([*surface, *upper], axis=1).astype(np.float64)


def test_states_are_the_source_as_z_scores_of_the_training_period(small_zarr, prepare_small, small_fields):
    prepared = prepare_small()
    source = stack(open_fields(small_zarr), small_fields)
    train = source[:31]
    mean, std = train.mean(axis=(0, 2, 3)), train.std(axis=(0, 2, 3))
    np.testing.assert_allclose(prepared.normaliser.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(prepared.normaliser.std, std, rtol=1e-6)
    scores = (source - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_allclose(prepared.store.read(slice(None)), scores, atol=2e-5)
    assert prepared.store.channels == small_fields.channels


@pytest.mark.parametrize("lead_hours", [24, 72])
def test_increments_are_those_of_a_loop(prepare_small, lead_hours):
    prepared = prepare_small(lead_hours=lead_hours)
    states = prepared.store.read(slice(None)).astype(np.float64)[:31]
    lead = lead_hours // 24
    change = states[lead:] - states[:-lead]
    np.testing.assert_allclose(prepared.increment_std(lead_hours), change.std(axis=(0, 2, 3)), rtol=1e-6)
    pooled = prepared.increment_std(lead_hours, pooled=True) * prepared.normaliser.std
    physical = change * prepared.normaliser.std[:, None, None]
    np.testing.assert_allclose(pooled[:2], physical[:, :2].std(axis=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(pooled[2:5], physical[:, 2:5].std(), rtol=1e-6)
    np.testing.assert_allclose(pooled[5:], physical[:, 5:].std(), rtol=1e-6)


def test_increments_reach_over_no_gap_and_do_not_depend_on_blocks(
    tmp_path, make_fields, small_fields, monkeypatch
):
    fields = make_fields(small_fields, n_time=40).drop_isel(time=[10])
    fields.to_netcdf(tmp_path / "gap.nc")
    config = PrepareConfig(
        source=str(tmp_path / "gap.nc"),
        out=tmp_path / "data",
        fields=small_fields,
        train=("2018-12", "2018-12"),
    )
    prepare_store(config)
    prepared = open_prepared(config.out)
    states = prepared.store.read(slice(None)).astype(np.float64)[:30]
    change = np.concatenate([np.diff(states[:10], axis=0), np.diff(states[10:], axis=0)])
    np.testing.assert_allclose(prepared.increment_std(24), change.std(axis=(0, 2, 3)), rtol=1e-6)
    monkeypatch.setattr("archesweather.increments._BLOCK_BYTES", 3 * prepared.store.step_bytes)
    again = measure_increments(prepared.store, 24, period=config.train)
    np.testing.assert_allclose(again.std, prepared.increment_std(24), rtol=1e-12)


def test_maps_are_z_scored_on_the_grid(paper_folder, paper_zarr):
    prepared = open_prepared(paper_folder)
    maps = open_fields(paper_zarr)
    for name, scored in zip(prepared.fields.constants, prepared.constants, strict=True):
        values = maps[name].values.astype(np.float64)
        np.testing.assert_allclose(scored, (values - values.mean()) / values.std(), atol=1e-5)
    assert prepared.store.shape == (48, 82, 9, 16)


def test_maps_may_come_from_a_file_of_their_own(
    tmp_path, small_zarr, make_fields, prepare_small, small_fields
):
    states = open_fields(small_zarr).drop_vars("land_sea_mask")
    states.to_netcdf(tmp_path / "states.nc")
    mask = make_fields(small_fields)["land_sea_mask"].expand_dims(time=[np.datetime64("2000-01-01", "ns")])
    mask.to_netcdf(tmp_path / "mask.nc")
    found = prepare_small(source=str(tmp_path / "states.nc"), constants=str(tmp_path / "mask.nc"))
    np.testing.assert_allclose(found.constants.std(), 1.0, rtol=1e-5)


def test_a_second_call_changes_nothing_and_another_lead_adds_a_file(small_prepare):
    first = prepare_store(small_prepare)
    before = {path: path.read_bytes() for path in small_prepare.out.rglob("*.json")}
    assert prepare_store(small_prepare) == first
    assert {path: path.read_bytes() for path in small_prepare.out.rglob("*.json")} == before
    prepare_store(replace(small_prepare, lead_hours=48))
    prepared = open_prepared(small_prepare.out)
    assert prepared.store.fingerprint == first["fingerprint"]
    assert (prepared.increment_std(48) > prepared.increment_std(24)).all()


def test_an_interrupted_preparation_goes_on(small_prepare, monkeypatch):
    whole = prepare_store(replace(small_prepare, out=small_prepare.out.with_name("whole")))
    with monkeypatch.context() as patch:
        patch.setattr("archesweather.prepare.write_netcdf", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            prepare_store(small_prepare)
    with pytest.raises(DataError, match="begun and not finished"):
        open_prepared(small_prepare.out)
    assert prepare_store(small_prepare)["fingerprint"] == whole["fingerprint"]


def test_given_statistics_are_used_exactly(tmp_path, prepare_small, small_fields):
    rng = np.random.default_rng(1)
    means, stds, increments = (
        xr.Dataset(
            {name: ("level", rng.uniform(1, 2, 13)) for name in small_fields.upper}
            | {name: ((), rng.uniform(1, 2)) for name in small_fields.surface},
            {"level": list(FieldsConfig().levels[::-1])},
        )
        for _ in range(3)
    )
    means.to_netcdf(tmp_path / "mean.nc")
    stds.to_netcdf(tmp_path / "std.nc")
    increments.to_zarr(tmp_path / "increment.zarr", zarr_format=2)
    statistics = StatisticsConfig(
        mean=str(tmp_path / "mean.nc"),
        std=str(tmp_path / "std.nc"),
        increment_std=str(tmp_path / "increment.zarr"),
    )
    prepared = prepare_small(statistics=statistics)
    row = small_fields.channels.index("temperature_500")
    assert prepared.normaliser.mean[row] == means["temperature"].sel(level=500).item()
    assert prepared.normaliser.std[0] == stds["2m_temperature"].item()
    np.testing.assert_allclose(
        prepared.increment_std(24)[row] * prepared.normaliser.std[row],
        increments["temperature"].sel(level=500),
    )
    prepared.normaliser.save(tmp_path / "normaliser.json")
    again = prepare_small(
        out=tmp_path / "again", statistics=StatisticsConfig(normaliser=tmp_path / "normaliser.json")
    )
    assert again.normaliser == Normaliser.load(tmp_path / "normaliser.json")
    np.testing.assert_array_equal(again.store.read([3]), prepared.store.read([3]))


def test_another_grid(prepare_small):
    prepared = prepare_small(grid=(5, 8))
    assert prepared.store.grid.shape == (5, 8)
    assert prepared.store.grid.lat[0] == -90
    assert prepared.constants.shape == (1, 5, 8)


def test_other_units_are_converted_or_refused(tmp_path, small_zarr, prepare_small):
    fields = open_fields(small_zarr).load()
    celsius = fields.assign({"2m_temperature": fields["2m_temperature"] - 273.15})
    celsius["2m_temperature"].attrs["units"] = "degC"
    celsius.to_netcdf(tmp_path / "celsius.nc")
    prepared = prepare_small(source=str(tmp_path / "celsius.nc"))
    np.testing.assert_allclose(prepared.normaliser.mean[0], fields["2m_temperature"][:31].mean(), rtol=1e-5)

    fields["geopotential"].attrs["units"] = "kg"
    fields.to_netcdf(tmp_path / "kilograms.nc")
    with pytest.raises(DataError, match=r"geopotential|units"):
        prepare_small(source=str(tmp_path / "kilograms.nc"), out=tmp_path / "other")


def test_a_noleap_calendar(tmp_path, make_fields, small_fields):
    times = xr.date_range("2018-02-20", periods=20, freq="D", calendar="noleap", use_cftime=True)
    make_fields(small_fields, times=times).to_netcdf(tmp_path / "noleap.nc")
    config = PrepareConfig(
        source=str(tmp_path / "noleap.nc"),
        out=tmp_path / "data",
        fields=small_fields,
        train=("2018-02", "2018-02"),
    )
    assert prepare_store(config)["last"].startswith("2018-03-11")
    assert open_prepared(config.out).store.axis.calendar == "noleap"


def test_missing_values_are_masked_on_request(tmp_path, small_zarr, prepare_small):
    fields = open_fields(small_zarr).load()
    fields["2m_temperature"][3, 2, 2] = np.nan
    fields.to_netcdf(tmp_path / "holes.nc")
    with pytest.raises(DataError, match="2m_temperature must be finite"):
        prepare_small(source=str(tmp_path / "holes.nc"))
    prepared = prepare_small(source=str(tmp_path / "holes.nc"), missing="mask", out=tmp_path / "masked")
    assert not prepared.store.read_valid([3])[0, 0, 2, 2]
    assert np.isfinite(prepared.increment_std(24)).all()


WRONG = {
    "level": (lambda f: replace(f, levels=(300, 500, 700, 850)), "geopotential must have the levels 700 hPa"),
    "variable": (lambda f: replace(f, surface=("total_cloud_cover",)), "total_cloud_cover"),
    "constant": (
        lambda f: replace(f, constants=("land_sea_mask", "soil_type")),
        "constant maps must include soil_type, got land_sea_mask",
    ),
    "surface with levels": (
        lambda f: replace(f, surface=("temperature",), upper=("geopotential",)),
        "no levels",
    ),
    "upper without": (
        lambda f: replace(f, surface=(), upper=("2m_temperature",)),
        "must have levels, got 2m_temp",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_missing_is_named_in_one_error(prepare_small, small_prepare, small_fields, case):
    change, message = WRONG[case]
    with pytest.raises(DataError, match=message) as raised:
        prepare_small(fields=change(small_fields))
    assert small_prepare.source in str(raised.value)
    assert not small_prepare.out.exists()


def test_a_folder_of_other_fields_or_statistics_is_refused(small_prepare, small_fields, tmp_path):
    prepare_store(small_prepare)
    with pytest.raises(DataError, match="channels"):
        prepare_store(replace(small_prepare, fields=replace(small_fields, levels=(500, 850))))
    with pytest.raises(DataError, match="statistics"):
        prepare_store(replace(small_prepare, train=("2018-12-01", "2018-12-20")))
    path = small_prepare.out / "increments-24h.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "store": "sha256:0"}))
    with pytest.raises(DataError, match="increments must belong"):
        open_prepared(small_prepare.out).increment_std(24)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"levels": (300, 400, 500)}, "geopotential_400, temperature_400"),
        ({"surface": ("10m_u_component_of_wind",)}, "10m_u_component_of_wind"),
        ({"constants": ("soil_type",)}, "soil_type"),
    ],
)
def test_a_folder_without_what_is_asked_for_names_it(
    sample_folder, prepare_small, small_fields, wanted, message
):
    prepared = prepare_small()
    with pytest.raises(DataError, match=message):
        open_prepared(prepared.path, replace(small_fields, **wanted))


def test_some_of_what_was_prepared(prepare_small, small_fields):
    prepared = prepare_small()
    part = open_prepared(prepared.path, replace(small_fields, surface=(), levels=(500,), constants=()))
    rows = [prepared.store.channel_index(name) for name in part.fields.channels]
    np.testing.assert_array_equal(part.increment_std(24), prepared.increment_std(24)[rows])
    np.testing.assert_array_equal(part.normaliser.std, prepared.normaliser.std[rows])
    assert part.constants.shape == (0, 8, 16)


@pytest.mark.parametrize(
    ("lead_hours", "error", "message"),
    [(36, ConfigError, "multiple of the 24 hours"), (24 * 60, DataError, "got none in")],
)
def test_a_lead_that_the_states_do_not_have(small_prepare, lead_hours, error, message):
    with pytest.raises(error, match=message):
        prepare_store(replace(small_prepare, lead_hours=lead_hours))


def test_a_lead_that_was_not_prepared_names_those_that_were(sample_folder):
    with pytest.raises(DataError, match=r"\(24h\), got 48.*--lead_hours 48"):
        open_prepared(sample_folder).increment_std(48)


def test_no_folder_says_how_to_make_one(tmp_path):
    with pytest.raises(DataError, match="archesweather prepare SOURCE --out"):
        open_prepared(tmp_path / "none")


@pytest.mark.parametrize(
    "statistics",
    [{"mean": "a.nc"}, {"mean": "a.nc", "std": "b.nc", "normaliser": "c.json"}],
)
def test_statistics_that_contradict_each_other(statistics):
    with pytest.raises(ConfigError):
        StatisticsConfig(**statistics)


@pytest.mark.parametrize("content", ["no json", '{"schema": "other"}', "[]"])
def test_a_damaged_record_is_one_error(prepare_small, content):
    prepared = prepare_small()
    (prepared.path / "prepared.json").write_text(content)
    with pytest.raises(IsoplethError):
        open_prepared(prepared.path)


def test_on_a_cluster_the_bytes_are_the_same(small_prepare, tmp_path):
    prepare_store(small_prepare)
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        dashboard_address=None,
        local_directory=tmp_path,
    ) as cluster:
        prepare_store(replace(small_prepare, out=tmp_path / "there", scheduler=cluster.scheduler_address))
    for name in ("increments-24h.json", "states/store.json", "prepared.json"):
        here, there = (
            json.loads((folder / name).read_text()) for folder in (small_prepare.out, tmp_path / "there")
        )
        here.pop("provenance", None)  # the address is part of it
        there.pop("provenance", None)
        assert here == there
