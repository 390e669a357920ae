"""The course's grader by its rules, as far as they are known, without any lock:

    python course_rules.py ID.zip DATA_FOLDER

prints {"points": 105.0}, or {"refused": "..."} where it gives 0 points for an error. Written for
the tests from what the course's grader was seen to do; it shares no code with ours.
"""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any


def points(zip_path: str, data: str) -> float:
    """Unpack, import, count, ask: any exception on the way is a refusal."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "unpacked"
        with zipfile.ZipFile(zip_path) as archive:
            archive.extractall(folder)
        tops = sorted(path.name for path in folder.iterdir())
        if len(tops) != 1:
            raise ValueError(f"expected one top-level folder, got {len(tops)}")
        shutil.copytree(data, folder / "data")  # where the starter code looks: beside the package
        sys.path.insert(0, str(folder))
        package: Any = importlib.import_module(tops[0])
        model = package.load_vlm()
        if sum(parameter.numel() for parameter in model.model.parameters()) > 300_000_000:
            raise ValueError("too many parameters")
        dataset = package.data.VQADataset("valid_grader")
        accuracy = package.data.benchmark(model, dataset, 128).accuracy
    extra = min(max((accuracy - 0.80) / 0.05, 0), 1)
    return round(100 * min(accuracy / 0.70, 1) + 5 * extra, 1)


if __name__ == "__main__":
    try:
        print(json.dumps({"points": points(*sys.argv[1:])}))
    except Exception as error:
        print(json.dumps({"refused": f"{type(error).__name__}: {error}"}))
