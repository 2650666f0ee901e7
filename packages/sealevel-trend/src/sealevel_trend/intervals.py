"""Intervals with a guarantee: the networks' spread and the ocean's variability, scaled by held-out errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isopleth.errors import DataError
from isopleth.sealevel.protocol import Outcome
from isopleth.sealevel.rows import Floats
from isopleth.verify.conformal import block_conformal

# mm/year; below it a scale is of no use as a divisor.
_SMALLEST_SCALE = 1e-3


@dataclass(frozen=True)
class Calibration:
    """What turns a forecast into an interval.

    Attributes
    ----------
    level : float
        Nominal coverage.
    scaled : float
        Half-width in units of the scale.
    plain : float
        Half-width of intervals that are as wide everywhere, mm/year.
    """

    level: float
    scaled: float
    plain: float

    def ends(self, mean: Floats, scale: Floats) -> tuple[Floats, Floats]:
        """Return the ends of the intervals round predictions."""
        return mean - self.scaled * scale, mean + self.scaled * scale


def combine_scales(spread: Floats, internal: Floats | None) -> Floats:
    r"""Join what the networks disagree on and how the ocean's own variability moves trends.

    .. math:: s = \sqrt{s_{networks}^2 + s_{internal}^2}

    Parameters
    ----------
    spread : array, shape (n,)
        Standard deviation over networks and dropout passes, mm/year.
    internal : array, shape (n,), optional
        Standard deviation of the trends of a model's members, mm/year.
    """
    own = np.zeros_like(spread) if internal is None else internal
    return np.maximum(np.sqrt(spread**2 + own**2), _SMALLEST_SCALE)


def scale_of(outcome: Outcome, internal: Floats | None = None) -> Floats:
    """Give the scale of each row of an outcome, whose learner must give a spread.

    Parameters
    ----------
    outcome : Outcome
    internal : array, shape (cell of the grid,), optional
        As for `combine_scales`, on the flattened grid.
    """
    return combine_scales(known_spread(outcome), None if internal is None else internal[outcome.cell])


def known_spread(outcome: Outcome) -> Floats:
    """Give the spread of an outcome, or refuse one without."""
    if outcome.spread is None:
        raise DataError("an outcome with intervals must have a spread, got none", where=outcome.learner)
    return outcome.spread


def calibrate(outcome: Outcome, level: float, *, internal: Floats | None = None) -> Calibration:
    """Find how wide intervals must be, from blocks of ocean that were held out, or of perfect models.

    Parameters
    ----------
    outcome : Outcome
        Of cross-validation in spatial blocks, or of a perfect-model test.
    level : float
    internal : array, shape (cell of the grid,), optional
        As for `combine_scales`, on the flattened grid.
    """
    scale = scale_of(outcome, internal)
    # The same place in two models is two blocks.
    _, blocks = np.unique(np.stack([outcome.block, outcome.trial]), axis=1, return_inverse=True)
    parts = {"blocks": blocks, "level": level, "weights": outcome.weight}
    return Calibration(
        level=level,
        scaled=block_conformal(outcome.error, scale=scale, **parts),  # type: ignore[arg-type]
        plain=block_conformal(outcome.error, **parts),  # type: ignore[arg-type]
    )


def calibrate_across(outcome: Outcome, level: float, scale: Floats) -> tuple[Floats, Floats]:
    """Give each fold, or each perfect model, the interval that the others call for: an honest test.

    Parameters
    ----------
    outcome : Outcome
        Of cross-validation in spatial blocks, or of a perfect-model test.
    level : float
    scale : array, shape (n,)
        From `scale_of`.

    Returns
    -------
    tuple of array, shape (n,)
        Lower and upper ends.
    """
    factor = np.empty(len(scale))
    for fold in np.unique(outcome.trial):
        own = outcome.trial == fold
        factor[own] = block_conformal(
            outcome.error[~own], outcome.block[~own], level=level, scale=scale[~own],
            weights=outcome.weight[~own],
        )  # fmt: skip
    return outcome.prediction - factor * scale, outcome.prediction + factor * scale
