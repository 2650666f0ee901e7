from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from climalign.config import FieldConfig, FitConfig, FlowConfig, PrepareConfig, TrainConfig, WorldConfig
from climalign.data import COARSE, FINE, open_prepared, pack_pair
from climalign.demo import VARIABLES
from climalign.model import Glow
from climalign.sample import TEMPERATURE, make_world, plan_years
from climalign.train import Alignment, Days, build_model, start_flows
from isopleth.train import Runtime

TINY = WorldConfig(rows=16, columns=16, train_years=1, test_years=1)


@pytest.fixture(scope="session")
def world():
    return make_world(0, TINY)


@pytest.fixture(scope="session")
def split():
    return plan_years(TINY)


@pytest.fixture(scope="session")
def make_prepared(world, split, tmp_path_factory) -> Callable:
    made = {}

    def prepare(variable=TEMPERATURE):
        if variable not in made:
            config = PrepareConfig(
                coarse="world",
                fine="world",
                variable=variable,
                train_coarse=split.train_coarse,
                train_fine=split.train_fine,
                out=tmp_path_factory.mktemp("prepared") / "stores",
            )
            pack_pair(world.coarse[[variable]], world.fine[[variable]], config)
            made[variable] = open_prepared(config.out)
        return made[variable]

    return prepare


def disturb(flow: torch.nn.Module, amount: float = 0.05, seed: int = 0) -> torch.nn.Module:
    """Move every weight off its start, so that nothing is an identity any more."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in flow.parameters():
            weight += amount * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    return flow


@pytest.fixture
def make_flow() -> Callable[..., Glow]:
    def make(*, dtype=torch.float64, channels=1, disturbed=True, **options) -> Glow:
        config = FlowConfig(**{"levels": 2, "steps": 2, "filters": 8, **options})
        flow = Glow(config, channels).to(dtype).eval()
        return disturb(flow) if disturbed else flow

    return make


@pytest.fixture
def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(3, 1, 8, 16)))


@pytest.fixture(scope="session")
def make_plan(make_prepared, split) -> Callable:
    """A training of a few steps on the little world."""

    def make(kind="temperature", **parts) -> TrainConfig:
        variable = VARIABLES[kind]
        plan = TrainConfig(
            prepared=str(make_prepared(variable).path),
            field=FieldConfig(kind=kind, variable=variable),
            flow=FlowConfig(levels=2, steps=1, filters=4),
            fit=FitConfig(epochs=1, batch_size=64, critic_filters=4, learning_rate=1e-3),
            split=split,
            runtime=Runtime(accelerator="cpu", threads=1),
        )
        return replace(plan, **parts)

    return make


@pytest.fixture(scope="session")
def untrained(make_prepared, make_plan) -> Callable:
    """A pair that has seen its first batch and nothing more: interpolation with monthly means."""
    made = {}

    def build(kind="temperature"):
        if kind not in made:
            plan = make_plan(kind)
            prepared = make_prepared(VARIABLES[kind])
            days = prepared.load(COARSE, plan.split.train_coarse), prepared.load(FINE, plan.split.train_fine)
            model = build_model(plan, prepared, *days)
            module = Alignment(model, plan.objective, plan.fit, seed=0)
            start_flows(module, Days(*days, paired=False, seed=0), 64)
            made[kind] = model.eval()
        return made[kind]

    return build
