"""Write files of question/answer pairs: of a split, a balanced draw, or in the forms of others.

Of a split, from its info files:
    [
    {"question":"What track is this?","answer":"abyss","image_file":"train/00000_00_im.jpg"},
    ...
    ]
messages: a JSON object per line, the chat form of TRL and others.
    {"messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": Q}]},
                  {"role": "assistant", "content": [{"type": "text", "text": A}]}],
     "images": ["train/00000_00_im.jpg"]}
llava: a JSON list, as LLaVA and the programs after it read it.
    {"id": "train/00000_00_im-0", "image": "train/00000_00_im.jpg", "conversations":
     [{"from": "human", "value": "<image>\nQ"}, {"from": "gpt", "value": A}]}
parquet: a folder in the layout of the hub, with the columns image (embedded), question, answer and
    image_file, for `datasets.load_dataset`.

Images are named relative to the data folder.
"""

# datasets and pyarrow are optional:
# pyright: reportMissingImports=false

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ..common.errors import InputError
from ..common.files import Opener, atomic_write, quick_dumps, read_plain, reading, writing
from ..common.workers import chunks, ordered_map
from ..labels.questions import KINDS, Pair, pairs
from .images import MAX_IMAGE_BYTES
from .split import Skipped, Split, read_frames

Row = tuple[str, str, str]  # image_file, question, answer
ROWS = 1000  # in a row group of parquet: its dictionary then holds each image once


@dataclass
class Summary:
    """Counts of what was labelled: views, occurrences of each pair, what was skipped."""

    views: int = 0
    pairs: Counter[Pair] = field(default_factory=Counter)
    skipped: Skipped = field(default_factory=Skipped)

    def add(self, other: Summary) -> None:
        """Add the counts of `other`."""
        self.views += other.views
        self.pairs.update(other.pairs)
        self.skipped.add(other.skipped)


def write_pairs(
    split: Split, output: str | Path, num_workers: int, open_file: Opener = atomic_write
) -> Summary:
    """Write the pairs of every view that has an image to `output`, whole or not at all.

    The bytes do not depend on `num_workers`, nor the memory on the size of the split. Raises
    InputError if there is nothing to write, or `output` cannot be written.
    """
    summary = Summary()
    runs = chunks(split.info_files, num_workers)
    with (
        writing(output, "or try --output"),
        ordered_map(lambda run: label(split, run), runs, num_workers) as results,
        open_file(Path(output)) as file,
    ):
        from tqdm import tqdm  # imported while the workers label already

        with tqdm(total=len(split.info_files), unit=" info files") as progress:
            for run, (lines, labelled) in zip(runs, results, strict=True):
                if lines:
                    file.write(b",\n" if summary.views else b"[\n")
                    file.write(lines)
                summary.add(labelled)
                progress.update(len(run))
        if not summary.views:
            raise summary.skipped.nothing_left(split, "label")
        file.write(b"\n]\n")
    return summary


def label(split: Split, info_files: Sequence[str]) -> tuple[bytes, Summary]:
    """The pairs of some info files: JSON objects, one per line, with commas between them."""
    summary = Summary()
    lines: list[bytes] = []
    for frame in read_frames(split, info_files, summary.skipped):
        for picture, scene in frame.views:
            image_file = split.image_file(picture)
            made = list(pairs(scene))
            for question, answer in made:
                row = {"question": question, "answer": answer, "image_file": image_file}
                lines.append(quick_dumps(row))
            summary.pairs.update(made)
            summary.views += 1
    return b",\n".join(lines), summary


def balanced_pairs(
    split: Split, per_kind: int, seed: int = 0
) -> tuple[list[dict[str, str]], Skipped]:
    """Draw `per_kind` pairs of each kind, every pair of that kind equally likely, none twice.

    Returns:
        The pairs (`question`, `answer`, `image_file`), shuffled, and what of the split was skipped.

    Raises InputError if the split has fewer pairs of some kind.
    """
    found: dict[str, dict[tuple[str, str], str]] = {name: {} for name in KINDS}
    skipped = Skipped()
    for frame in read_frames(split, split.info_files, skipped):
        for picture, scene in frame.views:
            for name, kind in KINDS.items():
                for question, answer in kind.pairs(scene):
                    found[name].setdefault((question, split.image_file(picture)), answer)

    if not any(found.values()):
        raise skipped.nothing_left(split, "label")
    generator = random.Random(seed)
    drawn = []
    for kind, answers in found.items():
        if len(answers) < per_kind:
            raise InputError(
                f"{split.folder}: has {len(answers):,} pairs of kind '{kind}', "
                f"not {per_kind:,}; give a smaller --per_kind"
            )
        for question, image_file in generator.sample(list(answers), per_kind):
            answer = answers[question, image_file]
            drawn.append({"question": question, "answer": answer, "image_file": image_file})
    generator.shuffle(drawn)
    return drawn, skipped


