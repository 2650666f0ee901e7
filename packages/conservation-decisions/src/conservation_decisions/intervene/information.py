"""What it is worth to know more before deciding."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from conservation_decisions.intervene.mdp import check_chances
from isopleth.errors import DataError


def value_of_perfect_information(payoff: ArrayLike, chance: ArrayLike | None = None) -> float:
    r"""Compute the expected value of knowing the state before choosing.

    .. math:: \mathrm{E}_s \max_a u(a, s) - \max_a \mathrm{E}_s u(a, s)

    Parameters
    ----------
    payoff : array, shape (action, state)
    chance : array, shape (state,), optional
        Equal chances by default, as of the members of a prediction.

    Examples
    --------
    >>> value_of_perfect_information([[10, 0], [4, 4]])
    2.0
    """
    worth, weight = _check(payoff, chance)
    return float(worth.max(axis=0) @ weight - (worth @ weight).max())


def value_of_sample_information(
    payoff: ArrayLike, likelihood: ArrayLike, chance: ArrayLike | None = None
) -> float:
    r"""Compute the expected value of one imperfect observation before choosing.

    .. math:: \sum_o \max_a \sum_s p(s) p(o \mid s) u(a, s) - \max_a \mathrm{E}_s u(a, s)

    Parameters
    ----------
    payoff : array, shape (action, state)
    likelihood : array, shape (state, observation)
    chance : array, shape (state,), optional
    """
    worth, weight = _check(payoff, chance)
    seen = np.asarray(likelihood, np.float64)
    if seen.ndim != 2 or len(seen) != weight.size:
        raise DataError(f"likelihood must have the shape ({weight.size}, observation), got {seen.shape}")
    check_chances(seen, "likelihood")
    return float((worth @ (weight[:, None] * seen)).max(axis=0).sum() - (worth @ weight).max())


def _check(payoff: ArrayLike, chance: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    worth = np.asarray(payoff, np.float64)
    if worth.ndim != 2 or not np.isfinite(worth).all():
        raise DataError(f"payoff must be finite numbers (action, state), got shape {worth.shape}")
    weight = np.full(worth.shape[1], 1 / worth.shape[1]) if chance is None else np.asarray(chance, np.float64)
    if weight.shape != (worth.shape[1],):
        raise DataError(f"chance must have the shape ({worth.shape[1]},), got {weight.shape}")
    check_chances(weight[None], "chance")
    return worth, weight
