"""The choices of pairs that are compared, and a run of all of them in a few steps."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from tiny import write_tiny_base

from benchmarks import lesson
from homework import generate_qa
from homework.common.errors import InputError
from homework.data import VQADataset
from homework.labels.questions import KINDS, kind_of, pairs
from homework.labels.scene import Kart, make_scene

SCENE = make_scene("abyss", (Kart("tux", (60, 40, 90, 60)), Kart("gnu", (0, 0, 9, 9))))
ITEMS = [
    {"image_path": f"{number}.jpg", "question": question, "answer": answer}
    for number in range(8)
    for question, answer in pairs(SCENE)
]


@given(st.integers(1, len(ITEMS)), st.integers(0, 3))
def test_a_choice_has_its_size_and_no_pair_twice(size, seed):
    for choose in (lesson.spread, lesson.packed):
        chosen = choose(ITEMS, size, seed)
        distinct = {(item["image_path"], item["question"]) for item in chosen}
        assert len(chosen) == len(distinct) == size
        assert chosen == choose(ITEMS, size, seed)


def test_many_images_or_few():
    each = len(ITEMS) // 8
    assert len({item["image_path"] for item in lesson.spread(ITEMS, 8, 0)}) == 8
    assert len({item["image_path"] for item in lesson.packed(ITEMS, each, 0)}) == 1


def test_kinds_come_in_equal_shares():
    kinds = [kind_of(item["question"]) for item in lesson.balanced(ITEMS, 25, 0)]
    assert {kind: kinds.count(kind) for kind in KINDS} == dict.fromkeys(KINDS, 5)


def test_a_mirrored_pair_has_the_answer_that_the_rule_gives(data_dir, tmp_path):
    generate_qa.generate(str(data_dir / "train"))
    items = list(VQADataset("train", data_dir))
    chosen = lesson.with_mirrored(items, tmp_path / "mirrored")
    assert chosen[: len(items)] == items
    known = {(Path(i["image_path"]).stem, i["question"]): i["answer"] for i in items}
    swapped = {"left": "right", "right": "left"}
    sides = [
        i
        for i in chosen[len(items) :]
        if i["question"].startswith("Is ") and "left" in i["question"]
    ]
    assert sides
    for item in sides:
        assert item["answer"] == swapped[known[Path(item["image_path"]).stem, item["question"]]]
    image = Image.open(chosen[-1]["image_path"])
    original = Image.open(data_dir / "train" / f"{Path(chosen[-1]['image_path']).stem}.jpg")
    assert image.tobytes() == ImageOps.mirror(original.convert("RGB")).tobytes()


@pytest.mark.slow
def test_every_choice_is_trained_and_measured_once(data_dir, tmp_path, monkeypatch, capsys):
    for split in ("train", "valid"):
        generate_qa.generate(str(data_dir / split))
    monkeypatch.setattr(lesson, "SIZES", (5, 20))
    base = write_tiny_base(tmp_path / "base", stem=True)
    options = {"base": str(base), "steps": 1, "per_kind": 2, "output": str(tmp_path / "out")}
    lesson.run(str(data_dir), **options)
    written = json.loads((tmp_path / "out" / lesson.RESULTS).read_text())
    labels = [(row["group"], row["label"]) for row in written["rows"]]
    assert len(labels) == len(set(labels)) == 2 * 2 + 3 + len(KINDS)
    assert (tmp_path / "out" / lesson.PLOT).read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "out" / lesson.TABLE).read_text().count("\n") == len(labels) + 2

    capsys.readouterr()
    lesson.run(str(data_dir), **options)  # all is there
    assert "pairs to learn" not in capsys.readouterr().out
    with pytest.raises(InputError, match="made with other options"):
        lesson.run(str(data_dir), **options | {"seed": 1})


def test_validation_frames_are_refused():
    with pytest.raises(InputError, match="never trained on"):
        lesson.run(train="valid")
