# /// script
# requires-python = ">=3.11"
# dependencies = ["pulp>=3", "highspy>=1.11", "numpy>=2.3", "scipy>=1.16", "xarray>=2026.4", "pandas>=2.3"]
# ///
"""A minimum set of 100,000 units and 72 features: building against PuLP, solving to 1 %, memory.

    uv run --no-project --script packages/conservation-decisions/benchmarks/allocate.py

PuLP is no dependency of the package: where it is missing, the script runs itself again through uv, which
makes an environment for it. Both sides build the same model; ours is what is then solved.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_ROOT = _PACKAGE.parents[1]
if importlib.util.find_spec("pulp") is None:
    uv = shutil.which("uv") or str(_ROOT / ".uv" / "bin" / "uv")
    command = [uv, "run", "--no-project", "--quiet", "--script", __file__, *sys.argv[1:]]
    raise SystemExit(subprocess.run(command, check=False).returncode)
sys.path[:0] = [str(_PACKAGE / "src"), str(_ROOT / "shared" / "src")]

import numpy as np  # noqa: E402
import pulp  # noqa: E402
from scipy.ndimage import gaussian_filter  # noqa: E402

from conservation_decisions.allocate.model import build_model  # noqa: E402
from conservation_decisions.allocate.problem import Problem  # noqa: E402
from conservation_decisions.allocate.solution import solve_model  # noqa: E402
from conservation_decisions.config import ProblemConfig, SolverConfig  # noqa: E402
from conservation_decisions.landscape import Landscape  # noqa: E402
from isopleth.benchmark import emit, ratio, side  # noqa: E402


def make_problem(units: int, features: int, target: float, seed: int = 0) -> Problem:
    """Make smooth species ranges, each over 5 to 40 % of a square, on land of varying cost."""
    rng = np.random.default_rng(seed)
    width = int(np.ceil(np.sqrt(units)))
    amount = np.empty((features, units))
    for feature, share in enumerate(rng.uniform(0.05, 0.4, features)):
        field = gaussian_filter(rng.standard_normal((width, width)), width / 25).ravel()[:units]
        amount[feature] = np.maximum(field - np.quantile(field, 1 - share), 0.0)
        amount[feature] /= amount[feature].max()
    cost = np.exp(0.5 * gaussian_filter(rng.standard_normal((width, width)), 3).ravel()[:units] * 10)
    return Problem(Landscape.build(cost, amount), ProblemConfig(target=target))


def build_pulp(problem: Problem) -> pulp.LpProblem:
    """Build the same model in PuLP, in the quickest way that it has."""
    cost, amount = problem.landscape.cost.tolist(), problem.landscape.mean_amounts
    model = pulp.LpProblem("minimum_set", pulp.LpMinimize)
    chosen = [pulp.LpVariable(f"x{k}", cat="Binary") for k in range(len(cost))]
    model += pulp.LpAffineExpression(list(zip(chosen, cost, strict=True)))
    for row, target in zip(amount, problem.targets, strict=True):
        present = np.flatnonzero(row / target >= 1e-9)
        share = np.minimum(row[present] / target, 1.0).tolist()
        terms = [(chosen[k], value) for k, value in zip(present.tolist(), share, strict=True)]
        model += pulp.LpConstraint(pulp.LpAffineExpression(terms), sense=pulp.LpConstraintGE, rhs=1.0)
    return model


def clock(run):
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--units", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=72)
    parser.add_argument("--target", type=float, default=0.17)
    parser.add_argument("--gap", type=float, default=0.01)
    parser.add_argument("--seconds", type=float, default=900.0)
    options = parser.parse_args()
    problem = make_problem(options.units, options.features, options.target)
    ours, model = min((clock(lambda: build_model(problem)) for _ in range(3)), key=lambda pair: pair[0])
    solver = SolverConfig(gap=options.gap, seconds=options.seconds, threads=2)
    solution = solve_model(problem, model, solver, building=ours)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    theirs, other = clock(lambda: build_pulp(problem))
    assert sum(map(len, other.constraints.values())) == model.matrix.nnz
    building, pulps = (
        side("building, straight to sparse rows", ours, "s"),
        side("building, PuLP", theirs, "s"),
    )
    solving = side(f"solving to {100 * options.gap:g} % and verifying", solution.solving, "s")
    emit(
        {
            "benchmark": "allocate",
            "sides": [
                building, pulps, solving,
                side("gap reached", 100 * solution.gap, "%"),
                side("peak memory, ours", peak, "MiB"),
                side("numbers in the model", model.matrix.nnz, "nonzeros"),
            ],
            "ratios": [
                ratio("building, times quicker than PuLP", pulps, building, asked=10.0),
                ratio("solving, times the building", solving, building, asked=10.0),
            ],
            "note": f"minimum set, {options.units:,} units x {options.features} features at "
            f"{100 * options.target:g} %: {solution.status}; the solver's linear programs limit it",
        }
    )  # fmt: skip


if __name__ == "__main__":
    main()
