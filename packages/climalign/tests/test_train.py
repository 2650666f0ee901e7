from dataclasses import replace

import numpy as np
import pytest
import torch

from climalign.config import FitConfig, ObjectiveConfig
from climalign.data import COARSE, FINE
from climalign.model import ClimAlign
from climalign.model.critic import PatchCritic, critic_loss
from climalign.sample import PRECIPITATION
from climalign.train import Alignment, Days, build_model, start_flows, train_pair
from isopleth.errors import ConfigError, TrainingError


@pytest.fixture
def days(make_prepared, split):
    prepared = make_prepared()
    return prepared.load(COARSE, split.train_coarse), prepared.load(FINE, split.train_fine)


@pytest.mark.parametrize("mode", ["unsupervised", "supervised", "nll-only"])
def test_every_mode_trains_and_improves_the_likelihood(make_plan, make_prepared, tmp_path, mode):
    plan = make_plan(objective=ObjectiveConfig(mode=mode, coarse=0.1), out=tmp_path / mode)
    prepared = make_prepared()
    coarse, fine = prepared.load(COARSE, plan.split.train_coarse), prepared.load(FINE, plan.split.train_fine)
    module = Alignment(build_model(plan, prepared, coarse, fine), plan.objective, plan.fit, seed=0)
    days = Days(coarse, fine, paired=False, seed=0)
    start_flows(module, days, 64)
    batch = days.__getitems__(list(range(100)))
    with torch.no_grad():
        before = module.look(batch, module.generator(0))
    model, result = train_pair(plan, prepared)
    module.model = model
    with torch.no_grad():
        after = module.look(batch, module.generator(0))
    assert after.nll_coarse + after.nll_fine < before.nll_coarse + before.nll_fine
    assert np.isfinite(result.best_score)
    again = ClimAlign.from_pretrained(result.run.pretrained)
    assert all(
        torch.equal(a, b)
        for a, b in zip(again.state_dict().values(), model.state_dict().values(), strict=True)
    )


def test_a_killed_run_resumes_to_the_same_weights(make_plan, make_prepared, tmp_path):
    plan = make_plan(fit=FitConfig(epochs=2, batch_size=64, critic_filters=4))
    whole, _ = train_pair(replace(plan, out=tmp_path / "whole"), make_prepared())
    parts = replace(plan, out=tmp_path / "parts")
    train_pair(replace(parts, fit=replace(plan.fit, epochs=1)), make_prepared())
    resumed, _ = train_pair(replace(parts, resume=True), make_prepared())
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name


def test_no_pair_is_seen_unless_asked_for(days):
    coarse, fine = days
    unpaired = Days(coarse, fine, paired=False, seed=0)
    meetings = np.mean(unpaired.order_coarse == unpaired.order_fine)
    assert meetings < 0.05
    assert sorted(unpaired.order_coarse) == sorted(np.arange(len(unpaired)) % len(coarse.values))
    paired = Days(fine, fine, paired=True, seed=0)
    batch = paired.__getitems__([3, 5])
    torch.testing.assert_close(batch["coarse"], batch["fine"], equal_nan=True)


def test_what_is_masked_is_not_in_the_loss(make_plan, make_prepared, days):
    """Whatever stands in the sea, before it was masked, the flows get noise there."""
    plan = make_plan()
    module = Alignment(build_model(plan, make_prepared(), *days), plan.objective, plan.fit, seed=0)
    batch = Days(*days, paired=False, seed=0).__getitems__([0, 1, 2])
    passes = module.look(batch, module.generator(1))
    sea = ~torch.isfinite(batch["fine"])
    assert (~passes.fine.valid[:, 0] == sea).all()
    filled = passes.fine.values[:, 0][sea]
    assert torch.isfinite(filled).all()
    assert abs(filled.std() - 1) < 0.2
    assert passes.fine.log_fill.shape == (3,)


