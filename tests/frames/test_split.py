"""The folder of a split."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homework.frames.split import frame_of, list_split, picture_name, view_of


def test_a_split_is_named_after_its_folder(data_dir, monkeypatch):
    monkeypatch.chdir(data_dir / "train")
    assert list_split(".").name == "train"
    (data_dir / "link").symlink_to(data_dir / "train")
    assert list_split(data_dir / "link").image_file("x.jpg") == "link/x.jpg"


@given(st.from_regex(r"[0-9a-z]+(_[0-9a-z]+)*", fullmatch=True), st.integers(0, 200))
def test_a_picture_name_gives_back_its_frame_and_view(frame, view):
    picture = picture_name(f"{frame}_info.json", view)
    assert frame_of(picture) == frame
    assert view_of(picture) == view


@pytest.mark.parametrize("name", ["tux.png", "00000_xx_im.jpg", "00000_im.jpg", ""])
def test_a_picture_of_another_name_has_no_view(name):
    assert view_of(name) is None
    assert frame_of(name) == name.split("_")[0]
