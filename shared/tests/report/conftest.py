"""A record with everything in it, small enough to read."""

from __future__ import annotations

import numpy as np
import pytest

from isopleth.report import Claim, Cost, DataCard, Evaluation, Provenance, Score


@pytest.fixture
def evaluation() -> Evaluation:
    score = {"metric": "rmse", "variable": "geopotential_500", "units": "m2 s-2", "better": "lower"}
    return Evaluation(
        tool="archesweather",
        version="0.1.0",
        task="Forecast the atmosphere one day ahead.",
        data=DataCard(
            name="QG atmosphere",
            kind="simulated",
            source="isopleth.samples.atmosphere",
            train="days 0-100",
            test="days 120-200",
            fingerprint="sha256:" + "ab" * 32,
        ),
        scores=(
            Score(
                **score,
                stratum={"lead_hours": 24},
                model=61.2,
                interval=(59.8, 62.5),
                baselines={"persistence": 93.0, "climatology": 120.4},
                n=365,
            ),
            Score(**score, stratum={"lead_hours": 48}, model=99.0, baselines={"persistence": 90.0}, n=365),
        ),
        claims=(
            Claim(
                claim="It beats persistence",
                holds=True,
                difference=-31.8,
                interval=(-33.0, -30.0),
                units="m2 s-2",
                evidence="365 days",
            ),
            Claim(
                claim="It beats 3D windows",
                holds=False,
                difference=0.4,
                interval=(-0.2, 1.0),
                evidence="paired",
            ),
            Claim(claim="It is cheaper", holds=None, evidence="one run only"),
        ),
        cost=Cost(
            parameters=1204,
            train_seconds=75.0,
            predict_seconds=0.21,
            peak_memory_mb=812.4,
            device="cpu (2 cores)",
        ),
        provenance=Provenance(
            command="archesweather demo --out 'my run'",
            config_hash="3f9a1c",
            seed=0,
            versions={"numpy": "2.4.6"},
        ),
    )


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
