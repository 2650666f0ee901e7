"""Many networks in one call: each is what it is alone, and what a plain loop makes of it."""

import csv
import os
import signal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from isopleth.errors import ConfigError, DataError, TrainingError
from isopleth.train import (
    FullyConnectedConfig,
    Interrupted,
    Networks,
    NetworksConfig,
    Problem,
    Runtime,
    TogetherConfig,
    load_checkpoint,
    train_together,
)
from isopleth.train.dropout import DropoutNoise, relu_dropout
from isopleth.train.grouped import GroupedTraining, RowChain

CPU = torch.device("cpu")
SMALL = FullyConnectedConfig(hidden=(32, 16))
SHORT = TogetherConfig(epochs=12, batch_size=64, validate_every=5)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def table(rows, seed=0, *, features=3, outputs=1):
    rng = np.random.default_rng(seed)
    x = rng.normal(5.0, 2.0, (rows, features))
    y = (
        np.sin(x[:, :1]) * np.arange(1, outputs + 1)
        + 0.3 * x[:, 1:2]
        + 0.1 * rng.standard_normal((rows, outputs))
    )
    return x, 100 + y, rng.uniform(0.2, 1.0, rows)


def folds(sizes=(500, 230, 70, 20), parts=3, **kwargs):
    """Problems as a user has them: folds of regions of very different size."""
    problems: list[Problem] = []
    for region, size in enumerate(sizes):
        x, y, w = table(size, region, **kwargs)
        fold = np.arange(size) * parts // size
        problems += [
            Problem(
                name=f"region {region}, fold {k}",
                inputs=x,
                targets=y,
                weights=w,
                train=fold != k,
                validation=fold == k,
                seed=10 * region + k,
            )
            for k in range(parts)
        ]
    return problems


def assert_same(one, other):
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def naive_fit(problem, shape, config):
    """The same training as it is usually written: nn.Sequential, autograd, torch's Adam, one network."""
    (xm, xs), (ym, ys) = problem.standardisation().values()
    x = torch.tensor((problem.input_table - xm) / xs, dtype=torch.float64)
    y = torch.tensor((problem.target_table - ym) / ys, dtype=torch.float64)
    w = torch.tensor(problem.row_weights / problem.row_weights[problem.train_rows].mean())
    network = GroupedTraining([problem], shape, config, CPU).networks.select(0)
    training = GroupedTraining([problem], shape, config, CPU)
    linears = [layer.double() for layer in network if isinstance(layer, nn.Linear)]
    for layer, weight, bias in zip(
        linears, training.weights.layers(slice(None)), training.biases.layers(slice(None)), strict=True
    ):
        layer.weight.data, layer.bias.data = weight[0].T.double().contiguous(), bias[0, 0].double()
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    chain = RowChain(problem.train_rows, seed=problem.seed, batch_size=config.batch_size)
    for step in range(chain.steps(config.epochs)):
        rows = chain.batch(step)
        penalty = config.l2 * sum(layer.weight.square().sum() for layer in linears)
        loss = (w[rows, None] * (network(x[rows]) - y[rows]) ** 2).mean() + penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return lambda inputs: network(torch.tensor((inputs - xm) / xs)).detach().numpy() * ys + ym


@pytest.mark.parametrize("outputs", [1, 2])
def test_the_training_is_the_plain_one(outputs):
    """Against float64 autograd and torch's own Adam, network by network, with a penalty that is felt."""
    problems = [
        Problem(
            name=p.name, inputs=p.inputs, targets=p.targets, weights=p.weights, train=p.train, seed=p.seed
        )
        for p in folds((200, 40), 2, outputs=outputs)
    ]
    shape = FullyConnectedConfig(hidden=(32, 16), dropout=0.0)
    config = TogetherConfig(epochs=6, batch_size=64, l2=1e-2)
    result = train_together(problems, shape, config)
    for k, problem in enumerate(problems):
        expected = naive_fit(problem, shape, config)(problem.input_table)
        got = result.networks.subset([k]).predict(problem.inputs)[0]
        np.testing.assert_allclose(got, expected, atol=2e-4 * problem.target_table.std())


@pytest.mark.parametrize("patience", [None, 2])
def test_a_network_is_the_same_alone_and_in_company(patience):
    problems = folds()
    config = TogetherConfig(epochs=12, batch_size=64, validate_every=5, patience=patience, learning_rate=0.01)
    together = train_together(problems, SMALL, config)
    for k, problem in enumerate(problems):
        alone = train_together([problem], SMALL, config)
        assert_same(together.networks.subset([k]), alone.networks)
        assert together.scores[k] == alone.scores[0]
        assert together.best_steps[k] == alone.best_steps[0]
        assert together.steps[k] == alone.steps[0]
    if patience:
        assert (together.steps < 12 * 334 / 64).any()


