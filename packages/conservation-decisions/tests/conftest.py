"""Small landscapes: one generated, some random."""

import itertools

import numpy as np
import pytest

from conservation_decisions.config import SampleConfig
from conservation_decisions.landscape import Landscape
from conservation_decisions.sample import make_landscape


@pytest.fixture(scope="session")
def made():
    return make_landscape(SampleConfig(side=6, features=3, members=6, surveys=10), seed=4)


@pytest.fixture(scope="session")
def landscape(made) -> Landscape:
    return made.landscape


@pytest.fixture
def random_landscape():
    """Make a random landscape of few units, on a ring."""

    def make(seed: int, *, units: int = 7, features: int = 3, members: int = 3, **extra) -> Landscape:
        rng = np.random.default_rng(seed)
        ring = np.arange(units)
        return Landscape.build(
            rng.uniform(1, 4, units),
            rng.uniform(0, 5, (members, features, units)) * (rng.random((members, features, units)) < 0.8),
            edges=(ring, np.roll(ring, -1), rng.uniform(0.5, 2, units)),
            exposed=rng.uniform(0, 3, units),
            weight=rng.uniform(0.5, 2, features),
            group=ring % 2,
            group_names=("even", "odd"),
            **extra,
        )

    return make


@pytest.fixture
def subsets():
    """List every choice of some units."""

    def make(units: int) -> list[np.ndarray]:
        return [np.array(bits, bool) for bits in itertools.product((False, True), repeat=units)]

    return make
