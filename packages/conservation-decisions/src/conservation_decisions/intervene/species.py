"""When to stop managing, and surveying, a species that nobody has seen (Chades et al. 2008)."""

from __future__ import annotations

import numpy as np

from conservation_decisions.intervene.mdp import MDP
from conservation_decisions.intervene.pomdp import POMDP
from isopleth.config import check_fraction

STATES = ("extant", "extinct")
ACTIONS = ("manage", "survey", "stop")
OBSERVATIONS = ("seen", "unseen")


def manage_survey_stop(
    *,
    persistence: float = 0.9,
    managed: float = 0.94184,
    detection: tuple[float, float, float] = (0.01, 0.78193, 0.01),
    value: float = 175.133,
    cost: tuple[float, float] = (18.784, 10.84),
    discount: float = 0.95,
    belief: float = 1.0,
) -> POMDP:
    """Build the choice between managing, surveying and stopping; the defaults are the Sumatran tiger's.

    An observation comes after the year's transition, and whoever sees the species knows that it is there.

    Parameters
    ----------
    persistence, managed : float
        Chance that the species lasts a year, without management and with it.
    detection : (float, float, float)
        Chance of seeing it if it is there, while managing, surveying, doing neither.
    value : float
        Of a year in which it is there.
    cost : (float, float)
        Of a year of managing, of surveying.
    discount : float
    belief : float
        Chance that it is there at first.
    """
    check_fraction(persistence=persistence, managed=managed, belief=belief)
    check_fraction(while_managing=detection[0], while_surveying=detection[1], by_chance=detection[2])
    lasts = np.array([managed, persistence, persistence])
    transition = np.zeros((3, 2, 2))
    transition[:, 0, 0], transition[:, 0, 1], transition[:, 1, 1] = lasts, 1 - lasts, 1.0
    spent = np.array([*cost, 0.0])
    reward = np.stack([value - spent, -spent], axis=1)
    observation = np.zeros((3, 2, 2))
    observation[:, 0, 0], observation[:, 0, 1], observation[:, 1, 1] = detection, 1 - np.array(detection), 1.0
    mdp = MDP(transition, reward, discount, STATES, ACTIONS)
    return POMDP(mdp, observation, np.array([belief, 1 - belief]), OBSERVATIONS)
