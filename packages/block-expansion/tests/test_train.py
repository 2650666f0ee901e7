"""Adaptation: only what shall learn learns, what forgets is measured, and the cache changes nothing."""

import copy
import math
import time

import numpy as np
import pytest
import torch

from block_expansion.config import FitConfig, MethodConfig, RetentionConfig
from block_expansion.methods import apply_method
from block_expansion.prefix import CachedPrefix, count_frozen_blocks, quieten_frozen
from block_expansion.retention import Memory, as_floats
from block_expansion.train import adapt, contrast
from block_expansion.views import crop_and_flip, vary_brightness
from isopleth.errors import ConfigError
from isopleth.train import Runtime, load_checkpoint

FIT = FitConfig(steps=8, batch_size=16, learning_rate=0.05, warmup_steps=1)
RUNTIME = Runtime(accelerator="cpu", threads=1)
METHODS = {
    "expansion": MethodConfig(expansions=2),
    "lora": MethodConfig(kind="lora", rank=2),
    "linear": MethodConfig(kind="linear"),
    "top": MethodConfig(kind="top", blocks=1),
    "full": MethodConfig(kind="full"),
}


@pytest.mark.parametrize("kind", METHODS)
def test_an_adaptation_is_measured_three_ways(classifier, old, new, tmp_path, kind):
    weights = {name: value.clone() for name, value in classifier.backbone.state_dict().items()}
    memory = Memory(classifier, old, RetentionConfig(neighbours=5))
    network, found = adapt(
        classifier, new, METHODS[kind], FIT, run_dir=tmp_path, memory=memory, at_steps=(1, 4), runtime=RUNTIME
    )
    assert sorted(found.curve) == [0, 1, 4, 8]
    assert found.before == memory.baseline == found.curve[0]
    assert found.retained == found.curve[8] == memory.measure(network)
    assert found.disabled == (0.0 if kind in ("expansion", "lora") else None)
    if kind == "linear":
        assert found.retained == memory.baseline
    if kind == "expansion":
        restored = network.unload().backbone.state_dict()
        assert all(torch.equal(restored[name], value) for name, value in weights.items())
    if kind in ("linear", "expansion"):
        names = load_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["state_dict"]
        assert all("head" in name or "block_expansion_blocks" in name for name in names)


def test_the_seconds_of_a_training_are_without_measurements(classifier, old, new, tmp_path):
    class SlowMemory(Memory):
        def measure(self, network):
            time.sleep(1)
            return super().measure(network)

    memory = SlowMemory(classifier, old, RetentionConfig(neighbours=5))
    started = time.perf_counter()
    _, found = adapt(
        classifier, new, METHODS["linear"], FIT, run_dir=tmp_path, runtime=RUNTIME, memory=memory,
        at_steps=(1, 2, 5),
    )  # fmt: skip
    # Three measurements in the training, one after it.
    assert time.perf_counter() - started - found.seconds > 4
    assert found.memory_mb is None


def test_a_resumed_run_has_the_weights_that_were_learnt(classifier, new, tmp_path):
    results = []
    for resume in (False, True):
        twin = copy.deepcopy(classifier)
        network, _ = adapt(
            twin, new, METHODS["expansion"], FIT, run_dir=tmp_path, runtime=RUNTIME, resume=resume
        )
        results.append(network.state_dict())
    assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())
    assert not torch.equal(
        results[0]["base_model.model.head.modules_to_save.default.weight"], classifier.head.weight
    )


def test_a_run_goes_on_with_its_own_method_only(classifier, new, tmp_path):
    twin = copy.deepcopy(classifier)
    adapt(twin, new, METHODS["expansion"], FIT, run_dir=tmp_path, runtime=RUNTIME)
    with pytest.raises(ConfigError, match="must go on with the network and optimiser that it was begun with"):
        adapt(
            classifier, new, MethodConfig(expansions=1), FIT, run_dir=tmp_path, runtime=RUNTIME, resume=True
        )  # fmt: skip


def test_training_learns_the_new_domain(classifier, new, tmp_path):
    config = FitConfig(steps=60, batch_size=16, learning_rate=0.05, warmup_steps=5, augmentation="none")
    _, found = adapt(classifier, new, METHODS["expansion"], config, run_dir=tmp_path, runtime=RUNTIME)
    assert found.target_test > 0.6
    assert found.retained is None


@pytest.mark.parametrize(
    ("method", "blocks"),
    [
        (MethodConfig(expansions=2), 1),
        (MethodConfig(expansions=1), 2),
        (MethodConfig(expansions=2, position="last"), 2),
        (METHODS["linear"], 4),
        (METHODS["top"], 3),
        (METHODS["lora"], 0),
        (METHODS["full"], 0),
    ],
    ids=str,
)
def test_remembered_tokens_give_the_same_logits_and_gradients(classifier, new, method, blocks):
    network = apply_method(classifier, method)
    assert count_frozen_blocks(network) == blocks
    places = torch.tensor([3, 0, 7])
    images = as_floats(torch.from_numpy(new.train.pixels)[places])
    cached = CachedPrefix(network, new.train)
    results = []
    for compute in (network, lambda x: cached(x, places)):
        network.zero_grad()
        logits = compute(images)
        logits.square().sum().backward()
        results.append((logits.detach(), [p.grad.clone() for p in network.parameters() if p.requires_grad]))
    torch.testing.assert_close(results[1], results[0], rtol=1e-5, atol=1e-6)


def test_frozen_blocks_drop_nothing_at_random(classifier):
    network = apply_method(classifier, METHODS["expansion"]).train()
    quieten_frozen(network)
    blocks = network.get_base_model().backbone.blocks
    assert not blocks[0].training
    assert not blocks[1].base_layer.training
    assert blocks[1].block_expansion_blocks["default"].training


def test_contrast_is_that_of_the_definition():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    unit = (z / z.norm(dim=1, keepdim=True)).numpy()
    total = 0.0
    for i in range(6):
        weights = [math.exp(float(unit[i] @ unit[k]) / 0.5) for k in range(6)]
        total -= math.log(weights[(i + 3) % 6] / (sum(weights) - weights[i]))
    assert contrast(z, 0.5).item() == pytest.approx(total / 6, rel=1e-5)
    assert contrast(torch.ones(8, 3), 0.2).item() == pytest.approx(math.log(7), rel=1e-5)


def test_views_stay_in_the_image_and_differ_between_images():
    images = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0)).expand(8, 1, 16, 16)
    torch.manual_seed(0)
    views = vary_brightness(crop_and_flip(images))
    assert views.shape == images.shape
    assert 0 <= views.min() <= views.max() <= 1
    assert len({tuple(np.round(view.flatten().tolist(), 5)) for view in views}) == 8
    constant = torch.full((2, 3, 8, 8), 0.25)
    torch.testing.assert_close(crop_and_flip(constant), constant)
    torch.testing.assert_close(
        crop_and_flip(images, least_area=1.0, flip=False).mean(), images.mean(), atol=0.02, rtol=0
    )
