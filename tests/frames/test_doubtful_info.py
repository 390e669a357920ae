"""Info files of which not all can be labelled: what is left out is counted, the rest is sound."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from helpers import change
from hypothesis import given
from hypothesis import strategies as st
from strategies import any_infos

from homework import generate_qa
from homework.common.errors import InputError
from homework.data import VQADataset
from homework.frames.qa_write import write_pairs
from homework.frames.split import AMBIGUOUS, NO_IMAGE, NO_VIEW, UNUSABLE, list_split
from homework.inspection.survey import answer_table
from homework.labels.questions import KINDS, kind_of


def test_a_kart_name_that_no_question_can_carry_makes_its_info_file_unusable(data_dir, capsys):
    train = data_dir / "train"
    karts = ["tux", "a b", *"cdefghij"]
    change(train / "00003_info.json", karts=karts, detections=[[[1, 1, 0, 0, 99, 99]]] * 10)
    reason = "00003_info.json: field 'karts': 'a b' is not a name without spaces"
    generate_qa.generate(str(train), num_workers=2)
    assert f"skipped: unusable info files: 1 ({reason})" in capsys.readouterr().out
    generate_qa.inspect(str(train), num_workers=1)
    assert f"unusable info files: 1 ({reason})" in capsys.readouterr().out
    asked = {item["image_path"][-15:-10] for item in VQADataset("train", data_dir)}
    assert asked == {"00000", "00001", "00002", "00004", "00005"}


def test_views_with_two_karts_of_one_name_are_left_out_and_counted(data_dir, capsys):
    train = data_dir / "train"
    left, right = [1, 0, 0, 0, 99, 99], [1, 1, 400, 200, 499, 299]
    change(train / "00003_info.json", karts=["tux", "tux"], detections=[[left, right], [left]] * 5)
    twice = [[left, right], [left, [1, 0, 400, 200, 499, 299]]] * 5
    change(train / "00004_info.json", karts=["gnu", "tux"], detections=twice)
    generate_qa.generate(str(train), num_workers=2)
    out = capsys.readouterr().out
    assert (
        "skipped: views with two karts of one name: 10 (00003_00_im.jpg; 00003_02_im.jpg; " in out
    )
    asked = {(item["image_path"][-15:], item["question"]) for item in VQADataset("train", data_dir)}
    assert ("00003_01_im.jpg", "What kart is the ego car?") in asked
    assert not any("00003_00" in image or "00004_01" in image for image, _ in asked)
    with pytest.raises(InputError, match="view 1: two karts are named 'gnu'; look at another view"):
        generate_qa.check(str(train / "00004_info.json"), 1)


def test_images_that_the_info_file_has_no_view_for_are_counted(data_dir, capsys):
    train = data_dir / "train"
    info = json.loads((train / "00003_info.json").read_text())
    change(train / "00003_info.json", detections=info["detections"][:9])
    shutil.copy(train / "00001_00_im.jpg", train / "00001_12_im.jpg")
    generate_qa.generate(str(train), num_workers=2)
    line = "images without a view: 2 (00001_12_im.jpg; 00003_09_im.jpg)"
    assert f"skipped: {line}" in capsys.readouterr().out
    generate_qa.inspect(str(train), num_workers=1)
    assert line in capsys.readouterr().out


@given(any_infos(), st.integers(0, 4))
def test_any_info_file_yields_sound_pairs_or_is_counted(info, images):
    good = {"track": "abyss", "karts": ["tux"], "detections": [[[1, 0, 9, 9, 99, 99]]]}
    with tempfile.TemporaryDirectory() as folder:
        train = Path(folder) / "train"
        train.mkdir()
        (train / "00000_00_im.jpg").touch()
        for view in range(images):
            (train / f"00001_{view:02d}_im.jpg").touch()
        for number, content in enumerate((good, info)):
            (train / f"{number:05d}_info.json").write_text(json.dumps(content))
        summary = write_pairs(list_split(train), train / "train_qa_pairs.json", 1)
        dataset = VQADataset("train", folder)
    assert len(dataset) == summary.pairs.total() and dataset.duplicates == 0
    assert all(kind_of(item["question"]) in KINDS for item in dataset)
    assert answer_table(summary.pairs)
    counts, views = summary.skipped.counts, len(info["detections"])
    if counts[UNUSABLE]:
        assert (summary.views, counts.total()) == (1, 1)
    else:
        assert summary.views - 1 + counts[AMBIGUOUS] + counts[NO_IMAGE] == views
        assert counts[NO_IMAGE] == max(views - images, 0)
        assert counts[NO_VIEW] == max(images - views, 0)
