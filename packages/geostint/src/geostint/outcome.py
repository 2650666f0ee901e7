"""Withhold frames, let every method make them, and keep the sums that scores are made of."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Listing
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geostint.baselines import Gaps, Method
from geostint.data import Frames, Sequence
from geostint.guards import check_coherence
from geostint.scores import fss_metric, skill
from isopleth.errors import DataError
from isopleth.grid import Grid
from isopleth.verify import (
    Interval,
    Metric,
    State,
    accumulate,
    block_bootstrap,
    combine,
    power_spectrum,
    psnr_metric,
    ssim_metric,
)
from isopleth.verify.metric import METRICS

LINEAR = "linear"
# The rarest share of cells that counts as an event where a field is never negative.
_EVENT = 0.9
_NEIGHBOURHOOD = 3
# Wave numbers above this share of the shortest are the small scales.
_SMALL_SCALES = 0.5


@dataclass(frozen=True, eq=False)
class Channel:
    """One field under test.

    Parameters
    ----------
    name, units : str
    data_range : float
        Of the training data: for PSNR and SSIM.
    event : float, optional
        The threshold of the fractions skill score.
    """

    name: str
    units: str
    data_range: float
    event: float | None = None

    def metrics(self, grid: Grid) -> list[Metric]:
        """Return what is measured of it."""
        found = [METRICS["mse"], METRICS["mae"], psnr_metric(self.data_range)]
        if min(grid.shape) > 10:
            found.append(ssim_metric(self.data_range))
        if self.event is not None:
            found.append(fss_metric(self.event, cells=_NEIGHBOURHOOD, periodic=grid.is_periodic))
        return found


@dataclass(frozen=True, eq=False)
class Outcome:
    """What methods did in the same gaps.

    Attributes
    ----------
    channels : tuple of Channel
    grid : Grid
    offsets : tuple of float
        Hours after the frame before.
    states : dict of dict of State
        By method, then channel; each keeps (time, offset).
    spectra : dict of dict of ndarray
        Sums over frames of the mean zonal power, by method (or "truth"), then channel; empty where a field is
        not whole or not global.
    """

    channels: tuple[Channel, ...]
    grid: Grid
    offsets: tuple[float, ...]
    states: dict[str, dict[str, State]]
    spectra: dict[str, dict[str, NDArray[np.float64]]]

    @property
    def methods(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.states)

    @property
    def gaps(self) -> int:
        """How many gaps there were."""
        return next(iter(next(iter(self.states.values())).values())).table.sizes["time"]

    def channel(self, name: str) -> Channel:
        """Return a channel by its name."""
        return next(one for one in self.channels if one.name == name)

    def pooled(self, method: str, channel: str, offset: float | None = None) -> State:
        """Return the sums by gap, over all offsets or at one."""
        state = self.states[method][channel]
        table = state.table.sum("offset") if offset is None else state.table.sel(offset=offset, drop=True)
        return replace(state, table=table)

    def score(self, metric: str, method: str, channel: str, offset: float | None = None) -> float:
        """Return a score; those of images are means over images, others are of pooled sums."""
        state = self.states[method][channel]
        table = state.table if offset is None else state.table.sel(offset=[offset])
        chosen = next(each for each in self._metrics(channel) if each.name == metric)
        if chosen.per_slice:
            return float(chosen.by_slice(replace(state, table=table)).mean())
        return float(chosen.value(replace(state, table=table.sum(["time", "offset"]))))

    def rmse(self, method: str, channel: str, offset: float | None = None) -> float:
        """Return the root mean square error, weighted by area."""
        return float(np.sqrt(self.score("mse", method, channel, offset)))

    def skill(
        self, method: str, channel: str, *, against: str = LINEAR, seed: int = 0, offset: float | None = None
    ) -> Interval:
        """Return 1 - MSE / MSE of another method, with an interval over blocks of gaps."""
        pair = [self.pooled(name, channel, offset) for name in (method, against)]
        return block_bootstrap(pair[0], against=pair[1], metric="mse", compare=skill, seed=seed)

    def difference(self, method: str, against: str, channel: str, *, seed: int = 0) -> Interval:
        """Return the difference of two methods' RMSE, with an interval over blocks of gaps."""
        pair = [self.pooled(name, channel) for name in (method, against)]
        return block_bootstrap(
            pair[0], against=pair[1], metric="mse", seed=seed, compare=lambda a, b: a**0.5 - b**0.5
        )

    def interval(self, method: str, channel: str, *, seed: int = 0) -> tuple[float, float]:
        """Return the interval of a method's RMSE."""
        found = block_bootstrap(self.pooled(method, channel), metric="mse", seed=seed)
        low, high = (float(np.sqrt(max(end, 0.0))) for end in found.ends)
        return low, high

    def small_scales(self, method: str, channel: str) -> float | None:
        """Return the power at small scales in units of the truth's, None where there is no spectrum."""
        if channel not in self.spectra.get("truth", {}):
            return None
        made, truth = (self.spectra[name][channel] for name in (method, "truth"))
        first = int(_SMALL_SCALES * len(truth))
        return float(made[first:].sum() / truth[first:].sum())

    def check(self) -> None:
        """Refuse a table whose PSNR and squared errors cannot both be."""
        for channel in self.channels:
            for method in self.methods:
                state = self.states[method][channel.name]
                # By image, as PSNR is: images with fewer cells weigh as much as others.
                error = float(METRICS["mse"].by_slice(state).mean())
                psnr = self.score("psnr", method, channel.name)
                check_coherence(psnr, error, channel.data_range, what=f"{method}, {channel.name}")

    def _metrics(self, channel: str) -> list[Metric]:
        return self.channel(channel).metrics(self.grid)


