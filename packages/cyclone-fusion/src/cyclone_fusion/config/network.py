"""The shape of the network, and what a trained one must remember."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cyclone_fusion.config.data import SampleConfig, SplitConfig, WindowConfig
from isopleth.config import check_positive
from isopleth.errors import ConfigError

StreamName = Literal["track", "wind", "pressure"]
STREAMS: tuple[StreamName, ...] = ("track", "wind", "pressure")


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The streams and how they meet; the defaults are as published.

    Parameters
    ----------
    streams : tuple of str
        Any of `track`, `wind`, `pressure`. A single one is used by itself.
    track_hidden : tuple of int
        Widths of the track stream's hidden layers.
    convolutions : tuple of int
        Channels of an image stream's 3x3 convolutions; each but the first is followed by 2x2 pooling.
    dense : tuple of int
        Widths of the layers after them; the last is what is fused.
    correct_persistence : bool
        Predict the difference from persistence; the published network predicts the displacement itself.
    hemisphere : str
        Southern storms as they are (`as_is`), or mirrored at the equator (`mirror`), so that one network
        sees one kind of storm.
    density : bool
        Also predict a bivariate normal density of the error.
    """

    streams: tuple[StreamName, ...] = STREAMS
    track_hidden: tuple[int, ...] = (8,)
    convolutions: tuple[int, ...] = (64, 64, 256)
    dense: tuple[int, ...] = (576, 128, 64)
    correct_persistence: bool = False
    hemisphere: Literal["as_is", "mirror"] = "as_is"
    density: bool = False

    def __post_init__(self) -> None:
        for name in ("streams", "track_hidden", "convolutions", "dense"):
            values = tuple(getattr(self, name))
            object.__setattr__(self, name, values)
            if not values:
                raise ConfigError(f"network.{name} must name at least one, got none")
            if name != "streams":
                check_positive(**{f"network.{name}[{i}]": width for i, width in enumerate(values)})
        if len(set(self.streams)) != len(self.streams) or not set(self.streams) <= set(STREAMS):
            raise ConfigError(f"network.streams must be among {STREAMS}, each once, got {self.streams}")

    @property
    def images(self) -> tuple[StreamName, ...]:
        """The streams that see fields."""
        return tuple(name for name in self.streams if name != "track")


@dataclass(frozen=True, kw_only=True)
class FusionConfig:
    """What a trained network must remember: how its samples were cut, its shape, and its test storms.

    Parameters
    ----------
    sample : SampleConfig
    window : WindowConfig
    network : NetworkConfig
    trained_on : SplitConfig, optional
        The split it was trained by, which `train` notes here: `evaluate` never scores a storm that trained.
    """

    sample: SampleConfig = SampleConfig()
    window: WindowConfig = WindowConfig()
    network: NetworkConfig = NetworkConfig()
    trained_on: SplitConfig | None = None
