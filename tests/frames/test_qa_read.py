"""What students' generators write is read: habits of many, each written here in our own words."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import expected_pairs, make_split
from hypothesis import given
from hypothesis import strategies as st

from homework.common.errors import note
from homework.data import VQADataset
from homework.frames.qa_read import read_rows, triple
from homework.frames.qa_write import FORMS, conversation_pairs

Rows = list[dict]


def whole(text: str | bytes, name: str = "train/train_qa_pairs.json") -> Callable[[Path], None]:
    data = text if isinstance(text, bytes) else text.encode()
    return lambda data_dir: (data_dir / name).write_bytes(data) and None


def each(rows: Rows, change: Callable[[dict], dict]) -> Callable[[Path], None]:
    return whole(json.dumps([change(dict(row)) for row in rows]))


def one_file_for(rows: Rows, part: Callable[[dict], str]) -> Callable[[Path], None]:
    def write(data_dir: Path) -> None:
        for name in {part(row) for row in rows}:
            some = [row for row in rows if part(row) == name]
            (data_dir / f"train/{name}_qa_pairs.json").write_text(json.dumps(some))

    return write


def lines(rows: Rows, end: str = "\n") -> str:
    return end.join(map(json.dumps, rows))


def numbers(row: dict, kind: type) -> dict:
    return row | {"answer": kind(row["answer"]) if row["answer"].isdigit() else row["answer"]}


def exported(form: str, rows: Rows, name: str) -> Callable[[Path], None]:
    def write(data_dir: Path) -> None:
        with open(data_dir / name, "wb") as file:
            triples = [(r["image_file"], r["question"], r["answer"]) for r in rows]
            FORMS[form](file, triples, data_dir)

    return write


def llava(rows: Rows, form: str = "<image>\n{}") -> Rows:
    """All questions about an image as one conversation."""
    images: dict[str, list] = {}
    for row in rows:
        turns = images.setdefault(row["image_file"], [])
        question = row["question"] if turns else form.format(row["question"])
        turns += [{"from": "human", "value": question}, {"from": "gpt", "value": row["answer"]}]
    return [{"image": name, "conversations": turns} for name, turns in images.items()]


def messages(rows: Rows, content: Callable[[str], object], system: bool = False) -> Rows:
    start = [{"role": "system", "content": content("Answer.")}] if system else []
    return [
        {
            "images": [row["image_file"]],
            "messages": [
                *start,
                {"role": "user", "content": content(row["question"])},
                {"role": "assistant", "content": content(row["answer"])},
            ],
        }
        for row in rows
    ]


def parts(text: str) -> list[dict]:
    return [{"type": "text", "text": text}]


def habits(rows: Rows, data_dir: Path) -> dict[str, Callable[[Path], None]]:
    """Name of a habit -> what writes the pairs in this way."""
    text = json.dumps(rows)
    flat = "train_qa_pairs.json"
    jsonl = "train/train_qa_pairs.jsonl"
    return {
        "one list": whole(text),
        "one list, indented": whole(json.dumps(rows, indent=4)),
        "fields in another order": whole(json.dumps(rows, sort_keys=True)),
        "letters as they are": whole(json.dumps(rows, ensure_ascii=False)),
        "lines end as on Windows": whole(json.dumps(rows, indent=1).replace("\n", "\r\n")),
        "a byte order mark": whole(text.encode("utf-8-sig")),
        "UTF-16": whole(text.encode("utf-16")),
        "another name": whole(text, "train/my_own_qa_pairs.json"),
        "a file for each info file": one_file_for(rows, lambda row: row["image_file"][6:11]),
        "a file for each view": one_file_for(rows, lambda row: row["image_file"][6:14]),
        "a file for each kind": one_file_for(rows, lambda row: row["question"][:5].strip()),
        "a balanced file beside the whole one": lambda folder: (
            whole(text)(folder),
            whole(json.dumps(rows[::3]), "train/balanced_qa_pairs.json")(folder),
        ),
        "each pair twice": whole(json.dumps(rows + rows)),
        "a field for the type": each(rows, lambda row: row | {"type": "count"}),
        "numbers of pair and view": each(rows, lambda row: row | {"id": 7, "view_index": 3}),
        "the info beside the pair": each(rows, lambda row: row | {"info": {"velocity": [1, 2]}}),
        "NaN in a field of its own": each(rows, lambda row: row | {"distance": float("nan")}),
        "counts as numbers": each(rows, lambda row: numbers(row, int)),
        "counts as floats": each(rows, lambda row: numbers(row, float)),
        "paths of Windows": each(
            rows, lambda row: row | {"image_file": row["image_file"].replace("/", "\\")}
        ),
        "paths from the data folder's dot": each(
            rows, lambda row: row | {"image_file": f"./{row['image_file']}"}
        ),
        "absolute paths": each(
            rows, lambda row: row | {"image_file": str(data_dir / row["image_file"])}
        ),
        "paths that are joined twice": each(
            rows, lambda row: row | {"image_file": row["image_file"].replace("/", "//")}
        ),
        "a file beside the folder": whole(text, flat),
        "lines beside the folder": whole(lines(rows), f"{flat}l"),
        "an object per line": whole(lines(rows)),
        "an object per line, .jsonl": whole(lines(rows) + "\n\n", jsonl),
        "an object per line, Windows, byte order mark": whole(
            lines(rows, "\r\n").encode("utf-8-sig"), jsonl
        ),
        "what export writes as llava": exported("llava", rows, "train/x_qa_pairs.json"),
        "what export writes as messages": exported("messages", rows, jsonl),
        "a conversation for each image": whole(json.dumps(llava(rows))),
        "conversations per line, marker behind": whole(lines(llava(rows, "{}\n<image>"))),
        "messages in a list": whole(json.dumps(messages(rows, parts))),
        "messages of plain text with a system turn": whole(
            lines(messages(rows, str, system=True)), jsonl
        ),
        "empty answers where nothing was found": whole(
            json.dumps([*rows, rows[0] | {"question": "Who?", "answer": ""}])
        ),
        "null where nothing was found": whole(
            json.dumps([*rows, rows[0] | {"question": "Who?", "answer": None}])
        ),
        "answers that contradict each other": whole(
            json.dumps([*rows, *({**rows[0], "question": "Who?", "answer": a} for a in "xy")])
        ),
    }


LEFT_OUT = {  # habits of which something is left out, and the line
    "empty answers where nothing was found": "pairs without a question or an answer: 1 (",
    "null where nothing was found": "pairs without a question or an answer: 1 (",
    "answers that contradict each other": "questions with contradictory answers: 1 (",
}


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> Path:
    """A data folder with images and info files."""
    folder = tmp_path_factory.mktemp("habits")
    make_split(folder / "train", frames=2, seed=0)
    return folder


@pytest.mark.parametrize(
    "habit", habits([{"image_file": "", "question": "", "answer": ""}], Path())
)
def test_a_habit_of_generators_is_read(frames, habit, capsys):
    note.cache_clear()  # it prints a line once
    rows = expected_pairs(frames / "train")
    before = {*os.listdir(frames), *os.listdir(frames / "train")}
    habits(rows, frames)[habit](frames)
    try:
        dataset = VQADataset("train", frames)
    finally:
        for folder in (frames, frames / "train"):
            for name in {*os.listdir(folder)} - before:
                (folder / name).unlink()
    expected = {(str(frames / r["image_file"]), r["question"], r["answer"]) for r in rows}
    assert {(i["image_path"], i["question"], i["answer"]) for i in dataset} == expected
    assert len(dataset) == len(expected)
    notes = capsys.readouterr().err
    if line := LEFT_OUT.get(habit):
        assert line in notes
    else:
        assert ("reads" in notes) == ("beside the folder" in habit) and "left out" not in notes


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
TEXT |= st.sampled_from(["<image>\nQ", "Q\n<image>", "<image>", "\u2028", '"'])


@given(
    st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=4),
    st.sampled_from(["messages", "llava"]),
)
def test_whatever_is_exported_is_read_back(tmp_path_factory, rows, form):
    file = tmp_path_factory.mktemp("back") / "x.json"
    with open(file, "wb") as opened:
        FORMS[form](opened, rows, file.parent)
    found = [triple(pair) for row in read_rows(file) for pair in conversation_pairs(row)]
    assert found == rows


@pytest.mark.parametrize(
    "row",
    [
        {"image": "a", "conversations": 3},
        {"image": "a", "conversations": [3]},
        {"image": "a", "conversations": [{"from": "human"}]},
        {"image": "a", "conversations": [{"from": "gpt", "value": "tux"}]},
        {"image": "a", "conversations": [{"from": ["x"], "value": "tux"}]},
        {"images": ["a"], "messages": [{"role": "user", "content": [3]}]},
        {"images": ["a"], "messages": [{"role": "tool", "content": "x"}]},
        {
            "images": ["a", "b"],
            "messages": messages([{"image_file": "", "question": "q", "answer": "a"}], str)[0][
                "messages"
            ],
        },
        {
            "messages": messages([{"image_file": "", "question": "q", "answer": "a"}], str)[0][
                "messages"
            ]
        },
    ],
)
def test_a_malformed_conversation_is_one_line(row):
    with pytest.raises(ValueError, match=r"^: field '") as caught:
        list(map(triple, conversation_pairs(row)))
    assert "\n" not in str(caught.value)
