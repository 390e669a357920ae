"""Make question/answer pairs from info files, and look at the frames that they describe.

python -m homework.generate_qa generate [--data_dir data/train]
python -m homework.generate_qa check --info_file F --view_index V [--save out.png]
python -m homework.generate_qa balance [--split valid] [--per_kind 24] [--seed 0]
python -m homework.generate_qa inspect [--data_dir data/train] [--against data/valid]
python -m homework.generate_qa explore [--data_dir data/train] [--output runs/explore]
python -m homework.generate_qa export --format messages|llava|parquet --output FILE_OR_DIR

Also as a file, from any folder: python path/to/homework/generate_qa.py check ...
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if not __package__:
    # Run as a file: the relative imports below need the package. Its own folder must leave the
    # path, where its modules would hide modules of the standard library.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    __package__ = "homework"

from .common import cli, options
from .common.errors import InputError
from .common.files import RUNS_DIR, as_json, writing
from .common.options import Count, Natural
from .common.outputs import Outputs
from .common.workers import num_cores
from .frames.images import open_image, save_image
from .frames.split import (
    IMAGE_SUFFIX,
    INFO_SUFFIX,
    Skipped,
    how_to_repair,
    image_name,
    list_split,
    read_info,
)
from .labels.questions import Pair, pairs
from .labels.scene import AmbiguousView, Scene, view_scene

if TYPE_CHECKING:
    from PIL.Image import Image


@options.checked
def generate(
    data_dir: Path | None = None,
    output: Path | None = None,
    num_workers: Count | None = None,
    overwrite: bool = False,
) -> None:
    """Write every question/answer pair of a split to <split>_qa_pairs.json in its folder.

    Args:
        data_dir: the split's folder. Default: data/train beside the package.
        output: the file to write instead.
        num_workers: number of processes. Default: one per core.
        overwrite: replace a file that this command did not write, or that was changed since.
    """
    from .frames.qa_write import write_pairs

    split = list_split(options.data_folder(data_dir, "train"))
    file = output or split.folder / f"{split.name}_qa_pairs.json"
    workers = num_workers or num_cores()
    replaced = file.exists()
    outputs = Outputs("generate", overwrite)
    start = time.perf_counter()
    summary = write_pairs(split, file, workers, outputs.open)
    seconds = time.perf_counter() - start
    print(
        f"{split.folder}: {len(split.info_files):,} info files, {summary.views:,} views, "
        f"{summary.pairs.total():,} pairs in {seconds:.2f} s "
        f"({summary.views / seconds:,.0f} views/s, processes: {workers})\n"
    )
    _print_written(summary.pairs, summary.skipped, file, replaced)


@options.checked
def check(
    info_file: Path,
    view_index: Natural,
    save: Path | bool | None = None,
    overwrite: bool = False,
) -> None:
    """Print the pairs of one view and show its image with the karts boxed and the ego marked.

    Args:
        info_file: a NNNNN_info.json, with the image of the view beside it.
        view_index: number of the view in the info file, from 0.
        save: write the image to this file instead of opening a window. Default where there is
            no display: runs/NNNNN_VV_check.png beside the package.
        overwrite: replace files that this command did not write.
    """
    from .inspection.figures import check_image, draw_scene, has_display, show

    if not info_file.name.endswith(INFO_SUFFIX):
        raise InputError(f"--info_file: {info_file} is no info file; give a NNNNN{INFO_SUFFIX}")
    info = read_info(info_file)
    view = options.whole("--view_index", view_index, 0, len(info["detections"]) - 1)
    try:
        scene = view_scene(info, view)
    except AmbiguousView as error:
        raise InputError(f"{info_file}: {error}; look at another view") from None
    except ValueError as error:
        raise InputError(f"{info_file}: {error}; {how_to_repair(info_file)}") from None
    picture = info_file.with_name(image_name(info_file.name, view))
    # A bare --save arrives as True.
    default = RUNS_DIR / picture.name.replace(IMAGE_SUFFIX, "_check.png")
    target = save if isinstance(save, Path) else default
    check_image(target)
    outputs = Outputs("check", overwrite)
    image = draw_scene(open_image(picture), scene)
    _print_pairs(picture, scene)
    if not save and has_display():
        show(image, str(picture))
    else:
        _save(image, target, outputs)


@options.checked
def balance(
    split: str = "valid",
    per_kind: Count = 24,
    seed: Natural = 0,
    data_dir: Path | None = None,
    output: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Write a question set like that of the course: each of the five kinds equally often.

    A seeded random draw picks the pairs.

    Args:
        split: name of the split to draw frames from.
        per_kind: number of pairs of each kind.
        seed: seed of the draw.
        data_dir: the folder of the splits. Default: data beside the package.
        output: the file to write. Default: <data_dir>/<split>_grader/balanced_qa_pairs.json.
        overwrite: replace a file that this command did not write, or that was changed since.
    """
    from .frames.qa_write import balanced_pairs

    folder = options.data_folder(data_dir)
    file = output or folder / f"{split}_grader" / "balanced_qa_pairs.json"
    outputs = Outputs(f"balance --per_kind {per_kind} --seed {seed}", overwrite)
    drawn, skipped = balanced_pairs(list_split(folder / split), per_kind, seed)
    replaced = file.exists()
    # The dataset's own question set has this very name and must not be lost.
    with writing(file, "or try --output"), outputs.open(file) as opened:
        opened.write(as_json(drawn))
    occurrences = Counter((pair["question"], pair["answer"]) for pair in drawn)
    _print_written(occurrences, skipped, file, replaced)


