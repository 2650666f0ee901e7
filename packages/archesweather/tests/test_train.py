"""Training follows the recipe, resumes to the same bits, rolls out with true gradients, and stops on NaN."""

import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

from archesweather.config import (
    NetworkConfig,
    PrepareConfig,
    SplitConfig,
    StatisticsConfig,
    TrainConfig,
)
from archesweather.model import ArchesWeather
from archesweather.prepare import prepare_store
from archesweather.prepared import open_prepared
from archesweather.train import Training, build_training, train_model
from isopleth.cli import load_config
from isopleth.config import to_yaml
from isopleth.errors import ConfigError, TrainingError
from isopleth.train import Interrupted, load_checkpoint

COMMAND = (
    "import sys; from isopleth.cli import load_config; from archesweather.config import TrainConfig; "
    "from archesweather.train import train_model; "
    "train_model(load_config(sys.argv[1], TrainConfig, package='archesweather'))"
)


def weights_of(folder):
    return ArchesWeather.from_pretrained(folder / "pretrained").state_dict()


def assert_equal_bits(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


@pytest.fixture
def training(sample_folder, tmp_path, train_config):
    """Build a module and a batch of two samples for it, by changes of the config."""

    def build(**changes):
        config = train_config(sample_folder, tmp_path, **changes)
        prepared = open_prepared(sample_folder)
        torch.manual_seed(0)
        module = build_training(config, prepared)
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.05)  # the gates of a new network are all closed
        lead = range(1, config.fit.rollout_steps + 1)
        states = torch.from_numpy(prepared.store.read([3, 4, *(4 + i for i in lead)]))
        others = torch.from_numpy(prepared.store.read([40, 41, *(41 + i for i in lead)]))
        both = torch.stack([states, others])
        batch = {"inputs": both[:, :2], "targets": both[:, 2:], "index": torch.tensor([4, 41])}
        module.log = lambda *_, **__: None
        module.eval()
        return module, batch

    return build


def test_a_training_leaves_a_model_that_forecasts_alone(sample_folder, tmp_path, train_config):
    config = train_config(sample_folder, tmp_path / "run")
    found = train_model(config)
    assert found["steps"] == [6]
    model = ArchesWeather.from_pretrained(found["pretrained"][0])
    prepared = open_prepared(sample_folder)
    assert model.config.fields == prepared.fields
    assert model.config.lead_hours == 24
    assert model.normaliser.normaliser == prepared.normaliser
    np.testing.assert_array_equal(model.backbone.constants, prepared.constants)
    np.testing.assert_allclose(model.increment_std, prepared.increment_std(24), rtol=1e-6)
    state = torch.from_numpy(prepared.store.read([5, 4]))
    forecast = model(state[:1], state[1:], torch.tensor([11]), torch.tensor([0]))
    best = load_checkpoint(tmp_path / "run/checkpoints/best.ckpt")["state_dict"]
    assert_equal_bits(model.state_dict(), {k.removeprefix("network."): v for k, v in best.items()})
    assert forecast.shape == (1, 12, 32, 64)
    replayed = load_config(str(tmp_path / "run/config.yaml"), TrainConfig, package="archesweather")
    assert replayed == config


RUNS = {
    "plain": {},
    "across the recent past": {"recent_from": "2018-12-10", "recent_after_steps": 4},
    "rollout": {"rollout_steps": 2, "recent_from": "2018-12-10", "recent_after_steps": 2},
    "accumulated": {"accumulate": 2, "recent_from": "2018-12-10", "recent_after_steps": 4},
}
SLOW_RUNS = {
    "workers": {"memory": "0 B", "workers": 2, "recent_from": "2018-12-10", "recent_after_steps": 4},
}


@pytest.mark.parametrize("run", [*RUNS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_RUNS)])
def test_stopped_by_the_scheduler_and_resumed_the_bits_are_those_of_an_unbroken_run(
    sample_folder, tmp_path, train_config, small_network, monkeypatch, run
):
    changes = {**RUNS, **SLOW_RUNS}[run]
    network = replace(small_network, drop_path=0.5)  # random numbers are part of the state too
    whole = train_config(sample_folder, tmp_path / "whole", validate_every=4, network=network, **changes)
    train_model(whole)
    part = replace(whole, out=tmp_path / "part")
    with monkeypatch.context() as patch:
        patch.setattr(Training, "on_train_batch_start", _stop_in(2), raising=False)
        with pytest.raises(Interrupted) as stopped:
            train_model(part)
    assert stopped.value.exit_code == 143
    assert load_checkpoint(tmp_path / "part/checkpoints/last.ckpt")["global_step"] in (2, 3)
    train_model(replace(part, resume=True))
    for name in ("last", "best"):
        one, other = (
            load_checkpoint(tmp_path / each / f"checkpoints/{name}.ckpt") for each in ("whole", "part")
        )
        assert_equal_bits(one["state_dict"], other["state_dict"])
    assert_equal_bits(weights_of(tmp_path / "whole"), weights_of(tmp_path / "part"))


