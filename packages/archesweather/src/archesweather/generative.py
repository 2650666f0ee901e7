"""ArchesWeatherGen: a forecast drawn at random, the deterministic one plus a residual that a flow carries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from archesweather.config import GenerativeConfig, ModelConfig, NetworkConfig, SamplingConfig
from archesweather.ensemble import check_alike
from archesweather.flow import blend_weights, draw_noise, flow_schedule, follow_flow, scale_samples
from archesweather.model import ArchesWeather, Backbone
from archesweather.rollout import as_stepper
from isopleth.data.buffers import NormaliserBuffers
from isopleth.data.normaliser import Normaliser
from isopleth.errors import ConfigError
from isopleth.train.pretrained import Pretrained

States = Float[Tensor, "batch channel lat lon"]
Scalars = Float[Tensor, " batch"]

CONDITIONS = ("month", "hour", "flow_time")
# The embedding of scalars tells numbers of the order of 1 to 1000 apart; a flow time is at most 1.
_FLOW_TIME_UNITS = 1000.0


class ArchesWeatherGen(
    nn.Module,
    Pretrained,
    license="apache-2.0",
    tags=["weather", "forecast", "ensemble"],
    pipeline_tag="other",
):
    r"""Draw the state of the atmosphere one step ahead.

    .. math:: \hat y = \mu(y_0, y_{-1}) + \sigma_c\, x, \qquad x \sim p(x \mid y_0, y_{-1}, \mu)

    with :math:`\mu` the mean of deterministic models, frozen, :math:`\sigma_c` a scale for each channel, and
    :math:`x` drawn by flow matching (Couairon et al. 2024, "ArchesWeather & ArchesWeatherGen"). The flow's
    network sees the state, the one before, the mean, and the noisy residual. All states are z-scored. What
    is saved holds everything, the deterministic models too.

    Parameters
    ----------
    config : GenerativeConfig
    normaliser : Normaliser, optional
        Statistics of the channels; they travel with the weights.

    Attributes
    ----------
    deterministic : ModuleList of ArchesWeather
        Without gradients, and in evaluation mode always.
    residual : Backbone
        The flow's network.
    residual_scale : Tensor, shape (channel,)
        In z-scores; ones until it is set.
    sampling : SamplingConfig
        How `step` draws: the config's, until another is put in its place.
    """

    is_random = True
    residual_scale: Tensor

    def __init__(self, config: GenerativeConfig, normaliser: Normaliser | None = None) -> None:
        super().__init__()
        if normaliser is not None and normaliser.channels != config.fields.channels:
            raise ConfigError(
                f"the normaliser must have the {len(config.fields.channels)} channels of the config in their "
                f"order, got {list(normaliser.channels)[:4]}..."
            )
        self.config, self.sampling = config, config.sampling
        self.normaliser = None if normaliser is None else NormaliserBuffers(normaliser)
        self.deterministic = nn.ModuleList(
            ArchesWeather(describe_deterministic(config, network)) for network in config.deterministic
        )
        self.deterministic.requires_grad_(requires_grad=False).eval()
        self.residual = Backbone(config, states=4, conditions=CONDITIONS)
        self.register_buffer("residual_scale", torch.ones(len(config.fields.channels)))

    @classmethod
    def around(
        cls,
        models: Sequence[ArchesWeather],
        network: NetworkConfig,
        *,
        prediction: str = "data",
        sampling: SamplingConfig | None = None,
    ) -> Self:
        """Build a new one around trained models, whose weights are copied.

        Parameters
        ----------
        models : sequence of ArchesWeather
            Of the same fields, grid, lead and statistics.
        network : NetworkConfig
            Shape of the flow's network.
        prediction, sampling
            As in `GenerativeConfig`.

        Raises
        ------
        ConfigError
            If there is no model, one without statistics, or two that differ in more than their networks.
        """
        check_alike([as_stepper(model) for model in models])
        first = models[0]
        if first.normaliser is None:
            raise ConfigError("the models must know the statistics of their z-scores, got none")
        known = {each.name: getattr(first.config, each.name) for each in fields(ModelConfig)}
        config = GenerativeConfig(
            **known | {"network": network},
            deterministic=tuple(model.config.network for model in models),
            prediction=prediction,  # type: ignore[arg-type] # checked by the config
            sampling=sampling or SamplingConfig(),
        )
        built = cls(config, first.normaliser.normaliser)
        for own, model in zip(built.deterministic, models, strict=True):
            # Statistics are the same for all of them, and stand once.
            own.load_state_dict(
                {name: value for name, value in model.state_dict().items() if name in own.state_dict()}
            )
        built.residual.set_constants(first.backbone.constants)
        return built

    def train(self, mode: bool = True) -> Self:
        """Set training mode, of the flow's network alone."""
        super().train(mode)
        self.deterministic.eval()
        return self

    def set_residual_scale(self, scale: Float[Tensor, " channel"]) -> None:
        """Take the residual's standard deviations, in z-scores.

        Raises
        ------
        ConfigError
            If one is not above 0, or there is not one a channel.
        """
        names = self.config.fields.channels
        still = [name for name, value in zip(names, scale.tolist(), strict=False) if not value > 0]
        if len(scale) != len(names) or still:
            raise ConfigError(
                f"the residual's scale must be above 0 for each of {len(names)} channels, "
                f"got {len(scale)}" + (f" and not so of {', '.join(still[:6])}" if still else "")
            )
        self.residual_scale.copy_(scale)

    def forecast(self, state: States, previous: States, month: Scalars, hour: Scalars) -> States:
        """Give the mean of the deterministic models' next states, in float32."""
        total = torch.zeros_like(state, dtype=torch.float32)
        for model in self.deterministic:
            total = total + model(state, previous, month, hour).float()
        return total / len(self.deterministic)

    def scaled_residual(self, target: States, mean: States) -> States:
        """Give what the flow learns, (target - mean) / scale."""
        return (target - mean) / self.residual_scale[:, None, None]

    def forward(
        self,
        noisy: States,
        flow_time: Scalars,
        mean: States,
        state: States,
        previous: States,
        month: Scalars,
        hour: Scalars,
    ) -> States:
        """Predict the scaled residual from a noisy one, in float32.

        Parameters
        ----------
        noisy : Tensor
            (1 - s) residual + s noise.
        flow_time : Tensor, shape (batch,)
            s, from 0 (data) to 1 (noise).
        mean : Tensor
            From `forecast`.
        state, previous, month, hour : Tensor
            As for `ArchesWeather`.
        """
        blended = self.config.prediction == "blend"
        skip, out, scale_in = blend_weights(flow_time)
        seen = scale_samples(noisy, scale_in) if blended else noisy
        conditions = torch.stack([month, hour, _FLOW_TIME_UNITS * flow_time], dim=-1)
        raw = self.residual(torch.stack([state, previous, mean, seen], dim=1), conditions).float()
        return scale_samples(noisy, skip) + scale_samples(raw, out) if blended else raw

    def step(
        self, state: States, previous: States, month: Scalars, hour: Scalars, *, seeds: Sequence[int] | None
    ) -> States:
        """Draw the states one step ahead.

        Sample i follows from its inputs and its seed: its neighbours show only in the rounding of matrix
        products. The initial noise is drawn on the CPU, the same for every device.

        Parameters
        ----------
        state, previous, month, hour : Tensor
            As for `ArchesWeather`.
        seeds : sequence of int
            One a sample.

        Raises
        ------
        ConfigError
            If there is not one seed for each sample.
        """
        if seeds is None or len(seeds) != len(state):
            given = "none" if seeds is None else len(seeds)
            raise ConfigError(f"seeds must be one for each of the {len(state)} samples, got {given}")
        mean = self.forecast(state, previous, month, hour)

        def denoise(noisy: Tensor, flow_time: Tensor) -> Tensor:
            return self(noisy, flow_time, mean, state, previous, month, hour)

        plan = self.sampling
        noise = plan.noise_scale * draw_noise(state.shape[1:], seeds, device=state.device)
        schedule = flow_schedule(plan.steps, last=plan.last_time)
        drawn = follow_flow(denoise, noise, schedule=schedule, solver=plan.solver)
        return mean + self.residual_scale[:, None, None] * drawn


def describe_deterministic(config: GenerativeConfig, network: NetworkConfig) -> ModelConfig:
    """Give the config of one of the deterministic models."""
    known = {each.name: getattr(config, each.name) for each in fields(ModelConfig)}
    return replace(ModelConfig(**known), network=network)
