"""Small stand-ins for the tests of bundle.py and the grader: a data folder and a submission.

The fake model needs no torch: question number N of the fake data is right when it answers "N".
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # for a pytest that is not started as `python -m pytest`
    sys.path.insert(0, str(ROOT))

INIT = "from . import data\nfrom .vlm import load_vlm\n"
VLM = """
from pathlib import Path

class Network:
    def parameters(self):
        return []

class Model:
    wrong = 0  # how many of the questions it gets wrong
    model = Network()

    def answer(self, image_paths, questions):
        numbers = [int(Path(path).name.split("_")[0]) for path in image_paths]
        assert all(Path(path).is_file() for path in image_paths)
        return ["no" if n < self.wrong else str(n) for n in numbers]

def load_vlm():
    return Model()
"""
DATA = """
import json, random
from pathlib import Path
from types import SimpleNamespace

class VQADataset(list):
    def __init__(self, split):
        data = Path(__file__).parent.parent / "data"
        for file in sorted((data / split).glob("*_qa_pairs.json")):
            self += [dict(r, image_path=str(data / r["image_file"]))
                     for r in json.loads(file.read_text())]

def benchmark(model, dataset, count):
    picked = range(len(dataset))
    if len(dataset) > count:
        picked = sorted(random.Random(0).sample(picked, count))
    rows = [dataset[i] for i in picked]
    answers = model.answer([r["image_path"] for r in rows], [r["question"] for r in rows])
    samples = [SimpleNamespace(image_path=r["image_path"], question=r["question"],
                               model_answer=a, correct_answer=r["answer"],
                               is_correct=a == r["answer"]) for r, a in zip(rows, answers)]
    return SimpleNamespace(accuracy=sum(s.is_correct for s in samples) / len(samples),
                           samples=samples)
"""
GOOD = {"__init__.py": INIT, "vlm.py": VLM, "data.py": DATA}
WEIGHTS = b"\2\0\0\0\0\0\0\0{}"  # a safetensors file without tensors
ADAPTER = {
    "vlm_model/adapter_config.json": "{}",
    "vlm_model/adapter_model.safetensors": WEIGHTS,
    "vlm_model/base.json": '{"base": "embedded_base"}',
}
COUNT = "How many karts are there in the scenario?"


def write_data(folder: Path, count: int = 10, question: str = COUNT) -> Path:
    """A data folder with `count` questions in split `valid_grader`; returns it."""
    for name in ("valid", "valid_grader"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    records = []
    for number in range(count):
        image = f"valid/{number:05d}_00_im.jpg"
        (folder / image).touch()
        records.append({"question": question, "answer": str(number), "image_file": image})
    half = count // 2
    for name, part in (("a", records[:half]), ("b", records[half:])):
        file = folder / "valid_grader" / f"{name}_qa_pairs.json"
        file.write_text(json.dumps(part))
    return folder


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files (name -> content) below `folder`; returns it."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def make_zip(path: Path, files: Mapping[str, str | bytes] = GOOD, top: str = "homework/") -> Path:
    """A zip of `files` below `top`; returns its path."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(top + name, content)
    return path
