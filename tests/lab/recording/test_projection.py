"""Boxes against the positions of the karts: right ones pass, exchanged ones are noticed."""

import json

import pytest
from recorded import FRAMES, run

from homework.common.errors import InputError
from lab.recording.projection import compare, verify_folder


def test_recorded_boxes_lie_on_the_projections_of_their_karts():
    found = [item for frame in FRAMES for item in compare("0", frame["info"], frame["cameras"])]
    assert len(found) >= 9
    assert all(item.center_inside and item.nearest == item.kart for item in found)
    assert all(item.sticks_out < 0.5 for item in found)


def test_exchanged_kart_ids_are_noticed(tmp_path):
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
