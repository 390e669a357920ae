"""Images are decoded to RGB as a person sees them, or named in one line."""

import errno
import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from PIL import __version__ as pillow_version

from homework.common.errors import InputError
from homework.data import VQADataset
from homework.frames.images import FORMATS, open_image, pairs_digest

PILLOW = int(pillow_version.split(".")[0])
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (100, 150), dtype=np.uint8)
COLOR = RNG.integers(0, 256, (100, 150, 3), dtype=np.uint8)
LEFT_CLEAR = np.where(np.arange(150) < 60, 0, 255).astype(np.uint8) * np.ones((100, 1), np.uint8)


def opened(image, file, **options) -> np.ndarray:
    """What `open_image` reads of an image that is saved to `file`."""
    image.save(file, **options)
    picture = open_image(file)
    assert picture.mode == "RGB"
    return np.asarray(picture)


def test_open_image_gives_rgb(tmp_path):
    Image.new("L", (150, 100)).save(tmp_path / "gray.png")
    picture = open_image(tmp_path / "gray.png")
    assert (picture.mode, picture.size) == ("RGB", (150, 100))


def test_broken_images_get_one_line(tmp_path, monkeypatch):
    noise = Image.effect_noise((150, 100), 80)
    noise.save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:900])
    noise.save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:900])
    (tmp_path / "text.jpg").write_text("no image")
    noise.save(tmp_path / "large.png")
    for name, words in {
        "cut.jpg": "cut short or damaged",
        "cut.png": "cut short or damaged",
        "text.jpg": "not an image",
        "absent.jpg": "no such image",
    }.items():
        with pytest.raises(InputError, match=words) as caught:
            open_image(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)
    monkeypatch.setattr("homework.frames.images.MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InputError, match=r"large.png: over 1,000 pixels"):
        open_image(tmp_path / "large.png")
    monkeypatch.setattr("homework.frames.images.MAX_IMAGE_BYTES", 1000)
    with pytest.raises(InputError, match=r"large.png: over 1,000 bytes; give a smaller image"):
        open_image(tmp_path / "large.png")
    with pytest.raises(InputError, match="not a plain file; give a JPEG"):
        open_image(tmp_path)


def test_an_image_without_the_right_to_read_it_is_not_called_damaged(tmp_path, monkeypatch):
    def refused(path, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "open", refused)
    with pytest.raises(InputError, match=r"a\.png: cannot be read \(Permission denied\)$"):
        open_image(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_upright(tmp_path, suffix, orientation):
    upright = Image.new("RGB", (150, 100), "white")
    upright.paste("red", (0, 0, 75, 50))
    upright.paste("blue", (75, 50, 150, 100))
    # The inverse of what ExifTags says of each value.
    turns = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
    turns |= {6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}
    turn = turns.get(orientation)
    stored = upright.transpose(Image.Transpose[turn]) if turn else upright
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    found = opened(stored, tmp_path / f"x.{suffix}", exif=exif).astype(int)
    assert found.shape == (100, 150, 3)
    assert np.abs(found - np.asarray(upright)).mean() < 6


def test_a_damaged_exif_leaves_the_image_as_it_is(tmp_path):
    for exif in (b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", b"x"):
        image = Image.fromarray(COLOR)
        assert opened(image, tmp_path / "x.png", exif=exif).tolist() == COLOR.tolist()


@pytest.mark.parametrize("file", ["x.png", "x.tif", "x.pgm"])
@pytest.mark.parametrize("form", ["<u2", ">u2", "<i4"])
def test_grey_of_16_bits_is_scaled(tmp_path, file, form):
    values = (GREY.astype(int) * 257).astype(form)
    try:
        image = Image.fromarray(values)
        found = opened(image, tmp_path / file)
    except (OSError, TypeError):
        pytest.skip(f"Pillow does not write {form} as {file}")
    assert (found == GREY[..., None]).all()


def test_grey_of_other_ranges_is_taken_for_what_it_says_or_refused(tmp_path):
    def tiff(values):
        return opened(Image.fromarray(values), tmp_path / "x.tif")

    assert (tiff(GREY.astype(np.int32)) == GREY[..., None]).all()
    assert (tiff(GREY.astype(np.float32)) == GREY[..., None]).all()
    assert (tiff((GREY / 255).astype(np.float32)) == GREY[..., None]).all()
    assert (tiff(GREY.astype(np.float32) * 257) == GREY[..., None]).all()
    for wrong in (-1, 70_000, float("nan"), float("inf")):
        values = GREY.astype(np.float32)
        values[0, 0] = wrong
        with pytest.raises(InputError, match=r"x\.tif: has grey values from .* 8 or 16 bits"):
            tiff(values)


@pytest.mark.parametrize("suffix", ["png", "webp", "gif", "tif"])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_transparency_is_composited_on_white(tmp_path, suffix, mode):
    hidden = Image.new("RGB", (150, 100), (255, 0, 255))
    hidden.paste((0, 80, 0), (60, 0, 150, 100))
    if mode == "P":
        image = hidden.quantize(4)
        options = {"transparency": image.getpixel((0, 0))}
    else:
        image = hidden.convert("L" if mode == "LA" else "RGB").convert("RGBA")
        image.putalpha(Image.fromarray(LEFT_CLEAR))
        image, options = image.convert(mode), {}
    if (suffix, mode) in {
        ("png", "PA"),
        ("webp", "PA"),
        ("gif", "PA"),
        ("gif", "LA"),
        ("webp", "P"),
        ("tif", "P"),
    }:
        pytest.skip(f"Pillow does not write {mode} as {suffix}")
    if (suffix, mode) == ("tif", "PA") and PILLOW < 12:
        pytest.skip("Pillow 11 reads it without its transparency")
    found = opened(image, tmp_path / f"x.{suffix}", **options).astype(int)
    assert (found[:, :58] > 250).all()
    assert (found[:, 62:] < 90).all()


def test_one_clear_value_is_transparency_too(tmp_path):
    image = Image.fromarray(np.where(LEFT_CLEAR, 7, 200).astype(np.uint8))
    for mode, clear in (("L", 200), ("RGB", (200, 200, 200)), ("1", 255)):
        found = opened(image.convert(mode, dither=0), tmp_path / "x.png", transparency=clear)
        assert (found[:, :60] == 255).all() and (found[:, 60:] < 8).all(), mode
    image = Image.fromarray(np.where(LEFT_CLEAR, 257, 51_400).astype(np.uint16))
    found = opened(image, tmp_path / "x.png", transparency=51_400)
    assert (found[:, :60] == 255).all() and (found[:, 60:] == 1).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "RGB"])
def test_other_modes_are_as_pillow_converts_them(tmp_path, mode):
    if mode == "YCbCr" and PILLOW < 13:
        pytest.skip("before 13 Pillow does not read such a file that it has written")
    image = Image.fromarray(COLOR).convert(mode)
    found = opened(image, tmp_path / "x.tif")
    assert (found == np.asarray(image.convert("RGB"))).all()


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_is_read(tmp_path, form):
    colors = np.repeat(np.repeat(COLOR[:10, :15], 10, 0), 10, 1)
    found = opened(Image.fromarray(colors), tmp_path / "x.bin", format=form).astype(int)
    assert np.abs(found - colors).mean() < 25


def test_pixels_stay_as_they_are(tmp_path):
    stored = Image.fromarray(np.dstack([COLOR, LEFT_CLEAR]))
    found = [
        opened(
            stored,
            tmp_path / "x.png",
            exif=b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0",
        ),
        opened(Image.fromarray(GREY.astype(np.uint16) * 251), tmp_path / "x.png"),
    ]
    assert found[0].shape == (150, 100, 3)
    digest = hashlib.sha256(b"".join(map(np.ndarray.tobytes, found))).hexdigest()[:16]
    assert digest == "feb47057ec071326"


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
