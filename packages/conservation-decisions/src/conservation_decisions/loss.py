"""Losses that train predictions for the decision that follows them: the extra ``learn``.

A network predicts the benefit of units, a solver spends the budget on it; what counts is not how near the
prediction is but what the decision loses. Both losses need nothing of the solver but answers: any oracle that
*maximises* a linear benefit will do, such as `budget_oracle`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from conservation_decisions.allocate.model import ModelBuilder
from conservation_decisions.allocate.solver import solve
from conservation_decisions.config import SolverConfig
from conservation_decisions.landscape import Floats
from isopleth.errors import require

require("torch", install="conservation-decisions[learn]", purpose="learn for decisions")
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

Oracle = Callable[[Floats], Floats]


def budget_oracle(cost: Floats, budget: float, solver: SolverConfig | None = None) -> Oracle:
    """Make the oracle that chooses units of greatest total benefit within a budget, exactly.

    Parameters
    ----------
    cost : array, shape (unit,)
    budget : float
    solver : SolverConfig, optional
        By default a gap of 0.

    Returns
    -------
    callable
        From benefits (unit,), which may be negative, to the choice (unit,), 0 or 1.
    """
    price = np.asarray(cost, np.float64)

    def choose(benefit: Floats) -> Floats:
        useful = np.asarray(benefit, np.float64)
        builder = ModelBuilder()
        builder.add_columns("unit", price.size, cost=-useful, upper=1.0 * (useful > 0), integer=True)
        builder.add_rows({"unit": price[None]}, upper=budget)
        values = solve(builder.build(), solver or SolverConfig(gap=0.0)).values
        assert values is not None  # nothing at all is always within the budget
        return values

    return choose


def _answer(oracle: Oracle, benefit: Tensor) -> Tensor:
    """Ask the oracle about each row (batch, unit)."""
    rows = benefit.detach().cpu().double().numpy()
    answers = np.stack([oracle(row) for row in rows])
    return torch.as_tensor(answers, dtype=benefit.dtype, device=benefit.device)


class _Subgradient(torch.autograd.Function):
    """A value whose gradient in the prediction is given."""

    @staticmethod
    def forward(ctx: Any, predicted: Tensor, value: Tensor, gradient: Tensor) -> Tensor:  # noqa: ARG004
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return grad[0][:, None] * gradient, None, None


class SpoPlus(nn.Module):
    r"""Smart predict-then-optimise, the convex surrogate SPO+ (Elmachtoub and Grigas 2022).

    For a decision that maximises a benefit :math:`c^\top x`, with the prediction :math:`\hat c`:

    .. math:: \ell(\hat c, c) = \max_x (2 \hat c - c)^\top x - 2 \hat c^\top x^*(c) + c^\top x^*(c),
        \qquad 2 (x^*(2 \hat c - c) - x^*(c)) \in \partial \ell

    It is convex in the prediction, never below what the decision loses, and 0 for the true benefit.
    """

    def __init__(self, oracle: Oracle) -> None:
        super().__init__()
        self.oracle = oracle

    def forward(self, predicted: Tensor, benefit: Tensor) -> Tensor:
        """Compute the loss of each sample.

        Parameters
        ----------
        predicted, benefit : Tensor, shape (batch, unit)

        Returns
        -------
        Tensor, shape (batch,)
        """
        best = _answer(self.oracle, benefit)
        shifted = 2 * predicted.detach() - benefit
        far = _answer(self.oracle, shifted)
        value = (shifted * far).sum(dim=1) - ((2 * predicted.detach() - benefit) * best).sum(dim=1)
        return _Subgradient.apply(predicted, value, 2 * (far - best))


class PerturbedFenchelYoung(nn.Module):
    r"""Perturbed Fenchel-Young loss (Berthet et al. 2020).

    .. math:: \ell(\hat c, x) = \mathrm{E} \max_{x'} (\hat c + \sigma Z)^\top x' - \hat c^\top x,
        \qquad \nabla \ell = \mathrm{E}\, x^*(\hat c + \sigma Z) - x

    with normal :math:`Z`. Its gradient is 0 where the mean perturbed decision is the one that was right.

    Parameters
    ----------
    oracle : callable
    sigma : float
        Size of the perturbation, in the units of the benefit.
    samples : int
        Draws a sample.
    seed : int
    """

    def __init__(self, oracle: Oracle, *, sigma: float = 1.0, samples: int = 10, seed: int = 0) -> None:
        super().__init__()
        self.oracle, self.sigma, self.samples = oracle, sigma, samples
        self.rng = torch.Generator().manual_seed(seed)

    def forward(self, predicted: Tensor, decision: Tensor) -> Tensor:
        """Compute the loss of each sample.

        Parameters
        ----------
        predicted : Tensor, shape (batch, unit)
        decision : Tensor, shape (batch, unit)
            The right decisions, such as the oracle's for the true benefit.

        Returns
        -------
        Tensor, shape (batch,)
        """
        noise = torch.randn((self.samples, *predicted.shape), generator=self.rng, dtype=predicted.dtype)
        moved = predicted.detach() + self.sigma * noise.to(predicted.device)
        answers = _answer(self.oracle, moved.flatten(0, 1)).unflatten(0, moved.shape[:2])
        value = (moved * answers).sum(dim=2).mean(dim=0) - (predicted.detach() * decision).sum(dim=1)
        return _Subgradient.apply(predicted, value, answers.mean(dim=0) - decision)


def decision_loss(oracle: Oracle, predicted: Tensor, benefit: Tensor) -> Tensor:
    """Compute what decisions on a prediction lose (batch,): the true benefit that is forgone. No gradient."""
    return (benefit * (_answer(oracle, benefit) - _answer(oracle, predicted))).sum(dim=1)
