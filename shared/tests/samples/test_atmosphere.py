"""The canonical Dataset: how its fields follow from the streamfunction, how it repeats, how it is cached."""

import contextlib
import os
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isopleth.errors import ConfigError
from isopleth.io import open_fields, write_netcdf
from isopleth.samples import QuasiGeostrophicParameters, SphericalHarmonics, atmosphere, trajectory
from isopleth.samples.atmosphere import (
    GAS_CONSTANT,
    GRAVITY,
    STANDARD_HEIGHTS_M,
    balanced_geopotential,
    diagnose,
    hydrostatic_operator,
)
from isopleth.samples.trajectory import Run, cache_path

RADIUS, OMEGA = 6.371e6, 7.292e-5
QUICK = {"spin_up_days": 3}


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ISOPLETH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def t21():
    return SphericalHarmonics(truncation=21, n_lat=32, n_lon=64)


def simulated(days, **settings):
    return atmosphere(days, cache=False, **QUICK | settings)


# --- the Dataset


def test_layout_is_canonical():
    weather = simulated(2, step_hours=6, start="2001-12-31")
    assert dict(weather.sizes) == {"time": 8, "level": 3, "lat": 32, "lon": 64}
    assert list(weather.data_vars) == [
        "geopotential",
        "u_component_of_wind",
        "v_component_of_wind",
        "temperature",
    ]
    assert all(array.dims == ("time", "level", "lat", "lon") for array in weather.data_vars.values())
    assert all(array.dtype == np.float32 for array in weather.data_vars.values())
    np.testing.assert_array_equal(weather.level, [200, 500, 800])
    assert (np.diff(weather.lat) > 0).all()
    np.testing.assert_array_equal(weather.lon, np.arange(64) * 5.625)
    assert weather.time.values[0] == np.datetime64("2001-12-31T00")
    assert (np.diff(weather.time) == np.timedelta64(6, "h")).all()


def test_attributes_say_what_it_is():
    weather = simulated(1, static=True)
    units = {name: array.attrs["units"] for name, array in weather.variables.items() if name != "time"}
    assert units == {
        "geopotential": "m2 s-2",
        "u_component_of_wind": "m s-1",
        "v_component_of_wind": "m s-1",
        "temperature": "K",
        "geopotential_at_surface": "m2 s-2",
        "level": "hPa",
        "lat": "degrees_north",
        "lon": "degrees_east",
    }
    assert weather.temperature.attrs["standard_name"] == "air_temperature"
    assert weather.attrs["source"].startswith("simulated: ")
    assert weather.attrs["kind"] == "simulated"


def test_open_fields_finds_nothing_to_change(tmp_path):
    """Written and read back it is the same Dataset: it is canonical already."""
    weather = simulated(2, members=2, static=True)
    read = open_fields(write_netcdf(weather, tmp_path / "weather.nc")).load()
    xr.testing.assert_equal(read, weather)
    assert list(read.dims) == list(weather.dims)
    assert all(read[name].dtype == weather[name].dtype for name in weather.variables)


def test_surface_geopotential_is_the_orography():
    surface = simulated(1, static=True).geopotential_at_surface / GRAVITY
    summit = surface.isel(surface.argmax(...))
    assert surface.dims == ("lat", "lon")
    assert 3000 < float(summit) < 4000
    assert abs(float(summit.lat) - 35) < 6
    assert abs(float(summit.lon) - 90) < 6


def test_fields_have_the_size_of_the_atmospheres():
    weather = atmosphere(5, spin_up_days=40, cache=False)
    zonal = weather.mean(("time", "lon"))
    assert 5400 < float(zonal.geopotential.sel(level=500).max()) / GRAVITY < 5900
    assert 165 < float(zonal.temperature.min()) < 200
    assert 280 < float(zonal.temperature.max()) < 300
    for pole in (0, -1):  # cold poles aloft and below, in both hemispheres
        assert float(zonal.temperature.sel(level=800)[pole] - zonal.temperature.sel(level=800)[16]) < -25
    assert 60 < float(weather.u_component_of_wind.max()) < 120
    assert -70 < float(weather.u_component_of_wind.min()) < -5


# --- from streamfunction to fields


def test_winds_of_a_known_streamfunction(t21):
    """ψ = A cos³φ sin 3λ: u = 3 A cos²φ sin φ sin 3λ / a, v = 3 A cos²φ cos 3λ / a."""
    lon, cos_lat = np.radians(t21.lon)[:, None, None], np.cos(np.radians(t21.lat))
    grid = np.broadcast_to(1e7 * cos_lat**3 * np.sin(3 * lon), (64, 3, 32))
    fields = diagnose(t21.analyse(grid)[None, None], t21)
    x, y = np.radians(t21.lon)[None, :], np.radians(t21.lat)[:, None]
    eastward = 3e7 * np.cos(y) ** 2 * np.sin(y) * np.sin(3 * x) / RADIUS
    northward = 3e7 * np.cos(y) ** 2 * np.cos(3 * x) / RADIUS
    for level in range(3):
        np.testing.assert_allclose(fields["u_component_of_wind"][0, 0, level], eastward, atol=1e-5)
        np.testing.assert_allclose(fields["v_component_of_wind"][0, 0, level], northward, atol=1e-5)


