"""Images of a split: what is on them, and which files they are."""

import json

import numpy as np
import pytest
from helpers import make_split
from PIL import Image

from homework.common.errors import InputError
from homework.frames.split import list_split
from homework.generate_qa import check, inspect
from homework.inspection import draw, figures
from homework.inspection.survey import survey
from homework.labels.questions import KINDS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_split(tmp_path_factory.mktemp("data") / "train", frames=6, seed=0)


def test_a_row_for_each_track_with_its_views(folder):
    split = list_split(folder)
    sheet = draw.contact_sheet(split)
    assert sheet.size == (170 + 8 * 154, 3 * 104 + 4)
    drawn = np.asarray(sheet)
    ego = (drawn == (255, 212, 0)).all(axis=2)
    assert ego[:100, 170:].any() and ego[210:, 170:].any()
    assert np.array_equal(drawn, np.asarray(draw.contact_sheet(split)))
    assert not np.array_equal(drawn, np.asarray(draw.contact_sheet(split, seed=1)))


def test_inspect_writes_three_images(folder, tmp_path, capsys):
    inspect(str(folder), num_workers=1, pictures=str(tmp_path / "out"))
    names = ["answers.png", "contact_sheet.png", "line_ups.png"]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == names
    for name in names:
        with Image.open(tmp_path / "out" / name) as image:
            assert image.format == "PNG" and len(set(image.resize((64, 64)).getdata())) > 5
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


def test_a_frame_without_images_is_one_line(folder, tmp_path):
    info = tmp_path / "00000_info.json"
    info.write_text(json.dumps({"track": "abyss", "karts": [], "detections": [[]]}))
    with pytest.raises(InputError, match="none of its views has an image"):
        draw.frame_sheet(info)
    with pytest.raises(InputError, match="no view with an image"):
        draw.contact_sheet(list_split(tmp_path))
