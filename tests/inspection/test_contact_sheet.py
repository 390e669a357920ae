"""Pictures of a split: what is on them, and which files they are."""

import json

import numpy as np
import pytest
from helpers import make_split
from PIL import Image

from homework.common.errors import InputError
from homework.frames.pictures import open_picture
from homework.frames.split import list_split, picture_name, read_info
from homework.generate_qa import check, inspect
from homework.inspection import contact_sheet, figures
from homework.inspection.draw import draw_scene
from homework.inspection.survey import survey
from homework.labels.questions import KINDS
from homework.labels.scene import view_scene


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_split(tmp_path_factory.mktemp("data") / "train", frames=6, seed=0)


def test_a_row_for_each_track_with_its_views(folder):
    split = list_split(folder)
    sheet = contact_sheet.contact_sheet(split)
    assert sheet.size == (170 + 8 * 154, 3 * 104 + 4)
    drawn = np.asarray(sheet)
    ego = (drawn == (255, 212, 0)).all(axis=2)
    assert ego[:100, 170:].any() and ego[210:, 170:].any()
    assert np.array_equal(drawn, np.asarray(contact_sheet.contact_sheet(split)))
    assert not np.array_equal(drawn, np.asarray(contact_sheet.contact_sheet(split, seed=1)))


def test_inspect_writes_three_pictures(folder, tmp_path, capsys):
    inspect(str(folder), num_workers=1, pictures=str(tmp_path / "out"))
    names = ["answers.png", "contact_sheet.png", "line_ups.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    for name in names:
        with Image.open(tmp_path / "out" / name) as picture:
            assert picture.format == "PNG" and len(set(picture.resize((64, 64)).getdata())) > 5
    assert "line_ups.png" in capsys.readouterr().out


def test_the_figures_show_the_surveys_numbers(folder):
    found = survey(list_split(folder), 1, decode=False)
    tables = figures.answers_figure(found).axes
    assert [axes.get_title().split(":")[0] for axes in tables] == [*KINDS]
    tracks = [int(bar.get_width()) for bar in tables[2].patches]
    assert tracks == [20, 20, 20]
    shown = [int(text.get_text()) for text in figures.line_ups_figure(found).axes[0].texts]
    assert sorted(shown) == sorted(found.seen.values())


def test_check_shows_all_views_of_the_frame(folder, tmp_path):
    target = tmp_path / "frame.png"
    info = folder / "00001_info.json"
    check(str(info), 0, save=str(tmp_path / "one.png"), contact_sheet=str(target))
    assert Image.open(target).size == (5 * 454, 2 * 304)


def test_check_shows_what_the_augmentations_make_of_a_view(folder, tmp_path):
    """A row each for paste, crop, mirror, jitter and all together; the same each time."""
    info, files = folder / "00001_info.json", [tmp_path / "a.png", tmp_path / "b.png"]
    for file in files:
        check(str(info), 0, save=str(tmp_path / "one.png"), augment=str(file))
    assert files[0].read_bytes() == files[1].read_bytes()
    sheet = np.asarray(Image.open(files[0]).convert("RGB"))
    assert sheet.shape == (5 * 304, 5 * 454, 3)
    plain = np.asarray(draw_scene(*_view(info, 0)).resize((450, 300), Image.Resampling.LANCZOS))
    for row in range(5):
        assert not np.array_equal(sheet[row * 304 : row * 304 + 300, :450], plain)
    with pytest.raises(InputError, match="has no picture beside it"):
        (folder / "00001_03_im.jpg").rename(tmp_path / "moved.jpg")
        try:
            contact_sheet.augment_sheet(info, 3)
        finally:
            (tmp_path / "moved.jpg").rename(folder / "00001_03_im.jpg")


def _view(info, view):
    picture = open_picture(info.with_name(picture_name(info.name, view)))
    return picture, view_scene(read_info(info), view)


def test_a_frame_without_pictures_is_one_line(folder, tmp_path):
    info = tmp_path / "00000_info.json"
    info.write_text(json.dumps({"track": "abyss", "karts": [], "detections": [[]]}))
    with pytest.raises(InputError, match="none of its views has a picture"):
        contact_sheet.frame_sheet(info)
    with pytest.raises(InputError, match="no view with a picture"):
        contact_sheet.contact_sheet(list_split(tmp_path))
