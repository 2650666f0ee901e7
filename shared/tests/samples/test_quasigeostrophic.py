"""Conservation, order of convergence, and linear waves against closed forms and an independent operator."""

import dataclasses
import itertools

import numpy as np
import pytest
from numpy.polynomial import legendre
from scipy.special import assoc_legendre_p

from isopleth.errors import ConfigError
from isopleth.samples.quasigeostrophic import (
    DAY_S,
    EARTH_RADIUS_M,
    ROTATION_PER_S,
    Mountain,
    QuasiGeostrophicModel,
    QuasiGeostrophicParameters,
)

INVISCID = {"relaxation_days": np.inf, "drag_days": np.inf, "hyperdiffusion_days": np.inf}
FLAT = {"mountains": ()}


def make(**settings):
    return QuasiGeostrophicModel(QuasiGeostrophicParameters(**settings))


def run(model, state, days):
    return next(itertools.islice(model.integrate(state, every_s=DAY_S), days, None))


def solid_rotation(model, rates):
    """Streamfunctions -a² ω sin φ of levels that turn at ω (s-1) relative to the planet."""
    streamfunction = np.zeros_like(model.equilibrium)
    # sin φ is the normalised harmonic of degree one over sqrt(3).
    streamfunction[0, 0, :, 1] = -(EARTH_RADIUS_M**2) * np.asarray(rates) / np.sqrt(3.0)
    return streamfunction


def wave(model, order, degree, levels):
    """One harmonic with a complex amplitude for each level: Re(A exp(i m λ)) along longitude."""
    streamfunction = np.zeros_like(model.equilibrium)
    streamfunction[order, 0, :, degree] = np.real(levels)
    streamfunction[order, 1, :, degree] = -np.imag(levels)
    return streamfunction


def amplitude(streamfunction, order, degree):
    return streamfunction[order, 0, :, degree] - 1j * streamfunction[order, 1, :, degree]


@pytest.fixture(scope="module")
def weather():
    """A state with fully developed eddies."""
    model = make()
    return run(model, model.perturbed_equilibrium(np.random.default_rng(0)), 40)


# --- the balance of vorticity and streamfunction


def test_inversion_undoes_the_potential_vorticity(weather):
    model = make()
    np.testing.assert_allclose(
        model.potential_vorticity(model.streamfunction(weather)), weather, atol=1e-13 * np.abs(weather).max()
    )


def test_energy_is_kinetic_plus_available(weather):
    """-½ Σ ψ q is ½ Σ |∇ψ|² and ½ (Δψ / R)² between the levels."""
    model = make()
    streamfunction = model.streamfunction(weather)
    power = (streamfunction**2).sum(axis=(0, 1))
    kinetic = 0.5 * (power * -model.harmonics.laplacian).sum() / EARTH_RADIUS_M**2
    thickness = ((streamfunction[:, :, :-1] - streamfunction[:, :, 1:]) ** 2).sum(axis=(0, 1, 3))
    available = 0.5 * (thickness / np.array(model.parameters.rossby_radii_m) ** 2).sum()
    assert model.energy(weather) == pytest.approx((kinetic + available) / 3, rel=1e-12)


def test_equilibrium_has_the_stated_jets():
    """Within what T21 resolves of the streamfunction of sin²(2 φ), least at the poles."""
    model = make(baroclinicity=1.0)
    slope = model.harmonics.synthesise_d_sin_lat(model.equilibrium)[0]
    winds = -model.harmonics.cos_lat / EARTH_RADIUS_M * slope
    jet = np.sin(2 * np.radians(model.harmonics.lat)) ** 2
    np.testing.assert_allclose(winds, [52.0 * jet, 22.0 * jet, 0.0 * jet], atol=0.25)


def test_equilibrium_stays_without_mountains_and_hyperdiffusion():
    model = make(hyperdiffusion_days=np.inf, **FLAT)
    rest = model.potential_vorticity(model.equilibrium)
    assert np.abs(model.tendency(rest)).max() < 1e-12 * np.abs(rest).max() / DAY_S


