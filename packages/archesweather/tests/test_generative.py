"""ArchesWeatherGen: what it draws, what is frozen in it, and that it travels whole."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from archesweather.config import FieldsConfig, GenerativeConfig, ModelConfig, NetworkConfig, SamplingConfig
from archesweather.ensemble import Ensemble
from archesweather.flow import blend_weights, draw_noise, flow_schedule
from archesweather.generative import ArchesWeatherGen
from archesweather.model import ArchesWeather
from archesweather.predict import load_ensemble
from isopleth.data import Normaliser
from isopleth.errors import ConfigError, DataError

FIELDS = FieldsConfig(
    surface=("2m_temperature",), upper=("geopotential",), levels=(500, 850), constants=("land_sea_mask",)
)
NETWORK = NetworkConfig(
    dim=16, depths=(1, 1, 1, 1), heads=(2, 2, 2, 2), window=(2, 4), column_heads=2, condition_dim=16
)
CONFIG = ModelConfig(
    fields=FIELDS,
    network=NETWORK,
    lat=tuple(np.linspace(-78.75, 78.75, 8).tolist()),
    lon=tuple(np.arange(0, 360, 22.5).tolist()),
)
STATISTICS = Normaliser(FIELDS.channels, [280.0, 5e4, 1.4e4], [20.0, 3e3, 1e3])
MONTH, HOUR = torch.tensor([1.0, 7.0, 12.0]), torch.tensor([0.0, 6.0, 18.0])


def stir(module, *, seed):
    """Give every parameter a random value: gates that start at zero would hide what is behind them."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return module


def make_deterministic(seed, config=CONFIG):
    torch.manual_seed(seed)
    model = stir(ArchesWeather(config, STATISTICS), seed=seed).eval()
    model.backbone.set_constants(torch.full((1, 8, 16), 0.5))
    return model


@pytest.fixture(scope="module")
def members():
    increments = replace(CONFIG, network=replace(NETWORK, target="increment", depths=(2, 1, 1, 1)))
    return [make_deterministic(1), make_deterministic(2, increments)]


@pytest.fixture
def model(members):
    torch.manual_seed(0)
    built = ArchesWeatherGen.around(members, NETWORK, sampling=SamplingConfig(steps=3))
    stir(built.residual, seed=3)
    built.set_residual_scale(torch.tensor([0.1, 0.2, 0.4]))
    return built.eval()


@pytest.fixture
def states():
    generator = torch.Generator().manual_seed(5)
    return torch.randn(2, 3, 3, 8, 16, generator=generator).unbind()


def draw(model, states, seeds=(1, 2, 3), rows=slice(None)):
    state, previous = states
    with torch.inference_mode():
        return model.step(state[rows], previous[rows], MONTH[rows], HOUR[rows], seeds=list(seeds))


def test_mean_is_that_of_the_models_given(model, members, states):
    with torch.inference_mode():
        expected = sum(member(*states, MONTH, HOUR) for member in members) / 2
        torch.testing.assert_close(model.forecast(*states, MONTH, HOUR), expected)


def test_step_is_mean_plus_scaled_residual_by_a_loop(model, states):
    """Euler's three steps written out, one sample."""
    state, previous, month, hour = states[0][:1], states[1][:1], MONTH[:1], HOUR[:1]
    with torch.inference_mode():
        mean = model.forecast(state, previous, month, hour)
        x = 1.05 * torch.randn(3, 8, 16, generator=torch.Generator().manual_seed(1))[None]
        times = flow_schedule(3)
        for i in range(3):
            stacked = torch.stack([state, previous, mean, x], dim=1)
            told = torch.tensor([[month.item(), hour.item(), 1000 * times[i]]])
            x = x + (times[i + 1] - times[i]) * (x - model.residual(stacked, told)) / times[i]
        expected = mean + torch.tensor([0.1, 0.2, 0.4])[:, None, None] * x
    torch.testing.assert_close(draw(model, states, seeds=[1], rows=slice(0, 1)), expected)


def test_blend_adds_the_linear_prediction(model, states):
    blend = ArchesWeatherGen(replace(model.config, prediction="blend"), STATISTICS).eval()
    blend.load_state_dict(model.state_dict())
    s = torch.tensor([0.1, 0.5, 1.0])
    noisy, mean = draw_noise((3, 8, 16), [7, 8, 9]), draw_noise((3, 8, 16), [4, 5, 6])
    skip, out, scale_in = (each.view(-1, 1, 1, 1) for each in blend_weights(s))
    with torch.inference_mode():
        raw = model(scale_in * noisy, s, mean, *states, MONTH, HOUR)
        found = blend(noisy, s, mean, *states, MONTH, HOUR)
    torch.testing.assert_close(found, skip * noisy + out * raw)


