"""Training from frames alone: what it must find, what must stop it, and that it resumes."""

import json

import pytest
import torch
import yaml

from geostint.config import EvaluateConfig, ModelConfig, NetworkConfig, TrainConfig
from geostint.cycle import Frame, cycle_losses, run_cycle
from geostint.model import Geostint
from geostint.train import make_windows
from isopleth.cli import load_config
from isopleth.config import find_config
from isopleth.data import open_store
from isopleth.errors import TrainingError
from isopleth.io import write_zarr
from isopleth.report import read_evaluation

QUICK = [
    "--network.widths", "[4, 8]", "--fit.max_steps", "20", "--fit.batch_size", "4",
    "--fit.validate_every", "10", "--fit.warmup_steps", "2",
    "--runtime.accelerator", "cpu", "--runtime.threads", "1",
]  # fmt: skip


@pytest.fixture
def frames(make_fields, tmp_path, run):
    """Every third frame of a fine store, prepared; the fine store and the frames."""

    def prepare(**options):
        fine = write_zarr(
            make_fields(**{"times": 150, "hours": 2, "shape": (8, 16), **options}), tmp_path / "fine.zarr"
        )
        found = run("prepare", fine, "--out", tmp_path / "frames", "--every", "3")
        return fine, tmp_path / "frames", found

    return prepare


def test_prepare_tells_what_it_kept(frames):
    _, _, found = frames(land=True)
    assert (found["frames"], found["channels"], found["step"]) == (50, ["wave"], "3 x 2 hours")
    assert found["train"][1].startswith("2001-01-10")
    assert found["warnings"] == []


def test_validation_begins_after_a_gap(frames):
    _, store, _ = frames()
    train, validation = make_windows(TrainConfig(data=store, gap=4), open_store(store))
    assert validation.touched.min() - train.touched.max() == 5


def test_dual_cycle_beats_linear_without_a_truth(frames, run, tmp_path):
    """A travelling wave is bent between frames: the cycle must find how."""
    fine, store, _ = frames(speed=0.25)
    words = ["--fit.max_steps", "90", "--fit.learning_rate", "0.005", "--fit.validate_every", "45"]
    found = run("train", store, "--out", tmp_path / "run", *QUICK, *words)
    assert found["frames"] == 2
    model = ["--model", found["pretrained"], "--methods", "[nearest, cubic]"]
    out = tmp_path / "scores"
    run(
        "evaluate",
        fine,
        *model,
        "--out",
        out,
        "--period",
        '["2001-01-10", "2001-02"]',
        "--others",
        f"[all={fine}]",
        "--models",
        f"[all={found['pretrained']}]",
        "--kind",
        "simulated",
    )
    record = read_evaluation(out)
    assert record.data.kind == "simulated"
    scores = {(s.metric, s.stratum.get("domain"), s.stratum.get("offset_hours")): s for s in record.scores}
    overall = scores["rmse", "fine", None]
    assert overall.model < 0.5 * overall.baselines["linear"]
    assert set(overall.baselines) == {"linear", "nearest", "cubic", "trained in all"}
    table = {(s.stratum["trained_in"], s.stratum["applied_to"]): s for s in record.scores
             if s.metric == "skill_across_domains"}  # fmt: skip
    assert set(table) == {("fine", "fine"), ("fine", "all"), ("all", "fine"), ("all", "all")}
    # Both are the same network here: a column does not depend on where it was trained.
    assert table["all", "fine"].model == table["fine", "fine"].model
    assert table["all", "all"].model != table["all", "fine"].model
    assert (out / "figures" / "domains.svg").is_file()
    skill = scores["skill_against_linear", "fine", None]
    assert table["fine", "fine"].model == skill.model
    assert skill.baselines["linear"] == 0.0
    assert skill.model > 0.7
    assert skill.interval[0] > 0.5
    assert scores["rmse", "all", None].n > overall.n
    for offset in (2.0, 4.0):
        assert scores["rmse", "fine", offset].model < scores["rmse", "fine", offset].baselines["linear"]
    assert [claim.holds for claim in record.claims] == [True]
    assert (out / "report.html").is_file()
    with (tmp_path / "run" / "pretrained" / "config.json").open() as file:
        config = json.load(file)
    assert config["data_range"][0] == pytest.approx(2.6, abs=0.6)


def test_linear_is_a_fixed_point_where_it_is_exact():
    """A field linear in time has no loss under linear interpolation and no gradient: it stays there."""
    rate = torch.randint(-8, 8, (2, 1, 8, 16), generator=torch.Generator().manual_seed(0)).float()
    # Whole numbers and their halves: the cycle's arithmetic is exact for one frame in a gap.
    frames = [Frame(k * rate) for k in range(3)]
    model = Geostint(ModelConfig(channels=("x",), frames=1, network=NetworkConfig(widths=(4, 8))))
    one, two = cycle_losses(run_cycle(model, *frames))
    loss = one + two
    loss.backward()
    assert loss.item() == 0
    assert all(float(p.grad.abs().max()) == 0 for p in model.parameters() if p.grad is not None)


