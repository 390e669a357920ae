"""Question/answer pairs from the frames' info files.

python -m homework.generate_qa generate [--data_dir data/train] [--output FILE] [--num_workers N]
python -m homework.generate_qa check --info_file F --view_index V [--save out.png]
                                     [--contact_sheet out.png]
python -m homework.generate_qa balance [--split valid] [--per_kind 24] [--seed 0] [--data_dir data]
python -m homework.generate_qa inspect [--data_dir data/train] [--against data/valid]
                                       [--pictures out]

Also as a file, from any folder: python path/to/homework/generate_qa.py check ...
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

if not __package__:
    # Run as a file: let the relative imports below find the package, and let no module of it
    # stand in for one of the standard library, as its folder at the head of the path would.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    __package__ = "homework"

from .common import cli, options
from .common.errors import InputError
from .common.files import DATA_DIR, RUNS_DIR, disk_line, read_json, write_json
from .common.workers import num_cores
from .frames.split import (
    INFO_SUFFIX,
    PICTURE_SUFFIX,
    list_split,
    picture_name,
    read_info,
    view_count,
)
from .inspection.show import check_picture, has_display, save_picture, show
from .labels.questions import pairs
from .labels.scene import AmbiguousView, Scene, view_scene


def generate(
    data_dir: str | None = None, output: str | None = None, num_workers: int | None = None
) -> None:
    """Write every question/answer pair of a split to <split>_qa_pairs.json in its folder.

    Args:
        data_dir: the split's folder; data/train beside the package unless given.
        output: another file to write.
        num_workers: processes; as many as there are cores unless given.
    """
    from .frames.qa_file import write_pairs
    from .inspection.survey import answer_table

    split = list_split(options.path("--data_dir", data_dir) or DATA_DIR / "train")
    file = options.path("--output", output) or split.folder / f"{split.name}_qa_pairs.json"
    workers = num_cores() if num_workers is None else options.whole("--num_workers", num_workers, 1)
    replaced = _check_file(file)
    start = time.perf_counter()
    summary = write_pairs(split, file, workers)
    seconds = time.perf_counter() - start
    print(
        f"{split.folder}: {len(split.info_files):,} info files, {summary.views:,} views, "
        f"{summary.pairs.total():,} pairs in {seconds:.2f} s "
        f"({summary.views / seconds:,.0f} views/s, {workers} workers)\n"
    )
    print(answer_table(summary.pairs))
    print("\nskipped: " + ("\n         ".join(summary.skipped.lines()) or "nothing"))
    _print_written(file, replaced)


def check(
    info_file: str,
    view_index: int,
    save: str | None = None,
    contact_sheet: str | None = None,
    augment: str | None = None,
) -> None:
    """Print a view's pairs and show its picture with the karts boxed and the ego marked.

    Args:
        info_file: a NNNNN_info.json; the view's picture lies beside it.
        view_index: which of its views, from 0.
        save: picture file to write instead of opening a window; where there is no display,
            runs/NNNNN_VV_check.png beside the package unless given.
        contact_sheet: write a picture of all of the frame's views to this PNG file.
        augment: write what pre-training makes of the view to this PNG file.
    """
    from .frames.pictures import open_picture
    from .inspection.draw import draw_scene

    file = options.path("--info_file", info_file)
    if file is None or not file.name.endswith(INFO_SUFFIX):
        raise InputError(f"--info_file: {info_file} is no info file; give a NNNNN{INFO_SUFFIX}")
    info = read_info(file)
    view = options.whole("--view_index", view_index, 0, view_count(info) - 1)
    try:
        scene = view_scene(info, view)
    except AmbiguousView as error:
        raise InputError(f"{file}: {error}; look at another view") from None
    except ValueError as error:
        raise InputError(f"{file}: {error}; unpack the dataset again") from None
    picture = file.with_name(picture_name(file.name, view))
    # A bare --save arrives as True.
    given = None if save is True else options.path("--save", save)
    target = given or RUNS_DIR / picture.name.replace(PICTURE_SUFFIX, "_check.png")
    check_picture(target)
    sheet = options.path("--contact_sheet", contact_sheet)
    changed = options.path("--augment", augment)
    image = draw_scene(open_picture(picture), scene)
    _print_pairs(picture, scene)
    if sheet:
        from .inspection.contact_sheet import frame_sheet

        save_picture(frame_sheet(file), sheet.with_suffix(".png"))
    if changed:
        from .inspection.contact_sheet import augment_sheet

        save_picture(augment_sheet(file, view), changed.with_suffix(".png"))
    if save is None and has_display():
        show(image, str(picture))
    else:
        save_picture(image, target)


def balance(
    split: str = "valid",
    per_kind: int = 24,
    seed: int = 0,
    data_dir: str | None = None,
    output: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write a course-like question set: the five kinds in equal shares, drawn by a seed.

    Args:
        split: the split whose frames to draw from.
        per_kind: pairs of each kind.
        seed: another seed is another draw.
        data_dir: the folder of the splits; data beside the package unless given.
        output: <data_dir>/<split>_grader/balanced_qa_pairs.json unless given.
        overwrite: replace a different set that is there already.
    """
    from .frames.balance import balanced_pairs
    from .inspection.survey import answer_table

    folder = options.path("--data_dir", data_dir) or DATA_DIR
    file = options.path("--output", output) or folder / f"{split}_grader" / "balanced_qa_pairs.json"
    number = options.whole("--per_kind", per_kind, 1)
    seed = options.whole("--seed", seed, 0)
    drawn, skipped = balanced_pairs(list_split(folder / str(split)), number, seed)
    replaced = _check_file(file)
    # The dataset has a set of its own under this very name: that one must not be lost.
    if replaced and not overwrite and read_json(file) != drawn:
        raise InputError(f"{file}: there is another set already; give --output or --overwrite")
    try:
        write_json(file, drawn)
    except OSError as error:
        raise InputError(f"{disk_line(error, file)}, or try --output") from None
    print(answer_table(Counter((pair["question"], pair["answer"]) for pair in drawn)))
    print("\nskipped: " + ("\n         ".join(skipped.lines()) or "nothing"))
    _print_written(file, replaced)


