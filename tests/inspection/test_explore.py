"""The page has the labels of a split, and says where its pairs come from."""

import json
import re
import shutil
import subprocess
import sys

import pytest
from helpers import change, expected_pairs, files_in, make_split

from homework.common.errors import InputError
from homework.common.outputs import RECORD
from homework.frames.split import list_split
from homework.generate_qa import explore, generate
from homework.inspection.explore import PAGE, page_data, read_labels
from homework.inspection.survey import survey
from homework.labels.questions import EGO, TRACK


@pytest.fixture
def folder(tmp_path):
    return make_split(tmp_path / "data" / "train", frames=6, seed=0)


def page_of(folder):
    """The data in a page."""
    found = re.search(r'id="data">(.*?)</script>', (folder / PAGE).read_text(), re.DOTALL)
    return json.loads(found[1])


def pairs_of(data):
    """Every pair that the page's script makes of its data."""
    rows = []
    for image, *_, numbers in data["views"]:
        for number in numbers:
            question, answer, _, _ = data["asked"][number]
            image_file = f"{data['split']}/{image}"
            rows.append({"question": question, "answer": answer, "image_file": image_file})
    return rows


def test_the_page_has_every_pair_of_the_info_files(folder, tmp_path, capsys):
    explore(str(folder), str(tmp_path / "out"), num_workers=1)
    data = page_of(tmp_path / "out")
    expected = expected_pairs(folder)
    assert pairs_of(data) == expected
    assert "made from the info files" in data["source"] and data["notes"] == []
    assert files_in(tmp_path / "out") == {PAGE, RECORD}
    assert data["images"] == "../data/train"
    printed = capsys.readouterr().out
    assert f"6 info files, 60 views, {len(expected)} pairs made from the info files" in printed
    assert "60 scenes; 0 views (0%) repeat one of them" in printed


def test_the_same_split_gives_the_same_bytes(folder, tmp_path):
    for name, workers in (("one", 1), ("two", 2)):
        explore(str(folder), str(tmp_path / name), num_workers=workers)
        (tmp_path / name / "kept.txt").write_text("not ours")
        explore(str(folder), str(tmp_path / name), num_workers=workers)
    assert files_in(tmp_path / "one") == {PAGE, "kept.txt", RECORD}
    assert (tmp_path / "one" / PAGE).read_bytes() == (tmp_path / "two" / PAGE).read_bytes()


def test_pairs_of_a_qa_file_are_shown_as_they_are(folder):
    generate(str(folder), num_workers=1)
    file = folder / "train_qa_pairs.json"
    rows = json.loads(file.read_text())[3:]
    rows[0]["answer"] = "another"
    rows.append({"question": "Why?", "answer": "so", "image_file": rows[0]["image_file"]})
    file.write_text(json.dumps(rows))
    found = survey(list_split(folder), 1)
    data = page_data(found, read_labels(found), list(range(60)))
    by_place = sorted(rows, key=lambda row: row["image_file"])
    assert sorted(pairs_of(data), key=lambda row: row["image_file"]) == by_place
    assert data["source"] == "of train_qa_pairs.json"
    (note,) = data["notes"]
    assert note.startswith("pairs that the labelling rule does not make: 2 (")
    assert "Why? so" in note and "another" in note
    assert data["asked"][-1][2] in ("other", "region", "relative position")
    assert ["Why?", "so", "other", None] in data["asked"]


def test_pairs_about_images_without_labels_are_counted(folder):
    generate(str(folder), num_workers=1)
    (folder / "00003_info.json").write_text("{")
    labelled = read_labels(survey(list_split(folder), 1))
    rows = json.loads((folder / "train_qa_pairs.json").read_text())
    assert sum(map(len, labelled.pairs)) == sum("00003" not in row["image_file"] for row in rows)
    first, second = labelled.notes
    assert first.startswith("skipped: unusable info files: 1 (00003_info.json: ")
    assert second.startswith("skipped: pairs about images without labels in train: ")


