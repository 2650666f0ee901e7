"""Generated landscapes whose truth is known: species surveyed in a few cells, people, a coast, a park.

Each species is a smooth field of habitat, as often as not high where land is dear. Surveys see it with error
in few cells; the members are draws from what they leave open (a Gaussian process, conditioned exactly), so
that the truth is one more such draw and decisions under uncertainty are judged fairly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import ndtr

from conservation_decisions.config import SampleConfig
from conservation_decisions.geometry import grid_edges
from conservation_decisions.landscape import Floats, Landscape

# Ranges in cells of the habitat and of the cost, and the surveys' error.
_RANGE_CELLS, _COST_RANGE = 2.5, 4.0
_NOISE = 0.35
_NUGGET = 1e-6
# A chance of habitat below this is none: solvers have no use for amounts of 1e-12.
_LEAST = 1e-3
GROUPS = ("north", "south")
# A planar reference system in metres (UTM 37N), for a place of no importance.
_CRS = "EPSG:32637"


@dataclass(frozen=True, eq=False)
class GeneratedLandscape:
    """A landscape as decision makers see it, and what is true.

    Attributes
    ----------
    landscape : Landscape
        With members.
    truth : array, shape (feature, unit)
        The true amounts.
    threat : array, shape (unit,)
        The true threat.
    """

    landscape: Landscape
    truth: Floats
    threat: Floats


def make_landscape(config: SampleConfig | None = None, *, seed: int = 0) -> GeneratedLandscape:
    """Generate a landscape and its truth.

    Parameters
    ----------
    config : SampleConfig, optional
    seed : int

    Examples
    --------
    >>> made = make_landscape(SampleConfig(side=5, features=2, members=3, surveys=6), seed=1)
    >>> made.landscape.amounts.shape, made.truth.shape
    ((3, 2, 25), (2, 25))
    """
    config = config or SampleConfig()
    rng = np.random.default_rng([seed, 2307, 8774])
    rows, cols = (axis.ravel() for axis in np.mgrid[: config.side, : config.side])
    places = np.stack([cols, rows], axis=1).astype(np.float64)
    covariance = _covariance(places, _RANGE_CELLS)
    root = _root(covariance)
    rarity = np.linspace(0.3, 1.6, config.features)
    truth, members = _draw_species(rng, config, covariance, root, rarity)
    cost = np.exp(0.5 * _draw(rng, _root(_covariance(places, _COST_RANGE)), 1)[0])
    threat, threats = _draw_species(rng, config, covariance, root, np.array([0.8]))
    wide = np.full(config.side, config.cell_m)
    edges, exposed = grid_edges(rows, cols, wide, (wide, wide))
    park = (rows >= config.side - 2) & (cols < 2)
    landscape = Landscape.build(
        cost,
        members,
        features=[f"species {k + 1}" for k in range(config.features)],
        units=np.arange(rows.size),
        edges=edges,
        exposed=exposed,
        area=np.full(rows.size, config.cell_m**2),
        weight=np.ones(config.features),
        threat=threats[:, 0],
        group=(rows >= config.side // 2).astype(np.int64),
        group_names=GROUPS,
        protected=park,
        member_years=2020 + np.arange(config.members) * 4 // config.members,
        x=500_000 + config.cell_m * (cols + 0.5),
        y=config.cell_m * (config.side - rows - 0.5),
        row=rows,
        col=cols,
        attrs=_grid_attributes(config),
    )
    return GeneratedLandscape(landscape, truth, threat[0])


def _grid_attributes(config: SampleConfig) -> dict[str, object]:
    top = config.cell_m * config.side
    return {
        "kind": "simulated",
        "crs": _CRS,
        "raster_shape": [config.side, config.side],
        "raster_transform": [config.cell_m, 0.0, 500_000.0, 0.0, -config.cell_m, top],
    }


def _covariance(places: Floats, reach: float) -> Floats:
    """Give the squared-exponential covariance of a field with unit variance."""
    return np.exp(-0.5 * cdist(places, places, "sqeuclidean") / reach**2) + _NUGGET * np.eye(len(places))


def _root(covariance: Floats) -> Floats:
    return np.asarray(np.linalg.cholesky(covariance), np.float64)


def _draw(rng: np.random.Generator, root: Floats, count: int) -> Floats:
    return (root @ rng.standard_normal((len(root), count))).T


def _draw_species(
    rng: np.random.Generator, config: SampleConfig, covariance: Floats, root: Floats, rarity: Floats
) -> tuple[Floats, Floats]:
    """Draw the truth, and members conditional on surveys of it (Matheron's rule).

    Returns
    -------
    truth (species, unit), members (member, species, unit)
        The chance that a cell is habitat, in [0, 1].
    """
    truth, members = [], []
    for _ in rarity:
        field = _draw(rng, root, 1 + config.members)
        seen = rng.choice(len(root), config.surveys, replace=False)
        noise = _NOISE * rng.standard_normal((1 + config.members, config.surveys))
        observed = covariance[np.ix_(seen, seen)] + _NOISE**2 * np.eye(config.surveys)
        gain = np.linalg.solve(observed, covariance[seen]).T
        surprise = (field[0, seen] + noise[0]) - (field[1:, seen] + noise[1:])
        truth.append(field[0])
        members.append(field[1:] + surprise @ gain.T)
    level = rarity[:, None]
    return _habitat(np.stack(truth) - level), _habitat(np.stack(members, axis=1) - level)


def _habitat(field: Floats) -> Floats:
    """Turn a field into the chance of habitat, steeply enough that habitat has edges."""
    chance = ndtr(3.0 * field)
    return np.where(chance < _LEAST, 0.0, chance)
