"""Patch embeddings for any number of channels: weights are spread as timm spreads them."""

import pytest
import timm
import torch
import transformers as hf
from safetensors.torch import save_file
from timm.models import adapt_input_conv

from block_expansion.config import BackboneConfig
from block_expansion.model import build_classifier, widen_patch_embedding
from isopleth.errors import DataError

_SMALL = {
    "hidden_size": 24,
    "num_attention_heads": 3,
    "num_hidden_layers": 2,
    "intermediate_size": 48,
    "image_size": 16,
    "patch_size": 4,
}
NETWORKS = {
    "timm": lambda: timm.create_model(
        "vit_tiny_patch16_224", img_size=16, patch_size=4, embed_dim=24, depth=2, num_heads=3, num_classes=0
    ),
    "ViT": lambda: hf.ViTModel(hf.ViTConfig(**_SMALL)),
    "DINOv2": lambda: hf.Dinov2Model(hf.Dinov2Config(**{**_SMALL, "intermediate_size": 96})),
    "CLIP vision": lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**_SMALL)),
}


def compute(network, images):
    result = network(images)
    return getattr(result, "last_hidden_state", result)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("channels", [6, 12])
def test_equal_channels_give_what_colours_gave(name, channels):
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    grey = torch.rand(2, 1, 16, 16)
    expected = compute(network, grey.expand(2, 3, 16, 16))
    widen_patch_embedding(network, channels)
    found = compute(network, grey.expand(2, channels, 16, 16))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.fixture
def options():
    return {
        "name": "vit_tiny_patch16_224",
        "pretrained": False,
        "image_size": 16,
        "dim": 24,
        "depth": 4,
        "heads": 3,
        "patch_size": 4,
    }


@pytest.fixture
def colours(options, tmp_path):
    """Give a network for three channels, and a file of its weights."""
    torch.manual_seed(0)
    backbone = build_classifier(BackboneConfig(**options), 3).backbone
    save_file(backbone.state_dict(), tmp_path / "colours.safetensors")
    return backbone, tmp_path / "colours.safetensors"


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_checkpoint_of_colours_is_spread_over_bands(channels, options, colours):
    known, path = colours
    config = BackboneConfig(**options, channels=channels, checkpoint=path)
    found = build_classifier(config, 3).backbone.state_dict()
    weight = "patch_embed.proj.weight"
    assert torch.equal(found[weight], adapt_input_conv(channels, known.state_dict()[weight]))
    assert all(torch.equal(found[k], value) for k, value in known.state_dict().items() if k != weight)


def test_a_checkpoint_that_is_none_is_named(options, tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"no weights")
    with pytest.raises(DataError, match="a checkpoint must be a whole safetensors file"):
        build_classifier(BackboneConfig(**options, checkpoint=path), 3)
