"""Figures: of a split, and the curves of a training."""

import numpy as np
import pytest
from helpers import make_split
from PIL import Image

from homework.frames.split import list_split
from homework.generate_qa import inspect
from homework.inspection import figures
from homework.inspection.figures import save_curves
from homework.inspection.survey import survey
from homework.labels.questions import KINDS
from homework.labels.scene import make_scene


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_split(tmp_path_factory.mktemp("data") / "train", frames=6, seed=0)


def test_a_row_for_each_track_with_its_views(folder):
    sheet = figures.contact_sheet(survey(list_split(folder), 1))
    assert sheet.size == (170 + 8 * 154, 3 * 104)
    drawn = np.asarray(sheet)
    ego = (drawn == (255, 212, 0)).all(axis=2)
    assert ego[:100, 170:].any() and ego[210:, 170:].any()


def test_a_split_without_karts_has_its_figures(folder):
    found = survey(list_split(folder), 1)
    found.views = [(name, make_scene(scene.track, ())) for name, scene in found.views]
    assert figures.contact_sheet(found).height == 3 * 104
    assert figures.line_ups_figure(found) and figures.answers_figure(found)


@pytest.mark.parametrize("width", [3, 100, 1200])
def test_a_caption_fits_below_any_image(width):
    lines = ["Question: " + "word " * 40, "", "Answer: " + "x" * 200]
    whole = figures.with_caption(Image.new("RGB", (width, 50)), lines, figures.LEGEND)
    assert whole.width == width and whole.height > 50 + 28 * 3


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


def test_curves_are_drawn_from_the_trainers_history(tmp_path):
    log = [{"step": 10, "loss": 2.0, "accuracy": 0.1}, {"step": 10, "eval_loss": 1.9}]
    save_curves(log, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5000
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]
