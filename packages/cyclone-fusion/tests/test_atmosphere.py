"""The simulated atmosphere carries the storms as far as it says, and no further."""

import numpy as np
import pytest

from cyclone_fusion.atmosphere import STEERING_WEIGHTS, floor_km, simulate_atmosphere
from cyclone_fusion.config import AtmosphereConfig, SampleConfig
from cyclone_fusion.data import build_samples
from isopleth.errors import ConfigError

CONFIG = AtmosphereConfig(spacing_deg=5.0)
QUIET = AtmosphereConfig(spacing_deg=5.0, noise=1e-6, drift=0.0)


def steering_at(fields, tracks, record):
    """Interpolate the steering layer's wind to a fix."""
    now = fields.sel(time=tracks["time"].values[record])
    place = {"lat": tracks["lat"].values[record], "lon": tracks["lon"].values[record]}
    wind = [now[f"{name}_component_of_wind"].interp(place).values for name in "uv"]
    return np.array([STEERING_WEIGHTS @ each for each in wind])


def test_fields_are_lazy_canonical_and_the_same_however_they_are_read(one_season):
    fields = simulate_atmosphere(one_season, CONFIG)
    assert fields["geopotential"].dims == ("time", "level", "lat", "lon")
    assert fields["geopotential"].chunks is not None
    late = fields.isel(time=[30, 3]).compute()
    np.testing.assert_array_equal(late["geopotential"][1], fields["geopotential"].isel(time=3))
    again = simulate_atmosphere(one_season, CONFIG).isel(time=30).compute()
    np.testing.assert_array_equal(again["u_component_of_wind"], late["u_component_of_wind"][0])
    other = simulate_atmosphere(one_season, AtmosphereConfig(spacing_deg=5.0, seed=1)).isel(time=30).compute()
    assert not np.allclose(other["u_component_of_wind"], late["u_component_of_wind"][0])


def test_without_noise_and_drift_the_flow_is_the_storms_motion(one_season, make_table):
    fine = AtmosphereConfig(spacing_deg=2.0, noise=1e-6, drift=0.0)
    calm = one_season.assign(wind=one_season["wind"] * 0)
    fields = simulate_atmosphere(calm, fine).isel(time=slice(0, 24)).load()
    last = fields["time"].values[-1]
    samples = build_samples(calm, SampleConfig(lead_hours=(6,)))
    errors = []
    for number in np.flatnonzero(samples["time"].values <= last)[::3]:
        one = samples.isel(sample=number)
        record = int(
            np.flatnonzero(
                (calm["track_id"].values == one["track_id"].item())
                & (calm["time"].values == one["time"].values)
            )[0]
        )
        errors.append(steering_at(fields, calm, record) - one["target"].values[0] * 1e3 / 21600)
    # The flow fits a storm's present motion to 0.3 m s-1, and several storms may ask for one flow.
    assert len(errors) > 5
    assert np.abs(errors).mean() < 0.5


def test_the_flow_knows_nothing_where_it_must_not(one_season):
    free = simulate_atmosphere(one_season, AtmosphereConfig(spacing_deg=5.0, steering=False))
    moved = one_season.assign(lat=one_season["lat"] + 20.0, wind=one_season["wind"] * 0)
    calm = one_season.assign(wind=one_season["wind"] * 0)
    there = simulate_atmosphere(moved, AtmosphereConfig(spacing_deg=5.0, steering=False))
    here = simulate_atmosphere(calm, AtmosphereConfig(spacing_deg=5.0, steering=False))
    np.testing.assert_array_equal(
        here["u_component_of_wind"].isel(time=9), there["u_component_of_wind"].isel(time=9)
    )
    assert not np.allclose(free["u_component_of_wind"].isel(time=9), here["u_component_of_wind"].isel(time=9))


def test_the_wind_has_no_divergence(one_season):
    calm = one_season.assign(wind=one_season["wind"] * 0)
    fields = simulate_atmosphere(calm, AtmosphereConfig(spacing_deg=1.0)).isel(time=20, level=1).compute()
    u, v = (fields[f"{name}_component_of_wind"].values.astype(float) for name in "uv")
    cos = np.cos(np.radians(fields["lat"].values))[:, None]
    across = (np.roll(u, -1, axis=1) - np.roll(u, 1, axis=1))[1:-1]
    along = (v * cos)[2:] - (v * cos)[:-2]
    spin = (np.roll(v, -1, axis=1) - np.roll(v, 1, axis=1))[1:-1] - ((u * cos)[2:] - (u * cos)[:-2])
    tropics = np.abs(fields["lat"].values[1:-1]) < 60
    assert np.std((across + along)[tropics]) < 0.02 * np.std(spin[tropics])


def test_vortices_turn_with_their_hemisphere(one_season):
    """Counter-clockwise in the north: the vortex alone is the difference to a calm storm."""
    for sign in (1, -1):
        storm = one_season.assign(lat=np.abs(one_season["lat"]) * sign, wind=one_season["wind"] * 0 + 50)
        calm = storm.assign(wind=storm["wind"] * 0)
        config = AtmosphereConfig(spacing_deg=2.0)
        both = [simulate_atmosphere(each, config).isel(time=0, level=2).compute() for each in (storm, calm)]
        lat, lon = storm["lat"].values[0], storm["lon"].values[0]
        change = {name: both[0][name] - both[1][name] for name in ("v_component_of_wind", "geopotential")}
        east = change["v_component_of_wind"].sel(lat=lat, lon=lon + 3, method="nearest").item()
        assert east * sign > 3
        assert change["geopotential"].sel(lat=lat, lon=lon, method="nearest").item() < 0


@pytest.mark.parametrize("past", [False, True])
def test_the_floor_is_what_the_noise_alone_costs(one_season, past):
    samples = build_samples(one_season, SampleConfig(lead_hours=(6, 24)))
    floor = floor_km(one_season, samples, CONFIG, past=past)
    assert floor.shape == (samples.sizes["sample"], 2)
    np.testing.assert_array_equal(np.isfinite(floor), np.isfinite(samples["target_lat"].values))
    # One step: the noise's own length, or that of its shock, Rayleigh-distributed, times six hours.
    spread = 1.5 * np.sqrt(1 - np.exp(-12 / CONFIG.noise_hours)) if past else 1.5
    assert np.nanmean(floor[:, 0]) == pytest.approx(spread * np.sqrt(np.pi / 2) * 21.6, rel=0.25)
    assert np.nanmax(floor_km(one_season, samples, QUIET, past=past)) < 1e-3
    # A storm's noise is its own, whichever others are there.
    some = one_season.isel(record=np.flatnonzero(one_season["track_id"].values == "S004"))
    alone = build_samples(some, SampleConfig(lead_hours=(6, 24)))
    here = samples["track_id"].values == "S004"
    np.testing.assert_allclose(floor_km(some, alone, CONFIG, past=past), floor[here], atol=1e-9)


def test_to_know_the_past_is_worth_most_soon(one_season):
    samples = build_samples(one_season, SampleConfig(lead_hours=(6, 24, 48)))
    flow, both = (np.nanmean(floor_km(one_season, samples, CONFIG, past=past), 0) for past in (False, True))
    assert (both < flow).all()
    assert (np.diff(both / flow) > 0).all()


def test_a_grid_must_close():
    with pytest.raises(ConfigError, match="divide 180"):
        AtmosphereConfig(spacing_deg=7.0)