def compare_methods(
    sequence: Sequence,
    methods: Mapping[str, Method],
    *,
    factor: int,
    channels: tuple[Channel, ...],
    block: int = 32,
) -> Outcome:
    """Keep every `factor`-th frame and score what each method makes of the rest.

    Parameters
    ----------
    sequence : Sequence
        At the fine step.
    methods : mapping of str to Method
        Fitted, where they have to be.
    factor : int
        Fine steps to a kept one.
    channels : tuple of Channel
        In the sequence's order.
    block : int
        Gaps at a time.

    Raises
    ------
    DataError
        If there are not at least two gaps with all frames in them.
    """
    kept, starts = find_gaps(sequence, factor)
    fractions = tuple(k / factor for k in range(1, factor))
    offsets = tuple(k * sequence.step_seconds / 3600 for k in range(1, factor))
    names = tuple(methods)
    states: dict[str, dict[str, list[State]]] = {m: {c.name: [] for c in channels} for m in names}
    spectra: dict[str, dict[str, NDArray[np.float64]]] = {name: {} for name in (*names, "truth")}
    for first in range(0, len(starts), block):
        numbers = starts[first : first + block]
        gaps = read_gaps(kept, numbers)
        truth = _read_truth(sequence, kept, numbers, factor)
        _add_spectra(spectra["truth"], truth, channels, sequence.grid)
        for name in names:
            made = methods[name].make(gaps, fractions)
            _add_spectra(spectra[name], made, channels, sequence.grid)
            for number, channel in enumerate(channels):
                pair = [
                    _label(values[:, :, number], numbers, offsets, sequence.grid) for values in (made, truth)
                ]
                weights = xr.DataArray(sequence.grid.weights, dims="lat")
                states[name][channel.name].append(
                    accumulate(channel.metrics(sequence.grid), *pair, dims=("lat", "lon"), weights=weights)
                )
    summed = {m: {c: combine(parts) for c, parts in found.items()} for m, found in states.items()}
    outcome = Outcome(channels, sequence.grid, offsets, summed, spectra)
    outcome.check()
    return outcome


