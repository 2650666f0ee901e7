"""What the flow's network is asked for, what it is not allowed to touch, and that a run can be repeated."""

import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from archesweather.config import (
    LossConfig,
    ModelConfig,
    PrepareConfig,
    SplitConfig,
    StatisticsConfig,
    TrainGenerativeConfig,
)
from archesweather.generative import ArchesWeatherGen
from archesweather.model import ArchesWeather
from archesweather.prepare import prepare_store
from archesweather.prepared import open_prepared
from archesweather.train_generative import (
    GenerativeTraining,
    build_generative,
    build_training,
    measure_residual,
    train_generative,
)
from isopleth.cli import load_config
from isopleth.config import to_yaml
from isopleth.errors import ConfigError, DataError
from isopleth.train import Interrupted, load_checkpoint
from isopleth.train.randomness import derive_seed

COMMAND = (
    "import sys; from isopleth.cli import load_config; "
    "from archesweather.config import TrainGenerativeConfig; "
    "from archesweather.train_generative import train_generative; "
    "train_generative(load_config(sys.argv[1], TrainGenerativeConfig, package='archesweather'))"
)


@pytest.fixture(scope="module")
def folders(sample_folder, small_network, tmp_path_factory):
    """Two deterministic models of the sample, untrained but with open gates."""
    prepared = open_prepared(sample_folder)
    grid = prepared.store.grid
    found = []
    for seed, target in enumerate(("state", "increment")):
        config = ModelConfig(
            fields=prepared.fields,
            network=replace(small_network, target=target),
            lat=tuple(grid.lat.tolist()),
            lon=tuple(grid.lon.tolist()),
        )
        torch.manual_seed(seed)
        model = ArchesWeather(config, prepared.normaliser)
        for parameter in model.parameters():
            parameter.data += 0.02 * torch.randn_like(parameter)
        model.backbone.set_constants(torch.from_numpy(prepared.constants))
        found.append(tmp_path_factory.mktemp("det") / target)
        model.save_pretrained(found[-1])
    return tuple(map(str, found))


@pytest.fixture
def configure(sample_folder, folders, train_config, small_network, tmp_path):
    """A short run on the sample; changes by name, as of `train_config`."""

    def build(out="run", **changes):
        own = {
            name: changes.pop(name)
            for name in list(changes)
            if name in TrainGenerativeConfig.__dataclass_fields__
        }
        base = train_config(sample_folder, tmp_path / out, **changes)
        common = {"fit": base.fit, "split": base.split, "runtime": base.runtime, "network": small_network}
        return TrainGenerativeConfig(
            out=base.out, **common | {"data": base.data, "deterministic": folders, "scale_samples": 6} | own
        )

    return build


@pytest.fixture
def training(configure, sample_folder):
    """A module, and a batch of three samples for it."""

    def build(**changes):
        config = configure(**changes)
        prepared = open_prepared(sample_folder)
        torch.manual_seed(0)
        model = build_generative(config)
        model.set_residual_scale(torch.linspace(0.3, 0.8, 12))
        module = build_training(config, model, prepared)
        module.log = lambda *_, **__: None
        rows = [4, 20, 41]
        states = torch.stack([torch.from_numpy(prepared.store.read([row - 1, row, row + 1])) for row in rows])
        batch = {"inputs": states[:, :2], "targets": states[:, 2:], "index": torch.tensor(rows)}
        return module, batch

    return build


def rows_of(batch, rows):
    return {name: values[rows] for name, values in batch.items()}


def assert_equal_bits(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def test_loss_of_a_known_predictor_by_a_naive_loop(training, sample_folder):
    """A closed network under "blend" predicts (1 - s) x_s / q; all else is written out in float64."""
    module, batch = training(prediction="blend")
    for parameter in module.network.residual.recovery.parameters():
        torch.nn.init.zeros_(parameter)
    module.eval()
    seeds = [3, 8, 11]
    found = module.loss(batch, seeds).item()

    prepared = open_prepared(sample_folder)
    area = prepared.store.grid.weights
    pressure = np.tile(np.array([200, 500, 800]) / 500, 4) / 12
    total = 0.0
    for sample, seed in enumerate(seeds):
        previous, state = batch["inputs"][sample : sample + 1].unbind(1)
        month = torch.tensor([float(str(prepared.store.times[batch["index"][sample]])[5:7])])
        with torch.no_grad():
            models = [model(state, previous, month, torch.zeros(1)) for model in module.network.deterministic]
        mean = sum(models).double().numpy()[0] / 2
        scale = np.linspace(0.3, 0.8, 12)[:, None, None]
        x = (batch["targets"][sample, 0].double().numpy() - mean) / scale
        logit = torch.randn((), generator=torch.Generator().manual_seed(derive_seed(seed, 1))).item()
        s = 1 / (1 + np.exp(-logit))
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)).double().numpy()
        noisy = (1 - s) * x + s * noise
        error = ((1 - s) / ((1 - s) ** 2 + s**2) * noisy - x) ** 2
        maps = (error * area[:, None]).mean(axis=(1, 2))
        total += (1 - s) / s * (maps * pressure).sum() / 3
    assert found == pytest.approx(total, rel=1e-4)


