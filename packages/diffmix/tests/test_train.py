"""Training: pairs reach the loss as pairs, masks and sides, the teacher, collapse, resumption."""

import logging
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from diffmix.collapse import CollapseWatch, effective_rank, find_collapse
from diffmix.config import EncoderConfig, FitConfig, MethodConfig, ViewConfig
from diffmix.export import load_encoder, save_encoder
from diffmix.model.encoder import PrototypeHead, build_encoder
from diffmix.predict import compute_features
from diffmix.train import build_module, can_share_moments, choose_sides, follow, pretrain
from isopleth.errors import ConfigError
from isopleth.train import load_checkpoint

RESNET_ARGS = {"channels": [8, 8, 16, 16], "layers": [1, 1, 1, 1], "stem_type": "deep", "stem_width": 4}


@pytest.fixture
def resnet():
    return EncoderConfig(name="resnet18", image_size=32, mean=(0.5,), std=(0.5,), args=RESNET_ARGS)


def weights_of(encoder):
    return {name: value.clone() for name, value in encoder.state_dict().items()}


@pytest.mark.parametrize("kind", ["simclr", "barlow", "dino"])
@pytest.mark.parametrize("mode", ["real", "diffmix", "sequential"])
def test_every_method_takes_steps_in_every_mode(kind, mode, settings, pairs):
    config = replace(
        settings, method=replace(settings.method, kind=kind, freeze_last_epochs=0),
        views=replace(settings.views, mode=mode), fit=FitConfig(steps=2, batch_size=8),
    )  # fmt: skip
    before = weights_of(build_module(config).trained_encoder)
    after = weights_of(pretrain(pairs, config))
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert len(moved) > len(before) / 2
    assert all(value.isfinite().all() for value in after.values())


def test_views_of_a_batch_are_twins(settings, pairs, monkeypatch):
    """Whatever is shuffled, the two views that the loss pulls together are of one image and its twin."""
    seen = []
    monkeypatch.setattr(
        "diffmix.train.PairTraining.make_view", lambda self, images, synthetic, recipe: images.float() / 255
    )
    monkeypatch.setattr(
        "diffmix.model.encoder.Encoder.forward",
        lambda self, images: (
            seen.append(images)
            or images.flatten(1)[:, : self.dim]
            @ next(iter(self.network.parameters())).new_ones(self.dim, self.dim)
        ),
    )
    module = build_module(replace(settings, views=ViewConfig(strength=0.0)))
    images = torch.stack([torch.from_numpy(pairs.real), torch.from_numpy(pairs.synthetic[:, 0])], dim=1)
    order = torch.randperm(40)[:8]
    batch = {"images": images[order], "synthetic": torch.tensor([[False, True]] * 8), "index": order}
    module.log = lambda *_, **__: None
    module.training_step(batch, 0)
    first, second = seen[0].chunk(2)
    torch.testing.assert_close(first + second, torch.ones_like(first))


def test_sides_are_drawn_for_each_pair():
    images = torch.arange(2 * 64).view(64, 2, 1, 1, 1)
    synthetic = torch.tensor([[False, True]]).expand(64, 2)
    (first, first_made), (second, second_made) = choose_sides(images, synthetic, random=False)
    assert (first.flatten() == images[:, 0].flatten()).all()
    assert not first_made.any()
    assert second_made.all()
    torch.manual_seed(0)
    (first, first_made), (second, second_made) = choose_sides(images, synthetic, random=True)
    assert 16 < first_made.sum() < 48
    assert (first_made ^ second_made).all()
    assert ((first.flatten() % 2 == 1) == first_made).all()
    assert (first + second == images.sum(1)).all()
    (one, _), (other, _) = choose_sides(images[:, :1], synthetic[:, :1], random=True)
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("how", "cropped", "coloured"), [("full", 1, 1), ("crop_only", 1, 0), ("none", 0, 0)]
)
def test_synthetic_views_are_augmented_as_asked(how, cropped, coloured, settings, monkeypatch):
    told = {}
    monkeypatch.setattr("diffmix.train.augment", lambda images, recipe, **masks: told.update(masks) or images)
    module = build_module(replace(settings, views=replace(settings.views, augment_synthetic=how)))
    synthetic = torch.tensor([False, True])
    module.make_view(torch.zeros(2, 3, 16, 16), synthetic, module.recipes[0])
    for name, flag in (("crops", cropped), ("colours", coloured)):
        mask = torch.ones(2, dtype=torch.bool) if told[name] is None else told[name]
        assert mask.tolist() == [True, bool(flag)]


