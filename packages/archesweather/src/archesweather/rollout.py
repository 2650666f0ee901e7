"""The rollout: a generator of states, each made from the two before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from archesweather.clock import month_and_hour
from archesweather.config import ModelConfig
from archesweather.states import Seconds
from isopleth.data import NormaliserBuffers
from isopleth.errors import ConfigError, DataError
from isopleth.train.randomness import derive_seed


class Stepper(Protocol):
    """Whatever takes states one lead ahead: a network, a mean of several, a sampler."""

    @property
    def config(self) -> ModelConfig:
        """Channels, grid and lead."""

    @property
    def normaliser(self) -> NormaliserBuffers | None:
        """What its z-scores mean."""

    @property
    def is_random(self) -> bool:
        """Whether different seeds give different states."""

    def step(
        self,
        state: Float[Tensor, "row channel lat lon"],
        previous: Float[Tensor, "row channel lat lon"],
        month: Float[Tensor, " row"],
        hour: Float[Tensor, " row"],
        *,
        seeds: Sequence[int] | None,
    ) -> Float[Tensor, "row channel lat lon"]:
        """Return the states one lead after `state`, all z-scored; row i may draw from seed i alone."""


class Deterministic:
    """A network as a stepper: it ignores seeds.

    Parameters
    ----------
    network : Module
        ``network(state, previous, month, hour)`` gives the next state.
    """

    is_random = False

    def __init__(self, network: nn.Module) -> None:
        self.network: Any = network

    @property
    def config(self) -> ModelConfig:
        """Channels, grid and lead."""
        return self.network.config

    @property
    def normaliser(self) -> NormaliserBuffers | None:
        """What its z-scores mean."""
        return self.network.normaliser

    def step(
        self,
        state: Tensor,
        previous: Tensor,
        month: Tensor,
        hour: Tensor,
        *,
        seeds: Sequence[int] | None = None,  # noqa: ARG002
    ) -> Tensor:
        """Return the states one lead after `state`."""
        return self.network(state, previous, month, hour)


def as_stepper(model: Any) -> Stepper:
    """Return what can step as it is, and a network as a deterministic stepper."""
    return model if hasattr(model, "step") else Deterministic(model)


def rollout(
    stepper: Stepper,
    state: Float[Tensor, "row channel lat lon"],
    previous: Float[Tensor, "row channel lat lon"],
    starts: Seconds,
    steps: int,
    *,
    calendar: str = "proleptic_gregorian",
    members: Sequence[int] | None = None,
    seed: int = 0,
    autocast: torch.dtype | None = None,
) -> Iterator[Float[Tensor, "row channel lat lon"]]:
    r"""Yield the states one lead ahead, two leads ahead, ...

    .. math:: x_{i+1} = f(x_i, x_{i-1}; \text{month and hour of } x_i)

    Nothing is kept but the last two states, so that memory does not grow with the number of steps. Between
    steps states are float32, whatever the network computes in. Gradients flow through all steps unless the
    caller forbids it. A row's result does not depend on the rows beside it: its random numbers come from a
    seed of its own, mixed from `seed`, its member, its initial time and the step.

    Parameters
    ----------
    stepper : Stepper
    state, previous : Tensor, shape (row, channel, lat, lon)
        z-scores at the initial time and one lead before it, on the stepper's device. A row is one initial
        time of one member.
    starts : array of int64, shape (row,)
        Initial time of each row, seconds since 1970-01-01.
    steps : int
        How many to yield.
    calendar : str
        In which the seconds are counted; CF name.
    members : sequence of int, optional
        Member of each row; 0 by default.
    seed : int
        Of all random numbers.
    autocast : torch.dtype, optional
        Compute the steps in mixed precision of this type.

    Yields
    ------
    Tensor
        float32.

    Raises
    ------
    DataError
        If the shapes do not fit each other or the stepper's channels and grid.
    """
    check_states(stepper.config, state, previous, starts)
    if steps < 1:
        raise ConfigError(f"a rollout must have at least one step, got {steps}")
    rows = list(zip(members if members is not None else [0] * len(starts), starts, strict=True))
    lead = 3600 * stepper.config.lead_hours
    for number in range(steps):
        clock = month_and_hour(starts + number * lead, calendar)
        month, hour = (torch.as_tensor(part, dtype=torch.float32, device=state.device) for part in clock)
        # A time before 1970 counts negative, which no seed may be.
        seeds = [derive_seed(seed, member, int(start) % 2**63, number) for member, start in rows]
        with torch.autocast(state.device.type, autocast or torch.bfloat16, enabled=autocast is not None):
            ahead = stepper.step(state, previous, month, hour, seeds=seeds)
        previous, state = state, ahead.float()
        yield state


def check_states(config: ModelConfig, state: Tensor, previous: Tensor, starts: Seconds) -> None:
    """Refuse states that are not of a model's channels and grid, or not one a row."""
    shape = (len(starts), len(config.fields.channels), len(config.lat), len(config.lon))
    for name, tensor in (("state", state), ("previous", previous)):
        if tuple(tensor.shape) != shape:
            raise DataError(
                f"{name} must be of shape (row, channel, lat, lon) = {shape}, got {tuple(tensor.shape)}"
            )
