"""The track network: published size, standardisation, save and load, a gradient where it is right."""

import numpy as np
import pytest
import torch

from cyclone_fusion.config import FitConfig, NetworkConfig, SampleConfig, TrackModelConfig
from cyclone_fusion.data import FEATURES
from cyclone_fusion.model import TrackNetwork
from cyclone_fusion.train import TrackTraining

PUBLISHED = TrackModelConfig(network=NetworkConfig(hidden=(8,), correct_persistence=False))


def make_features(samples=64, seed=0):
    return torch.randn(samples, len(FEATURES), generator=torch.Generator().manual_seed(seed)) * 50 + 100


def test_published_stream_is_9_8_2():
    network = TrackNetwork(PUBLISHED)
    # 9·8 + 8, batch normalisation 2·8, 8·2 + 2.
    assert sum(parameter.numel() for parameter in network.parameters()) == 80 + 16 + 18
    assert network(make_features()).shape == (64, 2)


def test_statistics_are_those_of_the_known_values():
    features = make_features(1000)
    features[::3, 4] = torch.nan
    network = TrackNetwork(PUBLISHED)
    target = torch.randn(1000, 2) * 300
    network.standardise(features, target)
    expected = features.numpy().astype(np.float64)
    np.testing.assert_allclose(network.feature_mean.numpy(), np.nanmean(expected, axis=0), rtol=1e-5)
    np.testing.assert_allclose(network.feature_scale.numpy(), np.nanstd(expected, axis=0), rtol=1e-4)
    assert network.target_scale.item() == pytest.approx(target.square().mean().sqrt().item())


def test_unknown_and_constant_predictors_are_harmless():
    features = make_features()
    features[:, 4], features[:, 5] = torch.nan, 7.0
    network = TrackNetwork(TrackModelConfig())
    network.standardise(features, torch.ones(64, 2))
    assert torch.isfinite(network(features)).all()


def test_zeroed_output_is_persistence():
    network = TrackNetwork(TrackModelConfig(sample=SampleConfig(lead_hours=12))).eval()
    torch.nn.init.zeros_(network.layers[-1].weight)
    torch.nn.init.zeros_(network.layers[-1].bias)
    features = make_features()
    torch.testing.assert_close(network(features), 2 * features[:, :2])


@pytest.mark.parametrize("loss", ["distance", "squared"])
def test_a_forecast_that_is_exactly_right_has_a_finite_gradient(loss):
    network = TrackNetwork(TrackModelConfig())
    torch.nn.init.zeros_(network.layers[-1].weight)
    torch.nn.init.zeros_(network.layers[-1].bias)
    features = make_features()
    features[:, :2] = 0.0
    lat, lon = torch.full((64,), 12.0), torch.full((64,), 180.0)
    batch = {"features": features, "lat": lat, "lon": lon, "target_lat": lat, "target_lon": lon}
    training = TrackTraining(network, FitConfig(loss=loss), total_steps=10)
    training.log = lambda *arguments, **options: None
    training.training_step(batch, 0).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


def test_saved_and_loaded_it_forecasts_the_same(tmp_path):
    network = TrackNetwork(TrackModelConfig(sample=SampleConfig(lead_hours=48, frame="degrees"))).eval()
    network.standardise(make_features(), torch.ones(64, 2))
    network.save_pretrained(tmp_path / "model")
    loaded = TrackNetwork.from_pretrained(tmp_path / "model")
    assert loaded.config == network.config
    torch.testing.assert_close(loaded(make_features()), network(make_features()), rtol=0, atol=0)


def test_features_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"expected \(sample, 9\) features, got \(3, 8\)"):
        TrackNetwork(PUBLISHED)(torch.zeros(3, 8))
