"""`generate_qa`: generate, check and the command itself, on small folders with every fault."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import change, expected_pairs, files_in
from PIL import Image

from homework import generate_qa
from homework.common.errors import InputError
from homework.inspection import figures
from homework.labels.questions import pairs
from homework.labels.scene import view_scene

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def no_display(monkeypatch, tmp_path):
    monkeypatch.setattr(generate_qa, "RUNS_DIR", tmp_path / "runs")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


# generate


def test_the_same_bytes_whatever_the_number_of_workers(data_dir, tmp_path, capsys):
    made = set()
    for workers in (1, 2, 3):
        output = tmp_path / f"{workers}.json"
        generate_qa.generate(str(data_dir / "train"), str(output), num_workers=workers)
        made.add(output.read_bytes())
    assert len(made) == 1
    assert json.loads(made.pop()) == expected_pairs(data_dir / "train")
    assert "6 info files, 60 views" in capsys.readouterr().out


def test_the_default_file_is_replaced_and_that_is_said(data_dir, capsys):
    generate_qa.generate(str(data_dir / "valid"))
    file = data_dir / "valid" / "valid_qa_pairs.json"
    assert "in place of" not in capsys.readouterr().out
    generate_qa.generate(str(data_dir / "valid"))
    assert "in place of the file that was there" in capsys.readouterr().out
    file.write_text("old")
    with pytest.raises(InputError, match=r"changed since.*--overwrite"):
        generate_qa.generate(str(data_dir / "valid"))
    assert file.read_text() == "old"
    generate_qa.generate(str(data_dir / "valid"), overwrite=True)
    assert "in place of the file that was there" in capsys.readouterr().out
    assert json.loads(file.read_bytes()) == expected_pairs(data_dir / "valid")


def test_what_cannot_be_used_is_skipped_and_named(data_dir, capsys):
    train = data_dir / "train"
    (train / "00000_03_im.jpg").unlink()
    (train / "00001_info.json").write_text('{"track": "abyss", ')
    (train / "00002_info.json").write_text("[]")
    info = json.loads((train / "00003_info.json").read_text())
    (train / "00003_info.json").write_text(json.dumps(info | {"karts": ["tux"]}))
    (train / "._00004_info.json").write_bytes(b"\0")  # what unpacking on a Mac leaves
    generate_qa.generate(str(train))
    out = capsys.readouterr().out
    assert "views without an image: 1 (00000_03_im.jpg)" in out
    assert "unusable info files: 3 (00001_info.json: not valid JSON" in out
    assert "00003_info.json: field 'karts' has no name" in out
    for file in ("00001", "00002", "00003"):
        (train / f"{file}_info.json").unlink()
    (train / "._00004_info.json").unlink()
    assert json.loads((train / "train_qa_pairs.json").read_bytes()) == expected_pairs(train)


def test_nothing_to_label_leaves_everything_as_it_was(data_dir):
    train = data_dir / "train"
    (train / "train_qa_pairs.json").write_text("old")
    for info in train.glob("*_info.json"):
        info.write_text("{}")
    before = files_in(data_dir)
    with pytest.raises(
        InputError, match=r"nothing to label; unusable info files: 6 .*'detections'"
    ):
        generate_qa.generate(str(train), num_workers=2)
    assert files_in(data_dir) == before
    assert (train / "train_qa_pairs.json").read_text() == "old"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"data_dir": "nowhere"}, "nowhere: no such folder"),
        ({"data_dir": "data"}, "did you mean data/train?"),
        ({"data_dir": "data/empty"}, r"data/empty: no \*_info.json file"),
        ({"data_dir": "data/train/00000_info.json"}, "cannot be listed"),
        ({"data_dir": True}, "--data_dir: True is no path"),
        (
            {"data_dir": "data/train", "output": "data"},
            "data: cannot be written .* a folder stands where a file is needed",
        ),
        ({"data_dir": "data/train", "output": "data/train/00000_info.json/x"}, "cannot be written"),
        ({"data_dir": "data/train", "num_workers": 0}, "--num_workers: give a whole number"),
    ],
)
def test_wrong_input_is_one_line(data_dir, monkeypatch, flags, message):
    (data_dir / "empty").mkdir()
    monkeypatch.chdir(data_dir.parent)
    with pytest.raises(InputError, match=message) as raised:
        generate_qa.generate(**flags)
    assert "\n" not in str(raised.value)


# The command, which waits for ever once the first pairs are written.
WAITS = """if True:
    import runpy, threading, tqdm
    tqdm.tqdm.update = lambda *_: threading.Event().wait()
    runpy.run_module("homework.generate_qa", run_name="__main__")
