"""Networks for all segments and folds in one batched call, against one after the other.

    python shared/benchmarks/together.py

8,000 cells of 6 models in 5 segments and 5 folds: 25 networks of 256 and 128 units. Each side is given the
same problems, first weights and batches, on each number of threads, and its best counts. Results are equal,
or the benchmark fails: to the last bit where the same code trains one network at a time; with dropout off,
whose masks cannot be the same, to float32's rounding where it is written as usual. EPOCHS=5 makes it short.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from isopleth.benchmark import emit, ratio, side
from isopleth.train import FullyConnectedConfig, Networks, Problem, TogetherConfig, train_together
from isopleth.train.grouped import GroupedTraining, RowChain

ASKED = 2
SEGMENTS = (3000, 2200, 1500, 900, 400)
FOLDS, MODELS = 5, 6
SHAPE = FullyConnectedConfig(hidden=(256, 128), dropout=0.2)
WHOLE = TogetherConfig(epochs=200, batch_size=256)
SHORT = replace(WHOLE, epochs=int(os.environ.get("EPOCHS", "20")))
REPEATS = 2


def make_problems(seed: int = 0) -> list[Problem]:
    """Trends of models and an altimeter: cells one after the other, folds of neighbours; all rows train."""
    rng = np.random.default_rng(seed)
    problems = []
    for segment, size in enumerate(SEGMENTS):
        models = rng.standard_normal((size, MODELS))
        altimeter = (
            np.tanh(models[:, 0]) + 0.3 * models[:, 1] * models[:, 2] + 0.3 * rng.standard_normal(size)
        )
        area, fold = rng.uniform(0.3, 1.0, size), np.arange(size) * FOLDS // size
        for k in range(FOLDS):
            name = f"segment {segment}, fold {k}"
            shared = {"inputs": models, "targets": altimeter, "weights": area}
            problems.append(Problem(name=name, train=fold != k, seed=FOLDS * segment + k, **shared))
    return problems


def train_plainly(problem: Problem, shape: FullyConnectedConfig, config: TogetherConfig) -> nn.Sequential:
    """Train one network as it is usually written; it takes and gives standardised values."""
    (xm, xs), (ym, ys) = problem.standardisation().values()
    x = torch.from_numpy((problem.input_table - xm) / xs).float()
    y = torch.from_numpy((problem.target_table - ym) / ys).float()
    w = torch.from_numpy(problem.row_weights / problem.row_weights[problem.train_rows].mean()).float()
    first = GroupedTraining([problem], shape, config, torch.device("cpu"))
    network = first.networks.select(0).train()
    linears = [layer for layer in network if isinstance(layer, nn.Linear)]
    layers = zip(linears, first.weights.layers([0]), first.biases.layers([0]), strict=True)
    for linear, weight, bias in layers:
        linear.weight.data, linear.bias.data = weight[0].T.contiguous(), bias[0, 0].clone()
    groups = [
        {"params": [linear.weight for linear in linears], "weight_decay": 2 * config.l2},
        {"params": [linear.bias for linear in linears], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.Adam(groups, lr=config.learning_rate, fused=True)
    chain = RowChain(problem.train_rows, seed=problem.seed, batch_size=config.batch_size)
    for step in range(chain.steps(config.epochs)):
        rows = torch.from_numpy(chain.batch(step))
        loss = (w[rows, None] * (network(x[rows]) - y[rows]).square()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def check_equal(problems: list[Problem]) -> float:
    """Assert equal results; return the largest difference from the plain training, in target deviations."""
    torch.set_num_threads(1)
    together = train_together(problems, SHAPE, SHORT).networks
    for k, problem in enumerate(problems):
        alone = train_together([problem], SHAPE, SHORT).networks.state_dict()
        for name, value in together.subset([k]).state_dict().items():
            assert torch.equal(value, alone[name]), (problem.name, name)
    still, few = replace(SHAPE, dropout=0.0), replace(SHORT, epochs=min(SHORT.epochs, 5))
    together = train_together(problems, still, few).networks
    worst = max(_difference(together, k, problem, still, few) for k, problem in enumerate(problems))
    assert worst < 1e-3, worst
    return worst


def _difference(
    together: Networks, k: int, problem: Problem, shape: FullyConnectedConfig, config: TogetherConfig
) -> float:
    (xm, xs), (ym, ys) = problem.standardisation().values()
    inputs = torch.from_numpy((problem.input_table - xm) / xs).float()
    plain = train_plainly(problem, shape, config)(inputs).detach().numpy()
    batched = (together.subset([k]).predict(problem.input_table)[0] - ym) / ys
    return float(np.abs(plain - batched).max())


def count_operations(problems: list[Problem], epochs: int) -> float:
    """Count multiplications and additions of the products: three a layer, but two in the first."""
    hidden = sum(6 * i * o for i, o in pairwise((*SHAPE.hidden, 1)))
    a_row = 4 * MODELS * SHAPE.hidden[0] + hidden
    return float(a_row * epochs * sum(problem.train_rows.size for problem in problems))


def measure_products() -> float:
    """Return the float32 operations a second of large products, the machine's floor."""
    a = torch.randn(1024, 1024)
    seconds = best_seconds(lambda: [torch.mm(a, a) for _ in range(20)], repeats=5)
    return 20 * 2 * 1024**3 / seconds


