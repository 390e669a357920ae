"""The grader: the points rule, and a scored line for whatever a submission does."""

from __future__ import annotations

import contextlib
import json
import math
import random
import re
import time
from pathlib import Path

import pytest
from fake_submission import ADAPTER, COUNT, GOOD, VLM, write_data, write_files
from grading import failure, model
from hypothesis import given
from hypothesis import strategies as st

import bundle
from grader import labels, process, scoring
from grader.errors import SubmissionError, one_line

# The rules


@given(st.floats(0, 1), st.floats(0, 1))
def test_points_grow_with_accuracy_within_their_range(a, b):
    low, high = sorted((a, b))
    assert 0 <= scoring.points(low) <= scoring.points(high) <= 100
    assert 0 <= scoring.extra_points(low) <= scoring.extra_points(high) <= 5


@given(st.floats(0, 0.7))
def test_points_are_linear_below_full_accuracy(accuracy):
    assert scoring.points(accuracy) == pytest.approx(accuracy / 0.70 * 100)


@pytest.mark.parametrize(
    ("accuracy", "points", "extra"),
    [(0, 0, 0), (0.35, 50, 0), (0.7, 100, 0), (0.8, 100, 0), (0.825, 100, 2.5), (0.85, 100, 5),
     (1, 100, 5), (math.nan, 0, 0)],
)  # fmt: skip
def test_the_points_rule(accuracy, points, extra):
    assert scoring.points(accuracy) == pytest.approx(points)
    assert scoring.extra_points(accuracy) == pytest.approx(extra)


@pytest.mark.parametrize(
    ("answer", "expected", "correct"),
    [
        ("10", "10", True),
        (" Front and Left.\n", "front and left", True),
        ("10", "1", False),
        ("1", "10", False),
        ("1..", "1", False),
        ("1 .", "1", True),
        ("", "1", False),
        ("tux", "Tux.", True),
    ],
)
def test_the_comparison(answer, expected, correct):
    assert scoring.is_correct(answer, expected) is correct


@given(st.integers(1, 1000), st.integers(1, 200))
def test_the_draw(total, count):
    drawn = scoring.draw(total, count)
    assert drawn == sorted(set(drawn)) == scoring.draw(total, count)
    assert len(drawn) == min(total, count) and set(drawn) <= set(range(total))


def test_the_draw_is_the_one_of_benchmark():
    assert scoring.draw(700) == sorted(random.Random(0).sample(range(700), 128))


@given(*[st.text(alphabet=" .aA1\n", max_size=6)] * 2, st.integers(1, 300))
def test_the_rules_are_those_of_the_homework(answer, expected, total):
    from homework import data

    assert scoring.is_correct(answer, expected) == data.is_correct(answer, expected)
    assert scoring.draw(total) == data.draw(total, 128)


def test_questions_of_others_are_read_as_the_homework_reads_them(tmp_path):
    from homework import data

    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.jpg").touch()
    row = {"question": "q", "answer": 3, "image_file": "own\\a.jpg", "type": "count"}
    (tmp_path / "own" / "x_qa_pairs.json").write_text(json.dumps([row]))
    (own,) = labels.read(tmp_path, "own")
    assert own == ("own/a.jpg", "q", "3")
    (item,) = data.VQADataset("own", tmp_path)
    assert item == {"image_path": str(tmp_path / own.image), "question": "q", "answer": "3"}


def test_the_questions_are_those_of_the_homework(place):
    from homework import data

    folder = place / "data" / "valid_grader"
    records = json.loads((folder / "b_qa_pairs.json").read_text())
    (folder / "c_qa_pairs.json").write_text(json.dumps(records[:2]))  # repeated: counted once
    (folder / "._a_qa_pairs.json").write_text("from macOS")
    own = [(q.image, q.question, q.answer) for q in labels.read(place / "data", "valid_grader")]
    dataset = data.VQADataset("valid_grader", data_dir=place / "data")
    items = [dataset[index] for index in range(len(dataset))]
    assert len(own) == 10
    assert own == [
        (str(Path(i["image_path"]).relative_to(place / "data")), i["question"], i["answer"])
        for i in items
    ]


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("What kart is the ego car?", "ego"),
        (COUNT, "count"),
        ("What track is this?", "track"),
        ("Is sara_the_racer to the left or right of the ego car?", "relative position"),
        ("Is tux in front of or behind the ego car?", "relative position"),
        ("Where is tux relative to the ego car?", "relative position"),
        ("How many karts are to the left of the ego car?", "region"),
        ("How many karts are behind the ego car?", "region"),
        ("how many karts are behind the ego car?", "other"),
        ("What track is this? ", "other"),
    ],
)
def test_the_kinds(question, kind):
    assert scoring.kind_of(question) == kind