def test_relaxation_acts_on_thickness_alone():
    """∂q/∂t carries -(ψ1 - ψ2) / τ and -(ψ2 - ψ3) / τ over the squared radii; a barotropic flow is let be."""
    model = make(
        baroclinicity=0.0, drag_days=np.inf, hyperdiffusion_days=np.inf, relaxation_days=10.0, **FLAT
    )
    flow = wave(model, 0, 5, np.array([3e7, -1e7, 5e6]))  # zonal: nothing is advected
    tendency = model.tendency(model.potential_vorticity(flow))
    upper, lower = (1.0 / radius**2 for radius in model.parameters.rossby_radii_m)
    first = -(flow[..., 0, :] - flow[..., 1, :]) / (10 * DAY_S)
    second = -(flow[..., 1, :] - flow[..., 2, :]) / (10 * DAY_S)
    expected = np.stack([-upper * first, upper * first - lower * second, lower * second], axis=-2)
    np.testing.assert_allclose(tendency, expected, atol=1e-12 * np.abs(expected).max())
    barotropic = wave(model, 0, 5, np.full(3, 1e7))
    assert np.abs(model.tendency(model.potential_vorticity(barotropic))).max() < 1e-24


# --- conservation


@pytest.mark.parametrize("mountains", [(), QuasiGeostrophicParameters().mountains])
def test_inviscid_tendency_conserves_energy_and_enstrophy_to_rounding(weather, mountains):
    model = make(mountains=mountains, **INVISCID)
    tendency = model.tendency(weather)
    power = model.streamfunction(weather) * tendency
    assert abs(power.sum()) < 1e-12 * np.abs(power).sum()
    absolute = weather + model.absolute_background
    enstrophy = (absolute * tendency).sum(axis=(0, 1, 3))
    assert (np.abs(enstrophy) < 1e-12 * np.abs(absolute * tendency).sum(axis=(0, 1, 3))).all()


def test_drag_takes_the_kinetic_energy_of_its_level(weather):
    """The counterpart: with drag alone, dE/dt = -mean |∇ψ3|² / (3 τ), whatever the flow."""
    model = make(relaxation_days=np.inf, hyperdiffusion_days=np.inf, drag_days=3.0)
    streamfunction = model.streamfunction(weather)
    loss = -(streamfunction * model.tendency(weather)).sum() / 3
    lowest = (streamfunction[:, :, 2] ** 2 * -model.harmonics.laplacian).sum() / EARTH_RADIUS_M**2
    assert loss == pytest.approx(-lowest / (3 * 3.0 * DAY_S), rel=1e-10)


def test_integration_conserves_to_the_order_of_the_scheme(weather):
    """A fourth-order scheme drifts by dt⁴ or faster: 0.3 to 3 ppm of energy a day at three hours."""
    drifts = []
    for step_s in (10800.0, 5400.0, 2700.0):
        model = make(step_s=step_s, **INVISCID)
        later = run(model, weather, 2)
        energy = model.energy(later) / model.energy(weather) - 1.0
        enstrophy = model.potential_enstrophy(later) / model.potential_enstrophy(weather) - 1.0
        drifts.append(np.abs([energy, *enstrophy]))
    assert (drifts[0] < 5e-5).all()
    orders = np.log2(np.array(drifts[:-1]) / drifts[1:])
    assert (orders > 3.7).all()
    assert (orders < 6.0).all()


@pytest.mark.parametrize("physics", [{}, INVISCID], ids=["forced", "inviscid"])
def test_solution_converges_with_fourth_order(weather, physics):
    reference = run(make(step_s=675.0, **physics), weather, 1)
    errors = []
    for step_s in (10800.0, 5400.0, 2700.0):
        model = make(step_s=step_s, **physics)
        errors.append(np.sqrt((model.streamfunction(run(model, weather, 1) - reference) ** 2).sum()))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(orders, 4.0, atol=0.15)


# --- waves in closed form


