"""Corrupted inputs, made from whole ones by fixed rules: info files, QA files and images.

    python tests/corrupted.py

prints how many there are of each kind and how each ended. An input ends well in one of three
ways: "one line" (an InputError), "skipped" (left out and counted) or "read" (its meaning is
not in doubt, as with a byte order mark). Anything else is a fault.
"""

from __future__ import annotations

import io
import json
import os
import random
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from homework.common.errors import InputError

ONE_LINE, SKIPPED, READ = "one line", "skipped", "read"
GIGABYTE = 1 << 30

INFO = {
    "track": "abyss",
    "karts": ["tux", "gnu"],
    "detections": [[[1, 0, 100, 100, 200, 200], [1, 1, 300, 100, 420, 230]]],
}
_IMAGE = {"image_file": "train/00000_00_im.jpg"}
QA = [
    {"question": "What track is this?", "answer": "abyss", **_IMAGE},
    {"question": "What kart is the ego car?", "answer": "tux", **_IMAGE},
]
MISSING = object()
DEEP = [[]]
for _ in range(300):
    DEEP = [DEEP]
VALUES: dict[str, Any] = {
    "missing": MISSING,
    "null": None,
    "true": True,
    "negative": -1,
    "huge": 10**30,
    "float": 1e308,
    "nan": float("nan"),
    "infinity": float("inf"),
    "empty text": "",
    "text": "x\ny" * 400,
    "half a character": "\ud800",
    "zero byte": "\0",
    "empty list": [],
    "deep": DEEP,
    "object": {"a": {"b": [1]}},
}


class Case(NamedTuple):
    """One corrupted input: `content` is what the file holds, or what writes it."""

    name: str
    content: bytes | Callable[[Path], object]

    def write(self, file: Path) -> None:
        """Put the input at `file`."""
        if callable(self.content):
            self.content(file)
        else:
            file.write_bytes(self.content)


