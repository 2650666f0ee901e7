"""The network: a vision transformer of timm or transformers, and a linear head on its class token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from block_expansion.config import BackboneConfig
from isopleth.errors import DataError
from isopleth.train.pretrained import load_weights

Moments = tuple[Sequence[float], Sequence[float]]


class Classifier(nn.Module):
    """A backbone and a linear head.

    Parameters
    ----------
    backbone : Module
        Maps images (batch, channel, row, column) to features (batch, feature), or to an output of
        transformers, whose class token after the last norm is taken.
    dim : int
        Features.
    classes : int
    moments : pair of sequences of float
        Mean and standard deviation of each channel of what it was trained with, images from 0 to 1.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: nn.Module, dim: int, classes: int, moments: Moments = ((0.5,), (0.5,))
    ) -> None:
        super().__init__()
        self.backbone = backbone
        for name, values in zip(("mean", "std"), moments, strict=True):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1), persistent=False)
        self.head = self._draw_head(dim, classes)

    def renew_head(self, classes: int) -> None:
        """Put a new head in place of the old one."""
        self.head = self._draw_head(self.head.in_features, classes).to(self.head.weight.device)

    @staticmethod
    def _draw_head(dim: int, classes: int) -> nn.Linear:
        head = nn.Linear(dim, classes)
        nn.init.trunc_normal_(head.weight, std=0.02)
        nn.init.zeros_(head.bias)
        return head

    def features(self, images: Tensor) -> Tensor:
        """Return the class token after the last norm, shape (batch, feature).

        Images are from 0 to 1, or bands in the units of the moments; a missing pixel (NaN) counts as
        the mean.
        """
        result = self.backbone(((images - self.mean) / self.std).nan_to_num(nan=0.0))
        return result if isinstance(result, Tensor) else result.last_hidden_state[:, 0]

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, shape (batch, class)."""
        return self.head(self.features(images))


def build_classifier(config: BackboneConfig, classes: int, moments: Moments | None = None) -> Classifier:
    """Build a classifier with a new head.

    Weights for three channels are spread over another number as timm does: repeated over the channels, and
    scaled so that equal channels give what they gave before.

    Parameters
    ----------
    config : BackboneConfig
    classes : int
    moments : pair of sequences of float, optional
        Mean and standard deviation of each channel; else what pretrained weights expect.

    Raises
    ------
    DataError
        If the library has no such model, or the weights do not fit.
    """
    stored = _count_stored_channels(config)
    try:
        built = replace(config, channels=stored)
        backbone = _build_timm(built) if config.library == "timm" else _build_transformers(built)
    # A network of convolutions knows no image_size (TypeError), heads must divide dim (AssertionError).
    except (OSError, RuntimeError, ValueError, TypeError, AssertionError) as error:
        raise DataError(
            f"the backbone must be a vision transformer of {config.library}, got "
            f"{type(error).__name__}: {error}",
            where=config.name,
        ) from error
    if config.checkpoint is not None:
        load_weights(backbone, Path(config.checkpoint))
    if stored != config.channels:
        widen_patch_embedding(backbone, config.channels)
    moments = moments or _find_moments(backbone, config)
    return Classifier(backbone, _count_features(backbone), classes, moments)


def widen_patch_embedding(backbone: nn.Module, channels: int) -> None:
    r"""Spread the patch embedding's weights over another number of channels, in place.

    Weights :math:`w_c` of three channels become :math:`\tfrac{3}{n} w_{c \bmod 3}` of n, and their sum for
    one channel, by `timm.models.adapt_input_conv`.
    """
    from timm.models import adapt_input_conv

    name, old = next((n, m) for n, m in backbone.named_modules() if isinstance(m, nn.Conv2d))
    weight = adapt_input_conv(channels, old.weight.detach())
    new = nn.Conv2d(
        channels, old.out_channels, _pair(old.kernel_size), _pair(old.stride), bias=old.bias is not None
    )
    new.weight, new.bias = nn.Parameter(weight), old.bias
    parent = backbone.get_submodule(name.rpartition(".")[0])
    setattr(parent, name.rpartition(".")[2], new)
    # transformers compares the images with these.
    settings: Any = getattr(backbone, "config", None)
    for holder in (parent, settings):
        if hasattr(holder, "num_channels"):
            holder.num_channels = channels


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    rows, columns = values
    return rows, columns


def _count_stored_channels(config: BackboneConfig) -> int:
    """Give the channels of the weights that will be loaded; timm spreads its own while it loads them."""
    if config.checkpoint is not None:
        try:
            shapes = [tuple(tensor.shape) for tensor in load_file(config.checkpoint).values()]
        except (SafetensorError, OSError) as error:
            raise DataError(
                f"a checkpoint must be a whole safetensors file, got {error}", where=config.checkpoint
            ) from error
        return next((shape[1] for shape in shapes if len(shape) == 4), config.channels)
    return 3 if config.library == "transformers" and config.pretrained else config.channels


def base_classifier(network: nn.Module) -> Classifier:
    """Give the classifier that an adapter may be wrapped around."""
    found = network.get_base_model() if isinstance(network, PeftModel) else network
    assert isinstance(found, Classifier)
    return found


def count_parameters(network: nn.Module) -> int:
    """Count what learns, a shared tensor once."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def _build_timm(config: BackboneConfig) -> nn.Module:
    import timm

    sizes = (config.dim, config.depth, config.heads, config.patch_size)
    names = ("embed_dim", "depth", "num_heads", "patch_size")
    shape: dict[str, Any] = {n: size for n, size in zip(names, sizes, strict=True) if size is not None}
    return timm.create_model(
        config.name, pretrained=config.pretrained, num_classes=0, img_size=config.image_size,
        in_chans=config.channels, **shape,
    )  # fmt: skip


