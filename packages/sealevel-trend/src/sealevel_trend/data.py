"""From prepared fields to trends: what the models and the altimeter say of the past, and of the future."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from isopleth.errors import DataError
from isopleth.fields import trend
from isopleth.sealevel import sources
from isopleth.sealevel.global_mean import add_ocean_mean, ocean_mean
from isopleth.sealevel.rows import Rows, build_rows
from isopleth.sealevel.settings import ALL_FORCINGS
from isopleth.sealevel.sources import prepare_files
from sealevel_trend import __version__
from sealevel_trend.config import GlobalMean, PeriodConfig, PrepareConfig

UNITS = "mm year-1"
_MM = 1000.0
_SMOOTH_KM = 700.0
_HEIGHT, _OBSERVED = "sea_surface_height", "observed"


@dataclass(frozen=True, eq=False)
class Trends:
    """Trends of one period, mm/year.

    Attributes
    ----------
    years : (int, int)
    models : DataArray, dims (model, lat, lon)
        Of each model's forced response: the mean over its members.
    members : DataArray, dims (model, lat, lon)
        Of one member of each model, with weather of its own; of the forced response where members were not
        prepared.
    observed : DataArray, dims (lat, lon), optional
        Of the altimeter, where its record covers the years.
    stderr : DataArray, dims (lat, lon), optional
        AR(1)-aware standard error of `observed`.
    internal : array, shape (lat * lon,), optional
        Standard deviation of the trends of a model's members, over all models; None without members.
    mean : float, optional
        Trend of the observed global mean; it is in `observed` if the global mean is kept.
    """

    years: tuple[int, int]
    models: xr.DataArray
    members: xr.DataArray
    observed: xr.DataArray | None = None
    stderr: xr.DataArray | None = None
    internal: NDArray[np.float64] | None = None
    mean: float | None = None

    def rows(self, segments: xr.DataArray | None = None) -> Rows:
        """Give the rows of all cells, with the observed trend as target where there is one."""
        return build_rows(self.models, self.observed, segments=segments)

    def check_observed(self) -> Trends:
        """Refuse to go on without observed trends; give itself."""
        if self.observed is None:
            raise DataError(
                "the altimeter must cover {} to {} to be learned from, got a shorter record".format(
                    *self.years
                ),
                hint="shorten --learning.period.past to the years that `prepare` names as observed_years",
            )
        return self

    def select(self, models: tuple[str, ...]) -> Trends:
        """Keep some models, in this order."""
        missing = [name for name in models if name not in self.models["model"].values]
        if missing:
            raise DataError(
                f"models must be {', '.join(models)}, got none called {missing[0]}",
                hint="a trained model needs the models that it was trained on",
            )
        wanted = list(models)
        return replace(self, models=self.models.sel(model=wanted), members=self.members.sel(model=wanted))


def prepare_fields(config: PrepareConfig) -> dict[str, Any]:
    """Prepare folders of files and write one dataset: the verb ``prepare``."""
    written = prepare_files(config, "sealevel-trend", __version__)
    with open_prepared(written) as stored:
        return {
            "prepared": str(written),
            "models": stored["model"].values.tolist(),
            "sea_cells": int(stored["sea_mask"].sum()),
            "years": "-".join(str(int(year)) for year in stored["time"].dt.year.values[[0, -1]]),
            "observed_years": stored.attrs["observed_years"],
            "lost_cells": dict(
                zip(stored["model"].values.tolist(), stored["lost_cells"].values.tolist(), strict=True)
            ),
            "components": json.loads(stored.attrs["components"]),
        }


def open_prepared(path: str | Path) -> xr.Dataset:
    """Open what `prepare` wrote, lazily: the models under all forcings.

    Raises
    ------
    DataError
        If it is not there, not such a dataset, or has fewer than two such models.
    """
    ds = sources.open_prepared(path, "sealevel-trend")
    chosen = ds.isel(model=np.flatnonzero(ds["forcing"].values == ALL_FORCINGS))
    if chosen.sizes["model"] < 2:
        raise DataError(
            f"prepared fields must have two models at least, got {chosen.sizes['model']}", where=path
        )
    return chosen


def compute_trends(
    prepared: xr.Dataset, years: tuple[int, int], global_mean: GlobalMean, *, member: int = 0
) -> Trends:
    """Fit the trends of a period to the prepared fields.

    Parameters
    ----------
    prepared : Dataset
        From `open_prepared`.
    years : (int, int)
        Both included; every model must have all of them.
    global_mean : {"keep", "remove", "add_back"}
        Whether the ocean's mean trend stays in the fields (``keep``) or is taken out.
    member : int
        Which member `Trends.members` is of; a model with fewer gives its last.

    Returns
    -------
    Trends

    Raises
    ------
    DataError
        If years are missing.
    """
    period = prepared.sel(time=slice(str(years[0]), str(years[1])))
    found = np.unique(period["time"].dt.year.values)
    if not np.array_equal(found, np.arange(years[0], years[1] + 1)):
        raise DataError(
            f"prepared fields must have every year from {years[0]} to {years[1]}, got {found.size} of "
            f"{years[1] - years[0] + 1}",
            hint="prepare them with --settings.first_year and --settings.last_year",
        )
    height, observed = _restore_means(period)
    slopes = _trend(height, "ols")["slope"].compute()
    forced = slopes.mean("member") if "member" in slopes.dims else slopes
    single = _pick_member(slopes, member) if "member" in slopes.dims else slopes
    first, last = (int(year) for year in prepared.attrs["observed_years"].split("-"))
    fitted, mean = None, None
    if first <= years[0] and years[1] <= last:
        fitted = _trend(observed, "ols-neff").compute()
        mean = float(ocean_mean(fitted["slope"]))
    return Trends(
        years=years,
        models=_departures(forced, global_mean),
        members=_departures(single, global_mean),
        observed=None if fitted is None else _departures(fitted["slope"], global_mean),
        stderr=None if fitted is None else fitted["stderr"].drop_attrs().assign_attrs(units=UNITS),
        internal=_internal_spread(slopes) if "member" in slopes.dims else None,
        mean=mean,
    )


def _restore_means(period: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Give models and altimeter in mm, with the global mean in them."""
    height, observed = period[_HEIGHT], period[_OBSERVED]
    if period.attrs["global_mean"] == "removed":
        height = add_ocean_mean(height, period["model_global_mean"])
        observed = add_ocean_mean(observed, period["observed_global_mean"])
    return height * _MM, observed * _MM


