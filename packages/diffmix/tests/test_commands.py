"""The whole job by its commands, and the paper's experiments for a step each."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from diffmix.cli import tool
from diffmix.comparison import decide, judge_study, score_study
from diffmix.config import (
    DemoConfig,
    EncoderConfig,
    FitConfig,
    GenerateConfig,
    PrepareConfig,
    PushConfig,
    StudyConfig,
    TrainConfig,
)
from diffmix.demo import run_demo
from diffmix.export import push_folder
from diffmix.generation import generate_from_config
from diffmix.prepare import prepare_from_config
from diffmix.sample import load_sample
from diffmix.study import find_neighbours, label_agreement, run_study
from diffmix.train import train_from_config
from isopleth.cli import load_config
from isopleth.report import read_evaluation
from isopleth.train import Runtime

CPU = Runtime(accelerator="cpu", threads=1)
TINY = {"embed_dim": 24, "depth": 2, "num_heads": 3, "patch_size": 8}


def run(capsys, *words):
    assert tool.main([*map(str, words), "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_the_whole_job_by_its_commands(folder, tmp_path, capsys):
    cpu = ("--runtime.accelerator", "cpu", "--runtime.threads", 1)
    made = run(
        capsys,
        "train-generator",
        folder,
        "--out",
        tmp_path / "g",
        "--network.size",
        16,
        "--network.widths",
        "[8,16]",
        "--steps",
        2,
        "--batch_size",
        8,
        *cpu,
    )
    generate = (
        "generate",
        folder,
        "--out",
        tmp_path / "twins",
        "--generator.kind",
        "sdedit",
        "--generator.model",
        made["generator"],
        "--generator.steps",
        4,
        "--device",
        "cpu",
    )
    twins = run(capsys, *generate)
    assert (twins["made"], twins["failed"]) == (12, 0)
    again = run(capsys, *generate)
    assert (again["made"], again["found"]) == (0, 12)
    store = run(
        capsys, "prepare", folder, "--twins", tmp_path / "twins", "--out", tmp_path / "p.zarr", "--size", 16
    )
    assert store["images"] == 12
    again = run(
        capsys, "prepare", folder, "--twins", tmp_path / "twins", "--out", tmp_path / "p.zarr", "--size", 16,
        "--resume", "true",
    )  # fmt: skip
    assert again == store
    trained = run(
        capsys,
        "train",
        tmp_path / "p.zarr",
        "--out",
        tmp_path / "run",
        "--encoder.name",
        "vit_tiny_patch16_224",
        "--encoder.image_size",
        16,
        "--encoder.args",
        json.dumps(TINY),
        "--fit.epochs",
        "null",
        "--fit.steps",
        2,
        "--fit.batch_size",
        8,
        "--method.hidden_dim",
        16,
        "--method.output_dim",
        8,
        *cpu,
    )
    assert trained["mode"] == "diffmix"
    shared = run(capsys, "export", tmp_path / "run", "--out", tmp_path / "share")
    assert (tmp_path / "share" / "model.safetensors").is_file()
    assert "simclr in the mode diffmix" in (tmp_path / "share" / "README.md").read_text()
    assert shared["encoder"] == str(tmp_path / "share")
    scored = run(
        capsys,
        "evaluate",
        tmp_path / "run",
        folder,
        folder,
        "--out",
        tmp_path / "table",
        "--probes.shots",
        2,
        "--probes.neighbours",
        3,
        "--probes.validation",
        0.25,
        "--device",
        "cpu",
    )
    assert "linear, clean" in scored
    assert read_evaluation(tmp_path / "table").data.kind == "real"


def test_a_push_asks_the_hub_once_and_for_safe_files_alone(tmp_path, monkeypatch):
    from diffmix.export import save_encoder
    from diffmix.model.encoder import build_encoder

    folder = tmp_path / "encoder"
    save_encoder(build_encoder(EncoderConfig(name="vit_tiny_patch16_224", image_size=16, args=TINY)), folder)
    (folder / "secret.pt").write_bytes(b"x")
    told = []
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "create_repo", lambda repo, **options: told.append((repo, options)))
    monkeypatch.setattr(huggingface_hub, "upload_folder", lambda **options: told.append(options) or "url")
    assert push_folder(PushConfig(folder=folder, repo="owner/name")) == {"url": "url"}
    assert told[0] == ("owner/name", {"private": True, "exist_ok": True})
    assert told[1]["allow_patterns"] == ["config.json", "model.safetensors", "README.md"]


@pytest.fixture(scope="session")
def miniature(variation_folder, tmp_path_factory):
    """Twins by the real pipeline class as `paper-generate` has it, in the store of `paper-prepare`."""
    from PIL import Image

    root = tmp_path_factory.mktemp("imagenet")
    for number in range(4):
        place = root / "train" / f"n0{number % 2}" / f"{number}.JPEG"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(pixels).save(place)
    settings = load_config("paper-generate", GenerateConfig, package="diffmix")
    assert (settings.generator.revision, settings.generator.steps, settings.generator.guidance) == (
        "v2.0",
        50,
        3.0,
    )
    generator = replace(
        settings.generator, model=str(variation_folder), revision=None, steps=2, resolution=64
    )
    done = generate_from_config(
        replace(settings, source=str(root / "train"), out=root / "twins", generator=generator, device="cpu")
    )
    assert (done["made"], done["failed"]) == (4, 0)
    store = load_config("paper-prepare", PrepareConfig, package="diffmix")
    prepare_from_config(
        replace(store, source=str(root / "train"), twins=root / "twins", out=root / "p.zarr", size=32)
    )
    return root / "p.zarr"


@pytest.mark.parametrize("data", ["in100", "in1k"])
@pytest.mark.parametrize("method", ["simclr", "barlow", "dino"])
def test_the_papers_experiments_take_a_step(method, data, miniature, tmp_path):
    config = load_config(f"paper-{method}-{data}", TrainConfig, package="diffmix")
    assert config.encoder.name == {
        "dino": "vit_small_patch16_224" if data == "in100" else "vit_base_patch16_224"
    }.get(method, "resnet50")
    assert (config.views.mode, config.views.recipe, config.views.random_sides) == (
        "diffmix",
        "released",
        False,
    )
    fit = config.fit
    assert (fit.batch_size, fit.optimizer) == (256 if method == "simclr" else 512, "adamw")
    assert (fit.epochs, fit.warmup_epochs, fit.base_learning_rate, fit.floor) == (30, 10, 5e-4, 1e-3)
    decay = (fit.weight_decay, fit.final_weight_decay, fit.gradient_clip)
    assert decay == ((0.04, 0.4, 3.0) if method == "dino" else (4e-5, None, None))
    assert (config.method.teacher_momentum, config.method.freeze_last_epochs) == (0.996, 1)
    small = {"channels": [8, 8, 8, 8], "layers": [1, 1, 1, 1]} if method != "dino" else TINY
    done = train_from_config(
        replace(
            config,
            pairs=miniature,
            out=tmp_path / "run",
            encoder=replace(config.encoder, image_size=32, args=small),
            method=replace(config.method, hidden_dim=16, output_dim=16, bottleneck_dim=8),
            views=replace(config.views, local_size=16),
            fit=replace(fit, epochs=1, batch_size=4, warmup=0.0, warmup_epochs=None),
            runtime=CPU,
        )
    )
    assert done["pairs"] == 4


def test_the_sample_is_split_by_writers():
    sample = load_sample()
    assert sample.train.shape == (1197, 1, 8, 8)
    assert sample.test.shape == (600, 1, 8, 8)
    assert sample.train.max() == 255


def test_label_agreement_knows_its_limits():
    sample = load_sample()
    own = label_agreement(sample.train, sample.train_labels, sample.train)
    noise = np.random.default_rng(0).integers(0, 256, sample.train.shape, np.uint8)
    shuffled = sample.train[np.random.default_rng(1).permutation(len(sample.train))]
    assert own > 85
    assert label_agreement(sample.train, sample.train_labels, noise) < 20
    assert label_agreement(sample.train, sample.train_labels, shuffled) < 20
    assert label_agreement(sample.train, sample.train_labels, find_neighbours(sample.train)) > 80


def test_a_neighbour_is_another_image():
    pixels = np.array([[0, 0], [1, 0], [9, 9], [9, 8]], np.uint8).reshape(4, 1, 1, 2)
    assert np.array_equal(find_neighbours(pixels), pixels[[1, 0, 3, 2]])


@pytest.mark.parametrize("name", ["demo", "demo-full"])
def test_the_demos_arms_can_all_be_run(name, tmp_path):
    study = load_config(name, StudyConfig, package="diffmix")
    assert study.first_seed == (100 if name == "demo-full" else 0)
    arms = tuple(replace(arm, augmentations=arm.augmentations[:1]) for arm in study.arms)
    small = replace(
        study,
        arms=arms,
        seeds=1,
        generator_steps=2,
        generator=replace(study.generator, steps=3),
        fit=FitConfig(steps=1, batch_size=8),
        probes=replace(study.probes, draws=1, penalties=(1.0,), few_shot_penalty=1.0),
    )
    sample = load_sample()
    sample = replace(sample, train=sample.train[:150], train_labels=sample.train_labels[:150])
    found = run_study(small, sample, tmp_path)
    assert len(found.outcomes) == len(arms)
    assert {score.stratum.get("images") for score in score_study(found)} == {
        "clean",
        "noise",
        "rotation",
        None,
    }
    assert all(claim.holds is None for claim in judge_study(found))


def test_claims_are_decided_by_their_interval():
    assert decide("x", [5.0, 6.0, 5.5]).holds is True
    assert decide("x", [-5.0, -6.0, -5.5]).holds is False
    assert decide("x", [-5.0, 6.0, 0.0]).holds is None
    assert decide("x", [5.0]).holds is None


@pytest.mark.slow
def test_the_demo_reports_favourable_and_unfavourable_cells(tmp_path):
    run_demo(DemoConfig(out=tmp_path))
    record = read_evaluation(tmp_path)
    primary, secondary = record.claims[0], record.claims[1]
    assert primary.claim.startswith("Primary")
    assert primary.holds
    assert secondary.claim.startswith("Secondary")
    assert not secondary.holds
    assert (tmp_path / "report.html").is_file()


def test_help_loads_nothing_heavy():
    import subprocess

    heavy = ("torch", "diffusers", "timm", "PIL")
    code = f"import sys, diffmix, diffmix.cli; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
