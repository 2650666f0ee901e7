"""What a downscaled field is measured by: errors, samples, structure, extremes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from climalign.climdex import UNITS, compute_indices
from climalign.config import Kind
from isopleth import verify
from isopleth.grid import Grid

Floats = NDArray[np.float32]
_WET_MM = 1.0
# Samples that are all alike have no spread: its logarithm is that of so small a share of the error.
_LEAST_RATIO = 1e-3
MODEL = "ClimAlign"


@dataclass(frozen=True, eq=False)
class Contender:
    """Fine fields from one method.

    Attributes
    ----------
    mean : DataArray, dims (time, lat, lon)
        What it expects.
    members : DataArray, dims (member, time, lat, lon), optional
        Samples, where it draws any.
    indices : mapping of str to DataArray
        Of extremes in each quarter, of one field as it might be.
    """

    mean: xr.DataArray
    members: xr.DataArray | None = None
    indices: Mapping[str, xr.DataArray] = field(default_factory=dict)

    @property
    def one(self) -> xr.DataArray:
        """A field as it might be: the first sample, else the mean."""
        return self.mean if self.members is None else self.members.isel(member=0, drop=True)

    def select(self, chosen: NDArray[np.bool_]) -> Contender:
        """Keep some days."""
        members = None if self.members is None else self.members.isel(time=chosen)
        return Contender(self.mean.isel(time=chosen), members, self.indices)


@dataclass(frozen=True, eq=False)
class Trial:
    """Contenders on the same days, beside the truth; temperature in K, rain in mm/day.

    Attributes
    ----------
    kind : {"temperature", "precipitation"}
    truth : DataArray, dims (time, lat, lon)
        NaN where it is not known.
    normal : array, shape (time, lat, lon)
        Training means of the calendar month.
    contenders : mapping of str to Contender
    indices : mapping of str to DataArray
        The truth's indices of extremes in each quarter.
    """

    kind: Kind
    truth: xr.DataArray
    normal: Floats
    contenders: Mapping[str, Contender]
    indices: Mapping[str, xr.DataArray] = field(default_factory=dict)

    @cached_property
    def quarters(self) -> list[NDArray[np.bool_]]:
        """Days of each quarter of a year that is there as a whole, within a week; all days if none is."""
        time = self.truth["time"]
        labels = (time.dt.year * 4 + (time.dt.month - 1) // 3).values
        whole = [labels == each for each in np.unique(labels) if (labels == each).sum() > 83]
        return whole or [np.ones(len(labels), dtype=bool)]

    def select(self, chosen: NDArray[np.bool_]) -> Trial:
        """Keep some days."""
        contenders = {name: each.select(chosen) for name, each in self.contenders.items()}
        return Trial(self.kind, self.truth.isel(time=chosen), self.normal[chosen], contenders, self.indices)

    @cached_property
    def weights(self) -> xr.DataArray:
        """Share of each row's cells in area."""
        grid = Grid(self.truth["lat"].values, self.truth["lon"].values)
        return xr.DataArray(grid.weights, {"lat": self.truth["lat"]}, ("lat",))


@dataclass(frozen=True)
class Measure:
    """One number of a contender on a trial.

    Attributes
    ----------
    compute : callable
        From trial and contender to a number; NaN where it has none.
    units : mapping of kind to str
    better : {"lower", "higher"}
    kinds : tuple of Kind
    """

    compute: Callable[[Trial, Contender], float]
    units: Mapping[Kind, str]
    better: Literal["lower", "higher"] = "lower"
    kinds: tuple[Kind, ...] = ("temperature", "precipitation")


def _rmse(trial: Trial, contender: Contender) -> float:
    return float(verify.rmse(contender.mean, trial.truth, weights=trial.weights))


def _bias(trial: Trial, contender: Contender) -> float:
    return abs(float(verify.bias(contender.mean, trial.truth, weights=trial.weights)))


def _correlation(trial: Trial, contender: Contender) -> float:
    """Correlate anomalies from the monthly means over time, cell by cell, and average over the cells."""
    known = np.isfinite(trial.truth.values).all(0)
    a, b = (each.values[:, known] - trial.normal[:, known] for each in (contender.mean, trial.truth))
    a, b = a - a.mean(0), b - b.mean(0)
    scale = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    return float(np.mean((a * b).sum(0)[scale > 0] / scale[scale > 0])) if (scale > 0).any() else float("nan")


def _crps(trial: Trial, contender: Contender) -> float:
    forecast = contender.mean.expand_dims("member") if contender.members is None else contender.members
    return float(verify.crps(forecast, trial.truth, weights=trial.weights))


def spread_skill(trial: Trial, contender: Contender) -> float:
    """Divide the samples' spread by the error of their mean: 1 where the samples are honest."""
    if contender.members is None or contender.members.sizes["member"] < 2:
        return float("nan")
    return float(verify.spread_skill_ratio(contender.members, trial.truth, weights=trial.weights))


