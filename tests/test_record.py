"""The recorder, with a tape in place of the engine; one test runs the engine where it is."""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from homework import generate_qa, record
from homework.common.errors import InputError
from homework.data import VQADataset
from homework.frames.split import list_split, read_info
from homework.recording import assets, recorder, setup
from homework.recording.plan import Race, plan
from homework.recording.process import Installation
from homework.recording.projection import compare, verify_folder

TAPE = Path(__file__).with_name("tapes") / "lighthouse.jsonl"
KARTS = ("gnu", "kiki", "tux")
FRAMES = [json.loads(line)["frame"] for line in TAPE.read_text().splitlines()[1:4]]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """An installation whose engine is the tape; the file that makes trouble."""
    trouble = tmp_path / "trouble"
    python = tmp_path / "python"
    fake = Path(__file__).with_name("fake_engine.py")
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{fake}" "{TAPE}" "{trouble}"\n')
    python.chmod(0o755)
    installation = Installation(python, tmp_path)
    monkeypatch.setattr(setup, "find_installation", lambda: installation)
    monkeypatch.setattr(setup, "versions", lambda: {"pystk": "1.1.2"})
    monkeypatch.setattr(recorder, "FRAME_SECONDS", 1)
    return trouble


def run(folder, views=12, **options):
    record.run(views, str(folder), "lighthouse", ",".join(KARTS), **options)


def test_what_is_recorded_is_read_as_it_is(installed, tmp_path, capsys):
    folder = tmp_path / "data" / "recorded"
    run(folder)
    split = list_split(folder)
    assert len(split.info_files) == 4 and len(split.pictures) == 12
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


@pytest.mark.parametrize("word", ["crash", "hang", "garbage"])
def test_an_engine_in_trouble_costs_one_frame_and_a_rerun_brings_it(
    installed, tmp_path, capsys, word
):
    folder = tmp_path / "recorded"
    installed.write_text(word)
    run(folder, num_workers=1)
    said = capsys.readouterr().out
    assert "3 frames, 1 lost" in said and "1 frames are missing" in said
    assert not json.loads((folder / "recording.json").read_text())["complete"]
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*_im.jpg")}
    run(folder, num_workers=1)
    assert "3 frames are there already" in capsys.readouterr().out
    assert len(list_split(folder).info_files) == 4
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())


def test_an_engine_that_never_starts_is_one_line(installed, tmp_path):
    installed.write_text("dead")
    with pytest.raises(InputError, match=r"has died .*no screen, no driver.*doctor"):
        run(tmp_path / "recorded")


def test_a_frame_of_another_race_is_refused():
    race = Race("lighthouse", KARTS, 0, ((0, "chase"),))
    assert len(recorder.decode_frame(FRAMES[0], race)) == 3
    with pytest.raises(ValueError, match="another race"):
        recorder.decode_frame(FRAMES[0], race._replace(track="abyss"))
    with pytest.raises(ValueError, match="views"):
        recorder.decode_frame(FRAMES[0] | {"pictures": FRAMES[0]["pictures"][:2]}, race)
    with pytest.raises(ValueError, match="none"):
        recorder.decode_frame(FRAMES[0] | {"pictures": ["aGVsbG8="] * 3}, race)


def test_stopping_ends_the_engines_and_keeps_whole_frames(installed, tmp_path):
    installation = setup.find_installation()
    recording = recorder.Recorder(installation, tmp_path, "hd")
    results = recording.run(plan(600, ["lighthouse"], KARTS, 0), 2)
    next(results), next(results)
    engines = list(recording._engines)
    results.close()  # as Ctrl-C does
    assert engines and all(engine._process.poll() is not None for engine in engines)
    for name in list_split(tmp_path).info_files:
        assert len(list(tmp_path.glob(f"{name[:5]}_*_im.jpg"))) == 3
        read_info(tmp_path / name)


def test_frames_of_others_are_never_mixed_in(installed, tmp_path):
    folder = tmp_path / "recorded"
    run(folder)
    with pytest.raises(InputError, match="with seed 0, not 1; give the same options"):
        run(folder, seed=1)
    with pytest.raises(InputError, match="with views 12, not 15"):
        run(folder, views=15)
    (folder / "recording.json").unlink()
    with pytest.raises(InputError, match="not recorded here; give another --output"):
        run(folder)


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


# --- the labels ---


def test_boxes_are_first_and_last_pixels_sorted(monkeypatch):
    kinds = {"object_type_shift": 24, "GraphicsConfig": None}
    monkeypatch.setitem(sys.modules, "pystk", SimpleNamespace(**kinds))
    from homework.recording import engine

    mask = np.zeros((6, 9), np.uint32)
    mask[1:3, 2:5] = (1 << 24) | 7
    mask[4, 8] = (1 << 24) | 2
    mask[5, 0] = 255 << 24
    expected = [[1, 2, 8, 4, 8, 4], [1, 7, 2, 1, 4, 2], [255, 0, 0, 5, 0, 5]]
    assert engine.boxes(mask) == expected
    del sys.modules["homework.recording.engine"]