def inspect(
    data_dir: str | None = None,
    against: str | None = None,
    save: str | None = None,
    num_workers: int | None = None,
    pictures: str | None = None,
) -> None:
    """Report what is in a split's folder: frames, pictures, line-ups, answers, and traps.

    Args:
        data_dir: the split's folder; data/train beside the package unless given.
        against: another split, compared side by side: its line-ups and what its views look like.
        save: draw that comparison into this picture file.
        num_workers: processes; as many as there are cores unless given.
        pictures: write a contact sheet, answer histograms and the line-up table to this folder.
    """
    from .inspection.appearance import look_at, table
    from .inspection.figures import save_comparison
    from .inspection.survey import compare, report, survey

    picture = options.path("--save", save)
    if picture is not None and against is None:
        raise InputError("--save: draws a comparison; give --against, too")
    if picture is not None:
        check_picture(picture)
    split = list_split(options.path("--data_dir", data_dir) or DATA_DIR / "train")
    other = list_split(options.path("--against", against)) if against is not None else None
    workers = num_cores() if num_workers is None else options.whole("--num_workers", num_workers, 1)
    folder = options.path("--pictures", pictures)
    found = survey(split, workers)
    for line in report(split, found):
        print(line)
    if folder:
        from .inspection.contact_sheet import save_pictures

        print("wrote " + ", ".join(map(str, save_pictures(split, found, folder))))
    if other is not None:
        print()
        for line in compare(split, found, other, survey(other, workers, decode=False)):
            print(line)
        print()
        both = look_at(split, workers), look_at(other, workers)
        for line in table(*both):
            print(line)
        if picture is not None:
            save_comparison(*both, picture)
            print(f"wrote {picture}")


def _check_file(file: Path) -> bool:
    """Whether there is such a file already; a folder of that name is an error."""
    if file.is_dir():
        raise InputError(f"--output: {file} is a folder; give a file's name")
    return file.exists()


def _print_written(file: Path, replaced: bool) -> None:
    before = ", in place of the file that was there" if replaced else ""
    print(f"wrote {file} ({file.stat().st_size / 1e6:.2f} MB){before}")


def _print_pairs(picture: Path, scene: Scene) -> None:
    ego = scene.ego.name if scene.ego else "none"
    print(f"{picture}: track {scene.track}, {len(scene.karts)} karts, ego {ego}\n")
    for question, answer in pairs(scene):
        print(f"  {question:56} {answer}")
    print()


if __name__ == "__main__":
    cli.run({"generate": generate, "check": check, "balance": balance, "inspect": inspect})
