"""python benchmarks/fuzz_grader.py [--cases 10000] [--children 100] [--seed 0] [--seconds 600]

Random replies and random zips against the grader: whatever comes, it must end in a value or in
the one line for a submission's fault. A case that ends in another exception, takes over 10 s, or
writes outside its folder stops the run with the case's number; so does growth of this process by
more than 200 MB. The same seed gives the same cases.

    replies   `read_reply` and `read_denial`, and what `grade` does with the values
    children  the same through a real process that writes, waits, closes or ends as it likes
    zips      `submission.unpack`, on zips with changed bytes and on zips made of odd entries
"""

from __future__ import annotations

import argparse
import io
import json
import random
import resource
import shutil
import struct
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from grader import course, grade, process, replies, submission  # noqa: E402
from grader.errors import GraderError, SubmissionError, safe_lines  # noqa: E402
from grader.labels import Question  # noqa: E402
from grader.report import Report  # noqa: E402

assert sys.platform != "win32"

MAX_CASE_S, MAX_GROWTH_KB = 10.0, 200_000
QUESTIONS = [Question("valid/0.jpg", "How many karts?", "1")] * 40
ODD = ["1e999", "NaN", "-1", "9" * 4000, "9" * 5000, "1e400", '"\\ud800"', "[" * 2000, "{}", "null",
       '{"a":' * 900, "true", '"' + "x" * 20_000 + '"', "\x00", "\xff"]  # fmt: skip
# Runs in the place of child.py: answers the first request properly, then does as it was told.
CHILD = """
import os, sys, time
steps = {steps!r}
os.write(1, b'{{"id": 1, "value": null}}\\n')
for do, what in steps:
    if do == "write": os.write(1, what)
    elif do == "read": os.read(0, what)
    elif do == "sleep": time.sleep(what)
    elif do == "close": os.close(what)
    elif do == "print": os.write(2, what)
    elif do == "kill": os.kill(os.getpid(), what)
    else: os._exit(what)
"""


def random_line(rng: random.Random, number: int) -> bytes:
    """A reply to request `number`, mostly a damaged one."""
    values = [5_000_000, None, ["1"] * 32, ["1"] * 8, {"package.data": False}, [1] * 32, "x", -1.5]
    error = {
        "message": "m" * rng.choice([1, 30_000]),
        "traceback": rng.choice(["t", 7, "x\n" * 99]),
    }
    reply = {"id": rng.choice([number, number, number, 0, str(number), True])}
    reply |= rng.choice([{"value": rng.choice(values)}, {"error": error}, {"error": 7}, {}])
    text = json.dumps(rng.choice([reply, reply, reply, [reply], {"denied": error["message"]}]))
    kind = rng.random()
    if kind < 0.4:
        place = rng.randrange(len(text))
        text = text[:place] + rng.choice(ODD) + text[place + rng.choice([0, 1, 9]) :]
    elif kind < 0.41:  # what grows most when it is read
        text = text[:-1] + ', "x": [' + rng.choice(["[],", "{},", "1,"]) * 1_200_000 + "0]}"
    elif kind < 0.5:
        text = text.replace(str(number), rng.choice(ODD), 1)
    line = bytearray(text.encode(errors="surrogatepass"))
    for _ in range(rng.choice([0, 0, 1, 5])):
        line[rng.randrange(len(line))] = rng.randrange(256)
    return bytes(line[: replies.MAX_REPLY_BYTES])


