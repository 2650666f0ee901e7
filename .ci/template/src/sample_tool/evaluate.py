"""Score a network beside persistence and climatology, and write it down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from isopleth.config import config_hash
from isopleth.data import PackedStore, open_store
from isopleth.report import (
    Claim,
    Cost,
    DataCard,
    Evaluation,
    Provenance,
    Score,
    compare_bars,
    figure,
    measure_cost,
    publish,
    save_figure,
)
from isopleth.verify import State, accumulate, block_bootstrap, combine
from sample_tool import __version__
from sample_tool.config import EvaluateConfig
from sample_tool.data import make_windows
from sample_tool.model import Network
from sample_tool.predict import Frames, forecast_windows

MODEL, RIVALS = "sample-tool", ("persistence", "climatology")
# By method.
States = dict[str, State]


def evaluate_model(config: EvaluateConfig) -> dict[str, Any]:
    """Score a trained network on the test frames: the verb ``evaluate``."""
    network = Network.from_pretrained(config.model, device=config.device)
    store = open_store(config.data)
    with measure_cost() as predicting:
        states = score_network(network, store)
    scores = list_scores(states, store, config.seed)
    evaluation = Evaluation(
        tool="sample-tool",
        version=__version__,
        task="Forecast the next frame from the present one.",
        data=describe_data(store, kind="real"),
        scores=scores,
        claims=judge(states, config.seed),
        cost=Cost.of(predict=predicting, parameters=sum(each.numel() for each in network.parameters())),
        provenance=Provenance.collect(
            ["sample-tool", "evaluate", str(config.data)],
            config_hash(config),
            config.seed,
            packages=["sample-tool"],
        ),
    )
    draw_scores(scores, config.out)
    return publish(config.out, evaluation)


def score_network(network: Network, store: PackedStore) -> States:
    """Sum squared errors at each time of the test frames.

    Returns
    -------
    dict of State
        Of the network and its rivals, over (time, channel), of z-scores.
    """
    parts: dict[str, list[State]] = {name: [] for name in (MODEL, *RIVALS)}
    for seconds, forecast, frame, truth in forecast_windows(network, make_windows(store)["test"]):
        # The climatology is the mean of the training period, 0.
        made = {MODEL: forecast, "persistence": frame, "climatology": np.zeros_like(frame)}
        for name, fields in made.items():
            parts[name].append(sum_errors(fields, truth, seconds, store))
    return {name: combine(states) for name, states in parts.items()}


def sum_errors(forecast: Frames, truth: Frames, seconds: NDArray[np.int64], store: PackedStore) -> State:
    """Sum the squared errors of fields of shape (batch, channel, lat, lon), each cell with its area."""
    coords = {"time": seconds, "channel": list(store.channels)}
    pair = [
        xr.DataArray(fields.astype(float), dims=("time", "channel", "lat", "lon"), coords=coords)
        for fields in (forecast, truth)
    ]
    area = xr.DataArray(store.grid.weights, dims="lat")
    return accumulate("rmse", *pair, dims=("lat", "lon"), weights=area)


def list_scores(states: States, store: PackedStore, seed: int) -> list[Score]:
    """Give the RMSE of each channel in its own units, the model's with an interval."""
    found = {name: block_bootstrap(state, seed=seed) for name, state in states.items()}
    std = np.asarray(store.normaliser.std)
    values = {name: np.asarray(interval.value) * std for name, interval in found.items()}
    low, high = (np.asarray(bound) * std for bound in (found[MODEL].low, found[MODEL].high))
    return [
        Score(
            metric="rmse",
            variable=layer.name,
            units=layer.units or "1",
            better="lower",
            model=float(values[MODEL][channel]),
            interval=(float(low[channel]), float(high[channel])),
            baselines={name: float(values[name][channel]) for name in RIVALS},
            n=states[MODEL].table.sizes["time"],
        )
        for channel, layer in enumerate(store.layers)
    ]


def judge(states: States, seed: int) -> list[Claim]:
    """Judge whether the network errs less than each rival, over all channels, by paired differences."""
    overall = {name: replace(state, table=state.table.sum("channel")) for name, state in states.items()}
    return [
        Claim.judge(
            f"It errs less than {rival}",
            block_bootstrap(overall[MODEL], against=overall[rival], seed=seed),
            better="lower",
            evidence="difference of area-weighted RMSE of z-scores over all channels and test frames, paired "
            "block bootstrap",
        )
        for rival in RIVALS
    ]


def describe_data(store: PackedStore, *, kind: Literal["real", "simulated"]) -> DataCard:
    """Say what was learned from and what was tested on."""
    windows = make_windows(store)
    first, last = (store.axis[int(windows["test"].touched[end])] for end in (0, -1))
    return DataCard(
        name=store.path.name,
        kind=kind,
        source=str(store.path),
        train=f"{len(windows['train'])} pairs of frames",
        test=f"{len(windows['test'])} pairs, {first} to {last}",
        fingerprint=store.fingerprint,
    )


def draw_scores(scores: list[Score], out: Path) -> None:
    """Draw the RMSE of the first channel as bars."""
    caption = f"RMSE of {scores[0].variable} one step ahead; the line is the 95 % interval."
    with figure() as (fig, ax):
        compare_bars(ax, scores[:1])
        save_figure(fig, out, "rmse", caption)
