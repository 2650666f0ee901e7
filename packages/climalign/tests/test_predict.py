import numpy as np
import pytest
import torch
import xarray as xr

from climalign.config import SamplingConfig
from climalign.demo import VARIABLES
from climalign.predict import downscale, sample_pairs, upscale
from isopleth.errors import DataError

FEW = SamplingConfig(members=3, temperature=0.2)


@pytest.fixture
def pairs(make_prepared):
    def load(kind="temperature", period=("2004-01", "2004-01")):
        coarse, fine = make_prepared(VARIABLES[kind]).load_pairs(period)
        return coarse.to_dataarray(), fine.to_dataarray()

    return load


def name_of(kind):
    return VARIABLES[kind]


def test_an_untrained_pair_is_interpolation_with_monthly_means(untrained, pairs):
    model = untrained()
    coarse, fine = pairs()
    made = downscale(model, coarse, SamplingConfig(members=0))[name_of("temperature")][0]
    land = np.isfinite(fine.values[0])
    assert (np.isfinite(made.values) == land).all()
    month = model.fine_scale.monthly[0].numpy()
    anomaly = (coarse.values - model.coarse_scale.monthly[0].numpy()).repeat(4, 1).repeat(4, 2)
    both = np.corrcoef((made.values - month)[:, land].ravel(), anomaly[:, land].ravel())
    assert both[0, 1] > 0.95


@pytest.mark.parametrize("kind", ["temperature", "precipitation"])
def test_members_differ_and_their_mean_is_their_mean(untrained, pairs, kind):
    coarse, _ = pairs(kind)
    made = downscale(untrained(kind), coarse, FEW)
    drawn = made[name_of(kind)]
    assert drawn.dims == ("member", "time", "lat", "lon")
    assert drawn.attrs["units"] == coarse.attrs["units"]
    assert float(drawn.std("member").mean()) > 0
    xr.testing.assert_allclose(made[f"{name_of(kind)}_mean"], drawn.mean("member"))
    if kind == "precipitation":
        assert float(drawn.min()) >= 0


def test_a_sample_does_not_depend_on_chunks_or_on_the_days_around_it(untrained, pairs):
    model, (coarse, _) = untrained(), pairs()
    whole = downscale(model, coarse, FEW)
    lazy = downscale(model, coarse.chunk({"time": 7}), FEW)
    assert lazy[name_of("temperature")].chunks[1] == (7, 7, 7, 7, 3)
    xr.testing.assert_allclose(lazy.compute(), whole, rtol=1e-5)
    alone = downscale(model, coarse.isel(time=slice(10, 12)), FEW)
    xr.testing.assert_allclose(alone, whole.isel(time=slice(10, 12)), rtol=1e-5)
    other = downscale(model, coarse, SamplingConfig(members=3, temperature=0.2, seed=1))
    assert not np.allclose(other[name_of("temperature")], whole[name_of("temperature")], equal_nan=True)


def test_tiles_give_nearly_what_the_whole_gives(untrained, pairs):
    model, (coarse, _) = untrained(), pairs()
    whole = downscale(model, coarse, FEW)[name_of("temperature")]
    tiled = downscale(model, coarse, SamplingConfig(members=3, temperature=0.2, tile=8, overlap=4))
    difference = tiled[name_of("temperature")] - whole
    assert float(np.abs(difference).mean()) < 0.1 * float(whole.std("member").mean())


@pytest.mark.parametrize("kind", ["temperature", "precipitation"])
def test_means_over_blocks_are_kept_on_request(untrained, pairs, kind):
    coarse, _ = pairs(kind)
    made = downscale(untrained(kind), coarse, SamplingConfig(members=2, conserve="value"))[name_of(kind)]
    blocks = made.coarsen(lat=4, lon=4).mean()
    wanted = coarse.clip(min=0) if kind == "precipitation" else coarse
    error = (blocks - wanted.assign_coords(lat=blocks["lat"], lon=blocks["lon"])).values
    scale = float(np.abs(coarse).max())
    assert np.nanmax(np.abs(error)) < 1e-5 * scale


def test_a_coarse_bias_stays_corrected_when_anomalies_are_kept(untrained, pairs):
    coarse, _ = pairs()
    keep = SamplingConfig(members=1, conserve="anomaly")
    first, second = (downscale(untrained(), each, keep)[name_of("temperature")] for each in (coarse, coarse))
    xr.testing.assert_equal(first, second)
    model = untrained()
    blocks = first[0].coarsen(lat=4, lon=4).mean().values
    normal = xr.DataArray(model.fine_scale.monthly[0].numpy(), dims=("lat", "lon"))
    normal = normal.where(np.isfinite(first[0, 0].values)).coarsen(lat=4, lon=4).mean().values
    anomaly = coarse.values - model.coarse_scale.monthly[0].numpy()
    known = np.isfinite(blocks)
    np.testing.assert_allclose((blocks - normal)[known], anomaly[known], atol=1e-3)


