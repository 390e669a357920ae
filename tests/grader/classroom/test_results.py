"""The results of a class on the disk: whatever the file holds, one line and no wrong score."""

from __future__ import annotations

import copy
import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader.classroom import page, table
from grader.classroom.names import Submission
from grader.classroom.results import Journal, digest
from grader.errors import GraderError

CASES = [
    ("Submission opens (50 MB at most)", 0, 0), ("Model loads: load_vlm()", 0, 0),
    ("Parameters at most 300M", 0, 0), ("Accuracy on 10 questions", 71.4285, 100),
    ("Extra credit (80% to 85%)", 0, 5), ("Course interface: VQADataset and benchmark", 0, 0),
]  # fmt: skip
RECORD = {
    "sha256": "a" * 64,
    "seconds": 1.5,
    "adapter_sha256": None,
    "result": {
        "total": 71.4285,
        "accuracy": 0.5,
        "cases": [
            {"name": name, "status": "ok", "points": points, "max_points": most, "detail": "x",
             "remarks": ["the course's grader would"]}
            for name, points, most in CASES
        ],
        "kinds": {"count": {"right": 5, "asked": 10}},
        "denied": ["tried to open a socket"],
        "lock": {"active": ["seccomp"], "missing": []},
        "course": {"accuracy": 0.5, "total": 71.4285, "differently": 0},
    },
}  # fmt: skip
DATE = datetime(2026, 1, 1)
KEY = f"{'a' * 64}:{'b' * 64}"
WHOLE = {"key": KEY} | RECORD
LINE = json.dumps(WHOLE | {"line_sha256": digest(WHOLE)})


def read(path, content: bytes) -> dict[str, Any]:
    path.write_bytes(content)
    with Journal(path, resume=True) as journal:
        return journal.results


def paths(value: Any, before: tuple = ()) -> list[tuple]:
    """Where each value inside a value is."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = [before] * bool(before)
    for name, one in inner if isinstance(value, dict | list) else ():
        found += paths(one, (*before, name)) if isinstance(one, dict | list) else [(*before, name)]
    return found


def show(record: dict[str, Any]) -> None:
    """All that the class makes of a result."""
    who = Submission("a", "a.zip", "", "", False, (True, 0, 0, DATE, "a.zip"), DATE, "ID a")
    rows = [table.row(who, record, None)]
    page.render(rows, {"split": "valid_grader", "time_limit": 60.0})
    json.dumps(rows, allow_nan=False)


def test_a_result_is_read_back(tmp_path):
    assert read(tmp_path / "x.jsonl", f"{LINE}\n".encode()) == {KEY: RECORD}
    show(RECORD)


@pytest.mark.parametrize("place", paths(RECORD), ids=str)
def test_a_line_with_another_value_is_refused_or_shown(tmp_path, place):
    file = tmp_path / "x.jsonl"
    for value in (..., None, "x", -1, 1e308, True, [], {}, [[1]], {"x": 1}, 10**400):
        record = copy.deepcopy(RECORD)
        inside = record
        for name in place[:-1]:
            inside = inside[name]
        inside[place[-1]] = value
        if value is ...:
            del inside[place[-1]]
        content = f"{json.dumps({'key': KEY} | record | {'line_sha256': digest(WHOLE)})}\n".encode()
        try:
            [found] = read(file, content).values()
            show(found)
        except GraderError as error:
            assert "line 1 is no result" in str(error) and "\n" not in str(error)
            assert file.read_bytes() == content


@pytest.mark.parametrize(
    "line",
    [
        "", "[]", "null", "1", '"x"', "[" * 100_000, '{"key": []}', LINE[:-2], f"{LINE}{LINE}",
        LINE.replace("71.4285", "NaN"), LINE.replace("71.4285", "Infinity"),
        LINE.replace("1.5", "1e999"), LINE.replace('"total": 71.4285, "acc', '"total": 105, "acc'),
        LINE.replace('"accuracy": 0.5, "cases', '"accuracy": null, "cases'),
        LINE.replace('"key": "a', '"key": "c'), LINE.replace('"Model loads', '"Model'),
        LINE.replace('"right": 5', '"right": 11'), LINE.replace('"asked": 10', '"asked": 0'),
        LINE.replace("0.5", "0.5" + "0" * 5000 + "x"), "\x00" * 50, "\ufeff\ufeff{}",
    ],
)  # fmt: skip
def test_a_damaged_line_is_named_and_stays(tmp_path, line):
    file, content = tmp_path / "x.jsonl", f"{LINE}\n{line}\n".encode()
    with pytest.raises(GraderError, match=r"x.jsonl: line 2 is no result .*; delete that line"):
        read(file, content)
    assert file.read_bytes() == content


@pytest.mark.parametrize("cut", [1, 5, 12, 200, len(LINE)])
def test_only_what_a_kill_has_cut_off_is_dropped(tmp_path, cut):
    file = tmp_path / "x.jsonl"
    assert len(read(file, f"{LINE}\n{LINE[:cut]}".encode())) == 1
    assert file.read_text() == f"{LINE}\n"
    with pytest.raises(GraderError, match="line 1 is no result"):
        read(file, b"my own notes")
    assert file.read_text() == "my own notes"


@given(st.binary(max_size=60))
def test_any_bytes_are_read_without_a_traceback(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("journal") / "x.jsonl"
    try:
        assert read(file, content) == {} and file.read_bytes() == b""
    except GraderError as error:
        assert "is no result" in str(error) and file.read_bytes() == content
