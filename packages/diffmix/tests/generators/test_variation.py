"""The real Stable Diffusion pipeline classes, with random weights built from configs."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from diffmix.config import GenerateConfig, GeneratorConfig
from diffmix.generation import generate_twins
from diffmix.generators import build_generator
from diffmix.generators.variation import prepare_for_clip
from diffmix.sources import open_source
from isopleth.errors import DataError

# diffusers' DPM-Solver asks torch for an array as NumPy 1 did.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def config(variation_folder) -> GeneratorConfig:
    return GeneratorConfig(model=str(variation_folder), steps=2, guidance=3.0, resolution=64)


def read_images(folder, count=4):
    source = open_source(folder)
    return [source.read(number) for number in range(count)], source.ids[:count]


@pytest.mark.parametrize("scheduler", ["own", "ddim", "dpm++"])
def test_a_twin_depends_on_its_image_and_seed_alone(folder, config, scheduler):
    generator = build_generator(GeneratorConfig(**{**vars(config), "scheduler": scheduler}), device="cpu")
    images, ids = read_images(folder, 3)
    together = generator.generate(images, ids, [1, 2, 3])
    assert [twin.shape for twin in together] == [(64, 64, 3)] * 3
    alone = generator.generate(images[1:2], ids[1:2], [2])[0]
    assert np.abs(together[1] - alone).max() < 2e-3
    other = generator.generate(images[1:2], ids[1:2], [9])[0]
    assert np.abs(other - alone).max() > 0.02


def test_the_whole_command_with_the_real_pipeline(folder, config, tmp_path):
    generator = build_generator(config, device="cpu")
    settings = GenerateConfig(source=str(folder), out=tmp_path / "twins", generator=config, batch_size=12)
    done = generate_twins(open_source(folder), generator, settings)
    assert (done["made"], done["failed"]) == (12, 0)
    head = json.loads((tmp_path / "twins" / "manifest-00000-of-00001.jsonl").read_text().partition("\n")[0])
    made_by = head["settings"]["generator"]
    assert (made_by["kind"], made_by["steps"], made_by["guidance"]) == ("sd-variation", 2, 3.0)
    assert len(made_by["weights"]) == 64
    with Image.open(tmp_path / "twins" / "class-0" / "00.png") as twin:
        assert twin.size == (64, 64)


def test_nan_in_the_pipeline_is_caught(folder, config, tmp_path):
    generator = build_generator(config, device="cpu")
    torch.nn.init.constant_(generator.pipeline.unet.conv_out.weight, float("nan"))
    settings = GenerateConfig(source=str(folder), out=tmp_path / "twins", batch_size=12, retries=0)
    done = generate_twins(open_source(folder), generator, settings)
    assert (done["made"], done["failed"]) == (0, 12)


def test_clip_sees_the_published_resize(folder):
    images, _ = read_images(folder, 2)
    ready = prepare_for_clip([image.convert("RGB") for image in images])
    assert ready.shape == (2, 3, 224, 224)
    small = torch.nn.functional.interpolate(
        torch.from_numpy(np.array(images[0])).permute(2, 0, 1)[None].float() / 255,
        size=(224, 224),
        mode="bicubic",
        align_corners=False,
        antialias=False,
    )
    mean, std = (
        torch.tensor([0.48145466, 0.4578275, 0.40821073]),
        torch.tensor([0.26862954, 0.26130258, 0.27577711]),
    )
    expected = (small - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    torch.testing.assert_close(ready[:1], expected, atol=1e-4, rtol=1e-4)


def test_the_pipelines_own_preprocessing_can_be_chosen(folder, config):
    generator = build_generator(
        GeneratorConfig(**{**vars(config), "preprocessing": "pipeline"}), device="cpu"
    )
    images, ids = read_images(folder, 1)
    assert generator.generate(images, ids, [1])[0].shape == (64, 64, 3)


def test_nothing_is_fetched_unless_asked(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    with pytest.raises(DataError, match="nothing is fetched unless asked") as caught:
        build_generator(GeneratorConfig(model="owner/never-here"), device="cpu")
    assert "--generator.download true" in str(caught.value)


def test_a_folder_that_is_no_model_is_named(tmp_path):
    with pytest.raises(DataError, match="must be a folder of diffusers"):
        build_generator(GeneratorConfig(model=str(tmp_path)), device="cpu")


@pytest.fixture
def from_image(img2img_folder) -> GeneratorConfig:
    return GeneratorConfig(
        kind="img2img", model=str(img2img_folder), steps=4, strength=0.5, resolution=32, prompt="a photo"
    )


def test_image_to_image_depends_on_its_image_and_seed_alone(folder, from_image):
    generator = build_generator(from_image, device="cpu")
    assert type(generator.pipeline).__name__ == "StableDiffusionImg2ImgPipeline"
    images, ids = read_images(folder, 2)
    together = generator.generate(images, ids, [1, 2])
    assert [twin.shape for twin in together] == [(32, 32, 3)] * 2
    alone = generator.generate(images[1:], ids[1:], [2])[0]
    assert np.abs(together[1] - alone).max() < 1e-4
    for other in (generator.generate(images[1:], ids[1:], [9]), generator.generate(images[:1], ids[:1], [2])):
        assert np.abs(other[0] - alone).max() > 5e-3
    settings = generator.describe()
    assert (settings["kind"], settings["strength"], settings["prompt"]) == ("img2img", 0.5, "a photo")
    assert len(settings["weights"]) == 64


def test_image_to_image_does_what_the_config_says(folder, from_image):
    generator = build_generator(from_image, device="cpu")
    images, ids = read_images(folder, 1)
    first = generator.generate(images, ids, [1])[0]
    for change in ({"prompt": "a ship"}, {"strength": 1.0}, {"steps": 8}, {"guidance": 9.0}):
        other = type(generator)(generator.pipeline, replace(from_image, **change))
        assert np.abs(other.generate(images, ids, [1])[0] - first).max() > 1e-3, change
    assert np.array_equal(generator.generate(images, ids, [1])[0], first)