def _stop_in(step):
    def on_train_batch_start(self, *_):
        if self.global_step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return on_train_batch_start


def test_the_recent_past_changes_what_is_learnt_from_its_step_on(sample_folder, tmp_path, train_config):
    seen = {}

    class Recorder(Training):
        def training_step(self, batch, index):
            seen.setdefault(name, []).extend(batch["index"].tolist())
            return super().training_step(batch, index)

    patch = pytest.MonkeyPatch()
    patch.setattr("archesweather.train.Training", Recorder)
    for name, changes in {
        "all": {},
        "recent": {"recent_from": "2018-12-10", "recent_after_steps": 4},
    }.items():
        train_model(train_config(sample_folder, tmp_path / name, **changes))
    patch.undo()
    assert seen["all"][:16] == seen["recent"][:16]
    # 10 December is row 39; the state a lead before must be recent too.
    assert min(seen["recent"][16:]) >= 40
    assert min(seen["all"][16:]) < 40


def test_members_differ_by_their_seed_and_each_can_be_replayed(sample_folder, tmp_path, train_config):
    found = train_model(train_config(sample_folder, tmp_path / "both", members=2, max_steps=3))
    assert [Path(path).parent.name for path in found["pretrained"]] == ["member-0", "member-1"]
    members = [weights_of(tmp_path / "both" / f"member-{number}") for number in (0, 1)]
    assert not torch.equal(
        members[0]["backbone.mixing.layer.weight"], members[1]["backbone.mixing.layer.weight"]
    )
    written = tmp_path / "both/member-1/config.yaml"
    replayed = load_config(str(written), TrainConfig, package="archesweather")
    train_model(replace(replayed, out=tmp_path / "alone"))
    assert_equal_bits(weights_of(tmp_path / "alone"), members[1])


def test_a_rollout_feeds_each_forecast_to_the_next_and_its_clock(training):
    module, batch = training(rollout_steps=3)
    seen = []

    def network(state, previous, month, hour):
        seen.append((state, previous, month.tolist(), hour.tolist()))
        return (state + 1).bfloat16()

    module.network.forward = network
    forecasts = list(module.rollout(batch))
    previous, state = batch["inputs"].unbind(1)
    assert torch.equal(seen[0][0], state)
    assert torch.equal(seen[0][1], previous)
    assert torch.equal(seen[1][0], forecasts[0])
    assert torch.equal(seen[1][1], state)
    assert torch.equal(seen[2][1], forecasts[0])
    assert all(forecast.dtype == torch.float32 for forecast in forecasts)
    # Rows 4 and 41 are 5 November and 12 December 2018.
    assert [months for _, _, months, _ in seen] == [[11, 12]] * 3
    assert [hours for _, _, _, hours in seen] == [[0, 0]] * 3


def test_gradients_flow_through_the_rollout_as_through_an_unrolled_one(training):
    module, batch = training(rollout_steps=3, discount=1.0, checkpoint_rollout=False)
    module.training_step(batch, 0).backward()
    found = {name: parameter.grad.clone() for name, parameter in module.named_parameters()}
    module.zero_grad()

    previous, state = batch["inputs"][:, 0], batch["inputs"][:, 1]
    month, hour = torch.tensor([11, 12]), torch.tensor([0, 0])
    loss = 0.0
    for lead in range(3):
        following = module.network(state, previous, month, hour)
        error = (following - batch["targets"][:, lead]) ** 2 * module.error.weight
        loss = loss + error.mean(dim=(0, 2, 3)).sum() / (lead + 1) / (1 + 1 / 2 + 1 / 3)
        previous, state = state, following
    loss.backward()
    assert sum(value.abs().sum() for value in found.values()) > 0
    for name, parameter in module.named_parameters():
        size = parameter.grad.norm()
        assert (found[name] - parameter.grad).norm() <= 1e-5 * size + 1e-12, name


