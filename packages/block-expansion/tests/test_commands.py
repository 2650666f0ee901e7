"""The verbs on folders of images, the verdicts, and the demo."""

import json
from dataclasses import replace

import numpy as np
import pytest
import timm

import block_expansion.tuner  # noqa: F401 - registers block expansion
from block_expansion.adapters import train_from_folders
from block_expansion.cli import tool
from block_expansion.config import BackboneConfig, DemoConfig, StudyConfig, TrainConfig
from block_expansion.demo import run_demo, run_study
from block_expansion.evaluate import (
    choose_runs,
    compare_fronts,
    judge_methods,
    match_run,
    score_methods,
)
from block_expansion.figures import find_front
from block_expansion.retention import Retained
from block_expansion.train import Adapted
from isopleth.cli import load_config
from isopleth.report import read_evaluation
from isopleth.train import Runtime

BEFORE = Retained(knn=0.9, frozen_head=0.95)


def make_run(method, rate, seed, val, knn, **others):
    return Adapted(
        method=method,
        learning_rate=rate,
        seed=seed,
        parameters=10,
        target_val=val,
        target_test=val,
        seconds=1.0,
        retained=Retained(knn=knn, frozen_head=0.2),
        before=BEFORE,
        curve={0: BEFORE},
        **others,
    )


@pytest.fixture
def runs():
    """Block expansion remembers ten points more than full fine-tuning does where both are as good."""
    found = []
    for seed in range(3):
        shift = 0.001 * seed
        found += [
            make_run("block expansion p=2", 0.01, seed, 0.70, 0.85 + shift, disabled=0.0),
            make_run("block expansion p=2", 0.1, seed, 0.60, 0.50, disabled=0.0),
            make_run("full fine-tuning", 0.001, seed, 0.50, 0.89),
            make_run("full fine-tuning", 0.003, seed, 0.695, 0.75),
            make_run("full fine-tuning", 0.01, seed, 0.75, 0.40),
            make_run("linear probe", 0.5, seed, 0.60, 0.9),
            make_run("top 2 blocks", 0.01, seed, 0.72, 0.80),
        ]
    return found


def test_methods_are_matched_where_they_are_as_good_on_the_new_domain(runs):
    chosen = choose_runs(runs, "block expansion p=2")
    assert [run.learning_rate for run in chosen] == [0.01] * 3
    assert match_run(runs, chosen[1], "full fine-tuning").learning_rate == 0.003
    assert match_run(runs, chosen[1], "linear probe").target_val == 0.6
    claims = {claim.claim: claim for claim in judge_methods(runs, "block expansion p=2")}
    full = claims[
        "Block expansion p=2 retains more than full fine-tuning at matched accuracy on the new domain"
    ]
    assert full.holds
    assert full.difference == pytest.approx(10.1)
    assert claims["The front of block expansion p=2 lies above that of top 2 blocks"].holds
    assert claims["The old head keeps working on features of block expansion p=2"].holds is False
    assert claims["With the adapter disabled nothing is forgotten, to the last bit"].holds
    one = judge_methods([run for run in runs if run.seed == 0], "block expansion p=2")
    assert {claim.holds for claim in one[:-1]} == {None}


def test_no_learning_rate_is_chosen_on_test_images(runs):
    misleading = [replace(run, target_test=1 - run.target_val) for run in runs]
    ours = "block expansion p=2"
    for given, again in zip(choose_runs(runs, ours), choose_runs(misleading, ours), strict=True):
        assert given.learning_rate == again.learning_rate
        matched = (
            match_run(each, own, "full fine-tuning") for each, own in ((runs, given), (misleading, again))
        )
        assert len({run.learning_rate for run in matched}) == 1
    fronts = [compare_fronts(each, ours, "full fine-tuning", 0) for each in (runs, misleading)]
    assert fronts[0] == fronts[1]


def test_a_bit_that_is_not_restored_breaks_the_promise(runs):
    broken = [replace(runs[0], disabled=1e-9), *runs[1:]]
    assert judge_methods(broken, "block expansion p=2")[-1].holds is False


def test_the_table_has_every_method_beside_ours(runs):
    scores = {score.variable: score for score in score_methods(runs, "block expansion p=2")}
    assert scores["new domain"].model == pytest.approx(70)
    assert scores["old domain, k-NN"].baselines["un-adapted"] == pytest.approx(90)
    assert scores["old domain, k-NN"].baselines["full fine-tuning"] == pytest.approx(40)
    assert scores["mean of new and old"].baselines["linear probe"] == pytest.approx(75)
    assert "GPU" not in scores
    on_gpu = [replace(run, memory_mb=100.0 + 50 * run.method.startswith("full")) for run in runs]
    memory = next(each for each in score_methods(on_gpu, "block expansion p=2") if each.variable == "GPU")
    assert (memory.model, memory.baselines["full fine-tuning"]) == (100, 150)