def test_a_sequential_training_sees_synthetic_then_real(settings, pairs, monkeypatch):
    seen = []
    original = build_module(settings).make_view.__func__
    monkeypatch.setattr(
        "diffmix.train.PairTraining.make_view",
        lambda self, images, synthetic, recipe: (
            seen.append(synthetic.float().mean().item()) or original(self, images, synthetic, recipe)
        ),
    )
    pretrain(
        pairs, replace(settings, views=ViewConfig(mode="sequential"), fit=FitConfig(steps=4, batch_size=8))
    )
    assert seen == [1.0] * 4 + [0.0] * 4


def test_small_crops_are_of_the_domains_asked_for(settings, pairs, monkeypatch):
    seen = []
    config = replace(
        settings, method=replace(settings.method, kind="dino"), fit=FitConfig(steps=1, batch_size=8)
    )
    original = build_module(config).make_view.__func__
    monkeypatch.setattr(
        "diffmix.train.DinoTraining.make_view",
        lambda self, images, synthetic, recipe: (
            seen.append((recipe.size, synthetic.float().mean().item()))
            or original(self, images, synthetic, recipe)
        ),
    )
    pretrain(pairs, replace(config, views=replace(config.views, random_sides=False)))
    assert seen == [(16, 0.0), (16, 1.0), (8, 1.0), (8, 0.0), (8, 0.0)]


def test_the_teacher_follows_and_copies_buffers():
    student, teacher = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    nn.init.constant_(student.weight, 3.0)
    student.running_mean.fill_(5.0)
    follow(teacher, student, 0.75)
    assert torch.allclose(teacher.weight, torch.tensor(1.5))
    assert torch.equal(teacher.running_mean, student.running_mean)


def test_the_teacher_moves_after_each_step_and_prototypes_wait(settings, pairs):
    config = replace(
        settings, method=replace(settings.method, kind="dino"), fit=FitConfig(steps=2, batch_size=8)
    )
    module = build_module(config)
    start = module.head.prototypes.detach().clone()
    from diffmix.batches import make_loader
    from isopleth.train import fit

    fit(
        module,
        make_loader(pairs, "diffmix", batch_size=8),
        run_dir=config.out,
        runtime=config.runtime,
        max_steps=2,
    )
    assert torch.equal(module.head.prototypes, start)  # frozen in the first epoch
    mine, theirs = (next(iter(part.parameters())) for part in (module.teacher["encoder"], module.encoder))
    assert not torch.equal(mine, theirs)
    assert not mine.requires_grad


def test_prototypes_have_length_one_and_a_head_can_be_copied():
    import copy

    head = PrototypeHead(6, MethodConfig(kind="dino", hidden_dim=8, output_dim=5, bottleneck_dim=4))
    logits = head(torch.randn(3, 6))
    assert logits.shape == (3, 5)
    assert logits.abs().max() <= 1 + 1e-6
    copied = copy.deepcopy(head)
    torch.testing.assert_close(copied.prototypes, head.prototypes)


@pytest.mark.parametrize(
    ("processes", "device", "asked"),
    [(1, "cpu", False), (1, "cuda", False), (2, "cpu", False), (2, "mps", False), (2, "cuda:1", True)],
)
@pytest.mark.parametrize("kind", ["simclr", "dino"])
def test_moments_are_shared_by_processes_on_gpus_alone(kind, processes, device, asked, settings, resnet):
    """The conversion itself is torch's, and needs no GPU; a forward pass of what it makes does."""
    assert can_share_moments(processes, torch.device(device)) is asked
    module = build_module(replace(settings, encoder=resnet, method=replace(settings.method, kind=kind)))
    before, weights = weights_of(module), {id(weight) for weight in module.parameters()}
    strategy = SimpleNamespace(root_device=torch.device(device))
    module.trainer = SimpleNamespace(world_size=processes, strategy=strategy)
    module.setup("fit")
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    assert len(norms) > 5
    assert {isinstance(norm, nn.SyncBatchNorm) for norm in norms} == {asked}
    after = module.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in after.items())
    assert {id(weight) for weight in module.parameters()} == weights


