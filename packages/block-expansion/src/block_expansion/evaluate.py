"""From runs to one table and to verdicts: target against retention, matched, over seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from block_expansion import __version__
from block_expansion.config import EvaluateConfig
from isopleth.config import config_hash
from isopleth.errors import DataError
from isopleth.io.write import write_json
from isopleth.report import (
    Claim,
    Cost,
    DataCard,
    Evaluation,
    Provenance,
    Score,
    fingerprint,
    publish,
)
from isopleth.verify import Interval, student_interval

if TYPE_CHECKING:
    from block_expansion.train import Adapted

RECORD = "adapted.json"
# Two runs are as good on the new domain if their validation accuracies differ by no more than this.
_MATCHED = 0.01


def evaluate_runs(config: EvaluateConfig) -> dict[str, Any]:
    """Compare trained runs: the verb ``evaluate``."""
    from block_expansion.figures import draw_curves, draw_plane

    runs = read_runs(config.runs)
    ours = [run.method for run in runs if run.method.startswith("block expansion")]
    evaluation = Evaluation(
        tool="block-expansion",
        version=__version__,
        task="Adapt a pretrained vision transformer to a new domain, and keep what it knew of the old one.",
        data=DataCard(
            name=Path(config.runs).name, kind="real", source=str(config.runs),
            train="training images of the new domain", test="test images of both domains",
            fingerprint=fingerprint(json.dumps([asdict(run) for run in runs], sort_keys=True)),
        ),
        scores=score_methods(runs, ours[0] if ours else runs[0].method),
        claims=judge_methods(runs, ours[0]) if ours else (),
        cost=Cost.of(parameters=runs[0].parameters),
        provenance=Provenance.collect(
            f"block-expansion evaluate {config.runs}", config_hash(config), runs[0].seed,
            packages=["block-expansion", "peft", "timm"],
        ),
    )  # fmt: skip
    if all(run.retained for run in runs):
        draw_plane(config.out, runs)
        draw_curves(config.out, runs)
    return {**publish(config.out, evaluation), **sum_up(evaluation)}


def sum_up(evaluation: Evaluation) -> dict[str, Any]:
    """Sum an evaluation up in a few numbers."""
    return {
        score.variable: {
            "model": round(score.model, 2),
            **{k: round(v, 2) for k, v in score.baselines.items()},
        }
        for score in evaluation.scores
    }


def write_run(folder: Path, run: Adapted) -> None:
    """Write what an adaptation brought."""
    write_json(folder / RECORD, asdict(run))


def read_runs(folder: Path) -> list[Adapted]:
    """Read a run, or all runs in a folder.

    Raises
    ------
    DataError
        If there is none, or one cannot be read.
    """
    from block_expansion.retention import Retained
    from block_expansion.train import Adapted

    paths = sorted(Path(folder).rglob(RECORD))
    if not paths:
        raise DataError(
            f"a folder of runs must hold {RECORD}, got none", where=folder, hint="block-expansion train"
        )
    runs = []
    for path in paths:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            for name in ("retained", "before"):
                record[name] = record[name] and Retained(**record[name])
            record["curve"] = {int(step): Retained(**each) for step, each in record["curve"].items()}
            runs.append(Adapted(**record))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"a run's record must be as train wrote it, got {error}", where=path) from error
    return runs


def choose_runs(runs: Sequence[Adapted], method: str) -> list[Adapted]:
    """Give a method's run of each seed, at the learning rate that was best in validation."""
    seeds = sorted({run.seed for run in runs})
    own = [[run for run in runs if run.method == method and run.seed == seed] for seed in seeds]
    return [max(each, key=lambda run: run.target_val) for each in own if each]


def match_run(runs: Sequence[Adapted], chosen: Adapted, method: str) -> Adapted:
    """Give the run of another method that is as good on the new domain and remembers most.

    Of its learning rates those within a point of `chosen` in validation, or above, are candidates. If none
    gets there, it is the one that comes nearest: it pays for its memory with accuracy.
    """
    own = [run for run in runs if run.method == method and run.seed == chosen.seed]
    reaching = [run for run in own if run.target_val >= chosen.target_val - _MATCHED]
    if not reaching:
        return max(own, key=lambda run: run.target_val)
    return max(reaching, key=_knn)


def compare_fronts(runs: Sequence[Adapted], method: str, rival: str, seed: int) -> float:
    r"""Return by how much more a method retains than a rival at equal accuracy, mean over accuracies.

    A method's front is :math:`F(a)`, the most that any of its learning rates retains whose validation
    accuracy on the new domain is at least :math:`a`. The difference of two fronts is averaged over the
    accuracies from the larger of their lowest to the smaller of their highest, exactly: fronts are
    staircases. It changes its sign with the order of the methods, and nobody's learning rate is chosen.

    Parameters
    ----------
    runs : sequence of Adapted
    method, rival : str
    seed : int
    """
    points = [
        np.array([(run.target_val, _knn(run)) for run in runs if (run.method, run.seed) == (name, seed)])
        for name in (method, rival)
    ]
    low = max(own[:, 0].min() for own in points)
    high = min(own[:, 0].max() for own in points)
    if low >= high:
        return _retain_at(points[0], high) - _retain_at(points[1], high)
    steps = np.concatenate([own[:, 0] for own in points])
    edges = np.unique(np.concatenate([[low, high], steps[(steps > low) & (steps < high)]]))
    # Between two edges a front is what it is at the upper one.
    differences = [_retain_at(points[0], edge) - _retain_at(points[1], edge) for edge in edges[1:]]
    return float(np.average(differences, weights=np.diff(edges)))


