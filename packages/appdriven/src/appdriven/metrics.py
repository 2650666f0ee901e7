"""Metrics that an application may name; each is a function of means of named statistics, as in the core."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from isopleth.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr

    from appdriven.application import Application
    from isopleth.verify import Metric
    from isopleth.verify.alignment import Pair


@dataclass(frozen=True)
class Measure:
    """A metric as an application sees it.

    Parameters
    ----------
    make : callable
        Builds the core's metric for an application.
    better : {"lower", "higher"}
    power : int
        Its units are those of the target to this power.
    relative : bool
        Whether the ratio of two values means something: not where zero is reached by chance.
    source : {"value", "probability"}
        Which prediction it looks at.
    """

    make: Callable[[Application], Metric]
    better: Literal["lower", "higher"] = "lower"
    power: int = 1
    relative: bool = True
    source: Literal["value", "probability"] = "value"

    def units(self, target: str) -> str:
        """Return its units in UDUNITS spelling."""
        if self.power == 0 or target == "1":
            return "1"
        return target if self.power == 1 else f"({target}){self.power}"


def _core(name: str) -> Callable[[Application], Metric]:
    def make(_: Application) -> Metric:
        from isopleth.verify import METRICS

        return METRICS[name]

    return make


def _absolute_bias(_: Application) -> Metric:
    from isopleth.verify import Metric

    return Metric("absolute_bias", {"error": lambda pair: pair.error}, lambda means: abs(means["error"]))


def _explained(_: Application) -> Metric:
    from isopleth.verify import Metric

    statistics = {
        "squared_error": lambda pair: pair.error**2,
        "truth": lambda pair: pair.truth.where(pair.forecast.notnull()),
        "squared_truth": lambda pair: (pair.truth**2).where(pair.forecast.notnull()),
    }

    def of_means(means: Mapping[str, xr.DataArray]) -> xr.DataArray:
        variance = means["squared_truth"] - means["truth"] ** 2
        return 1 - means["squared_error"] / variance.where(variance > 0)

    return Metric("r2", statistics, of_means)


def _psnr(application: Application) -> Metric:
    """PSNR of the pooled mean squared error: what a mean over frames cannot be below."""
    import numpy as np

    from appdriven.schema import Unknown
    from isopleth.verify import Metric

    limits = application.task.range
    if isinstance(limits, Unknown):
        raise ConfigError("psnr must have the target's range declared in task.range, got an unknown one")
    peak = 20 * np.log10(limits[1] - limits[0])

    def of_means(means: Mapping[str, xr.DataArray]) -> xr.DataArray:
        error = means["squared_error"]
        return (peak - 10 * np.log10(error.where(error > 0))).where(error != 0, np.inf)

    return Metric("psnr", {"squared_error": lambda pair: pair.error**2}, of_means)


def event_of(pair_values: xr.DataArray, application: Application) -> xr.DataArray:
    """Return 1 where the declared event is, 0 where it is not, NaN where the value is missing."""
    event = application.harms.event
    if event is None:
        raise ConfigError("harms.event must be declared for scores of events, got none")
    reached = pair_values >= event.threshold if event.direction == "above" else pair_values <= event.threshold
    return reached.astype(float).where(pair_values.notnull())


def _table(application: Application) -> dict[str, Callable[[Pair], xr.DataArray]]:
    """Return the four shares of a contingency table as statistics."""
    event = application.harms.event
    name = "none" if event is None else f"{event.direction}_{event.threshold!r}"

    def share(forecast: int, truth: int) -> Callable[[Pair], xr.DataArray]:
        def statistic(pair: Pair) -> xr.DataArray:
            said, came = event_of(pair.forecast, application), event_of(pair.truth, application)
            return ((said == forecast) & (came == truth)).astype(float).where(said.notnull() & came.notnull())

        return statistic

    kinds = {"hit": (1, 1), "miss": (0, 1), "false_alarm": (1, 0), "correct_negative": (0, 0)}
    return {f"{kind}_{name}": share(*both) for kind, both in kinds.items()}


def _contingency(name: str, score: Callable[..., xr.DataArray]) -> Callable[[Application], Metric]:
    def make(application: Application) -> Metric:
        from isopleth.verify import Metric

        shares = _table(application)
        return Metric(name, shares, lambda means: score(*(means[share] for share in shares)))

    return make


def _expected_cost(application: Application) -> Metric:
    from appdriven.schema import Unknown
    from isopleth.verify import Metric

    costs = application.harms.costs
    if isinstance(costs, Unknown):
        raise ConfigError(f"expected_cost must have harms.costs declared, got {costs}")
    shares = _table(application)
    prices = (costs.hit, costs.miss, costs.false_alarm, costs.correct_negative)
    return Metric(
        "expected_cost",
        shares,
        lambda means: sum(
            (price * means[share] for price, share in zip(prices, shares, strict=True)),
            start=0.0 * means[next(iter(shares))],
        ),
    )


def _brier(application: Application) -> Metric:
    from isopleth.verify import Metric

    event = application.harms.event
    name = "none" if event is None else f"brier_{event.direction}_{event.threshold!r}"

    def statistic(pair: Pair) -> xr.DataArray:
        return (pair.forecast - event_of(pair.truth, application)) ** 2

    return Metric("brier", {name: statistic}, lambda means: means[name])


def _ratio(above: xr.DataArray, below: xr.DataArray) -> xr.DataArray:
    return above / below.where(below > 0)


MEASURES: dict[str, Measure] = {
    "rmse": Measure(_core("rmse")),
    "mae": Measure(_core("mae")),
    "mse": Measure(_core("mse"), power=2),
    "absolute_bias": Measure(_absolute_bias, relative=False),
    "r2": Measure(_explained, better="higher", power=0, relative=False),
    "psnr": Measure(_psnr, better="higher", power=0, relative=False),
    "hit_rate": Measure(
        _contingency("hit_rate", lambda h, m, *_: _ratio(h, h + m)), better="higher", power=0
    ),
    "false_alarm_ratio": Measure(
        _contingency("false_alarm_ratio", lambda h, _, f, *__: _ratio(f, h + f)), power=0
    ),
    "csi": Measure(_contingency("csi", lambda h, m, f, _: _ratio(h, h + m + f)), better="higher", power=0),
    "expected_cost": Measure(_expected_cost, power=0),
    "brier": Measure(_brier, power=0, source="probability"),
}
METRIC_NAMES = tuple(MEASURES)
