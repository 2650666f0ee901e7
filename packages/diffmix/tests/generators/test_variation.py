"""The real Stable Diffusion pipeline classes, with random weights built from configs."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from diffmix.config import GenerateConfig, GeneratorConfig
from diffmix.generation import generate_twins
from diffmix.generators import build_generator
from diffmix.generators.variation import Img2img, prepare_for_clip
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


class Recorder:
    """In place of the pipeline, whose tokenizer cannot be built from a config: notes what it is told."""

    def __init__(self):
        self.told = {}

    def set_progress_bar_config(self, **_):
        pass

    def __call__(self, **options):
        self.told = options
        return type("Output", (), {"images": np.zeros((len(options["image"]), 8, 8, 3))})


def test_image_to_image_is_told_what_the_config_says(folder):
    pipeline = Recorder()
    config = GeneratorConfig(
        kind="img2img", strength=0.4, steps=7, guidance=2.0, prompt="a photo", resolution=32
    )
    images, ids = read_images(folder, 2)
    assert len(Img2img(pipeline, config).generate(images, ids, [1, 2])) == 2
    assert [image.size for image in pipeline.told["image"]] == [(32, 32)] * 2
    assert pipeline.told["prompt"] == ["a photo"] * 2
    assert (pipeline.told["strength"], pipeline.told["num_inference_steps"]) == (0.4, 7)
    assert [generator.initial_seed() for generator in pipeline.told["generator"]] == [1, 2]