@pytest.mark.parametrize(
    ("order", "degree", "rate"), [(1, 2, 0.0), (4, 5, 3e-6), (9, 12, -2e-6), (21, 21, 3e-6)]
)
def test_rossby_haurwitz_wave_of_finite_amplitude(order, degree, rate):
    """ψ = -a² ω sin φ + Y turns unchanged at ω - 2 (Ω + ω) / (l (l + 1)): exact, not only linear.

    Haurwitz (1940), J. Mar. Res. 3, 254. The winds of the wave are some 10 m s-1.
    """
    model = make(**INVISCID, **FLAT, step_s=1800.0)
    size, days = 10.0 * EARTH_RADIUS_M / degree, 2
    start = solid_rotation(model, [rate] * 3) + wave(model, order, degree, np.full(3, size))
    later = model.streamfunction(run(model, model.potential_vorticity(start), days))
    angular = rate - 2.0 * (ROTATION_PER_S + rate) / (degree * (degree + 1))
    turn = np.exp(-1j * order * angular * days * DAY_S)
    expected = solid_rotation(model, [rate] * 3) + wave(model, order, degree, size * turn * np.ones(3))
    # What Runge-Kutta loses on a pure turn by itself: (s dt)⁵ / 120 a step.
    scheme = days * 48 * abs(order * angular * 1800.0) ** 5 / 120
    np.testing.assert_allclose(later, expected, rtol=0, atol=size * (1.05 * scheme + 1e-9))


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_internal_rossby_waves(mode):
    """At rest each vertical mode of stretching -κ² turns at -2 Ω / (l (l + 1) + a² κ²)."""
    model = make(**INVISCID, **FLAT, step_s=3600.0)
    upper, lower = (1.0 / radius**2 for radius in model.parameters.rossby_radii_m)
    stretching = np.array([[upper, -upper, 0], [-upper, upper + lower, -lower], [0, -lower, lower]])
    kappa_squared, modes = np.linalg.eigh(stretching)
    order, degree, days = 5, 8, 10
    start = wave(model, order, degree, 1e6 * modes[:, mode])
    later = model.streamfunction(run(model, model.potential_vorticity(start), days))
    angular = -2 * ROTATION_PER_S / (degree * (degree + 1) + EARTH_RADIUS_M**2 * kappa_squared[mode])
    expected = wave(model, order, degree, 1e6 * modes[:, mode] * np.exp(-1j * order * angular * days * DAY_S))
    np.testing.assert_allclose(later, expected, atol=1.0)


def test_hyperdiffusion_and_drag_decay():
    """∇⁸ damps q at the rate (l (l + 1) / (T (T + 1)))⁴ / τ; drag takes the vorticity at 800 hPa."""
    degree, days = 15, 3
    model = make(baroclinicity=0.0, relaxation_days=np.inf, drag_days=np.inf, **FLAT)
    start = model.potential_vorticity(wave(model, 0, degree, np.array([1e7, -2e6, 3e6])))
    rate = (degree * (degree + 1) / (21 * 22)) ** 4 / (2.0 * DAY_S)
    np.testing.assert_allclose(
        run(model, start, days), start * np.exp(-rate * days * DAY_S), atol=1e-9 * start.max()
    )

    model = make(baroclinicity=0.0, relaxation_days=np.inf, hyperdiffusion_days=np.inf, **FLAT)
    tendency = model.tendency(start)
    vorticity = -degree * (degree + 1) / EARTH_RADIUS_M**2 * model.streamfunction(start)[..., 2, :]
    np.testing.assert_allclose(tendency[..., 2, :], -vorticity / (3.0 * DAY_S), atol=1e-20)
    assert np.abs(tendency[..., :2, :]).max() < 1e-20


