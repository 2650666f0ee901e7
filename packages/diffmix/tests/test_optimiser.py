"""Optimisers and schedules: closed forms, and that the training follows them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from diffmix.batches import make_loader
from diffmix.config import FitConfig
from diffmix.model.optimiser import build_optimiser, cosine_between, set_weight_decay
from diffmix.train import build_module, follow, pretrain
from isopleth.errors import ConfigError
from isopleth.train import fit


def with_method(settings, kind, fitting):
    return replace(settings, method=replace(settings.method, kind=kind), fit=fitting)


class Diary(Callback):
    """Note decays and gradients of each step, as they were when the step was made."""

    def __init__(self):
        self.decays, self.norms = [], []

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.decays.append([group["weight_decay"] for group in trainer.optimizers[0].param_groups])
        weights = [weight for weight in pl_module.parameters() if weight.grad is not None]
        self.norms.append([float(weight.grad.norm()) for weight in weights])


def test_dinos_schedules_are_the_published_ones(settings, pairs, monkeypatch):
    """Decay 0.04 to 0.4 and momentum 0.996 to 1 on half a cosine, gradients clipped each by its own norm."""
    momenta = []
    monkeypatch.setattr("diffmix.train.follow", lambda *parts: momenta.append(parts[-1]) or follow(*parts))
    config = with_method(
        settings, "dino",
        FitConfig(
            steps=4, batch_size=8, weight_decay=0.04, final_weight_decay=0.4, gradient_clip=1e-3
        ),
    )  # fmt: skip
    diary = Diary()
    fit(
        build_module(config), make_loader(pairs, "diffmix", batch_size=8), run_dir=config.out,
        runtime=config.runtime, max_steps=4, gradient_clip=config.fit.gradient_clip, callbacks=[diary],
    )  # fmt: skip
    decayed, spared = np.transpose(diary.decays)
    assert decayed == pytest.approx([0.04, 0.09272, 0.22, 0.34728], abs=1e-5)
    assert spared.tolist() == [0.0] * 4
    assert momenta[::2] == pytest.approx([0.996586, 0.998, 0.999414, 1.0], abs=1e-6)
    assert momenta[::2] == momenta[1::2]  # encoder and head
    for norms in diary.norms:
        assert max(norms) < 1.001e-3
        assert sum(norm > 0.999e-3 for norm in norms) > 2  # of all together, one at most could have that


def test_a_gradient_of_simclr_is_clipped_as_a_whole(settings, pairs):
    config = with_method(settings, "simclr", FitConfig(steps=1, batch_size=8))
    diary = Diary()
    fit(
        build_module(config), make_loader(pairs, "diffmix", batch_size=8), run_dir=config.out,
        runtime=config.runtime, max_steps=1, gradient_clip=1e-3, callbacks=[diary],
    )  # fmt: skip
    assert math.hypot(*diary.norms[0]) == pytest.approx(1e-3, rel=1e-3)
    # Without a final decay it stays what it was.
    assert diary.decays == [[4e-5, 0.0]]


def test_lars_is_the_naive_one():
    """You et al. 2017, eq. 6, in float64; biases are moved as SGD moves them."""
    torch.manual_seed(0)
    layer = nn.Linear(4, 3).double()
    config = FitConfig(steps=1, optimizer="lars", weight_decay=0.1, momentum=0.5)
    optimizer = build_optimiser(layer, config, rate=0.2)
    weight, bias = (part.detach().numpy().copy() for part in (layer.weight, layer.bias))
    speed, push = np.zeros_like(weight), np.zeros_like(bias)
    for step in range(3):
        gradients = [
            np.random.default_rng([step, part.size]).normal(size=part.shape) for part in (weight, bias)
        ]
        layer.weight.grad, layer.bias.grad = map(torch.from_numpy, gradients)
        optimizer.step()
        size = np.linalg.norm(weight)
        trust = 0.001 * size / (np.linalg.norm(gradients[0]) + 0.1 * size)
        speed = 0.5 * speed + trust * (gradients[0] + 0.1 * weight)
        push = 0.5 * push + gradients[1]
        weight, bias = weight - 0.2 * speed, bias - 0.2 * push
    np.testing.assert_allclose(layer.weight.detach(), weight, rtol=1e-6)
    np.testing.assert_allclose(layer.bias.detach(), bias, rtol=1e-12)


@pytest.mark.parametrize("kind", ["simclr", "barlow"])
def test_lars_takes_steps(kind, settings, pairs):
    fitting = FitConfig(
        steps=2, batch_size=8, optimizer="lars", base_learning_rate=0.3, weight_decay=1e-6, warmup=0.0
    )
    config = with_method(settings, kind, fitting)
    before = {name: value.clone() for name, value in build_module(config).encoder.state_dict().items()}
    after = pretrain(pairs, config).state_dict()
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert len(moved) > len(before) / 2
    assert all(value.isfinite().all() for value in after.values())


def test_only_what_decays_gets_another_decay():
    optimizer = build_optimiser(nn.Linear(2, 2), FitConfig(steps=1), rate=0.1)
    set_weight_decay(optimizer, 0.3)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]


def test_half_a_cosine_ends_where_it_should():
    assert cosine_between(2.0, 5.0, 0.0) == 2.0
    assert cosine_between(2.0, 5.0, 0.5) == pytest.approx(3.5)
    assert cosine_between(2.0, 5.0, 1.0) == cosine_between(2.0, 5.0, 1.7) == 5.0


def test_a_warm_up_is_a_share_or_epochs():
    assert FitConfig(steps=10, warmup=0.2).warmup_share == 0.2
    assert FitConfig(epochs=100, warmup_epochs=10).warmup_share == 0.1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 10, "warmup_epochs": 2}, "warmup_epochs must be fewer than epochs"),
        ({"epochs": 5, "warmup_epochs": 5}, r"fewer than epochs \(5\), got 5"),
        ({"steps": 1, "optimizer": "adam"}, "must be one of adamw, lars"),
        ({"steps": 1, "optimizer": "lars", "weight_decay": 0.0}, "weight_decay must be above 0 with lars"),
        ({"steps": 1, "weight_decay": 0.0, "final_weight_decay": 0.4}, "must be above 0 with lars or final"),
        ({"steps": 1, "momentum": 1.0}, r"momentum must lie in \[0, 1\)"),
    ],
)
def test_fits_that_cannot_be_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        FitConfig(**options)
