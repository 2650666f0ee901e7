r"""A global three-level quasi-geostrophic model of the kind of Marshall and Molteni.

.. math::
    \partial_t q_i = -J(\psi_i, q_i + f (1 + \delta_{i3} h / H_0)) + F_i - D_i,

at 200, 500 and 800 hPa (i = 1, 2, 3), where :math:`q_i = \nabla^2 \psi_i + \sum_j S_{ij} \psi_j` is the
potential vorticity without its planetary and orographic parts, and the stretching :math:`S` is made of
the Rossby radii :math:`R_1, R_2` between the levels. Equations, radii, relaxation and drag times and
the order of the hyperdiffusion are those of Marshall and Molteni (1993), J. Atmos. Sci. 50, 1792. Their
forcing comes from observations; here the thickness streamfunctions are relaxed towards baroclinically
unstable zonal jets instead, so that nothing has to be read.

The model is spectral (:mod:`isopleth.samples.sphere`) and steps by the classical Runge-Kutta scheme,
which starts itself: a state and the number of steps determine what follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from isopleth.config import check_positive
from isopleth.errors import ConfigError
from isopleth.samples.sphere import Array, SphericalHarmonics, from_maps

EARTH_RADIUS_M = 6.371e6
ROTATION_PER_S = 7.292e-5
DAY_S = 86400.0
LEVELS_HPA = (200, 500, 800)


@dataclass(frozen=True, kw_only=True)
class Mountain:
    """A Gaussian mountain: summit in metres; centre and e-folding half-widths in degrees."""

    height_m: float
    lat: float
    lon: float
    lat_width: float
    lon_width: float


MOUNTAINS = (
    Mountain(height_m=3500.0, lat=35.0, lon=90.0, lat_width=9.0, lon_width=16.0),  # Tibet
    Mountain(height_m=2200.0, lat=43.0, lon=250.0, lat_width=14.0, lon_width=10.0),  # Rocky Mountains
    Mountain(height_m=3000.0, lat=-20.0, lon=291.0, lat_width=18.0, lon_width=5.0),  # Andes
    Mountain(height_m=2500.0, lat=73.0, lon=320.0, lat_width=8.0, lon_width=16.0),  # Greenland
    Mountain(height_m=1200.0, lat=-5.0, lon=32.0, lat_width=20.0, lon_width=8.0),  # East Africa
    Mountain(height_m=1000.0, lat=41.0, lon=35.0, lat_width=6.0, lon_width=16.0),  # Anatolia and Caucasus
)


@dataclass(frozen=True, kw_only=True)
class QuasiGeostrophicParameters:
    """The physics and the resolution of the model.

    Parameters
    ----------
    truncation, n_lat, n_lon : int
        Triangular truncation and its Gaussian grid.
    rossby_radii_m : tuple of two floats
        Radii of deformation between 200 and 500 and between 500 and 800 hPa, m.
    baroclinicity : float
        Scales both shears. 0.7 gives 500 hPa heights a climatological error of 72 m and a 24 h persistence
        error of 0.72 times that (ERA5: 83 m and 0.69); 0.5 makes weather too tame, 1 too wild.
    shear_m_s : tuple of two floats
        Shears of the equilibrium at 45 degrees, between 200 and 500 and between 500 and 800 hPa, m s-1,
        before they are scaled; the profile is sin²(2 φ).
    relaxation_days : float
        Time of the Newtonian relaxation of both thicknesses; ``inf`` switches it off.
    drag_days : float
        Time of the Ekman drag on the vorticity at 800 hPa, theirs over sea; ``inf`` switches it off.
    hyperdiffusion_days : float
        Time in which ∇⁸ damps the shortest wave; ``inf`` switches it off.
    scale_height_m : float
        H0 of the orographic term f h / H0.
    mountains : tuple of Mountain
        The orography, truncated like every field.
    step_s : float
        Time step of the fourth-order Runge-Kutta scheme, s.

    Raises
    ------
    ConfigError
        If a length, a time or the time step is not above 0, or the baroclinicity is negative.
    """

    truncation: int = 21
    n_lat: int = 32
    n_lon: int = 64
    rossby_radii_m: tuple[float, float] = (700e3, 450e3)
    baroclinicity: float = 0.7
    shear_m_s: tuple[float, float] = (30.0, 22.0)
    relaxation_days: float = 25.0
    drag_days: float = 3.0
    hyperdiffusion_days: float = 2.0
    scale_height_m: float = 9000.0
    mountains: tuple[Mountain, ...] = MOUNTAINS
    step_s: float = 10800.0

    def __post_init__(self) -> None:
        check_positive(scale_height_m=self.scale_height_m, step_s=self.step_s)
        check_positive(**{f"rossby_radii_m[{i}]": radius for i, radius in enumerate(self.rossby_radii_m)})
        for name in ("relaxation_days", "drag_days", "hyperdiffusion_days"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, got {getattr(self, name)!r}")
        if not 0 <= self.baroclinicity < np.inf:
            raise ConfigError(f"baroclinicity must be at least 0, got {self.baroclinicity!r}")


class QuasiGeostrophicModel:
    """Integrate the potential vorticity; states are spectra (..., order, part, level, degree) in s-1.

    Parameters
    ----------
    parameters : QuasiGeostrophicParameters, optional
        Physics and resolution.

    Attributes
    ----------
    harmonics : SphericalHarmonics
        The transform.
    orography_m : array, shape (lon, 1, lat)
        Heights as the model sees them, truncated.
    equilibrium : array, shape (order, part, level, degree)
        Streamfunction the thicknesses are relaxed to, m2 s-1; its 800 hPa level is at rest.
    absolute_background : array, shape (order, part, level, degree)
        What a state lacks of the absolute potential vorticity, s-1: f, and f h / H0 at 800 hPa.
    """

    def __init__(self, parameters: QuasiGeostrophicParameters | None = None) -> None:
        self.parameters = parameters or QuasiGeostrophicParameters()
        p = self.parameters
        self.harmonics = SphericalHarmonics(truncation=p.truncation, n_lat=p.n_lat, n_lon=p.n_lon)
        self._laplacian = self.harmonics.laplacian / EARTH_RADIUS_M**2
        vorticity = self._laplacian[:, None, None] * np.eye(3) + self._stretching()
        # Degree 0 stays zero: a constant moves nothing, and no term of the equations creates one.
        streamfunction = np.zeros_like(vorticity)
        streamfunction[1:] = np.linalg.inv(vorticity[1:])
        self._to_vorticity = _block_matrix(vorticity)
        self._to_streamfunction = _block_matrix(streamfunction)
        self._linear = _block_matrix(self._dissipation(vorticity) @ streamfunction)
        self.orography_m = self._orography()
        self.absolute_background = self._planetary_and_orographic()
        self.equilibrium = self._equilibrium()
        self._forcing = _couple(_block_matrix(self._relaxation()), -self.equilibrium)

    def streamfunction(self, vorticity: Array) -> Array:
        """Invert the potential vorticity (s-1) for the streamfunction (m2 s-1); its global mean is zero."""
        return _couple(self._to_streamfunction, vorticity)

    def potential_vorticity(self, streamfunction: Array) -> Array:
        """Apply ∇² and the stretching to a streamfunction (m2 s-1); gives s-1."""
        return _couple(self._to_vorticity, streamfunction)

    def tendency(self, vorticity: Array) -> Array:
        """Give ∂q/∂t, s-2: advection, relaxation, drag and hyperdiffusion."""
        advection = self.harmonics.jacobian(
            self.streamfunction(vorticity), vorticity + self.absolute_background
        )
        tendency = _couple(self._linear, vorticity)
        tendency += self._forcing
        tendency -= advection / EARTH_RADIUS_M**2
        return tendency

    def step(self, vorticity: Array) -> Array:
        """Advance by one time step with the classical fourth-order Runge-Kutta scheme."""
        dt = self.parameters.step_s
        k1 = self.tendency(vorticity)
        k2 = self.tendency(vorticity + 0.5 * dt * k1)
        k3 = self.tendency(vorticity + 0.5 * dt * k2)
        k4 = self.tendency(vorticity + dt * k3)
        return vorticity + dt / 6.0 * (k1 + 2.0 * (k2 + k3) + k4)

    def integrate(self, vorticity: Array, *, every_s: float) -> Iterator[Array]:
        """Yield the state now and then again every ``every_s`` seconds, without end.

        Raises
        ------
        ConfigError
            If ``every_s`` is not a whole number of time steps.
        """
        steps = round(every_s / self.parameters.step_s)
        if steps < 1 or abs(steps * self.parameters.step_s - every_s) > 1e-6:
            raise ConfigError(
                f"the output interval must be a whole number of time steps, got {every_s:g} s",
                where=f"step_s={self.parameters.step_s:g}",
            )
        while True:
            yield vorticity
            for _ in range(steps):
                vorticity = self.step(vorticity)

    def energy(self, vorticity: Array) -> Array:
        """Give the total energy, kinetic and available potential: -½ Σ mean(ψ q) / 3, J kg-1, shape (...)."""
        return -0.5 * np.einsum("...mpfl,...mpfl->...", self.streamfunction(vorticity), vorticity) / 3.0

    def potential_enstrophy(self, vorticity: Array) -> Array:
        """Give half the mean square of each level's absolute potential vorticity, s-2, shape (..., level)."""
        return 0.5 * np.einsum("...mpfl->...f", (vorticity + self.absolute_background) ** 2)

    def perturbed_equilibrium(self, generator: np.random.Generator, *, amplitude: float = 1e6) -> Array:
        """Draw an initial state: the equilibrium and white noise of ``amplitude`` m2 s-1, 10 m of height."""
        noise = generator.standard_normal(self.equilibrium.shape)
        noise *= amplitude / (self.parameters.truncation + 1)
        noise *= self.harmonics.mask[:, :, None, :]
        noise[..., 0] = 0.0
        return self.potential_vorticity(self.equilibrium + noise)

    def _stretching(self) -> Array:
        upper, lower = (1.0 / radius**2 for radius in self.parameters.rossby_radii_m)
        return np.array([[-upper, upper, 0.0], [upper, -upper - lower, lower], [0.0, lower, -lower]])

    def _orography(self) -> Array:
        lat, lon = self.harmonics.lat[:, None], self.harmonics.lon[None, :]
        heights = np.zeros((self.harmonics.n_lat, self.harmonics.n_lon))
        for peak in self.parameters.mountains:
            east = (lon - peak.lon + 180.0) % 360.0 - 180.0
            heights += peak.height_m * np.exp(
                -(((lat - peak.lat) / peak.lat_width) ** 2) - (east / peak.lon_width) ** 2
            )
        return self.harmonics.synthesise(self.harmonics.analyse(from_maps(heights[None])))

    def _equilibrium(self) -> Array:
        """Add the shears up from 800 hPa, which is at rest."""
        upper, lower = (self.parameters.baroclinicity * shear for shear in self.parameters.shear_m_s)
        sin_lat, cos_lat = self.harmonics.sin_lat, self.harmonics.cos_lat
        jet = (2.0 * sin_lat * cos_lat) ** 2
        winds = np.array([upper + lower, lower, 0.0])[:, None] * jet
        return self.zonal_streamfunction(winds)

    def zonal_streamfunction(self, winds: Array) -> Array:
        """Give the streamfunction (m2 s-1) of zonal-mean winds (m s-1), shape (level, lat)."""
        grid = np.broadcast_to(winds, (self.harmonics.n_lon, *winds.shape))
        vorticity = self.harmonics.analyse_vorticity(grid) / EARTH_RADIUS_M
        vorticity[..., 1:] /= self._laplacian[1:]
        return vorticity

    def _planetary_and_orographic(self) -> Array:
        """Project f, and f h / H0 at the lowest level."""
        f = np.broadcast_to(
            2.0 * ROTATION_PER_S * self.harmonics.sin_lat, (self.harmonics.n_lon, 3, self.harmonics.n_lat)
        )
        stretched = f.copy()
        stretched[:, 2:] *= 1.0 + self.orography_m / self.parameters.scale_height_m
        return self.harmonics.analyse(stretched)

    def _relaxation(self) -> Array:
        """Give the matrix (degree, level, level) by which relaxation acts on the streamfunction, m-2 s-1."""
        rate = -self._stretching() / (self.parameters.relaxation_days * DAY_S)
        return np.broadcast_to(rate, (self.parameters.truncation + 1, 3, 3)).copy()

    def _dissipation(self, to_vorticity: Array) -> Array:
        """Add drag and hyperdiffusion to the relaxation."""
        p = self.parameters
        matrix = self._relaxation()
        matrix[:, 2, 2] -= self._laplacian / (p.drag_days * DAY_S)
        selective = (self.harmonics.laplacian / self.harmonics.laplacian[-1]) ** 4
        return matrix - (selective / (p.hyperdiffusion_days * DAY_S))[:, None, None] * to_vorticity


def _block_matrix(coupling: Array) -> Array:
    """Lay out (degree, level, level) as one matrix on flattened (level, degree): one fast product."""
    degrees, levels, _ = coupling.shape
    matrix = np.zeros((levels, degrees, levels, degrees))
    each = np.arange(degrees)
    matrix[:, each, :, each] = coupling.transpose(0, 2, 1)
    return matrix.reshape(levels * degrees, levels * degrees)


def _couple(matrix: Array, spectrum: Array) -> Array:
    *batch, order, part, level, degree = spectrum.shape
    return (spectrum.reshape(*batch, order * part, level * degree) @ matrix).reshape(spectrum.shape)