def degenerate(weights):
    """A network whose frames are fixed shares of its inputs."""

    def forward(self, before, after, fractions=None, **_):
        trained = sum(parameter.sum() for parameter in self.parameters())
        return torch.stack([a * before.values + b * after.values for a, b in weights], 1) + 0 * trained

    return forward


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([(1, 0), (0, 1)], "copies its inputs"),
        ([(0, 1), (1, 0)], "copies its inputs"),
        ([(0.02, 0.02), (0.02, 0.02)], "fades to the mean"),
    ],
)
def test_a_collapse_stops_the_run_with_its_reason(frames, fail, run, tmp_path, monkeypatch, weights, words):
    _, store, _ = frames()
    monkeypatch.setattr(Geostint, "forward", degenerate(weights))
    assert words in fail("train", store, "--out", tmp_path / "a", *QUICK)
    run("train", store, "--out", tmp_path / "b", *QUICK, "--fit.collapse", "warn")


@pytest.mark.parametrize(
    "words",
    [
        ["--network.time", "any"],
        ["--network.output", "raw", "--fit.collapse", "warn"],
        ["--frames", "1"],
        ["--frames", "3", "--fit.crop", "6"],
    ],
)
def test_every_variant_trains_and_fills(frames, run, tmp_path, words):
    fine, store, _ = frames(land=True)
    found = run("train", store, "--out", tmp_path / "run", *QUICK, *words)
    made = run("interpolate", fine, tmp_path / "out.zarr", "--model", found["pretrained"])
    assert made["factor"] == found["frames"] + 1


def test_any_time_makes_any_factor(frames, run, tmp_path):
    fine, store, _ = frames()
    found = run("train", store, "--out", tmp_path / "run", *QUICK, "--network.time", "any")
    for factor in (2, 5):
        made = run("interpolate", fine, tmp_path / f"{factor}.zarr", "--model", found["pretrained"],
                   "--factor", factor)  # fmt: skip
        assert made["factor"] == factor


def test_resume_gives_the_same_bits(frames, run, tmp_path, monkeypatch):
    from geostint import train

    _, store, _ = frames()
    whole = run("train", store, "--out", tmp_path / "whole", *QUICK)
    step = train.Training.training_step

    def broken(self, batch, number):
        if self.global_step == 13:
            raise TrainingError("the power failed")
        return step(self, batch, number)

    with monkeypatch.context() as patch:
        patch.setattr(train.Training, "training_step", broken)
        words = ["train", str(store), "--out", str(tmp_path / "part"), *QUICK]
        from geostint.cli import tool

        assert tool.main(words) == 1
    part = run(*words, "--resume", "true")
    one, other = (Geostint.from_pretrained(found["pretrained"]).state_dict() for found in (whole, part))
    for name, values in one.items():
        assert torch.equal(values, other[name]), name


def test_the_papers_config_trains_a_step(frames, run, tmp_path):
    config = yaml.safe_load(find_config("geostint", "paper").read_text())
    assert config["network"]["widths"] == [64, 128, 256, 512, 1024]
    assert config["loss"]["agreement"] == pytest.approx(2 * config["loss"]["cycle"])
    _, store, _ = frames()
    words = ["--config", "paper", "--data", store, "--out", tmp_path / "run", "--network.widths",
             "[4, 6, 8, 10, 12]", "--fit.max_steps", "1", "--runtime.accelerator", "cpu",
             "--fit.collapse", "warn"]  # fmt: skip
    found = run("train", *words)
    assert found["steps"] == 1


def test_shipped_configs_can_be_read():
    for name in ("demo", "demo-full", "paper"):
        assert load_config(name, TrainConfig, package="geostint").frames == 2
    assert "flow" in EvaluateConfig(source="x").methods


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--network.widths", "[]"], "widths must be at least one"),
        (["--network.output", "magic"], "magic"),
        (["--loss.cycle", "0", "--loss.agreement", "0"], "must not both be 0"),
        (["--loss.cycle", "1.5"], "cycle must be between 0 and 1"),
        (["--frames", "0"], "frames must be above 0"),
        (["--gap", "400"], "at least 3 frames must be left for validation"),
    ],
)
def test_settings_that_cannot_be_used_are_one_line(frames, fail, tmp_path, words, message):
    _, store, _ = frames()
    assert message in fail("train", store, "--out", tmp_path / "x", *QUICK, *words)


def test_other_fields_than_the_models_are_named(frames, network, fail, tmp_path):
    fine, _, _ = frames()
    network(("rain",)).save_pretrained(tmp_path / "model")
    error = fail("evaluate", fine, "--model", tmp_path / "model", "--out", tmp_path / "x")
    assert "must be the model's ['rain'], got ['wave']" in error
