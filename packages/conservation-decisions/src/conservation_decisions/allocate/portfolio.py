"""Other answers that are nearly as good and really different."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import sparse

from conservation_decisions.allocate.model import LinearModel, build_model
from conservation_decisions.allocate.solution import Solution, solve_model
from conservation_decisions.config import SolverConfig
from conservation_decisions.landscape import Bools


def find_portfolio(
    best: Solution,
    count: int,
    *,
    distinct: float = 0.1,
    slack: float = 0.05,
    solver: SolverConfig | None = None,
) -> list[Solution]:
    r"""Find answers each of which differs from all others in enough units.

    After each answer :math:`S` a cut is added that at least :math:`d` of the chosen units be given up:

    .. math:: \sum_{i \in S} (1 - x_i) \ge d

    Parameters
    ----------
    best : Solution
        The first answer.
    count : int
        How many more to look for.
    distinct : float
        d, as a share of the units that the first answer chose freely.
    slack : float
        How much worse an answer may be than the first, as a share of its objective.
    solver : SolverConfig, optional

    Returns
    -------
    list of Solution
        Fewer than `count` where no further one is good enough.
    """
    if best.selected is None:
        return []
    model, problem = build_model(best.problem), best.problem
    freely = best.selected & ~problem.locked_in
    least = max(1.0, np.ceil(distinct * freely.sum()))
    limit = best.objective + slack * abs(best.objective)
    found = [best]
    for _ in range(count):
        cut = [one.selected & ~problem.locked_in for one in found if one.selected is not None]
        answer = solve_model(problem, _differ(model, cut, least), solver or SolverConfig())
        if answer.selected is None or answer.objective > limit + 1e-9:
            break
        found.append(answer)
    return found[1:]


def _differ(model: LinearModel, answers: list[Bools], least: float) -> LinearModel:
    """Add a row for each answer: at least so many of its units are given up."""
    units = sparse.csr_array(np.array(answers, dtype=np.float64))
    rows = sparse.csr_array((units.data, units.indices, units.indptr), shape=(len(answers), model.cost.size))
    return replace(
        model,
        matrix=sparse.vstack([model.matrix, rows], format="csr"),
        row_lower=np.concatenate([model.row_lower, np.full(len(answers), -np.inf)]),
        row_upper=np.concatenate([model.row_upper, units.sum(axis=1) - least]),
    )
