"""Ensembles: several models, or several samples of one, as one forecast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from archesweather.config import ModelConfig
from archesweather.rollout import Stepper, rollout
from archesweather.states import Seconds
from isopleth.config import check_choice, check_positive
from isopleth.data import Normaliser, NormaliserBuffers
from isopleth.errors import ConfigError

Average = Literal["step", "trajectory", "none"]
AVERAGES = ("step", "trajectory", "none")


class StepMean:
    """The mean of several models' next states: each step is averaged, and the average is fed back.

    Parameters
    ----------
    steppers : sequence of Stepper
        Of the same channels, grid, lead and statistics.
    """

    def __init__(self, steppers: Sequence[Stepper]) -> None:
        check_alike(steppers)
        self.steppers = tuple(steppers)

    @property
    def config(self) -> ModelConfig:
        """Channels, grid and lead."""
        return self.steppers[0].config

    @property
    def normaliser(self) -> NormaliserBuffers | None:
        """What its z-scores mean."""
        return self.steppers[0].normaliser

    @property
    def is_random(self) -> bool:
        """Whether one of them draws."""
        return any(stepper.is_random for stepper in self.steppers)

    def step(
        self, state: Tensor, previous: Tensor, month: Tensor, hour: Tensor, *, seeds: Sequence[int] | None
    ) -> Tensor:
        """Return the mean of all models' states one lead ahead, in float32."""
        total = torch.zeros_like(state, dtype=torch.float32)
        for stepper in self.steppers:
            total = total + stepper.step(state, previous, month, hour, seeds=seeds).float()
        return total / len(self.steppers)


