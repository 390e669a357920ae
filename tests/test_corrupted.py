"""Hundreds of corrupted inputs: each ends in one line or a counted skip, none in a traceback."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import corrupted
import corrupted_checkpoints
import pytest
from corrupted import INFO, ONE_LINE, QA, READ, SKIPPED, Case, outcome
from helpers import run_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homework.common.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
LEAST = {"info file": 200, "QA file": 80, "picture": 60, "adapter": 80, "base": 80}
corrupted.KINDS.update(corrupted_checkpoints.KINDS)
SLOW = ("info file", "adapter", "base")  # a case copies and reads several files
# Cut, endless, of another kind: nothing of these may pass for whole.
NEVER_READ = ("cut at", "gigabyte", "brackets", "pipe", "NaN", "nan", "folder", "pickle", "noise")


@pytest.fixture
def anywhere(tmp_path, monkeypatch) -> Path:
    """A current folder that may be written to."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=pytest.mark.slow) if k in SLOW else k for k in corrupted.KINDS],
)
def test_every_corrupted_input_is_one_line_or_a_counted_skip(kind, anywhere):
    ends = Counter()
    for number, case in enumerate(corrupted.KINDS[kind][0]()):
        end = outcome(kind, case, anywhere / str(number))
        assert end in (ONE_LINE, SKIPPED) or not any(word in case.name for word in NEVER_READ), case
        ends[end] += 1
    assert ends.total() >= LEAST[kind] and ends[READ] < ends.total() / 2


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["train/00000_00_im.jpg", "abyss", "tux", "\ud800", "\0", 1, 600]),
    lambda inner: (
        st.lists(inner, max_size=7)
        | st.dictionaries(
            st.sampled_from([*INFO, *QA[0], "other"]) | st.text(max_size=3), inner, max_size=4
        )
    ),
    max_leaves=25,
)
DETECTIONS = st.lists(
    st.lists(st.lists(JSON, min_size=5, max_size=7) | JSON, max_size=3), max_size=3
)
INFOS = st.fixed_dictionaries({"track": JSON, "karts": JSON, "detections": DETECTIONS | JSON})
ROWS = st.lists(st.fixed_dictionaries(dict.fromkeys(QA[0], JSON)) | JSON, max_size=4)
FEW = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@FEW
@given(INFOS | JSON)
def test_random_info_files_give_no_traceback(tmp_path_factory, info):
    folder = tmp_path_factory.mktemp("info") / "in"
    outcome("info file", Case("random", json.dumps(info).encode()), folder)


@FEW
@given(ROWS | JSON)
def test_random_qa_files_give_no_traceback(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("qa") / "in"
    outcome("QA file", Case("random", json.dumps(rows).encode()), folder)


@FEW
@given(st.binary(max_size=300), st.integers(0, len(corrupted.IMAGE)))
def test_random_bytes_in_images_give_no_traceback(tmp_path_factory, data, place):
    whole = corrupted.IMAGE
    content = whole[:place] + data + whole[place + len(data) :]
    outcome("picture", Case("random", content), tmp_path_factory.mktemp("picture") / "in")


@pytest.mark.parametrize(
    ("command", "case"),
    [
        ("generate_qa generate --data_dir train", Case("nesting", b"[" * 100_000)),
        ("generate_qa check --info_file train/00000_info.json --view_index 0", Case("", b"\xff")),
        ("generate_qa balance --split train --data_dir .", Case("null", b"null")),
    ],
)
def test_on_the_command_line_it_is_one_line_and_exit_code_1(command, case, anywhere):
    (anywhere / "train").mkdir()
    (anywhere / "train" / "00000_00_im.jpg").write_bytes(corrupted.IMAGE)
    case.write(anywhere / "train" / "00000_info.json")
    module, *arguments = command.split()
    ended = subprocess.run(
        [sys.executable, str(ROOT / "homework" / f"{module}.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("error: ")


def test_a_hostile_adapter_is_one_line_on_the_command_line(anywhere, capsys):
    shutil.copytree(corrupted_checkpoints.whole()[1], anywhere / "adapter")
    config = anywhere / "adapter" / "adapter_config.json"
    written = json.loads(config.read_text())
    config.write_text(json.dumps(written | {"target_modules": ".*nothing"}))
    corrupted.read_qa(anywhere / "data", Case("whole", json.dumps(QA).encode()))
    words = ("--split", "train", "--data_dir", anywhere / "data")
    assert run_command("homework.finetune", "test", anywhere / "adapter", *words) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"error: {config}: does not fit the base ")


def test_an_undamaged_adapter_and_base_are_read(anywhere):
    """Else all of the above would prove nothing."""
    nothing = Case("nothing", lambda folder: None)
    assert outcome("adapter", nothing, anywhere / "a") == READ
    assert outcome("base", nothing, anywhere / "b") == READ
    with pytest.raises(InputError):
        corrupted.read_image(anywhere / "c", nothing)