def test_fronts_are_compared_at_equal_accuracy():
    ours = [make_run("ours", rate, 0, val, knn) for rate, val, knn in ((1, 0.6, 0.9), (2, 0.8, 0.7))]
    rival = [
        make_run("rival", rate, 0, val, knn)
        for rate, val, knn in ((1, 0.5, 0.9), (2, 0.7, 0.8), (3, 0.9, 0.2))
    ]
    # From 0.6 to 0.7 it is 0.7 against 0.8, from there to 0.8 it is 0.7 against 0.2.
    assert compare_fronts([*ours, *rival], "ours", "rival", 0) == pytest.approx(0.5 * (0.7 - 0.8 + 0.7 - 0.2))
    assert compare_fronts([*ours, *rival], "rival", "ours", 0) == pytest.approx(-0.2)
    assert compare_fronts([*ours, *rival], "ours", "ours", 0) == 0
    # Where one is always better on the new domain, both are compared at the most that the other reaches.
    weak = [make_run("weak", 1, 0, 0.3, 0.95)]
    assert compare_fronts([*ours, *weak], "ours", "weak", 0) == pytest.approx(0.9 - 0.95)


def test_a_front_keeps_what_nothing_beats():
    points = np.array([[1.0, 3.0], [2.0, 2.0], [1.5, 1.0], [2.0, 2.0], [3.0, 1.0]])
    assert find_front(points).tolist() == [[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]]


def test_train_and_evaluate_folders_of_images(folders, capsys):
    settings = {
        "source": folders / "old", "backbone.name": "vit_tiny_patch16_224", "backbone.pretrained": "false",
        "backbone.image_size": 16, "backbone.channels": 1, "backbone.dim": 24, "backbone.depth": 4,
        "backbone.heads": 3, "backbone.patch_size": 4, "fit.steps": 4, "fit.batch_size": 16,
        "fit.warmup_steps": 1, "retention.at_steps": "[2]",
        "runtime.accelerator": "cpu", "runtime.threads": 1,
    }  # fmt: skip
    common = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    for kind in ("expansion", "full"):
        out = folders / "runs" / kind
        words = [
            "train",
            str(folders / "new"),
            "--out",
            str(out),
            "--method.kind",
            kind,
            "--method.expansions",
            "2",
        ]
        assert tool.main([*words, *common, "--json"]) == 0, capsys.readouterr().err
        printed = json.loads(capsys.readouterr().out)
        assert set(printed["retained"]) == {"knn", "frozen_head"}
    assert (folders / "runs" / "full" / "adapter" / "model.safetensors").is_file()
    saved = json.loads((folders / "runs" / "expansion" / "adapter" / "adapter_config.json").read_text())
    assert saved["after_blocks"] == [1, 3]
    assert tool.main(["evaluate", str(folders / "runs"), "--out", str(folders / "table")]) == 0
    record = read_evaluation(folders / "table")
    assert record.data.kind == "real"
    assert (folders / "table" / "report.html").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "nowhere"], "must have at least two classes"),
        (["train", "nowhere", "--fit.warmup_steps", "10000"], "warmup_steps must be from 0"),
        (["train", "nowhere", "--backbone.depth", "3"], "pretrained must be false where depth is given"),
        (["sequence", "--targets", "[nowhere]"], "targets must be at least two, got 1"),
        (["evaluate", "nowhere"], "a folder of runs must hold adapted.json, got none"),
    ],
)
def test_mistakes_are_one_line(words, said, capsys):
    assert tool.main(words) in (1, 2)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--method.expansions", "3"], "num_expansions must divide the 4 blocks, got 3; take one of 1, 2, 4"),
        (["--method.kind", "top", "--method.blocks", "5"], "at most the network's 4, got 5"),
        (["--method.kind", "lora", "--method.targets", "qkv", "--method.rank", "0"], "rank must be above 0"),
        (
            ["--method.expansions", "2", "--retention.neighbours", "49"],
            "neighbours must be at most the 48 training images of old, got 49",
        ),
        (["--backbone.name", "resnet18"], "the backbone must be a vision transformer of timm"),
        (["--backbone.heads", "5"], "the backbone must be a vision transformer of timm"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_said_before_anything_is_computed(folders, monkeypatch, capsys, options, said):
    monkeypatch.setattr("block_expansion.retention.compute_features", lambda *_: pytest.fail("computed"))
    shape = {"dim": 24, "depth": 4, "heads": 3, "patch_size": 4, "image_size": 16, "channels": 1}
    words = ["train", str(folders / "new"), "--source", str(folders / "old"), "--out", str(folders / "run")]
    words += ["--backbone.name", "vit_tiny_patch16_224", "--backbone.pretrained", "false"]
    words += [word for name, value in shape.items() for word in (f"--backbone.{name}", str(value))]
    assert tool.main([*words, "--runtime.accelerator", "cpu", *options]) in (1, 2)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (folders / "run").exists()


def test_a_run_that_is_not_one_is_named(tmp_path, capsys):
    (tmp_path / "adapted.json").write_text('{"method": "full"}')
    assert tool.main(["evaluate", str(tmp_path)]) == 1
    assert "a run's record must be as train wrote it" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["demo", pytest.param("demo-full", marks=pytest.mark.slow)])
