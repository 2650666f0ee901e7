"""Views: identities, a naive blur and jitter, and random numbers of one's own for every image."""

import colorsys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffmix.config import ViewConfig
from diffmix.views import Recipe, augment, blur, change_colours, make_recipe

FULL = make_recipe(ViewConfig(recipe="symmetric", solarise_probability=0.2), 16)


def draw(count=6, channels=3, size=16, seed=0):
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


def test_no_strength_is_the_image_itself():
    recipe = make_recipe(ViewConfig(strength=0.0), 16)
    images = draw()
    assert torch.equal(augment(images, recipe), images)
    whole = (255 * images).round().to(torch.uint8)
    assert torch.allclose(augment(whole, recipe), images, atol=0.5 / 255 + 1e-6)


def test_no_strength_at_another_size_is_a_plain_resize():
    images = draw()
    recipe = make_recipe(ViewConfig(strength=0.0), 32)
    plain = torch.nn.functional.interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)
    inside = (slice(None), slice(None), slice(2, -2), slice(2, -2))  # edges are reflected, not repeated
    torch.testing.assert_close(augment(images, recipe)[inside], plain[inside], atol=1e-5, rtol=0)


def test_every_image_has_random_numbers_of_its_own():
    """The trap of transforms that draw once for a batch: equal images then get equal views."""
    torch.manual_seed(0)
    same = draw(1).expand(32, -1, -1, -1)
    views = augment(same, FULL).flatten(1)
    distance = torch.cdist(views, views) + 10 * torch.eye(32)
    assert distance.min() > 0.1
    torch.manual_seed(0)
    assert torch.equal(augment(same, FULL).flatten(1), views)


def test_torchvisions_batch_draws_once_and_ours_does_not():
    from torchvision.transforms import v2

    same = draw(1).expand(8, -1, -1, -1)
    theirs = v2.RandomResizedCrop(16, antialias=True)(same).flatten(1)
    assert torch.equal(theirs[0], theirs[1])
    crop = augment(same, Recipe(size=16, area=(0.08, 1.0), ratio=4 / 3)).flatten(1)
    assert not torch.allclose(crop[0], crop[1])


@settings(max_examples=25)
@given(
    channels=st.sampled_from([1, 3]), size=st.integers(4, 20), out=st.integers(4, 20), seed=st.integers(0, 99)
)
def test_views_have_the_size_and_range_asked_for(channels, size, out, seed):
    torch.manual_seed(seed)
    views = augment(draw(3, channels, size, seed), make_recipe(ViewConfig(solarise_probability=0.5), out))
    assert views.shape == (3, channels, out, out)
    assert views.isfinite().all()
    assert views.min() >= 0
    assert views.max() <= 1 + 1e-6


def test_masks_leave_images_alone():
    images = draw(8)
    none = torch.zeros(8, dtype=torch.bool)
    assert torch.allclose(augment(images, FULL, crops=none, colours=none), images, atol=1e-5)
    half = torch.arange(8) < 4
    views = augment(images, FULL, crops=half, colours=half)
    assert torch.allclose(views[4:], images[4:], atol=1e-5)
    assert not torch.allclose(views[:4], images[:4], atol=1e-2)


def test_a_blur_is_a_sum_over_the_reflected_image():
    image, sigma = draw(1, 1, 9)[0, 0].double(), 1.3
    padded = np.pad(image.numpy(), 9, mode="symmetric")
    offsets = np.arange(-9, 10)
    kernel = np.exp(-(offsets**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    expected = np.zeros((9, 9))
    for row in range(9):
        for column in range(9):
            window = padded[row : row + 19, column : column + 19]
            expected[row, column] = kernel @ window @ kernel
    found = blur(image[None, None], torch.tensor([sigma], dtype=torch.float64))[0, 0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_blur_keeps_the_mean_and_a_narrow_one_keeps_all():
    images = draw(3)
    wide = blur(images, torch.tensor([0.5, 1.0, 2.0]))
    torch.testing.assert_close(wide.mean((2, 3)), images.mean((2, 3)), atol=2e-2, rtol=0)
    torch.testing.assert_close(blur(images, torch.full((3,), 0.05)), images)


def jitter_with(monkeypatch, images, jitter, amount, grey=0.0):
    """Let every draw be `amount`: brightness and the rest are then known."""
    monkeypatch.setattr("diffmix.views._draw", lambda images: torch.full((len(images),), amount))
    recipe = Recipe(size=16, jitter=jitter, jitter_probability=1.0, grey=grey)
    return change_colours(images, recipe, torch.ones(len(images), dtype=torch.bool))


def test_brightness_contrast_and_saturation_are_the_usual_ones(monkeypatch):
    images = 0.3 + 0.3 * draw()
    luminance = (images * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    factor = 1 + 0.4 * 0.5  # a draw of 0.75 is half the way up
    bright = jitter_with(monkeypatch, images, (0.4, 0, 0, 0), 0.75)
    torch.testing.assert_close(bright, (factor * images).clamp(0, 1))
    contrast = jitter_with(monkeypatch, images, (0, 0.4, 0, 0), 0.75)
    mean = luminance.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(contrast, mean + factor * (images - mean), atol=1e-5, rtol=1e-5)
    saturated = jitter_with(monkeypatch, images, (0, 0, 0.4, 0), 0.75)
    torch.testing.assert_close(saturated, luminance + factor * (images - luminance), atol=1e-5, rtol=1e-5)


def test_grey_has_one_luminance_in_all_channels(monkeypatch):
    grey = jitter_with(monkeypatch, draw(), (0, 0, 0, 0), 0.0, grey=0.5)
    torch.testing.assert_close(grey[:, 0], grey[:, 1])
    torch.testing.assert_close(grey[:, 0], grey[:, 2])


def test_hue_turns_colours_and_leaves_luminance(monkeypatch):
    images = 0.4 + 0.2 * draw()
    turned = jitter_with(monkeypatch, images, (0, 0, 0, 0.1), 0.99)
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    torch.testing.assert_close((turned * weights).sum(1), (images * weights).sum(1), atol=1e-4, rtol=0)
    before = colorsys.rgb_to_hsv(*images[0, :, 3, 3].tolist())[0]
    after = colorsys.rgb_to_hsv(*turned[0, :, 3, 3].tolist())[0]
    step = abs(after - before)
    assert 0.04 < min(step, 1 - step) < 0.16


def test_the_released_recipe_blurs_one_side_and_solarises_the_other():
    config = ViewConfig(recipe="released")
    first, second = make_recipe(config, 224), make_recipe(config, 224, second=True)
    assert (first.blur, first.solarise, second.blur, second.solarise) == (1.0, 0.0, 0.0, 0.2)


def test_strength_scales_everything():
    half = make_recipe(ViewConfig(strength=0.5), 32)
    assert half.area == pytest.approx((0.54, 1.0))
    assert half.jitter == pytest.approx((0.2, 0.2, 0.1, 0.05))
    assert half.flip == 0.25
    assert half.grey == pytest.approx(0.1)
