"""What the verbs do with files: open, decide, write, and sum up."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from conservation_decisions.allocate import (
    Problem,
    Solution,
    allocate,
    anneal,
    find_portfolio,
    measure_equity,
    rank_importance,
    replacement_cost,
    verify_selection,
)
from conservation_decisions.check import check_landscape, check_problem, explain
from conservation_decisions.config import (
    AllocateConfig,
    CheckConfig,
    EvaluateConfig,
    ExportConfig,
    ImportConfig,
    InterveneConfig,
    PlanConfig,
)
from conservation_decisions.geometry import centres_in_metres
from conservation_decisions.intervene import (
    MDP,
    POMDP,
    Arms,
    build_graph,
    repair_arms,
    simulate_arms,
    solve_mdp,
    solve_pomdp,
    whittle_indices,
    write_rules,
)
from conservation_decisions.intervene.process import read_process
from conservation_decisions.landscape import Landscape
from conservation_decisions.output import write_layers
from conservation_decisions.plan import (
    Information,
    PatrolProblem,
    choose_sites,
    find_post,
    route_exactly,
    route_greedily,
    route_minimax,
)
from conservation_decisions.sources import open_landscape
from conservation_decisions.sources.marxan import write_marxan
from conservation_decisions.sources.stored import read_dataset
from isopleth.errors import DataError
from isopleth.io import write_json, write_text

logger = logging.getLogger("isopleth.conservation_decisions")
# Years over which Whittle's rule is simulated beside others.
_YEARS = 50


def check_source(config: CheckConfig) -> dict[str, Any]:
    """Check a landscape and a problem: the verb ``check``."""
    landscape = open_landscape(config.source)
    findings = check_landscape(landscape)
    conflict: list[str] = []
    # A problem that cannot even be written down is a finding too, and no failure of the check.
    try:
        problem = Problem(landscape, config.problem)
    except DataError as error:
        return {**_describe(landscape), "findings": [f.what for f in findings] + [str(error)], "severe": True}
    findings += check_problem(problem)
    if config.problem.objective == "min_set" or config.problem.has_budget:
        conflict = explain(problem, solver=config.solver)
    return {
        **_describe(landscape),
        "findings": [one.what for one in findings],
        "severe": any(one.severe for one in findings) or bool(conflict),
        "smallest_conflict": conflict,
    }


def _describe(landscape: Landscape) -> dict[str, Any]:
    return {
        "units": landscape.units,
        "features": len(landscape.features),
        "members": landscape.members,
        "edges": landscape.edges[2].size,
    }


def allocate_source(config: AllocateConfig) -> dict[str, Any]:
    """Choose units of a landscape and write them down: the verb ``allocate``."""
    landscape = open_landscape(config.source)
    problem = Problem(landscape, config.problem)
    for finding in (*check_landscape(landscape), *check_problem(problem)):
        logger.warning("%s: %s", finding.kind, finding.what)
    solution = allocate(problem, config.solver)
    told = solution.describe()
    if solution.status == "infeasible":
        told["smallest_conflict"] = explain(problem, solver=config.solver)
    if solution.selected is None:
        return told
    layers: dict[str, Any] = {"selected": solution.selected.astype(np.float64)}
    if landscape.group_names:
        equity = measure_equity(problem, solution.selected)
        shares = dict(zip(equity.names, equity.share.round(4).tolist(), strict=True))
        told["equity"] = {"share": shares, "gini": equity.gini}
    if config.annealing:
        told["annealing"] = _compare_annealing(problem, solution, config.solver.seed)
    if config.importance:
        layers["replacement_cost"] = replacement_cost(solution, solver=config.solver)
        layers["rank_importance"] = rank_importance(solution, solver=config.solver)
    others = find_portfolio(
        solution, config.portfolio, distinct=config.distinct, slack=config.slack, solver=config.solver
    )
    for number, other in enumerate(others, 1):
        layers[f"alternative_{number}"] = np.asarray(other.selected, np.float64)
    if config.portfolio:
        told["portfolio"] = [other.objective for other in others]
    told["written"] = [
        str(path) for path in write_layers(landscape, layers, config.out, "allocation", config.output)
    ]
    write_json(config.out / "allocation.json", _finite(told))
    return told


def _compare_annealing(problem: Problem, solution: Solution, seed: int) -> dict[str, Any]:
    chosen = anneal(problem, seed=seed)
    objective = problem.objective(chosen)
    return {
        "objective": objective,
        "worse_by": objective / solution.objective - 1 if solution.objective > 0 else float("nan"),
        "broken": verify_selection(problem, chosen),
    }


def plan_source(config: PlanConfig) -> dict[str, Any]:
    """Route patrols or place sites and write them down: the verb ``plan``."""
    landscape = open_landscape(config.source)
    if config.kind == "monitoring":
        return _plan_monitoring(landscape, config)
    post = config.post if config.post >= 0 else find_post(landscape)
    problem = PatrolProblem(
        landscape=landscape, post=post, patrols=config.patrols, steps=config.steps,
        step_minutes=config.step_minutes, speed_kmh=config.speed_kmh, rate=config.rate,
    )  # fmt: skip
    greedy = route_greedily(problem)
    if config.kind == "regret":
        robust = route_minimax(problem, config.solver)
        routes = robust.routes
        told: dict[str, Any] = {
            "largest_regret": float(robust.regret.max()),
            "bound": robust.bound,
            "optimality_gap": robust.gap,
            "seconds": robust.seconds,
        }
    else:
        exact = route_exactly(problem, config.solver)
        routes = exact.routes
        told = {
            "detections": exact.value,
            "bound": exact.bound,
            "optimality_gap": exact.gap,
            "seconds": exact.seconds,
        }
    told["greedy_detections"] = greedy.value
    if routes is None:
        return {**told, "status": "limit reached"}
    effort = problem.effort(routes).astype(np.float64)
    written = write_layers(landscape, {"effort": effort}, config.out, "effort", config.output)
    if not config.output.coarsen_m:
        written.append(_write_routes(problem, routes, config.out))
    told |= {"routes": len(routes), "minutes": config.steps * config.step_minutes}
    told |= {"written": [str(path) for path in written]}
    write_json(config.out / "plan.json", _finite(told))
    return told


def _write_routes(problem: PatrolProblem, routes: list[list[int]], folder: Path) -> Path:
    units = problem.landscape.dataset["unit"].values
    rows = [
        (number, step, step * problem.step_minutes, units[cell])
        for number, route in enumerate(routes, 1)
        for step, cell in zip(problem.arrivals(route), route, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["patrol", "step", "minutes", "unit"])
    return write_text(folder / "routes.csv", table.to_csv(index=False))


def _plan_monitoring(landscape: Landscape, config: PlanConfig) -> dict[str, Any]:
    objective = Information(centres_in_metres(landscape), reach=config.range_m, noise=config.noise)
    sites, gains = choose_sites(objective, config.sites)
    order = np.full(landscape.units, np.nan)
    order[sites] = np.arange(1, len(sites) + 1)
    written = write_layers(landscape, {"order": order}, config.out, "sites", config.output)
    told = {"sites": len(sites), "information_nats": sum(gains), "written": [str(path) for path in written]}
    write_json(config.out / "plan.json", told)
    return told


def intervene_source(config: InterveneConfig) -> dict[str, Any]:
    """Find a policy and write it down: the verb ``intervene``."""
    found = _open_process(config)
    if isinstance(found, MDP):
        told = _intervene_seen(found, config.out)
    elif isinstance(found, POMDP):
        told = _intervene_unseen(found, config)
    else:
        told = _intervene_many(*found, config)
    write_json(config.out / "intervention.json", _finite(told))
    return told


def _open_process(config: InterveneConfig) -> MDP | POMDP | tuple[Arms, Landscape | None]:
    """Open a decision process, or the arms that a landscape's units make."""
    path = Path(config.source)
    if path.suffix in (".nc", ".zarr"):
        if not path.exists():
            raise DataError("a decision process must be a file or store that exists, got none", where=path)
        ds = read_dataset(path)
        if "cost" not in ds:
            return _read_process(ds, config)
    landscape = open_landscape(path)
    decay = landscape.threats.mean(axis=0)
    return repair_arms(decay, repair=config.repair, discount=config.discount), landscape