# --- the forms of other programs ---


def parquet_file(folder: Path, split: str) -> Path:
    """The split's file in a folder that `load_dataset` reads; InputError without datasets."""
    try:
        import datasets  # noqa: F401
    except ImportError:
        line = "--format parquet needs datasets: pip install -r requirements-export.txt"
        raise InputError(line) from None
    name = re.sub(r"\W", "_", split)  # other names are no splits there
    return folder / "data" / f"{name}-00000-of-00001.parquet"


def _messages(file: BinaryIO, rows: list[Row], data_dir: Path) -> None:
    for image_file, question, answer in rows:
        asked = [{"type": "image"}, {"type": "text", "text": question}]
        told = [{"type": "text", "text": answer}]
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": told}]
        file.write(quick_dumps({"messages": turns, "images": [image_file]}) + b"\n")


def _llava(file: BinaryIO, rows: list[Row], data_dir: Path) -> None:
    for number, (image_file, question, answer) in enumerate(rows):
        turns = [{"from": "human", "value": f"<image>\n{question}"}]
        turns.append({"from": "gpt", "value": answer})
        row = {"id": f"{image_file}-{number}", "image": image_file, "conversations": turns}
        file.write((b",\n" if number else b"[\n") + quick_dumps(row))
    file.write(b"\n]\n")


def _parquet(file: BinaryIO, rows: list[Row], data_dir: Path) -> None:
    import pyarrow
    from datasets import Features, Image, Value
    from pyarrow.parquet import ParquetWriter
    from tqdm import tqdm

    texts = {name: Value("string") for name in ("question", "answer", "image_file")}
    schema = Features({"image": Image(), **texts}).arrow_schema
    with ParquetWriter(file, schema) as writer, tqdm(total=len(rows), unit="pair") as bar:
        for start in range(0, len(rows), ROWS):
            part = list(_embedded(rows[start : start + ROWS], data_dir))
            writer.write_table(pyarrow.Table.from_pylist(part, schema))
            bar.update(len(part))


def _embedded(rows: list[Row], data_dir: Path) -> Iterator[dict[str, Any]]:
    picture: dict[str, Any] = {"path": None}
    for image_file, question, answer in rows:
        if picture["path"] != image_file:
            with reading(data_dir / image_file):
                data = read_plain(data_dir / image_file, MAX_IMAGE_BYTES)
            picture = {"bytes": data, "path": image_file}
        row = {"question": question, "answer": answer, "image_file": image_file}
        yield {"image": picture, **row}


# --- reading back ---

_ASKS, _ANSWERS = ("human", "user"), ("gpt", "assistant")


def conversation_pairs(row: Any) -> Iterator[Any]:
    """The pairs of an object of messages or llava, one for each answer; any other value as it is.

    Raises ValueError, which continues a line that begins with its number, for another form.
    """
    known = row if isinstance(row, dict) else {}
    name = next((name for name in ("messages", "conversations") if name in known), "")
    if not name or "question" in row:
        yield row
        return
    image = row.get("images", row.get("image"))
    if isinstance(image, list) and len(image) == 1:
        image = image[0]
    question = None
    for turn in row[name] if isinstance(row[name], list) else [{}]:
        try:
            role = turn["from"] if "from" in turn else turn["role"]
            text = turn["value"] if "value" in turn else turn["content"]
            if not isinstance(text, str):  # in parts, of which the image is one
                text = "".join(part["text"] for part in text if part["type"] == "text")
            elif role in _ASKS:
                text = _without_marker(text)
        except (TypeError, KeyError):
            raise ValueError(f": field {name!r} is not a list of turns") from None
        if role in _ASKS:
            question = text
        elif role in _ANSWERS and question is not None:
            yield {"image_file": image, "question": question, "answer": text}
            question = None
        elif role != "system":
            raise ValueError(f": field {name!r}: {str(role)[:40]!r} has no question before it")


def _without_marker(question: str) -> str:
    """A question without the mark of the image, which stands first, or last as LLaVA has it."""
    if question.startswith("<image>\n"):
        return question.removeprefix("<image>\n")
    return question.removesuffix("\n<image>")


# What writes pairs in a form: to an open file, their images relative to a data folder.
FORMS = {"messages": _messages, "llava": _llava, "parquet": _parquet}
