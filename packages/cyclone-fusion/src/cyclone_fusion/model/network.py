"""The whole network: physical inputs in, displacements in the samples' frame out."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cyclone_fusion.config import FusionConfig
from cyclone_fusion.config.data import STEP_HOURS
from cyclone_fusion.config.network import StreamName
from cyclone_fusion.data import FEATURES
from cyclone_fusion.model.fusion import Fusion
from cyclone_fusion.model.streams import ImageStream, Stream, TrackStream
from isopleth.train import Pretrained

# Predictors that change sign when a storm is mirrored at the equator.
_NORTHWARD = tuple(FEATURES.index(name) for name in ("north_last_6h", "north_6h_before", "lat"))
_LAT = FEATURES.index("lat")


class FusedNetwork(nn.Module, Pretrained):
    """Forecast displacements from the track and from the wind and pressure around the storm.

    Inputs are standardised inside, with training statistics that travel with the weights; an unknown (NaN)
    stands at its training mean. With ``hemisphere="mirror"`` southern storms are turned into northern ones
    (northward components change sign, windows are flipped, geopotential is kept) and the forecast is turned
    back.

    Parameters
    ----------
    config : FusionConfig

    Attributes
    ----------
    density_factor : Tensor, shape (lead,)
        Radius of the 90 % ellipse in units of the predicted one, from validation storms; 0 before.
    """

    feature_mean: Tensor
    feature_scale: Tensor
    image_mean: Tensor
    image_scale: Tensor
    target_scale: Tensor
    leads: Tensor
    density_factor: Tensor
    image_sign: Tensor

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        self.config = config
        network, count = config.network, len(config.sample.lead_hours)
        channels = len(config.window.channels)
        self._buffers_for(channels, count)
        outputs = 2 * count
        self.streams = nn.ModuleDict({name: self._build(name, outputs) for name in network.streams})
        if len(network.streams) > 1:
            self.fusion = Fusion(self._streams, outputs)
        if network.density:
            self.density = nn.Linear(sum(stream.width for stream in self._streams), 3 * count)
            # Far from the training data a spread must not explode: it starts flat.
            nn.init.zeros_(self.density.weight)
            nn.init.zeros_(self.density.bias)

    def _buffers_for(self, channels: int, leads: int) -> None:
        self.register_buffer("feature_mean", torch.zeros(len(FEATURES)))
        self.register_buffer("feature_scale", torch.ones(len(FEATURES)))
        self.register_buffer("image_mean", torch.zeros(channels, 1, 1))
        self.register_buffer("image_scale", torch.ones(channels, 1, 1))
        self.register_buffer("target_scale", torch.ones(leads, 1))
        self.register_buffer("density_factor", torch.zeros(leads))
        hours = torch.tensor(self.config.sample.lead_hours, dtype=torch.float32)
        self.register_buffer("leads", hours, persistent=False)
        northward = [
            name.startswith("v_component") or "northward" in name for name in self.config.window.channels
        ]
        self.register_buffer("image_sign", 1.0 - 2.0 * torch.tensor(northward).float(), persistent=False)

    def _build(self, name: str, outputs: int) -> Stream:
        network, window = self.config.network, self.config.window
        if name == "track":
            return TrackStream(len(FEATURES), network.track_hidden, outputs)
        places = window.channels_of("wind" if name == "wind" else "pressure")
        self.register_buffer(f"{name}_channels", torch.tensor(places, dtype=torch.long), persistent=False)
        return ImageStream(len(places), window.size, network.convolutions, network.dense, outputs)

    @property
    def _streams(self) -> list[Stream]:
        return [self.streams[name] for name in self.config.network.streams]  # type: ignore[misc]

    @property
    def sees_fields(self) -> bool:
        """Whether it needs windows."""
        return bool(self.config.network.images)

    def forward(
        self,
        features: Float[Tensor, "sample feature"],
        windows: Float[Tensor, "sample channel row column"] | None = None,
    ) -> Float[Tensor, "sample lead two"]:
        """Forecast displacements (east, north) in the samples' frame.

        Parameters
        ----------
        features : Tensor
            The nine predictors, physical units; NaN is an unknown.
        windows : Tensor, optional
            All channels of `WindowConfig.channels`, SI units; NaN is an unknown. Not looked at by a network
            of the track alone.
        """
        return self.decide(self.embed(features, windows), features)

    def embed(self, features: Tensor, windows: Tensor | None = None) -> Float[Tensor, "sample width"]:
        """Return the embeddings of all streams side by side."""
        inputs = self._inputs(features, windows)
        return torch.cat(
            [stream.body(inputs[name]) for name, stream in zip(inputs, self._streams, strict=True)], -1
        )

    def decide(self, embeddings: Tensor, features: Tensor) -> Float[Tensor, "sample lead two"]:
        """Turn embeddings into displacements; `features` tell persistence and hemisphere."""
        single = len(self.config.network.streams) == 1
        raw = self._streams[0].head(embeddings) if single else self.fusion(embeddings)
        return self._as_displacement(raw, features)

    def forward_stream(
        self, name: str, features: Tensor, windows: Tensor | None
    ) -> Float[Tensor, "sample lead two"]:
        """Forecast by one stream alone."""
        raw = self.streams[name](self._inputs(features, windows, only=name)[name])
        return self._as_displacement(raw, features)

    def spread(
        self, embeddings: Tensor, features: Tensor
    ) -> tuple[Float[Tensor, "sample lead"], Float[Tensor, "sample lead"], Float[Tensor, "sample lead"]]:
        r"""Return the lower Cholesky factor of the error's covariance, in the frame's units.

        :math:`\Sigma = L L^T` with :math:`L = ((a, 0), (c, b))`, east before north; a and b above 0.
        """
        raw = self.density(embeddings).unflatten(-1, (-1, 3))
        a, b = (self.target_scale[:, 0] * torch.exp(raw[..., i].clamp(-5, 3)) for i in (0, 1))
        shear = raw[..., 2] * self._north_sign(features)[:, None]
        return a, b, shear * self.target_scale[:, 0]

    @torch.no_grad()
    def standardise(self, features: Tensor, target: Tensor, windows: Tensor | None) -> None:
        """Take the statistics of the training samples; NaN is left out.

        Parameters
        ----------
        features : Tensor, shape (sample, feature)
        target : Tensor, shape (sample, lead, 2)
        windows : Tensor, shape (sample, channel, row, column), optional
        """
        south = self._south(features)
        mean, scale = _moments(self._mirror_features(features, south).double(), dims=(0,))
        self.feature_mean.copy_(mean)
        self.feature_scale.copy_(scale)
        known = torch.isfinite(target)
        square = torch.where(known, target, 0).double().square().sum((0, 2)) / known.sum((0, 2)).clamp(min=1)
        self.target_scale.copy_(square.sqrt()[:, None].clamp(min=1e-6))
        if windows is not None:
            for channel in range(windows.shape[1]):  # one at a time: a mirrored copy of all would be large
                values = windows[:, channel].double()
                if self.config.network.hemisphere == "mirror":
                    values = torch.where(south[:, None, None], values * self.image_sign[channel], values)
                mean, scale = _moments(values, dims=(0, 1, 2))
                self.image_mean[channel], self.image_scale[channel] = mean, scale

    @torch.no_grad()
    def start_fusion(self) -> None:
        """Let the fused forecast begin as the mean of the streams' forecasts."""
        self.fusion.start_from(self._streams)

    def extract(self, name: StreamName) -> FusedNetwork:
        """Copy one stream out, as a network that forecasts from it alone."""
        network = replace(self.config.network, streams=(name,), density=False)
        alone = FusedNetwork(replace(self.config, network=network))
        state = self.state_dict()
        alone.load_state_dict({key: state[key].clone() for key in alone.state_dict()})
        return alone.eval()

    def _inputs(self, features: Tensor, windows: Tensor | None, only: str | None = None) -> dict[str, Tensor]:
        """Standardise what each stream sees."""
        if features.ndim != 2 or features.shape[1] != len(FEATURES):
            raise ValueError(f"expected (sample, {len(FEATURES)}) features, got {tuple(features.shape)}")
        names = [only] if only else list(self.config.network.streams)
        south = self._south(features)
        found: dict[str, Tensor] = {}
        for name in names:
            if name == "track":
                x = self._mirror_features(features, south)
                found[name] = torch.nan_to_num((x - self.feature_mean) / self.feature_scale, nan=0.0)
            else:
                found[name] = self._image(name, windows, south)
        return found

    def _image(self, name: str, windows: Tensor | None, south: Tensor) -> Tensor:
        size, channels = self.config.window.size, len(self.config.window.channels)
        if windows is None or tuple(windows.shape[1:]) != (channels, size, size):
            got = None if windows is None else tuple(windows.shape)
            raise ValueError(f"expected (sample, {channels}, {size}, {size}) windows, got {got}")
        places = self.get_buffer(f"{name}_channels")
        x = windows[:, places]
        if self.config.network.hemisphere == "mirror":
            # Rows ascend in latitude, so that a mirrored window is upside down.
            x = torch.where(south[:, None, None, None], x.flip(-2) * self.image_sign[places, None, None], x)
        return torch.nan_to_num((x - self.image_mean[places]) / self.image_scale[places], nan=0.0)

    def _as_displacement(self, raw: Tensor, features: Tensor) -> Tensor:
        moved = raw.unflatten(-1, (-1, 2)) * self.target_scale
        turned = torch.stack([moved[..., 0], moved[..., 1] * self._north_sign(features)[:, None]], -1)
        if self.config.network.correct_persistence:
            turned = turned + features[:, None, :2] * (self.leads / STEP_HOURS)[:, None]
        return turned

    def _south(self, features: Tensor) -> Tensor:
        mirrored = self.config.network.hemisphere == "mirror"
        return (features[:, _LAT] < 0) & mirrored

    def _north_sign(self, features: Tensor) -> Tensor:
        return 1.0 - 2.0 * self._south(features).to(features.dtype)

    def _mirror_features(self, features: Tensor, south: Tensor) -> Tensor:
        sign = torch.ones_like(features)
        sign[:, _NORTHWARD] = torch.where(south, -1.0, 1.0)[:, None].to(features.dtype)
        return features * sign


def _moments(values: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation without NaN; a constant has the deviation 1."""
    known = torch.isfinite(values)
    count = known.sum(dims).clamp(min=1)
    mean = torch.where(known, values, 0).sum(dims) / count
    variance = (torch.where(known, values - mean, 0) ** 2).sum(dims) / count
    return mean, torch.where(variance > 0, variance.sqrt(), 1)
