"""Released checkpoints: their weights under our names, and the numbers that the released code would give.

The oracle is an independent float64 rendering of the released network, quirks included, on its own weights.
`benchmarks/parity_geoarches.py` compares with the public package itself.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from archesweather.config import ConvertConfig, FieldsConfig
from archesweather.convert import convert_checkpoint, read_weights
from archesweather.model import ArchesWeather
from archesweather.model.released import translate_weights
from isopleth.data import Normaliser
from isopleth.errors import DataError

FIELDS = FieldsConfig(surface=("t", "p"), upper=("z", "q"), constants=("land",))
DIM, HEADS, WINDOW, ROWS, COLUMNS, DEPTH = 16, (2, 2, 2, 2), (3, 3), 6, 12, 2


def make_released(*, gated=True, seed=0):
    """A state dict as the released code writes it, for a token grid of 8 x 6 x 12; no weight is zero."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}

    def add(name, *shape):
        scale = 0.5 if "table" in name or "param_0" in name else 1 / math.sqrt(math.prod(shape[1:]) or 1)
        weights[name] = torch.randn(shape, generator=generator) * scale

    def linear(name, into, out, *, bias=True):
        add(f"{name}.weight", out, into)
        if bias:
            add(f"{name}.bias", out)

    def norm(name, width):
        add(f"{name}.weight", width)
        add(f"{name}.bias", width)

    surface, upper = len(FIELDS.surface), len(FIELDS.upper)
    add("embedder.surface_proj.weight", DIM, 2 * surface + 1, 2, 2)
    add("embedder.surface_proj.bias", DIM)
    add("embedder.level_proj.weight", DIM, 2 * upper, 2, 2, 2)
    add("embedder.level_proj.bias", DIM)
    add("embedder.surface_deconv.weight", surface * 4, 2 * DIM, 3, 3)
    add("embedder.level_deconv.weight", upper * 4, DIM, 3, 3)
    linear("backbone.interaction_layer.fc1", 8 * DIM, 8 * DIM)
    norm("backbone.downsample.norm", 4 * DIM)
    linear("backbone.downsample.linear", 4 * DIM, 2 * DIM, bias=False)
    linear("backbone.upsample.linear1", 2 * DIM, 4 * DIM, bias=False)
    norm("backbone.upsample.norm", DIM)
    linear("backbone.upsample.linear2", DIM, DIM, bias=False)
    for name in ("month", "hour"):
        linear(f"{name}_embedder.mlp.0", 256, 32)
        linear(f"{name}_embedder.mlp.2", 32, 32)
    for stage in range(4):
        width = DIM if stage == 0 else 2 * DIM
        kinds = 8 * (ROWS if stage in (0, 3) else ROWS // 2) // WINDOW[0]
        linear(f"backbone.layer{stage + 1}.adaLN_modulation.1", 32, 6 * width)
        for number in range(DEPTH):
            block = f"backbone.layer{stage + 1}.blocks.{number}"
            norm(f"{block}.norm1", width)
            norm(f"{block}.norm2", width)
            add(f"{block}.attn.earth_position_bias_table", 9 * 5, kinds, 2)
            linear(f"{block}.attn.qkv", width, 3 * width)
            linear(f"{block}.attn.proj", width, width)
            add(f"{block}.axis_pos.param_0", 1, 8, width)
            attention = f"{block}.axis_attn.axial_attentions.0.fn"
            linear(f"{attention}.to_q", width, width, bias=False)
            linear(f"{attention}.to_kv", width, 2 * width, bias=False)
            linear(f"{attention}.to_out", width, width)
            hidden = int(width * 8 / 3) if gated else 4 * width
            for name in ("fc1_g", "fc1_x") if gated else ("fc1",):
                linear(f"{block}.mlp.{name}", width, hidden)
            linear(f"{block}.mlp.fc2", hidden, width)
            h, w = np.indices(WINDOW).reshape(2, -1)
            index = (h[:, None] + 3 * h[None, :]) * 5 + w[:, None] - w[None, :] + 2
            weights[f"{block}.attn.earth_position_index"] = torch.tensor(index)
    return weights


class Oracle:
    """The released network in float64, written from its description; maps north first, dateline first."""

    def __init__(self, weights):
        self.w = {
            name: tensor.double() if tensor.is_floating_point() else tensor
            for name, tensor in weights.items()
        }

    def linear(self, name, x):
        return F.linear(x, self.w[f"{name}.weight"], self.w.get(f"{name}.bias"))

    def norm(self, name, x):
        return F.layer_norm(x, x.shape[-1:], self.w[f"{name}.weight"], self.w[f"{name}.bias"])

    def embed_scalar(self, name, value):
        frequencies = 10_000.0 ** (-torch.arange(128).float() / 128)
        phase = value * torch.exp(torch.log(frequencies)).double()
        x = torch.cat([phase.cos(), phase.sin()])
        return self.linear(f"{name}.mlp.2", F.silu(self.linear(f"{name}.mlp.0", x)))

    def __call__(self, state, previous, constants, month, hour):
        """States (surface (2, lat, lon), levels (2, 13, lat, lon)); constants without the south pole."""
        surface = torch.cat([state[0][:, :-1], constants, previous[0][:, :-1]])
        levels = torch.cat([state[1][:, :, :-1], previous[1][:, :, :-1]])
        levels = torch.cat([levels, torch.zeros_like(levels[:, :1])], 1)
        w = self.w
        s = F.conv2d(surface[None], w["embedder.surface_proj.weight"], w["embedder.surface_proj.bias"], 2)
        u = F.conv3d(levels[None], w["embedder.level_proj.weight"], w["embedder.level_proj.bias"], 2)
        x = torch.cat([s[:, :, None], u], 2)[0].permute(1, 2, 3, 0)  # level, lat, lon, width
        flat = x.permute(1, 2, 0, 3).flatten(2)
        mixed = self.linear("backbone.interaction_layer.fc1", flat)
        x = x + mixed.unflatten(2, (8, -1)).permute(2, 0, 1, 3)
        condition = self.embed_scalar("month_embedder", month) + self.embed_scalar("hour_embedder", hour)
        x = kept = self.stage(1, x, condition)
        x = torch.cat([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], -1)
        x = self.linear("backbone.downsample.linear", self.norm("backbone.downsample.norm", x))
        x = self.stage(3, self.stage(2, x, condition), condition)
        parts = self.linear("backbone.upsample.linear1", x).unflatten(-1, (2, 2, -1))
        x = torch.zeros(8, ROWS, COLUMNS, DIM, dtype=x.dtype)
        for i, j in np.ndindex(2, 2):
            x[:, i::2, j::2] = parts[..., i, j, :]
        x = self.linear("backbone.upsample.linear2", self.norm("backbone.upsample.norm", x))
        return self.decode(self.stage(4, torch.cat([x, kept], -1), condition))

    def stage(self, number, x, condition):
        modulation = self.linear(f"backbone.layer{number}.adaLN_modulation.1", F.silu(condition)).chunk(6)
        for block in range(DEPTH):
            x = self.block(f"backbone.layer{number}.blocks.{block}", x, modulation, shifted=block % 2 == 1)
        return x

    def block(self, name, x, modulation, *, shifted):
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = modulation
        h = self.norm(f"{name}.norm1", x) * (1 + scale) + shift
        if shifted:
            h = h.roll((-1, -3, -5), (0, 1, 2))
        a = torch.empty_like(h)
        for z, i, j in np.ndindex(8, h.shape[1] // WINDOW[0], h.shape[2] // WINDOW[1]):
            at = (z, slice(i * 3, i * 3 + 3), slice(j * 3, j * 3 + 3))
            a[at] = self.window(name, h[at], kind=z * (h.shape[1] // WINDOW[0]) + i)
        if shifted:
            a = a.roll((1, 3, 5), (0, 1, 2))
        x = x + gate * (a + self.column(name, a))
        n = self.norm(f"{name}.norm2", x) * (1 + scale_mlp) + shift_mlp
        if f"{name}.mlp.fc1.weight" in self.w:
            hidden = F.gelu(self.linear(f"{name}.mlp.fc1", n))
        else:
            hidden = F.gelu(self.linear(f"{name}.mlp.fc1_g", n)) * self.linear(f"{name}.mlp.fc1_x", n)
        return x + gate_mlp * self.linear(f"{name}.mlp.fc2", hidden)

    def window(self, name, h, kind):
        q, k, v = (
            self.linear(f"{name}.attn.qkv", h.flatten(0, 1)).unflatten(-1, (3, 2, -1)).permute(1, 2, 0, 3)
        )
        table = self.w[f"{name}.attn.earth_position_bias_table"][:, kind]
        bias = table[self.w[f"{name}.attn.earth_position_index"]].permute(2, 0, 1)
        weights = (q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]) + bias).softmax(-1)
        return self.linear(f"{name}.attn.proj", (weights @ v).transpose(0, 1).flatten(1)).view(h.shape)

    def column(self, name, a):
        """Eight heads over the eight tokens of each column."""
        layer = f"{name}.axis_attn.axial_attentions.0.fn"
        x = (a + self.w[f"{name}.axis_pos.param_0"][0][:, None, None]).permute(1, 2, 0, 3)
        q = self.linear(f"{layer}.to_q", x).unflatten(-1, (8, -1)).transpose(2, 3)
        k, v = self.linear(f"{layer}.to_kv", x).unflatten(-1, (2, 8, -1)).permute(3, 0, 1, 4, 2, 5)
        weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)
        return self.linear(f"{layer}.to_out", (weights @ v).transpose(2, 3).flatten(3)).permute(2, 0, 1, 3)

    def decode(self, x):
        x = x.permute(3, 0, 1, 2)
        surface = F.conv2d(x[None, :, 0], self.w["embedder.surface_deconv.weight"], padding=1)
        slices = [x[half::2, 1 + z] for half in (0, 1) for z in range(7)][1:]
        levels = F.conv2d(torch.stack(slices), self.w["embedder.level_deconv.weight"], padding=1)
        surface, levels = F.pixel_shuffle(surface, 2)[0], F.pixel_shuffle(levels, 2).transpose(0, 1)
        return tuple(torch.cat([y, y[..., -1:, :]], -2) for y in (surface, levels))


def turn(x):
    """South first and Greenwich first to north first and dateline first, or back: it is its own inverse."""
    return x.flip(-2).roll(x.shape[-1] // 2, -1)


def read_plain(path):
    return torch.load(path, weights_only=True)  # noqa: TID251 - no dict


@pytest.fixture
def released_files(tmp_path):
    """A run folder as the authors have it: a Lightning checkpoint, its config, statistics and masks."""
    run = tmp_path / "modelstore" / "seed0"
    (run / "checkpoints").mkdir(parents=True)
    checkpoint = run / "checkpoints" / "last.ckpt"
    scores = {"train_metrics.0.mse": torch.zeros(3)}
    torch.save({"state_dict": {**make_released(), **scores}, "epoch": 3, "global_step": 7}, checkpoint)
    (run / "config.yaml").write_text("module:\n  module:\n    add_input_state: true\n")
    rng = np.random.default_rng(0)
    shapes = {"surface": (2, 1, 1, 1), "level": (2, 13, 1, 1)}
    statistics = {
        f"{part}_{kind}": torch.tensor(rng.uniform(1, 2, shape), dtype=torch.float32)
        for part, shape in shapes.items()
        for kind in ("mean", "std")
    }
    torch.save(statistics, tmp_path / "stats.pt")
    torch.save(torch.tensor(rng.normal(size=(1, 1, 12, 24)), dtype=torch.float32), tmp_path / "masks.pt")
    return ConvertConfig(
        checkpoint=checkpoint,
        statistics=tmp_path / "stats.pt",
        constants=tmp_path / "masks.pt",
        out=tmp_path / "converted",
        fields=FIELDS,
        window=WINDOW,
    )


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    torch.set_num_threads(1)
    # Narrow tokens have narrow heads: eight of two.
    monkeypatch.setattr("archesweather.model.lean.policy._LEAST_VALUES", 0)


def test_a_converted_model_gives_the_released_numbers(released_files, tmp_path):
    result = convert_checkpoint(released_files)
    model = ArchesWeather.from_pretrained(released_files.out).double()
    assert result["target"] == model.config.network.target == "increment"
    assert result["grid"] == [13, 24]
    rng = np.random.default_rng(1)
    states = torch.tensor(rng.normal(size=(2, 28, 13, 24)))
    out = model(states[:1], states[1:], torch.tensor([7]), torch.tensor([18]))[0]
    oracle = Oracle(make_released())
    theirs = [(turn(x[:2]), turn(x[2:].unflatten(0, (2, 13)))) for x in states]
    constants = read_plain(released_files.constants)[:, 0].double()
    surface, levels = oracle(*theirs, constants, 7, 18)
    expected = turn(torch.cat([surface, levels.flatten(0, 1)])) + states[0]
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


def test_statistics_are_those_of_the_file(released_files):
    convert_checkpoint(released_files)
    normaliser = ArchesWeather.from_pretrained(released_files.out).normaliser.normaliser
    stored = read_plain(released_files.statistics)
    assert normaliser.channels == FIELDS.channels
    assert normaliser.mean[:2].tolist() == stored["surface_mean"].flatten().tolist()
    assert normaliser.std[2 + 13 + 4] == stored["level_std"][1, 4].item()


def test_statistics_may_be_a_normaliser(released_files, tmp_path):
    normaliser = Normaliser(FIELDS.channels, np.zeros(28), np.full(28, 2.0))
    normaliser.save(tmp_path / "normaliser.json")
    config = replace(released_files, statistics=tmp_path / "normaliser.json")
    convert_checkpoint(config)
    assert ArchesWeather.from_pretrained(config.out).normaliser.normaliser == normaliser


@pytest.mark.parametrize("gated", [True, False])
def test_every_weight_is_used_once(gated):
    weights = make_released(gated=gated)
    translated = translate_weights(weights, (1, *WINDOW))
    indices = sum("earth_position_index" in name for name in weights)
    used = sum(tensor.numel() for tensor in translated.values())
    assert used == sum(t.numel() for t in weights.values()) - indices * 81


def test_unknown_and_missing_weights_are_named():
    weights = make_released()
    with pytest.raises(DataError, match=r"nothing unknown, got extra\.weight"):
        translate_weights({**weights, "extra.weight": torch.zeros(1)}, (1, *WINDOW))
    del weights["backbone.layer2.blocks.1.attn.proj.bias"]
    with pytest.raises(DataError, match=r"got no backbone\.layer2\.blocks\.1\.attn\.proj\.bias"):
        translate_weights(weights, (1, *WINDOW))


def test_another_numbering_of_pairs_is_refused():
    weights = make_released()
    weights["backbone.layer1.blocks.0.attn.earth_position_index"] += 1
    with pytest.raises(DataError, match="must be that of windows"):
        translate_weights(weights, (1, *WINDOW))


def test_safetensors_and_plain_state_dicts_are_read(tmp_path):
    from safetensors.torch import save_file

    weights = make_released()
    save_file(weights, tmp_path / "model.safetensors")
    torch.save(weights, tmp_path / "model.pt")
    for name in ("model.safetensors", "model.pt"):
        read = read_weights(tmp_path / name)
        assert read.keys() == weights.keys()
        assert all(torch.equal(read[key], weights[key]) for key in weights)


def test_a_pickle_is_refused_unread(tmp_path, released_files):
    class Harmful:
        def __reduce__(self):
            return (open, (str(tmp_path / "harm"), "w"))

    torch.save({"state_dict": Harmful()}, tmp_path / "bad.ckpt")
    for name in ("checkpoint", "statistics", "constants"):
        with pytest.raises(DataError):
            convert_checkpoint(replace(released_files, **{name: tmp_path / "bad.ckpt"}))
    with pytest.raises(DataError, match="saved tensor"):
        convert_checkpoint(replace(released_files, constants=tmp_path / "bad.ckpt"))
    assert not (tmp_path / "harm").exists()
    (tmp_path / "broken.safetensors").write_bytes(b"not one")
    with pytest.raises(DataError, match="whole safetensors file"):
        read_weights(tmp_path / "broken.safetensors")


def test_an_unknown_target_must_be_said(released_files, tmp_path):
    (released_files.checkpoint.parent.parent / "config.yaml").unlink()
    with pytest.raises(DataError, match=r"config\.yaml.*--target"):
        convert_checkpoint(released_files)
    assert convert_checkpoint(replace(released_files, target="state"))["target"] == "state"


def test_other_variables_statistics_and_maps_are_refused(released_files, tmp_path):
    more = FieldsConfig(surface=("t", "p", "u"), upper=("z", "q"), constants=("land",))
    with pytest.raises(DataError, match="'surface': 2"):
        convert_checkpoint(replace(released_files, fields=more))
    torch.save({"surface_mean": torch.zeros(2)}, tmp_path / "few.pt")
    with pytest.raises(DataError, match="statistics must have the shapes"):
        convert_checkpoint(replace(released_files, statistics=tmp_path / "few.pt"))
    torch.save(torch.zeros(1, 1, 13, 24), tmp_path / "maps.pt")
    with pytest.raises(DataError, match=r"shape \(1, 12, 24\), got \(1, 13, 24\)"):
        convert_checkpoint(replace(released_files, constants=tmp_path / "maps.pt"))