def test_a_resumed_run_ends_with_the_same_bits(settings, pairs):
    def config(steps, out, *, resume=False):
        fit = FitConfig(steps=steps, batch_size=8, warmup=0.0, floor=1.0)
        return replace(settings, out=settings.out / out, resume=resume, fit=fit)

    whole = weights_of(pretrain(pairs, config(4, "whole")))
    pretrain(pairs, config(2, "parts"))
    parts = weights_of(pretrain(pairs, config(4, "parts", resume=True)))
    for name, value in whole.items():
        assert torch.equal(value, parts[name]), name


def test_labels_are_never_looked_at(settings, pairs):
    other = replace(pairs, labels=np.full(40, -1))
    one, two = pretrain(pairs, settings), pretrain(other, replace(settings, out=settings.out / "2"))
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name])


def test_rank_counts_directions():
    generator = torch.Generator().manual_seed(0)
    assert effective_rank(torch.ones(32, 8)) == 0.0
    assert effective_rank(torch.randn(32, 1, generator=generator) @ torch.ones(1, 8)) == pytest.approx(
        1.0, abs=0.01
    )
    q, _ = torch.linalg.qr(torch.randn(33, 4, generator=generator) - 0.0)
    centred = q - q.mean(0)
    assert 3.5 < effective_rank(centred) <= 4.001


def test_collapse_is_told_with_its_reason(caplog):
    watch = CollapseWatch(every=1, patience=2)

    class Module:
        features, last_loss = torch.ones(8, 4), torch.tensor(1.0)

        def chance(self):
            return None

        def log(self, *_):
            pass

    trainer = type("Trainer", (), {"global_step": 7})
    with caplog.at_level(logging.WARNING, logger="isopleth.diffmix"):
        for _ in range(4):
            watch.on_train_batch_end(trainer, Module())
    assert len(caplog.records) == 1
    assert "features lie on a point" in caplog.text


def test_a_loss_at_ln_k_is_collapse_and_a_falling_one_is_not():
    assert "ln K" in find_collapse(30.0, (64, 32), 8.3178, 8.3178)
    assert find_collapse(30.0, (64, 32), 7.9, 8.3178) == ""
    assert "a line" in find_collapse(1.2, (64, 32), 5.0, None)


def test_an_encoder_is_loaded_by_timm_alone(resnet, settings, tmp_path):
    import timm

    for name, config in (("resnet", resnet), ("vit", settings.encoder)):
        encoder = build_encoder(config).eval()
        folder = save_encoder(encoder, tmp_path / name, summary="A test.")
        assert sorted(path.name for path in folder.iterdir()) == [
            "README.md",
            "config.json",
            "model.safetensors",
        ]
        plain = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        images = torch.rand(2, 3, config.image_size, config.image_size)
        with torch.no_grad():
            expected = encoder(images)
            torch.testing.assert_close(plain((images - 0.5) / 0.5), expected)
            torch.testing.assert_close(load_encoder(folder)(images), expected)
        assert "A test." in (folder / "README.md").read_text()


def test_features_are_of_evaluation_mode(resnet):
    encoder = build_encoder(resnet).train()
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 20, 20), np.uint8)
    together, alone = compute_features(encoder, [pixels]), compute_features(encoder, [pixels[:1], pixels[1:]])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert encoder.training


def test_networks_that_do_not_exist_are_named(settings, pairs):
    with pytest.raises(ConfigError, match="must be a network of timm"):
        build_encoder(EncoderConfig(name="no_such_network"))
    grey = replace(settings.encoder, channels=1)
    with pytest.raises(ConfigError, match=r"encoder\.channels must be the 3 of the pairs"):
        pretrain(pairs, replace(settings, encoder=grey))


def test_a_checkpoint_of_a_run_is_safe_to_read(settings, pairs):
    pretrain(pairs, settings)
    assert load_checkpoint(settings.out / "checkpoints" / "last.ckpt")["global_step"] == 3