def test_every_contender_of_the_demo_can_be_run(name, old, new, tmp_path):
    study = load_config(name, StudyConfig, package="block_expansion")
    small = replace(
        study,
        contenders=tuple(replace(each, learning_rates=each.learning_rates[:1]) for each in study.contenders),
        seeds=1, pretrain=replace(study.pretrain, steps=2), retention=replace(study.retention, at_steps=(1,)),
        fit=replace(study.fit, steps=2, warmup_steps=0),
    )  # fmt: skip
    found = run_study(small, old, new, tmp_path)
    assert len(found) == len(study.contenders)
    assert all(run.disabled in (None, 0.0) for run in found)


@pytest.mark.parametrize("name", ["cifar100", "cifar10", "dtd", "food101", "flowers102"])
def test_the_papers_experiments_take_a_step_with_a_small_network(name, folders, capsys):
    config = load_config(f"paper-{name}", TrainConfig, package="block_expansion")
    assert (config.fit.steps, config.fit.batch_size, config.fit.warmup_steps) == (10_000, 128, 500)
    assert config.backbone == BackboneConfig(name="hf-hub:timm/vit_base_patch16_224.dino")
    small = BackboneConfig(
        name="vit_tiny_patch16_224", pretrained=False, image_size=16, dim=24, depth=3, heads=3, patch_size=4
    )
    done = train_from_folders(
        replace(
            config, target=folders / "new", source=folders / "old", out=folders / "run", backbone=small,
            fit=replace(config.fit, steps=1, warmup_steps=0), runtime=Runtime(accelerator="cpu", threads=1),
        )
    )  # fmt: skip
    assert done["method"] == "block expansion p=3"
    assert 0 <= done["retained"]["knn"] <= 1


def test_the_papers_network_is_one_that_timm_knows():
    """By timm's own list, nothing is fetched: the paper's is DINO's ViT-B/16."""
    config = load_config("paper-cifar100", TrainConfig, package="block_expansion")
    known = timm.get_pretrained_cfg(BackboneConfig().name)
    assert config.backbone.name == f"hf-hub:{known.hf_hub_id}"
    assert known.to_dict()["architecture"] == "vit_base_patch16_224"
    assert BackboneConfig().name in timm.list_pretrained("vit_base_patch16_224*")


@pytest.mark.slow
def test_seeds_side_by_side_give_the_runs_of_one_after_the_other(old, new, tmp_path):
    study = load_config("demo", StudyConfig, package="block_expansion")
    small = replace(
        study, contenders=study.contenders[:1], seeds=2, pretrain=replace(study.pretrain, steps=2),
        fit=replace(study.fit, steps=2, warmup_steps=0), retention=replace(study.retention, at_steps=(1,)),
    )  # fmt: skip
    found = [
        run_study(replace(small, processes=count), old, new, tmp_path / str(count), first_seed=7)
        for count in (1, 2)
    ]
    one, two = ([replace(run, seconds=0.0) for run in runs] for runs in found)
    assert one == two
    assert {run.seed for run in one} == {7, 8}


@pytest.mark.slow
def test_the_demo_tells_what_is_forgotten(tmp_path):
    run_demo(DemoConfig(out=tmp_path))
    record = read_evaluation(tmp_path)
    scores = {score.variable: score for score in record.scores}
    assert scores["old domain, k-NN"].baselines["un-adapted"] > 75
    assert (
        scores["old domain, k-NN"].baselines["linear probe"]
        == scores["old domain, k-NN"].baselines["un-adapted"]
    )
    assert scores["new domain"].model > scores["new domain"].baselines["linear probe"] - 10
    assert record.claims[-1].holds
    assert (tmp_path / "report.html").is_file()
