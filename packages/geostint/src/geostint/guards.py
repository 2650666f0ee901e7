"""What stops a run that fools itself: collapse, aliasing, tables that cannot be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isopleth.errors import DataError, TrainingError

# Below these shares of what linear interpolation does a network has collapsed.
COPY, FADE = 0.2, 0.25
# Share of a series' variance in the fast half of its spectrum: white noise has half of it there.
_FAST_SHARE = 0.25
_HALF_DAY = 43200
# Decibels of rounding in a published table.
_ROUNDING_DB = 0.05


@dataclass(frozen=True, kw_only=True)
class Activity:
    """How a model's frames differ from its inputs and from nothing, as sums over samples.

    Attributes
    ----------
    from_inputs : float
        Mean absolute difference of each frame from the nearer of the two inputs.
    between_inputs : float
        Mean absolute difference of the inputs.
    size : float
        Mean absolute z-score of the frames.
    linear_size : float
        That of linear interpolation.
    frames : int
        Frames in a gap.
    """

    from_inputs: float
    between_inputs: float
    size: float
    linear_size: float
    frames: int

    @property
    def copy_ratio(self) -> float:
        r"""Distance from the nearer input, in units of what linear interpolation has.

        .. math:: \frac{\langle \min(|M - a|, |M - b|) \rangle}{\langle |b - a| \rangle\,
                  \overline{\min(t, 1 - t)}}

        1 for linear interpolation, 0 for a copy of either input. Infinite where the inputs are alike.
        """
        times = np.arange(1, self.frames + 1) / (self.frames + 1)
        expected = self.between_inputs * float(np.minimum(times, 1 - times).mean())
        return self.from_inputs / expected if expected > 0 else math.inf

    @property
    def fade_ratio(self) -> float:
        """Size of the frames' departures from the mean, in units of linear interpolation's."""
        return self.size / self.linear_size if self.linear_size > 0 else math.inf

    def find_collapse(self) -> str | None:
        """Say what has collapsed, None if nothing has."""
        if self.copy_ratio < COPY:
            return (
                f"the network copies its inputs: its frames must differ from the nearer input by at least "
                f"{COPY:g} of what linear interpolation does, got {self.copy_ratio:.3f}; the first loss "
                "alone is solved by a copy, raise loss.agreement"
            )
        if self.fade_ratio < FADE:
            return (
                f"the network fades to the mean: its frames must be at least {FADE:g} of the size of linear "
                f"interpolation's, got {self.fade_ratio:.3f}; use network.output residual"
            )
        return None

    def check(self) -> None:
        """Raise `TrainingError` with the reason if something has collapsed."""
        found = self.find_collapse()
        if found:
            raise TrainingError(found, hint="--fit.collapse warn goes on nevertheless")


def fast_share(frames: ArrayLike) -> float:
    r"""Return the share of variance in time above half the Nyquist frequency.

    .. math:: s = \sum_{f > f_N / 2} S(f) \Big/ \sum_{f > 0} S(f)

    with S the mean periodogram over cells, of series without their mean and tapered by a Hann window. White
    noise has 0.5; a field that the sampling follows has little.

    Parameters
    ----------
    frames : array, shape (time, lat, lon)
        At equal steps; a cell with a missing value is left out.

    Returns
    -------
    float
        NaN with no whole or no varying cell.
    """
    series = np.asarray(frames, dtype=np.float64)
    series = series.reshape(len(series), -1)
    series = series[:, np.isfinite(series).all(axis=0)]
    if not series.size:
        return math.nan
    tapered = (series - series.mean(axis=0)) * np.hanning(len(series) + 2)[1:-1, None]
    power = (np.abs(np.fft.rfft(tapered, axis=0)) ** 2).sum(axis=1)[1:]
    frequency = np.fft.rfftfreq(len(series))[1:]
    return float(power[frequency > 0.25].sum() / power.sum()) if power.sum() > 0 else math.nan


def warn_of_sampling(frames: NDArray, channels: Sequence[str], step_seconds: int) -> list[str]:
    """List why sub-steps may not follow from frames this far apart.

    The losses are zero for the truth and for its aliases alike, so that nothing in training notices.

    Parameters
    ----------
    frames : array, shape (time, channel, lat, lon)
        At equal steps, NaN where missing.
    channels : sequence of str
    step_seconds : int
        From frame to frame.
    """
    found = []
    for number, name in enumerate(channels):
        share = fast_share(frames[:, number])
        if share > _FAST_SHARE:
            found.append(
                f"{name}: {share:.0%} of its variance is faster than a quarter of the sampling frequency "
                "(white noise: 50 %), so that what happens between frames cannot be identified from them"
            )
    if _HALF_DAY <= step_seconds < 28 * 86400:
        found.append(
            f"a diurnal cycle cannot be recovered from frames every {step_seconds / 3600:g} h: it needs more "
            "than two a day"
        )
    return found


def check_coherence(psnr: float, mse: float, data_range: float, *, what: str = "the table") -> None:
    r"""Refuse a mean PSNR that its own mean squared error rules out.

    The logarithm is convex, so that by Jensen's inequality a mean over images can only be above what the mean
    error gives:

    .. math:: \overline{\mathrm{PSNR}} \ge 10 \log_{10} (R^2 / \overline{\mathrm{MSE}})

    Parameters
    ----------
    psnr : float
        Mean over images, dB.
    mse : float
        Mean over the same images, in squared units of `data_range`.
    data_range : float
        R, the range of values.

    Raises
    ------
    DataError
        If they do not go together: one of them was divided by another number of images.
    """
    if not (math.isfinite(mse) and mse > 0 and data_range > 0):
        return
    least = 10 * math.log10(data_range**2 / mse)
    if not psnr >= least - _ROUNDING_DB:
        raise DataError(
            f"a mean PSNR must be at least {least:.2f} dB for a mean squared error of {mse:.3g} in a range "
            f"of {data_range:g}, got {psnr:.2f} dB",
            where=what,
            hint="both must be means over the same images",
        )
