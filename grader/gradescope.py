"""The result of a grading in the form that Gradescope takes (its autograders' results.json).

The form: https://gradescope-autograders.readthedocs.io/en/latest/specs/
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import reasons


def find(folder: Path) -> Path:
    """The submission in the folder that Gradescope puts an upload into.

    Gradescope unpacks a zip that is uploaded by itself, and leaves it packed beside other files.

    Returns:
        The only zip in the folder, if it holds no package; or the only package, if it is not named
        homework; or else the folder as it is.
    """
    packages = [path.parent for path in folder.glob("*/__init__.py")]
    zips = [path for path in folder.glob("*.zip") if not path.name.startswith(".")]
    if not packages and len(zips) == 1:
        return zips[0]
    if len(packages) == 1 and not (folder / "__init__.py").exists():
        return packages[0]
    return folder


def results(result: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """The content of results.json; the student sees all but the prints and `extra_data`.

    Args:
        result: what `grade` returns.
        seconds: that the grading took.
    """
    found = {
        "score": round(result["total"], 2),
        "execution_time": round(seconds, 1),
        "output": reasons.reason(result),
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "extra_data": {name: result[name] for name in ("accuracy", "kinds", "denied", "lock")},
        "tests": [_test(n, case, result) for n, case in enumerate(result["cases"], 1)],
    }
    if result["accuracy"] is not None:
        accuracy = {"name": "Accuracy (%)", "value": round(100 * result["accuracy"], 1)}
        found["leaderboard"] = [accuracy]
    return found


def _test(number: int, case: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """A case as a test; whether it passed says that it ran, and the score how well."""
    lines = [case["detail"] or case["status"], *case["remarks"]]
    if case["name"].startswith("Accuracy"):
        lines += [f"{k}: {v['right']} of {v['asked']} right" for k, v in result["kinds"].items()]
    return {
        "name": case["name"],
        "number": str(number),
        "score": round(case["points"], 2),
        "max_score": case["max_points"],
        "status": "passed" if case["status"] == "ok" else "failed",
        "output": "\n".join(lines),
        "visibility": "visible",
        "tags": [],
    }
