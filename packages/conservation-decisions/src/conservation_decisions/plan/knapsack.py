"""The multiple-choice knapsack: one level of effort for each target, within a budget, exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from conservation_decisions.landscape import Integers
from isopleth.errors import ConfigError


def best_allocation(values: ArrayLike, costs: ArrayLike, budget: int) -> Integers:
    r"""Choose one level for each target with the greatest total value (dynamic programme over the budget).

    .. math:: V_i(b) = \max_j \; v_{ij} + V_{i - 1}(b - c_j)

    Exact, in :math:`O(N B J)`: no solver is needed.

    Parameters
    ----------
    values : array, shape (target, level)
    costs : array of int, shape (level,)
        One of them 0.
    budget : int

    Returns
    -------
    array of int, shape (target,)
        The level of each target.

    Examples
    --------
    >>> best_allocation([[0, 3, 4], [0, 2, 4.5]], [0, 1, 2], 2).tolist()
    [1, 1]
    """
    worth, price = np.asarray(values, np.float64), np.asarray(costs, np.int64)
    if budget < 0 or price.min() != 0:
        raise ConfigError(f"budget must not be below 0 and one cost be 0, got {budget} and {price.tolist()}")
    left = np.arange(budget + 1)[None] - price[:, None]
    allowed, left = left >= 0, np.maximum(left, 0)
    best = np.zeros(budget + 1)
    chosen = np.empty((len(worth), budget + 1), np.int64)
    for target, gains in enumerate(worth):
        options = np.where(allowed, best[left] + gains[:, None], -np.inf)
        chosen[target] = options.argmax(axis=0)
        best = options.max(axis=0)
    levels, rest = np.empty(len(worth), np.int64), budget
    for target in range(len(worth) - 1, -1, -1):
        levels[target] = chosen[target, rest]
        rest -= price[levels[target]]
    return levels
