"""Many sites, few hands: restless bandits by Whittle's index, for all arms at once.

An arm changes whether it is acted on or not. Its index in a state is the subsidy for leaving it alone that
makes both equally good; acting on the arms with the largest indices is asymptotically optimal where every arm
is indexable (Whittle 1988; Weber and Weiss 1990).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from conservation_decisions.intervene.mdp import check_process
from conservation_decisions.landscape import Bools, Floats
from isopleth.config import check_fraction
from isopleth.errors import DataError

_CHUNK_NUMBERS = 2_000_000
_TINY = 1e-11


@dataclass(frozen=True, eq=False)
class Arms:
    """Arms with two actions each: 0 leaves them alone, 1 acts.

    Parameters
    ----------
    transition : array, shape (arm, 2, state, next state)
    reward : array, shape (arm, 2, state)
    discount : float
    """

    transition: Floats
    reward: Floats
    discount: float

    def __post_init__(self) -> None:
        if self.transition.ndim != 4 or self.transition.shape[1] != 2:
            raise DataError(
                f"transition must have the shape (arm, 2, state, state), got {self.transition.shape}"
            )
        check_process(self.transition, self.reward, self.discount)

    @property
    def arms(self) -> int:
        """Number of arms."""
        return len(self.transition)

    @property
    def states(self) -> int:
        """Number of states of each arm."""
        return self.transition.shape[-1]


@dataclass(frozen=True, eq=False)
class WhittleIndices:
    """Indices and whether they mean anything.

    Attributes
    ----------
    index : array, shape (arm, state)
        NaN for arms that are not indexable.
    indexable : array of bool, shape (arm,)
    """

    index: Floats
    indexable: Bools


def whittle_indices(arms: Arms) -> WhittleIndices:
    r"""Compute the Whittle index of every state of every arm, and check indexability.

    The subsidy rises from minus infinity, where acting is best everywhere. A policy's value is linear in the
    subsidy, :math:`V = a + \lambda b`, and so is what leaving alone gains in each state; the next state to be
    left alone is the one whose gain reaches 0 first. One rank-one update of :math:`(I - \beta P_\pi)^{-1}`
    (Sherman and Morrison) leads to the next policy: :math:`O(S^3)` for all indices of an arm, in S steps that
    all arms take together. An arm is indexable if no state that is left alone would ever be acted on again
    (Gast, Gaujal and Khun 2023).

    Parameters
    ----------
    arms : Arms
    """
    size = max(1, _CHUNK_NUMBERS // arms.states**2)
    parts = [_index_chunk(arms, slice(start, start + size)) for start in range(0, arms.arms, size)]
    index = np.concatenate([part[0] for part in parts])
    indexable = np.concatenate([part[1] for part in parts])
    index[~indexable] = np.nan
    return WhittleIndices(index, indexable)


def _index_chunk(arms: Arms, chosen: slice) -> tuple[Floats, Bools]:
    """Find the indices of some arms, a state of each a step."""
    chances, reward, discount = arms.transition[chosen], arms.reward[chosen], arms.discount
    count, states = reward.shape[0], arms.states
    all_arms = np.arange(count)
    change = chances[:, 0] - chances[:, 1]
    inverse = np.asarray(np.linalg.inv(np.eye(states) - discount * chances[:, 1]), np.float64)
    paid, base = np.zeros((count, states)), reward[:, 1].copy()
    passive = np.zeros((count, states), bool)
    index, indexable = np.full((count, states), np.nan), np.ones(count, bool)
    level = np.full(count, -np.inf)
    for _ in range(states):
        value, slope = (np.einsum("nst,nt->ns", inverse, rates) for rates in (base, paid))
        gain = reward[:, 0] - reward[:, 1] + discount * np.einsum("nst,nt->ns", change, value)
        rise = 1.0 + discount * np.einsum("nst,nt->ns", change, slope)
        with np.errstate(divide="ignore", invalid="ignore"):
            meets = np.where(~passive & (rise > _TINY), -gain / rise, np.inf)
        # Where several states meet at once, rounding must not make the subsidy fall.
        nearest = meets.argmin(axis=1)
        reached = np.maximum(meets[all_arms, nearest], level)
        with np.errstate(invalid="ignore"):
            again = gain + np.where(np.isfinite(reached), reached, 0.0)[:, None] * rise
        slack = 1e-9 * (1.0 + np.abs(gain).max(axis=1, keepdims=True))
        indexable &= np.isfinite(reached) & ~(passive & (again < -slack)).any(axis=1)
        level = np.where(np.isfinite(reached), reached, level)
        index[all_arms, nearest] = level
        _leave_alone(inverse, discount * change[all_arms, nearest], nearest)
        base[all_arms, nearest] = reward[all_arms, 0, nearest]
        paid[all_arms, nearest] = 1.0
        passive[all_arms, nearest] = True
    return index, indexable


def _leave_alone(inverse: Floats, change: Floats, state: np.ndarray) -> None:
    r"""Update the inverses in place when one state of each arm is left alone.

    Row s of :math:`I - \beta P` changes by :math:`-d` with :math:`d = \beta (P^0_s - P^1_s)`.
    """
    column = inverse[np.arange(len(state)), :, state]
    row = np.einsum("ns,nst->nt", change, inverse)
    pivot = 1.0 - row[np.arange(len(state)), state]
    inverse += column[:, :, None] * (row / pivot[:, None])[:, None, :]


def gittins_beta(successes: float, failures: float, discount: float, *, depth: int = 1000) -> float:
    r"""Compute the Gittins index of a site whose chance of success has a Beta posterior.

    The sure reward a year that is worth as much as going on to try the site, by bisection on a table of what
    may still be seen in `depth` trials (Gittins 1979). It is what the best policy for several unknown sites
    would pay for the next trial.

    Examples
    --------
    >>> round(gittins_beta(1, 1, 0.9, depth=200), 5)
    0.70289
    """
    low, high = successes / (successes + failures), 1.0
    while high - low > 1e-7:
        sure = (low + high) / 2
        worth = _try_site(successes, failures, discount, sure, depth)
        low, high = (sure, high) if worth > sure / (1 - discount) + 1e-12 else (low, sure)
    return (low + high) / 2


def _try_site(successes: float, failures: float, discount: float, sure: float, depth: int) -> float:
    """Value a trial now with the choice, ever after, between the site and a sure reward."""
    wins = np.arange(depth + 1)
    mean = (successes + wins) / (successes + failures + depth)
    value = np.maximum(sure, mean) / (1 - discount)
    for seen in range(depth - 1, -1, -1):
        mean = (successes + wins[: seen + 1]) / (successes + failures + seen)
        tried = mean + discount * (mean * value[1 : seen + 2] + (1 - mean) * value[: seen + 1])
        value = np.maximum(sure / (1 - discount), tried)
    return float(tried[0])


def repair_arms(
    decay: ArrayLike, *, repair: ArrayLike = 0.6, worth: ArrayLike = 1.0, discount: float = 0.95
) -> Arms:
    """Make sites that are good or bad: good ones decay, acting mends bad ones.

    Parameters
    ----------
    decay : array, shape (arm,)
        Chance that a good site turns bad in a year when it is left alone; one that is acted on stays good.
    repair : array
        Chance that acting mends a bad site.
    worth : array
        Reward of a year in which a site is good.
    discount : float

    Returns
    -------
    Arms
        States 0 (bad) and 1 (good).
    """
    lost, mended, good = (
        np.broadcast_to(np.asarray(value, np.float64), np.shape(decay)) for value in (decay, repair, worth)
    )
    check_fraction(decay_min=float(lost.min()), decay_max=float(lost.max()))
    transition = np.zeros((lost.size, 2, 2, 2))
    transition[:, 0, 0, 0] = 1.0
    transition[:, 0, 1, 1], transition[:, 0, 1, 0] = 1 - lost, lost
    transition[:, 1, 0, 1], transition[:, 1, 0, 0] = mended, 1 - mended
    transition[:, 1, 1, 1] = 1.0
    reward = np.zeros((lost.size, 2, 2))
    reward[:, :, 1] = good[:, None]
    return Arms(transition, reward, discount)


def simulate_arms(
    arms: Arms, priority: Floats, budget: float, *, years: int, seed: int = 0, costs: ArrayLike = 1.0
) -> Floats:
    """Simulate acting each year on the arms of highest priority, as far as the budget goes.

    Parameters
    ----------
    arms : Arms
    priority : array, shape (arm, state) or (year, arm, state)
        Such as Whittle indices; arms whose priority is NaN are never acted on. Where costs differ, priority a
        unit of cost decides.
    budget : float
        A year.
    years : int
    seed : int
        The same seed draws the same luck for every priority.
    costs : array, shape (arm,)

    Returns
    -------
    array, shape (year,)
        Rewards of all arms, not discounted.
    """
    rng = np.random.default_rng(seed)
    price = np.broadcast_to(np.asarray(costs, np.float64), (arms.arms,))
    state = np.full(arms.arms, arms.states - 1)
    every = np.arange(arms.arms)
    earned = np.empty(years)
    for year in range(years):
        rank = priority[year] if priority.ndim == 3 else priority
        wanted = rank[every, state] / price
        order = np.argsort(-np.nan_to_num(wanted, nan=-np.inf), kind="stable")
        order = order[np.isfinite(wanted[order])]
        action = np.zeros(arms.arms, np.int64)
        action[order[np.cumsum(price[order]) <= budget * (1 + 1e-12)]] = 1
        earned[year] = arms.reward[every, action, state].sum()
        chances = np.cumsum(arms.transition[every, action, state], axis=1)
        state = np.minimum((rng.random(arms.arms)[:, None] > chances).sum(axis=1), arms.states - 1)
    return earned
