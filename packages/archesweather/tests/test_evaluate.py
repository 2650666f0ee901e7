"""Evaluation: numbers as a naive float64 reference has them; honest baselines; gaps; one member."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import scores
import torch
import xarray as xr

from archesweather.climatology import fit_climatology
from archesweather.config import (
    ClimatologyConfig,
    EvaluateConfig,
    ModelConfig,
    PredictConfig,
    PrepareConfig,
    SplitConfig,
)
from archesweather.contenders import StoredForecast
from archesweather.evaluate import choose_channels, compare_contenders, evaluate_forecasts
from archesweather.model import ArchesWeather
from archesweather.outcome import HEADLINE
from archesweather.predict import predict_from_store
from archesweather.prepare import prepare_store
from archesweather.prepared import open_prepared
from archesweather.states import FieldStates
from isopleth.errors import ConfigError, DataError
from isopleth.report import read_evaluation
from isopleth.train import Runtime
from isopleth.verify import power_spectrum

CPU = Runtime(accelerator="cpu", threads=1)
SPLIT = SplitConfig(
    train=("2018-12-01", "2018-12-20"),
    validate=("2018-12-21", "2018-12-21"),
    test=("2018-12-22", "2019-01-09"),
)
CHANNELS = ("2m_temperature", "geopotential_500")
DAY = 86_400


@pytest.fixture(scope="module")
def truth(make_fields, small_fields):
    return FieldStates(make_fields(small_fields).drop_vars("land_sea_mask"), CHANNELS)


@pytest.fixture(scope="module")
def climatology(truth):
    return fit_climatology(truth, SPLIT.train, window_days=0)


def make_forecast(truth, members, leads=(1, 2, 3), seed=0):
    """Truth at the valid time and noise that grows with the lead, from 1 January to 6 January."""
    rng = np.random.default_rng(seed)
    fields = truth.dataset[["2m_temperature", "geopotential"]].astype(float)
    starts = fields["time"].sel(time=slice("2019-01-01", "2019-01-06")).values
    by_lead = []
    for lead in leads:
        valid = fields.sel(time=starts + np.timedelta64(lead, "D")).assign_coords(time=starts)
        shift = xr.Dataset({"2m_temperature": 0.5, "geopotential": 50.0})
        size = xr.Dataset({"2m_temperature": 3.0 * lead, "geopotential": 400.0 * lead})
        noise = {
            name: (("member", *valid[name].dims), rng.normal(size=(members, *valid[name].shape)))
            for name in valid
        }
        by_lead.append(valid + shift + size * xr.Dataset(noise))
    lead = np.array(leads, "timedelta64[D]").astype("timedelta64[ns]")
    made = xr.concat(by_lead, xr.Variable("lead", lead)).transpose(
        "member", "time", "lead", "level", "lat", "lon"
    )
    for name in made:
        made[name].attrs["units"] = truth.dataset[name].attrs["units"]
    return made if members > 1 else made.isel(member=0, drop=True)


def stored(truth, members=1, **options):
    return StoredForecast(truth, make_forecast(truth, members, **options), "memory")


def run(contender, truth, climatology, *, batch_size=4, **others):
    starts = contender.axis.seconds
    return compare_contenders(
        {"model": contender, **others},
        truth,
        climatology,
        starts,
        (24, 48, 72),
        batch_size=batch_size,
        draws=100,
    )


def naive_scores(contender, truth, climatology):
    """WeatherBench 2's definitions with loops, in float64: nothing of isopleth.verify."""
    lat = np.deg2rad(truth.grid.lat)
    edges = np.concatenate([[-np.pi / 2], (lat[1:] + lat[:-1]) / 2, [np.pi / 2]])
    weight = np.diff(np.sin(edges))
    weight = weight / weight.mean()

    def area_mean(field):
        seen = np.isfinite(field)
        rows = np.broadcast_to(weight[:, None], field.shape)
        return (np.where(seen, field, 0) * rows).sum() / (rows * seen).sum()

    result = {}
    forecast = contender.dataset
    members = forecast.sizes.get("member", 1)
    for channel in CHANNELS:
        variable, _, level = channel.rpartition("_")
        for number, lead in enumerate(forecast["lead"].values.astype("timedelta64[h]").astype(int)):
            squared, absolute, bias, acc, crps, variance = [], [], [], [], [], []
            for step, start in enumerate(forecast["time"].values):
                f = forecast.isel(time=step, lead=number)
                o = truth.dataset.sel(time=start + np.timedelta64(int(lead), "h"))
                f, o = (
                    (each[variable].sel(level=float(level)) if level.isdigit() else each[channel])
                    for each in (f, o)
                )
                f, o = np.asarray(f, float).reshape(members, *o.shape), np.asarray(o, float)
                mean = f.mean(axis=0)
                seconds = np.array([start], "datetime64[s]").astype(np.int64) + 3600 * lead
                normal = climatology.at(seconds)[0, CHANNELS.index(channel)]
                squared.append(area_mean((mean - o) ** 2))
                absolute.append(area_mean(abs(mean - o)))
                bias.append(area_mean(mean - o))
                fa, oa = mean - normal, o - normal
                gone = np.isnan(fa + oa)
                fa, oa = np.where(gone, np.nan, fa), np.where(gone, np.nan, oa)
                acc.append(area_mean(fa * oa) / np.sqrt(area_mean(fa**2) * area_mean(oa**2)))
                pairs = sum(abs(a - b) for a in f for b in f) / (2 * members * max(members - 1, 1))
                crps.append(area_mean(abs(f - o).mean(axis=0) - pairs))
                if members > 1:
                    variance.append(area_mean(f.var(axis=0, ddof=1)))
            rmse = np.sqrt(np.mean(squared))
            at = result.setdefault((channel, int(lead)), {})
            at |= {"rmse": rmse, "mae": np.mean(absolute), "bias": np.mean(bias), "acc": np.mean(acc)}
            if members > 1:
                spread = np.sqrt(np.mean(variance))
                at |= {"crps": np.mean(crps), "ensemble_mean_rmse": rmse, "spread": spread}
                at["spread_skill_ratio"] = spread / rmse * np.sqrt((members + 1) / members)
    return result


