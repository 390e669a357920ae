"""The advice that ends an error about data is taken here, and helps."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from dataset_server import FILES, unpacked

from homework.common.errors import InputError
from homework.data import VQADataset
from homework.download import download
from homework.frames.split import list_split, read_info
from homework.generate_qa import generate


def advice_of(call, *arguments) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments)
    return str(caught.value)


def follow(advice: str, server) -> None:
    """Delete what the advice says and run its command."""
    if found := re.search(r"delete (\S+) and", advice):
        Path(found[1]).unlink()
    command, *words = shlex.split(re.search(r"python -m homework\.(.*)", advice)[1].split(",")[0])
    if command == "generate_qa":
        assert words[:2] == ["generate", "--data_dir"]
        generate(words[2], num_workers=1)
    else:
        assert (command, words[0]) == ("download", "--data_dir")
        download(server.url, words[1])


def test_a_split_with_info_files_gets_pairs(data_dir, server):
    follow(advice_of(VQADataset, "train", data_dir), server)
    whole = len(VQADataset("train", data_dir))
    wrong = data_dir / "train" / "train_qa_pairs.json"
    for content in ("3", "[3]", '[{"question": "a", "answer": "b", "image_file": "train/x.jpg"}]'):
        wrong.write_text(content)
        advice = advice_of(VQADataset, "train", data_dir)
        if "delete this file" in advice:
            wrong.unlink()
            advice = advice.replace("delete this file and ", "")
        follow(advice, server)
        assert len(VQADataset("train", data_dir)) == whole


def test_missing_and_damaged_files_of_the_dataset_come_back(server, tmp_path):
    data = tmp_path / "data"
    follow(advice_of(VQADataset, "valid", data), server)
    assert unpacked(data) == FILES
    # As many files as before: those of pairs count, too.
    (data / "train" / "train_qa_pairs.json").write_text("[]")
    for name in ("valid", "train"):
        info = data / name / "00000_info.json"
        info.write_text("{")
        follow(advice_of(read_info, info), server)
        assert FILES.items() <= unpacked(data).items()


def test_a_demo_split_without_its_pictures_is_not_sent_to_info_files_that_it_lacks(tmp_path):
    (tmp_path / "train_demo").mkdir()
    pair = '[{"question": "a", "answer": "b", "image_file": "train_demo/x.jpg"}]'
    (tmp_path / "train_demo" / "balanced_qa_pairs.json").write_text(pair)
    advice = advice_of(VQADataset, "train_demo", tmp_path)
    assert "1 of its 1 pictures missing" in advice and "generate_qa" not in advice
    assert f"or run python -m homework.download --data_dir {tmp_path}" in advice
    assert "give a split that has some" in advice_of(list_split, tmp_path / "train_demo")
    assert "homework.download" in advice_of(list_split, tmp_path / "train")
    assert "homework.download" not in advice_of(list_split, tmp_path / "mine")
