"""The rollout: each step from the two before it, the right clock, seeds of its own, nothing kept."""

import weakref

import numpy as np
import pytest
import torch

from archesweather.config import FieldsConfig, ModelConfig
from archesweather.model import ArchesWeather
from archesweather.rollout import Deterministic, as_stepper, rollout
from isopleth.data import Normaliser, NormaliserBuffers
from isopleth.errors import ConfigError, DataError
from isopleth.train.randomness import derive_seed

FIELDS = FieldsConfig(surface=("2m_temperature",), upper=("geopotential",), levels=(500,), constants=())
DAY = 86_400


def make_config(network, lead_hours=24):
    lat, lon = np.linspace(-78.75, 78.75, 8), np.arange(16) * 22.5
    return ModelConfig(
        fields=FIELDS,
        network=network,
        lat=tuple(lat.tolist()),
        lon=tuple(lon.tolist()),
        lead_hours=lead_hours,
    )


class Recorder:
    """A linear stepper that notes what it was given."""

    is_random = True

    def __init__(self, config):
        self.config = config
        self.normaliser = NormaliserBuffers(Normaliser(config.fields.channels, [280.0, 5e4], [20.0, 3e3]))
        self.calls = []

    def step(self, state, previous, month, hour, *, seeds):
        self.calls.append((month.tolist(), hour.tolist(), list(seeds)))
        return 2 * state - 0.5 * previous


class Walk(Recorder):
    """A stepper whose noise follows from the seed of each row alone."""

    def step(self, state, previous, month, hour, *, seeds):
        noise = [torch.randn(state.shape[1:], generator=torch.Generator().manual_seed(s)) for s in seeds]
        return state + torch.stack(noise)


@pytest.fixture
def config(small_network):
    return make_config(small_network)


def states(rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, rows, 2, 8, 16, generator=generator).unbind()


def test_each_state_is_made_of_the_two_before_it(config):
    state, previous = states(1)
    found = list(rollout(Recorder(config), state, previous, np.array([0]), 3))
    first = 2 * state - 0.5 * previous
    second = 2 * first - 0.5 * state
    torch.testing.assert_close(found, [first, second, 2 * second - 0.5 * first], rtol=0, atol=0)


def test_month_and_hour_are_those_of_the_state_that_is_stepped_from(small_network):
    recorder = Recorder(make_config(small_network, lead_hours=12))
    state, previous = states(2)
    starts = np.array(["2020-02-28T12", "2019-12-31T12"], "datetime64[s]").astype(np.int64)
    list(rollout(recorder, state, previous, starts, 4))
    assert [call[0] for call in recorder.calls] == [[2, 12], [2, 1], [2, 1], [3, 1]]
    assert [call[1] for call in recorder.calls] == [[12, 12], [0, 0], [12, 12], [0, 0]]


def test_another_calendar_has_its_own_months(config):
    recorder = Recorder(config)
    state, previous = states(1)
    # Day 59 of a year of twelve months of 30 days is the 30th of February.
    list(rollout(recorder, state, previous, np.array([59 * DAY]), 2, calendar="360_day"))
    assert [call[0] for call in recorder.calls] == [[2], [3]]


def test_a_seed_follows_from_member_start_and_step_and_not_from_the_batch(config):
    recorder = Recorder(config)
    state, previous = states(2)
    list(rollout(recorder, state, previous, np.array([DAY, 2 * DAY]), 2, members=[3, 4], seed=7))
    expected = [[derive_seed(7, 3, DAY, step), derive_seed(7, 4, 2 * DAY, step)] for step in (0, 1)]
    assert [call[2] for call in recorder.calls] == expected


def test_random_rows_are_the_same_together_and_alone(config):
    state, previous = states(3)
    starts = np.array([-DAY, 0, 5 * DAY])
    together = list(rollout(Walk(config), state, previous, starts, 3, members=[0, 1, 2], seed=1))
    for row in range(3):
        part = slice(row, row + 1)
        alone = rollout(Walk(config), state[part], previous[part], starts[part], 3, members=[row], seed=1)
        for mine, theirs in zip(alone, together, strict=True):
            assert torch.equal(mine[0], theirs[row])
    assert not torch.equal(together[0][0] - state[0], together[0][1] - state[1])


def test_gradients_flow_through_all_steps_of_a_network(config):
    torch.manual_seed(0)
    network = ArchesWeather(config).double()
    state, previous = (each.double() for each in states(1))
    state.requires_grad_()

    class Double(Deterministic):
        def step(self, state, previous, month, hour, *, seeds=None):
            return super().step(state.double(), previous.double(), month, hour)

    *_, last = rollout(Double(network), state, previous, np.array([0]), 2)
    last.square().mean().backward()
    assert state.grad is not None
    assert state.grad.abs().max() > 0
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_states_stay_float32_when_steps_are_computed_in_bfloat16(config):
    class Half(Recorder):
        def step(self, state, previous, month, hour, *, seeds):
            assert torch.is_autocast_enabled("cpu")
            return (state @ state.mT @ state)[..., :16]

    state, previous = states(1)
    outputs = list(rollout(Half(config), 0.1 * state, previous, np.array([0]), 2, autocast=torch.bfloat16))
    assert all(each.dtype == torch.float32 for each in outputs)


def test_bfloat16_and_float32_rollouts_of_a_network_agree(config):
    torch.manual_seed(0)
    network = ArchesWeather(config).eval()
    state, previous = states(1)
    with torch.no_grad():
        full = list(rollout(as_stepper(network), state, previous, np.array([0]), 2))
        half = list(rollout(as_stepper(network), state, previous, np.array([0]), 2, autocast=torch.bfloat16))
    for one, other in zip(full, half, strict=True):
        assert (one - other).norm() / one.norm() < 0.05


def test_only_two_states_are_alive_however_many_steps(config):
    class Fresh(Recorder):
        def step(self, state, previous, month, hour, *, seeds):
            return state + 1

    state, previous = states(1)
    born = []
    for ahead in rollout(Fresh(config), state, previous, np.array([0]), 20):
        born.append(weakref.ref(ahead))
        del ahead
        assert sum(each() is not None for each in born) <= 2


def test_states_that_do_not_fit_are_refused(config):
    state, previous = states(2)
    with pytest.raises(DataError, match=r"state must be of shape .*\(1, 2, 8, 16\), got \(2, 2, 8, 16\)"):
        next(rollout(Recorder(config), state, previous, np.array([0]), 1))
    with pytest.raises(DataError, match="previous must be of shape"):
        next(rollout(Recorder(config), state, previous[:1], np.array([0, 1]), 1))
    with pytest.raises(ConfigError, match="at least one step, got 0"):
        next(rollout(Recorder(config), state, previous, np.array([0, 1]), 0))