def test_checkpointing_each_step_changes_no_bit(training, small_network):
    network = replace(small_network, drop_path=0.5)
    gradients = []
    for kept in (False, True):
        module, batch = training(rollout_steps=3, checkpoint_rollout=kept, network=network)
        torch.manual_seed(7)
        module.train().training_step(batch, 0).backward()
        gradients.append({name: parameter.grad for name, parameter in module.named_parameters()})
    assert_equal_bits(*gradients)


def test_discounts_are_applied(training):
    module, batch = training(rollout_steps=3, discount=2.0)
    errors = torch.stack(module.errors(batch))
    expected = (errors * torch.tensor([36.0, 9.0, 4.0]) / 49).sum()
    torch.testing.assert_close(module.training_step(batch, 0), expected)
    assert not torch.isclose(expected, errors.mean())


def test_what_is_masked_is_not_learnt_from(training):
    module, batch = training()
    valid = torch.rand(batch["targets"].shape) > 0.2
    masked = {**batch, "targets_valid": valid, "targets": torch.where(valid, batch["targets"], 1e6)}
    full = {**batch, "targets_valid": torch.ones_like(valid)}
    torch.testing.assert_close(module.training_step(full, 0), module.training_step(batch, 0))
    assert module.training_step(masked, 0) < module.training_step(batch, 0)


def test_decay_schedule_and_clip_are_the_published_ones(training):
    module, _ = training(max_steps=100, warmup_steps=10, learning_rate=3e-4)
    built = module.configure_optimizers()
    optimizer, schedule = built["optimizer"], built["lr_scheduler"]["scheduler"]
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    decayed, spared = ({names[id(each)] for each in group["params"]} for group in optimizer.param_groups)
    published = {name for name in names.values() if name.endswith("weight") and "norm" not in name}
    assert decayed == published
    assert {name.rpartition(".")[2] for name in spared} == {"bias", "weight", "table", "level"}
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.05, 0.0]
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.98)
    rates = []
    for _ in range(101):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    np.testing.assert_allclose(rates[:10], 3e-4 * np.arange(1, 11) / 10)
    expected = 3e-4 * (1 + np.cos(np.pi * np.arange(91) / 90)) / 2
    np.testing.assert_allclose(rates[10:], expected, atol=1e-12)


def test_bfloat16_on_a_cpu_keeps_loss_and_state_in_float32(
    sample_folder, tmp_path, train_config, monkeypatch
):
    seen = []

    class Recorder(Training):
        def training_step(self, batch, index):
            loss = super().training_step(batch, index)
            seen.append((loss.dtype, [state.dtype for state in self.rollout(batch)]))
            return loss

    monkeypatch.setattr("archesweather.train.Training", Recorder)
    train_model(train_config(sample_folder, tmp_path, max_steps=3, rollout_steps=2, precision="bf16-mixed"))
    assert seen == [(torch.float32, [torch.float32] * 2)] * 3


def test_a_nan_in_the_states_stops_the_run_and_names_the_samples(tmp_path, prepare_small, train_config):
    prepared = prepare_small(train=("2018-12-01", "2018-12-20"))
    fields = zarr.open_array(prepared.path / "states/fields", mode="r+")
    fields[7, 0, 2, 3] = np.nan
    split = SplitConfig(
        train=("2018-12-01", "2018-12-20"), validate=("2018-12-21", "2018-12-31"), test=("2019", "2019")
    )
    with pytest.raises(TrainingError, match=r"loss must be finite.*index \[.*batch\['inputs'\]"):
        train_model(train_config(prepared.path, tmp_path / "run", split=split))
    assert not (tmp_path / "run/pretrained").exists()


def test_fine_tuning_starts_from_the_pretrained_weights(sample_folder, tmp_path, train_config):
    first = train_model(train_config(sample_folder, tmp_path / "first"))
    config = train_config(
        sample_folder,
        tmp_path / "second",
        init=first["pretrained"][0],
        rollout_steps=2,
        network=NetworkConfig(),
    )
    module = build_training(config, open_prepared(sample_folder))
    assert_equal_bits(module.network.state_dict(), weights_of(tmp_path / "first"))
    assert module.network.training
    assert train_model(config)["steps"] == [6]


