"""A park whose poachers are as unknown to the rangers as in life: what a bandit learns in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial.distance import cdist

from conservation_decisions.landscape import Floats, Integers
from conservation_decisions.plan.knapsack import best_allocation

LEVELS = 11  # efforts 0, 0.1, ... 1


@dataclass(frozen=True, eq=False)
class PatrolEnvironment:
    """Targets with features, and what patrols of each effort find on average.

    Attributes
    ----------
    features : array, shape (target, feature)
        All that a policy may know beforehand.
    mean : array, shape (target, level)
        Chance of a find; 0 without effort, rising with it.
    budget : int
        Total effort a round, in tenths.
    slope : float
        No chance rises faster than this with effort, or with the features' distance (largest coordinate).
    """

    features: Floats
    mean: Floats
    budget: int
    slope: float

    @cached_property
    def optimum(self) -> float:
        """Finds a round that the best allocation expects."""
        levels = best_allocation(self.mean, np.arange(LEVELS), self.budget)
        return self.expected(levels)

    def expected(self, levels: Integers) -> float:
        """Compute the finds a round that an allocation expects."""
        return float(self.mean[np.arange(len(levels)), levels].sum())

    def draw(self, levels: Integers, rng: np.random.Generator) -> Floats:
        """Draw what is found (target,), 0 or 1."""
        return (rng.random(len(levels)) < self.mean[np.arange(len(levels)), levels]).astype(np.float64)


def make_environment(targets: int = 25, budget: float = 1.0, *, seed: int = 0) -> PatrolEnvironment:
    """Make targets whose attractiveness is a smooth function of two features.

    Parameters
    ----------
    targets : int
    budget : float
        Effort a round.
    seed : int
    """
    rng = np.random.default_rng([seed, 2021])
    features = rng.random((targets, 2))
    peaks, width = rng.random((2, 2)), 0.25
    attraction = np.exp(-0.5 * cdist(features, peaks, "sqeuclidean") / width**2).max(axis=1)
    effort, rate = np.linspace(0.0, 1.0, LEVELS), 1.5
    rise = (1.0 - np.exp(-rate * effort)) / (1.0 - np.exp(-rate))
    # Steepest: in effort at 0; in the features on a bell's flank, where both coordinates may add up.
    slope = max(rate / (1.0 - np.exp(-rate)), np.sqrt(2.0) * np.exp(-0.5) / width)
    return PatrolEnvironment(features, np.outer(attraction, rise), round(10 * budget), float(slope))
