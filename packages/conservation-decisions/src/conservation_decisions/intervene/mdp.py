"""Finite Markov decision processes, solved exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from conservation_decisions.landscape import Floats, Integers
from isopleth.errors import DataError

_TIE = 1e-12


@dataclass(frozen=True, eq=False)
class MDP:
    """States that are seen, actions, and what follows from them.

    Parameters
    ----------
    transition : array, shape (action, state, next state)
    reward : array, shape (action, state)
        Expected reward of acting.
    discount : float
        In (0, 1).
    states, actions : tuple of str
        Names.

    Raises
    ------
    DataError
        If shapes differ, rows do not add up to 1, or a reward is not finite.
    """

    transition: Floats
    reward: Floats
    discount: float
    states: tuple[str, ...]
    actions: tuple[str, ...]

    def __post_init__(self) -> None:
        check_process(self.transition, self.reward, self.discount)
        names = (len(self.actions), len(self.states))
        if names != self.reward.shape:
            raise DataError(f"names must be of {self.reward.shape} actions and states, got {names}")

    @classmethod
    def build(
        cls,
        transition: ArrayLike,
        reward: ArrayLike,
        discount: float,
        *,
        states: tuple[str, ...] | None = None,
        actions: tuple[str, ...] | None = None,
    ) -> MDP:
        """Build a process from arrays, naming states and actions by number where no names are given."""
        chances, rewards = np.asarray(transition, np.float64), np.asarray(reward, np.float64)
        return cls(
            chances,
            rewards,
            discount,
            states or tuple(f"state {k}" for k in range(chances.shape[-1])),
            actions or tuple(f"action {k}" for k in range(chances.shape[0])),
        )


def check_process(transition: Floats, reward: Floats, discount: float) -> None:
    """Refuse what is no Markov decision process; leading dimensions (such as arms) may stand before.

    Raises
    ------
    DataError
    """
    if transition.ndim < 3 or transition.shape[-1] != transition.shape[-2]:
        raise DataError(f"transition must have the shape (action, state, state), got {transition.shape}")
    if reward.shape != transition.shape[:-1]:
        raise DataError(f"reward must have the shape {transition.shape[:-1]}, got {reward.shape}")
    if not 0 < discount < 1:
        raise DataError(f"discount must lie between 0 and 1, got {discount}")
    if not np.isfinite(reward).all():
        raise DataError("reward must be finite, got NaN or infinity")
    check_chances(transition, "transition")


def check_chances(chances: Floats, name: str) -> None:
    """Refuse rows that are no probabilities.

    Raises
    ------
    DataError
    """
    total = chances.sum(axis=-1)
    wrong = ~(np.abs(total - 1) <= 1e-8) | ~(chances >= 0).all(axis=-1)
    if wrong.any():
        where = tuple(int(k) for k in np.argwhere(wrong)[0])
        raise DataError(
            f"each row of {name} must hold chances that add up to 1, got {total[where]:g} at {where}"
        )


@dataclass(frozen=True, eq=False)
class PolicyValue:
    """A policy and its value.

    Attributes
    ----------
    policy : array of int, shape (state,) or (step, state)
        The number of the action.
    value : array of the same shape
        Expected discounted reward from there on.
    """

    policy: Integers
    value: Floats


def action_values(mdp: MDP, value: Floats) -> Floats:
    """Compute the value of acting once and then having a value (action, state)."""
    return mdp.reward + mdp.discount * mdp.transition @ value


def evaluate_policy(mdp: MDP, policy: ArrayLike) -> Floats:
    r"""Compute a policy's value exactly, :math:`V = (I - \gamma P_\pi)^{-1} R_\pi`."""
    chosen, state = np.asarray(policy, np.int64), np.arange(len(mdp.states))
    matrix = np.eye(len(mdp.states)) - mdp.discount * mdp.transition[chosen, state]
    return np.asarray(np.linalg.solve(matrix, mdp.reward[chosen, state]), np.float64)


def solve_mdp(mdp: MDP) -> PolicyValue:
    """Find the best policy by policy iteration (Howard 1960), which ends at the exact optimum.

    Examples
    --------
    >>> wait, cut = [[0.1, 0.9, 0], [0.1, 0, 0.9], [0.1, 0, 0.9]], [[1, 0, 0]] * 3
    >>> solve_mdp(MDP.build([wait, cut], [[0, 0, 4], [0, 1, 2]], 0.9)).value.round(3).tolist()
    [26.244, 29.484, 33.484]
    """
    policy = mdp.reward.argmax(axis=0)
    while True:
        value = evaluate_policy(mdp, policy)
        values = action_values(mdp, value)
        own = np.take_along_axis(values, policy[None], axis=0)[0]
        # An action that is only as good must not be changed to, or rounding would go round in circles.
        better = values.max(axis=0) > own + _TIE * np.maximum(1.0, np.abs(own))
        if not better.any():
            return PolicyValue(policy, value)
        policy = np.where(better, values.argmax(axis=0), policy)


def solve_finite(mdp: MDP, steps: int, *, final: ArrayLike = 0.0) -> PolicyValue:
    """Find the best policy for a number of steps, backwards from the end.

    Parameters
    ----------
    mdp : MDP
    steps : int
    final : array, shape (state,)
        Worth of the states after the last step.
    """
    value = np.broadcast_to(np.asarray(final, np.float64), len(mdp.states))
    policies, values = [], []
    for _ in range(steps):
        each = action_values(mdp, value)
        policies.append(each.argmax(axis=0))
        value = each.max(axis=0)
        values.append(value)
    return PolicyValue(np.array(policies[::-1]), np.array(values[::-1]))
