"""Losses that learn for the decision: what their papers prove about them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'learn' is not installed")

from conservation_decisions.loss import (  # noqa: E402
    PerturbedFenchelYoung,
    SpoPlus,
    budget_oracle,
    decision_loss,
)

COST = np.array([2.0, 3.0, 1.0, 4.0, 2.0])


@pytest.fixture(scope="module")
def oracle():
    return budget_oracle(COST, 5.0)


def draw(seed, rows=4):
    return torch.randn(rows, COST.size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_oracle_is_the_best_of_all_choices(oracle, subsets):
    for row in draw(0).numpy():
        best = max(row[c].sum() for c in subsets(COST.size) if COST[c].sum() <= 5.0)
        assert row @ oracle(row) == pytest.approx(best, abs=1e-9)


def test_spo_plus_bounds_the_decision_loss_and_is_zero_for_the_truth(oracle):
    benefit, predicted = draw(1, 20), draw(2, 20)
    loss = SpoPlus(oracle)(predicted, benefit)
    assert (loss >= decision_loss(oracle, predicted, benefit) - 1e-9).all()
    assert torch.allclose(SpoPlus(oracle)(benefit, benefit), torch.zeros(20, dtype=torch.float64))


def test_spo_plus_is_convex_and_its_gradient_a_subgradient(oracle):
    benefit, one, two = draw(3), draw(4).requires_grad_(), draw(5)
    loss = SpoPlus(oracle)(one, benefit)
    loss.sum().backward()
    there = SpoPlus(oracle)(two, benefit)
    assert (there >= loss.detach() + (one.grad * (two - one.detach())).sum(dim=1) - 1e-9).all()


def test_the_perturbed_loss_has_the_gradient_of_its_value(oracle):
    decision = torch.stack([torch.as_tensor(oracle(row.numpy())) for row in draw(6, 2)])
    predicted = draw(7, 2).requires_grad_()
    loss = PerturbedFenchelYoung(oracle, samples=50, seed=1)
    value = loss(predicted, decision)
    value.sum().backward()
    step = 1e-6 * torch.ones_like(predicted)
    moved = PerturbedFenchelYoung(oracle, samples=50, seed=1)(predicted.detach() + step, decision)
    expected = (predicted.grad * step).sum(dim=1)
    assert torch.allclose(moved - value.detach(), expected, atol=1e-10)


def test_training_makes_decisions_lose_less(oracle):
    weight = torch.zeros(COST.size, dtype=torch.float64, requires_grad=True)
    benefit = draw(8, 6).abs()
    first = decision_loss(oracle, weight.detach().expand_as(benefit), benefit).mean()
    for _ in range(15):
        (slope,) = torch.autograd.grad(SpoPlus(oracle)(weight.expand_as(benefit), benefit).mean(), weight)
        weight = (weight - 0.05 * slope).detach().requires_grad_()
    last = decision_loss(oracle, weight.detach().expand_as(benefit), benefit).mean()
    assert last < first
