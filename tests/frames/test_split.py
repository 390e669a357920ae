"""The folder of a split."""

import json
import re
import shlex
from pathlib import Path

import pytest
from dataset_server import FILES, unpacked
from hypothesis import given
from hypothesis import strategies as st

from homework.common.errors import InputError
from homework.data import VQADataset
from homework.download import download
from homework.frames.split import (
    UNUSABLE,
    Skipped,
    frame_of,
    image_name,
    list_split,
    read_frames,
    read_info,
    view_of,
)
from homework.generate_qa import generate


def test_a_split_is_named_after_its_folder(data_dir, monkeypatch):
    monkeypatch.chdir(data_dir / "train")
    assert list_split(".").name == "train"
    (data_dir / "link").symlink_to(data_dir / "train")
    assert list_split(data_dir / "link").image_file("x.jpg") == "link/x.jpg"


@given(st.from_regex(r"[0-9a-z]+(_[0-9a-z]+)*", fullmatch=True), st.integers(0, 200))
def test_an_image_name_gives_back_its_frame_and_view(frame, view):
    image = image_name(f"{frame}_info.json", view)
    assert frame_of(image) == frame
    assert view_of(image) == view


@pytest.mark.parametrize("name", ["tux.png", "00000_xx_im.jpg", "00000_im.jpg", ""])
def test_an_image_of_another_name_has_no_view(name):
    assert view_of(name) is None
    assert frame_of(name) == name.split("_")[0]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("unread", [1, float("nan"), float("inf"), -float("inf")])
def test_info_files_are_read_as_json_reads_them(data_dir, encoding, unread):
    folder = data_dir / "train"
    whole = list(read_frames(list_split(folder), ["00001_info.json"], Skipped()))
    file = folder / "00001_info.json"
    info = json.loads(file.read_text()) | {"velocity": [unread], "distance_down_track": unread}
    file.write_bytes(json.dumps(info).encode(encoding))
    (found,) = read_frames(list_split(folder), ["00001_info.json"], skipped := Skipped())
    assert found.views == whole[0].views and not skipped.counts
    assert read_info(file)["track"] == info["track"]


def test_what_is_skipped_is_named_printably():
    skipped = Skipped()
    skipped.note(UNUSABLE, "a\x1b[31m_info.json: no track named " + "x" * 30_000)
    (line,) = skipped.lines()
    assert r"a\x1b[31m_info.json" in line and line.isprintable() and len(line) < 500


def advice_of(call, *arguments) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments)
    return str(caught.value)


def follow(advice: str, server) -> None:
    """Delete what the advice says and run its command."""
    if found := re.search(r"delete (\S+) and", advice):
        Path(found[1]).unlink()
    command, *words = shlex.split(re.search(r"python -m homework\.(.*)", advice)[1].split(",")[0])
    if command == "generate_qa":
        assert words[:2] == ["generate", "--data_dir"]
        generate(words[2], num_workers=1)
    else:
        assert (command, words[0]) == ("download", "--data_dir")
        download(server.url, words[1])


def test_a_split_with_info_files_gets_pairs(data_dir, server):
    follow(advice_of(VQADataset, "train", data_dir), server)
    whole = len(VQADataset("train", data_dir))
    wrong = data_dir / "train" / "train_qa_pairs.json"
    for content in ("3", "[3]", '[{"question": "a", "answer": "b", "image_file": "train/x.jpg"}]'):
        wrong.write_text(content)
        advice = advice_of(VQADataset, "train", data_dir)
        if "delete this file" in advice:
            wrong.unlink()
            advice = advice.replace("delete this file and ", "")
        follow(advice, server)
        assert len(VQADataset("train", data_dir)) == whole


def test_missing_and_damaged_files_of_the_dataset_come_back(server, tmp_path):
    data = tmp_path / "data"
    follow(advice_of(VQADataset, "valid", data), server)
    assert unpacked(data) == FILES
    # As many files as before: those of pairs count, too.
    (data / "train" / "train_qa_pairs.json").write_text("[]")
    for name in ("valid", "train"):
        info = data / name / "00000_info.json"
        info.write_text("{")
        follow(advice_of(read_info, info), server)
        assert FILES.items() <= unpacked(data).items()


def test_a_demo_split_without_its_images_is_not_sent_to_info_files_that_it_lacks(tmp_path):
    (tmp_path / "train_demo").mkdir()
    pair = '[{"question": "a", "answer": "b", "image_file": "train_demo/x.jpg"}]'
    (tmp_path / "train_demo" / "balanced_qa_pairs.json").write_text(pair)
    advice = advice_of(VQADataset, "train_demo", tmp_path)
    assert "1 of its 1 images missing" in advice and "generate_qa" not in advice
    assert f"or run python -m homework.download --data_dir {tmp_path}" in advice
    assert "give a split that has some" in advice_of(list_split, tmp_path / "train_demo")
    assert "homework.download" in advice_of(list_split, tmp_path / "train")
    assert "homework.download" not in advice_of(list_split, tmp_path / "mine")