def _spread_error(trial: Trial, contender: Contender) -> float:
    """How far the spread-skill ratio is from 1, as a logarithm: half and double are equally bad."""
    return float(abs(np.log(np.maximum(spread_skill(trial, contender), _LEAST_RATIO))))


def _wet_days(trial: Trial, contender: Contender) -> float:
    known = trial.truth.notnull()
    shares = [float((each > _WET_MM).where(known).mean()) for each in (contender.one, trial.truth)]
    return abs(shares[0] - shares[1])


def mean_spectrum(trial: Trial, values: xr.DataArray) -> xr.DataArray:
    """Give the power of a field's anomalies by wave number in cycles a cell, averaged over days.

    Unknown cells have the anomaly 0 in the truth and in what is compared with it.
    """
    anomaly = (values - trial.normal).where(trial.truth.notnull(), 0.0).fillna(0.0)
    return verify.isotropic_spectrum(anomaly, plane=("lat", "lon")).mean("time")


def _spectral_distance(trial: Trial, contender: Contender) -> float:
    """Average the squared decibels between two spectra over wave numbers, and take the root.

    A truth without any variance, such as rain in days that are all dry, has no spectrum: NaN.
    """
    ours, theirs = (mean_spectrum(trial, each).values[1:] for each in (contender.one, trial.truth))
    used = theirs > 1e-6 * theirs.max()
    if not used.any():
        return float("nan")
    return float(np.sqrt(np.mean((10 * np.log10(np.maximum(ours[used], 1e-30) / theirs[used])) ** 2)))


def _extreme(name: str) -> Callable[[Trial, Contender], float]:
    def compute(trial: Trial, contender: Contender) -> float:
        """Average over the cells, and compare: the size of the bias."""
        ours, theirs = contender.indices.get(name), trial.indices.get(name)
        if ours is None or theirs is None:
            return float("nan")
        stamp = trial.truth["time"].values[0]
        difference = (ours - theirs).astype(float).sel(time=stamp, method="pad")
        return float(abs(difference.mean()))

    return compute


def _same(units: str) -> dict[Kind, str]:
    return {"temperature": units, "precipitation": units}


_OWN: dict[Kind, str] = {"temperature": "K", "precipitation": "mm day-1"}
MEASURES: dict[str, Measure] = {
    "rmse": Measure(_rmse, _OWN),
    "absolute_bias": Measure(_bias, _OWN),
    "anomaly_correlation": Measure(_correlation, _same("1"), "higher"),
    "crps": Measure(_crps, _OWN),
    "log_spread_skill": Measure(_spread_error, _same("1")),
    "log_spectral_distance": Measure(_spectral_distance, _same("dB")),
    "wet_day_frequency_error": Measure(_wet_days, _same("1"), kinds=("precipitation",)),
    **{
        f"{name}_bias": Measure(
            _extreme(name),
            _same(UNITS[name]),
            kinds=("temperature",) if name[0] == "T" else ("precipitation",),
        )
        for name in ("TXx", "TXn", "TNn", "CDD", "CWD", "Rx1day", "Rx5day", "SDII")
    },
}


def with_indices(trial: Trial) -> Trial:
    """Compute the indices of extremes of truth and contenders, each once for all quarters."""
    like = trial.truth

    def compute(values: xr.DataArray) -> dict[str, xr.DataArray]:
        return compute_indices(values.assign_attrs(like.attrs).rename(like.name), trial.kind, freq="QS")

    contenders = {name: replace(each, indices=compute(each.one)) for name, each in trial.contenders.items()}
    return replace(trial, contenders=contenders, indices=compute(like))


def measure(trial: Trial) -> dict[str, dict[str, list[float]]]:
    """Measure every contender, on each quarter of a year by itself.

    Returns
    -------
    dict
        By measure and contender: a number for each quarter, NaN where there is none.
    """
    trial = with_indices(trial)
    parts = [trial.select(quarter) for quarter in trial.quarters]
    found: dict[str, dict[str, list[float]]] = {}
    for name, each in MEASURES.items():
        if trial.kind in each.kinds:
            found[name] = {
                contender: [each.compute(part, part.contenders[contender]) for part in parts]
                for contender in trial.contenders
            }
    return found


def join(found: list[dict[str, dict[str, list[float]]]]) -> dict[str, dict[str, list[float]]]:
    """Put several worlds or folds together: each counts as one number, the mean over its quarters."""
    if len(found) == 1:
        return found[0]
    return {
        name: {who: [_mean(world[name][who]) for world in found] for who in contenders}
        for name, contenders in found[0].items()
    }


def _mean(values: list[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def as_contender(values: Any, like: xr.DataArray, members: Any = None) -> Contender:
    """Put arrays on the days and cells of a field."""
    mean = like.copy(data=np.asarray(values, dtype=np.float32))
    if members is None:
        return Contender(mean)
    drawn = xr.DataArray(
        np.asarray(members, dtype=np.float32),
        like.coords,
        ("member", *like.dims),
        name=like.name,
        attrs=like.attrs,
    )
    return Contender(mean, drawn)