def test_loss_is_the_mean_over_samples_however_batched(training):
    module, batch = training()
    module.eval()
    whole = module.loss(batch, [1, 2, 3])
    alone = [module.loss(rows_of(batch, [i]), [i + 1]) for i in range(3)]
    torch.testing.assert_close(whole, torch.stack(alone).mean())


def test_validation_sees_the_same_noise_each_time_and_training_does_not(training):
    module, batch = training()
    module.eval()
    logged = []
    module.log = lambda _name, value, **_: logged.append(value.item())
    for _ in range(2):
        module.validation_step(batch, 0)
    assert logged[0] == logged[1]
    first = module.training_step(batch, 0)
    assert first == module.training_step(batch, 0)
    type(module).global_step = property(lambda _: 1)
    try:
        assert first != module.training_step(batch, 0)
    finally:
        del type(module).global_step


def test_what_is_masked_is_not_learnt_from(training):
    module, batch = training()
    module.eval()
    valid = torch.rand(batch["targets"].shape) > 0.2
    full = {**batch, "targets_valid": torch.ones_like(valid)}
    torch.testing.assert_close(module.loss(full, [1, 2, 3]), module.loss(batch, [1, 2, 3]))
    masked = {**batch, "targets_valid": valid}
    other = {**masked, "targets": torch.where(valid, batch["targets"], 1e6)}
    assert module.loss(masked, [1, 2, 3]) < module.loss(batch, [1, 2, 3])
    assert module.loss(masked, [1, 2, 3]) == module.loss(other, [1, 2, 3])


def test_gradient_reaches_the_flow_alone_and_the_optimiser_holds_no_more(training):
    module, batch = training()
    module.train().training_step(batch, 0).backward()
    assert all(parameter.grad is None for parameter in module.network.deterministic.parameters())
    assert any(parameter.grad.abs().max() > 0 for parameter in module.network.residual.parameters())
    optimizer = module.configure_optimizers()["optimizer"]
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in module.network.residual.parameters()}


def test_increment_scaled_errors_are_in_increments(training, sample_folder):
    """An error e in units of the residual's scale is e scale / increment in increments."""
    module, _ = training(loss=LossConfig(increment_scaled=True, pool_levels=False))
    plain, _ = training(loss=LossConfig(increment_scaled=False))
    ratio = module.error.weight / plain.error.weight
    increment = torch.from_numpy(open_prepared(sample_folder).increment_std(24)).float()
    expected = (torch.linspace(0.3, 0.8, 12) / increment).square()
    torch.testing.assert_close(ratio[:, 0, 0], expected)


def test_residual_scale_is_the_weighted_deviation_by_a_naive_loop(configure, sample_folder):
    model = build_generative(configure()).eval()
    prepared = open_prepared(sample_folder)
    period = ("2018-11-05", "2018-11-12")
    found = [
        measure_residual(model, prepared, period, samples=samples, batch_size=size)
        for samples, size in ((100, 1), (100, 4))
    ]
    missed = []
    for row in range(5, 11):  # 5 to 12 November are rows 4 to 11: six whole windows
        states = torch.from_numpy(prepared.store.read([row - 1, row, row + 1]))
        with torch.no_grad():
            mean = model.forecast(states[1:2], states[:1], torch.tensor([11.0]), torch.tensor([0.0]))
        missed.append((states[2] - mean[0]).double().numpy())
    weights = np.broadcast_to(prepared.store.grid.weights[:, None], missed[0].shape[1:])
    stack = np.stack(missed)
    centre = np.average(stack, axis=(0,), weights=None)
    centre = (centre * weights).mean(axis=(1, 2)) / weights.mean()
    expected = np.sqrt(((stack - centre[:, None, None]) ** 2 * weights).mean(axis=(0, 2, 3)) / weights.mean())
    for scale in found:
        np.testing.assert_allclose(scale, expected, rtol=1e-5)


def test_a_run_leaves_one_folder_that_draws_forecasts(configure, folders, sample_folder):
    config = configure(stretch={"temperature": 3.0})
    found = train_generative(config)
    assert found["steps"] == 6
    assert np.isfinite(found["val_loss"])
    model = ArchesWeatherGen.from_pretrained(found["pretrained"])
    prepared = open_prepared(sample_folder)
    for number, folder in enumerate(folders):
        given = ArchesWeather.from_pretrained(folder).state_dict()
        kept = model.deterministic[number].state_dict()
        assert_equal_bits(kept, {name: given[name] for name in kept})
    measured = measure_residual(build_generative(config), prepared, config.split.train, samples=6)
    measured[9:] *= 3  # temperature is the last variable
    torch.testing.assert_close(model.residual_scale, measured)
    assert list(found["residual_scale"]) == list(prepared.fields.channels)
    states = torch.from_numpy(prepared.store.read([5, 4]))
    drawn = model.step(states[:1], states[1:], torch.tensor([11.0]), torch.tensor([0.0]), seeds=[0])
    assert drawn.shape == (1, 12, 32, 64)
    replayed = load_config(str(config.out / "config.yaml"), TrainGenerativeConfig, package="archesweather")
    assert replayed == config


