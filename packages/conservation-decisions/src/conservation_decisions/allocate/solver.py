"""HiGHS, given whole arrays at once, and never trusted blindly."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import highspy
import numpy as np

from conservation_decisions.allocate.model import LinearModel
from conservation_decisions.config import SolverConfig
from conservation_decisions.landscape import Floats
from isopleth.errors import IsoplethError

Status = Literal["optimal", "time limit", "node limit", "infeasible"]

_STATUS: dict[highspy.HighsModelStatus, Status] = {
    highspy.HighsModelStatus.kOptimal: "optimal",
    highspy.HighsModelStatus.kTimeLimit: "time limit",
    # The only limit of this kind that is ever set is that of nodes.
    highspy.HighsModelStatus.kSolutionLimit: "node limit",
    highspy.HighsModelStatus.kInfeasible: "infeasible",
    highspy.HighsModelStatus.kUnboundedOrInfeasible: "infeasible",
}
_TIGHT = 1e-9


@dataclass(frozen=True, eq=False)
class Answer:
    """What the solver found.

    Attributes
    ----------
    status : str
        "optimal" means: to within the gap that was asked for.
    values : array or None
        All variables; None where nothing was found.
    objective, bound : float
        Of the best answer, and below which no answer lies; infinite where unknown.
    seconds : float
    """

    status: Status
    values: Floats | None
    objective: float
    bound: float
    seconds: float

    @property
    def gap(self) -> float:
        """Relative distance of the objective from the bound."""
        return relative_gap(self.objective, self.bound)


def relative_gap(objective: float, bound: float) -> float:
    """Compute how far an objective lies above a bound, as a share of its own size."""
    if not (np.isfinite(objective) and np.isfinite(bound)):
        return float("inf")
    return max(0.0, objective - bound) / max(abs(objective), 1e-12)


def solve(
    model: LinearModel, config: SolverConfig, *, start: Floats | None = None, tight: bool = False
) -> Answer:
    """Solve a mixed-integer linear program.

    "Infeasible" is asked a second time without presolve, because presolve of HiGHS has been wrong about it.

    Parameters
    ----------
    model : LinearModel
    config : SolverConfig
    start : array, optional
        Values of the first variables to begin with; the solver completes them. Those of the units are enough.
    tight : bool
        Hold constraints to 1e-9 instead of 1e-6.

    Raises
    ------
    IsoplethError
        If the solver breaks down.
    """
    began = time.perf_counter()
    scale = _objective_scale(model)
    highs = _load(model, config, scale, tight=tight)
    if start is not None:
        highs.setSolution(len(start), np.arange(len(start), dtype=np.int32), np.asarray(start, np.float64))
    highs.run()
    if _STATUS.get(highs.getModelStatus()) == "infeasible":
        highs.setOptionValue("presolve", "off")
        highs.clearSolver()
        highs.run()
    return _read(highs, model, scale, began)


def _load(model: LinearModel, config: SolverConfig, scale: float, *, tight: bool) -> highspy.Highs:
    highs = highspy.Highs()
    options = {
        "output_flag": False,
        "mip_rel_gap": float(config.gap),
        "mip_abs_gap": _TIGHT,
        "time_limit": float(config.seconds),
        "threads": int(config.threads),
        "random_seed": int(config.seed),
    }
    if config.nodes:
        options["mip_max_nodes"] = int(config.nodes)
    if tight:
        options |= {"mip_feasibility_tolerance": _TIGHT, "primal_feasibility_tolerance": _TIGHT}
    for name, value in options.items():
        highs.setOptionValue(name, value)
    matrix = model.matrix
    highs.passModel(
        model.cost.size, model.row_lower.size, matrix.nnz, int(highspy.MatrixFormat.kRowwise),
        int(highspy.ObjSense.kMinimize), model.offset * scale, model.cost * scale, model.lower, model.upper,
        model.row_lower, model.row_upper, matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32),
        matrix.data, model.integer.astype(np.int32),
    )  # fmt: skip
    return highs


def _objective_scale(model: LinearModel) -> float:
    """Bring costs near 1 by a power of two, which rounds nothing."""
    costs = np.abs(model.cost[model.cost != 0])
    return float(2.0 ** -np.round(np.log2(np.median(costs)))) if costs.size else 1.0


def _read(highs: highspy.Highs, model: LinearModel, scale: float, began: float) -> Answer:
    found = _STATUS.get(highs.getModelStatus())
    if found is None:
        raise IsoplethError(
            f"the solver must end well, got {highs.modelStatusToString(highs.getModelStatus())!r}"
        )
    info, solution = highs.getInfo(), highs.getSolution()
    feasible = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    values = np.array(solution.col_value) if feasible and found != "infeasible" else None
    if values is not None:
        values[model.integer] = np.round(values[model.integer])
    mixed = bool(model.integer.any())
    bound = info.mip_dual_bound if mixed else info.objective_function_value
    return Answer(
        status=found,
        values=values,
        objective=info.objective_function_value / scale if values is not None else float("inf"),
        bound=bound / scale if abs(bound) < highspy.kHighsInf and found != "infeasible" else float("-inf"),
        seconds=time.perf_counter() - began,
    )
