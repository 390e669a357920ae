"""Two folders side by side: equal ones are equal, and what differs is said and drawn."""

import numpy as np
import pytest
from helpers import make_split
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from homework.common.errors import InputError
from homework.frames.split import list_split
from lab import record
from lab.recording import appearance

values = st.lists(st.integers(0, 20), min_size=1, max_size=40).map(np.array)


@given(values, values)
def test_the_difference_is_the_widest_gap_of_the_two_distributions(a, b):
    gaps = [abs((a <= x).mean() - (b <= x).mean()) for x in range(21)]
    assert appearance.difference(a, b) == pytest.approx(max(gaps))
    assert appearance.difference(a, a) == 0
    assert appearance.difference(a, a + 100) == 1


def test_a_folder_looks_like_itself(data_dir):
    split = list_split(data_dir / "train")
    one, two = appearance.measure(split, 1), appearance.measure(split, 2)
    lines = list(appearance.table(one, two))
    distances = [float(line.split()[-1]) for line in lines if "(10%" in line]
    assert len(distances) == 10 and not any(distances)
    assert "0.0 of 255 apart on average over 3 tracks" in lines[-1]


def test_brighter_images_and_larger_karts_are_noticed(data_dir, tmp_path):
    other = make_split(tmp_path / "other" / "train", frames=6, seed=0)
    for image in other.glob("*_im.jpg"):
        with Image.open(image) as opened:
            bright = opened.point(lambda value: min(255, value + 60))
        bright.save(image)
    ours = appearance.measure(list_split(data_dir / "train"), 1)
    theirs = appearance.measure(list_split(other), 1)
    assert appearance.difference(ours.images[:, 0], theirs.images[:, 0]) > 0.2
    assert appearance.difference(ours.karts, theirs.karts) == 0


@pytest.mark.slow
def test_compare_prints_and_draws_the_comparison(data_dir, tmp_path, capsys):
    image = tmp_path / "looks.png"
    train, valid = str(data_dir / "train"), str(data_dir / "valid")
    record.compare(train, valid, save=str(image), num_workers=1)
    assert "camera before its kart" in capsys.readouterr().out
    with Image.open(image) as drawn:
        assert drawn.format == "PNG" and drawn.width > 1000
    with pytest.raises(InputError, match=r"neither .png nor .jpg"):
        record.compare(train, valid, save=str(tmp_path / "looks.xyz"))
