"""The small diffusion model: limits of its strength, its folder, its training."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline

from diffmix.config import GeneratorConfig, SdeditConfig, TrainGeneratorConfig
from diffmix.generators import build_generator
from diffmix.generators.sdedit import Sdedit
from diffmix.model.denoiser import build_denoiser, build_noising, edit, load_denoiser, save_denoiser
from diffmix.train_generator import train_generator, train_generator_from_source
from isopleth.errors import ConfigError, DataError
from isopleth.train import Runtime

TINY = SdeditConfig(size=8, channels=1, widths=(8, 16))
CPU = Runtime(accelerator="cpu", threads=1)


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    save_denoiser(tmp_path / "model", build_denoiser(TINY), build_noising(TINY))
    return tmp_path / "model"


def draw(count=4):
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_no_strength_is_the_image_itself(model):
    network, sampler = load_denoiser(model)
    images = draw()
    assert torch.equal(edit(network, sampler, images, range(4), strength=0.0, steps=10), images)


def test_a_variation_follows_from_image_and_seed(model):
    network, sampler = load_denoiser(model)
    images = draw()
    together = edit(network, sampler, images, range(4), strength=0.5, steps=10)
    alone = edit(network, sampler, images[2:3], [2], strength=0.5, steps=10)
    torch.testing.assert_close(together[2:3], alone, atol=1e-5, rtol=0)
    assert not torch.allclose(
        edit(network, sampler, images[2:3], [7], strength=0.5, steps=10), alone, atol=1e-3
    )
    assert together.min() >= 0
    assert together.max() <= 1


def test_a_perfect_denoiser_gives_the_image_back():
    """With the true noise as its answer, DDIM ends where it started, at any strength."""
    noising = build_noising(SdeditConfig(size=8, channels=1, timesteps=1000))
    sampler = DDIMScheduler.from_config(noising.config)
    images = draw()

    def network(sample, time):
        alpha = sampler.alphas_cumprod[time]
        sample = (sample - alpha.sqrt() * (2 * images - 1)) / (1 - alpha).sqrt()
        return type("Output", (), {"sample": sample})

    for strength in (0.3, 0.9):
        made = edit(network, sampler, images, range(4), strength=strength, steps=20)
        torch.testing.assert_close(made, images, atol=2e-3, rtol=0)


def test_diffusers_own_pipeline_loads_the_folder(model):
    found = DDPMPipeline.from_pretrained(model, use_safetensors=True)
    assert found.unet.config.sample_size == 8
    assert not list(model.rglob("*.bin"))


def test_training_lowers_the_loss_and_writes_a_generator(tmp_path):
    pixels = np.zeros((64, 1, 8, 8), np.uint8)
    pixels[:, :, 2:6, 2:6] = 255
    config = TrainGeneratorConfig(
        source="x", out=tmp_path / "run", network=TINY, steps=60, batch_size=16, learning_rate=3e-3, ema=0.9,
        flip=True, runtime=CPU,
    )  # fmt: skip
    train_generator(pixels, config)
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    column = rows[0].split(",").index("train_loss")
    losses = [float(row.split(",")[column]) for row in rows[1:] if row.split(",")[column]]
    assert losses[-1] < 0.7 * losses[0]
    generator = build_generator(
        GeneratorConfig(kind="sdedit", model=str(tmp_path / "run" / "generator"), steps=10), device="cpu"
    )
    assert isinstance(generator, Sdedit)
    twins = generator.vary(pixels[:8], range(8))
    inside, outside = twins[:, :, 3:5, 3:5].mean(), twins[:, :, 0].mean()
    assert inside > outside + 0.3


def test_a_folder_of_any_size_is_trained_on(folder, tmp_path):
    config = TrainGeneratorConfig(
        source=str(folder), out=tmp_path / "run", network=SdeditConfig(size=8, widths=(8, 16)), steps=2,
        batch_size=32, runtime=CPU,
    )  # fmt: skip
    assert train_generator_from_source(config)["images"] == 12


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"widths": (8, 12)}, "multiples of 8"),
        ({"size": 10, "widths": (8, 8, 8)}, "multiple of 4"),
        ({"size": 0}, "above 0"),
    ],
)
def test_shapes_that_cannot_be_built_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        SdeditConfig(**options)


def test_a_damaged_model_is_named(model):
    weights = next(model.rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(DataError, match="must be a folder of diffusers"):
        load_denoiser(model)
