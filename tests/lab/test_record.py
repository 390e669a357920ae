"""`record`: what is recorded is a split like any other; a tape plays the engine."""

import json

import pytest
from recorded import run

from homework import generate_qa
from homework.common.errors import InputError
from homework.data import VQADataset
from homework.frames.split import list_split
from lab import record


def test_a_recorded_folder_is_a_split_like_any_other(installed, tmp_path, capsys):
    folder = tmp_path / "data" / "recorded"
    run(folder)
    split = list_split(folder)
    assert len(split.info_files) == 4 and len(split.images) == 12
    assert not list(folder.glob("*.partial")) and not (folder / "engine.log").exists()
    generate_qa.generate(str(folder), num_workers=1)
    dataset = VQADataset("recorded", tmp_path / "data")
    assert {item["answer"] for item in dataset if item["question"] == "What track is this?"} == {
        "lighthouse"
    }
    manifest = json.loads((folder / "recording.json").read_text())
    assert manifest["complete"] and manifest["seed"] == 0
    assert sum(sum(race["frames"].values()) for race in manifest["races"]) == 4
    assert "4 frames, 0 lost" in capsys.readouterr().out


def test_a_folder_recorded_with_other_options_is_refused(installed, tmp_path):
    folder = tmp_path / "recorded"
    run(folder)
    with pytest.raises(InputError, match="with seed 0, not 1; give the same options"):
        run(folder, seed=1)
    with pytest.raises(InputError, match="with views 12, not 15"):
        run(folder, views=15)
    (folder / "recording.json").unlink()
    with pytest.raises(InputError, match="not recorded here; give another --output"):
        run(folder)
    (folder / "recording.json").write_text("[]")
    with pytest.raises(InputError, match="not written by this command"):
        run(folder)


def test_images_that_were_not_recorded_are_not_replaced(installed, tmp_path):
    folder = tmp_path / "recorded"
    folder.mkdir()
    (folder / "00000_00_im.jpg").write_bytes(b"mine")
    with pytest.raises(InputError, match="not recorded here; give another --output"):
        run(folder)
    assert [path.read_bytes() for path in folder.iterdir()] == [b"mine"]


def test_a_share_of_rows_is_recorded_and_named(installed, tmp_path):
    folder = tmp_path / "rows"
    run(folder, tiny=0.5, packs=0.5)
    manifest = json.loads((folder / "recording.json").read_text())
    assert manifest["complete"] and manifest["tiny"] == manifest["packs"] == 0.5
    moments = set().union(*(race["frames"] for race in manifest["races"]))
    assert moments == {"pack", "pack_front", "row"}
    with pytest.raises(InputError, match=r"with packs 0\.5, not 0"):
        run(folder, tiny=0.5)
    with pytest.raises(InputError, match=r"--packs 0.6 and --tiny 0.5: give shares of 1 together"):
        run(tmp_path / "more", tiny=0.5, packs=0.6)


def test_views_are_counted_by_track_and_kart(tmp_path, capsys):
    """A real view with a large kart and a tiny ego above it, and a recorded one with none."""
    rows = [[1, 0, 200, 220, 400, 380], [1, 1, 290, 160, 324, 190]]
    for name, shown in (("train", rows), ("recorded", [])):
        folder = tmp_path / name
        folder.mkdir()
        info = {"track": "abyss", "karts": ["tux", "gnu"], "detections": [shown]}
        (folder / "00000_info.json").write_text(json.dumps(info))
        (folder / "00000_00_im.jpg").write_bytes(b"")
    (tmp_path / "recorded" / "recording.json").write_text("{}")
    record.count(f"{tmp_path / 'train'},{tmp_path / 'recorded'}")
    table = capsys.readouterr().out.splitlines()
    (abyss,) = (line for line in table if line.startswith("| abyss"))
    header = table[0].split("|")
    cells = dict(zip(header, abyss.split("|"), strict=True))
    assert cells[" tux "] == cells[" gnu "] == " 1+0 " and cells[" kiki "] == " 0+0 "
    assert "real: 1 views, 2 of 378 pairs, 1 to 1 views each" in table
    assert "recorded: 1 views, 0 of 378 pairs" in table and "in neither: 376 pairs" in table
    assert "real: 5-7: 100.0% (100.0%), 8-11: 0.0%" in table[-1]


def test_wrong_names_and_options_are_one_line():
    with pytest.raises(InputError, match="--karts: no 'tuxx'; the nearest is tux"):
        record.run(10, karts="tuxx")
    with pytest.raises(InputError, match="--tracks: no 'light_house'; the nearest is lighthouse"):
        record.run(10, tracks=("abyss", "light_house"))
    with pytest.raises(InputError, match="beastie is not in the game's free data"):
        record.run(10, karts="beastie")
    with pytest.raises(InputError, match="twice"):
        record.run(10, karts="tux,tux")
    with pytest.raises(InputError, match="--views"):
        record.run(0)
    with pytest.raises(InputError, match="--quality: 'uhd'"):
        record.run(10, quality="uhd")


def test_a_home_that_nobody_has_is_one_line():
    with pytest.raises(InputError, match="no such folder"):
        record.count("~nobody_of_that_name/frames")
