"""Runs to judge or to compare with: the answers of a report, or of a file from any program.

[
{"image_file": "valid/00000_00_im.jpg", "question": "What track is this?", "answer": "abyss"},
...
]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from ..common import options
from ..common.errors import InputError
from ..common.files import Opener, as_json, atomic_write, writing
from ..data import VQADataset
from ..frames.qa_read import read_rows, triple
from ..labels.questions import extracted
from .statistics import Outcome

DATA = "report.json"
FORMAT = "supertuxkart-vqa-report/"  # followed by a version
Asked = tuple[str, str]  # image_file, question


class Run(NamedTuple):
    """The answers of a run, by name and date."""

    name: str
    date: str  # empty if unknown
    answers: Mapping[Asked, str]


def write_predictions(
    file: Path, outcomes: Sequence[Outcome], open_file: Opener = atomic_write
) -> None:
    """Write the answers as `read_run` reads them, with the truth beside each."""
    fields = ("image_file", "question", "answer", "truth", "right")
    with writing(file), open_file(file) as opened:
        opened.write(as_json([{name: getattr(o, name) for name in fields} for o in outcomes]))


def other_runs(against: Sequence[str] | None, report: Path | None) -> list[Run]:
    """The runs that `--against` names, for a report; see `read_run`."""
    if against is None:
        return []
    if report is None:
        raise InputError("--against: needs --report; give the folder to write the page to")
    return [read_run(options.coerce("--against", name, Path)) for name in against]


def read_run(path: Path) -> Run:
    """Read the answers of a report (or of its folder) or of a file of predictions.

    Fields of a prediction beside image_file, question and answer are ignored. Raises InputError if
    it is missing or malformed, or answers a question twice.
    """
    file = path / DATA if path.is_dir() else path
    found = read_rows(file)
    if isinstance(found, dict) and str(found.get("format")).startswith(FORMAT):
        name, date = str(found.get("checkpoint", file.stem)), str(found.get("date", ""))
        rows = found.get("samples")
    else:
        name, date, rows = file.stem, minutes(datetime.fromtimestamp(file.stat().st_mtime)), found
    if not isinstance(rows, list) or not rows:
        raise InputError(
            f"{file}: neither a report (finetune test --report) nor a list of predictions; give "
            "one with image_file, question and answer for each question"
        )
    return Run(name, date, _answers(file, rows))


def _answers(file: Path, rows: Sequence[Any]) -> dict[Asked, str]:
    answers: dict[Asked, str] = {}
    for index, row in enumerate(rows):
        try:
            name, question, answer = triple(row)
        except ValueError as error:
            raise InputError(f"{file}: prediction {index}{error}; correct it") from None
        asked = name.replace("\\", "/"), question
        if asked in answers:
            raise InputError(
                f"{file}: prediction {index}: {asked[1][:80]!r} about {asked[0][:80]!r} is "
                "answered twice; keep one answer"
            )
        answers[asked] = answer
    return answers


def with_extracted(run: Run) -> Run:
    """The run with the answers that its sentences hold; see `questions.extracted`."""
    answers = {asked: extracted(answer, asked[1]) for asked, answer in run.answers.items()}
    return run._replace(answers=answers)


class Answered:
    """A model whose answers to the questions of a dataset are known already, from `file`.

    Raises InputError if an answer is to no question of the split.
    """

    def __init__(self, run: Run, file: Path, dataset: VQADataset) -> None:
        self.answers, self.file, self.dataset = run.answers, file, dataset
        known: dict[str, set[str]] = {}
        for item in dataset:
            known.setdefault(self._image_file(item["image_path"]), set()).add(item["question"])
        for name, question in self.answers:
            if name not in known:
                raise InputError(
                    f"{file}: {name[:80]!r} is no image of split {dataset.split}; give "
                    f"image_file relative to {dataset.data_dir}, such as {next(iter(known))!r}"
                )
            if question not in known[name]:
                raise InputError(
                    f"{file}: {question[:80]!r} about {name!r} is no question of split "
                    f"{dataset.split}; ask those of {dataset.files[0]}"
                )

    def answer(self, image_paths: Sequence[str], questions: Sequence[str]) -> list[str]:
        """The answer to each question about its image; InputError if one has none."""
        asked = list(zip(map(self._image_file, image_paths), questions, strict=True))
        missing = [each for each in asked if each not in self.answers]
        if missing:
            name, question = missing[0]
            raise InputError(
                f"{self.file}: {len(missing):,} of {len(asked):,} questions of split "
                f"{self.dataset.split} have no answer, first {question[:80]!r} about {name!r}; "
                "add them (an answer may be empty), or give the --max_samples they were drawn with"
            )
        return [self.answers[each] for each in asked]

    def _image_file(self, image_path: str) -> str:
        return image_file(image_path, self.dataset.data_dir)


def image_file(image_path: str, data_dir: Path) -> str:
    """An image's path relative to the data folder, as files of pairs give it."""
    path = Path(image_path)
    return path.relative_to(data_dir).as_posix() if path.is_relative_to(data_dir) else path.name


def minutes(time: datetime) -> str:
    """A date and time as reports give it, to the minute."""
    return time.astimezone().isoformat(" ", "minutes")