@pytest.mark.parametrize(("members", "batch_size"), [(1, 4), (2, 4), (5, 2), (5, 100)])
def test_scores_are_exact_against_a_naive_reference(truth, climatology, members, batch_size):
    contender = stored(truth, members)
    outcome = run(contender, truth, climatology, batch_size=batch_size)
    for (channel, lead), expected in naive_scores(contender, truth, climatology).items():
        for metric, value in expected.items():
            found = outcome.model.values(metric).sel(channel=channel, lead=lead)
            np.testing.assert_allclose(float(found), value, rtol=1e-6, err_msg=f"{metric} {channel} {lead}")


def test_scores_agree_with_the_package_scores(truth, climatology):
    contender = stored(truth, 5)
    outcome = run(contender, truth, climatology)
    valid = contender.dataset["time"].values + np.timedelta64(2, "D")
    observed = (
        truth.dataset["2m_temperature"].sel(time=valid).assign_coords(time=contender.dataset["time"].values)
    )
    forecast = contender.dataset["2m_temperature"].sel(lead=np.timedelta64(2, "D")).drop_vars("lead")
    weights = xr.DataArray(truth.grid.weights, dims="lat", coords={"lat": truth.grid.lat}).broadcast_like(
        observed
    )
    at = {"channel": "2m_temperature", "lead": 48}
    mine = outcome.model.values
    theirs = scores.continuous.rmse(forecast.mean("member"), observed, weights=weights)
    np.testing.assert_allclose(float(mine("rmse").sel(at)), float(theirs), rtol=1e-6)
    theirs = scores.probability.crps_for_ensemble(
        forecast, observed, "member", method="fair", weights=weights
    )
    np.testing.assert_allclose(float(mine("crps").sel(at)), float(theirs))
    theirs = scores.continuous.mae(forecast.mean("member"), observed, weights=weights)
    np.testing.assert_allclose(float(mine("mae").sel(at)), float(theirs), rtol=1e-6)


