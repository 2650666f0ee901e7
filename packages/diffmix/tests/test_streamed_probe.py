"""The probe that streams: it finds what the exact one finds, a batch at a time."""

import numpy as np
import pytest
import torch

from diffmix.config import ProbeConfig
from diffmix.model.streamed_probe import fit_streamed_probe
from diffmix.predict import Known
from diffmix.probes import choose_solver, hold_out, score_probes
from isopleth.errors import ConfigError, DataError
from isopleth.train import fit_linear_probe

FEATURES, CLASSES = 12, 3


def draw(count, seed):
    """Draw classes that overlap, in features so correlated that plain gradients are slow."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    centres = np.random.default_rng(99).normal(size=(CLASSES, FEATURES))
    mixing = np.random.default_rng(98).normal(size=(FEATURES, FEATURES)) * np.logspace(0, -2, FEATURES)
    features = (centres[labels] + 1.5 * random.normal(size=(count, FEATURES))) @ mixing
    return Known(torch.from_numpy(features).float(), torch.from_numpy(labels))


class Watched:
    """Features of which rows are counted as they are read."""

    def __init__(self, features):
        self.features, self.shape, self.most = features, features.shape, 0

    def __getitem__(self, rows):
        self.most = max(self.most, len(rows))
        return self.features[rows]


def fit(train, held, features=None, **options):
    return fit_streamed_probe(
        train.features if features is None else features, train.labels, torch.from_numpy(held),
        classes=CLASSES, **{"penalties": (0.01,), "epochs": 60, "batch_size": 64, **options},
    )  # fmt: skip


@pytest.mark.parametrize("penalty", [0.001, 0.01, 0.1])
def test_probabilities_are_the_exact_ones_to_a_hundredth(penalty):
    train, test = draw(660, 0), draw(500, 1)
    held = hold_out(train.labels.numpy(), 0.1, 0)
    features = Watched(train.features)
    mine = fit(train, held, features, penalties=(penalty,))
    exact = fit_linear_probe(
        train.features[~held], train.labels[~held], train.features[held], train.labels[held],
        l2_grid=(penalty,), classes=CLASSES,
    )  # fmt: skip
    found, expected = (torch.softmax(probe(test.features), 1) for probe in (mine, exact))
    assert (found - expected).abs().max() < 0.01
    assert mine.validation_score == pytest.approx(exact.validation_score, abs=0.02)
    torch.testing.assert_close(mine.std, exact.std)
    assert features.most <= 64


def test_the_largest_of_equal_penalties_wins_and_a_poor_one_does_not():
    train = draw(660, 0)
    held = hold_out(train.labels.numpy(), 0.1, 0)
    assert fit(train, held, penalties=(1e3, 0.01)).l2 == 0.01
    easy = Known(torch.nn.functional.one_hot(train.labels).float(), train.labels)
    assert fit(easy, held, penalties=(0.01, 0.1)).l2 == 0.1


def test_the_same_seed_gives_the_same_weights():
    train = draw(660, 0)
    held = hold_out(train.labels.numpy(), 0.1, 0)
    first, second, other = (fit(train, held, epochs=2, seed=seed).weight for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_a_feature_that_never_changes_is_not_looked_at():
    train = draw(660, 0)
    held = hold_out(train.labels.numpy(), 0.1, 0)
    constant = torch.cat([train.features, torch.full((660, 1), 7.0)], dim=1)
    probe = fit(Known(constant, train.labels), held)
    assert probe.std[-1] == 1
    assert probe.weight[:, -1].abs().max() == 0


def test_what_cannot_be_fitted_is_named():
    train = draw(30, 0)
    with pytest.raises(DataError, match="must have validation images"):
        fit(train, np.zeros(30, bool))
    train.features[3, 3] = torch.nan
    with pytest.raises(DataError, match="must be finite"):
        fit(train, np.arange(30) == 5)


def test_the_solver_is_chosen_by_size_or_by_name():
    train = draw(100, 0)
    at, below = ProbeConfig(exact_limit=1200), ProbeConfig(exact_limit=1199)
    assert (choose_solver(at, train), choose_solver(below, train)) == ("exact", "sgd")
    assert choose_solver(ProbeConfig(solver="sgd"), train) == "sgd"
    assert choose_solver(ProbeConfig(solver="exact", exact_limit=1), train) == "exact"
    with pytest.raises(ConfigError, match="solver must be one of auto, exact, sgd"):
        ProbeConfig(solver="newton")


def test_both_solvers_score_alike():
    train, test = draw(660, 0), draw(500, 1)
    marks = [
        score_probes(
            train, {"clean": test}, classes=CLASSES,
            config=ProbeConfig(probes=("linear",), solver=solver, sgd_epochs=60, sgd_batch=64),
        )["linear"]["clean"]
        for solver in ("exact", "sgd")
    ]  # fmt: skip
    assert marks[0].mean() > 0.75
    assert (marks[0] == marks[1]).mean() > 0.98
