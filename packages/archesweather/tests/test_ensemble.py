"""Ensembles: what is averaged and when, members one by one or together, and who may not join."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from archesweather.config import FieldsConfig, ModelConfig
from archesweather.ensemble import Ensemble, StepMean, check_alike
from archesweather.rollout import rollout
from isopleth.data import Normaliser, NormaliserBuffers
from isopleth.errors import ConfigError

FIELDS = FieldsConfig(surface=("2m_temperature",), upper=("geopotential",), levels=(500,), constants=())
STARTS = np.array([0, 86_400, 172_800])


class Squares:
    """A stepper that is not linear, so that the order of averaging shows."""

    is_random = False

    def __init__(self, config, factor, mean=280.0):
        self.config, self.factor = config, factor
        self.normaliser = NormaliserBuffers(Normaliser(config.fields.channels, [mean, 5e4], [20.0, 3e3]))
        self.rows = []

    def step(self, state, previous, month, hour, *, seeds):
        self.rows.append(len(state))
        return self.factor * state.square() + 0.1 * previous


class Noise(Squares):
    is_random = True

    def step(self, state, previous, month, hour, *, seeds):
        self.rows.append(len(state))
        noise = [torch.randn(state.shape[1:], generator=torch.Generator().manual_seed(s)) for s in seeds]
        return state + self.factor * torch.stack(noise)


@pytest.fixture
def config(small_network):
    lat, lon = np.linspace(-78.75, 78.75, 4).tolist(), (np.arange(8) * 45.0).tolist()
    return ModelConfig(fields=FIELDS, network=small_network, lat=tuple(lat), lon=tuple(lon))


def states():
    return torch.rand(2, 3, 2, 4, 8, generator=torch.Generator().manual_seed(0)).unbind()


def collect(ensemble, steps=3, **options):
    return torch.stack(list(ensemble.rollout(*states(), STARTS, steps, **options)))


def test_each_step_is_averaged_and_fed_back(config):
    state, previous = states()
    expected = []
    for _ in range(3):
        ahead = (0.5 * state.square() + 0.1 * previous + 0.9 * state.square() + 0.1 * previous) / 2
        previous, state = state, ahead
        expected.append(ahead[None])
    found = collect(Ensemble((Squares(config, 0.5), Squares(config, 0.9)), "step"))
    torch.testing.assert_close(found, torch.stack(expected))


def test_trajectories_are_averaged_after_they_were_rolled_out_alone(config):
    alone = [torch.stack(list(rollout(Squares(config, f), *states(), STARTS, 3))) for f in (0.5, 0.9)]
    found = collect(Ensemble((Squares(config, 0.5), Squares(config, 0.9)), "trajectory"))
    torch.testing.assert_close(found[:, 0], (alone[0] + alone[1]) / 2)
    by_step = collect(Ensemble((Squares(config, 0.5), Squares(config, 0.9)), "step"))
    torch.testing.assert_close(found[0], by_step[0])
    assert (found[2] - by_step[2]).abs().max() > 1e-3


def test_members_are_kept_as_they_are(config):
    ensemble = Ensemble((Squares(config, 0.5), Squares(config, 0.9)), "none")
    found = collect(ensemble)
    assert ensemble.size == 2
    assert found.shape == (3, 2, 3, 2, 4, 8)
    for member, factor in enumerate((0.5, 0.9)):
        alone = torch.stack(list(rollout(Squares(config, factor), *states(), STARTS, 3)))
        assert torch.equal(found[:, member], alone)


@pytest.mark.parametrize("average", ["step", "trajectory", "none"])
def test_an_ensemble_of_one_is_its_model(config, average):
    ensemble = Ensemble((Squares(config, 0.5),), average)
    alone = torch.stack(list(rollout(Squares(config, 0.5), *states(), STARTS, 3)))
    assert ensemble.size == 1
    assert ensemble.describe() == "one model"
    assert torch.equal(collect(ensemble)[:, 0], alone)


@pytest.mark.parametrize("average", ["step", "trajectory", "none"])
@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_streamed_members_are_those_that_are_rolled_out_together(config, average, batch_size):
    ensemble = Ensemble((Noise(config, 0.5), Noise(config, 0.9)), average, samples=3)
    together = collect(ensemble, seed=4)
    assert together.shape[1] == {"step": 3, "trajectory": 1, "none": 6}[average]
    found = torch.full_like(together, torch.nan)
    for members, step, values in ensemble.stream(*states(), STARTS, 3, batch_size=batch_size, seed=4):
        found[step, members] = values
    assert torch.equal(found, together)


def test_a_network_is_given_no_more_states_than_the_batch(config):
    noise = Noise(config, 0.5)
    collect(Ensemble((noise,), samples=5), batch_size=6)
    assert set(noise.rows) == {6, 3}
    assert sum(noise.rows) == 3 * 5 * 3


def test_a_member_is_the_same_in_a_larger_ensemble(config):
    small, large = (collect(Ensemble((Noise(config, 0.5),), samples=n), seed=2) for n in (2, 5))
    assert torch.equal(small, large[:, :2])
    assert not torch.equal(large[:, 0], large[:, 1])


def test_models_that_do_not_belong_together_are_refused(config):
    first = Squares(config, 0.5)
    others = {
        "fields": Squares(replace(config, fields=replace(FIELDS, levels=(850,))), 0.5),
        "lat": Squares(replace(config, lat=(-60.0, -20.0, 20.0, 60.0)), 0.5),
        "lead_hours": Squares(replace(config, lead_hours=6), 0.5),
        "statistics": Squares(config, 0.5, mean=281.0),
    }
    for name, other in others.items():
        with pytest.raises(ConfigError, match=f"the same {name}, got other|the same {name}, got another"):
            Ensemble((first, other))
    check_alike([first, Squares(replace(config, network=replace(config.network, target="increment")), 0.5)])
    with pytest.raises(ConfigError, match="at least one model"):
        StepMean([])


def test_samples_of_models_that_do_not_draw_are_refused(config):
    with pytest.raises(ConfigError, match="must be 1 for models that draw no random numbers, got 4"):
        Ensemble((Squares(config, 0.5),), samples=4)
    with pytest.raises(ConfigError, match="average must be one of step, trajectory, none"):
        Ensemble((Squares(config, 0.5),), "mean")


def test_a_model_without_statistics_is_refused(config):
    bare = Squares(config, 0.5)
    bare.normaliser = None
    with pytest.raises(ConfigError, match="must know the statistics"):
        Ensemble((bare,)).normaliser  # noqa: B018