def test_the_tapes_boxes_are_their_karts():
    found = [item for frame in FRAMES for item in compare("0", frame["info"], frame["cameras"])]
    assert len(found) >= 9
    assert all(item.center_inside and item.nearest == item.kart for item in found)
    assert all(item.sticks_out < 0.5 for item in found)


def test_exchanged_ids_are_noticed(tmp_path):
    frame = json.loads(json.dumps(FRAMES[0]))
    for view in frame["info"]["detections"]:
        for row in view:
            if row[0] == 1:
                row[1] = (row[1] + 1) % 3
    found = list(compare("0", frame["info"], frame["cameras"]))
    assert not any(item.nearest == item.kart and item.center_inside for item in found)


def test_verify_reads_what_run_writes(installed, tmp_path, capsys):
    folder = tmp_path / "recorded"
    run(folder, cameras=True)
    verify_folder(folder)
    assert "middle of the box inside the kart's projection   100.00%" in capsys.readouterr().out
    with pytest.raises(InputError, match="--cameras True"):
        verify_folder(tmp_path)


# --- setting up ---


def test_setup_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"not installed; run python -m homework.record setup"):
        setup.find_installation()
    monkeypatch.setattr(setup.sys, "platform", "darwin")
    with pytest.raises(InputError, match="runs on Linux"):
        record.setup()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(setup.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(setup.ctypes.util, "find_library", lambda name: None)
    with pytest.raises(InputError, match="apt-get install libgl1 libegl1 libgl1-mesa-dri"):
        record.setup()
    monkeypatch.setattr(setup.ctypes.util, "find_library", lambda name: name)
    monkeypatch.setattr(setup, "_python_with_wheel", lambda: None)
    monkeypatch.setattr(setup.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match=r"apt-get install g\+\+ make cmake"):
        record.setup()
    monkeypatch.setattr(setup, "_python_with_wheel", lambda: "python3.10")
    room = SimpleNamespace(free=1e9)
    monkeypatch.setattr(setup.shutil, "disk_usage", lambda folder: room)
    with pytest.raises(InputError, match=r"1.0 GB are free and 1.7 GB needed; make room"):
        record.setup()


def game_data(folder, version="1.4"):
    """What setup looks for in the game's data."""
    for name in ("tracks", "karts", "library", "music", "models", "gfx", "gui/icons"):
        (folder / name).mkdir(parents=True)
    (folder / "textures" / "skybox").mkdir(parents=True)
    (folder / "textures" / "skybox" / "sky.png").touch()
    (folder / "gui" / "icons" / "bomb-attach-icon.png").touch()
    (folder / f"supertuxkart.{version}").touch()
    return folder


def test_assets_of_another_version_are_refused(tmp_path):
    assets.check_game(game_data(tmp_path / "right"))
    with pytest.raises(InputError, match=r"is of 1.5; the engine was tried with 1.4 only"):
        assets.check_game(game_data(tmp_path / "other", "1.5"))
    with pytest.raises(InputError, match="has no tracks; give SuperTuxKart's data folder"):
        assets.check_game(tmp_path)


def test_assets_are_joined_by_links_and_half_a_join_is_made_again(tmp_path):
    game = game_data(tmp_path / "game")
    own = tmp_path / "shaders" / "data"
    for name in assets._OWN:
        (own / name).mkdir(parents=True) if "." not in name else (own / name).write_text(name)
    (own / "shaders" / "sky.frag").write_text("void main() {}")
    left = tmp_path / "assets.partial"
    (left / "rubbish").mkdir(parents=True)  # of a setup that was killed
    assets.join(game, tmp_path / "shaders", tmp_path / "assets")
    data = tmp_path / "assets" / "pystk_data" / "data"
    assert (data / "tracks").resolve() == game / "tracks"
    assert (data / "shaders" / "sky.frag").read_text() == "void main() {}"
    assert (data / "textures" / "sky.png").is_symlink()
    assert (data / "gui" / "icons" / "bomb-attach-icon.png").is_symlink()
    assert (tmp_path / "assets" / "complete").exists() and not left.exists()


def _real_engine():
    try:
        return setup.find_installation()
    except InputError:
        return None


ENGINE = _real_engine()  # before a test gets a cache folder of its own


@pytest.mark.skipif(ENGINE is None, reason="python -m homework.record setup was not run")
def test_the_real_engine_records_a_frame(tmp_path):
    race = Race("lighthouse", KARTS, 3, ((0, "chase"), (1, "finish")))
    recording = recorder.Recorder(ENGINE, tmp_path, "sd", cameras=True)
    assert [result.failure for result in recording.run([race], 1)] == ["", ""]
    assert os.path.getsize(tmp_path / "00001_02_im.jpg") > 1000
    verify_folder(tmp_path)
    for name in list_split(tmp_path).info_files:
        own = read_info(tmp_path / name)["detections"]
        assert all(any(row[:2] == [1, view] for row in rows) for view, rows in enumerate(own))
