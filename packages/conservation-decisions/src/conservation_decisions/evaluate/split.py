"""What a decision may look at, and what it is judged by: other members, later years, other places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from conservation_decisions.evaluate.regret import RULES, Losses
from conservation_decisions.geometry import centres_in_metres
from conservation_decisions.landscape import Floats, Integers, Landscape
from isopleth.errors import DataError


@dataclass(frozen=True, eq=False)
class Split:
    """Members to decide on and members to be judged by, as positions."""

    seen: Integers
    held_out: Integers


def split_members(landscape: Landscape, *, by_year: bool = False) -> Split:
    """Hold out every second member, or those of the later half of the years.

    Raises
    ------
    DataError
        If there are too few members, or none has a year.
    """
    if landscape.members < 4:
        raise DataError(f"a landscape must have at least 4 members to hold some out, got {landscape.members}")
    number = np.arange(landscape.members)
    if not by_year:
        return Split(number[::2], number[1::2])
    if "year" not in landscape.dataset.coords:
        raise DataError("members must have years to be held out by, got none")
    year = landscape.dataset["year"].values
    years = np.unique(year)
    if years.size < 2:
        raise DataError(f"members must be of at least 2 years, got {years.tolist()}")
    late = year >= years[years.size // 2]
    return Split(number[~late], number[late])


def split_space(landscape: Landscape, side_m: float) -> list[Landscape]:
    """Cut a landscape into squares, each a landscape of its own in which a feature occurs.

    Raises
    ------
    DataError
        If fewer than two squares come out.
    """
    centres = centres_in_metres(landscape)
    place = np.floor((centres - centres.min(axis=0)) / side_m).astype(np.int64)
    _, label = np.unique(place, axis=0, return_inverse=True)
    parts = []
    for block in range(label.max() + 1):
        part = landscape.take_units(label == block)
        present = part.mean_amounts.sum(axis=1) > 0
        if present.any():
            parts.append(part.take_features(present))
    if len(parts) < 2:
        raise DataError(f"blocks of {side_m:g} m must cut a landscape in two or more, got {len(parts)}")
    return parts


def pick_rule(blocks: Sequence[Losses], rules: tuple[str, ...] = RULES) -> tuple[list[str], Floats]:
    """Pick for each block the rule that loses least on all the others, and say what it loses on this one.

    Returns
    -------
    rules, losses (block,)
    """
    table = np.array([[block.loss[rule].mean() for rule in rules] for block in blocks])
    others = table.sum(axis=0) - table
    best = others.argmin(axis=1)
    return [rules[k] for k in best], table[np.arange(len(blocks)), best]
