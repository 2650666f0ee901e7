"""Networks that were trained together: how they predict, draw and travel."""

import numpy as np
import pytest
import torch

from isopleth.train import (
    FullyConnectedConfig,
    Networks,
    Problem,
    TogetherConfig,
    train_together,
)

CONFIG = FullyConnectedConfig(hidden=(32, 16))


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def trained():
    """Three networks that differ by their seed, and the inputs that they have seen."""
    x = np.random.default_rng(0).normal(5.0, 2.0, (120, 3))
    y = 100 + np.sin(x[:, :1]) + 0.3 * x[:, 1:2]
    problems = [Problem(name=f"n{seed}", inputs=x, targets=y, seed=seed) for seed in range(3)]
    return train_together(problems, CONFIG, TogetherConfig(epochs=12, batch_size=64)).networks, x


def test_prediction_is_the_formula_in_float64(trained):
    networks, x = trained
    state = {name: value.double().numpy() for name, value in networks.state_dict().items()}
    for k in range(3):
        h = (x - state["input_mean"][k]) / state["input_scale"][k]
        for i in range(3):
            h = h @ state[f"weights.{i}"][k] + state[f"biases.{i}"][k]
            h = np.maximum(h, 0) if i < 2 else h
        expected = h * state["target_scale"][k] + state["target_mean"][k]
        np.testing.assert_allclose(networks.predict(x)[k], expected, rtol=1e-5)
        plain = networks.select(k)(torch.tensor(x, dtype=torch.float32)).detach().numpy()
        np.testing.assert_allclose(plain, expected, rtol=1e-5)


def test_rows_in_parts_are_the_rows(trained, monkeypatch):
    networks, x = trained
    whole = networks.predict(x)
    monkeypatch.setattr("isopleth.train.networks._ROWS", 16)
    monkeypatch.setattr("isopleth.train.networks._AT_ONCE", 512)
    np.testing.assert_allclose(networks.predict(x), whole, rtol=1e-6)
    own = np.stack([x, x + 1, x - 1])
    np.testing.assert_allclose(networks.predict(own)[1], networks.predict(x + 1)[1], rtol=1e-6)
    assert networks.predict(x[:0]).shape == (3, 0, 1)


def test_dropout_draws_spread_about_the_prediction_and_know_no_companions(trained):
    networks, x = trained
    draws = np.stack(list(networks.dropout_draws(x, passes=400, seed=1)))
    assert draws.shape == (400, 3, 120, 1)
    assert (draws.std(axis=0) > 0).all()
    middle, spread = draws.mean(axis=0), draws.std(axis=0)
    assert np.abs(middle - networks.predict(x)).mean() < spread.mean()
    again = next(networks.dropout_draws(x, passes=1, seed=1))
    np.testing.assert_array_equal(again, draws[0])
    alone = next(networks.subset([2]).dropout_draws(x, passes=1, seed=1))
    np.testing.assert_array_equal(alone[0], again[2])
    assert not np.array_equal(next(networks.dropout_draws(x, passes=1, seed=2)), again)


def test_networks_are_shared_as_safetensors(trained, tmp_path):
    networks, x = trained
    networks.save_pretrained(tmp_path)
    back = Networks.from_pretrained(tmp_path)
    assert back.config == networks.config
    np.testing.assert_array_equal(back.predict(x), networks.predict(x))