def test_linear_balance_of_solid_rotation(t21):
    """ψ = -a² ω μ is balanced by Φ = -a² Ω ω μ² up to a constant (the wind is geostrophic everywhere)."""
    rate = 3e-6
    sin_lat = np.broadcast_to(t21.sin_lat, (64, 1, 32))
    spectrum = balanced_geopotential(t21.analyse(-(RADIUS**2) * rate * sin_lat), t21)
    expected = -(RADIUS**2) * OMEGA * rate * (sin_lat**2 - 1 / 3)
    np.testing.assert_allclose(t21.synthesise(spectrum), expected, rtol=1e-10, atol=1e-6)


def test_linear_balance_is_geostrophic_on_each_hemisphere(t21):
    """Small vortices: Φ is nearly f ψ, so a cyclone is low in the south as in the north."""
    for latitude in (50.0, -50.0):
        east = np.radians(t21.lon[:, None] - 180.0)
        y, centre = np.radians(t21.lat)[None, :], np.radians(latitude)
        cosine = np.sin(y) * np.sin(centre) + np.cos(y) * np.cos(centre) * np.cos(east)
        cyclone = -np.sign(latitude) * 1e7 * np.exp((cosine - 1) / 0.02)
        balanced = t21.synthesise(balanced_geopotential(t21.analyse(cyclone[:, None, :]), t21))
        f = 2 * OMEGA * np.sin(centre)
        depth = balanced.min() - np.median(balanced)
        assert depth == pytest.approx(-abs(f) * 1e7, rel=0.1)


def test_temperature_recovers_the_thickness():
    """Reading the line back at the layers' logarithmic middles gives g Δz / (R ln(p_below / p_above))."""
    weather = simulated(1).isel(time=0).astype(float)
    x = np.log(weather.level.values.astype(float))
    for upper, lower in ((0, 1), (1, 2)):
        thickness = weather.geopotential[upper] - weather.geopotential[lower]
        layer = thickness / (GAS_CONSTANT * (x[lower] - x[upper]))
        share = (0.5 * (x[lower] + x[upper]) - x[upper]) / (x[lower] - x[upper])
        line = (1 - share) * weather.temperature[upper] + share * weather.temperature[lower]
        np.testing.assert_allclose(line, layer, atol=5e-3)


def test_temperature_of_an_isothermal_and_of_the_standard_atmosphere():
    log_p = np.log([200.0, 500.0, 800.0])
    np.testing.assert_allclose(hydrostatic_operator() @ (-GAS_CONSTANT * 250.0 * log_p), 250.0, rtol=1e-12)
    standard = hydrostatic_operator() @ (GRAVITY * STANDARD_HEIGHTS_M)
    # ICAO: 216.65 K (isothermal there, which a parabola cannot know), 251.9 K, 275.5 K.
    np.testing.assert_allclose(standard, [216.65, 251.9, 275.5], atol=8.0)
    np.testing.assert_allclose(standard[1:], [251.9, 275.5], atol=1.5)


# --- determinism


def test_same_arguments_same_bits():
    xr.testing.assert_identical(simulated(3), simulated(3))


def test_other_seeds_other_weather():
    first, second = simulated(3, seed=1), simulated(3, seed=2)
    assert float(np.abs(first.geopotential - second.geopotential).max()) > 1.0


def test_members_do_not_know_of_each_other():
    three, two, one = simulated(3, members=3), simulated(3, members=2), simulated(3)
    assert three.geopotential.dims == ("member", "time", "level", "lat", "lon")
    xr.testing.assert_identical(three.isel(member=[0, 1]), two)
    xr.testing.assert_identical(three.isel(member=0, drop=True), one)
    assert float(np.abs(three.geopotential[0] - three.geopotential[1]).max()) > 1.0


def test_a_longer_run_begins_with_the_shorter():
    xr.testing.assert_identical(simulated(9).isel(time=slice(4)), simulated(4))


def test_daily_output_is_every_fourth_of_six_hourly():
    often = simulated(3, step_hours=6)
    xr.testing.assert_identical(often.isel(time=slice(None, None, 4)), simulated(3))


# --- the cache


