"""Whittle indices of 10,000 arms with 20 states each: all arms at once against one after the other."""

from __future__ import annotations

import argparse
import time

import numpy as np

from conservation_decisions.intervene.restless import Arms, whittle_indices
from isopleth.benchmark import emit, ratio, side


def make_arms(arms: int, states: int, seed: int = 0) -> Arms:
    rng = np.random.default_rng(seed)
    chances = rng.random((arms, 2, states, states))
    chances /= chances.sum(axis=-1, keepdims=True)
    return Arms(chances, rng.random((arms, 2, states)), 0.95)


def index_one_by_one(arms: Arms, count: int) -> np.ndarray:
    """Compute the same indices by the same algorithm, an arm a call."""
    single = (Arms(arms.transition[k : k + 1], arms.reward[k : k + 1], arms.discount) for k in range(count))
    return np.concatenate([whittle_indices(one).index for one in single])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arms", type=int, default=10_000)
    parser.add_argument("--states", type=int, default=20)
    parser.add_argument("--loop", type=int, default=1000, help="arms that the loop is timed on")
    options = parser.parse_args()
    arms = make_arms(options.arms, options.states)
    start = time.perf_counter()
    found = whittle_indices(arms)
    together = time.perf_counter() - start
    start = time.perf_counter()
    alone = index_one_by_one(arms, options.loop)
    each = (time.perf_counter() - start) * options.arms / options.loop
    np.testing.assert_allclose(alone, found.index[: options.loop], rtol=1e-8)
    ours, loop = side("all arms at once", together, "s"), side("an arm at a time", each, "s")
    emit(
        {
            "benchmark": "whittle",
            "sides": [ours, loop, side("indexable", 100 * found.indexable.mean(), "%")],
            "ratios": [ratio("at once, times quicker", loop, ours)],
            "note": f"{options.arms:,} arms x {options.states} states; timed on {options.loop:,} of them "
            "one by one and scaled up; memory traffic of the rank-one updates limits both",
        }
    )


if __name__ == "__main__":
    main()
