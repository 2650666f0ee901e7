"""Two augmented views of a batch on one thread: ours, torchvision v2, lightly and kornia, in one run.

All of them crop and resize, mirror, change brightness, contrast, saturation and hue, and take the colour from
some; none blurs. Every image has random numbers of its own: torchvision and lightly work image by image, as a
data loader does; kornia and ours on the batch. Sources are 8/7 of the view, as ``prepare`` stores them.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from diffmix.config import ViewConfig
from diffmix.views import augment, make_recipe
from isopleth.benchmark import emit, ratio, side


def build_ours(size: int) -> Callable[[Tensor], Tensor]:
    recipe = make_recipe(ViewConfig(blur_probability=0.0), size)
    return lambda images: augment(images, recipe)


def build_torchvision(size: int) -> Callable[[Tensor], Tensor]:
    from torchvision.transforms import v2

    change = v2.Compose(
        [
            v2.RandomResizedCrop(size, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
            v2.RandomGrayscale(0.2),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    return lambda images: torch.stack([change(image) for image in images])


def build_lightly(size: int) -> Callable[[Tensor], Tensor]:
    from lightly.transforms import SimCLRViewTransform
    from torchvision.transforms.functional import to_pil_image

    # Its own recipe; a normalisation that does nothing, no blur.
    change = SimCLRViewTransform(
        input_size=size, gaussian_blur=0.0, normalize={"mean": [0.0] * 3, "std": [1.0] * 3}
    )
    return lambda images: torch.stack([change(to_pil_image(image)) for image in images])


def build_kornia(size: int) -> Callable[[Tensor], Tensor]:
    import kornia.augmentation as K

    change = K.AugmentationSequential(
        K.RandomResizedCrop((size, size), scale=(0.08, 1.0)),
        K.RandomHorizontalFlip(),
        K.ColorJitter(0.4, 0.4, 0.2, 0.1, p=0.8),
        K.RandomGrayscale(p=0.2),
        same_on_batch=False,
    )
    return lambda images: change(images.float() / 255)


SIDES = {
    "ours": build_ours,
    "torchvision v2, an image at a time": build_torchvision,
    "lightly, an image at a time": build_lightly,
    "kornia": build_kornia,
}


def _stored(size: int) -> tuple[int, int]:
    return (round(size * 8 / 7),) * 2


def measure(change: Callable[[Tensor], Tensor], images: Tensor, rounds: int) -> float:
    """Return seconds of processor time for two views, the quickest round: a busy machine slows the others."""
    change(images[:2])
    found = []
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(2):
            change(images)
        found.append(time.process_time() - start)
    return min(found)


def check_randomness(change: Callable[[Tensor], Tensor], size: int) -> bool:
    """Tell whether equal images get views of their own."""
    image = torch.randint(0, 256, (1, 3, *_stored(size)), dtype=torch.uint8)
    views = change(image.expand(8, -1, -1, -1)).flatten(1)
    return bool((torch.cdist(views, views) + torch.eye(8) > 1e-3).all())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 224])
    parser.add_argument("--images", type=int, default=256, help="of 32 pixels; fewer of larger ones")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    sides, ratios = [], []
    for size in options.sizes:
        count = max(options.images * 32 // size, 16)
        images = torch.randint(0, 256, (count, 3, *_stored(size)), dtype=torch.uint8)
        found = {}
        for name, build in SIDES.items():
            torch.manual_seed(0)
            change = build(size)
            assert check_randomness(change, size), name
            seconds = measure(change, images, options.rounds)
            found[name] = side(f"{name}, {size} px", 1e3 * seconds / count, "ms/image")
        sides += found.values()
        ratios += [
            ratio(
                f"{name} to ours, {size} px",
                found[name],
                found["ours"],
                asked=8 if "torchvision" in name and size == 32 else None,
            )
            for name in SIDES
            if name != "ours"
        ]
    emit(
        {
            "benchmark": "views",
            "sides": sides,
            "ratios": ratios,
            "note": "two views of each image, one thread, processor time of the quickest round",
        }
    )


if __name__ == "__main__":
    main()
