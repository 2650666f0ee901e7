"""Runs of the quasi-geostrophic model, kept in the cache: what is simulated once is read the next time."""

from __future__ import annotations

import hashlib
import itertools
import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from isopleth.cache import cache_dir
from isopleth.config import config_hash
from isopleth.errors import ConfigError, DataError
from isopleth.io.write import atomic_path
from isopleth.samples.quasigeostrophic import DAY_S, QuasiGeostrophicModel, QuasiGeostrophicParameters
from isopleth.samples.sphere import Array

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything that determines a trajectory.

    Parameters
    ----------
    days : int
        Length after the spin-up.
    step_hours : int
        Interval of output, a divisor of 24 and a multiple of the model's time step.
    seed : int
        Zero or more. Member k draws its initial noise from ``SeedSequence([seed, k])``.
    members : int
        Independent trajectories of the same climate.
    spin_up_days : int
        Days run and thrown away first.
    parameters : QuasiGeostrophicParameters
        The model.

    Raises
    ------
    ConfigError
        If a number is out of its range.
    """

    days: int
    step_hours: int = 24
    seed: int = 0
    members: int = 1
    spin_up_days: int = 100
    parameters: QuasiGeostrophicParameters = field(default_factory=QuasiGeostrophicParameters)

    def __post_init__(self) -> None:
        for name, least in {"days": 1, "step_hours": 1, "seed": 0, "members": 1, "spin_up_days": 0}.items():
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or value < least:
                raise ConfigError(f"{name} must be a whole number of at least {least}, got {value!r}")
        if 24 % self.step_hours:
            raise ConfigError(f"step_hours must divide 24, got {self.step_hours}")

    @property
    def times(self) -> int:
        """Number of output times."""
        return self.days * 24 // self.step_hours


def simulate(run: Run) -> Array:
    """Run the model.

    Members do not depend on how many there are, and a longer run begins with the days of a shorter one,
    to the last bit on one machine. Other processors and BLAS builds round otherwise: there the weather
    parts after some weeks, while the climate is the same.

    Returns
    -------
    array, shape (member, time, order, part, level, degree)
        Streamfunction spectra, m2 s-1.

    Raises
    ------
    ConfigError
        If the time step is too long for the winds that arise.
    """
    model = QuasiGeostrophicModel(run.parameters)
    seeds = (np.random.SeedSequence([run.seed, member]) for member in range(run.members))
    state = np.stack([model.perturbed_equilibrium(np.random.default_rng(seed)) for seed in seeds])
    spin_up = model.integrate(state, every_s=DAY_S)
    # A run that blows up overflows first; it is reported once, below.
    with np.errstate(over="ignore", invalid="ignore"):
        state = next(itertools.islice(spin_up, run.spin_up_days, None))
        outputs = itertools.islice(model.integrate(state, every_s=run.step_hours * 3600.0), run.times)
        spectra = np.stack([model.streamfunction(each) for each in outputs], axis=1)
    if not np.isfinite(spectra).all():
        raise ConfigError(
            f"step_s must be short enough for a stable run, got {run.parameters.step_s:g}",
            hint="halve step_s, or lower baroclinicity",
        )
    return spectra


def load_trajectory(run: Run) -> Array:
    """Read a trajectory from the cache, or simulate it and keep it there.

    The file is written whole or not at all, so any number of processes may ask at once; one that is
    damaged is made again. A cache that cannot be written costs a warning, not the run.

    Returns
    -------
    array, shape (member, time, order, part, level, degree)
        As `simulate` gives it.
    """
    path = cache_path(run)
    known = _read(path, run)
    if known is not None:
        return known
    spectra = simulate(run)
    try:
        _store(path, run, spectra)
    except (OSError, DataError) as error:
        _log.warning("the simulated atmosphere was not cached: %s", error)
    return spectra


def cache_path(run: Run) -> Path:
    """Name the file of a run: by its settings, the source of the model and the version of numpy."""
    folder = Path(__file__).parent
    digest = hashlib.sha256(f"{config_hash(run)} numpy {np.__version__}".encode())
    for name in ("sphere.py", "quasigeostrophic.py", "trajectory.py"):
        digest.update((folder / name).read_bytes())
    return cache_dir() / "samples" / f"atmosphere-{digest.hexdigest()[:16]}.npz"


def _store(path: Path, run: Run, spectra: Array) -> None:
    """Write the coefficients inside the truncation; the archive's checksum guards them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = QuasiGeostrophicModel(run.parameters).harmonics.mask
    with atomic_path(path) as temporary, Path(temporary).open("wb") as stream:
        np.savez(stream, streamfunction=np.moveaxis(spectra, -2, -4)[..., mask])


def _read(path: Path, run: Run) -> Array | None:
    """Read what `_store` wrote, or give None if it is not there or not whole."""
    mask = QuasiGeostrophicModel(run.parameters).harmonics.mask
    expected = (run.members, run.times, 3, int(mask.sum()))
    try:
        # numpy leaves a file open that it opened itself and could not read.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            packed = archive["streamfunction"]
        # A damaged header may ask for fewer bytes than there are; the checksum is only compared at the end.
        if packed.shape != expected or packed.dtype != np.float64:
            raise ValueError(f"{packed.dtype} {packed.shape} instead of float64 {expected}")  # noqa: TRY301
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:  # zipfile alone has six kinds; whatever is wrong, the way out is the same
        _log.warning("the cached atmosphere %s cannot be used and is made again: %s", path, error)
        return None
    spectra = np.zeros((*packed.shape[:3], *mask.shape))
    spectra[..., mask] = packed
    return np.ascontiguousarray(np.moveaxis(spectra, -4, -2))