"""


def test_ctrl_c_ends_in_one_line_and_leaves_nothing(data_dir):
    train = data_dir / "train"
    before = files_in(train)
    os.mkfifo(train / "fffff_info.json")  # no plain file: refused, and left where it is
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS, "generate", "--num_workers=2", f"--data_dir={train}"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not list(train.glob("*.partial")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 130
    assert stderr.splitlines()[-1].startswith("stopped by Ctrl-C")
    assert "Traceback" not in stderr
    assert files_in(train) - before == {"fffff_info.json"}


# check


def test_check_prints_the_pairs_and_saves_the_image(data_dir, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    info_file = data_dir / "train" / "00002_info.json"
    generate_qa.check(str(info_file), 5)
    out = capsys.readouterr().out
    scene = view_scene(json.loads(info_file.read_text()), 5)
    for question, answer in pairs(scene):
        assert any(question in line and line.endswith(answer) for line in out.splitlines())
    assert f"wrote {tmp_path / 'runs' / '00002_05_check.png'}" in out
    with Image.open("runs/00002_05_check.png") as drawn:
        assert drawn.size == (900, 600)
        right, bottom = scene.ego.box[2] * 6, scene.ego.box[3] * 6
        assert drawn.getpixel((right - 2, bottom - 2)) == (255, 212, 0)  # the ego's frame


def test_check_shows_where_there_is_a_display_unless_told_to_save(data_dir, monkeypatch, tmp_path):
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("matplotlib.get_backend", lambda: "tkagg")
    monkeypatch.chdir(tmp_path)
    shown = []
    monkeypatch.setattr(figures, "show", lambda image, title: shown.append(title))
    info_file = str(data_dir / "train" / "00000_info.json")
    generate_qa.check(info_file, 0)
    assert len(shown) == 1
    assert not list(tmp_path.glob("*.png"))
    generate_qa.check(info_file, 0, save="out/here.jpg")
    generate_qa.check(info_file, 0, save=True)  # a bare --save
    assert len(shown) == 1
    assert Path("out/here.jpg").is_file()
    assert Path("runs/00000_00_check.png").is_file()


@pytest.mark.parametrize(
    ("info_file", "view_index", "flags", "message"),
    [
        ("00000_info.json", 10, {}, "--view_index: give a whole number from 0 to 9, not 10"),
        ("00000_info.json", -1, {}, "--view_index: .* not -1"),
        ("00000_info.json", "two", {}, "--view_index: .* not 'two'"),
        ("00000_info.json", True, {}, "--view_index: .* not True"),
        ("00000_info.json", 0, {"save": "out.bmp"}, "--save: out.bmp is neither"),
        ("00000_info.json", 1, {}, "00000_01_im.jpg: no such image"),
        ("00000_info.json", 2, {}, "00000_02_im.jpg: cut short"),
        (
            "00009_info.json",
            0,
            {},
            "00009_info.json: no such file; run python -m homework.download",
        ),
        ("00001_info.json", 0, {}, "00001_info.json: not valid JSON"),
        ("00002_info.json", 0, {}, "00002_info.json: field 'track' is missing"),
        ("00000_00_im.jpg", 0, {}, "is no info file"),
    ],
)
def test_wrong_input_to_check_is_one_line(
    data_dir, monkeypatch, info_file, view_index, flags, message
):
    train = data_dir / "train"
    monkeypatch.chdir(train)
    (train / "00000_01_im.jpg").unlink()
    damaged = train / "00000_02_im.jpg"
    damaged.write_bytes(damaged.read_bytes()[:-200])
    (train / "00001_info.json").write_text("not JSON")
    (train / "00002_info.json").write_text('{"karts": [], "detections": [[]]}')
    before = files_in(train)
    with pytest.raises(InputError, match=message) as raised:
        generate_qa.check(info_file, view_index, **flags)
    assert "\n" not in str(raised.value)
    assert files_in(train) == before


# the command itself


def test_it_runs_as_a_file_from_any_folder(data_dir, tmp_path):
    command = [sys.executable, str(ROOT / "homework" / "generate_qa.py"), "check"]
    flags = ["--info_file=data/train/00000_info.json", "--view_index"]
    done = subprocess.run(
        [*command, *flags, "1", "--save=out.png"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out.png").is_file()
    wrong = subprocess.run([*command, *flags, "10"], cwd=tmp_path, capture_output=True, text=True)
    assert wrong.returncode == 1
    assert wrong.stderr == "error: --view_index: give a whole number from 0 to 9, not 10\n"


def test_it_runs_in_the_packages_own_folder_and_leaves_nothing_there(data_dir, tmp_path):
    # As the course's handout writes it.
    package = shutil.copytree(
        ROOT / "homework",
        tmp_path / "homework",
        ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"),
    )
    before = files_in(package)
    command = [sys.executable, "-B", "generate_qa.py", "check", "--info_file"]
    done = subprocess.run(
        [*command, "../data/valid/00000_info.json", "--view_index", "0"],
        cwd=package,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert files_in(package) == before
    assert (tmp_path / "runs" / "00000_00_check.png").is_file()


@pytest.mark.parametrize("subcommand", ["check", "generate", "inspect"])
def test_letters_that_the_terminal_lacks_are_escaped(data_dir, subcommand):
    train = data_dir / "train"
    for info_file in train.glob("*_info.json"):
        change(info_file, track="\u0437\u0430\u043c\u043e\u043a")
    flags = [f"--data_dir={train}", "--num_workers=1"]
    if subcommand == "check":
        flags = [f"--info_file={train}/00000_info.json", "--view_index=1", f"--save={train}/c.png"]
    done = subprocess.run(
        [sys.executable, "-m", "homework.generate_qa", subcommand, *flags],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert r"\u0437\u0430\u043c\u043e\u043a" in done.stdout


def test_git_ignores_the_data_folders_even_where_they_are_links(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("there is no git")
    shutil.copy(ROOT / ".gitignore", tmp_path)
    for name in (".venv", "runs", "data/train", "data/valid", "data/valid_grader", "data/recorded"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(ROOT)
    for command in (["init", "-q"], ["status", "--porcelain", "-uall"]):
        done = subprocess.run(
            ["git", *command], cwd=tmp_path, check=True, capture_output=True, text=True
        )
    assert done.stdout == "?? .gitignore\n"


def test_help_and_import_need_nothing_heavy():
    code = """if True:
        import runpy, sys
        import homework.generate_qa
        loaded = {name.partition(".")[0] for name in sys.modules}
        assert not loaded & {"fire", "tqdm", "orjson"}, "on import"
        sys.argv = ["generate_qa", "generate", "--help"]
        del sys.modules["homework.generate_qa"]
        try:
            runpy.run_module("homework.generate_qa", run_name="__main__")
        except SystemExit as end:
            assert not end.code
        loaded = {name.partition(".")[0] for name in sys.modules}
        assert not loaded & {"torch", "PIL", "matplotlib", "transformers", "numpy", "tqdm"}
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--num_workers" in done.stdout + done.stderr