def _read_process(ds: xr.Dataset, config: InterveneConfig) -> MDP | POMDP | tuple[Arms, None]:
    try:
        process = read_process(ds, discount=config.discount)
    except DataError as error:
        raise DataError(error.what, where=config.source, hint=error.hint) from error
    return (process, None) if isinstance(process, Arms) else process


def _intervene_seen(mdp: MDP, out: Path) -> dict[str, Any]:
    found = solve_mdp(mdp)
    rules = write_rules((mdp, found))
    write_text(out / "rules.txt", "\n".join(rules) + "\n")
    return {
        "policy": {state: mdp.actions[k] for state, k in zip(mdp.states, found.policy, strict=True)},
        "value": dict(zip(mdp.states, found.value.tolist(), strict=True)),
        "rules": rules,
    }


def _intervene_unseen(pomdp: POMDP, config: InterveneConfig) -> dict[str, Any]:
    solution = solve_pomdp(pomdp, precision=config.precision, seconds=config.seconds)
    graph = build_graph(solution)
    rules = write_rules(graph)
    write_text(config.out / "rules.txt", "\n".join(rules) + "\n")
    write_text(config.out / "policy.dot", graph.to_dot() + "\n")
    write_json(config.out / "policy.json", graph.to_dict())
    return {"lower": solution.lower, "upper": solution.upper, "gap": solution.gap, "rules": rules}


