"""The majority baseline."""

import subprocess
import sys
from pathlib import Path

from homework.data import benchmark
from homework.evaluation.majority import MajorityModel
from homework.labels.questions import COUNT, EGO


def items(*pairs):
    return [{"image_path": "x.jpg", "question": q, "answer": a} for q, a in pairs]


def test_majority_baseline():
    side = "Is {} to the left or right of the ego car?"
    train = items(
        (side.format("tux"), "left"),
        (side.format("gnu"), "left"),
        (side.format("xue"), "right"),
        (COUNT, "2"),
        (COUNT, "1"),
    )
    model = MajorityModel(train)
    assert model.answers == {side: "left", COUNT: "1"}
    result = benchmark(model, items((side.format("kiki"), "left"), (COUNT, "2"), (EGO, "tux")))
    assert result.accuracy_per_kind == {
        "ego": (0.0, 1),
        "count": (0.0, 1),
        "relative position": (1.0, 1),
    }


def test_import_needs_the_standard_library_only():
    code = "import sys, homework.evaluation.majority; "
    code += "print([m for m in ('torch', 'PIL', 'fire', 'numpy') if m in sys.modules])"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
