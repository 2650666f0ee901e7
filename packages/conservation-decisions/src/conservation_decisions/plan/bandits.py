"""Policies that learn where to patrol by patrolling, each with the exact knapsack as its planner."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from conservation_decisions.landscape import Floats, Integers
from conservation_decisions.plan.environment import LEVELS, PatrolEnvironment
from conservation_decisions.plan.knapsack import best_allocation

_COSTS = np.arange(LEVELS)
_EFFORT = np.linspace(0.0, 1.0, LEVELS)


class Counted(ABC):
    """Keep the finds of each level at each target."""

    def __init__(self, environment: PatrolEnvironment) -> None:
        self.environment = environment
        self.visits = np.zeros_like(environment.mean)
        self.finds = np.zeros_like(environment.mean)

    @abstractmethod
    def index(self, turn: int, rng: np.random.Generator) -> Floats:
        """Give what each level at each target is taken to be worth (target, level)."""

    def learn(self, levels: Integers, finds: Floats) -> None:
        """Count visits and finds."""
        place = (np.arange(len(levels)), levels)
        self.visits[place] += 1
        self.finds[place] += finds

    def optimistic_mean(self) -> Floats:
        """Give the mean of what was found: 1 where nothing was tried, 0 without effort."""
        mean = np.where(self.visits > 0, self.finds / np.maximum(self.visits, 1), 1.0)
        mean[:, 0] = 0.0
        return mean


class Random(Counted):
    """Spend the budget at random."""

    def index(self, turn: int, rng: np.random.Generator) -> Floats:  # noqa: ARG002
        """Take every target's every level for worth a random number a tenth of effort."""
        return np.outer(rng.random(len(self.visits)), _EFFORT)


class Cucb(Counted):
    r"""Combinatorial upper confidence bounds (Chen et al. 2013), :math:`\hat\mu + \sqrt{3 \ln t / 2 n}`."""

    def index(self, turn: int, rng: np.random.Generator) -> Floats:  # noqa: ARG002
        """Add the radius; what has no effort finds nothing."""
        radius = np.sqrt(1.5 * np.log(max(turn, 1)) / np.maximum(self.visits, 1))
        upper = np.minimum(self.optimistic_mean() + radius, 1.0)
        upper[:, 0] = 0.0
        return upper


class Thompson(Counted):
    """Thompson sampling with a uniform prior for each level at each target."""

    def index(self, turn: int, rng: np.random.Generator) -> Floats:  # noqa: ARG002
        """Draw from the posterior; what has no effort finds nothing."""
        drawn = rng.beta(1 + self.finds, 1 + self.visits - self.finds)
        drawn[:, 0] = 0.0
        return drawn


class Lizard(Counted):
    r"""Lipschitz bandit over effort and features (Xu et al. 2021, dual-mandate patrols).

    .. math:: I_{ij} = \min_{i', j'} \hat\mu_{i'j'} + r_{i'j'}
        + L \max(0, e_j - e_{j'}) + L\, \lVert y_i - y_{i'} \rVert_\infty, \quad
        r = \sqrt{-\ln 0.1 / (2 \max(1, n))}

    Each bound holds for all others too, as far as effort and features are apart; more effort never finds
    less, so that only effort above counts. Distances are those of the features, never of the true rewards.
    """

    def __init__(self, environment: PatrolEnvironment) -> None:
        super().__init__(environment)
        features, slope = environment.features, environment.slope
        self.apart = slope * np.abs(features[:, None] - features[None]).max(axis=2)
        self.above = slope * np.maximum(0.0, _EFFORT[:, None] - _EFFORT[None])

    def index(self, turn: int, rng: np.random.Generator) -> Floats:  # noqa: ARG002
        """Tighten every bound by all the others."""
        upper = self.optimistic_mean() + np.sqrt(-np.log(0.1) / (2 * np.maximum(self.visits, 1)))
        upper[:, 0] = 0.0
        by_effort = (upper[:, None, :] + self.above[None]).min(axis=2)
        return (by_effort[None] + self.apart[:, :, None]).min(axis=1)


def run_bandit(
    policy: Counted, environment: PatrolEnvironment, *, rounds: int = 500, seed: int = 0
) -> Floats:
    """Let a policy learn, and add up by how much its expected finds stay behind the best allocation's.

    Returns
    -------
    array, shape (round,)
        Cumulative regret of expected finds, never of what chance gave.
    """
    rng = np.random.default_rng(seed)
    regret = np.empty(rounds)
    for turn in range(rounds):
        levels = best_allocation(policy.index(turn + 1, rng), _COSTS, environment.budget)
        policy.learn(levels, environment.draw(levels, rng))
        regret[turn] = environment.optimum - environment.expected(levels)
    return np.cumsum(regret)
