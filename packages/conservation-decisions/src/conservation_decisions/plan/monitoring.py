"""Where to look: sites that together tell most, by the lazy greedy rule."""

from __future__ import annotations

import heapq
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

from conservation_decisions.landscape import Floats
from isopleth.errors import ConfigError


class Objective(Protocol):
    """What sites are worth together; each further one must add less the more there are (submodular)."""

    size: int

    def gain(self, site: int) -> float:
        """Say what a further site would add."""
        ...

    def add(self, site: int) -> None:
        """Take a site."""
        ...


class Information:
    r"""Information about a Gaussian field from noisy observations at the sites, nats.

    .. math:: I(S) = \tfrac12 \ln \det (1 + K_{SS} / \sigma^2)

    Submodular and never falling, so that the greedy rule reaches 1 - 1/e of the best (Krause et al. 2008).

    Parameters
    ----------
    places : array, shape (site, 2)
    reach : float
        Distance over which the field is alike, in the units of the places (squared exponential).
    noise : float
        Variance of an observation, as a share of the field's.
    """

    def __init__(self, places: ArrayLike, *, reach: float, noise: float = 0.1) -> None:
        points = np.asarray(places, np.float64)
        self.size, self.noise = len(points), noise
        self.covariance = np.exp(-0.5 * cdist(points, points, "sqeuclidean") / reach**2)
        self.variance = np.ones(self.size)
        self._roots: list[Floats] = []

    def gain(self, site: int) -> float:
        """Take half the logarithm of 1 + conditional variance / noise."""
        return 0.5 * float(np.log1p(self.variance[site] / self.noise))

    def add(self, site: int) -> None:
        """Condition on an observation at a site: one more row of the Cholesky factor."""
        row = self.covariance[site] - sum((root[site] * root for root in self._roots), np.zeros(self.size))
        root = row / np.sqrt(self.variance[site] + self.noise)
        self._roots.append(root)
        self.variance = np.maximum(self.variance - root**2, 0.0)


class Coverage:
    r"""Expected number of targets that at least one site detects.

    .. math:: \sum_t w_t \Big(1 - \prod_{s \in S} (1 - p_{st})\Big)

    Parameters
    ----------
    chance : array, shape (site, target)
        That a site detects a target.
    weight : array, shape (target,), optional
    """

    def __init__(self, chance: ArrayLike, weight: ArrayLike | None = None) -> None:
        self.chance = np.asarray(chance, np.float64)
        self.size, targets = self.chance.shape
        self.missed = np.ones(targets) if weight is None else np.array(weight, np.float64)

    def gain(self, site: int) -> float:
        """Add up what is still missed and would be seen."""
        return float(self.chance[site] @ self.missed)

    def add(self, site: int) -> None:
        """Miss less."""
        self.missed = self.missed * (1 - self.chance[site])


def choose_sites(objective: Objective, count: int) -> tuple[list[int], list[float]]:
    """Choose sites greedily, each gain looked at again only while it may be the largest (Minoux 1978).

    Returns
    -------
    sites, gains
        In the order in which they were chosen; the sum of the gains is at least 1 - 1/e of what any other
        sites of that number reach.

    Raises
    ------
    ConfigError
        If more sites are asked for than there are.
    """
    if not 0 < count <= objective.size:
        raise ConfigError(f"sites must be 1 to {objective.size}, got {count}")
    heap = [(-objective.gain(site), site, 0) for site in range(objective.size)]
    heapq.heapify(heap)
    sites: list[int] = []
    gains: list[float] = []
    while len(sites) < count:
        gain, site, seen = heapq.heappop(heap)
        if seen == len(sites):
            sites.append(site)
            gains.append(-gain)
            objective.add(site)
        else:
            heapq.heappush(heap, (-objective.gain(site), site, len(sites)))
    return sites, gains
