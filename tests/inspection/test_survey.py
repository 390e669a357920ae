"""The survey of a split: what is wrong in the folder, and what the line-ups cannot teach."""

from __future__ import annotations

import json
import re
import shutil
import sys

import pytest
from helpers import make_split
from PIL import Image

from homework import generate_qa
from homework.common import cli
from homework.labels.scene import view_scene


def test_inspect_finds_what_is_wrong_in_a_folder(data_dir, capsys):
    train = data_dir / "train"
    (train / "00000_03_im.jpg").unlink()
    (train / "00001_04_im.jpg").write_bytes(b"not an image")
    shutil.copy(train / "00000_00_im.jpg", train / "00077_00_im.jpg")
    Image.new("RGB", (600, 400)).save(train / "00002_00_im.jpg")
    (train / "00005_info.json").write_text("{")
    generate_qa.inspect(str(train), num_workers=2)
    out = capsys.readouterr().out
    assert "60 images: 1 missing, 1 unreadable, 1 without an info file" in out
    assert "00001_04_im.jpg: not an image" in out
    assert "without an info file: 00077_00_im.jpg" in out
    assert "images of 600x400, not 150x100: 1" in out
    assert "unusable info files: 1 (00005_info.json" in out


@pytest.mark.parametrize("spoil", ["info files", "images"])
def test_inspect_of_a_folder_without_a_usable_view_is_one_line(
    data_dir, monkeypatch, capsys, spoil
):
    """Exit code 1, as of `generate` and `explore`."""
    for file in (data_dir / "train").glob("*_info.json" if spoil == "info files" else "*.jpg"):
        file.write_text("{") if spoil == "info files" else file.unlink()
    monkeypatch.setattr(sys, "argv", ["generate_qa", "--data_dir", str(data_dir / "train")])
    with pytest.raises(SystemExit, match="1"):
        cli.run(generate_qa.inspect)
    out, err = capsys.readouterr()
    reason = "unusable info files: 6" if spoil == "info files" else "views without an image: 60"
    (line,) = re.findall(r"^error: .*$", err, re.MULTILINE)
    assert out == "" and f"train: nothing to show; {reason} (0000" in line


def test_inspect_warns_of_one_line_up_per_track(data_dir, capsys):
    generate_qa.inspect(str(data_dir / "train"), against=str(data_dir / "valid"), num_workers=1)
    out = capsys.readouterr().out
    assert "WARNING: 3 of 3 tracks were raced by one line-up of karts only (10 of the " in out

    def seen(split: str) -> set[tuple[str, str]]:
        found = set()
        for file in (data_dir / split).glob("*_info.json"):
            info = json.loads(file.read_text())
            for view in range(10):
                found |= {(info["track"], kart.name) for kart in view_scene(info, view).karts}
        return found

    new = len(seen("valid") - seen("train"))
    assert f"{new} of the {len(seen('valid'))} (track, kart) pairs seen in" in out
    assert "0 of the 2 tracks of both have a line-up in common" in out


def test_inspect_does_not_warn_where_line_ups_vary(tmp_path, capsys):
    folder = make_split(tmp_path / "train", frames=12, seed=0)
    for number, file in enumerate(sorted(folder.glob("*_info.json"))):
        info = json.loads(file.read_text())
        info["karts"] = [f"kart{(number * 3 + k) % 12}" for k in range(10)]
        # Every kart is seen in full in every view.
        info["detections"] = [[[1, k, 60 * k, 99, 60 * k + 50, 199] for k in range(10)]] * 10
        file.write_text(json.dumps(info))
    generate_qa.inspect(str(folder), num_workers=1)
    assert "WARNING" not in capsys.readouterr().out