def _retain_at(points: np.ndarray, accuracy: float) -> float:
    return float(points[points[:, 0] >= accuracy, 1].max())


def list_methods(runs: Sequence[Adapted]) -> list[str]:
    """List the methods in the order in which they come."""
    return list(dict.fromkeys(run.method for run in runs))


def score_methods(runs: Sequence[Adapted], ours: str) -> tuple[Score, ...]:
    """Make the table: target, retained, mean, parameters, seconds and, on GPUs, memory of every method."""
    chosen = {method: choose_runs(runs, method) for method in list_methods(runs)}
    rows: list[tuple[str, str, str, Any]] = [
        ("accuracy", "new domain", "%", lambda run: 100 * run.target_test)
    ]
    if all(run.retained for run in runs):
        rows += [
            ("accuracy", "old domain, k-NN", "%", lambda run: 100 * _knn(run)),
            ("accuracy", "mean of new and old", "%", _mean),
            ("accuracy", "old domain, frozen old head", "%", lambda run: 100 * run.retained.frozen_head),
        ]
    rows += [
        ("trainable parameters", "network", "1", lambda run: float(run.parameters)),
        ("training time", "network", "s", lambda run: run.seconds),
    ]
    if all(run.memory_mb is not None for run in runs):
        rows.append(("peak memory of training", "GPU", "MiB", lambda run: run.memory_mb))
    return tuple(_score(chosen, ours, *row) for row in rows)


def judge_methods(runs: Sequence[Adapted], ours: str) -> tuple[Claim, ...]:
    """Decide what the paper claims, and what a deployed adapter promises."""
    if not all(run.retained for run in runs):
        return ()
    chosen, methods = choose_runs(runs, ours), list_methods(runs)
    rivals = [name for name in methods if name == "full fine-tuning" or name.startswith(("LoRA", "top "))]
    claims = [
        _judge(
            f"{_capital(ours)} retains more than {rival} at matched accuracy on the new domain",
            [100 * (_knn(run) - _knn(match_run(runs, run, rival))) for run in chosen],
            "k-NN accuracy on the old domain, the other's best learning rate within a point in validation",
        )
        for rival in rivals
    ]
    claims += [
        _judge(
            f"The front of {ours} lies above that of {rival}",
            [100 * compare_fronts(runs, ours, rival, run.seed) for run in chosen],
            "k-NN accuracy on the old domain at equal validation accuracy on the new one, mean over the "
            "accuracies that both reach by their learning rates",
        )
        for rival in rivals
    ]
    if "linear probe" in methods:
        probe = choose_runs(runs, "linear probe")
        claims.append(
            _judge(
                f"{_capital(ours)} has a higher mean of both accuracies than the linear probe",
                [_mean(a) - _mean(b) for a, b in zip(chosen, probe, strict=True)],
                "each at the learning rate that was best in validation of the new domain",
            )
        )
    claims.append(
        _judge(
            f"The old head keeps working on features of {ours}",
            [
                100 * (run.retained.frozen_head - run.before.frozen_head)
                for run in chosen
                if run.retained and run.before
            ],
            "accuracy of the head fitted before adaptation, after less before; holds if it does not fall",
        )
    )
    return (*claims, _judge_disabled(runs))


def _judge(sentence: str, differences: Sequence[float], how: str) -> Claim:
    """Judge by Student's interval over seeds; one seed decides nothing."""
    count = len(differences)
    evidence = f"{how}; {count} seed{'s' if count > 1 else ', which decides nothing'}"
    if count < 2:
        return Claim(claim=sentence, holds=None, evidence=evidence, difference=differences[0], units="%")
    return Claim.judge(sentence, student_interval(differences), better="higher", evidence=evidence, units="%")


def _judge_disabled(runs: Sequence[Adapted]) -> Claim:
    with_adapter = [run.disabled for run in runs if run.disabled is not None]
    worst = max(with_adapter, default=0.0)
    return Claim(
        claim="With the adapter disabled nothing is forgotten, to the last bit",
        holds=worst == 0.0 if with_adapter else None,
        difference=worst,
        evidence=f"largest difference of a feature of the old domain's test images, "
        f"{len(with_adapter)} trained "
        "adapters (block expansion and LoRA)",
    )


def _score(
    chosen: dict[str, list[Adapted]], ours: str, metric: str, variable: str, units: str, value: Any
) -> Score:
    means = {method: float(np.mean([value(run) for run in own])) for method, own in chosen.items()}
    if variable.startswith("old domain"):
        name = "knn" if "k-NN" in variable else "frozen_head"
        means["un-adapted"] = float(np.mean([100 * getattr(run.before, name) for run in chosen[ours]]))
    own = [value(run) for run in chosen[ours]]
    found: Interval | None = student_interval(own) if len(own) > 1 and metric == "accuracy" else None
    return Score(
        metric=metric, variable=variable, units=units, better="higher" if metric == "accuracy" else "lower",
        model=means.pop(ours), baselines=means, n=len(own), interval=found.ends if found else None,
    )  # fmt: skip


def _knn(run: Adapted) -> float:
    assert run.retained is not None
    return run.retained.knn


def _mean(run: Adapted) -> float:
    return 50 * (run.target_test + _knn(run))


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]
