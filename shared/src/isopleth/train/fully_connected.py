"""What small fully connected networks are and how they are trained: settings alone, no torch at import."""

from __future__ import annotations

import math
from dataclasses import dataclass

from isopleth.config import check_positive
from isopleth.errors import ConfigError


def _check_count(name: str, value: object, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name} must be a whole number of at least {least}, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class FullyConnectedConfig:
    """The shape of a fully connected network with ReLU between its layers.

    Parameters
    ----------
    hidden : tuple of int
        Units of each hidden layer; none leaves a linear regression.
    dropout : float
        Chance of a hidden unit to be dropped, in [0, 1), to the next 1/32768.

    Raises
    ------
    ConfigError
        If a value is out of range.
    """

    hidden: tuple[int, ...] = (256, 128)
    dropout: float = 0.2

    def __post_init__(self) -> None:
        for width in self.hidden:
            _check_count("hidden", width, least=1)
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be at least 0 and below 1, got {self.dropout!r}")


@dataclass(frozen=True, kw_only=True)
class TogetherConfig:
    """How each of many networks is trained: Adam on the weighted mean squared error, with an L2 penalty.

    Everything here is counted in a network's own rows and steps, never in those of its companions.

    Parameters
    ----------
    epochs : int
        Times that a network sees each of its rows.
    batch_size : int
        Rows of a step; a network with fewer takes all of them in each step.
    learning_rate : float
        Of Adam.
    l2 : float
        Penalty on the weights (not the biases) of the standardised problem: l2 times their sum of squares is
        added to the loss.
    validate_every : int
        Steps between two looks at the validation rows; the last step is always looked at.
    patience : int, optional
        A network is done after so many looks in a row without a better score.
    checkpoint_every : int
        Steps between checkpoints: what a kill can cost.

    Raises
    ------
    ConfigError
        If a value is out of range.
    """

    epochs: int = 200
    batch_size: int = 256
    learning_rate: float = 1e-3
    l2: float = 5e-6
    validate_every: int = 20
    patience: int | None = None
    checkpoint_every: int = 1000

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "validate_every", "checkpoint_every"):
            _check_count(name, getattr(self, name), least=1)
        if self.patience is not None:
            _check_count("patience", self.patience, least=1)
        check_positive(learning_rate=self.learning_rate)
        if not (math.isfinite(self.l2) and self.l2 >= 0):
            raise ConfigError(f"l2 must be at least 0, got {self.l2!r}")


@dataclass(frozen=True, kw_only=True)
class NetworksConfig:
    """The shape of many networks that are computed as one.

    Parameters
    ----------
    names : tuple of str
        One a network, such as "Pacific, fold 2, seed 0"; each once.
    in_features, out_features : int
        Of every network.
    shape : FullyConnectedConfig
        Of every network.

    Raises
    ------
    ConfigError
        If there is no network, a name stands twice, or a width is below 1.
    """

    names: tuple[str, ...]
    in_features: int
    out_features: int = 1
    shape: FullyConnectedConfig = FullyConnectedConfig()

    def __post_init__(self) -> None:
        if not self.names:
            raise ConfigError("networks must be at least one, got none")
        if len(set(self.names)) < len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise ConfigError(f"names must each stand once, got {twice!r} twice")
        _check_count("in_features", self.in_features, least=1)
        _check_count("out_features", self.out_features, least=1)

    @property
    def widths(self) -> tuple[int, ...]:
        """Features of each layer, from the inputs to the outputs."""
        return (self.in_features, *self.shape.hidden, self.out_features)
