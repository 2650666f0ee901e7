"""Fit the networks: for each table of rows a deep ensemble in each segment, all in one batched call."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isopleth.errors import DataError
from isopleth.sealevel.baselines import Forecast, Learner, Predictor, known_target
from isopleth.sealevel.rows import Floats, Rows
from isopleth.train.networks import Networks
from isopleth.train.problems import Problem
from isopleth.train.randomness import derive_seed
from isopleth.train.runtime import Runtime
from isopleth.train.together import train_together
from sealevel_projection.config import InputConfig, LearnConfig
from sealevel_projection.data import network_inputs

logger = logging.getLogger("isopleth.sealevel_projection")

# A segment with fewer rows than this in a fold would learn them by heart: all rows serve it.
_FEWEST_ROWS = 200


@dataclass(frozen=True, eq=False)
class NetworkPredictor(Predictor):
    r"""Networks of several segments and seeds, mixed by how much a cell belongs to each segment.

    .. math:: \hat y_e(x, c) = \bar x + \sum_s m_s(c)\, f_{s,e}(x), \qquad \sum_s m_s(c) = 1

    around the mean of the fully forced signals, or without it.

    Attributes
    ----------
    networks : Networks
        In the order of segments, then of seeds.
    membership : array, shape (segment, cell)
        m, on the flattened grid.
    inputs : InputConfig
    fully_forced : tuple of str
        Signals whose mean is corrected, if one is.
    """

    networks: Networks
    membership: Floats
    inputs: InputConfig
    fully_forced: tuple[str, ...] = ()

    @property
    def ensemble(self) -> int:
        """Networks of a segment."""
        return len(self.networks) // len(self.membership)

    def predict_members(self, rows: Rows) -> Floats:
        """Predict with each network of the ensemble, shape (seed, n)."""
        x, _ = network_inputs(rows, place=self.inputs.place, season=self.inputs.season)
        out = np.tile(_centre(rows, self.inputs, self.fully_forced), (self.ensemble, 1))
        for segment, share in enumerate(self.membership):
            own = np.flatnonzero(share[rows.cell] > 0)
            if not len(own):
                continue
            first = segment * self.ensemble
            networks = self.networks.subset(range(first, first + self.ensemble))
            out[:, own] += share[rows.cell[own]] * networks.predict(x[own])[..., 0]
        return out

    def predict(self, rows: Rows) -> Floats:
        """Average the ensemble."""
        return np.asarray(self.predict_members(rows).mean(axis=0))

    def forecast(self, rows: Rows) -> Forecast:
        """Average the ensemble, and give its spread (one network has none)."""
        members = self.predict_members(rows)
        spread = members.std(axis=0, ddof=1) if len(members) > 1 else None
        return Forecast(members.mean(axis=0), spread)


@dataclass(frozen=True, eq=False)
class NetworkLearner(Learner):
    """Fit fully connected networks to rows: one a segment and seed, all tables in one batched call.

    Parameters
    ----------
    learn : LearnConfig
    inputs : InputConfig
    membership : array, shape (segment, cell)
        How much each cell of the flattened grid belongs to each segment; over segments 1, or 0 over land.
    runtime : Runtime, optional
    fully_forced : tuple of str
        Signals whose mean is corrected, if one is.
    run_dir : Path, optional
        Where checkpoints go: with it a training can be stopped and resumed.
    resume : bool
    name : str
    """

    learn: LearnConfig
    inputs: InputConfig
    membership: Floats
    fully_forced: tuple[str, ...] = ()
    runtime: Runtime | None = None
    run_dir: Path | None = None
    resume: bool = False
    name: str = "network"

    def fit(self, rows: Rows) -> NetworkPredictor:
        """Train on one table."""
        return self.fit_all([rows])[0]

    def fit_all(self, tables: Sequence[Rows]) -> list[NetworkPredictor]:
        """Train on several tables; those of one width in one call."""
        problems = [list(self._problems(rows, number)) for number, rows in enumerate(tables)]
        widths = [len(group[0].inputs[0]) for group in problems]
        found: dict[int, NetworkPredictor] = {}
        for width in sorted(set(widths)):
            chosen = [number for number, own in enumerate(widths) if own == width]
            networks = self._train(
                [p for number in chosen for p in problems[number]], width, len(set(widths))
            )
            count = len(self.membership) * self.learn.ensemble
            for place, number in enumerate(chosen):
                part = networks.subset(range(place * count, (place + 1) * count))
                found[number] = NetworkPredictor(part, self.membership, self.inputs, self.fully_forced)
        return [found[number] for number in range(len(tables))]

    def _train(self, problems: list[Problem], width: int, widths: int) -> Networks:
        run_dir = self.run_dir if self.run_dir is None or widths == 1 else self.run_dir / f"width_{width}"
        result = train_together(
            problems,
            self.learn.shape,
            self.learn.fit,
            runtime=self.runtime,
            run_dir=run_dir,
            resume=self.resume,
        )
        logger.info("trained %d networks in %.1f s", len(problems), result.seconds)
        return result.networks

    def _problems(self, rows: Rows, number: int) -> Iterator[Problem]:
        centre = _centre(rows, self.inputs, self.fully_forced)
        target = (known_target(rows) - centre).astype(np.float32)
        x, _ = network_inputs(rows, place=self.inputs.place, season=self.inputs.season)
        for segment, share in enumerate(self.membership):
            weights = (rows.weight * self._share(share[rows.cell], segment)).astype(np.float32)
            train = np.flatnonzero(weights > 0)
            for member in range(self.learn.ensemble):
                yield Problem(
                    name=f"table {number}, segment {segment}, seed {member}",
                    inputs=x,
                    targets=target,
                    weights=weights,
                    train=train,
                    seed=derive_seed(self.learn.seed, segment, member),
                )

    def _share(self, share: Floats, segment: int) -> NDArray[np.float64]:
        if (share > 0).sum() >= _FEWEST_ROWS:
            return share
        logger.info("segment %d has %d rows: all rows serve it", segment, (share > 0).sum())
        return np.ones_like(share)


def _centre(rows: Rows, inputs: InputConfig, fully_forced: Sequence[str]) -> Floats:
    """Return what networks correct, shape (n,): the mean of the fully forced signals, or 0."""
    if inputs.around == "zero":
        return np.zeros(len(rows))
    return np.asarray(restrict(rows, fully_forced).inputs.mean(axis=1))


@dataclass(frozen=True, eq=False)
class Restricted(Learner):
    """Another learner, on some of the inputs alone: an ensemble mean is not to count single forcings in.

    Parameters
    ----------
    learner : Learner
    names : tuple of str
        Inputs that it sees; those of them that rows have.
    """

    learner: Learner
    names: tuple[str, ...]

    @property
    def name(self) -> str:  # type: ignore[override] # the other's, read only
        """Name of the learner."""
        return self.learner.name

    def fit(self, rows: Rows) -> Predictor:
        """Fit to the chosen inputs."""
        return self.fit_all([rows])[0]

    def fit_all(self, tables: Sequence[Rows]) -> list[Predictor]:
        """Fit to the chosen inputs of each table."""
        found = self.learner.fit_all([restrict(rows, self.names) for rows in tables])
        return [_RestrictedPredictor(one, self.names) for one in found]


@dataclass(frozen=True, eq=False)
class _RestrictedPredictor(Predictor):
    inner: Predictor
    names: tuple[str, ...]

    def predict(self, rows: Rows) -> Floats:
        return self.inner.predict(restrict(rows, self.names))

    def forecast(self, rows: Rows) -> Forecast:
        return self.inner.forecast(restrict(rows, self.names))


def restrict(rows: Rows, names: Sequence[str]) -> Rows:
    """Give rows with those of some inputs that they have.

    Raises
    ------
    DataError
        If they have none of them.
    """
    kept = [k for k, name in enumerate(rows.features) if name in names]
    if not kept:
        raise DataError(f"rows must have one of {', '.join(names)}, got {', '.join(rows.features)}")
    return replace(rows, inputs=rows.inputs[:, kept], features=tuple(rows.features[k] for k in kept))


@dataclass(frozen=True, eq=False)
class Ready(Learner):
    """A predictor that was fitted before, for experiments whose training rows it was fitted to."""

    name: str
    predictor: Predictor

    def fit(self, rows: Rows) -> Predictor:  # noqa: ARG002 (of the interface)
        """Return the predictor."""
        return self.predictor
