"""Encoders of timm, and the heads above them."""

from __future__ import annotations

from typing import Any

import timm
import torch
from lightly.models.modules.heads import ProjectionHead  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn import functional

from diffmix.config import EncoderConfig, MethodConfig
from isopleth.errors import ConfigError


class Encoder(nn.Module):
    """A network of timm that sees images from 0 to 1.

    Parameters
    ----------
    network : Module
        Without a classifier: from (batch, channel, row, column) to (batch, feature).
    config : EncoderConfig
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, config: EncoderConfig) -> None:
        super().__init__()
        self.network, self.config = network, config
        for name in ("mean", "std"):
            values = torch.tensor(getattr(config, name)).view(1, -1, 1, 1)
            self.register_buffer(name, values, persistent=False)
        self.dim = int(network.num_features)  # type: ignore[arg-type] # every network of timm has it

    def forward(self, images: Tensor) -> Tensor:
        """Return features, shape (batch, feature)."""
        return self.network((images - self.mean) / self.std)


def build_encoder(config: EncoderConfig, *, crops: bool = False) -> Encoder:
    """Build an encoder.

    Parameters
    ----------
    config : EncoderConfig
    crops : bool
        It will see images of several sizes: a vision transformer then interpolates its positions.

    Raises
    ------
    ConfigError
        If timm has no such network or does not take its arguments.
    """
    options: dict[str, Any] = {name: _as_tuples(value) for name, value in config.args.items()}
    if "vit" in config.name:
        options.setdefault("img_size", config.image_size)
        options.setdefault("dynamic_img_size", crops)
    try:
        network = timm.create_model(
            config.name, pretrained=config.pretrained, num_classes=0, in_chans=config.channels, **options
        )
    except (RuntimeError, TypeError, ValueError, AttributeError, AssertionError) as error:
        raise ConfigError(
            f"encoder must be a network of timm with arguments it takes, got {type(error).__name__}: {error}",
            where=config.name,
        ) from error
    return Encoder(network.to(memory_format=_layout(network)), config)


def build_projector(dim: int, config: MethodConfig) -> nn.Module:
    """Build the head of SimCLR or Barlow Twins: one hidden layer with batch norm, as released."""
    return ProjectionHead(
        [
            (dim, config.hidden_dim, nn.BatchNorm1d(config.hidden_dim), nn.ReLU()),
            (config.hidden_dim, config.output_dim, None, None),
        ]
    )


class PrototypeHead(nn.Module):
    """DINO's head: three layers, a bottleneck on the sphere, and prototypes of length 1.

    Prototypes are normalised where they are used, which is weight normalisation with its length held at 1:
    the hook of ``nn.utils.weight_norm`` that lightly's head has is deprecated, and cannot be copied after a
    forward pass.

    Parameters
    ----------
    dim : int
    config : MethodConfig
    """

    def __init__(self, dim: int, config: MethodConfig) -> None:
        super().__init__()
        hidden, bottleneck = config.hidden_dim, config.bottleneck_dim
        self.layers = ProjectionHead(
            [
                (dim, hidden, None, nn.GELU()),
                (hidden, hidden, None, nn.GELU()),
                (hidden, bottleneck, None, None),
            ]
        )
        for module in self.layers.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        self.prototypes = nn.Parameter(torch.empty(config.output_dim, bottleneck))
        nn.init.kaiming_uniform_(self.prototypes, a=5**0.5)

    def forward(self, features: Tensor) -> Tensor:
        """Return the cosine with each prototype, shape (batch, prototype)."""
        directions = functional.normalize(self.layers(features), dim=-1)
        return functional.linear(directions, functional.normalize(self.prototypes, dim=-1))


def _as_tuples(value: Any) -> Any:
    """Turn YAML's lists into the tuples that timm's networks take."""
    return tuple(value) if isinstance(value, list) else value


def _layout(network: nn.Module) -> torch.memory_format:
    """Return channels last for convolutions, which is the faster one for them."""
    convolutions = sum(isinstance(module, nn.Conv2d) for module in network.modules())
    return torch.channels_last if convolutions > 1 else torch.contiguous_format
