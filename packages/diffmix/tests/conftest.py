"""Miniature folders, a tiny encoder, and Stable Diffusion built from configs: nothing is fetched."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffmix.config import EncoderConfig, FitConfig, GenerateConfig, MethodConfig, TrainConfig, ViewConfig
from diffmix.generation import generate_twins
from diffmix.pairs import Pairs
from diffmix.sources import open_source
from isopleth.train import Runtime

CPU = Runtime(accelerator="cpu", threads=1)
# A transformer has no batch norm: two processes then give what one does.
TINY_VIT = EncoderConfig(
    name="vit_tiny_patch16_224",
    image_size=16,
    mean=(0.5,),
    std=(0.5,),
    args={"embed_dim": 24, "depth": 2, "num_heads": 3, "patch_size": 4},
)


def paint(seed: int, size: tuple[int, int] = (20, 24), channels: int = 3) -> np.ndarray:
    """Waves of a class of their own, with noise: (row, column, channel) in bytes."""
    random = np.random.default_rng(seed)
    wave = np.sin(np.arange(size[1]) * (1 + seed % 3))[None, :, None]
    noise = random.normal(size=(*size, channels))
    return (127 + 60 * wave + 30 * noise).clip(0, 255).astype(np.uint8)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Twelve images in three classes, of several sizes and endings."""
    root = tmp_path / "real"
    for number in range(12):
        name = f"{number:02d}.{('png', 'jpg', 'webp')[number % 3]}"
        place = root / f"class-{number % 3}" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(paint(number, (20 + number, 24))).save(place)
    return root


class Negative:
    """A generator whose twin is its image's negative."""

    def describe(self):
        return {"kind": "negative"}

    def generate(self, images, ids, seeds):
        return [1 - np.asarray(image, np.float32) / 255 for image in images]


@pytest.fixture
def negatives(folder, tmp_path) -> Path:
    """Two twins of each image of the folder, with their manifest."""
    config = GenerateConfig(source=str(folder), out=tmp_path / "twins", twins=2)
    generate_twins(open_source(folder), Negative(), config)
    return config.out


@pytest.fixture
def pairs() -> Pairs:
    """Forty pairs whose twin is its image's negative: whoever mixes them up is found out."""
    real = np.stack([paint(seed, (16, 16)).transpose(2, 0, 1) for seed in range(40)])
    return Pairs(
        real=real,
        synthetic=(255 - real)[:, None],
        labels=np.arange(40) % 3,
        ids=tuple(f"{place:03d}" for place in range(40)),
    )


@pytest.fixture
def settings(tmp_path) -> TrainConfig:
    return TrainConfig(
        pairs=tmp_path / "pairs.zarr",
        out=tmp_path / "run",
        encoder=TINY_VIT,
        method=MethodConfig(hidden_dim=32, output_dim=16, bottleneck_dim=8, temperature=0.2),
        views=ViewConfig(n_local=3, n_local_synthetic=1, local_size=8),
        fit=FitConfig(steps=3, batch_size=8),
        runtime=CPU,
    )


def build_latent_diffusion() -> dict[str, torch.nn.Module]:
    """Build what the pipelines of Stable Diffusion share, from configs alone, with random weights."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        sample_size=32,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
    )
    vae = AutoencoderKL(
        block_out_channels=[32, 64], in_channels=3, out_channels=3, latent_channels=4,
        down_block_types=["DownEncoderBlock2D", "DownEncoderBlock2D"],
        up_block_types=["UpDecoderBlock2D", "UpDecoderBlock2D"],
    )  # fmt: skip
    return {"unet": unet, "vae": vae}


def build_variation():
    """Build the real pipeline class with random weights: 1.7 million."""
    from diffusers import PNDMScheduler, StableDiffusionImageVariationPipeline
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    parts = build_latent_diffusion()
    eye = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=32,
            projection_dim=32,
            intermediate_size=37,
            num_attention_heads=4,
            num_hidden_layers=2,
            image_size=32,
            patch_size=4,
        )
    )
    return StableDiffusionImageVariationPipeline(
        **parts, image_encoder=eye.eval(), scheduler=PNDMScheduler(skip_prk_steps=True),
        safety_checker=None, feature_extractor=CLIPImageProcessor(crop_size=32, size=32),
        requires_safety_checker=False,
    )  # fmt: skip


def build_img2img():
    """Build the real pipeline class with random weights, and a tokenizer that spells."""
    from diffusers import PNDMScheduler, StableDiffusionImg2ImgPipeline
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    parts = build_latent_diffusion()
    special = ["<|startoftext|>", "<|endoftext|>"]
    letters = [letter + end for letter in "abcdefghijklmnopqrstuvwxyz" for end in ("", "</w>")]
    vocabulary = {word: number for number, word in enumerate([*special, *letters])}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)
    reader = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(vocabulary),
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
            hidden_size=32,
            intermediate_size=37,
            num_attention_heads=4,
            num_hidden_layers=2,
        )
    )
    return StableDiffusionImg2ImgPipeline(
        **parts, text_encoder=reader.eval(), tokenizer=tokenizer,
        scheduler=PNDMScheduler(skip_prk_steps=True, steps_offset=1), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


@pytest.fixture(scope="session")
def variation_folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("models") / "variation"
    build_variation().save_pretrained(path, safe_serialization=True)
    return path


@pytest.fixture(scope="session")
def img2img_folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("models") / "img2img"
    build_img2img().save_pretrained(path, safe_serialization=True)
    return path
