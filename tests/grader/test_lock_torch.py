"""A real model under the lock: torch, transformers and peft load, and it answers the same."""

from __future__ import annotations

import shutil
from pathlib import Path

from PIL import Image
from tiny import write_tiny_base

PACKAGE = Path(__file__).resolve().parents[2] / "homework"
LOAD = """
def load_vlm():
    import peft
    from pathlib import Path
    from .base_vlm import BaseVLM
    return BaseVLM(Path(__file__).parent / "tiny", verbose=False)
"""


def test_a_real_model_answers_under_the_lock_as_without(place, graded, capsys, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(place / "cache"))
    from homework.base_vlm import BaseVLM
    from homework.data import VQADataset

    folder = place / "homework"
    without = shutil.ignore_patterns("__pycache__", "embedded_base", "vlm_model", "runs")
    shutil.copytree(PACKAGE, folder, ignore=without)
    (folder / "__init__.py").write_text(LOAD)
    write_tiny_base(folder / "tiny")
    capsys.readouterr()  # a progress bar
    for number, path in enumerate(sorted((place / "data" / "valid").iterdir())):
        Image.new("RGB", (150, 100), (20 * number, 90, 10)).save(path)

    out, result = graded(folder, "-v")
    assert [case["status"] for case in result["cases"]] == ["ok"] * 6, out
    assert result["denied"] == [], out

    items = [*VQADataset("valid_grader", place / "data")]
    expected = BaseVLM(folder / "tiny", verbose=False).answer(
        [item["image_path"] for item in items], [item["question"] for item in items]
    )
    assert [sample["model_answer"] for sample in result["samples"]] == expected