@dataclass(frozen=True, eq=False)
class Ensemble:
    """One or more models, the samples taken of each, and how they make a forecast.

    Parameters
    ----------
    steppers : tuple of Stepper
        Of the same channels, grid, lead and statistics; their networks may differ.
    average : {"step", "trajectory", "none"}
        Average each step and feed the average back; average the trajectories of models that are rolled out
        alone; or keep every trajectory as a member. The first two differ: an average is smooth, and what is
        fed back shapes all that follows.
    samples : int
        Trajectories of each model that draws random numbers.

    Raises
    ------
    ConfigError
        If the models do not belong together, or samples are asked of models that do not draw.
    """

    steppers: tuple[Stepper, ...]
    average: Average = "step"
    samples: int = 1

    def __post_init__(self) -> None:
        check_choice("average", self.average, AVERAGES)
        check_positive(members=self.samples)
        check_alike(self.steppers)
        if self.samples > 1 and not any(stepper.is_random for stepper in self.steppers):
            raise ConfigError(
                f"members must be 1 for models that draw no random numbers, got {self.samples}",
                hint="several deterministic models are kept as members by average=none",
            )

    @property
    def config(self) -> ModelConfig:
        """Channels, grid and lead of all."""
        return self.steppers[0].config

    @property
    def normaliser(self) -> Normaliser:
        """What the z-scores of all mean."""
        return _statistics(self.steppers[0])

    @property
    def trajectories(self) -> tuple[Stepper, ...]:
        """What rolls out each trajectory, those of one stepper side by side."""
        steppers = (StepMean(self.steppers),) if self.averages_steps else self.steppers
        return tuple(stepper for stepper in steppers for _ in range(self.samples))

    @property
    def averages_steps(self) -> bool:
        """Whether models are averaged within the rollout."""
        return self.average == "step" and len(self.steppers) > 1

    @property
    def averages_trajectories(self) -> bool:
        """Whether trajectories are averaged after the rollout."""
        return self.average == "trajectory" and len(self.trajectories) > 1

    @property
    def size(self) -> int:
        """Members of the forecast."""
        return 1 if self.averages_trajectories else len(self.trajectories)

    @property
    def parameters(self) -> int:
        """Parameters of all models."""
        networks: list[Any] = [getattr(stepper, "network", stepper) for stepper in self.steppers]
        return sum(tensor.numel() for network in networks for tensor in network.parameters())

    def describe(self) -> str:
        """Say in words how the forecast is made of its models."""
        count = len(self.steppers)
        of = {
            "step": f"each step the mean of {count} models, fed back",
            "trajectory": f"mean of {len(self.trajectories)} trajectories, each rolled out alone",
            "none": f"{self.size} members, each rolled out alone",
        }
        return (
            of[self.average]
            if self.averages_steps or self.averages_trajectories
            else (of["none"] if self.size > 1 else "one model")
        )

    def batches(self, rows: int) -> Iterator[tuple[Stepper, range]]:
        """Cut the trajectories into runs of one stepper of at most so many members."""
        trajectories = self.trajectories
        first = 0
        while first < len(trajectories):
            last = first
            while last < len(trajectories) and trajectories[last] is trajectories[first]:
                last += 1
            for start in range(first, last, max(1, rows)):
                yield trajectories[first], range(start, min(start + max(1, rows), last))
            first = last

    def rollout(
        self,
        state: Float[Tensor, "start channel lat lon"],
        previous: Float[Tensor, "start channel lat lon"],
        starts: Seconds,
        steps: int,
        *,
        calendar: str = "proleptic_gregorian",
        batch_size: int = 4,
        seed: int = 0,
        autocast: torch.dtype | None = None,
    ) -> Iterator[Float[Tensor, "member start channel lat lon"]]:
        """Yield the members' states step by step, all members side by side.

        Two states of each trajectory are held, and never more; of the networks' activations those of
        `batch_size` states. `stream` holds fewer members at a time.

        Parameters
        ----------
        state, previous : Tensor, shape (start, channel, lat, lon)
            z-scores at the initial times, and one lead before.
        starts, steps, calendar, seed, autocast
            As for `archesweather.rollout.rollout`; one start for each state.
        batch_size : int
            States that pass a network together.

        Yields
        ------
        Tensor
            float32, members in front; one where trajectories are averaged.
        """
        options: dict[str, Any] = {"calendar": calendar, "seed": seed, "autocast": autocast}
        runs = [
            self._run(batch, state, previous, starts, steps, **options)
            for batch in self.batches(batch_size // max(1, len(starts)))
        ]
        for parts in zip(*runs, strict=True):
            members = torch.cat(parts)
            yield members.mean(dim=0, keepdim=True) if self.averages_trajectories else members

    def stream(
        self,
        state: Float[Tensor, "start channel lat lon"],
        previous: Float[Tensor, "start channel lat lon"],
        starts: Seconds,
        steps: int,
        *,
        calendar: str = "proleptic_gregorian",
        batch_size: int = 4,
        seed: int = 0,
        autocast: torch.dtype | None = None,
    ) -> Iterator[tuple[slice, int, Float[Tensor, "member start channel lat lon"]]]:
        """Yield (members, step, states), a batch of members after the other: the same as `rollout` gives.

        Memory grows neither with the steps nor with the members, but for averaged trajectories, which have to
        be side by side.
        """
        options: dict[str, Any] = {"calendar": calendar, "seed": seed, "autocast": autocast}
        if self.averages_trajectories:
            together = self.rollout(state, previous, starts, steps, batch_size=batch_size, **options)
            for number, means in enumerate(together):
                yield slice(0, 1), number, means
            return
        for stepper, members in self.batches(batch_size // max(1, len(starts))):
            run = self._run((stepper, members), state, previous, starts, steps, **options)
            for number, states in enumerate(run):
                yield slice(members.start, members.stop), number, states

    def _run(
        self,
        batch: tuple[Stepper, range],
        state: Tensor,
        previous: Tensor,
        starts: Seconds,
        steps: int,
        **options: Any,
    ) -> Iterator[Tensor]:
        """Roll out members of one stepper from all starts as rows, members first."""
        stepper, members = batch
        rows = rollout(
            stepper,
            state.repeat(len(members), 1, 1, 1),
            previous.repeat(len(members), 1, 1, 1),
            np.tile(starts, len(members)),
            steps,
            members=[member for member in members for _ in starts],
            **options,
        )
        for states in rows:
            yield states.unflatten(0, (len(members), len(starts)))


def check_alike(steppers: Sequence[Stepper]) -> None:
    """Refuse models that cannot make one forecast.

    Raises
    ------
    ConfigError
        If there is none, or two differ in channels, grid, lead or statistics; says in which.
    """
    if not steppers:
        raise ConfigError("an ensemble must have at least one model, got none")
    first = steppers[0]
    for number, stepper in enumerate(steppers[1:], 2):
        for name in ("fields", "lat", "lon", "lead_hours"):
            if getattr(stepper.config, name) != getattr(first.config, name):
                raise ConfigError(
                    f"the models of an ensemble must have the same {name}, got another in model {number}"
                )
        one, other = _statistics(first), _statistics(stepper)
        if one.to_dict()["mean"] != other.to_dict()["mean"] or one.to_dict()["std"] != other.to_dict()["std"]:
            raise ConfigError(
                "the models of an ensemble must have the same statistics, "
                f"got others in model {number}: their z-scores do not mean the same",
                hint="train the members from one prepared folder",
            )


def _statistics(stepper: Stepper) -> Normaliser:
    if stepper.normaliser is None:
        raise ConfigError("a model must know the statistics of its z-scores, got none")
    return stepper.normaliser.normaliser
