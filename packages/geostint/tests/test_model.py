"""The network: linear to begin with, periodic, blind under masks, the same in tiles and when loaded."""

import numpy as np
import pytest
import torch

from geostint.baselines import Gaps, Linear
from geostint.config import ModelConfig, NetworkConfig
from geostint.cycle import Frame, cycle_losses, run_cycle
from geostint.model import Geostint, UNet
from geostint.model.tiles import cut_tiles, run_tiled
from geostint.predict import Learned
from geostint.train import measure_activity
from isopleth.errors import ConfigError, DataError
from isopleth.grid import Grid


def random_frames(batch, channels, rows, columns, *, masked=False):
    generator = torch.Generator().manual_seed(1)
    frames = [torch.randn(batch, channels, rows, columns, generator=generator) for _ in range(2)]
    if not masked:
        return [Frame(frame) for frame in frames]
    masks = [torch.rand(batch, channels, rows, columns, generator=generator) > 0.2 for _ in range(2)]
    return [Frame(*pair) for pair in zip(frames, masks, strict=True)]


def make_gaps(channels=1, shape=(16, 32), count=3):
    frames = np.random.default_rng(0).normal(size=(count, 4, channels, *shape)).astype(np.float32)
    start = np.arange(count) * 21600
    return Gaps(frames, start, start + 21600, Grid.regular(*shape))


@pytest.mark.parametrize("time", ["fixed", "any"])
def test_before_training_it_is_linear_interpolation_to_the_bit(time):
    config = ModelConfig(channels=("a", "b"), frames=3, network=NetworkConfig(widths=(4, 8), time=time))
    model, gaps = Geostint(config), make_gaps(channels=2)
    fractions = (0.25, 0.5, 0.75)
    np.testing.assert_array_equal(Learned(model).make(gaps, fractions), Linear().make(gaps, fractions))


@pytest.mark.parametrize("time", ["fixed", "any"])
@pytest.mark.parametrize("output", ["residual", "raw"])
@pytest.mark.parametrize("shape", [(16, 32), (13, 32), (9, 10)])
def test_shapes(network, time, output, shape):
    model = network(("a", "b"), frames=3, time=time, output=output)
    made = model(*random_frames(2, 2, *shape))
    assert made.shape == (2, 3, 2, *shape)
    assert torch.isfinite(made).all()


def test_an_array_and_the_forward_pass_say_the_same(network):
    model, gaps = network(), make_gaps()
    made = Learned(model, batch=2).make(gaps, (1 / 3, 2 / 3))
    scores = [Frame(model.normaliser(torch.from_numpy(x))) for x in (gaps.before, gaps.after)]
    with torch.no_grad():
        direct = model.normaliser.inverse(model(*scores)).numpy()
    np.testing.assert_allclose(made, direct, atol=2e-5)


def test_turning_the_globe_turns_the_result(network):
    model, frames = network(), random_frames(1, 1, 16, 32)
    with torch.no_grad():
        turned = model(*(Frame(f.values.roll(8, -1)) for f in frames))
        there = model(*frames)
        torch.testing.assert_close(turned, there.roll(8, -1), rtol=0, atol=1e-5)
        cut = model(*frames, periodic=False)
    assert float((cut - there)[..., 0].abs().max()) > 1e-3


def test_what_lies_under_a_mask_has_no_influence(network):
    model, frames = network(), random_frames(2, 1, 16, 32, masked=True)
    spoilt = [Frame(f.values.masked_fill(~f.valid, float("nan")), f.valid) for f in frames]
    with torch.no_grad():
        assert torch.equal(model(*frames), model(*spoilt))
        open_mask = model(*(Frame(f.values) for f in frames))
        assert not torch.equal(model(*frames), open_mask)


def test_only_missing_cells_are_missing(network):
    gaps = make_gaps()
    gaps.frames[:, 1, :, 3:6, 4:9] = np.nan
    gaps.frames[0, 2, :, 10, 12] = np.nan
    made = Learned(network()).make(gaps, (1 / 3, 2 / 3))
    missing = np.isnan(gaps.before) | np.isnan(gaps.after)
    for frame in range(2):
        np.testing.assert_array_equal(np.isnan(made[:, frame]), missing)


def test_the_network_halves_the_field_at_each_level():
    net, seen = UNet(3, 1, NetworkConfig(widths=(4, 6, 8))), []
    net.bottom.register_forward_hook(lambda _m, _i, out: seen.append(out.shape))
    net(torch.zeros(1, 3, 16, 32))
    assert seen == [(1, 8, 4, 8)]


