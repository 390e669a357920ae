"""The sheet of augmentations."""

import numpy as np
import pytest
from helpers import make_split
from PIL import Image

from homework.common.errors import InputError
from homework.frames.images import open_image
from homework.frames.split import image_name, read_info
from homework.inspection.figures import draw_scene
from homework.labels.scene import view_scene
from lab.pretrain import look
from lab.pretraining.augment_sheet import augment_sheet


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_split(tmp_path_factory.mktemp("data") / "train", frames=6, seed=0)


def test_look_shows_what_the_augmentations_make_of_a_view(folder, tmp_path):
    """A row each for paste, crop, mirror, jitter and all together; the same each time."""
    info, files = folder / "00001_info.json", [tmp_path / "a.png", tmp_path / "b.png"]
    for file in files:
        look(str(info), 0, str(file))
    assert files[0].read_bytes() == files[1].read_bytes()
    sheet = np.asarray(Image.open(files[0]).convert("RGB"))
    assert sheet.shape == (5 * 300, 5 * 450, 3)
    plain = np.asarray(draw_scene(*_view(info, 0)).reduce(2))
    for row in range(5):
        assert not np.array_equal(sheet[row * 300 : row * 300 + 300, :450], plain)
    with pytest.raises(InputError, match="has no image beside it"):
        (folder / "00001_03_im.jpg").rename(tmp_path / "moved.jpg")
        try:
            augment_sheet(info, 3)
        finally:
            (tmp_path / "moved.jpg").rename(folder / "00001_03_im.jpg")


def _view(info, view):
    image = open_image(info.with_name(image_name(info.name, view)))
    return image, view_scene(read_info(info), view)
