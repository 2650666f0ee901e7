"""The network: published sizes, fusion that begins as an average, mirrored storms, save and load."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cyclone_fusion.config import FusionConfig, NetworkConfig, SampleConfig, WindowConfig
from cyclone_fusion.data import FEATURES
from cyclone_fusion.model import FusedNetwork, ImageStream, TrackStream
from isopleth.errors import ConfigError

PUBLISHED = FusionConfig(sample=SampleConfig(frame="degrees"))
SMALL = FusionConfig(
    window=WindowConfig(levels=(500.0, 700.0), size=9, spacing_deg=2.0),
    network=NetworkConfig(convolutions=(4, 6), dense=(8, 5)),
)
NORTHWARD = [FEATURES.index(name) for name in ("north_last_6h", "north_6h_before", "lat")]


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def make_inputs(config=SMALL, samples=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    size, channels = config.window.size, len(config.window.channels)
    features = torch.randn(samples, len(FEATURES), generator=generator) * 50
    return features, torch.randn(samples, channels, size, size, generator=generator) * 10 + 5


def make_network(config=SMALL, seed=0):
    torch.manual_seed(seed)
    network = FusedNetwork(config)
    features, windows = make_inputs(config, 64, seed=9)
    network.standardise(features, torch.randn(64, len(config.sample.lead_hours), 2) * 300, windows)
    return network.eval()


def test_published_streams_have_the_published_sizes():
    network = FusedNetwork(PUBLISHED)
    # 9·8 + 8, batch normalisation 2·8, 8·2 + 2.
    assert count(network.streams["track"]) == 80 + 16 + 18
    # Convolutions with biases, batch normalisation, 4·4·256 -> 576 -> 128 -> 64 -> 2: 2.64 M.
    shared = 128 + 36_928 + 128 + 147_712 + 512
    dense = 2_359_872 + 1_152 + 73_856 + 256 + 8_256 + 128 + 130
    assert count(network.streams["wind"]) == 12 * 64 * 9 + 64 + shared + dense == 2_636_034
    assert count(network.streams["pressure"]) == 6 * 64 * 9 + 64 + shared + dense == 2_632_578
    # 64 + 64 + 8 = 136 -> 6 -> 2.
    assert network.fusion.mix.in_features == 136
    assert count(network.fusion) == 136 * 6 + 6 + 6 * 2 + 2


def test_published_windows_shrink_as_published():
    stream = ImageStream(12, 25, (64, 64, 256), (576, 128, 64), 2).eval()
    sides, x = [], torch.zeros(1, 12, 25, 25)
    for layer in stream.body:
        x = layer(x)
        if isinstance(layer, torch.nn.Conv2d | torch.nn.MaxPool2d):
            sides.append(x.shape[-1])
    assert sides == [23, 21, 10, 8, 4]
    assert stream(torch.zeros(1, 12, 25, 25)).shape == (1, 2)


def test_a_window_that_convolutions_use_up_is_refused():
    with pytest.raises(ConfigError, match="leave something of a window"):
        ImageStream(3, 7, (4, 4, 4, 4), (8,), 2)


@pytest.mark.parametrize("leads", [(24,), (6, 24, 72)])
@pytest.mark.parametrize("correct", [False, True])
def test_fusion_begins_as_the_average_of_the_streams(leads, correct):
    config = replace(
        SMALL,
        sample=SampleConfig(lead_hours=leads),
        network=replace(SMALL.network, correct_persistence=correct),
    )
    network = make_network(config)
    network.start_fusion()
    features, windows = make_inputs(config)
    with torch.no_grad():
        alone = [network.forward_stream(name, features, windows) for name in config.network.streams]
        fused = network(features, windows)
    assert fused.shape == (16, len(leads), 2)
    torch.testing.assert_close(fused, torch.stack(alone).mean(0), rtol=1e-5, atol=1e-3)
    # Zeros across: the wind block sees no track embedding.
    weight = network.fusion.mix.weight
    width, outputs = network.streams["track"].width, 2 * len(leads)
    assert not weight[:outputs, width:].any()
    assert not weight[outputs:, :width].any()


def test_an_extracted_stream_forecasts_as_it_did_within():
    network = make_network()
    features, windows = make_inputs()
    for name in SMALL.network.streams:
        with torch.no_grad():
            expected = network.forward_stream(name, features, windows)
            found = network.extract(name)(features, windows)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_mirrored_storm_has_a_mirrored_forecast():
    config = replace(SMALL, network=replace(SMALL.network, hemisphere="mirror", density=True))
    network = make_network(config)
    network.density.weight.data.normal_(std=0.1)
    features, windows = make_inputs(config)
    features[:, FEATURES.index("lat")] = features[:, FEATURES.index("lat")].abs() + 1
    south, south_windows = features.clone(), windows.flip(-2)
    south[:, NORTHWARD] *= -1
    v = [i for i, name in enumerate(config.window.channels) if name.startswith("v_")]
    south_windows[:, v] *= -1
    with torch.no_grad():
        here, there = network(features, windows), network(south, south_windows)
        torch.testing.assert_close(there, here * torch.tensor([1.0, -1.0]), rtol=1e-5, atol=1e-4)
        a, b, c = network.spread(network.embed(features, windows), features)
        a2, b2, c2 = network.spread(network.embed(south, south_windows), south)
        torch.testing.assert_close(torch.stack([a2, b2, c2]), torch.stack([a, b, -c]), rtol=1e-5, atol=1e-4)
        plain = FusedNetwork(replace(config, network=replace(config.network, hemisphere="as_is")))
        plain.load_state_dict(network.state_dict())
        assert not torch.allclose(plain.eval()(south, south_windows), there)


def test_statistics_are_those_of_the_known_values():
    features, windows = make_inputs(samples=500)
    features[::3, 4] = torch.nan
    windows[::5, 3, 2, 2] = torch.nan
    target = torch.randn(500, 1, 2) * 300
    target[7] = torch.nan
    network = FusedNetwork(SMALL)
    network.standardise(features, target, windows)
    values, images = features.double().numpy(), windows.double().numpy()
    np.testing.assert_allclose(network.feature_mean, np.nanmean(values, axis=0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(network.feature_scale, np.nanstd(values, axis=0), rtol=1e-5)
    np.testing.assert_allclose(network.image_mean.ravel(), np.nanmean(images, axis=(0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(network.image_scale.ravel(), np.nanstd(images, axis=(0, 2, 3)), rtol=1e-5)
    expected = np.sqrt(np.nanmean(target.double().numpy() ** 2))
    assert network.target_scale.item() == pytest.approx(expected, rel=1e-5)


def test_unknown_and_constant_inputs_are_harmless():
    features, windows = make_inputs()
    features[:, 4], features[:, 5] = torch.nan, 7.0
    windows[:, 2], windows[3] = 1.0, torch.nan
    network = FusedNetwork(SMALL)
    network.standardise(features, torch.ones(16, 1, 2), windows)
    assert torch.isfinite(network.eval()(features, windows)).all()


@pytest.mark.parametrize("lead", [12, 24])
def test_zeroed_output_is_persistence(lead):
    config = FusionConfig(
        sample=SampleConfig(lead_hours=(lead,)),
        network=NetworkConfig(streams=("track",), correct_persistence=True),
    )
    network = FusedNetwork(config).eval()
    torch.nn.init.zeros_(network.streams["track"].head.weight)
    torch.nn.init.zeros_(network.streams["track"].head.bias)
    features, _ = make_inputs()
    torch.testing.assert_close(network(features)[:, 0], lead / 6 * features[:, :2])


def test_saved_and_loaded_it_forecasts_the_same(tmp_path):
    config = replace(SMALL, network=replace(SMALL.network, density=True, hemisphere="mirror"))
    network = make_network(config)
    network.density_factor.fill_(2.5)
    network.save_pretrained(tmp_path / "model")
    loaded = FusedNetwork.from_pretrained(tmp_path / "model")
    assert loaded.config == config
    assert loaded.density_factor.item() == 2.5
    features, windows = make_inputs()
    torch.testing.assert_close(loaded(features, windows), network(features, windows), rtol=0, atol=0)


def test_inputs_of_another_shape_are_refused():
    features, windows = make_inputs()
    network = make_network()
    with pytest.raises(ValueError, match=r"expected \(sample, 9\) features, got \(16, 8\)"):
        network(features[:, :8], windows)
    with pytest.raises(ValueError, match=r"expected \(sample, 12, 9, 9\) windows, got \(16, 12, 9, 8\)"):
        network(features, windows[..., :8])
    with pytest.raises(ValueError, match="windows, got None"):
        network(features)


def test_streams_alone_have_an_embedding_and_a_head():
    stream = TrackStream(9, (8,), 2).eval()
    x = torch.randn(5, 9)
    torch.testing.assert_close(stream(x), stream.head(stream.body(x)))
    assert stream.width == 8


@pytest.mark.parametrize("streams", [(), ("track", "track"), ("radar",)])
def test_streams_must_be_known_and_once(streams):
    with pytest.raises(ConfigError, match="streams"):
        NetworkConfig(streams=streams)
