"""Identities of the flow's parts and of the whole."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from climalign.config import FlowConfig
from climalign.model.coupling import Coupling
from climalign.model.flow import ActNorm, MixingConvolution, Squeeze, use_caches
from climalign.model.glow import Glow, standard_normal
from climalign.model.prior import SplitPrior


def shake(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in module.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    return module.double().eval()


PARTS = {
    "squeeze": (Squeeze, 1),
    "actnorm": (lambda: ActNorm(4), 4),
    "mixing": (lambda: MixingConvolution(4), 4),
    "coupling": (lambda: Coupling(4, 6), 4),
    "odd coupling": (lambda: Coupling(3, 6), 3),
}


def jacobian(function, x):
    flat = torch.autograd.functional.jacobian(lambda v: function(v.view_as(x))[0].flatten(), x.flatten())
    return torch.linalg.slogdet(flat)[1]


@pytest.mark.parametrize("name", PARTS)
def test_parts_invert_and_their_determinant_is_autograds(name):
    build, channels = PARTS[name]
    part = shake(build())
    x = torch.randn(2, channels, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y, logabsdet = part(x)
    again, back = part.inverse(y)
    torch.testing.assert_close(again, x, atol=1e-10, rtol=0)
    torch.testing.assert_close(back, -logabsdet)
    for k in range(2):
        torch.testing.assert_close(jacobian(part, x[k : k + 1]), logabsdet[k], atol=1e-9, rtol=0)


def test_split_prior_is_the_conditional_gaussian_that_it_says():
    prior = shake(SplitPrior(2, 2))
    split, kept = torch.randn(2, 3, 2, 4, 4, dtype=torch.float64)
    noise, logabsdet = prior(split, kept)
    mean, log_scale = prior.predict(kept).chunk(2, 1)
    scale, shift = prior.normalise.scale[:, None, None], prior.normalise.shift[:, None, None]
    direct = torch.distributions.Normal(mean, log_scale.exp()).log_prob(scale * split + shift).sum((1, 2, 3))
    direct = direct + prior.normalise.log_scale.sum() * 16
    torch.testing.assert_close(standard_normal(noise) + logabsdet, direct)
    again, back = prior.inverse(noise, kept)
    torch.testing.assert_close(again, split)
    torch.testing.assert_close(back, -logabsdet)


@settings(max_examples=12, deadline=None)
@given(
    levels=st.integers(1, 3), steps=st.integers(1, 3), channels=st.integers(1, 2), seed=st.integers(0, 10**6)
)
def test_the_flow_inverts_whatever_its_shape(levels, steps, channels, seed):
    flow = shake(Glow(FlowConfig(levels=levels, steps=steps, filters=4), channels, seed=seed), seed)
    x = torch.randn(2, channels, 8, 16, dtype=torch.float64)
    z, logabsdet = flow(x)
    assert z.shape == x.shape
    again, back = flow.inverse(z)
    torch.testing.assert_close(again, x, atol=1e-7, rtol=1e-7)
    torch.testing.assert_close(back, -logabsdet, atol=1e-7, rtol=1e-7)


def test_float32_inverts_to_1e5_at_the_papers_depth():
    flow = Glow(FlowConfig(levels=3, steps=8, filters=8)).train()
    x = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        flow(x)
        flow.eval()
        again = flow.inverse(flow(x)[0])[0]
    assert (again - x).abs().max() < 1e-5


def test_the_flows_determinant_is_autograds(make_flow, images):
    flow = make_flow(levels=3)
    logabsdet = flow(images)[1]
    torch.testing.assert_close(jacobian(flow, images[:1]), logabsdet[0], atol=1e-8, rtol=0)


def test_log_density_against_a_closed_form(make_flow, images):
    """Without couplings the flow is linear: the density is a Gaussian that one can write down."""
    flow = make_flow(disturbed=False)
    for module in flow.modules():
        if isinstance(module, ActNorm):
            with torch.no_grad():
                module.log_scale.normal_(0, 0.3, generator=torch.Generator().manual_seed(len(module.shift)))
                module.shift.normal_(0, 0.5, generator=torch.Generator().manual_seed(7))
    size = images[0].numel()
    zero = torch.zeros_like(images[:1])
    matrix = torch.autograd.functional.jacobian(lambda v: flow(v.view_as(zero))[0].flatten(), zero.flatten())
    offset = flow(zero)[0].flatten()
    covariance = torch.linalg.inv(matrix.T @ matrix)
    mean = -torch.linalg.solve(matrix, offset)
    normal = torch.distributions.MultivariateNormal(mean, (covariance + covariance.T) / 2)
    torch.testing.assert_close(flow.log_density(images), normal.log_prob(images.reshape(-1, size)))


def test_standard_normal_is_torchs():
    z = torch.randn(3, 1, 4, 4)
    expected = torch.distributions.Normal(0, 1).log_prob(z).sum((1, 2, 3))
    torch.testing.assert_close(standard_normal(z), expected)


def test_an_untrained_pair_gives_back_its_input(make_flow, images):
    first = make_flow(disturbed=False, levels=3, steps=4)
    second = first.twin()
    torch.testing.assert_close(second.inverse(first(images)[0])[0], images, atol=1e-10, rtol=0)


def test_an_untrained_pair_stays_aligned_when_each_side_has_seen_its_own_data():
    """Upsampled fields with a little noise on one side, fine fields on the other: as training begins."""
    generator = torch.Generator().manual_seed(0)
    fine = torch.nn.functional.avg_pool2d(torch.randn(64, 1, 40, 40, generator=generator), 9, 1)
    fine = fine / fine.std()
    coarse = torch.nn.functional.avg_pool2d(fine, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    coarse = coarse + 0.1 * torch.randn(coarse.shape, generator=generator)
    first = Glow(FlowConfig(levels=2, steps=2, filters=8)).train()
    second = first.twin()
    with torch.no_grad():
        latent, _ = first(coarse)
        assert abs(latent.std() - 1) < 0.05
        second(fine)
        made = second.eval().inverse(first.eval()(coarse)[0])[0]
    means = [torch.nn.functional.avg_pool2d(each, 4).flatten() for each in (made, coarse)]
    assert torch.corrcoef(torch.stack(means))[0, 1] > 0.99


def test_pairs_of_other_seeds_are_not_aligned(images):
    first, second = (Glow(FlowConfig(levels=2, steps=2, filters=4), seed=seed).double() for seed in (0, 1))
    made = second.eval().inverse(first.eval()(images)[0])[0]
    assert torch.corrcoef(torch.stack((made.flatten(), images.flatten())))[0, 1] < 0.9


def test_the_seed_alone_decides_the_weights_and_leaves_the_global_generator():
    state = torch.get_rng_state()
    one, two = (Glow(FlowConfig(levels=1, steps=1, filters=4), seed=3).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert torch.equal(torch.get_rng_state(), state)


def test_actnorm_survives_constant_channels():
    norm = ActNorm(2).train()
    x = torch.randn(5, 2, 4, 4)
    x[:, 1] = 7.0
    norm.initialise(x)
    y, logabsdet = norm(x)
    assert torch.isfinite(y).all()
    assert torch.isfinite(logabsdet).all()
    torch.testing.assert_close(y[:, 1], torch.zeros(5, 4, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(y[:, 0].std(), torch.tensor(1.0))
    before = copy.deepcopy(norm.state_dict())
    norm.initialise(x + 3)
    assert torch.equal(before["shift"], norm.shift)


def test_the_mixing_starts_as_a_rotation():
    matrix = MixingConvolution(8, generator=torch.Generator().manual_seed(0)).rotation()
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(8), atol=1e-5, rtol=0)


def test_cached_inverses_give_the_same_and_are_dropped_by_training(make_flow, images):
    flow = make_flow()
    with torch.no_grad():
        plain = flow.inverse(images)[0]
        flow.use_caches()
        cached = flow.inverse(images)[0]
        mixing = flow.levels[0].parts[0]
        assert mixing.cache.inverse is not None
        torch.testing.assert_close(cached, plain)
        flow.train()
        assert mixing.cache.inverse is None
    use_caches(flow, mode=False)
    assert not mixing.using_cache


@pytest.mark.parametrize("shape", [(1, 1, 6, 8), (1, 2, 8, 8), (1, 8, 8), (1, 1, 0, 8)])
def test_shapes_that_do_not_fit_are_told(make_flow, shape):
    with pytest.raises(ValueError, match="expected images of shape"):
        make_flow(levels=2)(torch.zeros(shape, dtype=torch.float64))


def test_filters_double_up_to_the_limit():
    config = FlowConfig(levels=5, filters=32, max_filters=256)
    assert [config.filters_at(level) for level in range(5)] == [32, 64, 128, 256, 256]
    assert math.log2(Glow(FlowConfig(levels=3, steps=1, filters=2)).multiple) == 3