def test_phillips_instability_on_the_sphere():
    """Two levels in solid rotations ω̄ ± δ: a quadratic for the phase speed c.

    With F = a² / R², L = l (l + 1), B = 2 (ω̄ + Ω) and x = ω̄ - c, the sum and the difference of the two
    levels give (B - x L) (B - x (L + 2 F)) = δ² (L - 2) (L - 2 - 2 F): the sphere's form of Phillips (1954),
    Tellus 6, 273. The top level is cut off by a radius without end.
    """
    order, degree, mean, shear = 7, 10, 2e-6, 2.4e-6
    model = make(rossby_radii_m=(1e14, 450e3), **INVISCID, **FLAT)
    F, L, B = (EARTH_RADIUS_M / 450e3) ** 2, degree * (degree + 1), 2 * (mean + ROTATION_PER_S)
    roots = np.roots([L * (L + 2 * F), -2 * B * (L + F), B**2 - shear**2 * (L - 2) * (L - 2 - 2 * F)])
    growth = order * np.abs(roots.imag).max()
    angular = mean - roots.real[0]
    assert 0.5 / DAY_S < growth < 2.0 / DAY_S

    base = solid_rotation(model, [0.0, mean + shear, mean - shear])
    start = base + wave(model, order, degree, [0.0, 1e-2, 1e-2j])
    states = model.integrate(model.potential_vorticity(start), every_s=DAY_S)
    early, late = (model.streamfunction(each) for each in itertools.islice(states, 8, 13, 4))
    ratio = amplitude(late, order, degree)[1:] / amplitude(early, order, degree)[1:]
    np.testing.assert_allclose(np.log(np.abs(ratio)) / (4 * DAY_S), growth, rtol=2e-5)
    np.testing.assert_allclose(ratio / np.abs(ratio), np.exp(-1j * order * angular * 4 * DAY_S), atol=2e-4)


# --- the unstable jets against an operator that shares no code with the model


def linear_operator(parameters, zonal, order):
    """Assemble ∂q'/∂t for one order about a zonal flow with scipy's Legendre functions and 80 Gaussian nodes.

    ``zonal`` are the flow's fully normalised zonal coefficients (level, degree). Rows and columns of the
    result run over (level, degree from the order on) of q'.
    """
    a, degrees = EARTH_RADIUS_M, np.arange(order, parameters.truncation + 1)
    nodes, weights = legendre.leggauss(80)
    scale = np.sqrt(2 * np.arange(zonal.shape[1]) + 1)
    upper, lower = (1.0 / radius**2 for radius in parameters.rossby_radii_m)
    S = np.array([[-upper, upper, 0], [upper, -upper - lower, lower], [0, lower, -lower]])
    every = np.arange(zonal.shape[1])
    vorticity = -every * (every + 1) / a**2 * zonal + S @ zonal
    flow_slope = np.array([legendre.legval(nodes, legendre.legder(row * scale)) for row in zonal])
    vorticity_slope = np.array([legendre.legval(nodes, legendre.legder(row * scale)) for row in vorticity])
    vorticity_slope += 2 * ROTATION_PER_S
    table = np.array([assoc_legendre_p(n, order, nodes, norm=True)[0] for n in degrees])

    def project(profile):
        return (table * weights * profile) @ table.T

    n = degrees.size
    invert, advect, damp = (np.zeros((3 * n, 3 * n), complex) for _ in range(3))
    for k, degree in enumerate(degrees):
        L = -degree * (degree + 1) / a**2
        at = np.arange(3) * n + k
        invert[np.ix_(at, at)] = np.linalg.inv(L * np.eye(3) + S)
        damp[np.ix_(at, at)] = -S / (parameters.relaxation_days * DAY_S)
        damp[2 * n + k, 2 * n + k] -= L / (parameters.drag_days * DAY_S)
    result = damp @ invert
    for level in range(3):
        block = slice(level * n, (level + 1) * n)
        advect[block, block] = project(vorticity_slope[level])
        result[block, block] += 1j * order / a**2 * project(flow_slope[level])
    return result - 1j * order / a**2 * advect @ invert


@pytest.fixture(scope="module")
def jets():
    """The default jets, flat and without hyperdiffusion, so that they stand still."""
    return make(hyperdiffusion_days=np.inf, step_s=3600.0, **FLAT)


def to_state(model, order, vector):
    """Put a complex vector over (level, degree) into a state."""
    state = np.zeros_like(model.equilibrium)
    levels = vector.reshape(3, -1)
    state[order, 0, :, order:], state[order, 1, :, order:] = levels.real, -levels.imag
    return state


def from_state(state, order):
    return (state[order, 0, :, order:] - 1j * state[order, 1, :, order:]).ravel()


