"""The drawn sample: layout, statistics, and what it must never draw over."""

import json

import pytest
from PIL import Image

from homework.draw_sample import COMMENT, draw_sample, line_up
from homework.drawing import KART_LOOKS, TRACK_LOOKS
from homework.files import DATA_DIR, InputError
from homework.names import KARTS, TRACKS
from homework.questions import pairs
from homework.scene import view_scene

FIELDS = ["track", "karts", "detections", "distance_down_track", "velocity"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "sample"
    draw_sample(str(folder), frames=2, valid_frames=1)
    return folder


def test_layout_is_the_datasets_own(drawn):
    names = sorted(path.name for path in drawn.iterdir())
    assert names[:2] == ["00000_00_im.jpg", "00000_01_im.jpg"]
    assert names[10] == "00000_info.json" and len(names) == 22
    info = json.loads((drawn / "00001_info.json").read_text())
    assert list(info) == FIELDS
    assert [len(info[field]) for field in FIELDS[1:]] == [10, 10, 10, 10]
    assert [len(velocity) for velocity in info["velocity"]] == [3] * 10
    with Image.open(drawn / "00001_09_im.jpg") as picture:
        assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (150, 100))
        assert picture.info["comment"] == COMMENT


def test_every_view_gives_pairs_and_every_box_is_in_the_frame(drawn):
    for path in drawn.glob("*_info.json"):
        info = json.loads(path.read_text())
        for view, rows in enumerate(info["detections"]):
            assert list(pairs(view_scene(info, view)))
            assert {row[0] for row in rows} >= {2, 3}
            for _, _, x1, y1, x2, y2 in rows:
                assert 0 <= x1 <= x2 < 600 and 0 <= y1 <= y2 < 400


def test_the_same_seed_gives_the_same_bytes(drawn, tmp_path):
    draw_sample(str(tmp_path / "sample"), frames=1, valid_frames=0)
    draw_sample(str(tmp_path / "other"), frames=1, valid_frames=0, seed=1)
    first = {path.name: path.read_bytes() for path in drawn.glob("00000_*")}
    again = {path.name: path.read_bytes() for path in (tmp_path / "sample").iterdir()}
    other = {path.name: path.read_bytes() for path in (tmp_path / "other").iterdir()}
    assert first == again and first != other


def test_validation_has_other_line_ups():
    for track in TRACKS:
        train, valid = line_up(track, False), line_up(track, True)
        assert len(set(train)) == len(set(valid)) == 10
        assert set(train) | set(valid) == set(KARTS)


def test_every_name_has_its_own_look():
    assert set(KART_LOOKS) == set(KARTS) and len(set(KART_LOOKS.values())) == 18
    assert set(TRACK_LOOKS) == set(TRACKS) and len(set(TRACK_LOOKS.values())) == 21


def test_the_shipped_sample_covers_all_tracks_and_karts():
    for split, frames, tracks in (("sample", 42, 21), ("sample_valid", 10, 10)):
        infos = [json.loads(p.read_text()) for p in (DATA_DIR / split).glob("*_info.json")]
        assert len(infos) == frames
        assert len({info["track"] for info in infos}) == tracks
        assert {kart for info in infos for kart in info["karts"]} == set(KARTS)
        assert len(list((DATA_DIR / split).glob("*_im.jpg"))) == 10 * frames
        counts = [len(view_scene(info, v).karts) for info in infos for v in range(10)]
        assert 0.4 < counts.count(1) / len(counts) < 0.7  # 0.61 in the dataset


def test_recordings_are_never_drawn_over(tmp_path):
    (tmp_path / "train").mkdir()
    Image.new("RGB", (150, 100)).save(tmp_path / "train/00000_00_im.jpg")
    with pytest.raises(InputError, match="a recording"):
        draw_sample(str(tmp_path / "train"), frames=1, valid_frames=0)
    assert len(list((tmp_path / "train").iterdir())) == 1


def test_frames_of_a_larger_sample_are_not_left_behind(drawn):
    with pytest.raises(InputError, match=r"00001_00_im\.jpg: would stay behind"):
        draw_sample(str(drawn), frames=1, valid_frames=1)
    draw_sample(str(drawn), frames=2, valid_frames=1)  # over its own drawings


@pytest.mark.parametrize("frames", [-1, "ten", 1.5])
def test_a_wrong_number_of_frames_is_one_line(tmp_path, frames):
    with pytest.raises(InputError, match="--frames"):
        draw_sample(str(tmp_path / "sample"), frames=frames)
