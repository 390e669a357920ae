"""Make the zip that Gradescope takes as an autograder:

    python3 gradescope/make_autograder.py --split valid_grader

It holds this grader, the questions that it asks with their answers and images, and the scripts
beside this file. Needs only the standard library. The same input gives the same bytes.
"""

from __future__ import annotations

import io
import json
import stat
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from grader import labels  # noqa: E402
from grader.cli import Parser, home_path  # noqa: E402
from grader.errors import GraderError  # noqa: E402
from grader.files import check_output, replacing  # noqa: E402
from grader.interpreter import COURSE_PINS  # noqa: E402

SCRIPTS = ("setup.sh", "run_autograder")
_DATE = (1980, 1, 1, 0, 0, 0)  # fixed, so that the bytes depend on the contents alone


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = Parser("python3 gradescope/make_autograder.py", __doc__)
    parser.add_argument(
        "--output", type=home_path, default=Path("autograder.zip"), help="%(default)s"
    )
    parser.add_argument(
        "--course",
        action="store_true",
        help="install the course's versions of the packages there, not this project's",
    )
    parser.add_grading_options()
    options = parser.parse_args(arguments)
    try:
        check_output(options.output, is_own)
        files = contents(options.data_dir, options.split, options.time_limit, options.course)
        write(options.output, files)
    except (GraderError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    size = options.output.stat().st_size
    print(f"wrote {options.output}: {len(files)} files, {size / 1e6:.1f} MB")
    print("it holds the expected answers: upload it to Gradescope, and give it to no student")
    return 0


def contents(
    data_dir: Path, split: str, time_limit: float, course: bool = False
) -> dict[str, bytes]:
    """Name in the zip -> bytes.

    Args:
        course: whether submissions are to have the course's versions of the packages.

    Raises:
        GraderError: the split has no questions, or an image is missing.
    """
    asked = labels.asked(data_dir, split)
    records = [{"image_file": q.image, "question": q.question, "answer": q.answer} for q in asked]
    options = ["--split", split, "--time_limit", f"{time_limit:g}"]
    if course:  # as another's environment, which need not have this project's packages
        options += ["--python", ".venv"]
    return {
        **{name: (ROOT / "gradescope" / name).read_bytes() for name in SCRIPTS},
        "requirements.txt": (COURSE_PINS if course else ROOT / "requirements.txt").read_bytes(),
        COURSE_PINS.relative_to(ROOT).as_posix(): COURSE_PINS.read_bytes(),
        **{
            file.relative_to(ROOT).as_posix(): file.read_bytes()
            for file in sorted((ROOT / "grader").rglob("*.py"))
        },
        "options": "\n".join([*options, ""]).encode(),
        f"data/{split}/questions_qa_pairs.json": json.dumps(records).encode(),
        **{
            f"data/{image}": (data_dir / image).read_bytes()
            for image in sorted({question.image for question in asked})
        },
    }


def is_own(content: bytes) -> bool:
    """Whether a file's content is a zip that `write` wrote."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {*SCRIPTS} <= {*archive.namelist()}
    except zipfile.BadZipFile:
        return False


def write(path: Path, files: dict[str, bytes]) -> None:
    """Write the zip, whole or not at all."""
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, _DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3  # Unix, so that the mode is read as one
            info.external_attr = (stat.S_IFREG | (0o755 if name in SCRIPTS else 0o644)) << 16
            archive.writestr(info, content)


if __name__ == "__main__":
    sys.exit(main())