@pytest.mark.parametrize("widths", [(4,), (4, 6), (4, 6, 8)])
def test_nothing_beyond_the_halo_reaches_a_cell(widths):
    """The mean over the field held fixed, a far change must have no effect; inside the halo some has."""
    torch.manual_seed(0)
    config = NetworkConfig(widths=widths)
    net = UNet(2, 1, config).double()

    def squeeze(features):
        return features.new_zeros(features.shape[:2])

    fields = torch.randn(1, 2, 8, 128, dtype=torch.float64, requires_grad=True)
    reach = []
    for place in range(64, 64 + config.stride):
        made = net(fields, periodic=False, squeeze=squeeze)[0, 0, 4, place]
        (gradient,) = torch.autograd.grad(made, fields)
        touched = torch.nonzero(gradient.abs().sum((0, 1, 2)))[:, 0]
        reach.append(max(place - int(touched.min()), int(touched.max()) - place))
    assert config.halo / 3 < max(reach) <= config.halo


@pytest.mark.parametrize(("time", "output"), [("fixed", "residual"), ("any", "raw")])
@pytest.mark.parametrize(
    ("shape", "size", "periodic"),
    [((48, 128), 32, True), ((45, 128), 16, True), ((50, 70), 32, False), ((8, 16), 8, True)],
)
def test_tiles_agree_with_the_whole(network, time, output, shape, size, periodic):
    model, frames = network(time=time, output=output), random_frames(1, 1, *shape, masked=True)
    with torch.no_grad():
        whole = model.residual(*frames, (1 / 3, 2 / 3), periodic=periodic)
    tiled = run_tiled(model, *frames, (1 / 3, 2 / 3), periodic=periodic, size=size)
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5)


def test_a_tile_alone_sees_other_means(network):
    """What the pooled means are for: a tile taken for a field is not the field's tile."""
    model, frames = network(), random_frames(1, 1, 48, 128)
    frames[0].values[..., :64] += 3
    with torch.no_grad():
        whole = model.residual(*frames, (1 / 3, 2 / 3))
        part = model.residual(*(Frame(f.values[..., :64]) for f in frames), (1 / 3, 2 / 3), periodic=False)
    # Ten times what tiles may be off by, in the middle, where no edge reaches.
    assert float((part - whole[..., :64])[..., 30:34].abs().max()) > 1e-4


def test_tiles_must_be_whole_strides():
    with pytest.raises(ConfigError, match="multiple of 4"):
        cut_tiles((16, 32), size=6, halo=8, stride=4, periodic=True)
    with pytest.raises(ConfigError, match="--tile 0"):
        cut_tiles((16, 30), size=8, halo=8, stride=4, periodic=True)


def test_any_time_gives_back_the_frames_at_their_own_times(network):
    model, frames = network(time="any"), random_frames(1, 1, 16, 32)
    with torch.no_grad():
        made = model(*frames, (0.0, 0.37, 1.0))
    torch.testing.assert_close(made[:, 0], frames[0].values)
    torch.testing.assert_close(made[:, 2], frames[1].values)
    assert not torch.allclose(made[:, 1], 0.63 * frames[0].values + 0.37 * frames[1].values)


def test_fixed_times_are_refused_by_name(network):
    with pytest.raises(ConfigError, match=r"among 0\.3333, 0\.6667, got 0\.5"):
        Learned(network()).check((0.5,))
    assert network().select((2 / 3,)) == [1]


def test_wrong_channels_are_refused(network):
    with pytest.raises(DataError, match="batch, 4, lat, lon"):
        network()(*random_frames(1, 2, 8, 8))


def test_a_saved_network_is_the_same(network, tmp_path):
    model, frames = network(("a", "b"), time="any"), random_frames(1, 2, 8, 16)
    model.save_pretrained(tmp_path)
    loaded = Geostint.from_pretrained(tmp_path)
    assert loaded.config == model.config
    with torch.no_grad():
        assert torch.equal(loaded(*frames), model(*frames))
    np.testing.assert_array_equal(loaded.normaliser.normaliser.std, [1.5, 1.5])


@pytest.mark.parametrize(("time", "output"), [("fixed", "residual"), ("any", "residual"), ("any", "raw")])
def test_all_of_it_is_on_its_inputs_device(network, time, output):
    """Without a second device at hand: on "meta" a tensor that was left on the CPU is an error."""
    model = network(time=time, output=output).to("meta")
    masked = random_frames(2, 1, 16, 32, masked=True)
    frames = [Frame(f.values.to("meta"), f.valid.to("meta")) for f in (*masked, masked[0])]
    area = torch.ones(16, 1, device="meta")
    for periodic in (True, False):
        cycle = run_cycle(lambda a, b, p=periodic: model(a, b, periodic=p), *frames)
        losses = cycle_losses(cycle, area)
        assert {loss.device.type for loss in losses} == {"meta"}
    sums = measure_activity(frames[0], frames[1], cycle.first)
    assert sums.device.type == "meta"
    with pytest.raises(RuntimeError, match="meta"):
        model(Frame(masked[0].values), frames[1])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_path_is_the_cpu_path(network):
    gaps = make_gaps()
    there = Learned(network()).make(gaps, (1 / 3, 2 / 3))
    here = Learned(network().cuda()).make(gaps, (1 / 3, 2 / 3))
    np.testing.assert_allclose(here, there, atol=1e-4)
