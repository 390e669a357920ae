"""Pairs in the forms of other programs, read back by those programs or in their way."""

import builtins
import json
from collections import Counter
from pathlib import Path

import pytest
from helpers import expected_pairs
from PIL import Image
from tiny import write_tiny_base

from homework import generate_qa
from homework.common.errors import InputError
from homework.data import VQADataset
from homework.generate_qa import export, generate
from homework.labels.questions import KINDS, kind_of
from homework.model.loading import load_inputs
from homework.model.processor import library_processor

NO_DATASETS = "datasets is not installed: requirements-export.txt"


@pytest.fixture
def train(data_dir) -> Path:
    generate(str(data_dir / "train"), num_workers=1)
    return data_dir / "train"


@pytest.fixture
def expected(train) -> list[tuple[str, str, str]]:
    """image_file, question, answer of all pairs."""
    items = VQADataset("train", train.parent)
    return [(f"train/{Path(i['image_path']).name}", i["question"], i["answer"]) for i in items]


def test_messages_are_a_conversation_per_line(train, tmp_path, expected):
    export("messages", str(tmp_path / "out.jsonl"), str(train))
    found = []
    for line in (tmp_path / "out.jsonl").read_text().splitlines():
        row = json.loads(line)
        user, assistant = row["messages"]
        image, question = user["content"]
        (answer,) = assistant["content"]
        assert (user["role"], assistant["role"]) == ("user", "assistant")
        assert image == {"type": "image"} and len(row["images"]) == 1
        found.append((*row["images"], question["text"], answer["text"]))
    assert found == expected


def test_trl_makes_the_same_tokens_of_messages_as_training_does(train, tmp_path, expected):
    datasets = pytest.importorskip("datasets", reason=NO_DATASETS)
    pytest.importorskip("trl", reason="trl is not installed: pip install trl")
    from trl.data_utils import is_conversational
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    export("messages", str(tmp_path / "out.jsonl"), str(train))
    rows = datasets.load_dataset(
        "json", data_files=str(tmp_path / "out.jsonl"), split="train", cache_dir=str(tmp_path)
    )
    assert len(rows) == len(expected) and is_conversational(rows[0])
    base = write_tiny_base(tmp_path / "base")
    inputs = load_inputs(base)
    collate = DataCollatorForVisionLanguageModeling(library_processor(base))
    for row, (image_file, question, answer) in list(zip(rows, expected, strict=True))[:5]:
        image = Image.open(train.parent / image_file)
        batch = collate([{"messages": row["messages"], "images": [image]}])
        ours = inputs.prefix_ids + inputs.question_ids(question) + inputs.answer_ids(answer)
        assert batch["input_ids"][0].tolist()[: len(ours)] == ours
        assert batch["pixel_values"].shape[-1] == inputs.side


def test_a_reader_in_the_way_of_llava_finds_the_same_pairs(train, tmp_path, expected):
    export("llava", str(tmp_path / "out.json"), str(train))
    found = []
    rows = json.loads((tmp_path / "out.json").read_text())
    for row in rows:
        assert [turn["from"] for turn in row["conversations"]] == ["human", "gpt"]
        human, gpt = (turn["value"] for turn in row["conversations"])
        assert human.count("<image>") == 1
        Image.open(train.parent / row["image"]).verify()
        found.append((row["image"], human.replace("<image>", "").strip(), gpt))
    assert found == expected
    assert len({row["id"] for row in rows}) == len(rows)


@pytest.mark.parametrize("name", ["train", "my-own split"])
def test_datasets_loads_the_folder_with_its_images(train, tmp_path, expected, name):
    datasets = pytest.importorskip("datasets", reason=NO_DATASETS)
    train = train.rename(train.with_name(name))
    file = train / "train_qa_pairs.json"
    file.write_text(file.read_text().replace("train/", f"{name}/"))
    export("parquet", str(tmp_path / "out"), str(train))
    (rows,) = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path)).values()
    assert rows.features["image"] == datasets.Image()
    found = zip(rows["image_file"], rows["question"], rows["answer"], strict=True)
    assert list(found) == [(n.replace("train/", f"{name}/"), q, a) for n, q, a in expected]
    for row in rows.select(range(0, len(rows), 20)):
        original = Image.open(train.parent / row["image_file"])
        assert row["image"].tobytes() == original.tobytes()


def test_without_datasets_parquet_is_one_line(train, tmp_path, monkeypatch):
    found = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "datasets":
            raise ImportError(name)
        return found(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install -r requirements-export\.txt$"):
        export("parquet", str(tmp_path / "out"), str(train))
    assert not (tmp_path / "out").exists()


def test_wrong_input_is_one_line_and_writes_nothing(train, tmp_path):
    with pytest.raises(
        InputError, match="--format: give one of messages, llava, parquet, not 'coco'"
    ):
        export("coco", str(tmp_path / "out"))
    with pytest.raises(InputError, match=r"no \*_qa_pairs\.json in it; run .* generate"):
        export("llava", str(tmp_path / "out"), str(train.with_name("valid")))
    with pytest.raises(InputError, match="a folder stands where a file is needed"):
        export("llava", str(tmp_path), str(train))
    assert not (tmp_path / "out").exists()


def test_balance_has_equal_shares_and_only_pairs_of_the_split(data_dir, capsys):
    generate_qa.balance("valid", per_kind=4, data_dir=str(data_dir))
    file = data_dir / "valid_grader" / "balanced_qa_pairs.json"
    drawn = json.loads(file.read_bytes())
    shares = Counter(kind_of(pair["question"]) for pair in drawn)
    assert shares.keys() == KINDS.keys()
    assert set(shares.values()) == {4}
    possible = {tuple(pair.values()) for pair in expected_pairs(data_dir / "valid")}
    assert {tuple(pair.values()) for pair in drawn} <= possible
    assert len({(pair["question"], pair["image_file"]) for pair in drawn}) == len(drawn)
    assert "skipped: nothing" in capsys.readouterr().out


def test_balance_is_drawn_by_its_seed_and_overwrites_no_other_set(data_dir):
    file = data_dir / "valid_grader" / "balanced_qa_pairs.json"
    generate_qa.balance(per_kind=4, data_dir=str(data_dir))
    first = file.read_bytes()
    generate_qa.balance(per_kind=4, data_dir=str(data_dir))
    assert file.read_bytes() == first
    with pytest.raises(InputError, match="balance --per_kind 4 --seed 1 did not write"):
        generate_qa.balance(per_kind=4, seed=1, data_dir=str(data_dir))
    assert file.read_bytes() == first
    generate_qa.balance(per_kind=4, seed=1, data_dir=str(data_dir), overwrite=True)
    assert file.read_bytes() != first


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"per_kind": 20}, "has 19 pairs of kind 'ego', not 20; give a smaller --per_kind"),
        ({"per_kind": 0}, "--per_kind: give a whole number of 1 or more, not 0"),
        ({"seed": "x"}, "--seed"),
        ({"split": "test"}, "test: no such folder"),
    ],
)
def test_wrong_input_to_balance_is_one_line(data_dir, flags, message):
    with pytest.raises(InputError, match=message):
        generate_qa.balance(data_dir=str(data_dir), **flags)
    assert not (data_dir / "valid_grader").exists()


def test_balance_says_why_a_split_has_no_pairs(data_dir):
    for info in (data_dir / "valid").glob("*_info.json"):
        info.write_text("{}")
    with pytest.raises(InputError, match=r"valid: nothing to label; unusable info files: \d"):
        generate_qa.balance(data_dir=str(data_dir))