def test_order_and_parts_do_not_matter(monkeypatch):
    problems = folds((150, 90, 10))
    result = train_together(problems, SMALL, SHORT)
    turned = train_together(problems[::-1], SMALL, SHORT)
    assert_same(result.networks, turned.networks.subset(range(len(problems))[::-1]))
    monkeypatch.setattr("isopleth.train.grouped._AT_ONCE", {"cpu": 1})
    assert_same(result.networks, train_together(problems, SMALL, SHORT).networks)


def test_seeds_mean_something_and_the_same_each_time():
    x, y, w = table(200)
    one, same, other = (Problem(name="a", inputs=x, targets=y, weights=w, seed=s) for s in (1, 1, 2))
    first = train_together([one], SMALL, SHORT).networks
    assert_same(first, train_together([same], SMALL, SHORT).networks)
    assert not torch.equal(first.weights[0], train_together([other], SMALL, SHORT).networks.weights[0])


def test_a_linear_network_finds_weighted_least_squares():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 3))
    y = x @ [1.0, -2, 0.5] + 7 + rng.standard_normal(400) * (1 + 2 * (x[:, 0] > 0))
    w = rng.uniform(0, 2, 400)
    problem = Problem(name="line", inputs=x, targets=y, weights=w)
    config = TogetherConfig(epochs=800, batch_size=400, learning_rate=0.02, l2=0.0)
    found = train_together([problem], FullyConnectedConfig(hidden=()), config).networks.select(0)
    design = np.column_stack([x, np.ones(400)])
    expected = np.linalg.solve(design.T @ (w[:, None] * design), design.T @ (w * y))
    got = np.append(found[0].weight.detach().numpy()[0], found[0].bias.item())
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_the_weights_kept_are_those_of_the_best_score():
    problems = folds((300,))
    config = TogetherConfig(epochs=60, batch_size=64, validate_every=4, learning_rate=0.02, l2=0.0)
    result = train_together(problems, FullyConnectedConfig(hidden=(64,), dropout=0.0), config)
    for k, problem in enumerate(problems):
        rows, (_, deviation) = problem.validation_rows, problem.standardisation()["target"]
        error = result.networks.predict(problem.input_table)[k][rows] - problem.target_table[rows]
        weights = problem.row_weights[rows]
        score = np.average((error[:, 0] / deviation) ** 2, weights=weights)
        assert result.scores[k] == pytest.approx(score, rel=1e-4)
    assert (result.best_steps < result.steps).any()
    assert (result.best_steps % 4 == 0).sum() + (result.best_steps == result.steps).sum() >= 3


