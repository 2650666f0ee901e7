"""Partially observed decision processes by point-based value iteration, between two bounds.

Heuristic search value iteration (Smith and Simmons 2005): trials walk from the first belief to where the
bounds are furthest apart, and update both at every belief on the way back. What is reported is not hoped for
but proven: the value lies between the bounds.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from conservation_decisions.intervene.mdp import MDP, check_chances, solve_mdp
from conservation_decisions.landscape import Floats, Integers
from isopleth.config import check_positive
from isopleth.errors import DataError

_SAME = 1e-9


@dataclass(frozen=True, eq=False)
class POMDP:
    """A decision process whose states are seen only through observations.

    Parameters
    ----------
    mdp : MDP
    observation : array, shape (action, next state, observation)
        Chance of an observation after acting, in the state that follows.
    start : array, shape (state,)
        First belief.
    observations : tuple of str
        Names.
    """

    mdp: MDP
    observation: Floats
    start: Floats
    observations: tuple[str, ...]

    def __post_init__(self) -> None:
        actions, states = len(self.mdp.actions), len(self.mdp.states)
        shape = (actions, states, len(self.observations))
        if self.observation.shape != shape or self.start.shape != (states,):
            raise DataError(
                f"observation and start must have the shapes {shape} and {(states,)}, got "
                f"{self.observation.shape} and {self.start.shape}"
            )
        check_chances(self.observation, "observation")
        check_chances(self.start[None], "start")

    def follow(self, belief: Floats, action: int) -> tuple[Floats, Floats]:
        """Update a belief.

        Returns
        -------
        chance (observation,), beliefs (observation, state)
            Of each observation, and what is believed after it; zeros where it cannot be.
        """
        joint = (belief @ self.mdp.transition[action])[:, None] * self.observation[action]
        chance = joint.sum(axis=0)
        return chance, (joint / np.where(chance > 0, chance, 1.0)).T


@dataclass(eq=False)
class _Lower:
    """A lower bound: the value of plans (plan, state) that are really carried out."""

    vectors: Floats
    actions: Integers

    def value(self, beliefs: Floats) -> Floats:
        return (beliefs @ self.vectors.T).max(axis=-1)

    def add(self, vector: Floats, action: int) -> None:
        kept = ~(self.vectors <= vector + _SAME).all(axis=1)
        self.vectors = np.vstack([self.vectors[kept], vector])
        self.actions = np.append(self.actions[kept], action)


@dataclass(eq=False)
class _Upper:
    """An upper bound: values at points, and sawtooth interpolation from the corners."""

    corners: Floats
    points: list[Floats] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def value(self, beliefs: Floats) -> Floats:
        beliefs = np.atleast_2d(beliefs)
        flat = beliefs @ self.corners
        if not self.points:
            return flat
        points, values = np.array(self.points), np.array(self.values)
        saved = points @ self.corners - values
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(points[None] > 0, beliefs[:, None] / points[None], np.inf).min(axis=2)
        return flat - (ratio * saved).max(axis=1, initial=0.0)

    def add(self, point: Floats, value: float) -> None:
        if value < float(self.value(point)[0]) - _SAME:
            if point.max() > 1 - _SAME:
                self.corners[point.argmax()] = value
            else:
                self.points.append(point)
                self.values.append(value)


@dataclass(frozen=True, eq=False)
class PomdpSolution:
    """Plans for every belief, and the bounds of the value at the first one.

    Attributes
    ----------
    vectors : array, shape (plan, state)
        Value of each plan in each state; the value of a belief is the largest product.
    actions : array of int, shape (plan,)
        What each plan does first.
    lower, upper : float
        Between which the value at the first belief lies.
    """

    pomdp: POMDP
    vectors: Floats
    actions: Integers
    lower: float
    upper: float
    seconds: float

    def value(self, belief: ArrayLike) -> float:
        """Give a value that the plans surely reach from a belief."""
        return float((self.vectors @ np.asarray(belief, np.float64)).max())

    def act(self, belief: ArrayLike) -> int:
        """Give the number of the action for a belief."""
        return int(self.actions[int((self.vectors @ np.asarray(belief, np.float64)).argmax())])

    @property
    def gap(self) -> float:
        """Relative distance of the bounds."""
        return (self.upper - self.lower) / max(abs(self.upper), 1e-12)


def solve_pomdp(
    pomdp: POMDP, *, precision: float = 1e-3, seconds: float = 60.0, depth: int = 300
) -> PomdpSolution:
    """Find plans for all beliefs that can be reached, and prove how good they are.

    Parameters
    ----------
    pomdp : POMDP
    precision : float
        Distance of the bounds, as a share of the value, at which to stop.
    seconds : float
        Time limit; the bounds reached by then are reported.
    depth : int
        Longest trial.
    """
    check_positive(precision=precision, seconds=seconds)
    began = time.perf_counter()
    lower, upper = _first_lower(pomdp.mdp), _Upper(_first_upper(pomdp))
    start = pomdp.start
    while time.perf_counter() - began < seconds:
        low, high = float(lower.value(start)), float(upper.value(start)[0])
        width = precision * max(abs(high), 1e-12)
        if high - low <= width:
            break
        _try(pomdp, lower, upper, width, depth)
    return PomdpSolution(
        pomdp,
        lower.vectors,
        lower.actions,
        float(lower.value(start)),
        float(upper.value(start)[0]),
        time.perf_counter() - began,
    )


def _first_lower(mdp: MDP) -> _Lower:
    """Begin with plans that do one thing for ever."""
    eye = np.eye(len(mdp.states))
    vectors = [
        np.linalg.solve(eye - mdp.discount * chances, reward)
        for chances, reward in zip(mdp.transition, mdp.reward, strict=True)
    ]
    return _Lower(np.array(vectors), np.arange(len(mdp.actions)))


def _first_upper(pomdp: POMDP) -> Floats:
    """Begin with the values of the states if one could see them."""
    return solve_mdp(pomdp.mdp).value.copy()


def _try(pomdp: POMDP, lower: _Lower, upper: _Upper, width: float, depth: int) -> None:
    """Walk to where the bounds are apart, then update them on the way back."""
    belief, path = pomdp.start, []
    discount = pomdp.mdp.discount
    for step in range(depth):
        allowed = width * discount**-step
        if float(upper.value(belief)[0]) - float(lower.value(belief)) <= allowed:
            break
        path.append(belief)
        action = int(_upper_values(pomdp, upper, belief).argmax())
        chance, after = pomdp.follow(belief, action)
        apart = chance * (upper.value(after) - lower.value(after) - allowed / discount)
        belief = after[int(apart.argmax())]
    for point in reversed(path):
        _update(pomdp, lower, upper, point)


def _upper_values(pomdp: POMDP, upper: _Upper, belief: Floats) -> Floats:
    found = np.empty(len(pomdp.mdp.actions))
    for action in range(found.size):
        chance, after = pomdp.follow(belief, action)
        ahead = float(chance @ upper.value(after))
        found[action] = belief @ pomdp.mdp.reward[action] + pomdp.mdp.discount * ahead
    return found


def _update(pomdp: POMDP, lower: _Lower, upper: _Upper, belief: Floats) -> None:
    """Raise the lower bound by the best plan one step longer, and lower the upper one."""
    mdp = pomdp.mdp
    upper.add(belief, float(_upper_values(pomdp, upper, belief).max()))
    plans = []
    for action in range(len(mdp.actions)):
        _, after = pomdp.follow(belief, action)
        chosen = lower.vectors[(after @ lower.vectors.T).argmax(axis=1)]
        ahead = (pomdp.observation[action] * chosen.T).sum(axis=1)
        plans.append(mdp.reward[action] + mdp.discount * mdp.transition[action] @ ahead)
    best = int((np.array(plans) @ belief).argmax())
    if plans[best] @ belief > float(lower.value(belief)) + _SAME:
        lower.add(plans[best], best)
