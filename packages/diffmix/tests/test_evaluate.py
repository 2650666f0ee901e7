"""Probes with known answers, corruptions, and the table of runs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from diffmix.cli import tool
from diffmix.config import EvaluateConfig, FitConfig, ProbeConfig
from diffmix.corruption import SEVERITIES, corrupt
from diffmix.evaluate import evaluate_runs, find_rows
from diffmix.export import save_encoder
from diffmix.model.encoder import build_encoder
from diffmix.predict import Known, compute_features, fit_size
from diffmix.probes import choose_few, fine_tune, mark, score_probes, split_known
from isopleth.errors import ConfigError, DataError
from isopleth.report import read_evaluation

# What a shifted test set leaves out: the third class.
PART = ("class-0", "class-1")


def make_blobs(count, seed, spread=0.3):
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    centres = np.array([[3.0, 0, 0, 0], [0, 3, 0, 0], [0, 0, 3, 0]])
    features = centres[labels] + random.normal(scale=spread, size=(count, 4))
    return Known(torch.from_numpy(features).float(), torch.from_numpy(labels))


def test_blobs_are_told_apart_by_every_probe():
    right = score_probes(make_blobs(90, 0), {"clean": make_blobs(30, 1)}, ProbeConfig(shots=3), classes=3)
    assert set(right) == {"linear", "few-shot", "k-NN"}
    for probe, marks in right.items():
        assert marks["clean"].shape == (30,)
        assert marks["clean"].mean() > 0.95, probe


def test_features_that_say_nothing_are_at_chance():
    generator = torch.Generator().manual_seed(0)
    train, test = (
        Known(make_blobs(300, seed).features, torch.randint(3, (300,), generator=generator))
        for seed in (0, 1)
    )
    for marks in score_probes(train, {"x": test}, ProbeConfig(), classes=3).values():
        assert 0.2 < marks["x"].mean() < 0.47


def test_a_part_of_the_classes_can_be_the_answer():
    scores = torch.tensor([[0.1, 0.2, 0.9], [0.5, 0.4, 0.9]])
    assert mark(scores, Known(torch.empty(0), torch.tensor([1, 1]))).tolist() == [0, 0]
    assert mark(scores, Known(torch.empty(0), torch.tensor([1, 1]), (0, 1))).tolist() == [1, 0]


def test_few_are_of_every_class_and_the_same_for_every_encoder():
    one, two = (choose_few(make_blobs(60, 0), 4, [5, 1]) for _ in range(2))
    assert torch.bincount(one.labels).tolist() == [4, 4, 4]
    assert torch.equal(one.features, two.features)
    assert not torch.equal(one.features, choose_few(make_blobs(60, 0), 4, [5, 2]).features)
    with pytest.raises(DataError, match="must have 30 training images"):
        choose_few(make_blobs(60, 0), 30, 0)


def test_validation_takes_a_share_of_each_class():
    kept, held = split_known(make_blobs(60, 0), 0.25, 0)
    assert torch.bincount(held.labels).tolist() == [5, 5, 5]
    assert len(kept.labels) == 45


def test_fine_tuning_leaves_the_encoder_alone_and_learns(settings, pairs):
    encoder = build_encoder(settings.encoder)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    images = np.stack([np.full((3, 16, 16), 60 + 130 * (place % 2), np.uint8) for place in range(32)])
    config = ProbeConfig(probes=("fine-tune",), fine_tune_epochs=6, fine_tune_batch=8, fine_tune_rate=3e-3)
    network = fine_tune(encoder, images, np.arange(32) % 2, config, classes=2)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    with torch.no_grad():
        answers = network(fit_size(images, 16)).argmax(1)
    assert (answers == torch.arange(32) % 2).float().mean() > 0.9


@pytest.mark.parametrize("name", SEVERITIES)
def test_a_corruption_grows_with_its_severity_and_repeats(name):
    images = np.random.default_rng(0).integers(40, 200, (8, 3, 32, 32), np.uint8)
    made = [corrupt(images, name, severity, seed=1).astype(int) for severity in range(1, 6)]
    changed = [np.abs(each - images).mean() for each in made]
    assert changed[0] > 0
    assert changed[-1] > changed[0]
    assert np.array_equal(corrupt(images, name, 3, seed=1), corrupt(images, name, 3, seed=1))
    assert corrupt(images, name, 5).dtype == np.uint8


def test_noise_has_the_stated_width():
    grey = np.full((50, 1, 32, 32), 128, np.uint8)
    for severity, std in enumerate(SEVERITIES["gaussian_noise"][:4], 1):
        assert corrupt(grey, "gaussian_noise", severity).std() / 255 == pytest.approx(std, rel=0.03)


def test_a_rotation_of_nothing_round_is_nothing():
    disc = np.hypot(*np.meshgrid(*[np.arange(33) - 16.0] * 2))
    image = (255 * (disc < 10)).astype(np.uint8)[None, None]
    turned = corrupt(np.repeat(image, 6, 0), "rotation", 5)
    assert np.abs(turned.astype(int) - image).mean() < 6


def test_unknown_corruptions_are_named():
    with pytest.raises(ConfigError, match="must be one of gaussian_noise"):
        corrupt(np.zeros((1, 1, 4, 4), np.uint8), "rain", 1)
    with pytest.raises(ConfigError, match="from 1 to 5"):
        corrupt(np.zeros((1, 1, 4, 4), np.uint8), "blur", 6)


@pytest.fixture
def runs(tmp_path, settings):
    """Four runs, as train leaves them: two modes, two seeds."""
    from isopleth.config import to_yaml

    for mode in ("real", "diffmix"):
        for seed in (0, 1):
            out = tmp_path / "runs" / f"{mode}-{seed}"
            config = replace(
                settings, out=out, views=replace(settings.views, mode=mode),
                runtime=replace(settings.runtime, seed=seed), fit=FitConfig(steps=1, batch_size=8),
            )  # fmt: skip
            torch.manual_seed(seed + 10 * (mode == "real"))
            save_encoder(build_encoder(config.encoder), out / "encoder")
            (out / "config.yaml").write_text(to_yaml(config))
    return tmp_path / "runs"


def test_runs_are_compared_on_folders(runs, folder, tmp_path):
    for source in list(folder.rglob("*.*")):
        for part in ("train", "test"):
            target = tmp_path / "other" / part / source.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    for name in PART:
        (tmp_path / "sketch" / name).mkdir(parents=True)
        Image.new("RGB", (20, 20), (9, 9, 9)).save(tmp_path / "sketch" / name / "1.png")
    config = EvaluateConfig(
        runs=runs,
        train=str(folder),
        test=str(folder),
        shifted=(f"sketch={tmp_path / 'sketch'}",),
        transfer=(f"other={tmp_path / 'other'}",),
        corruptions=("blur",),
        severities=(2,),
        out=tmp_path / "table",
        probes=ProbeConfig(
            probes=("linear", "few-shot", "k-NN", "fine-tune"),
            shots=2,
            neighbours=3,
            draws=2,
            validation=0.25,
            fine_tune_epochs=1,
            fine_tune_batch=4,
        ),
        device="cpu",
    )
    done = evaluate_runs(config)
    record = read_evaluation(tmp_path / "table")
    cells = {(score.variable, score.stratum["images"]) for score in record.scores}
    assert {name for _, name in cells} == {"clean", "blur 2", "sketch", "other", "shifted"}
    assert {probe for probe, _ in cells} == {"linear", "few-shot", "k-NN", "fine-tune"}
    first = record.scores[0]
    assert set(first.baselines) == {"real, simclr, augmentation 1", "untrained"}
    assert first.n == 2
    assert any(
        "diffmix, simclr, augmentation 1 is better than real" in claim.claim for claim in record.claims
    )
    assert "2 seeds" in record.claims[0].evidence
    assert 0 <= done["linear, clean"] <= 100
    one = evaluate_runs(
        replace(config, runs=runs / "diffmix-0", transfer=(), shifted=(), out=tmp_path / "one")
    )
    assert one["claims"] == {}


def test_runs_that_differ_by_seed_are_one_row(runs):
    rows = find_rows(runs)
    assert [row.name for row in rows] == [
        "diffmix, simclr, augmentation 1", "real, simclr, augmentation 1", "untrained",
    ]  # fmt: skip
    assert [len(row.folders) for row in rows] == [2, 2, 0]


def test_classes_must_be_those_of_training(runs, folder, tmp_path):
    (tmp_path / "odd" / "zebra").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "odd" / "zebra" / "1.png")
    config = EvaluateConfig(
        runs=runs, train=str(folder), test=str(tmp_path / "odd"), out=tmp_path / "t", device="cpu"
    )
    with pytest.raises(DataError, match="must be among those of the training images, got 'zebra'"):
        evaluate_runs(config)


def test_features_do_not_depend_on_batches(settings, pairs):
    encoder = build_encoder(settings.encoder)
    whole = compute_features(encoder, [pairs.real])
    torch.testing.assert_close(
        whole, compute_features(encoder, [pairs.real[:7], pairs.real[7:]]), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "nowhere", "a", "b"], "must hold a trained encoder, got none"),
        (
            ["evaluate", "nowhere", "a", "b", "--shifted", "[x]"],
            "shifted must be name=path",
        ),
        (
            ["evaluate", "nowhere", "a", "b", "--severities", "[9]"],
            "severities must be from 1",
        ),
        (["train", "nowhere"], "must be one that prepare wrote"),
        (["train", "nowhere", "--fit.steps", "3"], "one of epochs and steps must be given"),
        (["generate", "nowhere", "--shard", "3"], "shard must be from 0 to 0"),
        (["generate", "nowhere", "--generator.resolution", "99"], "resolution must be a multiple of 8"),
        (["prepare", "nowhere"], "must have images"),
        (["export", "nowhere"], "an encoder must be a folder with model.safetensors"),
        (["push", "nowhere", "owner/name"], "an encoder must be a folder with model.safetensors"),
    ],
)
def test_mistakes_are_one_line(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tool.main(words) in (1, 2)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