def json_cases(whole: Any) -> Iterator[Case]:
    """Every value inside `whole` replaced by each of VALUES, and files that are no JSON at all."""
    for path in _paths(whole):
        for label, value in VALUES.items():
            if value is not MISSING or path:
                yield Case(
                    f"{'/'.join(map(str, path)) or 'root'} = {label}",
                    json.dumps(_replaced(whole, path, value)).encode(),
                )
    text = json.dumps(whole)
    yield from (Case(f"cut at {n} of 8", text[: len(text) * n // 8].encode()) for n in range(8))
    yield Case("byte order mark", text.encode("utf-8-sig"))
    yield Case("UTF-16", text.encode("utf-16"))
    yield Case("UTF-32", text.encode("utf-32"))
    yield Case("Latin-1", text.replace("tux", "t\xfcx").replace("abyss", "\xe4").encode("latin-1"))
    yield Case("twice", (text + text).encode())
    yield Case("zero bytes", bytes(1000))
    yield Case("noise", random.Random(0).randbytes(1000))
    yield Case("100,000 brackets", b"[" * 100_000)
    yield Case("100,000 objects", b'{"a":' * 100_000)
    yield Case("a number of 100,000 digits", text.replace('"abyss"', "9" * 100_000).encode())
    yield Case("a gigabyte of nesting", lambda file: sparse(file, b"[" * 4096))
    yield Case("a folder", lambda file: file.mkdir())
    yield Case("a pipe", os.mkfifo)
    yield Case("a link to itself", lambda file: file.symlink_to(file))


def sparse(file: Path, start: bytes) -> None:
    """Write a file of over a gigabyte that takes no room on the disk."""
    file.write_bytes(start)
    os.truncate(file, GIGABYTE + 1)


def _paths(value: Any, path: tuple = ()) -> Iterator[tuple]:
    yield path
    if not isinstance(value, dict | list):
        return
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        # One row, one pair: the second of a kind would only repeat the first.
        if not (isinstance(value, list) and key > 0 and isinstance(inner, dict | list)):
            yield from _paths(inner, (*path, key))


def _replaced(whole: Any, path: tuple, value: Any) -> Any:
    if not path:
        return value
    key, *rest = path
    changed = dict(whole) if isinstance(whole, dict) else list(whole)
    if not rest and value is MISSING:
        del changed[key]
    else:
        changed[key] = _replaced(whole[key], tuple(rest), value)
    return changed


def picture(format: str = "JPEG", mode: str = "RGB", size: tuple = (150, 100), **options) -> bytes:
    """An image of coloured noise, as the file that Pillow writes."""
    from PIL import Image

    image = Image.effect_noise(size, 90)
    image = Image.new(mode, size, 40_000) if mode == "I;16" else image.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def image_cases() -> Iterator[Case]:
    """Images cut short, damaged, of absurd sizes, of other formats, and no images at all."""
    whole, png = picture(), picture("PNG")
    yield from (Case(f"cut at {n} of 12", whole[: len(whole) * n // 12]) for n in range(12))
    yield from (Case(f"PNG cut at {n} of 6", png[: len(png) * n // 6]) for n in range(1, 6))
    for seed in range(24):
        rng, damaged = random.Random(seed), bytearray(whole)
        for _ in range(8):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        yield Case(f"eight bytes changed, seed {seed}", bytes(damaged))
    start = whole.index(b"\xff\xc0") + 5  # of height and width in the frame header
    for height, width in ((65535, 65535), (0, 150), (100, 0), (8000, 8000), (65535, 1)):
        size = struct.pack(">HH", height, width)
        yield Case(f"declares {width}x{height}", whole[:start] + size + whole[start + 4 :])
    for width, height in ((2**31 - 1, 2**31 - 1), (0, 0), (10**6, 10**6)):
        size = struct.pack(">II", width, height)
        yield Case(f"PNG declares {width}x{height}", png[:16] + size + png[24:])
    for mode in ("L", "CMYK"):
        yield Case(f"JPEG {mode}", picture(mode=mode))
    for mode in ("L", "LA", "RGBA", "P", "1", "I;16"):
        yield Case(f"PNG {mode}", picture("PNG", mode))
    frames = [_plain(color) for color in ("red", "blue")]
    yield Case("animated PNG", picture("PNG", save_all=True, append_images=frames))
    yield Case("animated GIF", picture("GIF", "P", save_all=True, append_images=frames))
    for format in ("GIF", "BMP", "TIFF", "WEBP", "EPS", "ICO"):
        yield Case(format, picture(format))
    yield Case("PostScript that would be run", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    yield Case("empty", b"")
    yield Case("text", b"not an image\n" * 100)
    yield Case("noise", random.Random(0).randbytes(5000))
    yield Case("only a start marker", b"\xff\xd8\xff")
    yield Case("a gigabyte of nothing", lambda file: sparse(file, b""))
    yield Case("a gigabyte behind half a JPEG", lambda file: sparse(file, whole[:1500]))
    yield Case("a folder", lambda file: file.mkdir())
    yield Case("a pipe", os.mkfifo)
    yield Case("missing", lambda file: None)


def _plain(color: str):
    from PIL import Image

    return Image.new("RGB", (150, 100), color)


# --- what reads them ---


def read_info(folder: Path, case: Case) -> str:
    """`generate` and `check` on a split whose second info file is the corrupted one."""
    from homework import generate_qa
    from homework.frames.qa_write import write_pairs
    from homework.frames.split import list_split

    split = folder / "train"
    split.mkdir(parents=True)
    (split / "00000_info.json").write_text(json.dumps(INFO))
    for number in range(2):
        (split / f"{number:05d}_00_im.jpg").write_bytes(IMAGE)
    case.write(split / "00001_info.json")
    summary = write_pairs(list_split(split), folder / "pairs.json", 1)
    written = json.loads((folder / "pairs.json").read_bytes())
    assert len(written) == summary.pairs.total() > 0
    try:
        generate_qa.check(str(split / "00001_info.json"), 0, str(folder / "seen.png"))
    except InputError as error:
        assert_one_line(error)
    return SKIPPED if summary.skipped.counts else READ


def read_qa(folder: Path, case: Case) -> str:
    """VQADataset of a split whose QA file is the corrupted one."""
    from homework.data import VQADataset

    split = folder / "train"
    split.mkdir(parents=True)
    (split / "00000_00_im.jpg").write_bytes(IMAGE)
    case.write(split / "train_qa_pairs.json")
    for item in VQADataset("train", folder):
        json.dumps(item).encode().decode()
        " ".join(item.values()).encode()  # can be printed
    return READ


def read_image(folder: Path, case: Case) -> str:
    """`open_image` on the corrupted one."""
    from homework.frames.images import open_image

    folder.mkdir()
    case.write(folder / "00000_00_im.jpg")
    opened = open_image(folder / "00000_00_im.jpg")
    assert opened.mode == "RGB" and opened.size[0] * opened.size[1] <= 50_000_000
    return READ


IMAGE = picture()
KINDS: dict[str, tuple[Callable[[], Iterator[Case]], Callable[[Path, Case], str]]] = {
    "info file": (lambda: json_cases(INFO), read_info),
    "QA file": (lambda: json_cases(QA), read_qa),
    "picture": (image_cases, read_image),
}


def outcome(kind: str, case: Case, folder: Path) -> str:
    """How reading the case ends; whatever is not one of the three good ends is raised."""
    try:
        return KINDS[kind][1](folder, case)
    except InputError as error:
        assert_one_line(error)
        return ONE_LINE


def assert_one_line(error: Exception) -> None:
    """A message for people: one line, not too long, printable."""
    text = str(error)
    assert text and "\n" not in text and len(text) < 1000, text[:2000]
    text.encode()


def main() -> None:
    """Print the table, and as one line of JSON."""
    import contextlib
    import tempfile

    import corrupted_checkpoints

    KINDS.update(corrupted_checkpoints.KINDS)
    table: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        for kind, (cases, _) in KINDS.items():
            for number, case in enumerate(cases()):
                with contextlib.redirect_stdout(io.StringIO()):
                    end = outcome(kind, case, Path(folder) / f"{kind}-{number}")
                table[kind][end] += 1
    ends = (ONE_LINE, SKIPPED, READ)
    print(f"{'input':16}{'corrupted':>10}" + "".join(f"{end:>10}" for end in ends))
    for kind, counts in table.items():
        print(f"{kind:16}{counts.total():10}" + "".join(f"{counts[end]:10}" for end in ends))
    print(json.dumps(table))


if __name__ == "__main__":
    # The checkpoints' module imports this one by name.
    sys.modules["corrupted"] = sys.modules["__main__"]
    main()