def test_baselines_are_the_initial_state_and_the_training_years(truth, climatology):
    outcome = run(stored(truth), truth, climatology)
    starts = outcome.plan.starts
    rows = np.searchsorted(truth.axis.seconds, starts)
    weight = truth.grid.weights[:, None]
    for lead in (1, 3):
        after = truth.read(rows + lead)
        for name, guess in (
            ("persistence", truth.read(rows)),
            ("climatology", climatology.at(starts + lead * DAY)),
        ):
            expected = np.sqrt((weight * (guess - after) ** 2).mean(axis=(0, 2, 3)))
            np.testing.assert_allclose(
                outcome.tallies[name].values("rmse").sel(lead=24 * lead), expected, rtol=1e-6
            )
    assert np.isnan(outcome.tallies["climatology"].values("acc")).all()
    written = [score for score in outcome.scores() if score.metric == "acc"]
    assert written
    assert all("climatology" not in score.baselines for score in written)


def test_missing_values_drop_out_and_their_weights_with_them(truth, climatology):
    contender = stored(truth, 3)
    contender.dataset["2m_temperature"][0, 1, 2, 3, 4:9] = np.nan
    contender.dataset["2m_temperature"][:, 0, 0] = np.nan
    outcome = run(contender, truth, climatology)
    expected = naive_scores_pooled(contender, truth)
    found = outcome.model.values("rmse").sel(channel="2m_temperature").values
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert np.isfinite(outcome.model.values("crps")).all()


def naive_scores_pooled(contender, truth):
    """Each missing cell drops out with its own weight, over all times together."""
    found = []
    weight = truth.grid.weights[None, :, None]
    for number in range(3):
        valid = contender.dataset["time"].values + np.timedelta64(number + 1, "D")
        observed = truth.dataset["2m_temperature"].sel(time=valid).values
        error = contender.dataset["2m_temperature"].isel(lead=number).values.mean(axis=0) - observed
        weights = np.broadcast_to(weight, error.shape)[np.isfinite(error)]
        found.append(np.sqrt((weights * error[np.isfinite(error)] ** 2).sum() / weights.sum()))
    return found


def test_an_ensemble_of_one_is_scored_as_one_forecast(truth, climatology):
    single = stored(truth, 1)
    alone = run(single, truth, climatology)
    with_member = StoredForecast(truth, single.dataset.expand_dims("member"), "memory")
    together = run(with_member, truth, climatology, rival=stored(truth, 4, seed=1))
    for metric in ("rmse", "mae", "bias", "acc"):
        np.testing.assert_allclose(together.model.values(metric), alone.model.values(metric), rtol=1e-12)
    np.testing.assert_allclose(together.model.values("crps"), alone.model.values("mae"), rtol=1e-12)
    assert np.isnan(together.model.values("spread")).all()
    assert together.error == "rmse"
    assert together.scores()


def test_intervals_are_paired_and_a_forecast_does_not_differ_from_itself(truth, climatology):
    twin = stored(truth)
    outcome = run(stored(truth), truth, climatology, twin=twin, worse=stored(truth, leads=(1, 2), seed=9))
    same = outcome.model.difference(outcome.tallies["twin"], "rmse", draws=50)
    assert (same.low == 0).all()
    assert (same.high == 0).all()
    claim = outcome.claim("geopotential_500", 24, "twin")
    assert claim.holds is None
    part = outcome.model.difference(outcome.tallies["worse"], "rmse", draws=50)
    assert part.value["lead"].values.tolist() == [24, 48]
    skill, _ = outcome.skill("persistence")
    expected = 1 - outcome.model.values("rmse") / outcome.tallies["persistence"].values("rmse")
    np.testing.assert_allclose(skill.transpose(*expected.dims), expected)
    best, _ = outcome.skill(None)
    others = [outcome.tallies[n].values("rmse") for n in ("persistence", "climatology", "twin", "worse")]
    hardest = xr.concat(others, "other", join="outer").min("other")
    np.testing.assert_allclose(
        best.transpose(*hardest.dims), 1 - outcome.model.values("rmse") / hardest, atol=1e-12
    )


def test_spectra_are_means_over_the_middle_latitudes(truth, climatology):
    contender = stored(truth, 2)
    outcome = run(contender, truth, climatology)
    field = contender.dataset["2m_temperature"].isel(lead=0)
    power = power_spectrum(field).mean(("member", "time"))
    middle = (abs(power["lat"]) >= 30) & (abs(power["lat"]) <= 60)
    weights = xr.DataArray(truth.grid.weights, dims="lat", coords={"lat": truth.grid.lat}).where(middle, 0)
    found = outcome.model.spectrum.means["power"].sel(channel="2m_temperature", lead=24)
    np.testing.assert_allclose(found, power.weighted(weights).mean("lat"), rtol=1e-9)


