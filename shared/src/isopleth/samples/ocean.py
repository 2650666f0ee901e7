r"""A simulated sea level whose every part is known: forcings, climate modes, red noise, models that err.

The departure of sea level at a place x and a time t, in mm, is

.. math::
    \eta = m(\mathbf x) + \sum_s P_s(\mathbf x)\, c_s(t) + \sum_k M_k(\mathbf x)\, a_k(t)
           + \sigma(\mathbf x) \sum_j B_j(\mathbf x)\, b_j(t) + S(\mathbf x, t) + g(t)

with the mean state m, the patterns P of the forcings (mm per year at 2007.5) and their curves c (years), the
climate modes M, the red noise of random waves B, the seasonal cycle S and the global mean g. Patterns and
modes have no global mean of their own. Amplitudes are those of the altimeter era as published reviews give
them, in round numbers; nothing here was fitted to make a method win.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from isopleth.fields.land import land_fraction
from isopleth.grid import Grid
from isopleth.samples.waves import Floats, Memory, RandomWaves, rotation, unit_vectors

REFERENCE_YEAR = 2007.5
# Root of the area mean of the variance of 30-year trends of internal variability, mm/year.
INTERNAL_TREND = 1.0
_TREND_MONTHS = 360
_WAVES = 150
_NOISE_LENGTH_KM = 700.0
# Red noise that forgets over half a year, three and fifteen years, mm: together nearly 1/f over decades.
_NOISE = ((Memory(0.4), 30.0), (Memory(3.0), 15.0), (Memory(15.0), 12.0))


@dataclass(frozen=True)
class Bump:
    """A hill of a map: its centre, its half-width in degrees and its height; without a longitude, a belt."""

    lat: float
    lon: float | None
    width_deg: float
    height: float

    def at(self, points: Floats) -> Floats:
        """Return its height at points on the unit sphere."""
        if self.lon is None:
            distance = np.degrees(np.arcsin(np.clip(points[:, 2], -1.0, 1.0))) - self.lat
        else:
            cosine = np.clip(points @ unit_vectors(self.lat, self.lon), -1.0, 1.0)
            distance = np.degrees(np.arccos(cosine))
        return np.asarray(self.height * np.exp(-0.5 * (distance / self.width_deg) ** 2))


@dataclass(frozen=True)
class Forcing:
    """What drives the forced response: where (bumps, and a share of random waves), how strongly, when.

    Parameters
    ----------
    name : str
    bumps : tuple of Bump
        The part of the pattern that is placed by hand.
    spread : float
        Spatial standard deviation of the pattern over the sea, mm/year at 2007.5.
    global_mean : float
        What it adds to the global mean, mm/year at 2007.5: by expansion, or, as ice, by mass.
    rate : callable
        Its strength over time, in any unit.
    in_models : bool
        Whether models simulate it. None has ice sheets.
    """

    name: str
    bumps: tuple[Bump, ...]
    spread: float
    global_mean: float
    rate: Callable[[Floats], Floats]
    in_models: bool = True

    def curve(self, years: Floats) -> Floats:
        """Integrate the rate, 1 at 2007.5, from there: the curve c of the pattern, in years."""
        axis = np.linspace(1850.0, 2200.0, 350 * 24 + 1)
        rate = self.rate(axis) / self.rate(np.array([REFERENCE_YEAR]))
        total = np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) / 48.0)])
        return np.asarray(np.interp(years, axis, total) - np.interp(REFERENCE_YEAR, axis, total))


def _grow(per_year: float) -> Callable[[Floats], Floats]:
    return lambda years: np.exp(per_year * (years - REFERENCE_YEAR))


def _clear_the_air(years: Floats) -> Floats:
    """Sea level falls while emissions grow, and recovers from 1990 on, ever less."""
    return np.asarray(
        np.tanh((years - 1990.0) / 12.0) * (0.3 + 0.7 * np.exp(-(((years - 2000.0) / 15.0) ** 2)))
    )


def _burn(years: Floats) -> Floats:
    return np.exp(-(((years - 2006.0) / 12.0) ** 2))


FORCINGS = (
    Forcing(
        "greenhouse_gases",
        (
            Bump(-48, None, 7, 1.2), Bump(-62, None, 7, -1.3), Bump(42, 300, 10, 1.5), Bump(55, 325, 9, -1.4),
            Bump(37, 150, 8, 1.0), Bump(50, 175, 12, -0.7), Bump(-35, 15, 9, 0.8), Bump(78, 0, 14, 0.9),
        ),
        0.75, 1.3, _grow(0.020),
    ),
    Forcing(
        "aerosols",
        (
            Bump(35, 165, 14, 1.2), Bump(18, 190, 14, -1.0), Bump(5, 75, 14, -0.9), Bump(-15, 80, 12, 0.7),
            Bump(45, 320, 12, 0.8),
        ),
        0.50, 0.1, _clear_the_air,
    ),
    Forcing(
        "biomass_burning",
        (Bump(-5, 340, 14, 0.8), Bump(-10, 110, 14, -0.9), Bump(60, 190, 12, 0.8)),
        0.25, 0.0, _burn,
    ),
    Forcing(
        "land_ice",
        (Bump(72, 318, 16, -2.5), Bump(-75, 255, 16, -1.5), Bump(0, None, 30, 0.4)),
        0.20, 2.0, _grow(0.028), in_models=False,
    ),
)  # fmt: skip

MODELLED = tuple(forcing.name for forcing in FORCINGS if forcing.in_models)


@dataclass(frozen=True)
class Mode:
    """A climate mode: its centres of action, its standard deviation at its strongest (mm), its memory."""

    name: str
    bumps: tuple[Bump, ...]
    amplitude: float
    memory: Memory

    def at(self, points: Floats) -> Floats:
        """Return its pattern at points on the unit sphere, about 1 at its strongest."""
        return np.asarray(sum(bump.at(points) for bump in self.bumps))


MODES = (
    Mode(
        "el_nino",
        (Bump(0, 255, 13, 1.0), Bump(0, 225, 12, 0.8), Bump(8, 140, 14, -0.9), Bump(-12, 155, 11, -0.7)),
        60.0, Memory(1.5, 4.0),
    ),
    Mode(
        "pacific_decadal",
        (Bump(38, 185, 16, -1.0), Bump(50, 220, 13, 0.8), Bump(5, 215, 20, 0.7), Bump(5, 140, 16, -0.9)),
        25.0, Memory(10.0, 25.0),
    ),
    Mode(
        "atlantic_multidecadal",
        (Bump(52, 320, 13, 1.0), Bump(38, 297, 9, -0.8), Bump(20, 335, 15, 0.4)),
        20.0, Memory(12.0),
    ),
)  # fmt: skip

# Where eddies and currents vary most: a factor on the red noise, above its floor.
_LIVELY = (
    Bump(36, 152, 9, 1.2), Bump(40, 300, 9, 1.2), Bump(-40, 20, 9, 1.0), Bump(-40, 305, 9, 0.9),
    Bump(-52, None, 6, 0.4), Bump(0, None, 14, 0.5), Bump(-32, 158, 8, 0.7),
)  # fmt: skip
_CALM = 0.6


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelError:
    r"""How a model's forced patterns err, in the past and in the future alike.

    .. math:: \hat P_s = \alpha_s \left[ 1 + \nu \left( p \tanh(P_s' / \mathrm{sd}\, P_s)
                 + q \cos 2 \varphi \right) \right] P_s' + \delta\,\mathrm{sd}(P_s) D_s

    with the true pattern seen from a turned sphere, :math:`P_s'(\mathbf x) = P_s(R \mathbf x)`, an amplitude
    :math:`\alpha`, a dependence of strength :math:`\nu` on the pattern's sign and on latitude, and a smooth
    pattern D of the model's own, half of which it shares with its family.

    Parameters
    ----------
    gains : dict of str to float
        The amplitude by forcing.
    turn : array, shape (3, 3)
        The rotation.
    nonlinearity, by_sign, by_latitude : float
        The strength, p and q.
    distortion : float
        Strength of D.
    coefficients : dict of str to array
        Of D, by forcing, on the ocean's waves of pattern.
    variability : float
        Factor on the internal variability.
    """

    gains: dict[str, float]
    turn: Floats
    nonlinearity: float
    by_sign: float
    by_latitude: float
    distortion: float
    coefficients: dict[str, Floats]
    variability: float


@dataclass(frozen=True, eq=False)
class Terms:
    """Maps of all terms at some points: each row is multiplied by a series of its own.

    Shapes (terms, points): ``forced`` in mm/year, the others in mm; ``seasonal`` holds the cosine and the
    sine of the year, ``mean`` one row.
    """

    forced: Floats
    modes: Floats
    noise: Floats
    seasonal: Floats
    mean: Floats


@dataclass(frozen=True)
class Ocean:
    """The world behind the sample: patterns drawn from a seed, evaluated anywhere.

    Parameters
    ----------
    seed : int
        Draws the random part of every pattern, the waves of the noise and the models' errors.
    """

    seed: int = 0

    @cached_property
    def pattern_waves(self) -> RandomWaves:
        """Waves of the random part of patterns: 2,000 km."""
        return RandomWaves.draw(self._rng(1), length_km=2000.0, waves=60)

    @cached_property
    def noise_waves(self) -> RandomWaves:
        """Waves of the red noise: 700 km."""
        return RandomWaves.draw(self._rng(2), length_km=_NOISE_LENGTH_KM, waves=_WAVES)

    def draw_error(self, family: int, model: int, *, nonlinearity: float) -> ModelError:
        """Draw the error of one model of a family."""
        rng, shared = self._rng(3, family, model), self._rng(4, family)
        size, names = self.pattern_waves.size, MODELLED
        own = {name: rng.normal(size=size) + shared.normal(size=size) for name in names}
        return ModelError(
            gains={name: float(rng.lognormal(0.0, 0.25)) for name in names},
            turn=rotation(rng.normal(size=3), float(rng.uniform(3.0, 8.0))),
            nonlinearity=nonlinearity,
            by_sign=float(rng.uniform(-1.0, 1.0)),
            by_latitude=float(rng.uniform(-1.0, 1.0)),
            distortion=0.5,
            coefficients={name: values / np.sqrt(2.0) for name, values in own.items()},
            variability=float(rng.uniform(0.8, 1.25)),
        )

    def terms(self, points: Floats, error: ModelError | None = None) -> Terms:
        """Evaluate every map at points (n, 3); of the true ocean, or of a model."""
        scale = self._internal_scale * (1.0 if error is None else error.variability)
        seen = points if error is None else points @ error.turn.T
        return Terms(
            forced=self.forced(points, error),
            modes=scale * np.stack([_mode(mode, seen) for mode in MODES]),
            noise=scale * _liveliness(points) * self.noise_waves.basis(points),
            seasonal=self._seasonal(points),
            mean=self._mean_state(points, error),
        )

    def forced(self, points: Floats, error: ModelError | None = None) -> Floats:
        """Return the patterns of all forcings, mm/year at 2007.5, shape (forcing, n); a model has no ice."""
        if error is None:
            return np.stack([self._pattern(s, points) for s in range(len(FORCINGS))])
        centre = [self._wrong_pattern(s, _sea()[0], error) @ _sea()[1] for s in range(len(MODELLED))]
        rows = [self._wrong_pattern(s, points, error) - centre[s] for s in range(len(MODELLED))]
        return np.stack([*rows, np.zeros(len(points))])

    def internal_series(self, rng: np.random.Generator, months: int) -> tuple[Floats, Floats]:
        """Draw the series of the modes (modes, months) and of the noise's waves (2 waves, months), in mm."""
        modes = [mode.memory.draw(rng, series=1, months=months)[0] * mode.amplitude for mode in MODES]
        size = self.noise_waves.size
        noise = sum(spread * memory.draw(rng, series=size, months=months) for memory, spread in _NOISE)
        return np.stack(modes), np.asarray(noise)

    def _rng(self, *keys: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence([self.seed, *keys]))

    def _raw_pattern(self, forcing: int, points: Floats) -> Floats:
        placed = sum(bump.at(points) for bump in FORCINGS[forcing].bumps)
        coefficients = self._rng(5, forcing).normal(size=self.pattern_waves.size)
        share = 0.3 if FORCINGS[forcing].in_models else 0.0
        return np.asarray(placed + share * coefficients @ self.pattern_waves.basis(points))

    def _pattern(self, forcing: int, points: Floats) -> Floats:
        mean, spread = self._pattern_moments[forcing]
        return np.asarray(FORCINGS[forcing].spread * (self._raw_pattern(forcing, points) - mean) / spread)

    @cached_property
    def _pattern_moments(self) -> list[tuple[float, float]]:
        return [_moments(self._raw_pattern(s, _sea()[0])) for s in range(len(FORCINGS))]

    def _wrong_pattern(self, forcing: int, points: Floats, error: ModelError) -> Floats:
        name, spread = FORCINGS[forcing].name, FORCINGS[forcing].spread
        true = self._pattern(forcing, points @ error.turn.T)
        by_latitude = error.by_latitude * (1.0 - 2.0 * points[:, 2] ** 2)
        bent = 1.0 + error.nonlinearity * (error.by_sign * np.tanh(true / spread) + by_latitude)
        own = error.coefficients[name] @ self.pattern_waves.basis(points)
        return np.asarray(error.gains[name] * bent * true + error.distortion * spread * own)

    @cached_property
    def _internal_scale(self) -> float:
        """Make the area mean of the variance of 30-year trends that of `INTERNAL_TREND`."""
        points, weights = _sea()
        variance = sum(
            mode.amplitude**2
            * mode.memory.trend_variance(_TREND_MONTHS)
            * float(_mode(mode, points) ** 2 @ weights)
            for mode in MODES
        )
        noise = sum(spread**2 * memory.trend_variance(_TREND_MONTHS) for memory, spread in _NOISE)
        variance += noise * float(_liveliness(points) ** 2 @ weights)
        return float(INTERNAL_TREND / np.sqrt(variance))

    def _seasonal(self, points: Floats) -> Floats:
        """Return cosine and sine, mm: opposite in the hemispheres, highest in September and in March."""
        strength = 50.0 * np.tanh(2.5 * points[:, 2])
        phase = 2.0 * np.pi * (8.5 / 12.0)
        return np.stack([strength * np.cos(phase), strength * np.sin(phase)])

    def _mean_state(self, points: Floats, error: ModelError | None) -> Floats:
        base = self._rng(6).normal(size=self.pattern_waves.size)
        own = 0.0 if error is None else 0.2 * error.coefficients[MODELLED[0]]
        return np.asarray(400.0 * (base + own) @ self.pattern_waves.basis(points))[None]


def _mode(mode: Mode, points: Floats) -> Floats:
    return mode.at(points) - _moments(mode.at(_sea()[0]))[0]


def _liveliness(points: Floats) -> Floats:
    return np.asarray(_CALM + sum(bump.at(points) for bump in _LIVELY))


@lru_cache(maxsize=1)
def _sea() -> tuple[Floats, Floats]:
    """Return the sea cells of the 2-degree grid as points, and their shares of the sea's area."""
    grid = Grid.regular(90, 180)
    sea = land_fraction(grid).values < 0.5
    lat, lon = np.meshgrid(grid.lat, grid.lon, indexing="ij")
    area = grid.cell_areas_km2[sea]
    return unit_vectors(lat[sea], lon[sea]), area / area.sum()


def _moments(values: Floats) -> tuple[float, float]:
    """Return mean and standard deviation over the sea."""
    weights = _sea()[1]
    mean = float(values @ weights)
    return mean, float(np.sqrt((values - mean) ** 2 @ weights))
