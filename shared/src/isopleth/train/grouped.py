"""The state of many networks in training, and one step of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isopleth.errors import TrainingError
from isopleth.train.dropout import DropoutNoise, words_of_row
from isopleth.train.fully_connected import FullyConnectedConfig, NetworksConfig, TogetherConfig
from isopleth.train.networks import Networks, propagate
from isopleth.train.parameters import ParameterRows
from isopleth.train.problems import Problem, Tables
from isopleth.train.randomness import derive_seed

# Numbers in the widest hidden layer of networks that are stepped at once: on a CPU about what its cache
# holds, elsewhere to bound memory.
_AT_ONCE = {"cpu": 2**19}
_AT_ONCE_ELSEWHERE = 2**26
# Validation rows at once.
_ROWS = 1024
# What a seed is used for besides the weights.
_ORDER, _DROPOUT = 1, 2


class RowChain:
    """Batches of one network: an endless chain of shuffles of its rows, cut into equal lengths.

    Parameters
    ----------
    rows : array of int, shape (n,)
    seed : int
        Shuffle number e follows from (seed, e) alone.
    batch_size : int
        Rows of a batch, at most n of them.
    """

    def __init__(self, rows: np.ndarray, *, seed: int, batch_size: int) -> None:
        self.rows, self.seed = rows, seed
        self.size = min(batch_size, len(rows))
        self._shuffles: dict[int, np.ndarray] = {}

    def steps(self, epochs: int) -> int:
        """Count the batches that show every row at least so many times."""
        return -(-epochs * len(self.rows) // self.size)

    def batch(self, step: int) -> np.ndarray:
        """Give the rows of a step, whatever was asked for before."""
        shuffle, place = divmod(step * self.size, len(self.rows))
        head = self._shuffle(shuffle)[place : place + self.size]
        if len(head) == self.size:
            return head
        return np.concatenate([head, self._shuffle(shuffle + 1)[: self.size - len(head)]])

    def _shuffle(self, number: int) -> np.ndarray:
        if number not in self._shuffles:
            drawn = np.random.default_rng([self.seed, _ORDER, number]).permutation(self.rows)
            self._shuffles = {key: rows for key, rows in self._shuffles.items() if key == number - 1}
            self._shuffles[number] = drawn
        return self._shuffles[number]


class GroupedTraining:
    """Networks in training, longest first, so that those still at work are always the first ones.

    Parameters
    ----------
    problems : sequence of Problem
        Of equal numbers of inputs and outputs.
    shape, config
        Of every network, and of its training.
    device : device

    Attributes
    ----------
    order : array of int
        Which problem each network is.
    step : int
        Steps done.
    scores, best_steps, waits, ends : array, shape (network,)
        Best validation score and when it was; looks since then; after how many steps it is done.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        shape: FullyConnectedConfig,
        config: TogetherConfig,
        device: torch.device,
    ) -> None:
        self.config, self.device = config, device
        chains = [RowChain(p.train_rows, seed=p.seed, batch_size=config.batch_size) for p in problems]
        lengths = np.array([chain.steps(config.epochs) for chain in chains])
        fills = np.array([_filled(chain.size, config.batch_size) for chain in chains])
        self.order = np.lexsort((-fills, -lengths))
        self.problems = [problems[k] for k in self.order]
        self.tables = Tables(self.problems, device)
        self.chains = [
            RowChain(rows, seed=problem.seed, batch_size=config.batch_size)
            for rows, problem in zip(self.tables.train, self.problems, strict=True)
        ]
        self.networks = _new_networks(self.problems, shape).to(device)
        self.noise = DropoutNoise([derive_seed(p.seed, _DROPOUT) for p in self.problems], device=device)
        self.weight_means = torch.tensor(
            [float(p.row_weights[p.train_rows].mean(dtype=np.float64)) for p in self.problems], device=device
        )
        self.weights = ParameterRows(list(self.networks.weights), l2=config.l2)
        self.biases = ParameterRows(list(self.networks.biases), l2=0.0)
        self.losses = torch.zeros(len(problems), device=device)
        self.step = 0
        self.ends, self.fills = lengths[self.order], fills[self.order]
        # Looks are at least an epoch apart: one costs a pass over all validation rows.
        self.intervals = np.array([max(config.validate_every, chain.steps(1)) for chain in self.chains])
        self.scores = np.full(len(problems), np.inf)
        self.best_steps = np.zeros(len(problems), np.int64)
        self.waits = np.zeros(len(problems), np.int64)

    @property
    def active(self) -> int:
        """How many networks, from the first on, are still in training or precede one that is."""
        going = np.flatnonzero(self.ends > self.step)
        return int(going[-1]) + 1 if going.size else 0

    def advance(self) -> None:
        """Take a step in every active network, and look at the validation rows where it is time."""
        active = self.active
        for some in self._parts(self.fills[:active]):
            self._step(some, int(self.fills[some.start]))
        self.step += 1
        due = (self.step % self.intervals[:active] == 0) & (self.step <= self.ends[:active])
        self._look(np.flatnonzero(due | (self.step == self.ends[:active])))

    def check_finite(self) -> None:
        """Raise `TrainingError` if the last loss of a network is not finite; names it."""
        broken = np.flatnonzero(~torch.isfinite(self.losses).cpu().numpy())
        if broken.size:
            names = ", ".join(self.problems[k].name for k in broken[:4])
            more = f" and {broken.size - 4} more" if broken.size > 4 else ""
            raise TrainingError(
                f"the loss must be finite, got {float(self.losses[broken[0]])} by step {self.step} in "
                f"{names}{more}",
                hint="try a lower learning rate, or look for outliers in its rows",
            )

    def result(self) -> Networks:
        """Give the networks with their best weights, in the order of the problems."""
        for rows, parameters in (
            (self.weights, self.networks.weights),
            (self.biases, self.networks.biases),
        ):
            rows.return_to_kept()
            for parameter, values in zip(parameters, rows.layers(slice(None)), strict=True):
                parameter.copy_(values)
        return self.networks.subset(np.argsort(self.order).tolist())

    def state(self) -> dict[str, Any]:
        """Give what is needed to go on, as tensors and numbers."""
        return {
            "step": self.step,
            "tensors": self._tensors,
            **{name: torch.from_numpy(getattr(self, name)) for name in _PROGRESS},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a `state` of the same problems and settings."""
        self.step = int(state["step"])
        for tensor, saved in zip(self._tensors, state["tensors"], strict=True):
            tensor.copy_(saved)
        for name in _PROGRESS:
            getattr(self, name)[:] = state[name].numpy()

    @property
    def _tensors(self) -> list[Tensor]:
        return [*self.weights.state, *self.biases.state, self.losses]

    def _parts(self, fills: np.ndarray) -> Iterator[slice]:
        """Divide networks into runs of equal batches, not longer than is good to step at once."""
        limit = _AT_ONCE.get(self.device.type, _AT_ONCE_ELSEWHERE)
        for start, end in pairwise([0, *(np.flatnonzero(np.diff(fills)) + 1), len(fills)]):
            at_once = max(1, limit // (int(fills[start]) * max(self.networks.config.widths)))
            yield from (slice(k, min(k + at_once, end)) for k in range(start, end, at_once))

    def _step(self, some: slice, size: int) -> None:
        config = self.networks.config
        batches = [chain.batch(self.step) for chain in self.chains[some]]
        weights, biases = self.weights.layers(some), self.biases.layers(some)
        leaves = [leaf.requires_grad_() for leaf in (*weights, *biases)]
        words = None
        if config.shape.dropout and config.shape.hidden:
            width = words_of_row(config.shape.hidden)
            # As many rows whoever the companions are: on a GPU the numbers depend on how many are drawn.
            words = self.noise.draw((self.step,), self.config.batch_size, width, some)[:, :size]
        squares, _ = self._squared_errors(weights, biases, some, batches, size, words)
        sizes = torch.tensor([len(batch) for batch in batches], device=self.device)
        losses = squares / (self.weight_means[some] * sizes)
        self.losses[some] = losses.detach()
        gradients = torch.autograd.grad(losses.sum(), leaves)
        for rows, part in (
            (self.weights, gradients[: len(weights)]),
            (self.biases, gradients[len(weights) :]),
        ):
            rows.descend(part, some, step=self.step, learning_rate=self.config.learning_rate)

    def _squared_errors(
        self,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        some: Any,
        rows: Sequence[np.ndarray],
        size: int,
        words: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Sum weight times squared error, and weight, over rows of each of some networks."""
        networks, tables = self.networks, self.tables
        index, known = (torch.from_numpy(part).to(self.device) for part in _fill(rows, size))
        x = (tables.inputs[index] - networks.input_mean[some]) / networks.input_scale[some]
        y = (tables.targets[index] - networks.target_mean[some]) / networks.target_scale[some]
        share = tables.weights[index] * known
        out = propagate(x, weights, biases, words, networks.config.shape.dropout)
        return (share * (out - y).square().mean(-1)).sum(1), share.sum(1)

    @torch.no_grad()
    def _look(self, due: np.ndarray) -> None:
        """Score some networks on their validation rows, and keep the weights of those at their best."""
        if not due.size:
            return
        scores = self._scores(due)
        unscored = np.isnan(scores) & np.array([rows.size == 0 for rows in self._validation(due)])
        better = (scores < self.scores[due]) | (unscored & (self.step == self.ends[due]))
        self.scores[due[better]] = scores[better]
        self.best_steps[due[better]] = self.step
        self.waits[due] = np.where(better | unscored, 0, self.waits[due] + 1)
        for rows in (self.weights, self.biases):
            rows.keep(due[better])
        if self.config.patience is not None:
            self.ends[due[self.waits[due] >= self.config.patience]] = self.step

    def _scores(self, due: np.ndarray) -> np.ndarray:
        fills = np.array([_filled(rows.size, _ROWS) for rows in self._validation(due)])
        order = np.argsort(fills, kind="stable")
        found = np.full(len(due), np.nan)
        for some in self._parts(fills[order]):
            places = order[some]
            found[places] = self._score(due[places], int(fills[places[0]]))
        return found

    def _score(self, part: np.ndarray, size: int) -> np.ndarray:
        rows = self._validation(part)
        weights, biases = self.weights.layers(part), self.biases.layers(part)
        sums = torch.zeros(2, len(part), dtype=torch.float64, device=self.device)
        for start in range(0, max(map(len, rows)), _ROWS):
            some = [each[start : start + _ROWS] for each in rows]
            sums += torch.stack(self._squared_errors(weights, biases, part, some, size))
        return (sums[0] / sums[1]).cpu().numpy()

    def _validation(self, networks: np.ndarray) -> list[np.ndarray]:
        return [self.tables.validation[k] for k in networks]


_PROGRESS = ("ends", "scores", "best_steps", "waits")


def _new_networks(problems: Sequence[Problem], shape: FullyConnectedConfig) -> Networks:
    first = problems[0]
    networks = Networks(
        NetworksConfig(
            names=tuple(problem.name for problem in problems),
            in_features=first.input_table.shape[1],
            out_features=first.target_table.shape[1],
            shape=shape,
        )
    )
    networks.draw_weights([problem.seed for problem in problems])
    for k, problem in enumerate(problems):
        for name, (mean, deviation) in problem.standardisation().items():
            getattr(networks, f"{name}_mean")[k] = torch.from_numpy(mean)
            getattr(networks, f"{name}_scale")[k] = torch.from_numpy(deviation)
    return networks.requires_grad_(requires_grad=False)


def _filled(rows: int, limit: int) -> int:
    """Give the size of the batch that so many rows are filled up to: it must not depend on other networks."""
    return min(limit, 1 << (max(rows, 1) - 1).bit_length())


def _fill(rows: Sequence[np.ndarray], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Stack lists of rows, filled up with row 0, and say which are not filling."""
    index = np.zeros((len(rows), size), np.int64)
    known = np.zeros((len(rows), size), bool)
    for k, each in enumerate(rows):
        index[k, : len(each)], known[k, : len(each)] = each, True
    return index, known