def test_the_second_call_reads(monkeypatch, cache_folder):
    first = atmosphere(3, members=2, **QUICK)
    assert len(list(cache_folder.rglob("*.npz"))) == 1
    monkeypatch.setattr(trajectory, "simulate", lambda run: pytest.fail("simulated again"))
    xr.testing.assert_identical(atmosphere(3, members=2, **QUICK), first)
    # The start only labels the output.
    assert atmosphere(3, members=2, start="1990-01-01", **QUICK).time.dt.year[0] == 1990


def test_cached_and_fresh_are_the_same_bits():
    fresh = simulated(4)
    written = atmosphere(4, **QUICK)
    read = atmosphere(4, **QUICK)
    xr.testing.assert_identical(written, fresh)
    xr.testing.assert_identical(read, fresh)


def test_every_setting_has_its_own_file():
    settings = [
        {},
        {"seed": 1},
        {"days": 6},
        {"step_hours": 12},
        {"members": 2},
        {"spin_up_days": 99},
        {"parameters": QuasiGeostrophicParameters(baroclinicity=0.71)},
        {"parameters": QuasiGeostrophicParameters(drag_days=float("inf"))},
    ]
    assert len({cache_path(Run(**{"days": 5} | each)) for each in settings}) == len(settings)


def test_no_cache_writes_nothing(cache_folder):
    simulated(1)
    assert not cache_folder.exists()


def _archive(path, **arrays):
    with path.open("wb") as stream:
        np.savez(stream, **arrays)


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not an archive"),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "another name": lambda path: _archive(path, other=np.zeros(3)),
    "another shape": lambda path: _archive(path, streamfunction=np.zeros((1, 2, 3, 461))),
    "another type": lambda path: _archive(path, streamfunction=np.zeros((1, 2, 3, 484), np.float32)),
    "a pickle": lambda path: _archive(path, streamfunction=np.array([{}], dtype=object)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_made_again(damage, caplog):
    whole = atmosphere(2, **QUICK)
    path = cache_path(Run(days=2, **QUICK))
    size = path.stat().st_size
    DAMAGE[damage](path)
    xr.testing.assert_identical(atmosphere(2, **QUICK), whole)
    assert "is made again" in caplog.text
    assert path.stat().st_size == size
    caplog.clear()
    xr.testing.assert_identical(atmosphere(2, **QUICK), whole)
    assert not caplog.text


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_no_changed_byte_changes_a_value(place, change):
    """Wherever a byte is wrong, the checksum sees it or it does not matter."""
    run = Run(days=1, spin_up_days=0)
    whole = trajectory.load_trajectory(run)
    path = cache_path(run)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= change
    path.write_bytes(content)
    np.testing.assert_array_equal(trajectory.load_trajectory(run), whole)


def test_a_cache_that_cannot_be_written_costs_a_warning(tmp_path, monkeypatch, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("ISOPLETH_CACHE", str(blocked))
    xr.testing.assert_identical(atmosphere(2, **QUICK), simulated(2))
    assert "was not cached" in caplog.text


def test_a_folder_in_the_files_place_costs_a_warning(caplog):
    path = cache_path(Run(days=2, **QUICK))
    path.mkdir(parents=True)
    (path / "strange").touch()
    xr.testing.assert_identical(atmosphere(2, **QUICK), simulated(2))
    assert "was not cached" in caplog.text
    assert (path / "strange").exists()


def test_two_processes_at_once(cache_folder):
    """Both start cold, both finish with the same weather, and one whole file remains."""
    code = (
        "from isopleth.samples import atmosphere\n"
        "print(float(atmosphere(20, spin_up_days=3).geopotential.astype('f8').std()))"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    with contextlib.ExitStack() as stack:
        both = [
            stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ.copy()))
            for _ in range(2)
        ]
        answers = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    here = float(atmosphere(20, spin_up_days=3).geopotential.astype("f8").std())
    assert [float(answer) for answer in answers] == [here, here]
    assert [path.name for path in (cache_folder / "samples").iterdir()] == [
        cache_path(Run(days=20, spin_up_days=3)).name
    ]


# --- misuse


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"days": 0}, "days must be a whole number of at least 1, got 0"),
        ({"days": 1.5}, "days must be a whole number of at least 1, got 1.5"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"members": 0}, "members must be a whole number of at least 1, got 0"),
        ({"step_hours": 5}, "step_hours must divide 24, got 5"),
        ({"step_hours": 4}, "output interval must be a whole number of time steps, got 14400 s"),
        ({"start": "yesterday at noon"}, "start must be a date .* got 'yesterday at noon'"),
        ({"start": "9999-01-01"}, "start must be a date .* got '9999-01-01'"),
    ],
)
def test_impossible_arguments_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        atmosphere(**{"days": 1, "cache": False} | settings)


def test_too_long_a_step_is_one_clear_error():
    with pytest.raises(ConfigError, match="step_s must be short enough for a stable run, got 43200; halve"):
        atmosphere(5, cache=False, spin_up_days=30, parameters=QuasiGeostrophicParameters(step_s=43200.0))
