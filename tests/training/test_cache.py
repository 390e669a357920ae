"""The cache of images on disk: what it holds is right or made again, never wrong."""

import os
import pickle

import numpy as np
import pytest
from PIL import Image
from tiny import write_tiny_base

from homework.base_vlm import BaseVLM
from homework.labels import questions
from homework.training import batches, cache
from homework.training.batches import ViewDataset

SHAPE = (5, 4, 3)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "homework"


@pytest.fixture
def images(tmp_path) -> list[str]:
    rng = np.random.default_rng(0)
    for number in range(3):
        noise = rng.integers(0, 255, (100, 150, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
    return sorted(str(path) for path in tmp_path.glob("*.png"))


def opened(images, **kwargs):
    return cache.open_cache(images, SHAPE, **{"dtype": "uint8", "maker": "test", **kwargs})


def test_cached_arrays_are_found_again_also_by_another_process(images):
    arrays = np.random.default_rng(1).integers(0, 255, (3, *SHAPE), dtype=np.uint8)
    first = opened(images)
    assert [first.get(index) for index in range(3)] == [None] * 3
    first.put(2, arrays[2])
    first.put(0, arrays[0])
    for other in (opened(images), pickle.loads(pickle.dumps(first))):
        assert (other.get(0) == arrays[0]).all() and (other.get(2) == arrays[2]).all()
        assert other.get(1) is None


def test_a_damaged_slot_is_empty_and_a_damaged_file_made_anew(images):
    held = opened(images)
    for index in range(3):
        held.put(index, np.full(SHAPE, index, np.uint8))
    data = bytearray(held.path.read_bytes())
    data[len(data) // 3 + 20] ^= 1
    held.path.write_bytes(data)
    again = opened(images)
    assert again.get(1) is None
    assert (again.get(2) == 2).all()
    held.path.write_bytes(data[:-1])
    assert opened(images).get(2) is None


def test_a_changed_image_or_maker_is_another_file(images, monkeypatch):
    held = opened(images)
    held.put(0, np.ones(SHAPE, np.uint8))
    assert opened(images, maker="another").get(0) is None
    assert opened(images[1:]).get(0) is None
    assert opened(images).get(0) is not None
    with monkeypatch.context() as older:
        older.setattr(cache, "DECODING", cache.DECODING - 1)
        assert opened(images).get(0) is None
    os.utime(images[2], ns=(1, 1))
    assert opened(images).get(0) is None


def test_the_cache_drops_its_oldest_files_and_skips_what_is_too_large(images, folder, monkeypatch):
    size = 3 * (4 + 60)
    monkeypatch.setattr(cache, "MAX_BYTES", 2 * size)
    for number in range(4):
        held = opened(images, maker=str(number))
        os.utime(held.path, (number, number))
    assert len(list(folder.iterdir())) == 2
    assert opened(images, maker="3").path == held.path
    monkeypatch.setattr(cache, "MAX_BYTES", size - 1)
    assert opened(images) is None


def test_a_folder_that_cannot_be_written_costs_the_cache_alone(images, folder):
    folder.parent.mkdir(parents=True)
    folder.write_text("a file stands here")
    assert opened(images) is None


def test_images_are_decoded_once(images, tmp_path, monkeypatch):
    inputs = BaseVLM(write_tiny_base(tmp_path / "base"), verbose=False).inputs
    views = [(path, [(questions.COUNT, "1")]) for path in images]
    squares = cache.open_cache(images, (inputs.side, inputs.side, 3), "uint8", "test")
    plain = [ViewDataset(views, inputs)[index].seen for index in range(3)]
    decoded = []
    open_image = batches.open_image
    monkeypatch.setattr(
        batches, "open_image", lambda path: decoded.append(path) or open_image(path)
    )
    dataset = ViewDataset(views, inputs, squares)
    for _ in range(2):
        for index in range(3):
            assert (dataset[index].seen == plain[index]).all()
    assert decoded == images
    assert dataset[0].weight == 1 and dataset[~0].weight == 0
