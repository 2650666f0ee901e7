"""A small random classifier and two small tasks."""

import numpy as np
import pytest
import torch
from skimage import io

from block_expansion.config import BackboneConfig
from block_expansion.data import Domain, Images
from block_expansion.model import Classifier, build_classifier

BACKBONE = BackboneConfig(
    name="vit_tiny_patch16_224",
    pretrained=False,
    image_size=16,
    channels=1,
    dim=24,
    depth=4,
    heads=3,
    patch_size=4,
)


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    return build_classifier(BACKBONE, 3).eval()


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(1))


def make_task(name: str, seed: int) -> Domain:
    """Stripes of three widths, noisy: a task that little training solves in part."""
    random = np.random.default_rng(seed)

    def draw(count: int) -> Images:
        labels = np.arange(count) % 3
        waves = np.sin(np.arange(16) * np.pi / (labels[:, None] + 1 + seed))[:, None, None, :]
        noise = random.normal(size=(count, 1, 16, 16))
        return Images(pixels=(127 + 60 * waves + 20 * noise).clip(0, 255).astype(np.uint8), labels=labels)

    return Domain(name, ("a", "b", "c"), draw(48), draw(24), draw(30))


@pytest.fixture(scope="session")
def old() -> Domain:
    return make_task("old", 0)


@pytest.fixture(scope="session")
def new() -> Domain:
    return make_task("new", 1)


@pytest.fixture
def folders(tmp_path, old, new):
    for domain in (old, new):
        for part in ("train", "val", "test"):
            images = getattr(domain, part)
            for number, (image, label) in enumerate(zip(images.pixels, images.labels, strict=True)):
                place = tmp_path / domain.name / part / domain.classes[label]
                place.mkdir(parents=True, exist_ok=True)
                io.imsave(place / f"{number}.png", image[0], check_contrast=False)
    return tmp_path
