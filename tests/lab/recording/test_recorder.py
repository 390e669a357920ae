"""The recorder: an engine in trouble, a stop, and the real engine where it is installed."""

import json
import os

import pytest
from recorded import FRAMES, KARTS, run

from homework.common.errors import InputError
from homework.frames.split import list_split, read_info
from lab.recording import recorder, setup
from lab.recording.plan import Race, plan


@pytest.mark.parametrize("word", ["crash", "hang", "garbage"])
def test_a_failing_engine_loses_one_frame_and_a_rerun_records_it(installed, tmp_path, capsys, word):
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
    with pytest.raises(InputError, match=r"has died.*no screen, no driver.*setup"):
        run(tmp_path / "recorded")


def test_what_is_no_frame_leaves_no_info_file(tmp_path):
    recording = recorder.Recorder(setup.Installation(tmp_path, tmp_path, {}), tmp_path)
    assert recording._write(FRAMES[0] | {"number": 1}) == 3
    rows = FRAMES[0]["info"]["detections"]
    wrong = FRAMES[0]["info"] | {"detections": [*rows[:2], [[1, 99, 0, 0, 300, 200]]]}
    for frame in (FRAMES[0] | {"pictures": ["no base64!"]}, FRAMES[0] | {"info": wrong}):
        with pytest.raises(ValueError):
            recording._write(frame)
    assert [path.name for path in tmp_path.glob("*_info.json")] == ["00001_info.json"]


def test_stopping_ends_the_engines_and_keeps_whole_frames(installed, tmp_path):
    installation = setup.find_installation()
    recording = recorder.Recorder(installation, tmp_path)
    results = recording.run(plan(600, ["lighthouse"], KARTS, 0), 2)
    next(results), next(results)
    engines = list(recording._engines)
    results.close()  # as Ctrl-C does
    assert engines and all(engine._process.poll() is not None for engine in engines)
    for name in list_split(tmp_path).info_files:
        assert len(list(tmp_path.glob(f"{name[:5]}_*_im.jpg"))) == 3
        read_info(tmp_path / name)


def _real_engine():
    try:
        return setup.find_installation()
    except InputError:
        return None


ENGINE = _real_engine()  # before a test gets a cache folder of its own


@pytest.mark.slow
@pytest.mark.skipif(ENGINE is None, reason="python -m lab.record setup was not run")
def test_the_real_engine_records_a_frame(tmp_path):
    race = Race("lighthouse", KARTS, 3, ((0, "chase"), (1, "finish")))
    recording = recorder.Recorder(ENGINE, tmp_path)
    assert [result.failure for result in recording.run([race], 1)] == ["", ""]
    assert os.path.getsize(tmp_path / "00001_02_im.jpg") > 1000
    for name in list_split(tmp_path).info_files:
        own = read_info(tmp_path / name)["detections"]
        assert all(any(row[:2] == [1, view] for row in rows) for view, rows in enumerate(own))
