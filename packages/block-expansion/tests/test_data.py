"""The sample does not leak, folders of images are read, and what is wrong in them is said."""

import tracemalloc

import numpy as np
import pytest
import torch
from skimage import io

from block_expansion.config import DataConfig, FitConfig, MethodConfig
from block_expansion.data import Images, StoredImages, compute_moments, list_batches
from block_expansion.folders import PictureReader, open_domain
from block_expansion.retention import compute_features
from block_expansion.sample import TEXTURES, load_handwriting, load_textures
from block_expansion.train import adapt
from isopleth.errors import DataError
from isopleth.train import Runtime


def test_parts_of_the_sample_share_no_image():
    for domain in (load_handwriting(), load_textures(train=20, held=10)):
        # The sky of two parts may be equally black.
        parts = [
            {image.tobytes() for image in part.pixels if np.ptp(image) > 0}
            for part in (domain.train, domain.val, domain.test)
        ]
        assert not parts[0] & parts[2]
        assert not parts[1] & parts[2]
        assert set(domain.train.labels) == set(domain.test.labels) == set(range(10))
        assert domain.train.pixels.shape[1:] == (1, 16, 16)


def test_the_sample_is_the_same_every_time_and_other_for_another_seed():
    first, again, other = (load_textures(train=3, held=2, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.train.pixels, again.train.pixels)
    assert not np.array_equal(first.train.pixels, other.train.pixels)
    assert len(first.train) == 3 * len(TEXTURES)


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for part in ("train", "val", "test"):
        for name in ("cat", "dog"):
            place = tmp_path / "pets" / part / name
            place.mkdir(parents=True)
            for number in range(2):
                pixels = random.integers(0, 256, (20, 30, 3), dtype=np.uint8)
                io.imsave(place / f"{number}.png", pixels, check_contrast=False)
    return tmp_path / "pets"


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder_of_images_is_read(folder, channels):
    domain = open_domain(folder, size=14, channels=channels)
    assert domain.classes == ("cat", "dog")
    assert domain.test.read(range(4)).shape == (4, *domain.test.shape) == (4, channels, 14, 14)
    assert domain.val.labels.tolist() == [0, 0, 1, 1]


def test_what_is_wrong_in_a_folder_is_one_line(folder, tmp_path):
    with pytest.raises(DataError, match="at least two classes, got 0"):
        open_domain(tmp_path / "nothing", size=14)
    (folder / "test" / "cow").mkdir()
    with pytest.raises(DataError, match="must be among those of train, got cow"):
        open_domain(folder, size=14)
    (folder / "test" / "cow").rmdir()
    (folder / "val" / "cat" / "0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="an image must be readable"):
        open_domain(folder, size=14)
    for path in (folder / "val").rglob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match="must have val/CLASS/ with images in it, got none"):
        open_domain(folder, size=14)


def test_images_are_bytes_with_labels():
    with pytest.raises(DataError, match="images must be uint8"):
        Images(pixels=np.zeros((2, 1, 4, 4)), labels=np.zeros(2, np.int64))
    with pytest.raises(DataError, match="and 3 labels"):
        Images(pixels=np.zeros((2, 1, 4, 4), np.uint8), labels=np.zeros(3, np.int64))


def test_a_picture_that_breaks_off_is_named_when_it_is_read(folder):
    path = folder / "train" / "cat" / "1.png"
    path.write_bytes(path.read_bytes()[:60])
    domain = open_domain(folder, size=14)
    with pytest.raises(DataError, match="an image must be readable") as error:
        domain.train.read([1])
    assert error.value.where == str(path)


def test_decoded_images_are_kept_in_a_file_until_one_changes(folder, tmp_path, monkeypatch):
    data = DataConfig(cache=tmp_path / "cache")
    plain, kept = open_domain(folder, size=14), open_domain(folder, size=14, data=data)
    assert np.array_equal(kept.train.read([3, 0]), plain.train.read([3, 0]))
    expected = plain.val.read([0])
    files = sorted(data.cache.iterdir())
    assert len(files) == 3
    with monkeypatch.context() as patch:
        patch.setattr(PictureReader, "__call__", lambda *_: pytest.fail("decoded again"))
        assert np.array_equal(open_domain(folder, size=14, data=data).val.read([0]), expected)
    io.imsave(folder / "val" / "dog" / "0.png", np.zeros((20, 30, 3), np.uint8), check_contrast=False)
    changed = open_domain(folder, size=14, data=data)
    assert not changed.val.read([2]).any()
    assert len([*data.cache.iterdir()]) == 4


def test_an_interrupted_cache_leaves_nothing_that_is_not_whole(folder, tmp_path):
    broken = folder / "train" / "dog" / "1.png"
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(DataError):
        open_domain(folder, size=14, data=DataConfig(cache=tmp_path / "cache"))
    assert not [*(tmp_path / "cache").glob("*.npy")]


def test_memory_does_not_grow_with_the_number_of_images(tmp_path, classifier):
    """What numpy holds at most while a network goes through all images, twice as many and half."""
    io.imsave(tmp_path / "0.png", np.zeros((96, 96), np.uint8), check_contrast=False)
    reader = PictureReader(96, 1)
    classifier.backbone = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d((4, 6)), torch.nn.Flatten())
    peaks = []
    for count in (1024, 2048):
        images = StoredImages(
            items=[tmp_path / "0.png"] * count, labels=np.zeros(count), reader=reader, shape=(1, 96, 96)
        )
        tracemalloc.start()
        try:
            assert compute_features(classifier, images).shape == (count, 24)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 1.05 * peaks[0] < 0.6 * 2048 * 96 * 96


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_an_error_in_a_loader_is_the_error_itself(folder, tmp_path, classifier, workers):
    path = folder / "train" / "cat" / "1.png"
    path.write_bytes(path.read_bytes()[:60])
    domain = open_domain(folder, size=16, channels=1)
    fit = FitConfig(steps=2, batch_size=4, warmup_steps=0)
    runtime = Runtime(accelerator="cpu", threads=1, workers=workers)
    with pytest.raises(DataError, match=r"^an image must be readable") as error:
        adapt(classifier, domain, MethodConfig(kind="linear"), fit, run_dir=tmp_path / "run", runtime=runtime)
    assert error.value.where == str(path)


def test_moments_are_those_of_all_pixels():
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (700, 2, 5, 5), dtype=np.uint8)
    images = Images(pixels=pixels, labels=np.zeros(700, np.int64))
    assert [len(part) for part in list_batches(images)] == [512, 188]
    means, stds = compute_moments(images)
    values = pixels.transpose(1, 0, 2, 3).reshape(2, -1).astype(np.float64)
    assert means == pytest.approx(values.mean(1), rel=1e-12)
    assert stds == pytest.approx(values.std(1), rel=1e-12)
    with pytest.raises(DataError, match="got standard deviation 0 of band 1"):
        compute_moments(Images(pixels=np.ones((2, 1, 3, 3), np.uint8), labels=np.zeros(2, np.int64)))
