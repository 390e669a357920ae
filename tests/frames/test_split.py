"""The folder of a split."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homework.frames.split import (
    UNUSABLE,
    Skipped,
    frame_of,
    list_split,
    picture_name,
    read_frames,
    read_info,
    view_of,
)


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
