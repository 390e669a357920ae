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


def test_a_share_of_packs_is_recorded_and_named(installed, tmp_path):
    folder = tmp_path / "packs"
    run(folder, packs=0.9)
    manifest = json.loads((folder / "recording.json").read_text())
    assert manifest["complete"] and manifest["packs"] == 0.9
    moments = set().union(*(race["frames"] for race in manifest["races"]))
    assert moments & {"pack", "pack_front"}
    with pytest.raises(InputError, match=r"with packs 0\.9, not 0"):
        run(folder)
    with pytest.raises(InputError, match=r"--packs"):
        run(tmp_path / "more", packs=1.5)


def test_a_recording_with_an_option_of_an_earlier_version_is_refused(installed, tmp_path):
    """It would otherwise go on with frames of another kind."""
    folder = tmp_path / "earlier"
    run(folder)
    manifest = json.loads((folder / "recording.json").read_text())
    for name, value in (("tiny", 0.3), ("quality", "sd")):
        (folder / "recording.json").write_text(json.dumps(manifest | {name: value}))
        with pytest.raises(InputError, match=f"holds a recording with {name} {value}, not"):
            run(folder)


def test_wrong_names_and_options_are_one_line():
    with pytest.raises(
        InputError, match=r"--karts: no 'tuxx' to record; give some of adiumy,.*,tux,"
    ):
        record.run(10, karts="tuxx")
    with pytest.raises(
        InputError, match="--tracks: no 'light_house' to record; give some of abyss,"
    ):
        record.run(10, tracks=("abyss", "light_house"))
    with pytest.raises(InputError, match="--karts: no 'beastie' to record"):
        record.run(10, karts="beastie")
    with pytest.raises(InputError, match="--views"):
        record.run(0)