def join_outcomes(outcomes: Listing[Outcome]) -> Outcome:
    """Put the gaps of several sequences one after another; methods and channels must be the same."""
    first, states, spectra = outcomes[0], {}, {}
    for method in first.methods:
        states[method] = {
            channel.name: combine(_moved(one.states[method][channel.name], number)
                                  for number, one in enumerate(outcomes))
            for channel in first.channels
        }  # fmt: skip
    for name, found in first.spectra.items():
        spectra[name] = {
            channel: np.sum([one.spectra[name][channel] for one in outcomes], axis=0) for channel in found
        }
    return replace(first, states=states, spectra=spectra)


def find_gaps(sequence: Sequence, factor: int) -> tuple[Sequence, list[int]]:
    """Return the kept frames, and after which of them all withheld frames and the next kept one are there.

    Raises
    ------
    DataError
        If that is so fewer than twice.
    """
    kept = sequence.thin(factor)
    there = set((sequence.where - sequence.where[0]).tolist())
    whole = [
        gap
        for gap in np.flatnonzero(kept.is_gap).tolist()
        if all(int(kept.where[gap]) * factor + k in there for k in range(factor + 1))
    ]
    if len(whole) < 2:
        raise DataError(
            f"there must be at least 2 gaps of {factor} steps with every frame in them, got {len(whole)}",
            where=sequence.place,
        )
    return kept, whole


def read_gaps(kept: Sequence, numbers: Listing[int]) -> Gaps:
    """Read some gaps with the frames around them."""
    frames = np.concatenate([kept.read_around(low, high) for low, high in _runs(numbers)])
    rows = np.asarray(numbers)
    return Gaps(frames, kept.seconds[rows], kept.seconds[rows + 1], kept.grid)


def _read_truth(sequence: Sequence, kept: Sequence, numbers: Listing[int], factor: int) -> Frames:
    """Read the withheld frames of some gaps, shape (gap, frame, channel, lat, lon)."""
    steps = kept.where[np.asarray(numbers)] * factor + sequence.where[0]
    rows = np.searchsorted(sequence.where, steps)
    return np.stack([sequence.read(row + 1, row + factor) for row in rows.tolist()])


def _runs(numbers: Listing[int]) -> list[tuple[int, int]]:
    """Return runs of consecutive numbers as (first, last + 1)."""
    cuts = np.flatnonzero(np.diff(numbers) != 1) + 1
    return [(int(part[0]), int(part[-1]) + 1) for part in np.split(np.asarray(numbers), cuts)]


def _label(values: Frames, numbers: Listing[int], offsets: tuple[float, ...], grid: Grid) -> xr.DataArray:
    coords = {"time": list(numbers), "offset": list(offsets), "lat": grid.lat, "lon": grid.lon}
    return xr.DataArray(values, coords, ("time", "offset", "lat", "lon"))


def _add_spectra(
    sums: dict[str, NDArray[np.float64]], frames: Frames, channels: tuple[Channel, ...], grid: Grid
) -> None:
    """Add each channel's mean zonal power, if the grid goes around the globe and nothing is missing."""
    if not grid.is_periodic:
        return
    weights = xr.DataArray(grid.weights, dims="lat")
    for number, channel in enumerate(channels):
        values = frames[:, :, number].reshape(-1, *grid.shape)
        if np.isnan(values).any():
            continue
        field = xr.DataArray(values, {"lat": grid.lat, "lon": grid.lon}, ("frame", "lat", "lon"))
        power = power_spectrum(field, dims=("frame", "lat"), weights=weights).values * len(values)
        sums[channel.name] = sums.get(channel.name, 0.0) + power


def _moved(state: State, number: int) -> State:
    """Give a sequence's gaps labels of their own."""
    table = state.table
    return replace(state, table=table.assign_coords(time=table["time"].values + number * 1_000_000))


def pick_event(frames: Frames) -> float | None:
    """Return the value that a tenth of the cells exceeds, None for a field that goes below 0."""
    finite = frames[np.isfinite(frames)]
    if not finite.size or finite.min() < 0:
        return None
    return float(np.quantile(finite, _EVENT))
