"""What a prediction is worth to who acts on it: expected cost, break-even ratio, decision curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from appdriven.application import Costs, Event
from isopleth.errors import DataError

_THRESHOLDS = np.round(np.linspace(0.02, 0.98, 49), 2)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What acting by each method costs, beside acting always and never.

    Attributes
    ----------
    event : str
    base_rate : float
        How often the event came.
    break_even : float
        Probability of the event from which on acting pays, (f - c) / ((f - c) + (m - h)).
    expected_cost : mapping of str to float
        Per sample: each method, ``always``, ``never`` and ``perfect``.
    useful_ratios : mapping of str to (low, high)
        Between which cost-loss ratios a method costs less than both always and never acting.
    thresholds, net_benefit
        The decision curve: for each probability threshold and method, true positives less false ones at their
        exchange rate, per sample.
    """

    event: str
    base_rate: float
    break_even: float
    expected_cost: Mapping[str, float]
    useful_ratios: Mapping[str, tuple[float, float]]
    thresholds: tuple[float, ...]
    net_benefit: Mapping[str, tuple[float, ...]]


def break_even(costs: Costs) -> float:
    """Return the probability of the event from which on acting costs less than not acting."""
    dear, saved = costs.false_alarm - costs.correct_negative, costs.miss - costs.hit
    return dear / (dear + saved)


def happens(values: np.ndarray, event: Event) -> np.ndarray:
    """Return where the event is, bool; values must be finite."""
    return values >= event.threshold if event.direction == "above" else values <= event.threshold


def weigh_decision(
    truth: np.ndarray,
    methods: Mapping[str, np.ndarray],
    event: Event,
    costs: Costs,
    *,
    weight: np.ndarray | None = None,
    probability: np.ndarray | None = None,
    units: str = "",
) -> Decision:
    """Weigh what acting by each method costs.

    A method acts where it predicts the event; the model, where its probability reaches the break-even, if it
    gives one. With shares of hits H, misses M and false alarms F, a method is of use to those whose ratio of
    the cost of acting to the loss prevented lies between M / (M + correct negatives) and H / (H + F)
    (Richardson 2000, Q. J. R. Meteorol. Soc. 126). Net benefit at threshold p is H - F p / (1 - p) (Vickers
    and Elkin 2006, Med. Decis. Making 26).

    Parameters
    ----------
    truth : array, shape (sample,)
        Finite.
    methods : mapping of str to array, shape (sample,)
        Predictions in the units of the truth.
    event, costs
    weight : array, shape (sample,), optional
    probability : array, shape (sample,), optional
        Of the event, by the method called ``model``.
    units : str
        Of the threshold, for the words.
    """
    weight = np.ones(truth.size) if weight is None else weight
    came = happens(truth, event)
    if not weight.sum() > 0:
        raise DataError("a decision needs samples with weight, got none")
    limit = break_even(costs)
    acts = {name: happens(values, event) for name, values in methods.items()}
    if probability is not None:
        acts["model"] = probability >= limit
    every = {**acts, "always": np.ones_like(came), "never": np.zeros_like(came), "perfect": came}
    shares = {name: _shares(act, came, weight) for name, act in every.items()}
    chances = {name: act.astype(np.float64) for name, act in acts.items()}
    if probability is not None:
        chances["model"] = probability
    chances["always"] = np.ones(truth.size)
    return Decision(
        event=f"{event.direction} {event.threshold:g} {units}".strip(),
        base_rate=float(np.average(came, weights=weight)),
        break_even=limit,
        expected_cost={name: _cost(share, costs) for name, share in shares.items()},
        useful_ratios={name: found for name in acts if (found := _useful(shares[name])) is not None},
        thresholds=tuple(map(float, _THRESHOLDS)),
        net_benefit={name: _curve(chance, came, weight) for name, chance in chances.items()},
    )


def _shares(act: np.ndarray, came: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the shares of hits, misses, false alarms and correct negatives."""
    kinds = (act & came, ~act & came, act & ~came, ~act & ~came)
    return np.array([weight[kind].sum() for kind in kinds]) / weight.sum()


def _cost(share: np.ndarray, costs: Costs) -> float:
    return float(share @ np.array([costs.hit, costs.miss, costs.false_alarm, costs.correct_negative]))


def _useful(share: np.ndarray) -> tuple[float, float] | None:
    hit, miss, alarm, quiet = share
    if hit + alarm == 0 or miss + quiet == 0:
        return None
    low, high = float(miss / (miss + quiet)), float(hit / (hit + alarm))
    return (low, high) if low < high else None


def _curve(chance: np.ndarray, came: np.ndarray, weight: np.ndarray) -> tuple[float, ...]:
    total, found = weight.sum(), []
    for threshold in _THRESHOLDS:
        act = chance >= threshold
        hit, alarm = weight[act & came].sum(), weight[act & ~came].sum()
        found.append(float((hit - alarm * threshold / (1 - threshold)) / total))
    return tuple(found)
