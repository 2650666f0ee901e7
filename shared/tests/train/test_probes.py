"""Probes against scikit-learn, loops and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from isopleth.errors import ConfigError, DataError
from isopleth.train import fit_linear_probe, knn_probabilities


def data(seed: int = 0, n: int = 60, d: int = 5, classes: int = 3):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    centres = 2 * torch.randn(classes, d, generator=generator)
    return centres[labels] + torch.randn(n, d, generator=generator), labels


def naive_knn(train, labels, test, k, temperature, classes):
    result = np.zeros((len(test), classes))
    for i, x in enumerate(test):
        similarity = [float(np.dot(x, y) / np.linalg.norm(x) / np.linalg.norm(y)) for y in train]
        for j in sorted(range(len(train)), key=lambda j: -similarity[j])[:k]:
            result[i, labels[j]] += math.exp(similarity[j] / temperature)
        result[i] /= result[i].sum()
    return result


@settings(max_examples=20)
@given(seed=st.integers(0, 99), k=st.integers(1, 30), temperature=st.sampled_from([0.07, 0.5, 10.0]))
def test_votes_are_those_of_a_loop(seed, k, temperature):
    train, labels = data(seed)
    test, _ = data(seed + 1000, n=17)
    found = knn_probabilities(train.double(), labels, test.double(), k=k, temperature=temperature, chunk=5)
    expected = naive_knn(train.double().numpy(), labels.numpy(), test.double().numpy(), k, temperature, 3)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-10)


def test_known_votes():
    train = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    labels = torch.tensor([0, 1, 2])
    found = knn_probabilities(train, labels, torch.tensor([[5.0, 0.0]]), k=2, classes=4)
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.5, 0.0, 0.0]]))
    cold = knn_probabilities(train, labels, torch.tensor([[0.0, 3.0]]), k=3, temperature=1e-6)
    torch.testing.assert_close(cold, torch.tensor([[0.0, 0.0, 1.0]]))
    assert knn_probabilities(train, labels, torch.zeros(0, 2), k=1).shape == (0, 3)


def test_the_length_of_a_feature_does_not_count():
    train, labels = data()
    test, _ = data(1)
    scale = torch.linspace(0.1, 9, len(test))[:, None]
    torch.testing.assert_close(
        knn_probabilities(train, labels, test),
        knn_probabilities(3 * train, labels, scale * test),
        atol=1e-5,
        rtol=0,
    )


@pytest.mark.parametrize("l2", [1e-3, 0.1, 1.0])
def test_logistic_regression_is_scikit_learns(l2):
    train, labels = data()
    probe = fit_linear_probe(train, labels, train, labels, l2_grid=[l2])
    scaler = StandardScaler().fit(train.double().numpy())
    oracle = LogisticRegression(C=1 / (l2 * len(train)), tol=1e-10, max_iter=10_000)
    oracle.fit(scaler.transform(train.double().numpy()), labels.numpy())
    np.testing.assert_allclose(probe.weight.numpy(), oracle.coef_, atol=1e-5)
    found = probe(train).softmax(1).numpy()
    np.testing.assert_allclose(
        found, oracle.predict_proba(scaler.transform(train.double().numpy())), atol=1e-6
    )
    assert probe.validation_score == oracle.score(scaler.transform(train.double().numpy()), labels.numpy())


@pytest.mark.parametrize("l2", [1e-4, 0.1, 10.0])
@pytest.mark.parametrize("outputs", [None, 2])
def test_ridge_is_scikit_learns(l2, outputs):
    train, _ = data()
    generator = torch.Generator().manual_seed(3)
    shape = (len(train),) if outputs is None else (len(train), outputs)
    targets = torch.randn(shape, generator=generator) + 5
    probe = fit_linear_probe(train, targets, train, targets, l2_grid=[l2])
    z = StandardScaler().fit_transform(train.double().numpy())
    oracle = Ridge(alpha=l2 * len(train)).fit(z, targets.double().numpy())
    np.testing.assert_allclose(
        probe(train).numpy(), oracle.predict(z).reshape(len(train), -1), rtol=1e-8, atol=1e-8
    )


def test_the_penalty_is_chosen_on_the_validation_set():
    generator = torch.Generator().manual_seed(0)
    train, val = torch.randn(30, 25, generator=generator), torch.randn(500, 25, generator=generator)
    truth = torch.zeros(25)
    truth[0] = 1.0
    noise = 2 * torch.randn(30, generator=generator)
    probe = fit_linear_probe(train, train @ truth + noise, val, val @ truth)
    assert 1e-2 <= probe.l2 <= 10  # nearly as many features as samples: it needs one
    scores = {
        l2: fit_linear_probe(train, train @ truth + noise, val, val @ truth, l2_grid=[l2]).validation_score
        for l2 in (1e-6, probe.l2, 100.0)
    }
    assert max(scores, key=scores.get) == probe.l2  # type: ignore[arg-type]
    assert scores[probe.l2] == probe.validation_score


def test_scale_and_offset_of_features_do_not_count_and_a_constant_one_is_harmless():
    train, labels = data()
    train = train.double()
    changed = train * torch.tensor([1e-3, 1.0, 1e3, 5.0, 2.0]) + 100
    changed = torch.cat([changed, torch.full((len(train), 1), 3.0)], dim=1)
    one = fit_linear_probe(train, labels, train, labels, l2_grid=[0.1])
    two = fit_linear_probe(changed, labels, changed, labels, l2_grid=[0.1])
    torch.testing.assert_close(one(train), two(changed), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda x, y: knn_probabilities(x, y, x, k=61), ConfigError, "k must be at most the 60"),
        (lambda x, y: knn_probabilities(x, y, x, temperature=0.0), ConfigError, "temperature"),
        (lambda x, y: knn_probabilities(x, y - 1, x), DataError, "labels must be from 0"),
        (lambda x, y: knn_probabilities(x, y, x, classes=2), DataError, "labels must be from 0 to 1"),
        (lambda x, y: knn_probabilities(x * float("nan"), y, x), DataError, "train features must be finite"),
        (lambda x, y: fit_linear_probe(x, y[:5], x, y), DataError, "a target each"),
        (lambda x, y: fit_linear_probe(x, y, x[0], y), DataError, "validation features"),
        (lambda x, y: fit_linear_probe(x, y, x, y, l2_grid=[]), ConfigError, "l2_grid"),
        (lambda x, y: fit_linear_probe(x, y, x, y, l2_grid=[0.0]), ConfigError, "l2 must be above 0"),
    ],
)
def test_what_cannot_be_probed(call, error, says):
    with pytest.raises(error, match=says):
        call(*data())