def test_untrained_blend_draws_with_the_spread_of_its_scale(members, states):
    """Its network begins near zero; what remains is the exact sampler of white noise of unit variance."""
    plan = SamplingConfig(steps=20, solver="heun", noise_scale=1.0)
    blend = ArchesWeatherGen.around(members, NETWORK, prediction="blend", sampling=plan).eval()
    for parameter in blend.residual.recovery.parameters():
        torch.nn.init.zeros_(parameter)
    blend.set_residual_scale(torch.tensor([0.1, 0.2, 0.4]))
    with torch.inference_mode():
        drawn = draw(blend, states) - blend.forecast(*states, MONTH, HOUR)
    torch.testing.assert_close(drawn.std((0, 2, 3)), torch.tensor([0.1, 0.2, 0.4]), rtol=0.1, atol=0)


def test_same_seeds_same_bits_other_seeds_other_states(model, states):
    first = draw(model, states)
    assert torch.equal(first, draw(model, states))
    other = draw(model, states, seeds=[1, 2, 4])
    assert torch.equal(other[:2], first[:2])
    assert (other[2] - first[2]).abs().max() > 0.01


def test_sample_does_not_depend_on_its_neighbours(model, states):
    together = draw(model, states)
    for row in range(3):
        alone = draw(model, states, seeds=[row + 1], rows=slice(row, row + 1))
        torch.testing.assert_close(alone[0], together[row], rtol=1e-5, atol=1e-5)


def test_members_do_not_depend_on_their_number_or_batches(model, states):
    """Through the rollout of the tool: five members in batches of two, or the first three in one."""
    starts = np.array([0, 86400], dtype=np.int64)
    state, previous = states[0][:2], states[1][:2]

    def roll(samples, batch_size):
        ensemble = Ensemble((model,), samples=samples)
        with torch.inference_mode():
            steps = ensemble.stream(state, previous, starts, 2, batch_size=batch_size, seed=4)
            parts = {(members.start, step): found.clone() for members, step, found in steps}
        return torch.cat([found for (_, step), found in sorted(parts.items()) if step == 1])

    many, few = roll(5, 4), roll(3, 100)
    assert many.shape == (5, 2, 3, 8, 16)
    torch.testing.assert_close(many[:3], few, rtol=1e-5, atol=1e-4)
    assert (many[0] - many[1]).abs().max() > 0.01


def test_random_state_of_the_process_does_not_matter(model, states):
    torch.manual_seed(1)
    first = draw(model, states)
    torch.manual_seed(2)
    assert torch.equal(first, draw(model, states))


def test_only_the_residual_learns_and_the_rest_stays_in_evaluation_mode(model, states):
    model.train()
    assert model.residual.training
    assert not any(part.training for part in model.deterministic.modules())
    mean = model.forecast(*states, MONTH, HOUR)
    assert not mean.requires_grad
    noisy = draw_noise((3, 8, 16), [1, 2, 3])
    model(noisy, torch.full((3,), 0.5), mean, *states, MONTH, HOUR).square().mean().backward()
    assert all(parameter.grad is None for parameter in model.deterministic.parameters())
    assert all(parameter.grad is not None for parameter in model.residual.parameters())


def test_gradient_reaches_the_state_through_the_sampler(model, states):
    state = states[0].clone().requires_grad_()
    model.step(state, states[1], MONTH, HOUR, seeds=[1, 2, 3])[0].sum().backward()
    assert state.grad[0].abs().max() > 0
    assert state.grad[1:].abs().max() == 0


@pytest.mark.parametrize("place", range(5))
def test_every_input_is_seen(model, states, place):
    names = ("noisy", "mean", "state", "previous", "flow_time")
    inputs = {
        "noisy": draw_noise((3, 8, 16), [1, 2, 3]),
        "flow_time": torch.full((3,), 0.5),
        "mean": states[0].flip(0),
        "state": states[0],
        "previous": states[1],
    }
    with torch.inference_mode():
        before = model(**inputs, month=MONTH, hour=HOUR)
        changed = inputs | {names[place]: inputs[names[place]] * 0.5}
        assert (model(**changed, month=MONTH, hour=HOUR) - before).abs().max() > 1e-4


def test_pretrained_folder_holds_all_of_it(model, states, tmp_path):
    model.save_pretrained(tmp_path / "gen")
    names = {path.name for path in (tmp_path / "gen").iterdir()}
    assert names == {"config.json", "model.safetensors", "normaliser.json", "README.md"}
    loaded = ArchesWeatherGen.from_pretrained(tmp_path / "gen")
    assert loaded.config == model.config
    assert [each.target for each in loaded.config.deterministic] == ["state", "increment"]
    assert loaded.normaliser.normaliser == STATISTICS
    assert torch.equal(draw(loaded, states), draw(model, states))
    assert not any(parameter.requires_grad for parameter in loaded.deterministic.parameters())


