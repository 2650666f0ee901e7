"""Quantile mapping and BCSD, on xsdba: they need distributions, and no pairs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from climalign.baselines.interpolation import Floats, Normals, interpolate, spread_anomaly
from climalign.config import BaselineConfig, Kind
from climalign.data import Fields
from isopleth.errors import DataError


class QuantileMapping:
    """Empirical quantile mapping of the interpolated field, cell by cell and month by month.

    Parameters
    ----------
    kind : {"temperature", "precipitation"}
    factor : int
    settings : BaselineConfig
        How quantiles are pooled, and how many.
    """

    def __init__(self, kind: Kind, factor: int, settings: BaselineConfig | None = None) -> None:
        self.kind, self.factor, self.settings = kind, factor, settings or BaselineConfig()

    def fit(self, coarse: Fields, fine: Fields) -> QuantileMapping:
        """Learn how quantiles of the one become those of the other."""
        self.map = _Map(self.settings).fit(_upsample(coarse, self.factor, fine), fine)
        self.like = fine
        return self

    def predict(self, coarse: Fields) -> Floats:
        """Give fine fields."""
        return _bounded(self.map.apply(_upsample(coarse, self.factor, self.like)), self.kind)


class Bcsd:
    """Bias correction and spatial disaggregation (Wood et al. 2004), daily.

    Coarse fields are quantile-mapped to block means of the fine ones; what differs from their monthly means
    is then interpolated and put on the fine monthly means (temperature as a difference, rain as a ratio).

    Parameters
    ----------
    kind, factor, settings
        As for `QuantileMapping`.
    """

    def __init__(self, kind: Kind, factor: int, settings: BaselineConfig | None = None) -> None:
        self.kind, self.factor, self.settings = kind, factor, settings or BaselineConfig()

    def fit(self, coarse: Fields, fine: Fields) -> Bcsd:
        """Learn the correction and the fine normals."""
        blocks = fine.block_means(self.factor)
        # Where a block has no fine value at all the coarse field stands for itself.
        self.without = ~np.isfinite(blocks.values).any(0)
        self.map = _Map(self.settings).fit(coarse, blocks)
        self.normal, self.fine = Normals.of(blocks), Normals.of(fine)
        return self

    def predict(self, coarse: Fields) -> Floats:
        """Give fine fields."""
        corrected = _bounded(self.map.apply(coarse), self.kind)
        normal = self.normal.at(coarse)
        # Such a block has no anomaly that its neighbours' cells could be given.
        corrected = _fill_neighbours(np.where(self.without, np.nan, corrected - normal))
        corrected = corrected + _fill_neighbours(normal)
        return spread_anomaly(
            corrected, _fill_neighbours(normal), self.fine.at(coarse), self.kind, self.factor, "bilinear"
        )


class _Map:
    """xsdba's empirical quantile mapping between fields of other years, for each calendar month."""

    def __init__(self, settings: BaselineConfig) -> None:
        self.settings = settings

    def fit(self, source: Fields, target: Fields) -> _Map:
        import xsdba

        chosen = _match_months(source, target)
        hist, ref = source.values[chosen], target.values
        self.known: NDArray[np.bool_] = np.asarray(np.isfinite(ref).any(0) & np.isfinite(hist).any(0))
        self.trained = {}
        for month in np.unique(target.months):
            days = target.months == month
            with _quiet():
                # One call a month: between months xsdba would interpolate in two dimensions, and fail where
                # all days are equal.
                self.trained[month] = xsdba.EmpiricalQuantileMapping.train(
                    _columns(ref[days], self.known, target.times[days]),
                    _columns(hist[days], self.known, target.times[days]),
                    nquantiles=self.settings.quantiles,
                    group="time",
                    kind="+",
                )
        return self

    def apply(self, source: Fields) -> NDArray[np.float64]:
        result = np.full(source.values.shape, np.nan)
        for month in np.unique(source.months):
            if month not in self.trained:
                raise DataError(
                    "every calendar month must have been in the training period, got fields of month "
                    f"{month + 1}"
                )
            days = source.months == month
            given = _columns(source.values[days], self.known, source.times[days])
            with _quiet():
                mapped = self.trained[month].adjust(given, interp="linear").transpose("time", "cell")
            # Where all training days are equal no quantile can be told from another: the shift is the same.
            constant = self.trained[month].ds["af"].mean("quantiles").values.ravel()
            values = np.where(np.isfinite(mapped.values), mapped.values, given.values + constant)
            part = np.full((int(days.sum()), *self.known.shape), np.nan)
            part[:, self.known] = values
            result[days] = part
        return result


def _columns(values: NDArray, known: NDArray[np.bool_], times: NDArray[Any]) -> Any:
    """Give the known cells as columns, so that no work goes to the sea."""
    import xarray as xr

    return xr.DataArray(
        values[:, known].astype(np.float64), {"time": times}, ("time", "cell"), attrs={"units": "K"}
    )


def _match_months(source: Fields, target: Fields) -> NDArray[np.int64]:
    """Choose a source day of the same calendar month for each target day, each as often as any other.

    xsdba wants equal time stamps on both sides, though its quantiles only need equal months.
    """
    chosen = np.empty(len(target.times), dtype=np.int64)
    for month in np.unique(target.months):
        here, there = np.flatnonzero(target.months == month), np.flatnonzero(source.months == month)
        if not len(there):
            raise DataError(
                f"every calendar month must be in the coarse training period, got none of month {month + 1}"
            )
        chosen[here] = there[np.arange(len(here)) % len(there)]
    return chosen


def _upsample(coarse: Fields, factor: int, like: Fields) -> Fields:
    values = interpolate(coarse.values, factor, "bilinear").astype(np.float32)
    return Fields(values, coarse.times, like.lat, like.lon, coarse.units, coarse.variable)


def _fill_neighbours(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Let unknown cells take the mean of their known neighbours, from the coast outwards."""
    values = values.copy()
    for _ in range(sum(values.shape[1:])):
        unknown = ~np.isfinite(values)
        if not unknown.any():
            break
        padded = np.pad(values, [(0, 0), (1, 1), (1, 1)], constant_values=np.nan)
        around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
        known = np.isfinite(around)
        count = known.sum((-2, -1))
        mean = np.where(known, around, 0).sum((-2, -1)) / np.maximum(count, 1)
        values = np.where(unknown & (count > 0), mean, values)
    return values


def _bounded(values: NDArray, kind: Kind) -> NDArray:
    return np.clip(values, 0, None) if kind == "precipitation" else values


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep xsdba's notes on libraries that it stands on from the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
