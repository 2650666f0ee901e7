"""The distance over which a target is like itself: its variogram, and the range of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from isopleth.errors import DataError
from isopleth.grid import great_circle_km

_PAIRS = 200_000
_BINS = 20
# An exponential variogram never reaches its sill: the practical range is where 95 % of it is reached.
_PRACTICAL = 3.0


@dataclass(frozen=True, eq=False)
class Variogram:
    r"""An exponential variogram and the points it was fitted to.

    .. math:: \gamma(h) = c_0 + c \, (1 - e^{-3 h / a})

    Attributes
    ----------
    range_km : float
        a, where 95 % of the sill is reached.
    nugget, sill : float
        c0 and c0 + c, in squared units of the target.
    distance_km, semivariance : array, shape (bin,)
        Half the mean squared difference of pairs, by their distance.
    """

    range_km: float
    nugget: float
    sill: float
    distance_km: np.ndarray
    semivariance: np.ndarray

    def at(self, distance_km: np.ndarray) -> np.ndarray:
        """Return the fitted semivariance at some distances."""
        rise = 1 - np.exp(-_PRACTICAL * np.asarray(distance_km) / self.range_km)
        return np.asarray(self.nugget + (self.sill - self.nugget) * rise)


def measure_variogram(
    values: np.ndarray, lat: np.ndarray, lon: np.ndarray, *, times: np.ndarray | None = None, seed: int = 0
) -> Variogram:
    """Fit the variogram of a target over great-circle distance.

    Pairs are drawn at random, within one time where times are given, up to half the greatest distance
    (Journel and Huijbregts, Mining Geostatistics, 1978); each bin's misfit counts by the root of its pairs.

    Parameters
    ----------
    values, lat, lon : array, shape (sample,)
        NaN drops out.
    times : array, shape (sample,), optional
        Pairs are of one time only, unless hardly any time has two samples.
    seed : int
        Of the pairs.

    Raises
    ------
    DataError
        If fewer than ten samples at different places are left.
    """
    known = np.flatnonzero(np.isfinite(values))
    first, second = _draw_pairs(known, times, np.random.default_rng(seed))
    distance = great_circle_km(lat[first], lon[first], lat[second], lon[second])
    apart = distance > 0
    if np.unique(distance[apart]).size < 10:
        raise DataError(
            f"a variogram needs pairs at ten distances or more, got {np.unique(distance[apart]).size}"
        )
    half = 0.5 * (values[first] - values[second])[apart] ** 2
    return _fit(*_bin(distance[apart], half))


def _draw_pairs(
    known: np.ndarray, times: np.ndarray | None, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    if known.size < 10:
        raise DataError(f"a variogram needs ten known samples or more, got {known.size}")
    if times is not None:
        pairs = _pairs_at_one_time(known, times, generator)
        if pairs[0].size >= 1000:
            return pairs
    drawn = generator.integers(0, known.size, size=(2, _PAIRS))
    return known[drawn[0]], known[drawn[1]]


def _pairs_at_one_time(
    known: np.ndarray, times: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pair samples with others of their time, by their places in the order of times."""
    from isopleth.fields.times import ticks

    stamp = np.unique(ticks(times[known]), return_inverse=True)[1]
    order = np.argsort(stamp, kind="stable")
    count = np.bincount(stamp)
    first_of = np.cumsum(count) - count
    one = generator.integers(0, known.size, size=_PAIRS)
    other = first_of[stamp[one]] + (generator.random(_PAIRS) * count[stamp[one]]).astype(np.intp)
    different = order[other] != one
    return known[one[different]], known[order[other[different]]]


def _bin(distance: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    edges = np.linspace(0, 0.5 * distance.max(), _BINS + 1)
    number = np.digitize(distance, edges) - 1
    near = number < _BINS
    count = np.bincount(number[near], minlength=_BINS).astype(np.float64)
    filled = count >= 10
    sums = [np.bincount(number[near], weights=part[near], minlength=_BINS) for part in (distance, half)]
    return sums[0][filled] / count[filled], sums[1][filled] / count[filled], count[filled]


def _fit(distance: np.ndarray, gamma: np.ndarray, count: np.ndarray) -> Variogram:
    if distance.size < 3:
        raise DataError(f"a variogram needs three filled bins of distance, got {distance.size}")
    weight, top = np.sqrt(count / count.sum()), float(gamma.max()) or 1.0
    far = float(distance.max())

    def misfit(parameters: np.ndarray) -> np.ndarray:
        nugget, partial, reach = parameters
        return np.asarray(
            weight * (nugget + partial * (1 - np.exp(-_PRACTICAL * distance / reach)) - gamma / top)
        )

    bounds = ([0.0, 0.0, distance[0] / 10], [2.0, 4.0, 2 * far])
    found = least_squares(misfit, [0.1, 0.9, far / 3], bounds=bounds)
    nugget, partial, reach = (float(value) for value in found.x)
    return Variogram(reach, nugget * top, (nugget + partial) * top, distance, gamma)