def test_a_line_is_one_safe_line():
    assert one_line("a\nb\x1b[2J\u2028c\x00") == "a b\\x1b[2J c\\x00"
    assert len(one_line("x" * 1000)) == 400


# A whole grading


@pytest.mark.parametrize(("wrong", "total"), [(0, 105), (2, 100), (3, 100), (5, 50 / 0.7), (10, 0)])
def test_the_score(graded, wrong, total):
    files = GOOD | {"vlm.py": VLM.replace("wrong = 0", f"wrong = {wrong}")}
    out, result = graded(files)
    assert result["total"] == pytest.approx(total)
    assert result["accuracy"] == pytest.approx(1 - wrong / 10)
    assert [case["status"] for case in result["cases"]] == ["ok"] * 6
    assert f"Total: {total:.1f} / 100 (105 at most)\n" in out
    assert len(out.splitlines()) == 9 and "\x1b" not in out


def test_at_most_128_questions_and_the_same_ones_as_benchmark(place, graded):
    write_data(place / "data", 300)
    files = GOOD | {"vlm.py": VLM.replace("wrong = 0", "wrong = 100")}
    out, result = graded(files)
    drawn = sorted(random.Random(0).sample(range(300), 128))
    assert [int(sample["correct_answer"]) for sample in result["samples"]] == drawn
    assert result["accuracy"] == sum(n >= 100 for n in drawn) / 128
    assert "Accuracy on 128 questions" in out


@pytest.mark.parametrize("argument", ["homework", "."])
def test_a_folder(place, graded, argument):
    write_files(place / "homework", GOOD | {"__pycache__/x.pyc": "no", "runs/log": "no"})
    _, result = graded(place / argument)
    assert result["total"] == 105 and "3 files" in result["cases"][0]["detail"]
    assert not (place / "homework" / "__pycache__" / "vlm.cpython-311.pyc").exists()


def test_what_bundle_writes_can_be_graded(place, graded, monkeypatch, capsys):
    monkeypatch.chdir(place)
    write_files(place / "homework", GOOD | ADAPTER)
    assert bundle.main(["homework", "ID"]) == 0
    capsys.readouterr()
    assert graded(place / "ID.zip")[1]["total"] == 105


def test_verbose_output(graded):
    noisy = "print('hello from the model')\nreturn ['0'] * len(questions)"
    out, _ = graded(model(noisy))
    assert "hello" not in out and "kind" not in out
    out, _ = graded(model(noisy), "-v")
    assert re.search(r"count +1 +10 +10\.0%", out) and "hello" not in out
    out, _ = graded(model(noisy), "-vv")
    assert "| hello from the model" in out and "'0', expected '1'" in out


def test_the_log_holds_everything_and_the_samples(place, graded):
    _, result = graded(model("print('hello')\nreturn ['0'] * len(questions)"))
    text = (place / "log.txt").read_text()
    assert "hello" in text and "accuracy per kind" in text and "Total: 14.3 / 100" in text
    assert result["samples"][1] == {
        "image_file": "valid/00001_00_im.jpg",
        "question": COUNT,
        "model_answer": "0",
        "correct_answer": "1",
        "is_correct": False,
    }
    assert result["kinds"] == {"count": {"right": 1, "asked": 10}}


def test_the_child_sees_no_expected_answers_and_a_private_folder(place, graded):
    files = model("import os, sys, json\nprint(os.getcwd(), sys.argv, sys.path[0])\nreturn input()")
    out, result = graded(files, "-vv")
    assert "EOFError" in result["cases"][3]["detail"]
    assert str(place / "tmp" / "grader-") in out


# Whatever a submission does is a scored line


