"""The supervised convolutional network that the paper compares with."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from climalign.config import BmdConfig, Kind
from climalign.data import Fields
from isopleth.errors import ConfigError

_LEAST = 1e-4


class BmdNetwork(nn.Module):
    """Three convolutions and a dense layer to the parameters of a distribution in each cell.

    After Bano-Medina, Manzanas and Gutierrez (2020), CNN10: 50-25-10 filters of 3x3 with ReLU. Gaussian
    (mean, log-deviation) of temperature; Bernoulli-gamma (logit of rain, log-shape, log-scale) of rain.

    Parameters
    ----------
    config : BmdConfig
    kind : {"temperature", "precipitation"}
    coarse, fine : (int, int)
        Rows and columns.
    """

    def __init__(self, config: BmdConfig, kind: Kind, coarse: tuple[int, int], fine: tuple[int, int]) -> None:
        super().__init__()
        self.kind, self.fine = kind, fine
        self.heads = 2 if kind == "temperature" else 3
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise((1, *config.filters)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
        size = config.filters[-1] * coarse[0] * coarse[1]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(size, self.heads * fine[0] * fine[1]))

    def forward(self, coarse: Float[Tensor, "batch lat lon"]) -> Float[Tensor, "batch head row column"]:
        """Give the parameters for standardised coarse fields."""
        return self.layers(coarse[:, None]).reshape(len(coarse), self.heads, *self.fine)

    def loss(self, coarse: Tensor, truth: Float[Tensor, "batch row column"]) -> Float[Tensor, ""]:
        r"""Give the mean negative log-likelihood of the known cells, nats.

        .. math:: -\log N(y; \mu, \sigma^2), \qquad
                  -\log\left[(1 - p)^{[y = 0]}\, (p\, \Gamma(y; k, \theta))^{[y > 0]}\right]
        """
        parameters = self(coarse).unbind(1)
        known = torch.isfinite(truth)
        y = torch.where(known, truth, 0.0)
        if self.kind == "temperature":
            mean, log_scale = parameters
            nll = 0.5 * ((y - mean) * torch.exp(-log_scale)) ** 2 + log_scale + 0.5 * math.log(2 * math.pi)
        else:
            logit, log_shape, log_scale = parameters
            shape, rain = log_shape.exp(), y.clamp(min=_LEAST)
            gamma = (
                (shape - 1) * rain.log()
                - rain * torch.exp(-log_scale)
                - torch.lgamma(shape)
                - shape * log_scale
            )
            nll = torch.where(y > 0, F.softplus(-logit) - gamma, F.softplus(logit))
        return nll[known].mean()

    def mean(self, coarse: Tensor) -> Float[Tensor, "batch row column"]:
        """Give the mean of the distribution."""
        parameters = self(coarse).unbind(1)
        if self.kind == "temperature":
            return parameters[0]
        logit, log_shape, log_scale = parameters
        return torch.sigmoid(logit) * torch.exp(log_shape + log_scale)

    def sample(self, coarse: Tensor, generator: torch.Generator) -> Float[Tensor, "batch row column"]:
        """Draw each cell by itself, as the likelihood has it: without structure in space."""
        parameters = self(coarse).detach().unbind(1)
        if self.kind == "temperature":
            noise = torch.randn(parameters[0].shape, generator=generator)
            return parameters[0] + parameters[1].exp() * noise
        logit, log_shape, log_scale = parameters
        # torch's own generator has no gamma: numpy's is seeded from ours.
        seed = int(torch.randint(1 << 31, (1,), generator=generator))
        amount = np.random.default_rng(seed).gamma(log_shape.exp().numpy()) * log_scale.exp().numpy()
        wet = torch.rand(logit.shape, generator=generator) < torch.sigmoid(logit)
        return torch.where(wet, torch.from_numpy(amount).float(), 0.0)


class Bmd:
    """Train the network on pairs and apply it.

    Temperature is learned as an anomaly from the fine monthly means, as the flows do; rain in mm/day, days
    below the dry limit as 0, from the cube root of the coarse rain.

    Parameters
    ----------
    kind : {"temperature", "precipitation"}
    settings : BmdConfig
    dry : float
        Rain, in the fields' units, below which a day is dry.
    seed : int
    """

    def __init__(
        self, kind: Kind, settings: BmdConfig | None = None, *, dry: float = 0.0, seed: int = 0
    ) -> None:
        self.kind, self.settings, self.dry, self.seed = kind, settings or BmdConfig(), dry, seed

    def fit(self, coarse: Fields, fine: Fields) -> Bmd:
        """Train on days that both have, in the same order."""
        from climalign.baselines import Normals

        if len(coarse.values) != len(fine.values):
            raise ConfigError(
                f"a supervised network must have pairs, got {len(coarse.values)} and {len(fine.values)} days"
            )
        self.normals = Normals.of(coarse), Normals.of(fine)
        inputs = self._anomaly(coarse)
        self.scale = float(np.nanstd(inputs)) or 1.0
        truth = fine.values - self.normals[1].at(fine) if self.kind == "temperature" else fine.values
        if self.kind == "precipitation":
            truth = np.where(truth < self.dry, np.where(np.isfinite(truth), 0.0, np.nan), truth)
        self.target_scale = float(np.nanstd(truth)) or 1.0
        self._train(self._prepare(inputs), torch.from_numpy((truth / self.target_scale).astype(np.float32)))
        return self

    def predict(self, coarse: Fields) -> NDArray[np.float32]:
        """Give the mean, shape (time, lat, lon); NaN never: the network knows nothing of the sea."""
        with torch.no_grad():
            return self._back(self.network.mean(self._prepare(self._anomaly(coarse))), coarse)

    def draw(self, coarse: Fields, members: int) -> NDArray[np.float32]:
        """Draw samples, shape (member, time, lat, lon)."""
        generator = torch.Generator().manual_seed(self.seed)
        inputs = self._prepare(self._anomaly(coarse))
        with torch.no_grad():
            drawn = [self._back(self.network.sample(inputs, generator), coarse) for _ in range(members)]
        return np.stack(drawn)

    def _anomaly(self, coarse: Fields) -> NDArray:
        if self.kind == "temperature":
            return coarse.values - self.normals[0].at(coarse)
        # The head's exponentials make hundreds of metres of a rain far above those of the training days.
        return np.cbrt(np.clip(coarse.values, 0, None))

    def _prepare(self, inputs: NDArray) -> Tensor:
        return torch.from_numpy(np.nan_to_num(inputs / self.scale).astype(np.float32))

    def _back(self, values: Tensor, coarse: Fields) -> NDArray[np.float32]:
        result = values.numpy() * self.target_scale
        normal = self.normals[1].at(coarse) if self.kind == "temperature" else 0.0
        return np.asarray(result + normal, dtype=np.float32)

    def _train(self, inputs: Tensor, truth: Tensor) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            shapes = tuple(inputs.shape[1:]), tuple(truth.shape[1:])
            self.network = BmdNetwork(self.settings, self.kind, *shapes)  # type: ignore[arg-type]
            optimizer = torch.optim.Adam(self.network.parameters(), lr=self.settings.learning_rate)
            for _ in range(self.settings.epochs):
                for rows in torch.randperm(len(inputs)).split(self.settings.batch_size):
                    optimizer.zero_grad()
                    self.network.loss(inputs[rows], truth[rows]).backward()
                    optimizer.step()
        self.network.eval()
