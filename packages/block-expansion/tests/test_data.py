"""The sample does not leak, folders of images are read, and what is wrong in them is said."""

import numpy as np
import pytest
from skimage import io

from block_expansion.data import Images, open_image_folder
from block_expansion.sample import TEXTURES, load_handwriting, load_textures
from isopleth.errors import DataError


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
    domain = open_image_folder(folder, size=14, channels=channels)
    assert domain.classes == ("cat", "dog")
    assert domain.test.pixels.shape == (4, channels, 14, 14)
    assert domain.val.labels.tolist() == [0, 0, 1, 1]


def test_what_is_wrong_in_a_folder_is_one_line(folder, tmp_path):
    with pytest.raises(DataError, match="at least two classes, got 0"):
        open_image_folder(tmp_path / "nothing", size=14)
    (folder / "test" / "cow").mkdir()
    with pytest.raises(DataError, match="must be among those of train, got cow"):
        open_image_folder(folder, size=14)
    (folder / "test" / "cow").rmdir()
    (folder / "val" / "cat" / "0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="an image must be readable"):
        open_image_folder(folder, size=14)
    for path in (folder / "val").rglob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match="must have val/CLASS/ with images in it, got none"):
        open_image_folder(folder, size=14)


def test_images_are_bytes_with_labels():
    with pytest.raises(DataError, match="images must be uint8"):
        Images(pixels=np.zeros((2, 1, 4, 4)), labels=np.zeros(2, np.int64))
    with pytest.raises(DataError, match="and 3 labels"):
        Images(pixels=np.zeros((2, 1, 4, 4), np.uint8), labels=np.zeros(3, np.int64))