def test_one_initial_time_has_scores_and_no_interval(truth, climatology):
    contender = stored(truth)
    outcome = compare_contenders({"model": contender}, truth, climatology, contender.axis.seconds[:1], (24,))
    assert all(score.interval is None for score in outcome.scores())
    assert all(claim.holds is None for claim in outcome.claims())


def test_initial_times_without_truth_at_all_leads_are_left_out_aloud(truth, climatology, caplog):
    contender = stored(truth)
    starts = np.append(contender.axis.seconds, truth.axis.seconds[-2])
    later = replace(contender, dataset=contender.dataset)
    with caplog.at_level(logging.WARNING, logger="archesweather"):
        outcome = compare_contenders({"model": later}, truth, climatology, starts, (24, 48, 72))
    assert len(outcome.plan.starts) == 6
    assert "1 of 7 initial times left out" in caplog.text
    with pytest.raises(DataError, match="valid time of a forecast must be among the time steps"):
        compare_contenders({"model": later}, truth, climatology, truth.axis.seconds[-1:], (24,))


def test_nothing_but_a_batch_is_held(truth, climatology):
    class Counting(FieldStates):
        most = 0

        def read(self, rows):
            type(self).most = max(type(self).most, len(rows))
            return super().read(rows)

    counting = Counting(truth.dataset, truth.channels)
    contender = stored(counting)
    compare_contenders(
        {"model": contender}, counting, climatology, contender.axis.seconds, (24, 48), batch_size=2
    )
    assert Counting.most == 2


@pytest.fixture(scope="module")
def world(tmp_path_factory, make_fields, small_fields, small_network):
    """A prepared folder, a model, its forecasts, a rival's forecasts and its own analysis, on disk."""
    base = tmp_path_factory.mktemp("evaluate")
    fields = make_fields(small_fields)
    fields.to_netcdf(base / "fields.nc")
    prepare_store(
        PrepareConfig(
            source=str(base / "fields.nc"), out=base / "data", fields=small_fields, train=SPLIT.train
        )
    )
    prepared = open_prepared(base / "data")
    grid = prepared.store.grid
    config = ModelConfig(
        fields=small_fields, network=small_network, lat=tuple(grid.lat.tolist()), lon=tuple(grid.lon.tolist())
    )
    torch.manual_seed(0)
    model = ArchesWeather(config, prepared.normaliser)
    model.backbone.set_constants(torch.from_numpy(prepared.constants))
    model.save_pretrained(base / "model")
    predict_from_store(
        PredictConfig(
            source=str(base / "data"), model=str(base / "model"), out=base / "forecast.zarr",
            period=("2019-01-01", "2019-01-06"), every_hours=24, lead_hours=72, runtime=CPU,
        )
    )  # fmt: skip
    rival = make_forecast(FieldStates(fields, CHANNELS), 1).rename(
        lat="latitude", lon="longitude", lead="prediction_timedelta"
    )
    rival.to_zarr(base / "hres.zarr", zarr_format=2, consolidated=True)
    analysis = fields.drop_vars("land_sea_mask")
    with xr.set_options(keep_attrs=True):
        (analysis + 1.0).to_netcdf(base / "analysis.nc")
    return base


@pytest.fixture
def config(world, tmp_path):
    return EvaluateConfig(
        truth=str(world / "data"),
        model=str(world / "model"),
        out=tmp_path / "run",
        split=replace(SPLIT, test=("2019-01-01", "2019-01-06")),
        every_hours=24,
        lead_hours=72,
        variables=CHANNELS,
        climatology=ClimatologyConfig(window_days=0),
        draws=50,
        runtime=CPU,
    )


def table(config):
    return xr.load_dataset(config.out / "scores.nc")


