"""Many small fully connected networks as one module: weights (network, in, out), one product a layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isopleth.config import check_positive
from isopleth.errors import DataError
from isopleth.train.dropout import DropoutNoise, relu_dropout, words_of_row
from isopleth.train.fully_connected import NetworksConfig
from isopleth.train.pretrained import Pretrained
from isopleth.train.randomness import derive_seed

# Rows of one call, always the same, for what dropout draws must not depend on how many networks there are.
_ROWS = 1024
# Numbers that a hidden layer may hold in one call, to bound memory.
_AT_ONCE = 2**22


class Networks(Pretrained, nn.Module):
    r"""Networks of one shape and of different weights, standardisation included.

    Network k maps x to

    .. math:: \mu_k + \sigma_k\, f_k\big((x - m_k) / s_k\big),

    with f a chain of ReLU layers; means m, mu and scales s, sigma are buffers in the units of the data.

    Parameters
    ----------
    config : NetworksConfig
        Names and shape. Weights are zero until they are drawn, trained or loaded.

    Attributes
    ----------
    weights, biases : ParameterList
        A layer each: (network, in, out) and (network, 1, out).
    input_mean, input_scale, target_mean, target_scale : Tensor, shape (network, 1, features)
    """

    input_mean: Tensor
    input_scale: Tensor
    target_mean: Tensor
    target_scale: Tensor

    def __init__(self, config: NetworksConfig) -> None:
        super().__init__()
        self.config = config
        count, layers = len(config.names), list(pairwise(config.widths))
        self.weights = nn.ParameterList(torch.zeros(count, i, o) for i, o in layers)
        self.biases = nn.ParameterList(torch.zeros(count, 1, o) for _, o in layers)
        for name, width in (("input", config.in_features), ("target", config.out_features)):
            self.register_buffer(f"{name}_mean", torch.zeros(count, 1, width))
            self.register_buffer(f"{name}_scale", torch.ones(count, 1, width))

    def __len__(self) -> int:
        return len(self.config.names)

    def draw_weights(self, seeds: Sequence[int]) -> None:
        """Draw each network's weights from its own seed, uniform within 1 / sqrt(in) as in `nn.Linear`."""
        for k, seed in enumerate(seeds):
            generator = torch.Generator().manual_seed(derive_seed(seed))
            for weight, bias in zip(self.weights, self.biases, strict=True):
                bound = weight.shape[1] ** -0.5
                for part in (weight, bias):
                    drawn = torch.empty(part.shape[1:]).uniform_(-bound, bound, generator=generator)
                    part.data[k] = drawn

    def forward(self, x: Tensor) -> Tensor:
        """Compute all networks without dropout, shape (network, batch, out), in the units of the targets.

        Parameters
        ----------
        x : Tensor, shape (network, batch, in) or (batch, in)
            In the units of the inputs; without the first axis the same for all.
        """
        self._check_inputs(x)
        return self._compute(x, None, slice(None))

    def _check_inputs(self, x: Tensor) -> None:
        count, features = len(self), self.config.in_features
        if x.ndim not in (2, 3) or x.shape[-1] != features or x.shape[:-2] not in {(), (count,)}:
            raise DataError(
                f"inputs must be (batch, {features}) or ({count}, batch, {features}), got {tuple(x.shape)}"
            )

    def _compute(self, x: Tensor, words: Tensor | None, some: slice) -> Tensor:
        z = (x - self.input_mean[some]) / self.input_scale[some]
        weights, biases = [w[some] for w in self.weights], [b[some] for b in self.biases]
        z = propagate(z, weights, biases, words, self.config.shape.dropout)
        return z * self.target_scale[some] + self.target_mean[some]

    def subset(self, indices: Sequence[int]) -> Networks:
        """Give some of the networks, in the order asked for, as networks of their own."""
        chosen = list(indices)
        config = dataclasses.replace(self.config, names=tuple(self.config.names[k] for k in chosen))
        part = Networks(config).to(self.input_mean.device)
        part.load_state_dict({name: value[chosen] for name, value in self.state_dict().items()})
        return part

    def select(self, k: int) -> nn.Sequential:
        """Give one network as plain layers in the units of the data, its standardisation folded into them.

        In evaluation mode; in training mode its dropout draws from torch's global generator.
        """
        state = {name: value[k].double() for name, value in self.state_dict().items()}
        layers: list[nn.Module] = []
        last = len(self.weights) - 1
        for i in range(last + 1):
            weight, bias = state[f"weights.{i}"], state[f"biases.{i}"]
            if i == 0:
                weight = weight / state["input_scale"].T
                bias = bias - state["input_mean"] @ weight
            if i == last:
                weight, bias = weight * state["target_scale"], bias * state["target_scale"]
                bias = bias + state["target_mean"]
            linear = nn.Linear(*weight.shape)
            linear.weight.data, linear.bias.data = weight.T.float().contiguous(), bias[0].float()
            layers += [linear] if i == last else [linear, nn.ReLU(), nn.Dropout(self.config.shape.dropout)]
        return nn.Sequential(*layers).to(self.input_mean.device).eval()

    def predict(self, inputs: Any) -> np.ndarray:
        """Compute all networks on rows in bounded memory.

        Parameters
        ----------
        inputs : array_like, shape (row, in) or (network, row, in)
            In the units of the data; NaN gives NaN.

        Returns
        -------
        array of float32, shape (network, row, out)
        """
        x = torch.as_tensor(np.asarray(inputs, dtype=np.float32))
        return self._in_parts(x, None)

    def dropout_draws(self, inputs: Any, *, passes: int, seed: int) -> Iterator[np.ndarray]:
        """Yield predictions with hidden units dropped at random: Monte-Carlo dropout, a draw at a time.

        The mean and spread of the draws stand for those of an approximate posterior (Gal and Ghahramani,
        ICML 2016). A network's draws follow from `seed` and its name, not from its companions, and rows drop
        units independently.

        Parameters
        ----------
        inputs : array_like, shape (row, in) or (network, row, in)
        passes : int
            Number of draws.
        seed : int
            The same seed gives the same draws on one kind of device.

        Yields
        ------
        array of float32, shape (network, row, out)
        """
        check_positive(passes=passes)
        x = torch.as_tensor(np.asarray(inputs, dtype=np.float32))
        seeds = [derive_seed(seed, *name.encode()) for name in self.config.names]
        noise = DropoutNoise(seeds, device=self.input_mean.device)
        for number in range(passes):
            yield self._in_parts(x, noise, number)

    @torch.no_grad()
    def _in_parts(self, x: Tensor, noise: DropoutNoise | None, number: int = 0) -> np.ndarray:
        self._check_inputs(x)
        x = x.expand(len(self), *x.shape[-2:])
        hidden, device = self.config.shape.hidden, self.input_mean.device
        at_once = max(1, _AT_ONCE // (_ROWS * max((*hidden, 1))))
        out = np.empty((*x.shape[:2], self.config.out_features), np.float32)
        for first, start in product(range(0, len(self), at_once), range(0, x.shape[1], _ROWS)):
            some, rows = slice(first, first + at_once), slice(start, start + _ROWS)
            part, words = x[some, rows].to(device), None
            if noise is not None:
                words = noise.draw((number, start), _ROWS, words_of_row(hidden), some)[:, : part.shape[1]]
            out[some, rows] = self._compute(part, words, some).cpu().numpy()
        return out


def propagate(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], words: Tensor | None, dropout: float
) -> Tensor:
    """Send standardised rows through the layers, shape (network, batch, out).

    Parameters
    ----------
    x : Tensor, shape (network, batch, in)
    weights, biases : sequence of Tensor
        Of each layer, (network, in, out) and (network, 1, out).
    words : Tensor of int32, shape (network, batch, words), optional
        Random bits for dropout (see `DropoutNoise`); none for none. They are used up.
    dropout : float
        Chance of a unit to be dropped.
    """
    taken = 0
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        width = weight.shape[2]
        own = None if words is None else words[..., taken : taken + words_of_row((width,))]
        taken += words_of_row((width,))
        x = relu_dropout(torch.bmm(x, weight).add_(bias), own, dropout)
    return _last_layer(x, weights[-1], biases[-1])


def _last_layer(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Multiply; a single column without a matrix product, which is slow there and rounds by the batch."""
    if weight.shape[2] > 1:
        return torch.bmm(x, weight).add_(bias)
    return (x * weight.transpose(1, 2)).sum(-1, keepdim=True) + bias
