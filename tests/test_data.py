"""Reading QA files: what is read, each wrong input's line, and the benchmark."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from homework.common.errors import InputError
from homework.data import (
    Accuracy,
    VQADataset,
    benchmark,
    count_by_kind,
    draw,
    is_correct,
    wilson_interval,
)
from homework.frames.split import CONTRADICTED

EGO = "What kart is the ego car?"
COUNT = "How many karts are there in the scenario?"


def pair(question=EGO, answer="tux", image_file="train/00000_00_im.jpg", **more):
    return {"question": question, "answer": answer, "image_file": image_file} | more


@pytest.fixture
def data_dir(tmp_path):
    (tmp_path / "train").mkdir()
    for view in range(3):
        Image.new("RGB", (150, 100)).save(tmp_path / f"train/00000_{view:02d}_im.jpg")
    return tmp_path


def write(data_dir: Path, pairs, name="a") -> None:
    (data_dir / f"train/{name}_qa_pairs.json").write_text(json.dumps(pairs))


def error_of(data_dir: Path) -> str:
    with pytest.raises(InputError) as caught:
        VQADataset("train", data_dir)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_reads_every_file_in_name_order(data_dir):
    write(data_dir, [pair(answer="gnu", image_file="train/00000_01_im.jpg")], "b")
    write(data_dir, [pair(), pair(COUNT, "2")], "a")
    write(data_dir, "left by macOS", "._a")
    dataset = VQADataset("train", data_dir)
    assert [item["answer"] for item in dataset] == ["tux", "2", "gnu"]
    assert dataset[2] == {
        "image_path": str(data_dir / "train/00000_01_im.jpg"),
        "question": EGO,
        "answer": "gnu",
    }
    assert [file.name for file in dataset.files] == ["a_qa_pairs.json", "b_qa_pairs.json"]


def test_a_relative_data_dir_gives_absolute_paths(data_dir, monkeypatch):
    write(data_dir, [pair()])
    monkeypatch.chdir(data_dir)
    assert VQADataset("train", ".")[0]["image_path"] == str(data_dir / "train/00000_00_im.jpg")


def test_repeated_pairs_are_kept_once(data_dir):
    # "1" is one object to Python wherever it stands: equality must not be told by identity.
    write(data_dir, [pair(COUNT, "1"), pair(COUNT, "1")], "a")
    write(data_dir, [pair(COUNT, "1"), pair(image_file="./train/00000_00_im.jpg")], "b")
    dataset = VQADataset("train", data_dir)
    assert (len(dataset), dataset.duplicates) == (2, 2)


def test_contradictory_answers_are_left_out_counted_and_listed(data_dir, capsys):
    write(data_dir, [pair(), pair(COUNT, "1"), pair(COUNT, "2"), pair(COUNT, "2")], "a")
    write(data_dir, [pair(answer="gnu"), pair("Who?", "me")], "b")
    dataset = VQADataset("train", data_dir)
    assert [item["question"] for item in dataset] == ["Who?"]
    assert dataset.left_out == {CONTRADICTED: 2}
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{data_dir / 'train'}: left out: questions with contradictory answers: 2 (" in line
    assert f"{EGO!r} about train/00000_00_im.jpg: 'tux' in a_qa_pairs.json, 'gnu' in b_qa" in line


def test_empty_pairs_are_left_out_counted_and_listed(data_dir, capsys):
    write(data_dir, [pair(), pair("A?", ""), pair("B?", " \n"), pair("", "x"), pair("C?", None)])
    assert [item["answer"] for item in VQADataset("train", data_dir)] == ["tux"]
    line = "left out: pairs without a question or an answer: 4 (a_qa_pairs.json pair 1; "
    assert line in capsys.readouterr().err
    VQADataset("train", data_dir)  # the baseline reads the split again
    assert not capsys.readouterr().err
    write(data_dir, [pair(answer="")])
    assert "no pair is left of its *_qa_pairs.json; correct them" in error_of(data_dir)


def test_an_answer_may_be_a_whole_number(data_dir):
    answers = ["3", 3, 3.0, "3.0", -1, 0]
    write(data_dir, [pair(f"{n}?", answer) for n, answer in enumerate(answers)])
    found = [item["answer"] for item in VQADataset("train", data_dir)]
    assert found == ["3", "3", "3", "3.0", "-1", "0"]


@pytest.mark.parametrize(
    "path",
    [
        "train\\00000_01_im.jpg",
        ".\\train\\00000_01_im.jpg",
        "train//00000_01_im.jpg",
        "train/../train/00000_01_im.jpg",
        "{data}/train/00000_01_im.jpg",
        "{data}/train/../train/00000_01_im.jpg",
        "{link}/train/00000_01_im.jpg",
    ],
)
def test_an_image_may_be_named_in_other_ways(data_dir, path, tmp_path_factory):
    link = tmp_path_factory.mktemp("link") / "to"
    link.symlink_to(data_dir)
    write(data_dir, [pair(), pair(image_file=path.format(data=data_dir, link=link))])
    for folder in (data_dir, link):
        item = VQADataset("train", folder)[1]
        assert item["image_path"] == str(folder / "train/00000_01_im.jpg")


def test_a_flat_file_is_read_where_the_folder_has_none(data_dir, capsys):
    (data_dir / "train_qa_pairs.json").write_text(json.dumps([pair()]))
    assert len(VQADataset("train", data_dir)) == 1
    flat = data_dir / "train_qa_pairs.json"
    line = f"{data_dir / 'train'}: no *_qa_pairs.json in it; reads {flat}\n"
    assert capsys.readouterr().err == line
    write(data_dir, [pair(answer="gnu")])
    assert VQADataset("train", data_dir)[0]["answer"] == "gnu"
    assert not capsys.readouterr().err


def test_a_field_given_twice_is_refused(data_dir):
    text = json.dumps([pair()]).replace('"answer"', '"answer": "gnu", "answer"')
    for content in (text, text[1:-1] + "\n" + text[1:-1]):
        (data_dir / "train/a_qa_pairs.json").write_text(content)
        message = error_of(data_dir)
        assert "field 'answer' is given twice in an object, 'gnu' and 'tux'; keep one" in message


def test_each_folder_is_listed_once_however_many_files_there_are(data_dir, monkeypatch):
    for number in range(30):
        write(data_dir, [pair(f"{number}?")], f"{number:02d}")
    listed = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: listed.append(folder) or listdir(folder))
    assert len(VQADataset("train", data_dir)) == 30
    assert len(listed) == 2  # for the files, and for the images


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ({"a": 1}, "expected a list"),
        ([pair(), 3], "pair 1 is not an object"),
        ([{"question": EGO, "answer": "tux"}], "pair 0: field 'image_file' is missing"),
        *(
            ([pair(answer=wrong)], "pair 0: field 'answer' is not text")
            for wrong in (2.5, True, False, float("nan"), float("inf"), ["tux"], {"a": 1})
        ),
        ([pair(question=3)], "pair 0: field 'question' is not text"),
        ([pair(), pair("x" * 10**6)], "pair 1: field 'question' has 1,000,000 characters; 2,000"),
        ([pair(answer="x" * 2001)], "pair 0: field 'answer' has 2,001 characters; 2,000 are"),
        ([pair(image_file="/etc/passwd")], "'image_file': '/etc/passwd' is not below"),
        ([pair(image_file="train/../../x.jpg")], "is not below"),
        ([pair(image_file="C:\\data\\train\\x.jpg")], "is not below"),
        ([pair(image_file="..\\..\\x.jpg")], "is not below"),
        ([pair(image_file="train\\x.jpg")], "1 of its 1 images missing"),
        ([pair(image_file="")], "is not below"),
        ([pair(image_file="train/00000_09_im.jpg")], "1 of its 1 images missing"),
        ([pair(image_file="valid/00000_00_im.jpg")], "1 of its 1 images missing"),
        ([], "hold no pair"),
    ],
)
def test_malformed_pairs_name_file_and_field(data_dir, pairs, words):
    write(data_dir, pairs)
    message = error_of(data_dir)
    assert words in message and str(data_dir / "train") in message


def test_bad_json_names_the_file(data_dir):
    (data_dir / "train/a_qa_pairs.json").write_text('[{"question": ')
    assert "a_qa_pairs.json: not valid JSON" in error_of(data_dir)


def test_missing_split_and_missing_pairs_say_what_to_run(data_dir):
    assert "no *_qa_pairs.json" in error_of(data_dir)
    assert f"run python -m homework.download --data_dir {data_dir}" in error_of(data_dir)
    (data_dir / "train" / "00000_info.json").touch()
    assert f"generate_qa generate --data_dir {data_dir / 'train'}" in error_of(data_dir)
    (data_dir / "mine").mkdir()
    with pytest.raises(InputError, match=r"no \*_qa_pairs.json in it; give --data_dir or a split"):
        VQADataset("mine", data_dir)
    with pytest.raises(
        InputError, match=r"no such split .*run python -m homework.*--train_dataset_name .*--split"
    ):
        VQADataset("valid", data_dir)
    with pytest.raises(InputError, match="not the name of a folder"):
        VQADataset("../train", data_dir)


def test_draw_is_seeded_ordered_and_never_too_long():
    assert draw(5, None) == draw(5, 5) == draw(5, 9) == [0, 1, 2, 3, 4]
    assert draw(1000, 20) == draw(1000, 20) == sorted(set(draw(1000, 20)))
    assert draw(1000, 20) != draw(1000, 20, seed=1)
    for wrong in (0, -1, 2.5):
        with pytest.raises(InputError, match="max_samples"):
            draw(5, wrong)


def test_dataset_and_benchmark_draw_the_same(data_dir):
    write(data_dir, [pair(f"{index}?", str(index)) for index in range(50)])
    whole = VQADataset("train", data_dir)
    drawn = [item["question"] for item in VQADataset("train", data_dir, max_samples=7)]
    result = benchmark(Says("3"), whole, max_samples=7)
    assert [sample.question for sample in result.samples] == drawn


# --- the benchmark ---


class Says:
    def __init__(self, *answers):
        self.answers = answers

    def answer(self, image_paths, questions):
        return [self.answers[index % len(self.answers)] for index in range(len(questions))]


class Returns:
    def __init__(self, value):
        self.value = value

    def answer(self, image_paths, questions):
        return self.value


@pytest.mark.parametrize(
    ("answer", "expected", "correct"),
    [
        ("tux", "tux", True),
        (" Tux.\n", "tux", True),
        ("10", "1", False),
        ("1", "10", False),
        ("front and left", "front", False),
        ("tux..", "tux", False),
        ("", "tux", False),
        ("tux .", "tux", True),
    ],
)
def test_is_correct(answer, expected, correct):
    assert is_correct(answer, expected) is correct


def items(*pairs):
    return [{"image_path": "x.jpg", "question": q, "answer": a} for q, a in pairs]


def test_benchmark_scores_overall_and_per_kind():
    dataset = items((EGO, "tux"), (EGO, "gnu"), (COUNT, "2"), ("Who?", "me"))
    result = benchmark(Says("tux", "tux", "2", "you"), dataset)
    assert result.accuracy == 0.5
    assert result.accuracy_per_kind == {"ego": (0.5, 2), "count": (1.0, 1), "other": (0.0, 1)}
    sample = result.samples[1]
    assert (sample.model_answer, sample.correct_answer, sample.is_correct) == ("tux", "gnu", False)
    assert (sample.image_path, sample.question) == ("x.jpg", EGO)


def test_accuracy_per_kind_and_of_all():
    answers = [("track", True), ("ego", True), ("other", False), ("ego", False)]
    assert count_by_kind(answers) == [
        ("ego", 1, 2),
        ("track", 1, 1),
        ("other", 0, 1),
        ("all", 2, 4),
    ]


@pytest.mark.parametrize("value", [None, "tux", ["tux"], ["tux", 3], ["tux"] * 3, {"a": "b"}])
def test_a_model_that_answers_wrongly_is_an_error(value):
    with pytest.raises(InputError, match=r"model\.answer"):
        benchmark(Returns(value), items((EGO, "tux"), (EGO, "gnu")))


def test_nothing_to_benchmark_is_an_error():
    with pytest.raises(InputError, match="no pair"):
        benchmark(Says("x"), [])


def test_a_row_has_the_counts_the_accuracy_and_its_interval():
    row = Accuracy.count("ego", [True] * 8 + [False] * 2).row()
    assert (row["label"], row["right"], row["total"], row["accuracy"]) == ("ego", 8, 10, 0.8)
    assert (row["low"], row["high"]) == wilson_interval(0.8, 10)


def test_interval_is_wilsons():
    # The example of the method's usual tables: 8 of 10.
    assert wilson_interval(0.8, 10) == pytest.approx((0.490, 0.943), abs=5e-4)


@given(st.integers(1, 5000), st.data())
def test_interval_holds_the_share_and_narrows(total, data):
    share = data.draw(st.integers(0, total)) / total
    low, high = wilson_interval(share, total)
    assert 0 <= low <= share + 1e-9 and share - 1e-9 <= high <= 1
    again_low, again_high = wilson_interval(share, 4 * total)
    assert again_high - again_low < high - low
