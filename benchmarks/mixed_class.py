"""A class to try the grader on: half good submissions, three tenths hostile, two tenths broken."""

from __future__ import annotations

import random
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from fake_submission import GOOD, make_zip  # noqa: E402
from hostile_submissions import (  # noqa: E402
    ATTEMPTS,
    FORGERIES,
    OVER_A_LIMIT,
    forgery,
    numbers,
    submission,
)

from grader import packing  # noqa: E402

# Appended to the shipped package: a model that is wrong more often, or needs more time.
_WORSE = """

def load_vlm():
    import time, zlib
    from .finetune import load_vlm as load
    model = load()
    answer = model.answer

    def worse(image_paths, questions):
        end = time.process_time() + {seconds}
        while time.process_time() < end:
            pass
        found = answer(image_paths, questions)
        keys = [f"{{str(p)[-20:]}} {{q}}" for p, q in zip(image_paths, questions)]
        return ["?" if zlib.crc32(k.encode()) % 100 < {wrong} else a for k, a in zip(keys, found)]

    model.answer = worse
    return model
"""
_TAKES_ALL_PROCESSORS = """
import hashlib, os, threading
try: os.sched_setaffinity(0, range(os.cpu_count()))
except OSError: pass
def work():
    while True: hashlib.sha256(bytes(10 ** 8))
for _ in range(16): threading.Thread(target=work, daemon=True).start()
threading.Event().wait()
"""
_MODEL = (
    "class Model:\n    def answer(self, image_paths, questions):\n        {}\n"
    "def load_vlm():\n    return Model()\n"
)
# Of the image, in the tests' own data; images have other names here.
_FAKE_NUMBER = 'int(Path(path).name.split("_")[0])'
_BROKEN: dict[str, bytes | dict[str, str]] = {
    "empty": b"",
    "no zip": b"Rar!\x1a\x07\x00 not a zip",
    "no package": {"notes.txt": "see you"},
    "no load_vlm": GOOD | {"__init__.py": "from . import data\n"},
    "syntax": GOOD | {"vlm.py": "def load_vlm(:\n"},
    "import": GOOD | {"vlm.py": "import a_package_that_nobody_has\n"},
    "no model": GOOD | {"vlm.py": "def load_vlm():\n    return None\n"},
    "no weights": GOOD | {"vlm.py": "def load_vlm():\n    open('homework/model.bin', 'rb')\n"},
    "too few": GOOD | {"vlm.py": _MODEL.format("return ['left']")},
    "numbers": GOOD | {"vlm.py": _MODEL.format("return [1] * len(questions)")},
    "error": GOOD | {"vlm.py": _MODEL.format("return [{}[q] for q in questions]")},
}
SLOW_EVERY = 10  # one good submission of so many needs most of the time that it may use


def make(folder: Path, count: int, seed: int, time_limit: float) -> dict[str, str]:
    """Write `count` zips, half of them named as Canvas does; each sort's bytes are all different.

    Args:
        time_limit: of the grading, in seconds; slow ones use 60% of it.

    Returns:
        File name -> "good", "hostile" or "broken".
    """
    folder.mkdir(parents=True)
    rng = random.Random(seed)
    package = packing.members(ROOT / "homework")
    good, hostile = (count + 1) // 2, count * 3 // 10
    sorts = ["good"] * good + ["hostile"] * hostile + ["broken"] * (count - good - hostile)
    order = rng.sample(range(count), count)  # who is beside whom
    hostiles, made = _hostile(rng, folder), {}
    for number, place in enumerate(order):
        sort = sorts[number]
        name = f"s{place:03}.zip"
        if place % 2:
            name = f"student{place:03}_{'LATE_' * (place % 5 == 0)}{7000 + place}_{place}_{name}"
        path = folder / name
        if sort == "good":
            packing.write_zip(package, path)
            slow = 0.6 * time_limit / 4 if number % SLOW_EVERY == 1 else 0.0
            _change(path, number, _WORSE.format(seconds=slow, wrong=rng.randrange(0, 80)))
        elif sort == "hostile":
            files = hostiles[number % len(hostiles)]
            make_zip(path, files | {"vlm.py": files["vlm.py"].replace(_FAKE_NUMBER, "0")})
            _change(path, number)
        else:
            content = [*_BROKEN.values()][number % len(_BROKEN)]
            if isinstance(content, bytes):
                path.write_bytes(content + b"\0" * number)
            else:
                _change(make_zip(path, content), number)
        made[name] = sort
    return made


def _change(path: Path, number: int, appended: str = "") -> None:
    """Make a zip's bytes its own; `appended` goes to the end of the package's first file."""
    with zipfile.ZipFile(path) as archive:
        files = {info.filename: archive.read(info) for info in archive.infolist()}
    files["homework/number.txt"] = str(number).encode()
    if appended:
        files["homework/__init__.py"] += appended.encode()
    make_zip(path, files, top="")


def _hostile(rng: random.Random, folder: Path) -> list[dict[str, str]]:
    """Of each sort some, in turns; those whose outcome depends on chance are left out."""
    paths = dict.fromkeys(("data", "outside", "secret"), folder)
    attempts = [submission(one, numbers(), **paths) for one in rng.sample(ATTEMPTS, 12)]
    forgeries = [forgery(one) for one in rng.sample(FORGERIES, 9)]
    bodies = [
        OVER_A_LIMIT[name][0]
        for name in ("hang", "endless prints", "stops itself", "memory at once", "endless answers",
                     "open files", "endless denials", "shared memory given back")
    ]  # fmt: skip
    over = [GOOD | {"vlm.py": _TAKES_ALL_PROCESSORS}]
    over += [GOOD | {"vlm.py": _MODEL.format(b.replace("\n", "\n        "))} for b in bodies]
    rng.shuffle(over)
    longest = max(len(attempts), len(forgeries), len(over))
    columns = (attempts, forgeries, over)
    return [one[n] for n in range(longest) for one in columns if n < len(one)]