def test_doubtful_info_files_are_counted_and_shown(folder, tmp_path, capsys):
    info = json.loads((folder / "00002_info.json").read_text())
    change(folder / "00002_info.json", karts=[info["karts"][0]] * 10)
    (folder / "00004_info.json").write_text("[]")
    (folder / "00005_02_im.jpg").unlink()
    (folder / "00005_03_im.jpg").write_bytes(b"no image")
    (folder / "0000a_00_im.jpg").write_bytes(b"no info file")
    explore(str(folder), str(tmp_path / "out"), num_workers=1)
    notes = page_of(tmp_path / "out")["notes"]
    starts = ["views without an image: 1", "views with two karts of one name", "unusable info"]
    for note, start in zip(notes[:3], starts, strict=True):
        assert note.startswith(f"skipped: {start}")
    assert notes[3] == "skipped: images without an info file: 1 (0000a_00_im.jpg)"
    assert notes[4].startswith("unreadable images: 1 (") and len(notes) == 5
    printed = capsys.readouterr().out
    assert all(note in printed for note in notes)


def test_line_ups_count_info_files_and_repeats_their_first_view(folder, tmp_path):
    for suffix in ("_info.json", *(f"_{view:02d}_im.jpg" for view in range(10))):
        shutil.copy(folder / f"00001{suffix}", folder / f"00009{suffix}")
    explore(str(folder), str(tmp_path / "out"), num_workers=1)
    data = page_of(tmp_path / "out")
    firsts = [view[4] for view in data["views"]]
    assert firsts[:60] == list(range(60)) and firsts[60:] == list(range(10, 20))
    raced = {(track, kart): number for track, kart, number in data["line_ups"]}
    info = json.loads((folder / "00001_info.json").read_text())
    assert len(raced) == 30 and {raced[info["track"], kart] for kart in info["karts"]} == {3}


def test_the_kart_asked_about_is_named_for_ego_and_relative_position_only(folder):
    found = survey(list_split(folder), 1)
    data = page_data(found, read_labels(found), list(range(60)))
    for question, answer, kind, name in data["asked"]:
        if question == EGO:
            assert name == answer
        elif kind == "relative position":
            assert name and f" {name} " in question
        else:
            assert name is None
    assert any(question == TRACK for question, *_ in data["asked"])


def test_a_split_without_any_kart_has_its_tracks(folder, tmp_path):
    for file in folder.glob("*_info.json"):
        change(file, karts=[], detections=[[]] * 10)
    explore(str(folder), str(tmp_path / "out"), num_workers=1)
    data = page_of(tmp_path / "out")
    assert len(data["tracks"]) == 3 and data["karts"] == [] and len(pairs_of(data)) == 60


@pytest.mark.parametrize(
    "make, line",
    [
        (lambda folder: None, "no such folder"),
        (lambda folder: folder.mkdir(), "no *_info.json file here"),
        (
            lambda folder: (folder.mkdir(), (folder / "0_info.json").write_text("{")),
            "nothing to show",
        ),
    ],
)
def test_a_folder_without_usable_info_files_is_one_line(tmp_path, make, line):
    make(tmp_path / "train")
    with pytest.raises(InputError, match=re.escape(line)) as caught:
        explore(str(tmp_path / "train"), str(tmp_path / "out"))
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_an_output_that_is_a_file_is_one_line(folder, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="a file stands where a folder is needed"):
        explore(str(folder), str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "mine"


def test_a_run_that_fails_leaves_the_earlier_page_whole(folder, tmp_path, monkeypatch):
    explore(str(folder), str(tmp_path / "out"), num_workers=1)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("homework.inspection.explore.first_views", stopped)
    with pytest.raises(KeyboardInterrupt):
        explore(str(folder), str(tmp_path / "out"), num_workers=1)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    assert {p: t for p, t in after.items() if p.is_file()} == {
        p: t for p, t in before.items() if p.is_file()
    }


def test_the_command_line_says_what_is_wrong_in_one_line(tmp_path):
    command = [sys.executable, "-m", "homework.generate_qa", "explore", "--data_dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"error: {tmp_path}: no *_info.json file here")
    assert done.stderr.count("\n") == 1
