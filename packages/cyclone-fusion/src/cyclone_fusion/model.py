"""The track stream of the fused network: nine predictors to one displacement."""

from __future__ import annotations

import itertools

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cyclone_fusion.config import TrackModelConfig
from cyclone_fusion.data import FEATURES, STEP_HOURS
from isopleth.train import Pretrained


class TrackNetwork(nn.Module, Pretrained):
    """Predict the displacement over one lead from the track alone.

    As published (Giffard-Roisin et al. 2020, Fig. 3): fully connected, batch normalisation and ReLU after
    each hidden layer, 9 -> 8 -> 2. Predictors are standardised inside, with training statistics that travel
    with the weights; an unknown predictor (NaN) stands at its training mean.

    Parameters
    ----------
    config : TrackModelConfig
        Lead and frame of its samples, hidden widths, and whether the output corrects persistence.
    """

    feature_mean: Tensor
    feature_scale: Tensor
    target_scale: Tensor

    def __init__(self, config: TrackModelConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("feature_mean", torch.zeros(len(FEATURES)))
        self.register_buffer("feature_scale", torch.ones(len(FEATURES)))
        self.register_buffer("target_scale", torch.ones(()))
        self.layers = _perceptron((len(FEATURES), *config.network.hidden), outputs=2)

    def standardise(
        self, features: Float[Tensor, "sample feature"], target: Float[Tensor, "sample two"]
    ) -> None:
        """Take the statistics of the training samples; NaN is left out."""
        known = torch.isfinite(features)
        count = known.sum(0).clamp(min=1)
        mean = torch.where(known, features, 0).sum(0) / count
        variance = (torch.where(known, features - mean, 0) ** 2).sum(0) / count
        self.feature_mean.copy_(mean)
        self.feature_scale.copy_(torch.where(variance > 0, variance.sqrt(), 1))
        self.target_scale.copy_(target.square().mean().sqrt())

    def forward(self, features: Float[Tensor, "sample feature"]) -> Float[Tensor, "sample two"]:
        """Return the displacement (east, north) in the network's frame."""
        if features.ndim != 2 or features.shape[1] != len(FEATURES):
            raise ValueError(f"expected (sample, {len(FEATURES)}) features, got {tuple(features.shape)}")
        x = torch.nan_to_num((features - self.feature_mean) / self.feature_scale, nan=0.0)
        moved = self.layers(x) * self.target_scale
        if self.config.network.correct_persistence:
            moved = moved + features[:, :2] * (self.config.sample.lead_hours / STEP_HOURS)
        return moved


def _perceptron(widths: tuple[int, ...], *, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width, following in itertools.pairwise(widths):
        layers += [nn.Linear(width, following), nn.BatchNorm1d(following), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], outputs))