def test_without_validation_the_last_weights_are_kept():
    x, y, _ = table(100)
    result = train_together([Problem(name="a", inputs=x, targets=y)], SMALL, SHORT)
    assert np.isnan(result.scores[0])
    assert result.best_steps[0] == result.steps[0] == -(-12 * 100 // 64)


def test_rows_that_are_not_used_may_hold_anything():
    x, y, w = table(120)
    x[100:], y[110:], w[105:] = np.nan, np.inf, -1
    problem = Problem(
        name="sea", inputs=x, targets=y, weights=w, train=np.arange(80), validation=np.arange(80, 100)
    )
    clean = Problem(
        name="sea", inputs=x[:100], targets=y[:100], weights=w[:100], validation=np.arange(80, 100)
    )
    assert_same(
        train_together([problem], SMALL, SHORT).networks, train_together([clean], SMALL, SHORT).networks
    )


def test_units_and_scales_of_weights_do_not_matter():
    x, y, w = table(150)
    first = train_together([Problem(name="a", inputs=x, targets=y, weights=w)], SMALL, SHORT).networks
    other = Problem(name="a", inputs=x * 1e3 - 4, targets=y[:, 0] * 1e-3 + 1, weights=w * 1e6)
    second = train_together([other], SMALL, SHORT).networks
    np.testing.assert_allclose(second.predict(x * 1e3 - 4), first.predict(x) * 1e-3 + 1, atol=1e-5)


def test_constant_features_and_single_rows_train():
    x, y, _ = table(30)
    x[:, 2] = 273.15
    lone = Problem(name="lone", inputs=x, targets=y, train=[3])
    result = train_together([Problem(name="a", inputs=x, targets=y), lone], SMALL, SHORT)
    assert np.isfinite(result.networks.predict(x)).all()


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 60), batch=st.integers(1, 80), epochs=st.integers(1, 5), seed=st.integers(0, 99))
def test_a_chain_shows_every_row_as_often(rows, batch, epochs, seed):
    chain = RowChain(np.arange(rows) + 7, seed=seed, batch_size=batch)
    steps = chain.steps(epochs)
    shown = np.concatenate([chain.batch(step) for step in range(steps)])
    counts = np.bincount(shown - 7, minlength=rows)
    assert counts.min() >= epochs
    assert counts.max() <= epochs + 1
    assert shown.size - epochs * rows < min(batch, rows)
    again = RowChain(np.arange(rows) + 7, seed=seed, batch_size=batch)
    for step in (steps - 1, 0, steps // 2):
        np.testing.assert_array_equal(again.batch(step), chain.batch(step))


@pytest.mark.parametrize("chance", [0.0, 0.2, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(chance):
    noise = DropoutNoise([1, 2], device=CPU)
    z = torch.ones(2, 2000, 33)
    out = relu_dropout(z, noise.draw((0,), 2000, 17), chance)
    share = (out == 0).float().mean()
    error = 4 * (chance * (1 - chance) / out.numel()) ** 0.5
    assert abs(share - chance) <= error + 2**-15
    kept = out[out > 0].unique()
    assert kept.tolist() == pytest.approx([1 / (1 - chance)], rel=1e-3)
    assert abs(out.mean() - 1) <= 2 * error / (1 - chance) + 1e-6


def test_dropped_units_are_independent():
    """Of units, rows and networks: no correlation beyond chance, the two halves of a word included."""
    noise = DropoutNoise([1, 2], device=CPU)
    out = (relu_dropout(torch.ones(2, 4000, 16), noise.draw((0,), 4000, 8), 0.5) > 0).double()
    matrix = torch.corrcoef(out.permute(0, 2, 1).reshape(32, 4000)) - torch.eye(32)
    assert matrix.abs().max() < 5 / 4000**0.5
    assert abs(torch.corrcoef(torch.stack([out[0, 1:].ravel(), out[0, :-1].ravel()]))[0, 1]) < 0.02


def test_the_gradient_of_dropout_is_that_of_a_product():
    noise = DropoutNoise([5], device=CPU)
    z = torch.randn(1, 50, 20, generator=torch.Generator().manual_seed(0))
    leaf = z.clone().requires_grad_()
    out = relu_dropout(leaf * 1, noise.draw((3,), 50, 10), 0.3)
    mask = relu_dropout(torch.ones_like(z), noise.draw((3,), 50, 10), 0.3)
    torch.testing.assert_close(out, z.relu() * mask)
    slope = torch.randn(z.shape, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad(out, leaf, slope)
    torch.testing.assert_close(gradient, slope * mask * (z > 0))


def interrupt_at(monkeypatch, step, signum=signal.SIGTERM):
    advance = GroupedTraining.advance

    def advance_and_signal(self):
        advance(self)
        if self.step == step:
            os.kill(os.getpid(), signum)

    monkeypatch.setattr(GroupedTraining, "advance", advance_and_signal)


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_was_told_to_stop_goes_on_to_the_same_bits(tmp_path, monkeypatch, signum, code):
    problems = folds((200, 60, 9))
    config = TogetherConfig(epochs=12, batch_size=64, validate_every=5, patience=3)
    unbroken = train_together(problems, SMALL, config, run_dir=tmp_path / "whole")
    with monkeypatch.context() as patch:
        interrupt_at(patch, 13, signum)
        with pytest.raises(Interrupted, match="its state is saved") as caught:
            train_together(problems, SMALL, config, run_dir=tmp_path / "run")
    assert caught.value.exit_code == code
    resumed = train_together(problems, SMALL, config, run_dir=tmp_path / "run", resume=True)
    assert_same(resumed.networks, unbroken.networks)
    np.testing.assert_array_equal(resumed.scores, unbroken.scores)
    tables = [(tmp_path / name / "metrics.csv").read_text() for name in ("whole", "run")]
    assert tables[0] == tables[1]
    rows = list(csv.DictReader(tables[0].splitlines()))
    assert float(rows[-1]["val_loss"]) < float(rows[0]["val_loss"])
    done = train_together(problems, SMALL, config, run_dir=tmp_path / "run", resume=True)
    assert_same(done.networks, unbroken.networks)


def test_a_folder_makes_no_difference_and_is_not_overwritten(tmp_path):
    problems = folds((100,))
    plain = train_together(problems, SMALL, SHORT, runtime=Runtime(accelerator="cpu", threads=1))
    saved = train_together(problems, SMALL, SHORT, run_dir=tmp_path, resume=True)
    assert_same(plain.networks, saved.networks)
    with pytest.raises(ConfigError, match="must be new, or its run resumed"):
        train_together(problems, SMALL, SHORT, run_dir=tmp_path)
    longer = TogetherConfig(epochs=13, batch_size=64, validate_every=5)
    with pytest.raises(ConfigError, match="resumed with the problems and settings it began with"):
        train_together(problems, SMALL, longer, run_dir=tmp_path, resume=True)
    with pytest.raises(ConfigError, match="problems and settings"):
        train_together(problems[:2], SMALL, SHORT, run_dir=tmp_path, resume=True)


def test_a_network_that_breaks_is_named_and_the_last_good_state_stays(tmp_path, monkeypatch):
    x, y, _ = table(100)
    problems = [Problem(name=name, inputs=x, targets=y) for name in ("calm", "wild", "quiet")]
    advance = GroupedTraining.advance

    def advance_and_break(self):
        advance(self)
        if self.step == 7:
            self.weights.rows[1] = np.inf

    monkeypatch.setattr(GroupedTraining, "advance", advance_and_break)
    config = TogetherConfig(epochs=12, batch_size=64, validate_every=5, checkpoint_every=3)
    with pytest.raises(TrainingError, match=r"got (nan|inf) by step 9 in wild;"):
        train_together(problems, SMALL, config, run_dir=tmp_path)
    assert load_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["step"] == 6


X, Y, W = table(20)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"targets": Y[:5]}, DataError, "targets must be"),
        ({"inputs": X[:, 0]}, DataError, "inputs must be"),
        ({"weights": W[:3]}, DataError, "weights must be one a row"),
        ({"weights": -W}, DataError, "not negative"),
        ({"weights": W * 0}, DataError, "not all 0"),
        ({"inputs": np.where(np.arange(20)[:, None] == 4, np.nan, X)}, DataError, "first row 4"),
        ({"inputs": X * 1e38}, DataError, "inputs of training rows must be finite in float32"),
        (
            {"targets": np.full(20, np.inf)},
            DataError,
            "targets of training rows must be finite in float32, got 20",
        ),
        ({"train": [0, 20]}, DataError, r"positions in \[0, 20\)"),
        ({"train": [-1]}, DataError, "positions"),
        ({"train": [0, 0]}, DataError, "named once"),
        ({"train": [0.5]}, DataError, "positions"),
        ({"train": []}, DataError, "at least one"),
        ({"train": [1, 2], "validation": [2, 3]}, DataError, "must not be trained on, got 1"),
        ({"validation": np.ones(20, bool)}, DataError, "at least one"),
    ],
)
def test_problems_that_cannot_be_learnt(wrong, error, message):
    with pytest.raises(error, match=message) as caught:
        Problem(**{"name": "Pacific", "inputs": X, "targets": Y, "weights": W} | wrong)
    assert "Pacific" in str(caught.value)