def best_seconds(work: Callable[[], object], *, repeats: int = REPEATS) -> float:
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def main() -> int:
    problems = make_problems()
    worst = check_equal(problems)
    work: dict[str, Callable[[], object]] = {
        "together": lambda: train_together(problems, SHAPE, SHORT),
        "same code, one by one": lambda: [train_together([problem], SHAPE, SHORT) for problem in problems],
        "nn.Sequential, one by one": lambda: [train_plainly(problem, SHAPE, SHORT) for problem in problems],
    }
    best: dict[str, tuple[float, int]] = {}
    floor = 0.0
    for threads in sorted({1, len(os.sched_getaffinity(0))}):
        torch.set_num_threads(threads)
        floor = max(floor, measure_products())
        for name, run in work.items():
            best[name] = min(best.get(name, (float("inf"), 0)), (best_seconds(run), threads))
    torch.set_num_threads(best["together"][1])
    whole = best_seconds(lambda: train_together(problems, SHAPE, WHOLE), repeats=1)
    operations = count_operations(problems, WHOLE.epochs)
    seconds = {name: side(f"{name}, {SHORT.epochs} epochs", value, "s") for name, (value, _) in best.items()}
    sides = [
        *seconds.values(),
        side(f"together, all {WHOLE.epochs} epochs", whole, "s"),
        side("its products at the machine's best", operations / floor, "s"),
    ]
    threads = ", ".join(f"{name} {count}" for name, (_, count) in best.items())
    note = (
        f"{len(problems)} networks, {operations / 1e12:.2f} TFLOP in {WHOLE.epochs} epochs; the machine's "
        f"best is {floor / 1e9:.0f} GFLOP/s, the whole training's share {operations / floor / whole:.0%}. "
        f"Equal results: the same bits one by one; {worst:.1e} target deviations from nn.Sequential without "
        f"dropout. Threads of the best: {threads}. What is gained over nn.Sequential comes from fewer, "
        "larger calls, and from dropout, whose masks torch draws slowly; what is lost to the floor goes to "
        "masks, narrow products (6 inputs, 1 output) and Adam."
    )
    ratios = [
        ratio(f"{name} / together", seconds[name], seconds["together"], asked=asked)
        for name, asked in (("nn.Sequential, one by one", ASKED), ("same code, one by one", None))
    ]
    ratios.append(ratio("whole training / its products", sides[3], sides[4]))
    emit({"benchmark": "together", "sides": sides, "ratios": ratios, "note": note})
    return 0


if __name__ == "__main__":
    sys.exit(main())
