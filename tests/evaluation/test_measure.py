"""Measuring: where results go is looked at before the first question."""

from __future__ import annotations

import pytest

from homework import finetune
from homework.common.errors import InputError


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("report", "file/report", "a file stands where a folder is needed"),
        ("save_predictions", "file/a.json", "a file stands where a folder is needed"),
        ("save_predictions", "folder", "a folder stands where a file is needed"),
        ("save_predictions", "x" * 300, "File name too long"),
        ("save_predictions", "/dev/full", "not a plain file"),
    ],
)
def test_results_that_cannot_be_written_are_refused_before_the_first_question(
    option, value, words, tmp_path
):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    target = str(tmp_path / value)
    with pytest.raises(InputError, match=words) as caught:
        finetune.test("nowhere", **{option: target})
    assert str(caught.value).startswith(target) and "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