GOOD = Problem(name="a", inputs=X, targets=Y)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: train_together([]), ConfigError, "at least one"),
        (lambda: train_together([GOOD, GOOD]), ConfigError, "'a' twice"),
        (
            lambda: train_together([GOOD, Problem(name="b", inputs=X[:, :2], targets=Y)]),
            ConfigError,
            "equal numbers of inputs",
        ),
        (lambda: train_together([GOOD], resume=True), ConfigError, "run_dir"),
        (lambda: train_together([GOOD], runtime=Runtime(precision="bf16-mixed")), ConfigError, "precision"),
        (lambda: train_together([GOOD], runtime=Runtime(devices=2)), ConfigError, "devices must be 1"),
        (lambda: FullyConnectedConfig(dropout=1.0), ConfigError, "dropout"),
        (lambda: FullyConnectedConfig(hidden=(0,)), ConfigError, "hidden"),
        (lambda: TogetherConfig(epochs=0), ConfigError, "epochs"),
        (lambda: TogetherConfig(l2=-1), ConfigError, "l2"),
        (lambda: TogetherConfig(learning_rate=0), ConfigError, "learning_rate"),
        (lambda: TogetherConfig(patience=0), ConfigError, "patience"),
        (lambda: NetworksConfig(names=(), in_features=1), ConfigError, "at least one"),
        (lambda: NetworksConfig(names=("a",), in_features=0), ConfigError, "in_features"),
        (
            lambda: Networks(NetworksConfig(names=("a",), in_features=2))(torch.ones(4, 3)),
            DataError,
            "inputs",
        ),
    ],
)
def test_settings_that_cannot_be_used(call, error, message):
    with pytest.raises(error, match=message):
        call()
