"""What a report says about its run, where results go, and how processes share the questions."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace

import pytest

from homework import finetune
from homework.common import distributed
from homework.common.errors import InputError
from homework.evaluation import measure
from homework.evaluation.about import about_adapter
from homework.model import adapter


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
    # The middle of a word of over 300 letters is left out.
    assert str(caught.value).startswith(target[:140]) and "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_report_names_its_run_by_date_and_hash_without_private_folders(tmp_path):
    folder = tmp_path / "vlm_model"
    folder.mkdir()
    for name in adapter.FILES:
        (folder / name).write_bytes(b"{}")
    record = adapter.Record(folder, str(tmp_path / "base"), None, {})
    about = about_adapter(record, tmp_path / "data")
    assert about["checkpoint"] == "vlm_model" and len(about["adapter_sha256"]) == 64
    assert datetime.fromisoformat(about["date"]).tzinfo is not None
    assert str(tmp_path) not in str(about)


def test_each_process_answers_whole_pictures_and_gets_every_answer(monkeypatch):
    paths, questions = list("aabcb"), list("12345")
    asked = {rank: [] for rank in (0, 1)}

    def model(rank):
        def answer(paths, questions):
            asked[rank] += paths
            return [path + question for path, question in zip(paths, questions, strict=True)]

        return measure.DistributedModel(SimpleNamespace(answer=answer))

    parts = []
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "gather", lambda part: parts.append(part) or parts)
    for rank in (0, 1):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        answers = model(rank).answer(paths, questions)
    assert answers == ["a1", "a2", "b3", "c4", "b5"]
    assert asked == {0: ["a", "a", "c"], 1: ["b", "b"]}