class Replies:
    """Stands in for `process.Child`: every call is answered by a random line."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._number = 0

    def call(self, do: str, deadline: float, over: str, **arguments: object) -> object:
        """As `Child.call`."""
        self._number += 1
        line = random_line(self._rng, self._number)
        replies.read_denial(line)
        return replies.read_reply(line, self._number)


def ask(child: Any, rng: random.Random, limit: float) -> None:
    """Ask a Child, or Replies, and judge as `grade` does."""
    grading = grade._Grading(QUESTIONS, "valid_grader", limit, Report(out=io.StringIO()))
    grading.child, grading._deadline = child, time.monotonic() + limit
    what: Callable[[], object] = rng.choice(
        [
            lambda: grade._check_parameters(grading._call("parameters", "x")),
            lambda: grading.answer(Path("data")),
            lambda: course.of_model(grading._call("load", "x")),
            lambda: grading._call("interface", "x", split="valid_grader", count=4),
        ]
    )
    try:
        what()
    except SubmissionError as error:
        assert "\n" not in str(error) and len(str(error)) <= 400
        safe_lines(error.details)


def one_reply(rng: random.Random, folder: Path) -> None:
    """One case of `replies`."""
    ask(Replies(rng), rng, 1.0)


def one_child(rng: random.Random, folder: Path) -> None:
    """One case of `children`."""
    steps = []
    for _ in range(rng.randrange(8)):
        lines = b"".join(random_line(rng, rng.randrange(2, 5)) + b"\n" for _ in range(3))
        steps.append(
            rng.choice(
                [
                    ("write", lines[:60_000]),
                    ("write", rng.randbytes(rng.choice([1, 60_000]))),
                    ("write", b'{"denied": ' + lines[:60_000]),
                    ("print", rng.randbytes(60_000)),
                    ("read", 10_000),
                    ("sleep", rng.choice([0.0, 0.05, 60.0])),
                    ("close", rng.randrange(3)),
                    ("kill", rng.choice([9, 11, 19])),
                    ("exit", rng.randrange(256)),
                ]
            )
        )
    process.CHILD = folder / "child.py"
    process.CHILD.write_text(CHILD.format(steps=steps))
    with process.Child(folder, None) as child:
        for _ in range(3):
            ask(child, rng, 0.5)
    safe_lines(child.output())


def random_zip(rng: random.Random) -> bytes:
    """A zip of odd entries, often with changed bytes."""
    file = io.BytesIO()
    method = rng.choice([0, 8, 8, 8, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("homework/__init__.py", "x = 1")
        for number in range(rng.choice([0, 1, 3, 30])):
            parts = [
                "a",
                "..",
                ".",
                "",
                "B",
                "x" * 300,
                "\u00e9",
                "e\u0301",
                "c:",
                "d\\e",
                "n\nl",
                "\0",
            ]
            name = rng.choice(["homework/", "homework/", "", "/"])
            name += "/".join(rng.choice(parts[: rng.choice([1, 1, 1, 12])]) for _ in range(3))
            name = name + rng.choice([str(number), "/", "/d" * rng.choice([1, 40, 3000])])
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = name
            info.external_attr = rng.choice([0o100644, 0o100644, 0o120777, 0o40755, 0o10644]) << 16
            info.compress_type = rng.choice([method, method, 0])
            info.extra = rng.choice([b"", b"", rng.randbytes(12)])
            archive.writestr(info, bytes(rng.choice([0, 10, 10_000, 10_000, 300_000])))
        archive.comment = bytes(rng.choice([0, 0, 9, 65_535]))
    data = bytearray(file.getvalue())
    for _ in range(rng.choice([0, 0, 1, 4, 30])):
        # Mostly in the headers; contents only have a checksum to be wrong.
        marks = [m for m in (b"PK\1\2", b"PK\5\6", b"PK\3\4") if m in data]
        start = data.rfind(rng.choice(marks)) if marks and rng.random() < 0.8 else 0
        place = rng.randrange(start, min(len(data), start + 60) if start else len(data))
        data[place] = rng.choice([rng.randrange(256), 0, 255])
    if rng.random() < 0.1:  # a size or offset that is a lie
        place = rng.randrange(len(data) - 4)
        data[place : place + 4] = struct.pack("<I", rng.choice([2**32 - 1, 2**31, 10**9, 0]))
    if rng.random() < 0.1:
        del data[rng.randrange(len(data)) :]
    return bytes(data) + rng.choice([b"", b"", b"", rng.randbytes(9), bytes(70_000)])


def one_zip(rng: random.Random, folder: Path) -> None:
    """One case of `zips`."""
    (folder / "ID.zip").write_bytes(random_zip(rng))
    (folder / "private").mkdir()
    try:
        submission.unpack(folder / "ID.zip", folder / "private")
    except (SubmissionError, GraderError) as error:
        assert "\n" not in str(error)
    assert {path.name for path in folder.iterdir()} == {"ID.zip", "private"}
    shutil.rmtree(folder / "private")


def run(name: str, one: Callable[[random.Random, Path], None], cases: int, options) -> dict:
    """Run the cases of one kind; returns what was measured."""
    start, before, slowest = time.monotonic(), _peak_kb(), 0.0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(cases):
            began = time.monotonic()
            if began - start > options.seconds:
                print(f"{name}: stopped after {number} cases, the {options.seconds} s are over")
                cases = number
                break
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # zipfile's, of names that come twice
                try:
                    one(random.Random(f"{options.seed} {name} {number}"), Path(folder))
                except Exception as error:
                    raise SystemExit(f"{name}: case {number}: {error!r}") from error
            slowest = max(slowest, time.monotonic() - began)
            if slowest > MAX_CASE_S or _peak_kb() - before > MAX_GROWTH_KB:
                growth = _peak_kb() - before
                raise SystemExit(f"{name}: case {number}: {slowest:.1f} s, {growth} kB more")
            if number % 1000 == 999:
                print(f"{name}: {number + 1} of {cases} cases", flush=True)
    return {
        "cases": cases,
        "seconds": round(time.monotonic() - start, 1),
        "slowest_seconds": round(slowest, 3),
        "growth_kb": _peak_kb() - before,
    }


def _peak_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Run every kind, print the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=10_000, help="of replies, and of zips")
    parser.add_argument("--children", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=600, help="at most, for each kind")
    options = parser.parse_args()
    process.interpreter.BEFORE_THE_LOCK = ()
    kinds = {
        "zips": (one_zip, options.cases),
        "replies": (one_reply, options.cases),
        "children": (one_child, options.children),
    }
    found = {name: run(name, one, cases, options) for name, (one, cases) in kinds.items()}
    print(json.dumps({"benchmark": "fuzz_grader", "seed": options.seed, **found}))


if __name__ == "__main__":
    main()
