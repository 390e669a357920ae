"""Submissions in the styles that students hand in, with the verdicts of both graders.

They follow the course's starter code: a class with `.processor` and `.model`, `answer` on top of
`batched_generate`, and a benchmark that asks 32 questions at a time and compares prefixes. No
torch: question number N of the fake data is right when it is answered "N".

    python tests/course_styles.py

prints the table that docs/grading.md shows.
"""

from __future__ import annotations

from typing import NamedTuple

VLM = """
from pathlib import Path

class Parameter:
    def numel(self):
        return 256_000_000

class Network:
    def parameters(self):
        return [Parameter()]

class BaseVLM:
    def __init__(self):
        self.processor = None
        self.model = Network()

    def batched_generate(self, image_paths, questions):
        assert len(questions) <= 32, "all at once: out of memory"
        return [str(int(Path(path).name.split("_")[0])) for path in image_paths]

    def answer(self, image_paths, questions):
        return self.batched_generate(image_paths, questions)

def load_vlm():
    return BaseVLM()
"""
DATA = """
import json
from pathlib import Path
from types import SimpleNamespace

DATA_DIR = Path(__file__).parent.parent / "data"

class VQADataset:
    def __init__(self, split):
        self.pairs = []
        for file in sorted((DATA_DIR / split).glob("*_qa_pairs.json")):
            self.pairs += json.loads(file.read_text())

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        pair = self.pairs[index]
        return {**pair, "image_path": str(DATA_DIR / pair["image_file"])}

def benchmark(vlm, dataset, max_question):
    samples = []
    rows = [dataset[index] for index in range(min(len(dataset), max_question))]
    for start in range(0, len(rows), 32):
        batch = rows[start : start + 32]
        answers = vlm.answer([r["image_path"] for r in batch], [r["question"] for r in batch])
        for row, answer in zip(batch, answers):
            right = answer.strip().lower().startswith(row["answer"].strip().lower())
            samples.append(SimpleNamespace(
                image_path=row["image_path"], question=row["question"], model_answer=answer,
                correct_answer=row["answer"], is_correct=right))
    return SimpleNamespace(
        samples=samples, accuracy=sum(s.is_correct for s in samples) / len(samples))
"""
INIT = "from .vlm import BaseVLM, load_vlm\nfrom . import data\n"
STARTER = {"__init__.py": INIT, "vlm.py": VLM, "data.py": DATA}


def zipped(top: str = "homework/", **changed: str) -> list[tuple[str, str]]:
    """The entries of a zip with the starter's files, some changed: `vlm` stands for vlm.py."""
    files = STARTER | {f"{name}.py": text for name, text in changed.items()}
    return [(top + name, text) for name, text in files.items()]


class Style(NamedTuple):
    """A submission and what is made of it.

    Attributes:
        name: its row in docs/grading.md.
        entries: of the zip: name and content, in order; the same name may come twice.
        course: the points that the course's grader gives; None where it refuses the submission.
        here: the same for this grader.
        line: a regular expression for the report's line about the course's grader; None for none.
    """

    name: str
    entries: list[tuple[str, str]]
    course: float | None
    here: float | None
    line: str | None = None


_RETURN = "return [str(int("
_TWO = r"would refuse this zip \(expected one top-level folder, got 2: {}"

STYLES = [
    Style("starter code: `.model`, 32 questions at a time", zipped(), 105, 105),
    Style(
        "`data` imported by another module of the package",
        zipped(__init__="from .vlm import load_vlm\n", vlm="from .data import VQADataset\n" + VLM),
        105,
        105,
    ),
    Style(
        "`data` imported nowhere",
        zipped(__init__="from .vlm import load_vlm\n"),
        None,
        105,
        "would give 0 points: it uses `data` of the imported package",
    ),
    Style(
        "`data` imported by `answer` alone",
        zipped(
            __init__="from .vlm import load_vlm\n",
            vlm=VLM.replace("return self.", "from . import data; return self."),
        ),
        None,
        105,
        "would give 0 points: it uses `data` of the imported package",
    ),
    Style(
        "a model without `.model`",
        zipped(vlm=VLM.replace("self.model", "self.network")),
        None,
        105,
        r"would give 0 points: it counts the parameters of `load_vlm\(\)\.model`",
    ),
    Style(
        "a model of more than 300M parameters", zipped(vlm=VLM.replace("256_", "301_")), None, None
    ),
    Style(
        "`answer` returns a tuple",
        zipped(vlm=VLM.replace(_RETURN, "return tuple(str(int(").replace("paths]", "paths)")),
        105,
        105,
    ),
    Style(
        "`answer` returns too few answers at a time",
        zipped(vlm=VLM.replace("in image_paths]", "in image_paths[:0]]")),
        None,
        None,
    ),
    Style(
        "the correct answer with more text after it",
        zipped(vlm=VLM.replace("[0]))", "[0])) + ' karts'")),
        105,
        0,
        r"would give 105\.0 points \(100\.0%\): it accepts any answer that begins with the right "
        "one, and judges 40 answers otherwise",
    ),
    Style(
        "a CLIP half beside it (its VLM half)",
        [*zipped(__init__=INIT + "from .clip import load_clip\n"),
         ("homework/clip.py", "def load_clip():\n    1 / 0\n")],
        105,
        105,
        r"would also grade the CLIP half \(load_clip and MultiChoiceQADataset; each half is worth",
    ),
    Style(
        "top-level folder `hw4/`", zipped("hw4/"), 105, 105
    ),
    Style(
        "top-level folder `Homework/`", zipped("Homework/"), 105, 105
    ),
    Style(
        "`hw4/` that imports `homework` by name",
        zipped("hw4/", __init__="from homework.vlm import load_vlm\n"),
        None,
        None,
    ),
    Style(
        "a second top-level folder: `__MACOSX/`",
        [*zipped(), ("__MACOSX/homework/._vlm.py", "")],
        None,
        105,
        _TWO.format("__MACOSX, homework"),
    ),
    Style(
        "a second top-level folder: `data/`",
        [*zipped(), ("data/", "")],
        None,
        105,
        _TWO.format("data, homework"),
    ),
    Style("`hw4/` and `__MACOSX/`", [*zipped("hw4/"), ("__MACOSX/._hw4", "")], None, None),
    Style("a folder around the package", zipped("abc/homework/"), None, None),
    Style("no top-level folder", zipped(""), None, None),
    Style(
        "one entry twice, the later one good",
        [("homework/vlm.py", "broken ="), *zipped()],
        105,
        105,
    ),
    Style(
        "one entry twice, the later one broken",
        [*zipped(), ("homework/vlm.py", "broken =")],
        None,
        None,
    ),
]  # fmt: skip


def table() -> str:
    """The verdicts that differ between the graders, or come with a line, as a table in Markdown."""
    rows = ["| submission | course | here |", "|---|---|---|"]
    for style in STYLES:
        if style.course != style.here or style.line:
            rows.append(f"| {style.name} | {_points(style.course)} | {_points(style.here)} |")
    return "\n".join(rows) + "\n"


def _points(points: float | None) -> str:
    return "refused" if points is None else f"{points:g}"


if __name__ == "__main__":
    print(table(), end="")