def test_what_is_random_is_drawn_anew_each_epoch_and_follows_from_the_seed(
    make_plan, make_prepared, split, monkeypatch
):
    """Dry days, above all: another draw in each epoch, the same again when the epoch is run again."""
    plan, prepared = make_plan("precipitation"), make_prepared(PRECIPITATION)
    days = prepared.load(COARSE, split.train_coarse), prepared.load(FINE, split.train_fine)
    module = Alignment(build_model(plan, prepared, *days), plan.objective, plan.fit, seed=0)
    batch = Days(*days, paired=False, seed=0).__getitems__([0, 1, 2])
    look, seen = module.look, []

    def stop(given, generator):
        seen.append(look(given, generator).fine.values[:, 0])
        raise StopIteration

    monkeypatch.setattr(module, "look", stop)
    for epoch in (0, 1, 0):
        monkeypatch.setattr(Alignment, "current_epoch", epoch)
        with pytest.raises(StopIteration):
            module.training_step(batch, 0)
    first, second, again = seen
    assert torch.equal(first, again)
    dry = batch["fine"] * module.model.fine_scale.to_mm < 1
    known = torch.isfinite(batch["fine"])
    assert (first != second)[dry & known].float().mean() > 0.99
    assert torch.equal(first[~dry & known], second[~dry & known])


def test_upsampled_fields_get_the_noise_that_makes_their_density_one(make_plan, make_prepared, days):
    plan = make_plan()
    module = Alignment(build_model(plan, make_prepared(), *days), plan.objective, plan.fit, seed=0)
    passes = module.look(Days(*days, paired=False, seed=0).__getitems__([0, 1, 2]), module.generator(0))
    blocks = passes.coarse.values.unfold(2, 4, 4).unfold(3, 4, 4).flatten(-2)
    assert blocks.std(-1).mean() == pytest.approx(plan.field.noise, rel=0.1)


def test_an_explosion_stops_the_training_and_says_so(make_plan, make_prepared, tmp_path):
    plan = make_plan(objective=ObjectiveConfig(mode="nll-only", explosion=1e-3), out=tmp_path / "run")
    with pytest.raises(TrainingError, match=r"must stay below 0\.001 nats"):
        train_pair(plan, make_prepared())


def test_windows_are_cut_from_whole_blocks(make_plan, make_prepared, days):
    plan = make_plan(fit=FitConfig(window=(8, 8)))
    module = Alignment(build_model(plan, make_prepared(), *days), plan.objective, plan.fit, seed=0)
    seen = set()
    for seed in range(20):
        _, _, row, column = module._choose_window(16, 16, module.generator(seed))
        assert row.start % 4 == column.start % 4 == 0
        assert row.stop - row.start == column.stop - column.start == 8
        seen.add((row.start, column.start))
    assert len(seen) > 3
    passes = module.look(Days(*days, paired=False, seed=0).__getitems__([0]), module.generator(0))
    assert passes.fine.values.shape == (1, 1, 8, 8)


@pytest.mark.parametrize("window", [(6, 8), (32, 16)])
def test_windows_that_do_not_fit_are_refused(make_plan, make_prepared, days, window):
    with pytest.raises(ConfigError, match="training window must be a multiple of 4 and at most 16"):
        build_model(make_plan(fit=FitConfig(window=window)), make_prepared(), *days)


def test_test_days_in_training_are_refused(make_plan, make_prepared, split, tmp_path):
    plan = make_plan(split=replace(split, test=split.train_fine), out=tmp_path / "run")
    with pytest.raises(ConfigError, match="must keep 5 days from the test period"):
        train_pair(plan, make_prepared())


def test_the_gradient_penalty_of_a_linear_critic_is_known():
    """D(x) = w . x has the gradient w everywhere: the penalty is (|w| - 1)^2."""

    class Linear(torch.nn.Module):
        def forward(self, x):
            return 3 * x.flatten(1).sum(1)

    real, fake = torch.ones(2, 1, 2, 2), torch.zeros(2, 1, 2, 2)
    loss = critic_loss(Linear(), real, fake, penalty=10.0, mix=torch.full((2, 1, 1, 1), 0.5))
    assert float(loss) == pytest.approx(-12 + 10 * (6 - 1) ** 2)


def test_a_critic_learns_to_tell_fields_apart():
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    critic = PatchCritic(4)
    optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.9))
    noise = torch.randn(32, 1, 16, 16, generator=generator)
    smooth = torch.nn.functional.avg_pool2d(noise, 5, 1, 2) * 5
    for _ in range(30):
        optimizer.zero_grad()
        critic_loss(
            critic, smooth, noise, penalty=10.0, mix=torch.rand(32, 1, 1, 1, generator=generator)
        ).backward()
        optimizer.step()
    assert (critic(smooth) > critic(noise).mean()).float().mean() > 0.9


def test_critics_take_the_smallest_fields():
    assert PatchCritic(2)(torch.randn(1, 1, 8, 8)).shape == (1,)
