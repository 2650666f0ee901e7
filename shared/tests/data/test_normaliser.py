from __future__ import annotations

import json
from pathlib import Path

import dask.array
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isopleth.data import Normaliser, NormaliserBuffers
from isopleth.data.moments import Moments
from isopleth.errors import ConfigError, DataError
from isopleth.grid import Grid

PERIOD = ("2000-01-02", "2000-01-04")


def naive(fields, weights: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation by the formulas, a channel at a time, in float64."""
    means, stds = [], []
    train = fields.sel(time=slice(*PERIOD))
    for layer in [*(train.geopotential.sel(level=level) for level in train.level), train["2m_temperature"]]:
        values = layer.values.astype(np.float64)
        w = np.broadcast_to(weights[:, None], values.shape) * ~np.isnan(values)
        mean = np.nansum(w * values) / w.sum()
        means.append(mean)
        stds.append(np.sqrt(np.nansum(w * (values - mean) ** 2) / w.sum()))
    return means, stds


def layers(fields) -> np.ndarray:
    return np.concatenate([fields.geopotential.values, fields["2m_temperature"].values[:, None]], axis=1)


@pytest.mark.parametrize("area_weighted", [False, True])
def test_equals_the_formula_on_the_training_period_alone(fields, area_weighted: bool) -> None:
    fields["2m_temperature"][20:] += 1e6  # test data must not show
    found = Normaliser.fit(fields, period=PERIOD, area_weighted=area_weighted)
    weights = Grid.of(fields).weights if area_weighted else np.ones(fields.sizes["lat"])
    mean, std = naive(fields, weights)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-13)
    np.testing.assert_allclose(found.std, std, rtol=1e-12)
    assert found.channels == ("geopotential_300", "geopotential_500", "geopotential_850", "2m_temperature")
    assert found.period == ("2000-01-02T00:00:00", "2000-01-04T18:00:00")


def test_missing_values_carry_no_weight(fields) -> None:
    fields["2m_temperature"][:, :3] = np.nan
    fields["2m_temperature"][9] = np.nan
    found = Normaliser.fit(fields, period=PERIOD, missing="mask", area_weighted=True)
    mean, std = naive(fields, Grid.of(fields).weights)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-13)
    np.testing.assert_allclose(found.std, std, rtol=1e-12)


@settings(deadline=None)
@given(st.data())
def test_any_split_of_the_data_gives_the_same_statistics(data) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    # Float64 can hold 1e-12 of the spread up to a mean of some 1e3 spreads; weather stays below 200.
    offset = data.draw(st.sampled_from([0.0, 1.0, 1e3]))
    values = offset + rng.standard_normal((12, 2, 3, 5)) * [[[[1.0]], [[100.0]]]]
    values[rng.random(values.shape) < 0.2] = np.nan
    weights = rng.random(3) + 0.1
    cuts = sorted(data.draw(st.sets(st.integers(1, 11))))
    parts = [Moments.of(part, weights) for part in np.split(values, cuts)]
    data.draw(st.randoms(use_true_random=False)).shuffle(parts)
    merged = sum(parts[1:], parts[0])
    whole = Moments.of(values, weights)
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(merged.std, whole.std, rtol=1e-12)
    np.testing.assert_allclose(merged.weight, whole.weight, rtol=1e-12)


def test_a_large_mean_does_not_swallow_a_small_spread() -> None:
    values = 1e8 + np.tile([[-1.0, 1.0]], (1000, 1, 1, 8))
    found = Moments.of(values)
    assert found.mean.item() == pytest.approx(1e8, rel=1e-15)
    assert found.std.item() == pytest.approx(1.0, rel=1e-12)


def test_a_state_without_values_adds_nothing() -> None:
    empty, full = Moments.of(np.full((1, 1, 2, 2), np.nan)), Moments.of(np.arange(4.0).reshape(1, 1, 2, 2))
    for total in (empty + full, full + empty):
        assert (total.mean.item(), total.std.item()) == (full.mean.item(), full.std.item())


@pytest.mark.parametrize("block_mb", [1e-9, 0.003, 100.0])
def test_blocks_and_laziness_do_not_show_in_a_single_bit(fields, block_mb: float) -> None:
    expected = Normaliser.fit(fields, period=PERIOD)
    assert Normaliser.fit(fields.chunk(time=5, lat=3), period=PERIOD, block_mb=block_mb) == expected


def test_a_pass_reads_each_training_step_once(fields) -> None:
    reads: list[int] = []

    def note(block: np.ndarray) -> np.ndarray:
        reads.append(block.shape[0])
        return block

    lazy = fields[["2m_temperature"]].copy()
    array = dask.array.from_array(fields["2m_temperature"].values, chunks=(1, -1, -1))
    lazy["2m_temperature"] = (
        ("time", "lat", "lon"),
        array.map_blocks(note, dtype="f4", meta=np.empty((0, 0, 0), "f4")),
    )
    Normaliser.fit(lazy, period=PERIOD, block_mb=0.003)
    assert sum(reads) == 12


def test_inverse_undoes_transform(fields) -> None:
    normaliser = Normaliser.fit(fields)
    values = layers(fields).astype(np.float64)
    scores = normaliser.transform(values)
    np.testing.assert_allclose(normaliser.inverse(scores), values, rtol=1e-14)
    np.testing.assert_array_equal(
        normaliser.transform(np.moveaxis(values, 1, -1), axis=-1)[..., 0], scores[:, 0]
    )
    assert normaliser.transform(values.astype(np.float32)).dtype == np.float32
    assert np.isnan(normaliser.transform(np.full((4, 1, 1), np.nan))).all()


def test_training_data_have_mean_0_and_std_1(fields) -> None:
    normaliser = Normaliser.fit(fields)
    scores = normaliser.transform(layers(fields).astype(np.float64))
    np.testing.assert_allclose(scores.mean(axis=(0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(scores.std(axis=(0, 2, 3)), 1, atol=1e-12)


def test_json_keeps_every_bit(fields, tmp_path: Path) -> None:
    normaliser = Normaliser.fit(fields, period=PERIOD, area_weighted=True)
    normaliser.save(tmp_path / "normaliser.json")
    again = Normaliser.load(tmp_path / "normaliser.json")
    assert again == normaliser
    assert again.mean.tobytes() == normaliser.mean.tobytes()
    assert again.period == normaliser.period
    assert hash(again) == hash(normaliser)


def test_select_keeps_the_order_asked(fields) -> None:
    normaliser = Normaliser.fit(fields)
    chosen = normaliser.select(["2m_temperature", "geopotential_300"])
    np.testing.assert_array_equal(chosen.mean, normaliser.mean[[3, 0]])
    with pytest.raises(
        ConfigError, match=r"channel 'salinity' must be one of the 4.*there are geopotential_300"
    ):
        normaliser.select(["salinity"])


def test_a_constant_channel_is_an_error_unless_it_is_allowed(fields) -> None:
    fields["2m_temperature"][:] = 273.15
    with pytest.raises(DataError, match=r"constant 2m_temperature"):
        Normaliser.fit(fields)
    normaliser = Normaliser.fit(fields, constant="one")
    assert normaliser.std[3] == 1.0
    assert normaliser.mean[3] == pytest.approx(273.15)
    with pytest.raises(ConfigError, match=r"constant must be one of error, one, got 'two'"):
        Normaliser.fit(fields, constant="two")


def test_nan_and_infinity_are_named_with_variable_and_time(fields) -> None:
    fields["geopotential"][10, 1, 2, 3] = np.nan
    with pytest.raises(
        DataError, match=r"geopotential_500 must be finite, got nan in 1 of 48 cells at 2000-01-03T12"
    ):
        Normaliser.fit(fields)
    fields["geopotential"][10, 1, 2, 3] = -np.inf
    with pytest.raises(DataError, match=r"geopotential_500 must be finite, got -inf"):
        Normaliser.fit(fields, missing="mask")


def test_a_channel_without_values_is_named(fields) -> None:
    fields["2m_temperature"][:] = np.nan
    with pytest.raises(DataError, match=r"got none for 2m_temperature"):
        Normaliser.fit(fields, missing="mask")


def test_an_empty_training_period_says_what_there_is(fields) -> None:
    with pytest.raises(DataError, match=r"got none in .*the data reach from 2000-01-01T00:00:00"):
        Normaliser.fit(fields, period=("1980", "1990"))


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"schema": "isopleth.normaliser/1"}', '{"schema": "isopleth.normaliser/2"}']
)
def test_a_damaged_file_is_a_data_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "n.json").write_text(text)
    with pytest.raises(DataError, match=r"a normaliser must be"):
        Normaliser.load(tmp_path / "n.json")
    with pytest.raises(DataError, match=r"must be a JSON file"):
        Normaliser.load(tmp_path / "absent.json")


def test_senseless_statistics_are_refused(fields, tmp_path: Path) -> None:
    record = Normaliser.fit(fields).to_dict()
    for change in ({"std": [1, 1, 1, 0]}, {"mean": [0, 0, 0]}, {"std": [1, 1, 1, None]}, {"mean": ["a"] * 4}):
        (tmp_path / "n.json").write_text(json.dumps({**record, **change}))
        with pytest.raises(DataError):
            Normaliser.load(tmp_path / "n.json")


def test_wrong_shapes_are_refused(fields) -> None:
    with pytest.raises(DataError, match=r"must have 4 channels on axis -3, got shape"):
        Normaliser.fit(fields).transform(np.zeros((3, 2, 2)))


# The same as part of a model.


def test_buffers_agree_with_numpy(fields) -> None:
    normaliser = Normaliser.fit(fields)
    values = layers(fields)
    buffers = NormaliserBuffers(normaliser)
    scores = buffers(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(scores, normaliser.transform(values.astype(np.float64)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(buffers.inverse(torch.from_numpy(scores)).numpy(), values, rtol=1e-6)


@pytest.mark.parametrize("cast", ["half", "bfloat16", "double", "float"])
def test_no_cast_of_the_model_rounds_the_statistics(fields, cast: str) -> None:
    normaliser = Normaliser.fit(fields, period=PERIOD)
    model = torch.nn.Sequential(NormaliserBuffers(normaliser), torch.nn.Conv2d(4, 4, 1))
    getattr(model, cast)()
    assert model[0].normaliser == normaliser
    assert model[0].mean.dtype == torch.float32


def test_buffers_come_back_from_safetensors_exactly(fields, tmp_path: Path) -> None:
    from safetensors.torch import load_model, save_model

    normaliser = Normaliser.fit(fields)
    save_model(NormaliserBuffers(normaliser), tmp_path / "weights.safetensors")
    empty = NormaliserBuffers(normaliser.channels)
    assert empty(torch.ones(4, 1, 1)).tolist() == torch.ones(4, 1, 1).tolist()
    load_model(empty, tmp_path / "weights.safetensors")
    np.testing.assert_array_equal(empty.normaliser.mean, normaliser.mean)
    np.testing.assert_array_equal(empty.normaliser.std, normaliser.std)
    one = torch.full((4, 1, 1), 280.0)
    assert torch.equal(empty(one), NormaliserBuffers(normaliser)(one))


@pytest.mark.parametrize("assign", [True, False])
def test_buffers_come_back_from_a_state_dict_and_the_meta_device(fields, assign: bool) -> None:
    normaliser = Normaliser.fit(fields)
    state = NormaliserBuffers(normaliser).state_dict()
    assert list(state) == ["parts"]
    with torch.device("meta"):
        built = NormaliserBuffers(normaliser.channels)
    built = built.to_empty(device="cpu")
    built.load_state_dict(state, assign=assign)
    one = torch.full((4, 2, 2), 280.0)
    assert torch.equal(built(one), NormaliserBuffers(normaliser)(one))


def test_an_average_of_weights_leaves_the_statistics_as_they_are(fields) -> None:
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    normaliser = Normaliser.fit(fields, period=PERIOD)
    model = torch.nn.Sequential(NormaliserBuffers(normaliser), torch.nn.Conv2d(4, 4, 1))
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.999), use_buffers=True)
    for _ in range(5):
        average.update_parameters(model)
    assert average.module[0].normaliser == normaliser


@given(st.floats(1e-25, 1e30), st.floats(-1e30, 1e30).filter(lambda x: x == 0 or abs(x) > 1e-25))
def test_any_statistics_come_back_exactly(std: float, mean: float) -> None:
    normaliser = Normaliser(("x",), [mean], [std])
    assert NormaliserBuffers(normaliser).normaliser == normaliser


def test_buffers_refuse_other_channels() -> None:
    with pytest.raises(DataError, match=r"shape \(\.\.\., 1, lat, lon\), got \(2, 3, 3\)"):
        NormaliserBuffers(["t"])(torch.zeros(2, 3, 3))


def test_gradients_pass_through() -> None:
    buffers = NormaliserBuffers(Normaliser(("t",), [3.0], [2.0]))
    fields = torch.randn(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: buffers.inverse(buffers(x)), fields)


def test_channels_of_other_kinds_of_numbers(make_fields) -> None:
    fields = make_fields(dtype="float64")
    fields["2m_temperature"] = fields["2m_temperature"].round().astype("int16")
    found = Normaliser.fit(fields)
    assert found.mean[3] == pytest.approx(fields["2m_temperature"].values.mean(dtype=np.float64), rel=1e-13)