def _trend(field: xr.DataArray, method: Any) -> xr.Dataset:
    """Fit annual values as they are, and months with the annual cycle beside the line."""
    steps = int((field["time"].dt.year == field["time"].dt.year[0]).sum())
    return trend(field, method=method, harmonics=2 if steps > 1 else 0, min_valid=1.0)


def _pick_member(slopes: xr.DataArray, member: int) -> xr.DataArray:
    """Take a member of each model, the last one of those that have fewer."""
    counts = slopes.notnull().any(("lat", "lon")).sum("member").values
    each = [
        one.isel(member=min(member, int(count) - 1), drop=True)
        for one, count in zip(slopes.transpose("model", ...), counts, strict=True)
    ]
    return xr.concat(each, "model", combine_attrs="drop")


def _internal_spread(slopes: xr.DataArray) -> NDArray[np.float64] | None:
    """Pool the variance of members' trends round their model's mean over all models, and over neighbours.

    Members are few: their variance is smoothed over some 700 km, the scale of the variability itself.
    """
    centred = slopes - slopes.mean("member")
    freedom = slopes.notnull().sum("member") - 1
    total = freedom.where(freedom > 0, 0).sum("model")
    if not bool((total > 0).any()):
        return None
    variance = ((centred**2).sum(("model", "member")) / total.where(total > 0)).transpose("lat", "lon")
    step_km = 111.2 * float(np.abs(np.diff(variance["lat"])).mean())
    return np.asarray(np.sqrt(_smooth(variance.values, _SMOOTH_KM / step_km)).ravel())


def _smooth(field: NDArray[np.float64], cells: float) -> NDArray[np.float64]:
    """Smooth by a Gaussian of so many cells, round the globe, leaving NaN out and where it was."""
    known = np.isfinite(field)
    shares, values = (
        _blur(_blur(part, cells, 0, "edge"), cells, 1, "wrap")
        for part in (known.astype(np.float64), np.where(known, field, 0.0))
    )
    return np.where(known, values / np.where(known, shares, 1.0), np.nan)


def _blur(field: NDArray[np.float64], cells: float, axis: int, beyond: Any) -> NDArray[np.float64]:
    reach = max(1, round(3.0 * cells))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / cells) ** 2)
    widths = [(reach, reach) if k == axis else (0, 0) for k in (0, 1)]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(field, widths, mode=beyond), kernel.size, axis)
    return np.asarray(windows @ (kernel / kernel.sum()))


def _departures(slope: xr.DataArray, global_mean: GlobalMean) -> xr.DataArray:
    if global_mean != "keep":
        slope = slope - ocean_mean(slope)
    return slope.drop_attrs().assign_attrs(units=UNITS)


def split_record(period: PeriodConfig) -> tuple[tuple[int, int], tuple[int, int]]:
    """Cut the past into two halves that do not overlap, for the backtest."""
    first, last = period.past
    middle = first + (last - first + 1) // 2
    return (first, middle - 1), (middle, last)