def _intervene_many(arms: Arms, landscape: Landscape | None, config: InterveneConfig) -> dict[str, Any]:
    found = whittle_indices(arms)
    random = np.random.default_rng(0).random((_YEARS, arms.arms, arms.states))
    policies = {"whittle": found.index, "random": random, "nothing": np.full(found.index.shape, np.nan)}
    told: dict[str, Any] = {
        "arms": arms.arms,
        "indexable": int(found.indexable.sum()),
        "reward_per_year": {
            name: float(simulate_arms(arms, rank, config.budget, years=_YEARS).mean())
            for name, rank in policies.items()
        },
    }
    if landscape is None:
        table = pd.DataFrame(found.index, columns=[f"state_{k}" for k in range(arms.states)])
        told["written"] = [str(write_text(config.out / "indices.csv", table.to_csv(index_label="arm")))]
    else:
        layers = {"index_bad": found.index[:, 0], "index_good": found.index[:, 1]}
        written = write_layers(landscape, layers, config.out, "indices", config.output)
        told["written"] = [str(path) for path in written]
    return told


def evaluate_source(config: EvaluateConfig) -> dict[str, Any]:
    """Evaluate decisions on a landscape's own members: the verb ``evaluate``."""
    from conservation_decisions.evaluate.report import evaluate_landscape

    return evaluate_landscape(open_landscape(config.source), config)


def import_source(config: ImportConfig) -> dict[str, Any]:
    """Read anything that holds a landscape into one store: the verb ``import-marxan``."""
    landscape = open_landscape(config.source)
    return {**_describe(landscape), "landscape": str(landscape.save(config.out))}


def export_source(config: ExportConfig) -> dict[str, Any]:
    """Write a landscape as a Marxan folder: the verb ``export-marxan``."""
    landscape = open_landscape(config.source)
    folder = write_marxan(landscape, config.out, target=config.target)
    return {**_describe(landscape), "folder": str(folder)}


def _finite(value: Any) -> Any:
    """Write what JSON has no number for as null."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
