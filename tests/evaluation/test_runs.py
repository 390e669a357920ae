"""Answers in a file: written, read back, held against the questions of a split."""

import json
import re
from collections.abc import Sequence

import pytest
from reports import make_outcomes

from homework import finetune
from homework.common import options
from homework.common.errors import InputError
from homework.data import VQADataset, benchmark
from homework.evaluate import evaluate
from homework.evaluation.runs import Answered, Run, other_runs, read_run, write_predictions
from homework.labels.questions import COUNT, TRACK


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Two images with two questions each, in split `asked`."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("data")
    (folder / "asked").mkdir()
    rows = []
    for name in ("asked/a_im.jpg", "asked/b_im.jpg"):
        Image.new("RGB", (8, 8)).save(folder / name)
        rows += [{"image_file": name, "question": q, "answer": "1"} for q in (COUNT, TRACK)]
    (folder / "asked" / "x_qa_pairs.json").write_text(json.dumps(rows))
    return folder


def answers(data_dir):
    return json.loads((data_dir / "asked" / "x_qa_pairs.json").read_text())


def judge(data_dir, file, max_samples=None):
    dataset = VQADataset("asked", data_dir)
    return benchmark(Answered(read_run(file), file, dataset), dataset, max_samples, None)


def test_predictions_are_read_as_they_were_written(tmp_path):
    from helpers import make_split

    make_split(tmp_path / "train", frames=2, seed=0)
    make_split(tmp_path / "valid", frames=2, seed=1)
    outcomes, _ = make_outcomes(tmp_path, 3)
    write_predictions(tmp_path / "one.json", outcomes)
    run = read_run(tmp_path / "one.json")
    assert run.name == "one" and run.date[:2] == "20"
    assert run.answers == {(o.image_file, o.question): o.answer for o in outcomes}


def test_answers_are_judged_as_a_models(data_dir, tmp_path):
    rows = answers(data_dir)
    rows[0]["answer"], rows[1]["answer"] = "2", ""
    rows[2] |= {"answer": " 1. ", "model": "any"}
    rows[3] |= {"answer": 1, "image_file": rows[3]["image_file"].replace("/", "\\")}
    file = tmp_path / "p.json"
    for content in (json.dumps(rows[::-1]), "\n".join(map(json.dumps, rows))):
        file.write_text(content)
        result = judge(data_dir, file)
        assert [sample.is_correct for sample in result.samples] == [False, False, True, True]
    file.write_text(json.dumps(rows[1::2]))  # those that a draw of two takes
    assert len(judge(data_dir, file, 2).samples) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows[1].pop("answer"), "prediction 1: field 'answer' is missing"),
        (lambda rows: rows[1].update(answer=2.5), "prediction 1: field 'answer' is not text"),
        (lambda rows: rows[1].update(answer="x" * 3000), "3,000 characters; 2,000 are the most"),
        (lambda rows: rows.append(rows[0]), "prediction 4: .* is answered twice"),
        (lambda rows: rows[2].update(image_file="c.jpg"), "'c.jpg' is no image of split asked"),
        (lambda rows: rows[2].update(question="Why?"), "'Why[?]' about .* is no question of split"),
        (lambda rows: rows.pop(), "1 of 4 questions of split asked have no answer, first"),
        (lambda rows: rows.__setitem__(0, 7), "prediction 0 is not an object"),
        (list.clear, "neither a report .* nor a list of predictions"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(data_dir, tmp_path, change, words):
    rows = answers(data_dir)
    change(rows)
    file = tmp_path / "p.json"
    file.write_text(json.dumps(rows))
    with pytest.raises(InputError, match=words) as caught:
        judge(data_dir, file)
    assert str(caught.value).startswith(f"{file}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "{", '{"format": "x", "samples": []}', '{"samples": [1]}'])
def test_a_file_that_is_no_report_is_one_line(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(InputError, match="report") as caught:
        read_run(tmp_path)
    assert "\n" not in str(caught.value)


def test_answers_are_taken_out_of_sentences_on_request(data_dir, tmp_path, capsys):
    rows = answers(data_dir)
    rows[0]["answer"] = rows[2]["answer"] = "There is 1 kart in the scenario."
    file = tmp_path / "p.json"
    file.write_text(json.dumps(rows))
    evaluate(str(file), "asked", str(data_dir))
    plain = capsys.readouterr().out
    evaluate(str(file), "asked", str(data_dir), extract=True)
    out = capsys.readouterr().out
    assert "--extract: 2 of 4 answers taken out of a longer text\n" in out
    rights = [float(re.search(r"all .*?([\d.]+)%", text)[1]) for text in (plain, out)]
    assert rights == [50, 100]
    with pytest.raises(InputError, match="--extract: give True or False, not 'yes'"):
        evaluate(str(file), "asked", str(data_dir), extract="yes")


def test_a_report_of_the_version_before_is_read(tmp_path):
    sample = {"image_file": "a", "question": "q", "answer": "x", "right": True}
    report = {"format": "supertuxkart-vqa-report/1", "checkpoint": "c", "samples": [sample]}
    (tmp_path / "report.json").write_text(json.dumps(report))
    assert read_run(tmp_path) == Run("c", "", {("a", "q"): "x"})


def test_other_runs_are_named_with_commas(data_dir, tmp_path):
    for name in ("1", "b.json"):
        (tmp_path / name).write_text(json.dumps(answers(data_dir)))
    both = f"{tmp_path}/1,{tmp_path}/b.json"
    for given in (both, tuple(both.split(","))):  # Fire may make a tuple of it
        names = options.coerce("--against", given, Sequence[str] | None)
        assert [run.name for run in other_runs(names, tmp_path)] == ["1", "b"]
    assert other_runs(None, None) == []


def test_other_runs_are_looked_at_before_anything_is_asked(tmp_path):
    with pytest.raises(InputError, match="--against: needs --report"):
        finetune.test("nowhere", against=str(tmp_path))
    with pytest.raises(InputError, match=r"report\.json: no such file"):
        finetune.test("nowhere", report=str(tmp_path / "out"), against=str(tmp_path))
    with pytest.raises(InputError, match="--heat_maps"):
        finetune.test("nowhere", report=str(tmp_path / "out"), heat_maps=-1)
    with pytest.raises(InputError, match="--base_alone: give True or False"):
        finetune.test("nowhere", base_alone="smol")
