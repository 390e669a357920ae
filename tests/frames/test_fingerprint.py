"""What a training learns from, as one number: pairs of any folders, wherever these lie."""

import shutil
from pathlib import Path

from homework.data import VQADataset
from homework.frames.fingerprint import pairs_digest


def test_moved_data_are_the_same_and_other_data_are_not(sample_data, tmp_path):
    items = list(VQADataset("train", sample_data))
    moved = Path(shutil.copytree(sample_data, tmp_path / "moved"))
    found = pairs_digest(items)
    assert found == pairs_digest(VQADataset("train", moved))
    assert found != pairs_digest(items[1:])
    assert found != pairs_digest([{**items[0], "answer": "another"}, *items[1:]])
    # Pairs of two folders, as benchmarks mix them.
    mixed = [*items[:9], *list(VQADataset("train", moved))[9:]]
    assert pairs_digest(mixed) != found
    Path(items[0]["image_path"].replace(str(sample_data), str(moved))).write_bytes(b"other")
    assert pairs_digest(VQADataset("train", moved)) != found
