"""What Gradescope takes, an autograder's results.json, and gives, the export of all submissions.

The form of results.json: https://gradescope-autograders.readthedocs.io/en/latest/specs/
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from . import reasons
from .errors import GraderError, one_line
from .files import has_fields

METADATA = "submission_metadata.yml"  # of the export of an assignment's submissions


def find(folder: Path) -> Path:
    """The submission in the folder that Gradescope puts an upload into.

    Gradescope unpacks a zip that is uploaded by itself, and leaves it packed beside other files. So
    it is the only zip in the folder, if that holds no package; or the only package, if it is not
    named homework; or else the folder as it is.
    """
    packages = [path.parent for path in folder.glob("*/__init__.py")]
    zips = [path for path in folder.glob("*.zip") if not path.name.startswith(".")]
    if not packages and len(zips) == 1:
        return zips[0]
    if len(packages) == 1 and not (folder / "__init__.py").exists():
        return packages[0]
    return folder


class Submitter(NamedTuple):
    """Who handed in a submission of Gradescope's export."""

    name: str
    ids: list[str]  # the student ID and the e-mail address, as far as they are there
    created: datetime | None  # when, local time; None where that cannot be read


def submitters(text: bytes, path: str) -> dict[str, list[Submitter]]:
    """The content of an export's METADATA file: a submission's folder -> who handed it in.

    A GraderError, which names `path`, if it has another form.
    """
    import yaml  # transformers has it

    try:
        found: dict[str, list[Submitter]] = {}
        # Every value as its text: an ID may look like a number. Ruby's tags are left out.
        for folder, about in yaml.load(text, yaml.BaseLoader).items():
            about = _named(about)
            date = _date(about.get("created_at"))
            for one in map(_named, about["submitters"] or [{}]):
                ids = [one[field] for field in ("sid", "email") if one.get(field)]
                found.setdefault(folder, []).append(Submitter(one.get("name", ""), ids, date))
        return found
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise GraderError(
            f"{path}: is not as Gradescope writes it ({one_line(str(error), 100)}); export the "
            "submissions again"
        ) from None


def _date(created: Any) -> datetime | None:
    """Local time of "2026-10-02 01:30:00.123456000 Z", as a text or as Ruby's own object of it."""
    text = created.get("utc") if isinstance(created, dict) else created
    with contextlib.suppress(ValueError, OverflowError):
        date = datetime.fromisoformat(str(text).replace(" Z", "Z").replace(" UTC", "Z"))
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone().replace(tzinfo=None)
    return None


def _named(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields without the colon of Ruby's names."""
    return {str(name).lstrip(":"): value for name, value in fields.items()}


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


def is_results(content: bytes) -> bool:
    """Whether a file's content is what `results` makes."""
    return has_fields(content, "tests", "score", "stdout_visibility")


def _test(number: int, case: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """A case as a test: `status` says whether it ran, `score` how well."""
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