def test_a_rollout_and_its_written_forecasts_have_the_same_scores(config, world, tmp_path):
    evaluate_forecasts(config)
    written = replace(config, forecast=str(world / "forecast.zarr"), out=tmp_path / "written")
    evaluate_forecasts(written)
    one, other = table(config), table(written)
    assert one["contender"].values.tolist() == ["model", "persistence", "climatology"]
    for metric in ("rmse", "mae", "acc"):
        np.testing.assert_allclose(one[metric], other[metric], rtol=1e-5)


def test_the_record_the_figures_and_the_report_are_there(config, world):
    summary = evaluate_forecasts(replace(config, against=f"hres={world / 'hres.zarr'}", relative_to="hres"))
    evaluation = read_evaluation(config.out)
    rmse = [score for score in evaluation.scores if score.metric == "rmse"]
    assert {score.variable for score in rmse} == set(CHANNELS)
    assert {score.stratum["lead_hours"] for score in rmse} == {24, 48, 72}
    assert all(set(score.baselines) == {"persistence", "climatology", "hres"} for score in rmse)
    assert all(score.interval[0] <= score.model <= score.interval[1] for score in rmse)
    assert all(score.n == 6 for score in rmse)
    assert evaluation.data.kind == "real"
    assert {claim.claim for claim in evaluation.claims} == set(summary["claims"])
    for name in ("rmse_by_lead.svg", "acc_by_lead.svg", "scorecard.svg", "case.png", "spectra.svg"):
        assert (config.out / "figures" / name).is_file()
    assert "data:image" in (config.out / "report.html").read_text(encoding="utf-8")


def test_a_rival_is_scored_against_the_truth_that_the_user_states(config, world):
    evaluate_forecasts(
        replace(
            config,
            against=(f"hres={world / 'hres.zarr'}", f"own={world / 'hres.zarr'}"),
            against_truth=f"own={world / 'analysis.nc'}",
        )
    )
    bias = table(config)["bias"].sel(channel="2m_temperature", lead=24)
    # The analysis is one kelvin warmer than the truth.
    np.testing.assert_allclose(
        float(bias.sel(contender="own")), float(bias.sel(contender="hres")) - 1, atol=1e-4
    )


def test_what_does_not_belong_together_is_one_clear_error(config, world, tmp_path):
    rival = xr.open_zarr(world / "hres.zarr", chunks=None).load().drop_encoding()
    rival.isel(latitude=slice(1, None)).to_zarr(tmp_path / "grid.zarr", zarr_format=3, consolidated=False)
    with pytest.raises(DataError, match=r"a forecast must be on the grid Grid.*got Grid.*grid.zarr.*regrid"):
        evaluate_forecasts(replace(config, against=f"x={tmp_path / 'grid.zarr'}"))
    rival.isel(time=slice(2)).to_zarr(tmp_path / "few.zarr", zarr_format=3, consolidated=False)
    with pytest.raises(DataError, match="initial time must be among the time steps, got none at 2019-01-03"):
        evaluate_forecasts(replace(config, against=f"x={tmp_path / 'few.zarr'}"))
    rival.drop_vars("geopotential").to_zarr(tmp_path / "lacks.zarr", zarr_format=3, consolidated=False)
    with pytest.raises(DataError, match="geopotential"):
        evaluate_forecasts(replace(config, against=f"x={tmp_path / 'lacks.zarr'}"))
    with pytest.raises(DataError, match="initial times and leads, got no lead"):
        evaluate_forecasts(replace(config, forecast=str(world / "analysis.nc")))
    with pytest.raises(ConfigError, match=r"variables must be among the channels .*got rain"):
        evaluate_forecasts(replace(config, variables=("rain",)))
    with pytest.raises(ConfigError, match="against must be name=path, got 'x'"):
        replace(config, against="x")
    with pytest.raises(ConfigError, match="must not be named model"):
        replace(config, against="model=x")
    with pytest.raises(ConfigError, match="relative_to must be a baseline or a name in against, got 'ifs'"):
        replace(config, relative_to="ifs")


def test_headline_channels_are_scored_where_there_are_enough():
    assert choose_channels((*HEADLINE, "geopotential_850"), ()) == HEADLINE
    assert choose_channels(("geopotential_500", "geopotential_800"), ()) == (
        "geopotential_500",
        "geopotential_800",
    )
    assert choose_channels(("a", "b"), ("b",)) == ("b",)
