"""Score methods on withheld frames, and write it all down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from geostint import __version__
from geostint.baselines import Linear, Method, make_method
from geostint.baselines.method import Frames
from geostint.config import EvaluateConfig, ModelConfig
from geostint.data import Sequence, open_sequence
from geostint.outcome import LINEAR, Channel, Outcome, compare_methods, pick_event
from geostint.semantics import is_never_negative
from isopleth.config import config_hash, named_paths
from isopleth.errors import DataError
from isopleth.report import (
    Claim,
    Cost,
    DataCard,
    Evaluation,
    Provenance,
    Score,
    fingerprint,
    measure_cost,
    publish,
)

MODEL = "geostint"
TRANSFER = "skill_across_domains"
_METRICS: dict[str, Literal["lower", "higher"]] = {
    "mae": "lower", "psnr": "higher", "ssim": "higher", "fss": "higher"
}  # fmt: skip
# As much of the kept frames says what an event is, and how wide the data are where no model does.
_SAMPLE_BYTES = 2**27


def evaluate_model(config: EvaluateConfig) -> dict[str, Any]:
    """Withhold frames of each source and score a trained network: the verb ``evaluate``."""
    from geostint.figures import draw_outcome, draw_transfers
    from geostint.model import Geostint
    from geostint.predict import Learned

    sources = {Path(config.source).stem: config.source, **named_paths("others", config.others)}
    sequences = {
        name: open_sequence(source, variables=config.variables, period=None if number else config.period)
        for number, (name, source) in enumerate(sources.items())
    }
    networks = {MODEL: Geostint.from_pretrained(config.model, device=config.device)}
    for name, path in named_paths("models", config.models).items():
        networks[f"trained in {name}"] = Geostint.from_pretrained(path, device=config.device)
    network = networks[MODEL]
    factor = config.factor or network.config.frames + 1
    learned = {name: Learned(each, name=name) for name, each in networks.items()}
    for model in learned.values():
        model.check(tuple(k / factor for k in range(1, factor)))
    outcomes: dict[str, Outcome] = {}
    with measure_cost() as predicting:
        for name, sequence in sequences.items():
            for each in networks.values():
                check_channels(each.config, sequence)
            methods = {**learned, **fit_methods(config.methods, sequence.thin(factor))}
            channels = describe_channels(sequence, factor, network.config)
            outcomes[name] = compare_methods(
                sequence, methods, factor=factor, channels=channels, block=config.block
            )
    first = next(iter(outcomes.values()))
    # The first source is where the model is at home; others have their names in both lists.
    homes = {next(iter(outcomes)): MODEL, **{name.removeprefix("trained in "): name for name in networks
                                             if name != MODEL}}  # fmt: skip
    transfers = list_transfers(outcomes, homes, seed=config.seed) if len(networks) > 1 else []
    evaluation = Evaluation(
        tool="geostint", version=__version__,
        task=f"Make the {factor - 1} frames between frames that are {factor} steps apart.",
        data=describe_data(config.source, first, train="see the model's run", kind=config.kind),
        scores=[*list_scores(outcomes, seed=config.seed), *transfers],
        claims=[judge(first, channel.name, LINEAR, seed=config.seed) for channel in first.channels],
        cost=Cost.of(predict=predicting, parameters=sum(each.numel() for each in network.parameters())),
        provenance=Provenance.collect(
            ["geostint", "evaluate", config.source], config_hash(config), config.seed, packages=["geostint"]
        ),
    )  # fmt: skip
    config.out.mkdir(parents=True, exist_ok=True)
    draw_outcome(config.out, first)
    if transfers:
        draw_transfers(config.out, transfers)
    return {**publish(config.out, evaluation), **sum_up(evaluation)}


def fit_methods(names: tuple[str, ...], kept: Sequence) -> dict[str, Method]:
    """Return methods by name, linear interpolation always among them, fitted to the kept frames."""
    methods: dict[str, Method] = {LINEAR: Linear()}
    for name in names:
        method = make_method(name)
        methods[name] = method.fit(read_pieces(kept)) if method.needs_fit else method
    return methods


def read_pieces(sequence: Sequence, size: int = 64) -> Iterator[tuple[Frames, np.ndarray]]:
    """Yield frames and their times, a piece at a time."""
    for first in range(0, len(sequence), size):
        last = min(first + size, len(sequence))
        yield sequence.read(first, last), sequence.seconds[first:last]


def describe_channels(sequence: Sequence, factor: int, model: ModelConfig | None) -> tuple[Channel, ...]:
    """Return the channels under test; the data's range is the training data's where a model knows it."""
    kept = sequence.thin(factor)
    size = 4 * len(kept.channels) * int(np.prod(kept.grid.shape))
    frames = kept.read(0, min(len(kept), max(_SAMPLE_BYTES // size, 1)))
    spans = np.nanmax(frames, axis=(0, 2, 3)) - np.nanmin(frames, axis=(0, 2, 3))
    if model is not None and model.data_range:
        spans = np.asarray(model.data_range)
    return tuple(
        Channel(
            each.name, each.units or "1", float(span),
            pick_event(frames[:, number])
            if is_never_negative(each.variable) else None,
        )
        for number, (each, span) in enumerate(zip(sequence.source.channels, spans, strict=True))
    )  # fmt: skip


def check_channels(model: ModelConfig, sequence: Sequence) -> None:
    """Refuse fields that are not the model's.

    Raises
    ------
    DataError
        Names both.
    """
    if model.channels != sequence.channels:
        raise DataError(
            f"the fields must be the model's {list(model.channels)}, got {list(sequence.channels)}",
            where=sequence.place,
            hint="--variables chooses them, in the model's order",
        )


def list_scores(outcomes: Mapping[str, Outcome], *, model: str = MODEL, seed: int = 0) -> list[Score]:
    """Score the model beside its baselines: overall, by offset, by domain."""
    scores = []
    for domain, outcome in outcomes.items():
        where: dict[str, str | float | bool] = {"domain": domain} if len(outcomes) > 1 else {}
        for channel in outcome.channels:
            scores += _score_channel(outcome, channel, model, where, seed)
    return scores


def list_transfers(
    outcomes: Mapping[str, Outcome], networks: Mapping[str, str], *, seed: int = 0
) -> list[Score]:
    """Score each network wherever it was applied: the table across domains.

    Parameters
    ----------
    outcomes : mapping of str to Outcome
        By the domain that networks were applied in.
    networks : mapping of str to str
        The name of its method by the domain that a network was trained in.
    seed : int
        Of the bootstrap.
    """
    scores = []
    for trained, method in networks.items():
        for applied, outcome in outcomes.items():
            for channel in outcome.channels if method in outcome.methods else ():
                found = outcome.skill(method, channel.name, seed=seed)
                scores.append(
                    Score(
                        metric=TRANSFER, variable=channel.name, units="1", better="higher",
                        model=float(found.value), interval=found.ends, n=outcome.gaps,
                        stratum={"trained_in": trained, "applied_to": applied},
                    )
                )  # fmt: skip
    return scores


def judge(
    outcome: Outcome, channel: str, against: str, *, model: str = MODEL, sentence: str = "", seed: int = 0
) -> Claim:
    """Judge whether the model errs less than another method, by blocks of gaps."""
    found = outcome.difference(model, against, channel, seed=seed)
    return Claim.judge(
        sentence or f"It errs less than {against} interpolation in {channel}",
        found,
        better="lower",
        units=outcome.channel(channel).units,
        evidence=f"difference of area-weighted RMSE over all withheld frames, paired block bootstrap over "
        f"{outcome.gaps} gaps",
    )


def describe_data(source: str, outcome: Outcome, *, train: str, kind: Any) -> DataCard:
    """Say what was tested on."""
    errors = [
        outcome.pooled(LINEAR, channel.name).table["squared_error"].values for channel in outcome.channels
    ]
    return DataCard(
        name=Path(source).name,
        kind=kind,
        source=source,
        train=train,
        test=f"{outcome.gaps} gaps of {len(outcome.offsets)} withheld frames, {outcome.grid.shape[0]} x "
        f"{outcome.grid.shape[1]} cells",
        fingerprint=fingerprint(*errors),
    )


def sum_up(evaluation: Evaluation) -> dict[str, Any]:
    """Sum an evaluation up in a few numbers."""
    rmse = [s for s in evaluation.scores if s.metric == "rmse" and "offset_hours" not in s.stratum]
    return {
        "rmse": {_name(s): float(f"{s.model:.4g}") for s in rmse},
        "linear": {_name(s): float(f"{s.baselines[LINEAR]:.4g}") for s in rmse if LINEAR in s.baselines},
    }


def _score_channel(
    outcome: Outcome, channel: Channel, model: str, where: dict[str, str | float | bool], seed: int
) -> list[Score]:
    name, others = channel.name, [each for each in outcome.methods if each != model]
    common: dict[str, Any] = {"variable": name, "n": outcome.gaps}

    def score(
        metric: str, units: str, better: Literal["lower", "higher"], of: Any, **extra: Any
    ) -> Score | None:
        stratum = {**where, **extra.pop("stratum", {})}
        values = {each: of(each) for each in (model, *others)}
        if values[model] is None or not np.isfinite(values[model]):
            return None
        return Score(
            metric=metric, units=units, better=better, model=values[model], stratum=stratum,
            baselines={each: values[each] for each in others if np.isfinite(values[each])}, **common, **extra,
        )  # fmt: skip

    found = [
        score("rmse", channel.units, "lower", lambda m: outcome.rmse(m, name),
              interval=outcome.interval(model, name, seed=seed)),
        score("skill_against_linear", "1", "higher",
              lambda m: float(outcome.skill(m, name, seed=seed).value),
              interval=outcome.skill(model, name, seed=seed).ends),
        *(score("rmse", channel.units, "lower", lambda m, at=offset: outcome.rmse(m, name, at),
                stratum={"offset_hours": offset}) for offset in outcome.offsets),
    ]  # fmt: skip
    for metric in channel.metrics(outcome.grid):
        if metric.name in _METRICS:
            units = {"mae": channel.units, "psnr": "dB"}.get(metric.name, "1")
            found.append(
                score(metric.name, units, _METRICS[metric.name],
                      lambda m, key=metric.name: outcome.score(key, m, name))
            )  # fmt: skip
    if outcome.small_scales(model, name) is not None:
        found.append(
            score("small_scale_power_error", "1", "lower",
                  lambda m: abs(float(np.log(outcome.small_scales(m, name) or np.nan))))
        )  # fmt: skip
    return [each for each in found if each is not None]


def _name(score: Score) -> str:
    domain = score.stratum.get("domain")
    return f"{domain}: {score.variable}" if domain else score.variable
