"""The grader's command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_submission import GOOD, ROOT, make_zip

from grader.__main__ import main

TIMEOUT = 300  # seconds, for a command that hangs; none takes so long


@pytest.mark.parametrize(
    ("arguments", "detail"),
    [
        (["nowhere.zip"], "nowhere.zip: no such file or folder (make it with"),
        (["ID.zip", "--data_dir", "nowhere"], "no questions (*_qa_pairs.json)"),
        (["ID.zip", "--split", "nowhere"], "no questions (*_qa_pairs.json)"),
        (["ID.zip", "--log_path", "nowhere/log"], "cannot be written"),
        (["ID.zip", "--log_path", "data"], "cannot be written"),
    ],
)
def test_what_the_grader_cannot_work_with(place, monkeypatch, capsys, arguments, detail):
    monkeypatch.chdir(place)
    make_zip(place / "ID.zip")
    assert main(["--data_dir", "data", *arguments]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("error: ") and err.count("\n") == 1 and detail in err and not out


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("[", "not valid JSON"),
        ("{}", "expected a list"),
        ('[{"question": "?"}]', "record 0: expected"),
        ('[{"question": "?", "answer": "1", "image_file": "../x"}]', "leads out"),
        (
            '[{"question": "?", "answer": "1", "image_file": "x"},'
            ' {"question": "?", "answer": "2", "image_file": "./x"}]',
            "two answers",
        ),
        ('[{"question": "?", "answer": "1", "image_file": "valid/x.jpg"}]', "no such image"),
    ],
)
def test_malformed_data(place, capsys, text, detail):
    (place / "data/valid_grader/a_qa_pairs.json").write_text(text)
    path = make_zip(place / "ID.zip")
    assert main([str(path), "--data_dir", str(place / "data")]) == 1
    err = capsys.readouterr().err
    assert detail in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [[], ["a", "b"], ["a", "--log"], ["a", "--time_limit", "0"], ["a", "--time_limit", "nan"]],
)
def test_usage(capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    err = capsys.readouterr().err
    assert stopped.value.code == 2 and err.startswith("error: ") and err.count("\n") == 1


def command(place: Path, *arguments: str, **options) -> subprocess.Popen:
    """Start the command in another folder, with its own temporary folder."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(place / "tmp")}
    return subprocess.Popen(
        [sys.executable, "-m", "grader", *arguments, "--data_dir", "data"],
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.slow
def test_the_command_from_another_folder(place):
    make_zip(place / "ID.zip")
    out, err = (process := command(place, "ID.zip", "--disable_color")).communicate(timeout=TIMEOUT)
    assert (process.returncode, err) == (0, "")
    assert out.startswith("Grading ID.zip\n") and out.endswith("Total: 105.0 / 100 (105 at most)\n")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals as on POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_leaves_nothing(place, number, code):
    note = place / "pid"
    init = f"import os, time\nopen({str(note)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)"
    make_zip(place / "ID.zip", GOOD | {"__init__.py": init})
    process = command(place, "ID.zip", "--open")
    while not (note.exists() and note.read_text()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(number)
    err = process.communicate(timeout=TIMEOUT)[1]
    assert process.returncode == code
    assert err == ("stopped by Ctrl-C; nothing was graded\n" if code == 130 else "")
    assert not list((place / "tmp").iterdir())
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)