def _build_transformers(config: BackboneConfig) -> nn.Module:
    from transformers import AutoConfig, AutoModel

    settings = AutoConfig.from_pretrained(config.name)
    settings = getattr(settings, "vision_config", settings)
    if not config.pretrained:
        names = {"dim": "hidden_size", "depth": "num_hidden_layers", "heads": "num_attention_heads"}
        names |= {"patch_size": "patch_size", "image_size": "image_size", "channels": "num_channels"}
        for name, theirs in names.items():
            if (value := getattr(config, name)) is not None:
                setattr(settings, theirs, value)
        return AutoModel.from_config(settings)
    model: nn.Module = AutoModel.from_pretrained(config.name, use_safetensors=True)
    return getattr(model, "vision_model", model)


def _find_moments(backbone: nn.Module, config: BackboneConfig) -> Moments:
    """Find what pretrained weights expect; what was trained on other channels, or here, expects 0.5."""
    if not config.pretrained or config.channels != 3:
        return (0.5,), (0.5,)
    if config.library == "timm":
        settings: Any = backbone.pretrained_cfg
        return settings["mean"], settings["std"]
    from transformers import AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained(config.name)
    return processor.image_mean, processor.image_std


def _count_features(backbone: nn.Module) -> int:
    settings: Any = getattr(backbone, "config", None)
    width: Any = backbone.num_features if settings is None else settings.hidden_size
    return int(width)


class SplitProjection(nn.Module):
    """A fused map to queries, keys and values, as three maps: what LoRA on queries and values needs.

    Parameters
    ----------
    fused : Linear
        Its rows are queries, then keys, then values, a third each.
    """

    def __init__(self, fused: nn.Linear) -> None:
        super().__init__()
        for name, weight, bias in zip(
            ("q_proj", "k_proj", "v_proj"),
            fused.weight.chunk(3),
            (None,) * 3 if fused.bias is None else fused.bias.chunk(3),
            strict=True,
        ):
            part = nn.Linear(fused.in_features, len(weight), bias=bias is not None, device=weight.device)
            part.weight = nn.Parameter(weight.detach().clone())
            if bias is not None:
                part.bias = nn.Parameter(bias.detach().clone())
            self.add_module(name, part)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return queries, keys and values side by side."""
        return torch.cat([part(tokens) for part in self.children()], dim=-1)