@pytest.mark.parametrize(
    ("init", "detail"),
    [
        ("import sys; sys.exit(0)", "SystemExit: 0 (homework/__init__.py, line 1)"),
        ("import not_there", "ModuleNotFoundError: No module named 'not_there'"),
        ("assert False", "AssertionError (homework/__init__.py, line 1)"),
        ("import os; os._exit(3)", "the process ended itself with exit code 3"),
        ("import os; os.kill(os.getpid(), 11)", "the process was ended by SIGSEGV"),
        ("x = = 1", "SyntaxError: invalid syntax (__init__.py, line 1)"),
        ("", "AttributeError: module 'homework' has no attribute 'load_vlm'"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import os; os.closerange(3, 99)\nimport time; time.sleep(60)", "closed the grader's"),
        ("def load_vlm(): return 7", "load_vlm() gave a int, which has no answer()"),
        ("def load_vlm(): open('vlm_model/x')", "FileNotFoundError: "),
        ("def load_vlm(): raise SystemExit", "SystemExit (homework/__init__.py, line 1)"),
        ("class E(Exception):\n def __str__(self): 1/0\nraise E", "E: (its message cannot be"),
        ("raise ValueError('a\\nb\\x1b[2J' + 9000 * 'c')", "ValueError: a b\\x1b[2Jccc"),
        ("def load_vlm(): load_vlm()", "RecursionError: "),
    ],
)
def test_a_package_that_does_not_load(graded, init, detail):
    out, result = graded(GOOD | {"__init__.py": init}, "-v")
    name, text = failure(result, out)
    assert name == "Model loads" and detail in text
    assert result["total"] == 0 and result["accuracy"] is None


def test_the_submissions_traceback_is_shown_with_v(graded):
    files = GOOD | {"vlm.py": "def load_vlm():\n    raise ValueError('bad weights')\n"}
    assert "line 2, in load_vlm" not in graded(files)[0]
    out, _ = graded(files, "-v")
    assert "homework/vlm.py" in out and "line 2, in load_vlm" in out and "child.py" not in out


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ("return ['1']", "answer() gave 1 answers to 10 questions"),
        ("return [float('nan')] * 10", "answer() gave a float as answer 0, not text"),
        ("return ['1'] * 9 + [None]", "answer() gave a NoneType as answer 9"),
        ("return 'x' * 10", "answer() gave a str, not a list"),
        ("return ['x' * 20_000] * 10", "20000 characters"),
        ("assert False, 'shape'", "AssertionError: shape (homework/vlm.py, line 3)"),
        ("import os; os._exit(0)", "the process ended itself with exit code 0"),
        ("raise SystemExit(4)", "SystemExit: 4"),
    ],
)
def test_a_model_that_does_not_answer(graded, body, detail):
    name, text = failure(graded(model(body))[1], "Total: ")
    assert name == "Accuracy on 10 questions" and detail in text


def test_odd_answers_are_only_wrong(graded):
    out, result = graded(model("return ['\\ud800\\x1b[2J\\n'] * 10"), "-vv")
    assert result["accuracy"] == 0 and "\x1b" not in out


@pytest.mark.parametrize("where", ["start", "load", "answer"])
def test_a_hang_is_ended_at_its_time_limit(graded, where):
    files = {
        "start": GOOD | {"__init__.py": "import time; time.sleep(60)"},
        "load": GOOD | {"__init__.py": "def load_vlm():\n    while True: pass"},
        # A process of its own must not outlive the grading, nor hold it up.
        "answer": model("import subprocess\nsubprocess.run(['sleep', '60'])"),
    }[where]
    start = time.monotonic()
    out, result = graded(files, "--time_limit", "1", "--open")
    assert time.monotonic() - start < 8
    assert "took over 1 s and was stopped" in failure(result, out)[1]


def test_the_time_limit_covers_loading_and_answering_together(graded):
    slow = VLM.replace("return Model()", "import time; time.sleep(0.8); return Model()")
    slow = slow.replace("numbers =", "import time; time.sleep(0.8); numbers =")
    out, result = graded(GOOD | {"vlm.py": slow}, "--time_limit", "1.5")
    assert failure(result, out)[0] == "Accuracy on 10 questions"


@pytest.mark.parametrize(
    ("answered", "seconds", "told"),
    [
        (32, 40, "32 of 128 questions were answered, 0.8 a second; this machine needs about 170 s "
                 "for all: --time_limit 240"),
        (0, 0, "0 of 128 questions were answered, under 0.53 a second; this machine needs over "
               "210 s for all: --time_limit 420"),
    ],
)  # fmt: skip
def test_the_line_of_a_time_limit_says_what_this_machine_needs(answered, seconds, told):
    assert scoring.how_far(answered, 128, 32, seconds, before=10, limit=60) == told


@pytest.mark.slow
def test_that_line_is_in_the_verdict(graded, place):
    write_data(place / "data", 40)
    rest = "import time; time.sleep(0.9 if len(questions) > 8 else 9); numbers ="
    slow = VLM.replace("numbers =", rest)
    out, result = graded(GOOD | {"vlm.py": slow}, "--time_limit", "3")
    told = failure(result, out)[1]
    assert "took over 3 s and was stopped: 32 of 40 questions were answered, 3" in told
    assert told.endswith("s for all: --time_limit 60")


HOLDS = VLM.replace("return Model()", "m = Model(); m.model = N(); return m")