@pytest.mark.parametrize("order", [3, 7, 12])
def test_nonlinear_growth_is_the_eigenvalue(jets, order):
    """Tiny eigenvectors of the independent operator grow and turn in the nonlinear model by exp(s t)."""
    operator = linear_operator(jets.parameters, jets.equilibrium[0, 0], order)
    values, vectors = np.linalg.eig(operator)
    fastest = values.real.argmax()
    base, days = jets.potential_vorticity(jets.equilibrium), 4
    start = 1e-6 * np.abs(base).max() * vectors[:, fastest]
    later = run(jets, base + to_state(jets, order, start), days)
    expected = start * np.exp(values[fastest] * days * DAY_S)
    np.testing.assert_allclose(from_state(later, order), expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_noise_ends_up_growing_at_the_fastest_rate(jets):
    """Noise of order 7 comes to grow like its leading pair of modes (one even, one odd about the equator)."""
    order = 7
    values = np.linalg.eigvals(linear_operator(jets.parameters, jets.equilibrium[0, 0], order))
    third, second, first = np.sort(values.real)[-3:] * DAY_S
    assert 1.0 < np.log(2) / first < 2.5
    assert third < 0.7 * second
    noise = np.random.default_rng(3).standard_normal((2, values.size))
    base = jets.potential_vorticity(jets.equilibrium)
    start = base + to_state(jets, order, 1e-12 * np.abs(base).max() * (noise[0] + 1j * noise[1]))
    states = jets.integrate(start, every_s=8 * DAY_S)
    early, late = (from_state(each, order) for each in itertools.islice(states, 3, 5))
    growth = np.log(np.linalg.norm(late) / np.linalg.norm(early)) / 8
    assert 0.995 * second < growth < 1.005 * first


# --- mountains, parameters, misuse


def test_orographic_vorticity_forces_like_vortex_stretching():
    """A uniform turn over a mountain: ∂q3/∂t = -J(ψ3, f h / H0) - J(ψ3, f), here -ω ∂λ (f h / H0)."""
    rate = 2e-6
    hill = (Mountain(height_m=2000.0, lat=45.0, lon=90.0, lat_width=15.0, lon_width=20.0),)
    model = make(mountains=hill, **INVISCID)
    flow = solid_rotation(model, [rate] * 3)
    tendency = model.harmonics.synthesise(model.tendency(model.potential_vorticity(flow)))
    harmonics = model.harmonics
    column = 2 * ROTATION_PER_S * harmonics.sin_lat * model.orography_m / 9000.0
    slope = harmonics.synthesise_d_lon(harmonics.analyse(column))
    np.testing.assert_allclose(
        tendency[:, 2:], -rate * slope, atol=1e-12 * np.abs(rate * slope).max() + 1e-25
    )
    assert np.abs(tendency[:, :2]).max() < 1e-20


def test_mountains_stand_where_they_are_put():
    model = make()
    heights = model.orography_m[:, 0, :]
    lon, lat = np.unravel_index(heights.argmax(), heights.shape)
    assert abs(model.harmonics.lon[lon] - 90.0) < 6
    assert abs(model.harmonics.lat[lat] - 35.0) < 6
    assert 3000 < heights.max() < 4000
    assert heights.min() > -400  # ripples of the truncation


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"drag_days": 0.0}, "drag_days must be above 0, got 0.0"),
        ({"relaxation_days": float("nan")}, "relaxation_days must be above 0, got nan"),
        ({"rossby_radii_m": (700e3, -1.0)}, r"rossby_radii_m\[1\] must be above 0, got -1.0"),
        ({"baroclinicity": -0.1}, "baroclinicity must be at least 0, got -0.1"),
        ({"step_s": float("inf")}, "step_s must be above 0, got inf"),
    ],
)
def test_impossible_parameters_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        QuasiGeostrophicParameters(**settings)


def test_parameters_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        QuasiGeostrophicParameters().step_s = 1.0


@pytest.mark.parametrize("every_s", [5400.0, 0.0, 16200.0])
def test_output_must_fall_on_steps(every_s):
    model = make()
    with pytest.raises(ConfigError, match="whole number of time steps"):
        next(model.integrate(model.potential_vorticity(model.equilibrium), every_s=every_s))
