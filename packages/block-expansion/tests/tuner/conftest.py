"""Small random networks of every architecture that is supported, and what is asked of each."""

from collections.abc import Callable

import pytest
import timm
import torch
import transformers as hf
from torch import Tensor, nn

DEPTH = 4
_COMMON = {
    "hidden_size": 24,
    "num_attention_heads": 3,
    "num_hidden_layers": DEPTH,
    "image_size": 16,
    "patch_size": 4,
}
_WIDE = {**_COMMON, "intermediate_size": 48}


def make_timm(**options) -> nn.Module:
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=16, patch_size=4, embed_dim=24, num_heads=3, num_classes=5,
        **{"depth": DEPTH, **options},
    )  # fmt: skip


ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "timm": make_timm,
    "timm, drop path": lambda: make_timm(drop_path_rate=0.5, proj_drop_rate=0.1),
    "timm, layer scale": lambda: make_timm(init_values=1e-5),
    "timm, swiglu": lambda: make_timm(mlp_layer=timm.layers.SwiGLU, init_values=1e-5),
    "timm, packed swiglu": lambda: make_timm(mlp_layer=timm.layers.SwiGLUPacked),
    "timm, EVA": lambda: timm.create_model(
        "eva02_tiny_patch14_224",
        img_size=16,
        patch_size=4,
        embed_dim=24,
        num_heads=3,
        num_classes=5,
        depth=DEPTH,
        init_values=1e-5,
    ),
    "ViT": lambda: hf.ViTModel(hf.ViTConfig(**_WIDE)),
    "DINOv2": lambda: hf.Dinov2Model(hf.Dinov2Config(**_COMMON, layerscale_value=1e-5, drop_path_rate=0.2)),
    "DINOv2, swiglu": lambda: hf.Dinov2Model(hf.Dinov2Config(**_COMMON, use_swiglu_ffn=True)),
    "DINOv2, registers": lambda: hf.Dinov2WithRegistersModel(hf.Dinov2WithRegistersConfig(**_COMMON)),
    "CLIP vision": lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**_WIDE)),
    "SigLIP vision": lambda: hf.SiglipVisionModel(hf.SiglipVisionConfig(**_WIDE)),
}


def compute_tokens(model: nn.Module, images: Tensor) -> Tensor:
    result = model(images)
    return getattr(result, "last_hidden_state", result)


@pytest.fixture
def compute() -> Callable[[nn.Module, Tensor], Tensor]:
    """Give what a network makes of images, whatever it wraps it in."""
    return compute_tokens


@pytest.fixture(params=ARCHITECTURES)
def network(request) -> nn.Module:
    torch.manual_seed(0)
    return ARCHITECTURES[request.param]().eval()


@pytest.fixture
def vit() -> nn.Module:
    torch.manual_seed(0)
    return make_timm().eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def fresh() -> Callable[..., nn.Module]:
    """Make the same network again, to load something into it."""

    def make(**options) -> nn.Module:
        torch.manual_seed(0)
        return make_timm(**options).eval()

    return make


@pytest.fixture
def train_a_little() -> Callable[[nn.Module, Tensor], None]:
    """Take a few large steps towards nothing in particular."""

    def train(model: nn.Module, images: Tensor) -> None:
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.SGD(parameters, lr=0.5)
        for _ in range(3):
            optimizer.zero_grad()
            compute_tokens(model, images).square().mean().backward()
            optimizer.step()

    return train
