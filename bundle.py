"""Pack the homework folder into the zip that is handed in.

    python3 bundle.py homework ID
    python3 bundle.py homework ID --course

writes ID.zip into the current directory. The zip holds one top-level folder, `homework`, with
the code, the embedded base and the current adapter. Caches, logs, old checkpoints and README.md
are left out. Other files are listed and left out, unless --include names them. The same tree
always gives the same bytes. Needs only the standard library.

--course then grades the zip with the course's versions of the packages and by its rules. The first
time it makes an environment for that, .venv-course, which takes minutes and gigabytes.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from grader.errors import printable
from grader.interpreter import COURSE_PINS
from grader.packing import (
    ADAPTER,
    DATE,
    LIMIT_BYTES,
    TOP,
    BundleError,
    base_warning,
    members,
    size_text,
    write_zip,
)

# What is packed: code, and what Hugging Face's libraries and torch save of a model. Of other files
# nobody knows whether they belong in the zip.
CODE = ("*.py", "*.css", "*.html", "*.js", "model_card.md")
MODEL = (
    "*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json", "*.pt", "*.pth",
    "config.json", "generation_config.json", "adapter_config.json", "base.json",
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "chat_template.*",
    "processor_config.json", "preprocessor_config.json",
)  # fmt: skip
CARD = "README.md"  # of a model; no grader reads it
# Folders of other programs, whatever is in them.
FOREIGN = ("mlruns", "wandb", "lightning_logs", "node_modules", "site-packages")

ROOT = Path(__file__).resolve().parent
TABLE_ROWS = 8
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_PINNED = re.compile(r"^((?:torch|transformers)==.*)$", re.MULTILINE)
_TRAIN = "train first: python -m homework.finetune train"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        self.exit(2, f"error: {message}; see python3 bundle.py --help\n")


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(
        prog="python3 bundle.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("folder", type=Path, metavar="homework", help="the homework folder")
    parser.add_argument("id", metavar="ID", help="your ID: the zip is ID.zip")
    parser.add_argument(
        "--include",
        action="append",
        default=[],
        metavar="FILE",
        help="pack this file, too, such as words.txt or lists/*.csv (may be given several times)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace any file of the name ID.zip"
    )
    parser.add_argument(
        "--course", action="store_true", help="grade the zip as the course does, too"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    try:
        options = _parse(arguments)
    except SystemExit as stop:  # wrong arguments, or --help
        return int(stop.code or 0)
    target = Path(f"{options.id}.zip")
    try:
        if not _ID.fullmatch(options.id):
            raise BundleError(
                f"ID {options.id!r}: use letters, digits, '-' and '_' only (and no '.zip')"
            )
        files, others = choose(members(options.folder), options.include)
        require_adapter(options.folder)
        if not (options.overwrite or is_bundle(target)):
            raise BundleError(
                f"{target}: what is there was not packed by bundle.py; move it, or replace it "
                "with --overwrite"
            )
        infos = write_zip(files, target)
    except BundleError as error:
        print(printable(f"error: {error}"), file=sys.stderr)
        return 1
    except OSError as error:
        # str() of it may hold a second file name; the first is the one to look at.
        reason = f"{error.filename or target}: {error.strerror or error}"
        print(f"error: {reason}; make room or change the rights there", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"stopped by Ctrl-C; {target} was not written", file=sys.stderr)
        return 130
    print(size_table(infos, target, others))
    if warning := base_warning(options.folder):
        print(printable(warning))
    if options.course:
        return _grade_as_the_course(target)
    print(_versions())
    return 0


def is_bundle(target: Path) -> bool:
    """Whether a file is a zip of this program; also if there is none, or an empty one."""
    if not target.exists():
        return True
    if not target.is_file():
        return target.is_dir()  # which the system refuses to replace
    try:
        with zipfile.ZipFile(target) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError):
        return not target.stat().st_size
    return all(info.date_time == DATE and info.filename.startswith(f"{TOP}/") for info in entries)


def _grade_as_the_course(target: Path) -> int:
    """Grade the zip on the course's questions, or on those of the shipped frames."""
    from grader.__main__ import main as grade

    print(flush=True)
    asked = ROOT / "data" / "valid_grader"
    split = asked.name if any(asked.glob("*_qa_pairs.json")) else f"sample_{asked.name}"
    return grade([str(target), "--course", "--split", split])


def _versions() -> str:
    """Which versions this package was tested with; the zip itself was not tried with any."""
    tested = [
        f"{' and '.join(_PINNED.findall(file.read_text('utf-8')))} ({file.name})"
        for file in (COURSE_PINS, ROOT / "requirements.txt")
        if file.is_file()
    ]
    return (
        f"the package is tested with {', and with '.join(tested)}; "
        "--course grades this zip with the first ones"
    )


