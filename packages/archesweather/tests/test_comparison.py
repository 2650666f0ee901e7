"""Equal compute is equal counted arithmetic, and the claim is judged by what varies most."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from torch.utils.flop_counter import FlopCounterMode

from archesweather.comparison import COLUMNS, WINDOWS, judge_pairs, plan_pairs
from archesweather.compute import count_flops
from archesweather.config import SAMPLE_FIELDS, FitConfig, ModelConfig, NetworkConfig, TrainConfig
from archesweather.model import ArchesWeather
from archesweather.prepared import open_prepared
from isopleth.verify import Interval

NETWORK = NetworkConfig(
    dim=16, depths=(1, 2, 2, 1), heads=(2, 2, 2, 2), window=(2, 4), column_heads=2, condition_dim=16
)


def make_config(vertical: str) -> ModelConfig:
    return ModelConfig(
        fields=SAMPLE_FIELDS,
        network=replace(NETWORK, vertical=vertical),
        lat=tuple(np.linspace(-85, 85, 16).tolist()),
        lon=tuple(np.arange(0, 360, 11.25).tolist()),
    )


@pytest.mark.parametrize("vertical", ["columns", "windows", "none"])
def test_the_formula_is_what_torch_counts(vertical):
    config = make_config(vertical)
    with torch.device("meta"):
        model = ArchesWeather(config).eval()
        state, scalar = torch.zeros(1, 12, 16, 32), torch.zeros(1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(state, state, scalar, scalar)
    # The formula leaves out the embedding of month and hour, a few thousand products.
    assert sum(count_flops(config).values()) == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_pairs_share_seed_and_samples_and_cost_the_same(sample_folder, tmp_path):
    prepared = open_prepared(sample_folder)
    plan = TrainConfig(data=sample_folder, network=NETWORK, fit=FitConfig(max_steps=1000, warmup_steps=1))
    pairs = plan_pairs(plan, prepared, (3, 4), tmp_path)
    assert [pair[COLUMNS].runtime.seed for pair in pairs] == [3, 4]
    for pair in pairs:
        columns, windows = pair[COLUMNS], pair[WINDOWS]
        assert columns.runtime.seed == windows.runtime.seed
        assert columns.fit.batch_size == windows.fit.batch_size
        assert columns.out != windows.out
        grid = prepared.store.grid
        work = [
            each.fit.max_steps * sum(count_flops(_model(each, grid)).values()) for each in (columns, windows)
        ]
        assert work[0] == pytest.approx(work[1], rel=1e-3)


def _model(config: TrainConfig, grid) -> ModelConfig:
    lat, lon = tuple(grid.lat.tolist()), tuple(grid.lon.tolist())
    return ModelConfig(fields=SAMPLE_FIELDS, network=config.network, lat=lat, lon=lon)


class Found:
    """An outcome whose paired difference is known."""

    def __init__(self, value: float) -> None:
        self.value = value
        self.draws, self.seed = 10, 0
        self.model, self.plan, self.starts = self, self, np.arange(20)
        self.tallies = {WINDOWS: None}

    def difference(self, other, metric, *, draws, seed):
        at = {"lead": [24], "channel": ["geopotential_500"]}
        low, value, high = (
            xr.DataArray([[self.value + shift]], at, ("lead", "channel")) for shift in (-1.0, 0.0, 1.0)
        )
        return Interval(low=low, high=high, value=value, level=0.95, block=1)


def test_one_pair_is_judged_over_initial_times():
    claim = judge_pairs([Found(-2.0)], "geopotential_500", 24)
    assert (claim.holds, claim.interval, claim.units) == (True, (-3.0, -1.0), "m2 s-2")
    assert "nothing of other seeds" in claim.evidence


def test_pairs_that_disagree_leave_the_claim_undecided_though_each_is_certain():
    claim = judge_pairs([Found(-5.0), Found(5.0), Found(-5.0)], "geopotential_500", 24)
    assert claim.holds is None
    assert claim.difference == pytest.approx(-5 / 3)


def test_pairs_that_agree_decide_it():
    assert judge_pairs([Found(2.0), Found(2.2), Found(1.9)], "geopotential_500", 24).holds is False