def test_stopped_and_resumed_the_bits_are_those_of_an_unbroken_run(configure, small_network, monkeypatch):
    whole = configure("whole", validate_every=4, network=replace(small_network, drop_path=0.5))
    train_generative(whole)
    part = replace(whole, out=whole.out.parent / "part")

    def stop(self, *_):
        if self.global_step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(GenerativeTraining, "on_train_batch_end", stop, raising=False)
        with pytest.raises(Interrupted):
            train_generative(part)
    train_generative(replace(part, resume=True))
    for name in ("last", "best"):
        one, other = (load_checkpoint(run.out / f"checkpoints/{name}.ckpt") for run in (whole, part))
        assert_equal_bits(one["state_dict"], other["state_dict"])


def test_fine_tuning_takes_the_model_over_and_trains_on_other_years(configure):
    first = train_generative(configure("first"))
    later = SplitConfig(
        train=("2019-01-01", "2019-01-14"), validate=("2019-01-15", "2019-01-29"), test=("2020", "2020")
    )
    config = configure(
        "second", init=first["pretrained"], deterministic="nowhere", split=later, learning_rate=1e-4
    )
    before = ArchesWeatherGen.from_pretrained(first["pretrained"])
    assert_equal_bits(build_generative(config).state_dict(), before.state_dict())
    second = train_generative(config)
    assert second["residual_scale"] == first["residual_scale"]
    after = ArchesWeatherGen.from_pretrained(second["pretrained"])
    assert_equal_bits(after.deterministic.state_dict(), before.deterministic.state_dict())
    moved = [
        not torch.equal(a, b)
        for a, b in zip(after.residual.parameters(), before.residual.parameters(), strict=True)
    ]
    assert any(moved)


def test_states_of_other_statistics_fields_or_grid_are_refused(
    configure, folders, sample_folder, tmp_path, prepare_small
):
    statistics = open_prepared(sample_folder).normaliser
    type(statistics)(statistics.channels, statistics.mean, 2 * statistics.std).save(tmp_path / "doubled.json")
    sample = replace(PrepareConfig().sample, start="2018-11-01", end="2018-11-20")
    prepare_store(
        PrepareConfig(
            out=tmp_path / "doubled",
            sample=sample,
            train=("2018-11-01", "2018-11-20"),
            statistics=StatisticsConfig(normaliser=tmp_path / "doubled.json"),
        )
    )
    with pytest.raises(ConfigError, match="packed with the model's statistics"):
        train_generative(configure("a", data=tmp_path / "doubled"))
    with pytest.raises(DataError, match="u_component_of_wind"):
        train_generative(configure("b", data=prepare_small().path))
    model = ArchesWeather.from_pretrained(folders[0])
    turned = replace(model.config, lon=tuple(lon + 1 for lon in model.config.lon))
    ArchesWeather(turned, statistics).save_pretrained(tmp_path / "turned")
    with pytest.raises(DataError, match="the prepared states must be on the grid"):
        train_generative(configure("c", deterministic=str(tmp_path / "turned")))


def test_stretch_of_an_unknown_variable_is_refused(configure):
    with pytest.raises(ConfigError, match="stretch must name variables of the state, got vertical_velocity"):
        train_generative(configure(stretch={"vertical_velocity": 3.0}))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"deterministic": ()}, "deterministic"),
        ({"stretch": {"temperature": 0.0}}, "stretch.temperature"),
        ({"scale_samples": 0}, "scale_samples"),
        ({"rollout_steps": 2}, "rollout_steps"),
        ({"prediction": "noise"}, "prediction"),
    ],
)
def test_config_refuses(configure, changes, named):
    with pytest.raises(ConfigError, match=named):
        configure(**changes)


@pytest.mark.slow  # each process imports torch and Lightning anew
def test_two_processes_train_as_one_with_twice_the_batch(configure, small_network):
    # Stochastic depth is drawn by each process for itself.
    one = configure("one", batch_size=4, network=replace(small_network, drop_path=0.0))
    train_generative(one)
    two = replace(
        one,
        out=one.out.parent / "two",
        fit=replace(one.fit, batch_size=2),
        runtime=replace(one.runtime, devices=2, strategy="ddp"),
    )
    written = one.out.parent / "two.yaml"
    written.write_text(to_yaml(two))
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "NODE_RANK": "0", "WORLD_SIZE": "2"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", COMMAND, str(written)],
            env={**os.environ, "OMP_NUM_THREADS": "1", **place, "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    errors = [rank.communicate(timeout=300)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], errors
    mine, theirs = (
        ArchesWeatherGen.from_pretrained(run.out / "pretrained").state_dict() for run in (one, two)
    )
    for name, value in mine.items():
        torch.testing.assert_close(theirs[name], value, rtol=0, atol=1e-5, msg=name)