def test_rain_that_came_out_dry_falls_evenly(untrained, pairs):
    model, (coarse, _) = untrained("precipitation"), pairs("precipitation")
    wet = xr.full_like(coarse.isel(time=slice(0, 2)), 0.5 / 86400)
    made = downscale(model, wet, SamplingConfig(members=1, temperature=0, noise=0.0, conserve="value"))
    blocks = made[name_of("precipitation")].coarsen(lat=4, lon=4).mean()
    np.testing.assert_allclose(blocks.values[np.isfinite(blocks.values)], 0.5 / 86400, rtol=1e-4)


def test_both_directions(untrained, pairs):
    model, (coarse, fine) = untrained(), pairs()
    made = upscale(model, fine, SamplingConfig(members=0))[name_of("temperature")][0]
    assert made.sizes["lat"] == coarse.sizes["lat"]
    land = np.isfinite(fine.values[0]).reshape(4, 4, 4, 4).all((1, 3))
    month = model.coarse_scale.monthly[0].numpy()
    found, true = ((each.values - month)[:, land].ravel() for each in (made, coarse))
    assert np.corrcoef(found, true)[0, 1] > 0.9
    with pytest.raises(DataError, match="must have the model's 16 lat"):
        upscale(model, fine.isel(lat=slice(0, 8)))


def test_densities_are_finite_and_higher_for_likelier_fields(untrained, pairs):
    model, (coarse, fine) = untrained(), pairs()
    made = downscale(model, coarse, FEW, density=True)["log_density"]
    assert made.dims == ("time",)
    assert np.isfinite(made).all()
    strange = upscale(model, fine * 1.5, FEW, density=True)["log_density"]
    assert (strange < upscale(model, fine, FEW, density=True)["log_density"]).all()


def test_density_depends_on_units_as_a_density_must(untrained, pairs):
    """An exact value: a masked-out field has none, and scaling by s shifts it by n ln s."""
    model, (_, fine) = untrained(), pairs()
    values, months = torch.from_numpy(fine.values[:4]), torch.zeros(4, dtype=torch.int64)
    from climalign.model import Noise

    noise = Noise.draw(4, 16, 16, 4, torch.Generator().manual_seed(0))
    before = model.fine_density(values, months, noise)
    scale, count = model.fine_scale.scale, torch.isfinite(values).sum((1, 2))
    numbers = model.fine_scale.encode(values, months, noise.uniform_fine)
    filled = model.fill_fine(numbers, noise.fine)
    expected = model.fine.log_density(filled.values) - filled.log_fill - count * scale.log()
    torch.testing.assert_close(before, expected)
    eta = noise.fine[~filled.valid.view_as(noise.fine)]
    by_hand = torch.distributions.Normal(0, 1).log_prob(eta).view(4, -1).sum(1)
    torch.testing.assert_close(filled.log_fill, by_hand)


def test_samples_from_nothing_come_in_pairs(untrained):
    made = sample_pairs(untrained(), 7, 20)
    assert made["fine"].sizes == {"sample": 20, "lat": 16, "lon": 16}
    blocks = made["fine"].coarsen(lat=4, lon=4).mean().mean("sample")
    known = np.isfinite(blocks.values)
    assert np.corrcoef(blocks.values[known], made["coarse"].mean("sample").values[known])[0, 1] > 0.9


def test_a_month_that_training_had_not_is_refused(untrained, pairs):
    model, (coarse, _) = untrained(), pairs()
    model.fine_scale.known[0] = False
    try:
        for given in (coarse, coarse.chunk({"time": 7})):  # the lazy one before anything is computed
            with pytest.raises(DataError, match="of month 1"):
                downscale(model, given, FEW)
    finally:
        model.fine_scale.known[0] = True


def test_a_coast_of_one_cell_has_a_block_mean(untrained):
    fine = torch.arange(16.0).view(1, 1, 4, 4)
    valid = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    valid[0, 0, 2, 1] = True
    mean, has = untrained().block_mean(fine, valid)
    assert float(mean) == 9.0
    assert bool(has)
    empty, has = untrained().block_mean(fine * torch.nan, valid & False)
    assert float(empty) == 0
    assert not bool(has)


def test_missing_coarse_cells_do_not_spread(untrained, pairs):
    coarse, _ = pairs()
    holed = coarse.copy()
    holed[:, 1, 3] = np.nan
    made = downscale(untrained(), holed, FEW)[name_of("temperature")]
    assert np.isfinite(made.values[:, :, 0, -1]).all()
