"""Pictures are decoded to RGB, or named in one line."""

import pytest
from PIL import Image

from homework.common.errors import InputError
from homework.frames.pictures import open_picture


def test_open_picture_gives_rgb(tmp_path):
    Image.new("L", (150, 100)).save(tmp_path / "gray.png")
    picture = open_picture(tmp_path / "gray.png")
    assert (picture.mode, picture.size) == ("RGB", (150, 100))


def test_broken_pictures_get_one_line(tmp_path, monkeypatch):
    noise = Image.effect_noise((150, 100), 80)
    noise.save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:900])
    noise.save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:900])
    (tmp_path / "text.jpg").write_text("no picture")
    noise.save(tmp_path / "large.png")
    for name, words in {
        "cut.jpg": "cut short or damaged",
        "cut.png": "cut short or damaged",
        "text.jpg": "not a picture",
        "absent.jpg": "no such picture",
    }.items():
        with pytest.raises(InputError, match=words) as caught:
            open_picture(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)
    monkeypatch.setattr("homework.frames.pictures.MAX_PICTURE_PIXELS", 1000)
    with pytest.raises(InputError, match=r"large.png: over 1,000 pixels"):
        open_picture(tmp_path / "large.png")
