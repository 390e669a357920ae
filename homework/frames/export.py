"""Write question/answer pairs in the forms that other programs read, and read two of them back.

messages: a JSON object per line, the chat form of TRL and others.
    {"messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": Q}]},
                  {"role": "assistant", "content": [{"type": "text", "text": A}]}],
     "images": ["train/00000_00_im.jpg"]}
llava: a JSON list, as LLaVA and the programs after it read it.
    {"id": "train/00000_00_im-0", "image": "train/00000_00_im.jpg", "conversations":
     [{"from": "human", "value": "<image>\nQ"}, {"from": "gpt", "value": A}]}
parquet: a folder in the layout of the hub, with the columns image (embedded), question, answer and
    image_file, for `datasets.load_dataset`.

Pictures are named relative to the data folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ..common import quick_json
from ..common.errors import InputError
from ..common.files import Opener, atomic_write, read_plain
from .pictures import MAX_PICTURE_BYTES

Row = tuple[str, str, str]  # image_file, question, answer
Pair = Mapping[str, str]  # image_path, question, answer
ROWS = 1000  # in a row group of parquet: its dictionary then holds each picture once


def write(
    form: str,
    pairs: Sequence[Pair],
    data_dir: Path,
    file: Path,
    open_file: Opener = atomic_write,
) -> None:
    """Write pairs to a file, whole or not at all.

    Args:
        form: one of FORMS.
        data_dir: the folder that the pictures are named from.
        open_file: opens `file`; see `common.outputs`.

    Raises:
        InputError: a picture cannot be read.
    """
    files = (Path(pair["image_path"]).relative_to(data_dir).as_posix() for pair in pairs)
    rows = [(name, p["question"], p["answer"]) for name, p in zip(files, pairs, strict=True)]
    with open_file(file) as opened:
        FORMS[form](opened, rows, data_dir)


def file_to_write(form: str, output: Path, split: str) -> Path:
    """The file for `output`; of parquet the split's file in a folder that `load_dataset` reads.

    Raises:
        InputError: there is no such form, or parquet lacks its package.
    """
    if form not in FORMS:
        raise InputError(f"--format: {form!r}; give one of {', '.join(FORMS)}")
    if form != "parquet":
        return output
    try:
        import datasets  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        line = "--format parquet needs datasets: pip install -r requirements-export.txt"
        raise InputError(line) from None
    name = re.sub(r"\W", "_", split)  # other names are no splits there
    return output / "data" / f"{name}-00000-of-00001.parquet"


def _messages(file: BinaryIO, rows: list[Row], data_dir: Path) -> None:
    for image_file, question, answer in rows:
        asked = [{"type": "image"}, {"type": "text", "text": question}]
        told = [{"type": "text", "text": answer}]
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": told}]
        file.write(quick_json.dumps({"messages": turns, "images": [image_file]}) + b"\n")


def _llava(file: BinaryIO, rows: list[Row], data_dir: Path) -> None:
    for number, (image_file, question, answer) in enumerate(rows):
        turns = [{"from": "human", "value": f"<image>\n{question}"}]
        turns.append({"from": "gpt", "value": answer})
        row = {"id": f"{image_file}-{number}", "image": image_file, "conversations": turns}
        file.write((b",\n" if number else b"[\n") + quick_json.dumps(row))
    file.write(b"\n]\n")


def _parquet(file: BinaryIO, rows: list[Row], data_dir: Path) -> None:
    import pyarrow  # pyright: ignore[reportMissingImports]
    from datasets import (  # pyright: ignore[reportMissingImports]
        Features,
        Image,
        Value,
    )
    from pyarrow.parquet import ParquetWriter  # pyright: ignore[reportMissingImports]
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
            try:
                data = read_plain(data_dir / image_file, MAX_PICTURE_BYTES)
            except OSError as error:
                line = f"{data_dir / image_file}: cannot be read ({error.strerror})"
                raise InputError(line) from None
            picture = {"bytes": data, "path": image_file}
        row = {"question": question, "answer": answer, "image_file": image_file}
        yield {"image": picture, **row}


# --- reading back ---

_ASKS, _ANSWERS = ("human", "user"), ("gpt", "assistant")


def conversation_pairs(row: Any) -> Iterator[Any]:
    """The pairs of an object of messages or llava, one for each answer; any other value as it is.

    Raises:
        ValueError: it has another form; the message continues a line that begins with its number.
    """
    name = next(
        (n for n in ("messages", "conversations") if isinstance(row, dict) and n in row), ""
    )
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
            if not isinstance(text, str):  # in parts, of which the picture is one
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
    """A question without the mark of the picture, which stands first, or last as LLaVA has it."""
    if question.startswith("<image>\n"):
        return question.removeprefix("<image>\n")
    return question.removesuffix("\n<image>")


FORMS = {"messages": _messages, "llava": _llava, "parquet": _parquet}
