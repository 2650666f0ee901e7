"""The losses of models whose losses are known in closed form, to 1e-6."""

import math

import pytest
import torch

from geostint.cycle import Frame, cycle_losses, run_cycle

TIGHT = {"rtol": 1e-6, "atol": 1e-12}


def norm(values):
    return float(values.abs().mean())


@pytest.fixture
def triple():
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(4, 2, 5, 6, generator=generator, dtype=torch.float64) for _ in range(3)]


def losses(model, frames, valid=None, weights=None):
    masks = valid or [None] * 3
    cycle = run_cycle(model, *(Frame(v, m) for v, m in zip(frames, masks, strict=True)))
    return [float(loss) for loss in cycle_losses(cycle, weights)]


def two_taps(count, of_time):
    """A model that weighs its two frames by a function of the time between them."""

    def model(a, b):
        taps = [of_time(k / (count + 1)) for k in range(1, count + 1)]
        return torch.stack([near * a.values + far * b.values for near, far in taps], 1)

    return model


def linear(count):
    return two_taps(count, lambda t: (1 - t, t))


def harmonic(count, omega):
    scale = math.sin(omega)
    return two_taps(count, lambda t: (math.sin(omega * (1 - t)) / scale, math.sin(omega * t) / scale))


def nearest(a, b):
    return torch.stack([a.values, b.values], 1)


def swap(a, b):
    return torch.stack([b.values, a.values], 1)


def test_copying_the_nearest_frame(triple):
    one, two = losses(nearest, triple)
    assert one == 0
    assert two == pytest.approx(0.5 * (norm(triple[1] - triple[0]) + norm(triple[2] - triple[1])), rel=1e-6)


def test_swapping_the_frames(triple):
    one, two = losses(swap, triple)
    assert one == 0
    assert two == pytest.approx(norm(triple[2] - triple[0]), rel=1e-6)


def test_linear_interpolation(triple):
    bend = norm(triple[0] - 2 * triple[1] + triple[2])
    one, two = losses(linear(2), triple)
    assert one == pytest.approx(4 / 9 * bend, rel=1e-6)
    assert two == pytest.approx(1 / 9 * bend, rel=1e-6)


def wave(omega):
    x = torch.linspace(0, 6, 30, dtype=torch.float64).reshape(1, 1, 5, 6)
    return [torch.cos(omega * t - 2 * x) for t in range(3)]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("omega", [0.3, 1.1, 2.4])
def test_the_true_harmonic_has_no_loss(count, omega):
    assert losses(harmonic(count, omega), wave(omega)) == pytest.approx([0, 0], abs=1e-12)


@pytest.mark.parametrize("alias", [1, 2, -1, 4])
def test_an_alias_has_no_loss_either_and_is_wrong(alias):
    omega = 0.7
    frames, model = wave(omega), harmonic(2, omega + 2 * math.pi * alias)
    assert losses(model, frames) == pytest.approx([0, 0], abs=1e-9)
    x = torch.linspace(0, 6, 30, dtype=torch.float64).reshape(1, 1, 5, 6)
    truth = torch.cos(omega / 3 - 2 * x)
    assert norm(model(Frame(frames[0]), Frame(frames[1]))[:, 0] - truth) > 0.5


def test_white_noise_prefers_copying_under_the_wrong_weights():
    generator = torch.Generator().manual_seed(0)
    noise = [torch.randn(200, 1, 8, 8, generator=generator, dtype=torch.float64) for _ in range(3)]

    def best(first, second):
        steps = [s / 50 for s in range(26)]
        totals = []
        for s in steps:
            one, two = losses(two_taps(2, lambda t, s=s: (1 - s, s) if t < 0.5 else (s, 1 - s)), noise)
            totals.append(first * one + second * two)
        return steps[totals.index(min(totals))]

    assert best(1 / 3, 2 / 3) == pytest.approx(0.38, abs=0.03)
    assert best(2 / 3, 1 / 3) == 0.0


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_any_number_of_frames_against_a_plain_loop(count, triple):
    def model(a, b):
        steps = [k / (count + 1) for k in range(1, count + 1)]
        return torch.stack(
            [(1 - t) * a.values + t * b.values + 0.3 * t * a.values * b.values for t in steps], 1
        )

    def at(a, b, k):
        return model(Frame(a), Frame(b))[:, k - 1]

    zero, one, two = triple
    delta = {k: at(zero, one, k) for k in range(1, count + 1)}
    delta |= {count + 1 + k: at(one, two, k) for k in range(1, count + 1)}
    first, second = [], []
    for k in range(1, count + 1):
        for j in range(1, count + 1):
            back = at(delta[k], delta[count + 1 + k], j)
            if k + j == count + 1:
                first.append(norm(back - one))
            else:
                second.append(norm(back - delta[k + j]))
    expected = [2 * sum(first) / len(first), sum(second) / len(second) if second else 0.0]
    assert losses(model, triple) == pytest.approx(expected, rel=1e-6)


def test_a_field_that_is_linear_in_time_has_no_loss_under_linear(triple):
    start, rate, _ = triple
    for count in (1, 2, 3):
        frames = [start + t * rate for t in range(3)]
        assert losses(linear(count), frames) == pytest.approx([0, 0], abs=1e-14)


def test_missing_cells_never_count(triple):
    valid = [torch.rand(4, 2, 5, 6, generator=torch.Generator().manual_seed(k)) > 0.2 for k in range(3)]
    both = valid[0] & valid[1] & valid[2]
    known = losses(linear(2), triple, valid)
    spoilt = [torch.where(mask, frame, float("nan")) for mask, frame in zip(valid, triple, strict=True)]
    assert losses(linear(2), spoilt, valid) == known
    bend = (triple[0] - 2 * triple[1] + triple[2]).abs()
    assert known[0] == pytest.approx(4 / 9 * float(bend[both].mean()), rel=1e-6)


def test_weights_of_cells(triple):
    weights = torch.linspace(0, 2, 5, dtype=torch.float64)[:, None]
    bend = (triple[0] - 2 * triple[1] + triple[2]).abs()
    expected = float((bend * weights).sum() / (weights.expand_as(bend)).sum())
    assert losses(linear(2), triple, weights=weights)[1] == pytest.approx(expected / 9, rel=1e-6)


def test_nothing_known_is_no_loss(triple):
    valid = [torch.zeros(4, 2, 5, 6, dtype=torch.bool)] * 3
    assert losses(linear(2), triple, valid) == [0, 0]