@options.checked
def inspect(
    data_dir: Path | None = None,
    against: Path | None = None,
    num_workers: Count | None = None,
    pictures: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Report the frames, images, line-ups and answers of a split, and what may mislead a model.

    Args:
        data_dir: the split's folder. Default: data/train beside the package.
        against: folder of another split, whose line-ups are compared with those of this one.
        num_workers: number of processes. Default: one per core.
        pictures: write a contact sheet, answer histograms and the line-up table to this folder.
        overwrite: replace files that this command did not write.

    Raises:
        InputError: there is no usable info file with an image.
    """
    from .inspection.survey import compare, report, survey

    outputs = Outputs("inspect", overwrite)
    split = list_split(options.data_folder(data_dir, "train"))
    other = list_split(against) if against is not None else None
    workers = num_workers or num_cores()
    found = survey(split, workers)
    print(*report(found), sep="\n")
    if pictures:
        from .inspection.figures import save_images

        print("wrote " + ", ".join(map(str, save_images(found, pictures, outputs.open))))
    if other is not None:
        print("", *compare(found, survey(other, workers, decode=False)), sep="\n")


@options.checked
def explore(
    data_dir: Path | None = None,
    output: Path | None = None,
    num_workers: Count | None = None,
    overwrite: bool = False,
) -> None:
    """Write a page that shows every pair of a split with its frame; it opens from disk.

    The page has search, filters, the answers of each kind, line-ups and repeated scenes. Pairs are
    those of the *_qa_pairs.json in the folder; without such a file they are made in memory.

    Args:
        data_dir: the split's folder. Default: data/train beside the package.
        output: the folder to write index.html to; the page shows the images of the split's folder
            and needs them there. Default: runs/explore.
        num_workers: number of processes. Default: one per core.
        overwrite: replace a page that this command did not write.
    """
    from .inspection.explore import explore_split

    split = list_split(options.data_folder(data_dir, "train"))
    folder = output or RUNS_DIR / "explore"
    print(*explore_split(split, folder, num_workers or num_cores(), overwrite), sep="\n")


@options.checked
def export(
    format: Literal["messages", "llava", "parquet"],
    output: Path,
    data_dir: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Write the pairs of a split in a form that other programs read.

    Args:
        format: "messages", the chat form of TRL and others, a JSON object per line; "llava", the
            JSON list of LLaVA; or "parquet", a folder for datasets.load_dataset, which holds the
            images too.
        output: the file to write; of parquet the folder.
        data_dir: the split's folder, with its *_qa_pairs.json. Default: data/train beside the
            package.
        overwrite: replace a file that this command did not write, or that was changed since.
    """
    from .data import VQADataset
    from .frames.qa_write import FORMS, parquet_file

    folder = Path(os.path.abspath(options.data_folder(data_dir, "train")))
    file = parquet_file(output, folder.name) if format == "parquet" else output
    outputs = Outputs("export", overwrite)
    outputs.check(file)
    dataset = VQADataset(folder.name, folder.parent)
    rows = [
        (Path(i["image_path"]).relative_to(folder.parent).as_posix(), i["question"], i["answer"])
        for i in dataset
    ]
    with writing(file, "or try --output"), outputs.open(file) as opened:
        FORMS[format](opened, rows, folder.parent)
    print(f"wrote {file} ({file.stat().st_size / 1e6:.2f} MB): {len(dataset):,} pairs")


def _print_written(
    occurrences: Mapping[Pair, int], skipped: Skipped, file: Path, replaced: bool
) -> None:
    from .inspection.survey import answer_table

    print(answer_table(occurrences))
    print("\nskipped: " + ("\n         ".join(skipped.lines()) or "nothing"))
    before = ", in place of the file that was there" if replaced else ""
    print(f"wrote {file} ({file.stat().st_size / 1e6:.2f} MB){before}")


def _print_pairs(picture: Path, scene: Scene) -> None:
    ego = scene.ego.name if scene.ego else "none"
    karts = "1 kart" if len(scene.karts) == 1 else f"{len(scene.karts)} karts"
    print(f"{picture}: track {scene.track}, {karts}, ego {ego}\n")
    print(*(f"  {question:56} {answer}" for question, answer in pairs(scene)), "", sep="\n")


def _save(picture: Image, file: Path, outputs: Outputs) -> None:
    save_image(picture, file, outputs.open)
    print(f"wrote {file}")


if __name__ == "__main__":
    cli.run(
        {"generate": generate, "check": check, "balance": balance}
        | {"inspect": inspect, "explore": explore, "export": export}
    )
