"""Who gets what: benefits by group, and how unequal they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from conservation_decisions.allocate.problem import Problem
from conservation_decisions.landscape import Floats
from isopleth.errors import DataError


@dataclass(frozen=True, eq=False)
class Equity:
    """Benefits of a choice by group.

    Attributes
    ----------
    names : tuple of str
    share : array, shape (group,)
        Benefit that was chosen, as a share of all that the group has.
    benefit : array, shape (group,)
        The same in itself.
    gini : float
        Of the shares: 0 if all groups have alike, towards 1 if one has all.
    """

    names: tuple[str, ...]
    benefit: Floats
    share: Floats
    gini: float


def measure_equity(problem: Problem, selected: ArrayLike) -> Equity:
    """Measure what each group has of a choice.

    Raises
    ------
    DataError
        If the landscape has no groups.
    """
    landscape, mask = problem.landscape, np.asarray(selected, bool)
    if not landscape.group_names:
        raise DataError("a landscape must have groups for an equity report, got none")
    inside = landscape.group[None] == np.arange(len(landscape.group_names))[:, None]
    have, can = inside @ (problem.benefit * mask), inside @ problem.benefit
    share = have / np.where(can > 0, can, 1.0)
    return Equity(landscape.group_names, have, share, gini(share))


def gini(values: ArrayLike) -> float:
    r"""Compute the Gini coefficient, :math:`\sum_{ij} |v_i - v_j| / (2 n \sum_i v_i)`; 0 where all are 0.

    Examples
    --------
    >>> gini([1, 1, 1]), gini([0, 0, 3])
    (0.0, 0.6666666666666666)
    """
    ordered = np.sort(np.asarray(values, np.float64))
    total, n = ordered.sum(), ordered.size
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * total)) if total > 0 else 0.0