@pytest.mark.parametrize("where", ["import", "parameters"])
def test_importing_and_counting_parameters_count_against_the_time_limit(graded, where):
    endless = "class N:\n    def parameters(self):\n        while True: pass\n" + HOLDS
    files = {
        "import": GOOD | {"__init__.py": "import time; time.sleep(1.2)\n" + GOOD["__init__.py"]},
        "parameters": GOOD | {"vlm.py": endless},
    }[where]
    start = time.monotonic()
    out, result = graded(files, "--time_limit", "1")
    assert time.monotonic() - start < 10
    name = {"import": "Model loads", "parameters": "Parameters at most 300M"}[where]
    assert failure(result, out)[0] == name
    assert "took over 1 s and was stopped" in failure(result, out)[1]


@pytest.mark.parametrize("count", ["10 ** 400", "10 ** 5000", "-1"])
def test_a_number_of_parameters_that_is_none(graded, count):
    module = f"class N:\n def parameters(self): return [N()]\n def numel(self): return {count}\n"
    out, result = graded(GOOD | {"vlm.py": module + HOLDS})
    assert failure(result, out)[0] == "Parameters at most 300M"


REPLIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["id", "value", "error", "message", "traceback", "denied"]), inner
    ),
)  # fmt: skip


@given(REPLIES)
def test_any_reply_is_a_value_or_the_submissions_fault(value):
    line = json.dumps(value).encode() + b"\n"
    assert isinstance(process.read_denial(line), str)
    for text in (line, line[:-3], b'{"id": 7, ' + line[1:]):
        with contextlib.suppress(SubmissionError):
            process.read_reply(text, 7)


def test_a_child_that_reads_no_requests_holds_nobody(place, monkeypatch):
    # The request is far longer than a pipe takes.
    monkeypatch.setattr(process, "CHILD", place / "child.py")
    (place / "child.py").write_text("import time; print('{\"id\": 1, \"value\": 0}', flush=True)\n"
                                    "time.sleep(60)")  # fmt: skip
    start = time.monotonic()
    with process.Child(place, None) as child, pytest.raises(SubmissionError, match="over"):
        child.call("x", time.monotonic() + 0.5, "over", text="y" * 10_000_000)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(("count", "status"), [(300_000_000, "ok"), (300_000_001, "failed")])
def test_the_parameter_limit(graded, count, status):
    module = f"""
class Parameter:
    def numel(self): return {count}
class Module:
    parameter = Parameter()  # one parameter, seen three times
    def parameters(self): return [self.parameter, self.parameter]
"""
    vlm = module + VLM.replace(
        "return Model()", "m = Model(); m.model = m.copy = Module(); return m"
    )
    _, result = graded(GOOD | {"vlm.py": vlm})
    assert result["cases"][2]["status"] == status
    assert result["total"] == (105 if status == "ok" else 0)


@pytest.mark.parametrize(
    ("old", "new", "detail"),
    [
        ("def benchmark", "def bench", "has no attribute 'benchmark'"),
        ("accuracy=sum", "accuracy=float('nan') + sum", "accuracy is nan"),
        ("model_answer=a", "model_answer=7", "model_answer of sample 0 is a int"),
        ("is_correct=a ==", "correct=a ==", "no attribute 'is_correct'"),
        ("samples=samples", "samples=samples[:1]", "1 samples for 4 questions"),
        ("import json", "import jsn, json", "No module named 'jsn'"),
    ],
)
def test_the_course_interface(graded, old, new, detail):
    data = GOOD["data.py"].replace(old, new)
    init = "from .vlm import load_vlm\n"  # data is imported by the check itself
    if "is_correct" in detail:
        data = data.replace("s.is_correct", "s.correct")
    out, result = graded(GOOD | {"data.py": data, "__init__.py": init})
    name, text = failure(result, out)
    assert name == "Course interface" and detail in text
    assert result["total"] == 105, "a check without points"


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"id": 2, "value": []}', "[" * 100_000])
def test_writing_into_the_channel_is_a_scored_failure(graded, line):
    files = model(
        "import os\n"
        "for fd in range(3, 10):\n"
        f"    try: os.write(fd, {line!r}.encode() + b'\\n')\n"
        "    except OSError: pass\n"
        "return ['1'] * 10"
    )
    assert "wrote into the grader's channel" in failure(graded(files)[1], "Total: ")[1]


def test_endless_prints_do_no_harm(graded):
    out, result = graded(model("for _ in range(300): print('y' * 9999)\nreturn ['0'] * 10"))
    assert result["accuracy"] == 0.1 and "yyy" not in out