def test_constants_and_increments_come_with_the_models(members, tmp_path):
    members[1].increment_std.copy_(torch.tensor([0.5, 0.6, 0.7]))
    built = ArchesWeatherGen.around(members, NETWORK)
    torch.testing.assert_close(built.deterministic[1].increment_std, torch.tensor([0.5, 0.6, 0.7]))
    for backbone in (built.residual, built.deterministic[0].backbone):
        assert (backbone.constants == 0.5).all()
    members[0].backbone.constants.zero_()
    assert (built.deterministic[0].backbone.constants == 0.5).all()
    members[0].backbone.constants.fill_(0.5)


def test_sampling_can_be_changed_after_training(model, states):
    before = draw(model, states)
    model.sampling = SamplingConfig(steps=2, solver="heun", noise_scale=1.0)
    assert (draw(model, states) - before).abs().max() > 0.01
    assert model.config.sampling.steps == 3


def test_sampling_can_be_chosen_when_a_model_is_loaded(model, members, tmp_path):
    plan = SamplingConfig(steps=2, solver="heun", noise_scale=1.0)
    model.save_pretrained(tmp_path / "gen")
    members[0].save_pretrained(tmp_path / "det")
    loaded, as_trained = (load_ensemble([tmp_path / "gen"], sampling=each) for each in (plan, None))
    assert loaded.steppers[0].sampling == plan
    assert as_trained.steppers[0].sampling == model.config.sampling
    with pytest.raises(ConfigError, match="sampling must be left out for a deterministic model"):
        load_ensemble([tmp_path / "gen", tmp_path / "det"], sampling=plan)


def test_mixed_precision_keeps_the_flow_in_float32(model, states):
    with torch.autocast("cpu", torch.bfloat16):
        mixed = draw(model, states)
    exact = draw(model, states)
    assert mixed.dtype == torch.float32
    assert (mixed - exact).abs().max() < 0.1 * exact.std()
    assert not torch.equal(mixed, exact)


def test_nan_spreads_and_is_not_hidden(model, states):
    state = states[0].clone()
    state[1, 0, 3, 4] = float("nan")
    found = draw(model, (state, states[1]))
    assert found[1].isnan().any()
    assert found[[0, 2]].isfinite().all()


def test_wrong_seeds_are_one_clear_error(model, states):
    with pytest.raises(ConfigError, match=r"seeds must be one for each of the 3 samples, got none"):
        model.step(*states, MONTH, HOUR, seeds=None)
    with pytest.raises(ConfigError, match=r"each of the 3 samples, got 2"):
        model.step(*states, MONTH, HOUR, seeds=[1, 2])


def test_models_that_do_not_belong_together_are_refused(members):
    other = make_deterministic(4, replace(CONFIG, lead_hours=6))
    with pytest.raises(ConfigError, match="lead_hours"):
        ArchesWeatherGen.around([members[0], other], NETWORK)
    with pytest.raises(ConfigError, match="at least one"):
        ArchesWeatherGen.around([], NETWORK)
    unknown = ArchesWeather(CONFIG)
    with pytest.raises(ConfigError, match="statistics"):
        ArchesWeatherGen.around([unknown], NETWORK)


@pytest.mark.parametrize("scale", [[0.1, 0.0, 1.0], [0.1, float("nan"), 1.0]])
def test_scale_of_a_channel_without_residual_is_refused_by_name(model, scale):
    with pytest.raises(ConfigError, match="geopotential_500"):
        model.set_residual_scale(torch.tensor(scale))
    with pytest.raises(ConfigError, match="3 channels, got 2"):
        model.set_residual_scale(torch.ones(2))


def test_folder_of_another_class_is_refused(members, tmp_path):
    members[0].save_pretrained(tmp_path / "det")
    with pytest.raises(DataError, match="ArchesWeather"):
        ArchesWeatherGen.from_pretrained(tmp_path / "det")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"deterministic": ()}, "deterministic"),
        ({"prediction": "noise"}, "prediction"),
        ({"network": replace(NETWORK, target="increment")}, "network.target"),
    ],
)
def test_config_refuses(changes, named):
    whole = {"fields": FIELDS, "network": NETWORK, "lat": CONFIG.lat, "lon": CONFIG.lon}
    with pytest.raises(ConfigError, match=named):
        GenerativeConfig(**(whole | {"deterministic": (NETWORK,)} | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 0},
        {"solver": "rk4"},
        {"noise_scale": 0.0},
        {"last_time": 1.0},
        {"last_time": 1e-3, "solver": "heun"},
    ],
)
def test_sampling_config_refuses(changes):
    with pytest.raises(ConfigError, match=f"sampling.{next(iter(changes))}"):
        SamplingConfig(**changes)