def test_a_pretrained_model_of_something_else_is_refused(
    sample_folder, tmp_path, train_config, small_network
):
    init = train_model(train_config(sample_folder, tmp_path / "first", max_steps=3))["pretrained"][0]
    other = replace(small_network, dim=24)
    with pytest.raises(ConfigError, match="network must be left out or be that of init"):
        train_model(train_config(sample_folder, tmp_path / "a", init=init, network=other))
    fields = open_prepared(sample_folder).fields
    with pytest.raises(ConfigError, match="init must be a model of fields"):
        train_model(
            train_config(sample_folder, tmp_path / "b", init=init, fields=replace(fields, levels=(500,)))
        )

    statistics = open_prepared(sample_folder).normaliser
    doubled = type(statistics)(statistics.channels, statistics.mean, 2 * statistics.std)
    doubled.save(tmp_path / "doubled.json")
    prepare_store(
        PrepareConfig(
            out=tmp_path / "data",
            sample=replace(PrepareConfig().sample, start="2018-11-01", end="2019-01-29"),
            train=("2018-11-01", "2018-12-31"),
            statistics=StatisticsConfig(normaliser=tmp_path / "doubled.json"),
        )
    )
    with pytest.raises(ConfigError, match=r"packed with the model's statistics, got geopotential_200"):
        train_model(train_config(tmp_path / "data", tmp_path / "c", init=init))


def test_an_earlier_run_is_left_alone(sample_folder, tmp_path, train_config):
    config = train_config(sample_folder, tmp_path / "run", max_steps=3)
    train_model(config)
    with pytest.raises(ConfigError, match="resume"):
        train_model(config)


@pytest.mark.slow  # each process imports torch and Lightning anew
@pytest.mark.parametrize("changes", [{}, {"rollout_steps": 2, "memory": "0 B"}], ids=["plain", "rollout"])
def test_two_processes_train_as_one_with_twice_the_batch(
    sample_folder, tmp_path, train_config, small_network, changes
):
    recent = {"recent_from": "2018-12-10", "recent_after_steps": 3}
    recent["network"] = replace(small_network, drop_path=0.0)  # each process draws its own random depths
    one = train_config(sample_folder, tmp_path / "one", batch_size=4, **recent, **changes)
    train_model(one)
    two = replace(
        one,
        out=tmp_path / "two",
        fit=replace(one.fit, batch_size=2),
        runtime=replace(one.runtime, devices=2, strategy="ddp"),
    )
    (tmp_path / "two.yaml").write_text(to_yaml(two))
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "NODE_RANK": "0", "WORLD_SIZE": "2"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", COMMAND, str(tmp_path / "two.yaml")],
            env={**os.environ, "OMP_NUM_THREADS": "1", **place, "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    errors = [rank.communicate(timeout=300)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], errors
    mine, theirs = weights_of(tmp_path / "one"), weights_of(tmp_path / "two")
    # Two sums of half a batch are rounded otherwise than one of the whole, and AdamW carries that on; its
    # steps of 1e-3 would be 1e3 times this tolerance if the samples were others.
    for name, value in mine.items():
        torch.testing.assert_close(
            theirs[name], value, rtol=0, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.slow  # learns for some tens of seconds
def test_it_learns_to_beat_persistence(tmp_path):
    config = load_config("demo", TrainConfig, package="archesweather")
    split = SplitConfig(
        train=("2017-01-01", "2018-12-31"), validate=("2019-01-01", "2019-03-31"), test=("2020", "2020")
    )
    sample = replace(PrepareConfig().sample, start="2017-01-01", end="2019-03-31")
    prepare_store(PrepareConfig(out=tmp_path / "data", sample=sample, train=split.train))
    short = replace(config.fit, max_steps=200, warmup_steps=20, validate_every=200)
    found = train_model(replace(config, data=tmp_path / "data", out=tmp_path / "run", split=split, fit=short))
    model = ArchesWeather.from_pretrained(found["pretrained"][0])
    prepared = open_prepared(tmp_path / "data")
    days = np.flatnonzero(prepared.store.axis.select(split.validate))
    states = torch.from_numpy(prepared.store.read(days))
    condition = torch.ones(len(days) - 2), torch.zeros(len(days) - 2)
    with torch.inference_mode():
        forecast = model(states[1:-1], states[:-2], *condition)
    middle = prepared.fields.channels.index("geopotential_500")
    area = torch.from_numpy(prepared.store.grid.weights).float()[:, None]
    mine, stale = (
        ((each - states[2:])[:, middle].square() * area).mean().sqrt().item()
        for each in (forecast, states[1:-1])
    )
    assert mine < 0.8 * stale