def choose(
    files: Mapping[str, Path], include: Iterable[str] = ()
) -> tuple[dict[str, Path], list[str]]:
    """The files to pack, and the names of the others.

    Args:
        files: as `members` returns them.
        include: names or patterns of other files to pack, as paths in the homework folder or as
            names alone.

    Raises:
        BundleError: there is no file for one of `include`.
    """
    packed = {name for name in files if _is_own(name)}
    for pattern in include:
        inside = pattern.removeprefix("./").removeprefix(f"{TOP}/")
        found = [
            name
            for name in files
            if fnmatchcase(name.removeprefix(f"{TOP}/"), inside)
            or fnmatchcase(name.rpartition("/")[2], inside)
        ]
        if not found:
            raise BundleError(f"--include {pattern}: no such file, or one that is never packed")
        packed.update(found)
    others = [n for n in files if n not in packed and n.rpartition("/")[2] != CARD]
    return {name: file for name, file in files.items() if name in packed}, others


def _is_own(name: str) -> bool:
    *folders, file = name.split("/")
    if any(folder in FOREIGN for folder in folders):
        return False
    return any(fnmatchcase(file, pattern) for pattern in (*CODE, *MODEL))


def require_adapter(folder: str | Path) -> None:
    """Raise BundleError unless the folder holds a trained adapter, whole as far as can be told.

    An adapter of PEFT's own has no base.json. Training moves its files there from adapter.partial,
    the configuration before the weights and base.json last: in between they are of two adapters.
    """
    config, weights, base = (Path(folder) / name for name in ADAPTER)
    left = {path.name for path in (base.parent / "adapter.partial").glob("*")}
    moving = left and config.name not in left
    for path in (config, weights, base):
        if path == base and not path.exists() and not moving:
            continue
        if not path.is_file():
            fix = _TRAIN
            if path == weights and path.with_name("adapter_model.bin").is_file():
                fix = f"python -m homework.finetune test {path.parent} says how to make it"
            raise BundleError(f"{path}: missing; {fix}")
        if fault := _weights_fault(path) if path.suffix == ".safetensors" else _json_fault(path):
            raise BundleError(f"{path}: {fault}; {_TRAIN}, or python -m homework.finetune restore")


def _json_fault(path: Path) -> str | None:
    """What is wrong with a settings file, or None."""
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return "is not valid JSON"
    if not isinstance(value, dict):
        return "is not a JSON object"
    if path.name == "base.json" and not isinstance(value.get("base"), str):
        return "does not name the base (field 'base')"
    return None


def _weights_fault(path: Path) -> str | None:
    """Whether a safetensors file is cut short: its header says where each tensor ends."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if length <= size - 8 else b""
    try:
        tensors = json.loads(header)
        tensors.pop("__metadata__", None)
        end = max((one["data_offsets"][1] for one in tensors.values()), default=0)
    except (ValueError, AttributeError, LookupError, TypeError, RecursionError):
        return "is damaged (its header cannot be read)"
    found = size - 8 - length
    return None if end == found else f"is damaged ({found} bytes of weights, {end} expected)"


def size_table(infos: Sequence[zipfile.ZipInfo], target: Path, others: Iterable[str] = ()) -> str:
    """The largest files with their sizes, then the zip's own size against the limit.

    Args:
        others: names of the files that were left out because nobody knows what they are.
    """
    rows = sorted(infos, key=lambda info: (-info.compress_size, info.filename))
    lines = [f"{'size':>10}  {'in the zip':>10}  file"]
    for info in rows[:TABLE_ROWS]:
        lines.append(
            f"{size_text(info.file_size):>10}  {size_text(info.compress_size):>10}  {info.filename}"
        )
    if rest := rows[TABLE_ROWS:]:
        size, packed = sum(i.file_size for i in rest), sum(i.compress_size for i in rest)
        lines.append(f"{size_text(size):>10}  {size_text(packed):>10}  ({len(rest)} more files)")
    if named := _grouped(others, [info.filename for info in infos]):
        lines.append("not packed, neither code nor model (--include FILE packs one, too):")
        lines += [f"    {name}" for name in named]
    total = target.stat().st_size
    share = f"{size_text(total)} of at most {size_text(LIMIT_BYTES)} ({total / LIMIT_BYTES:.0%})"
    lines.append(f"{target}: {share}, {len(infos)} files")
    return "\n".join(lines)


def _grouped(names: Iterable[str], packed: Collection[str]) -> list[str]:
    """`names`; a folder of which nothing is packed is named once, with the number of its files."""
    above = {
        "/".join(name.split("/")[:depth])
        for name in packed
        for depth in range(1, name.count("/") + 1)
    }
    found: Counter[str] = Counter()
    for name in names:
        parts = name.split("/")
        folders = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        found[next((f"{folder}/" for folder in folders if folder not in above), name)] += 1
    return [f"{name} ({count} files)" if count > 1 else name for name, count in found.items()]


if __name__ == "__main__":
    # A file's name may hold letters that the terminal's encoding lacks.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(main(sys.argv[1:]))
