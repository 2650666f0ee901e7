"""An allocation problem: a landscape, what is asked of it, and what an answer is worth in plain numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from conservation_decisions.config import ProblemConfig
from conservation_decisions.landscape import Bools, Floats, Landscape
from isopleth.errors import ConfigError, DataError

TARGETED = ("min_set", "min_shortfall", "min_largest_shortfall")
# How far beyond a constraint an answer may lie, as a share of its right-hand side.
TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Problem:
    """A landscape and what is asked of it; see `ProblemConfig`.

    Raises
    ------
    ConfigError
        If a budget is missing, or there are no targets.
    DataError
        If a feature is nowhere, or nothing may be chosen.
    """

    landscape: Landscape
    config: ProblemConfig

    def __post_init__(self) -> None:
        if self.config.objective != "min_set" and not self.config.has_budget:
            raise ConfigError(f"a budget or budget_share must be given for {self.config.objective}, got none")
        if self.config.objective in TARGETED:
            _ = self.targets
        if self.config.group_floor and not self.landscape.group_names:
            raise DataError("a landscape must have groups for a group_floor, got none")

    @cached_property
    def targets(self) -> Floats:
        """Amount of each feature that is asked for (feature,)."""
        share, landscape = self.config.target, self.landscape
        if share is None and "target" in landscape.dataset:
            return landscape.dataset["target"].values
        totals = landscape.totals(self.config.denominator)
        if (nowhere := totals <= 0).any():
            name = landscape.features[int(np.argmax(nowhere))]
            raise DataError(
                f"every feature must occur somewhere, got none of {name!r}",
                hint="leave it out, or give the amount that is wanted as a target",
            )
        if share is None:
            raise ConfigError("target must be given where the landscape has no targets, got none")
        return share * totals

    @cached_property
    def budget(self) -> float:
        """Most that the chosen units may cost; infinite without a budget."""
        if self.config.budget_share is not None:
            return self.config.budget_share * float(self.landscape.cost.sum())
        return math.inf if self.config.budget is None else self.config.budget

    @cached_property
    def locked_in(self) -> Bools:
        """Which units must be chosen."""
        landscape = self.landscape
        if self.config.protected == "ignored":
            return landscape.locked_in
        return landscape.locked_in | (landscape.protected & ~landscape.locked_out)

    @property
    def locked_out(self) -> Bools:
        """Which units must not be chosen."""
        return self.landscape.locked_out

    @cached_property
    def amounts(self) -> Floats:
        """Amounts that the decision looks at (member, feature, unit): one map, or all members."""
        if self.config.uncertainty.attitude == "mean":
            return self.landscape.mean_amounts[None]
        return self.landscape.amounts

    @cached_property
    def benefit(self) -> Floats:
        """Benefit of each unit (unit,): the weighted sum of its shares of the features' totals."""
        totals = self.landscape.totals()
        return (self.landscape.weight / np.where(totals > 0, totals, 1.0)) @ self.landscape.mean_amounts

    @cached_property
    def floors(self) -> Floats:
        """Least benefit of each group (group,)."""
        groups = range(len(self.landscape.group_names)) if self.config.group_floor else range(0)
        shares = [self.benefit[self.landscape.group == group].sum() for group in groups]
        return self.config.group_floor * np.array(shares, dtype=np.float64)

    def boundary_length(self, selected: ArrayLike) -> float:
        """Measure the outer boundary of a choice, m: what nobody shares counts `edge_factor` times."""
        mask = np.asarray(selected, bool)
        first, second, length = self.landscape.edges
        cut = float(length[mask[first] != mask[second]].sum())
        return cut + self.config.edge_factor * float(self.landscape.exposed[mask].sum())

    def shortfalls(self, selected: ArrayLike, amounts: Floats | None = None) -> Floats:
        """Measure relative shortfalls (member, feature), from 0 (met) to 1 (nothing)."""
        return self.fall_short(self.held(selected, amounts))

    def fall_short(self, held: Floats) -> Floats:
        """Measure relative shortfalls (..., feature) of what is held (..., feature)."""
        asked = np.where(self.targets > 0, self.targets, 1.0)
        return np.clip(1.0 - held / asked, 0.0, 1.0) * (self.targets > 0)

    def held(self, selected: ArrayLike, amounts: Floats | None = None) -> Floats:
        """Add up what a choice holds of each feature (member, feature)."""
        return (self.amounts if amounts is None else amounts) @ np.asarray(selected, np.float64)

    def losses(self, selected: ArrayLike, amounts: Floats | None = None) -> Floats:
        """Say what a choice loses under each member (member,); what all budgeted objectives minimise.

        Parameters
        ----------
        selected : array of bool, shape (unit,)
        amounts : array, shape (member, feature, unit), optional
            Other amounts than those decided on, such as the truth.

        Returns
        -------
        array, shape (member,)
            Weighted sum of shortfalls, their largest, weights without an occurrence, or minus the utility.
        """
        weight = self.landscape.weight
        match self.config.objective:
            case "max_utility":
                return -self.held(selected, amounts) @ weight
            case "max_coverage":
                present = (self.amounts if amounts is None else amounts) > self.config.presence
                return ~(present & np.asarray(selected, bool)).any(axis=2) @ weight
            case _:
                return self.lose(self.shortfalls(selected, amounts))

    def lose(self, shortfalls: Floats) -> Floats:
        """Bring shortfalls (..., feature) to one loss (...): their largest, or their weighted sum."""
        if self.config.objective == "min_largest_shortfall":
            return np.asarray(shortfalls.max(axis=-1))
        return np.asarray(shortfalls @ self.landscape.weight)

    def objective(self, selected: ArrayLike) -> float:
        """Compute the objective as it is minimised, from the choice alone."""
        mask = np.asarray(selected, bool)
        penalty = self.config.boundary_penalty
        extra = penalty * self.boundary_length(mask) if penalty else 0.0
        if self.config.objective == "min_set":
            return float(self.landscape.cost[mask].sum()) + extra
        return float(self.aggregate(self.losses(mask))) + extra

    def aggregate(self, losses: Floats) -> Floats:
        """Bring the losses of members (..., member) to one number (...) by the attitude to uncertainty."""
        if self.config.uncertainty.attitude != "cvar":
            return np.asarray(losses.mean(axis=-1))
        return tail_mean(losses, self.config.uncertainty.level)


def tail_mean(losses: ArrayLike, level: float) -> Floats:
    r"""Compute the conditional value at risk of equally likely losses (..., member).

    .. math:: \min_\eta \; \eta + \frac{1}{(1 - \alpha) M} \sum_m (l_m - \eta)_+

    (Rockafellar and Uryasev 2000): the mean of the worst :math:`(1 - \alpha) M` losses, of which the last one
    counts in part.

    Examples
    --------
    >>> float(tail_mean([0.0, 1.0, 2.0, 3.0], 0.5))
    2.5
    """
    ordered = np.sort(np.asarray(losses, np.float64), axis=-1)[..., ::-1]
    size = (1 - level) * ordered.shape[-1]
    share = np.clip(size - np.arange(ordered.shape[-1]), 0.0, 1.0)
    return np.asarray(ordered @ share / size)
