import numpy as np
import pytest
import xarray as xr

from isopleth.errors import ConfigError, DataError
from isopleth.verify import psnr, psnr_metric, score, ssim


def images(seed=0, size=(3, 20, 24)):
    rng = np.random.default_rng(seed)
    truth = xr.DataArray(rng.random(size), dims=("time", "lat", "lon"))
    return (truth + 0.2 * rng.random(size)).clip(0, 1), truth


def naive_ssim(first, second, data_range):
    """Wang et al. (2004) by a loop over whole windows, two-pass moments."""
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    values = []
    for i in range(first.shape[0] - 10):
        for j in range(first.shape[1] - 10):
            x, y = first[i : i + 11, j : j + 11], second[i : i + 11, j : j + 11]
            mx, my = (window * x).sum(), (window * y).sum()
            vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
            cov = (window * (x - mx) * (y - my)).sum()
            values.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return np.mean(values)


def test_psnr_known_answer():
    # an error of 0.1 of the range everywhere is 20 dB
    assert float(psnr(np.full((4, 4), 0.6), np.full((4, 4), 0.5), data_range=1.0)) == pytest.approx(
        20, abs=1e-12
    )
    assert float(psnr(np.full((4, 4), 153.0), np.full((4, 4), 127.5), data_range=255.0)) == pytest.approx(
        20, abs=1e-12
    )


def test_psnr_is_made_per_image_and_averaged():
    forecast, truth = images()
    each = [10 * np.log10(4 / ((f - o) ** 2).mean()) for f, o in zip(forecast.data, truth.data, strict=True)]
    np.testing.assert_allclose(psnr(forecast, truth, data_range=2.0, dims=("lat", "lon")), each, rtol=1e-12)
    assert float(psnr(forecast, truth, data_range=2.0)) == pytest.approx(np.mean(each), rel=1e-12)


def test_psnr_of_identical_images_is_infinite_and_of_missing_ones_nan():
    _, truth = images()
    assert float(psnr(truth, truth, data_range=1.0)) == np.inf
    assert np.isnan(float(psnr(truth, truth * np.nan, data_range=1.0)))


@pytest.mark.parametrize("data_range", [1.0, 7.0])
def test_ssim_equals_the_definition(data_range):
    forecast, truth = images(1)
    expected = [naive_ssim(f, o, data_range) for f, o in zip(forecast.data, truth.data, strict=True)]
    ours = ssim(forecast, truth, data_range=data_range, dims=("lat", "lon"))
    np.testing.assert_allclose(ours, expected, rtol=1e-10)
    whole = ssim(forecast, truth, data_range=data_range)
    assert float(whole) == pytest.approx(np.mean(expected), rel=1e-10)


def test_ssim_identities():
    forecast, truth = images(2)
    assert float(ssim(truth, truth, data_range=1.0)) == pytest.approx(1, abs=1e-12)
    swapped = ssim(truth, forecast, data_range=1.0)
    assert float(ssim(forecast, truth, data_range=1.0)) == pytest.approx(float(swapped), rel=1e-12)
    assert float(ssim(1 - truth, truth, data_range=1.0)) < -0.8


def test_ssim_of_constant_images_compares_their_means():
    c1 = 0.01**2
    ours = ssim(np.full((12, 12), 0.2), np.full((12, 12), 0.6), data_range=1.0)
    assert float(ours) == pytest.approx((2 * 0.2 * 0.6 + c1) / (0.2**2 + 0.6**2 + c1), rel=1e-9)


def test_ssim_counts_only_windows_without_missing_cells():
    forecast, truth = images(3, (1, 30, 30))
    holed = truth.copy()
    holed[0, 0, 0] = np.nan  # in one window only
    by_cell = ssim(forecast, holed, data_range=1.0, dims=("time",))
    full = ssim(forecast, truth, data_range=1.0, dims=("time",))
    assert int(full.notnull().sum()) == 20 * 20
    changed = full.notnull() & by_cell.isnull()
    assert np.argwhere(changed.data).tolist() == [[5, 5]]


def test_ssim_of_an_image_smaller_than_the_window_is_nan():
    assert np.isnan(float(ssim(np.ones((10, 30)), np.ones((10, 30)), data_range=1.0)))


def test_ssim_under_dask_equals_memory():
    forecast, truth = images(4)
    lazy = ssim(forecast.chunk(lat=7, time=1), truth.chunk(lon=5), data_range=1.0)
    assert float(lazy) == pytest.approx(float(ssim(forecast, truth, data_range=1.0)), rel=1e-13)


def test_two_ranges_do_not_share_statistics():
    forecast, truth = images(5)
    both = score(psnr_metric(2.0), forecast, truth)["psnr"] - score(psnr_metric(1.0), forecast, truth)["psnr"]
    assert float(both) == pytest.approx(20 * np.log10(2), rel=1e-12)


@pytest.mark.parametrize("data_range", [0.0, -1.0, np.nan, np.inf])
def test_data_range_must_be_positive(data_range):
    for metric in (psnr, ssim):
        with pytest.raises(ConfigError, match="data_range must be positive"):
            metric(np.ones((12, 12)), np.ones((12, 12)), data_range=data_range)


def test_a_line_is_not_an_image():
    with pytest.raises(DataError, match="two dimensions"):
        ssim(np.ones(30), np.ones(30), data_range=1.0)
