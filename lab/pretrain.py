"""python -m lab.pretrain run [--data_dir data/train,data/recorded] [--output DIR]

Makes the embedded base from labelled frames, from nothing: dense supervision of the vision
tower first, then sentences that describe each frame beside it, over augmented images. It is
never asked a question: that is left to fine-tuning. Never give it validation frames. Resumable: a
rerun continues from the last checkpoint in `--work_dir`.

    accelerate launch --config_file configs/2_cpu_processes.yaml -m lab.pretrain run

shares the images of a step between two processes: a quarter faster on two cores than one
process of two threads.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from homework.common import distributed, options
from homework.common.errors import InputError
from homework.common.files import RUNS_DIR, digest, writing
from homework.common.options import Count, Natural, Positive
from homework.common.outputs import Outputs
from homework.training.checkpoints import locked, steps_between

from .options import names

HELD_OUT = {"frame": 0.02, "race": 0.1}  # what can be held out, and its share


@options.checked
def run(
    data_dir: Sequence[str] | None = None,
    output: Path | None = None,
    work_dir: Path | None = None,
    steps: Count = 3400,
    dense_steps: Natural = 800,
    batch_size: Count = 32,
    learning_rate: Positive = 3e-3,
    augmentations: Sequence[str] = ("mirror", "jitter"),
    held_out: Literal["frame", "race"] = "frame",
    seed: Natural = 0,
    start: Path | None = None,
    num_workers: Natural = 0,
    overwrite: bool = False,
) -> None:
    """Pre-train the embedded base and write it as a checkpoint folder.

    Args:
        data_dir: folders of info files and images with commas between, such as
            data/train,data/recorded; data/train if not given.
        output: checkpoint folder to write, for `finetune train --base`; runs/base if not given.
        work_dir: where the checkpoints lie; runs/pretrain beside the package if not given.
        steps: optimizer steps.
        dense_steps: how many of them, the first ones, train the vision tower alone.
        batch_size: images of a step, of all processes; a GPU wants some 256.
        learning_rate: peak; warm-up, then a straight line to 0.
        augmentations: of the images, with commas between: paste, crop, mirror, jitter; all
            if "all", "none" for none.
        held_out: what is held out for evaluation: "frame", 2% of the frames; "race", the races of
            the first folder on 10% of the tracks, and those of other folders that were not recorded
            by lab.record: what recordings show of these tracks is learned.
        seed: of the weights, the order and the augmentations.
        start: what to start from: the --work_dir of an earlier run, or the checkpoint folder of an
            embedded base; fresh weights if omitted.
        num_workers: processes beside this one that draw changes and make labels; a GPU wants one
            per core.
        overwrite: replace a model in --output that this command did not write.

    Raises:
        InputError: an option, the data or --output is wrong, or there are validation frames.
    """
    from homework.model.loading import CONFIG

    chosen, folders = _augmentations(augmentations), training_folders(data_dir)
    target, work = output or RUNS_DIR / "base", work_dir or RUNS_DIR / "pretrain"
    outputs = Outputs("pretrain", overwrite)
    if distributed.is_main():
        # Found now, not after the training; `save` checks each file that it writes.
        old = *target.glob("*.safetensors"), *target.glob("[!.]*.json")
        outputs.check(target / CONFIG, *old)
    if held_out == "race" and _recorded(folders[0]):
        raise InputError("--held_out race: a recording is the first of --data_dir; give data/train")
    begun, fingerprint = _start(start)
    recipe: dict[str, Any] = {"data": [folder.name for folder in folders], "steps": steps}
    recipe |= {"dense_steps": dense_steps, "batch_size": batch_size}
    recipe |= {"learning_rate": learning_rate, "augmentations": chosen, "held_out": held_out}
    recipe |= {"seed": seed, "start": fingerprint, "data_sha256": _digest(folders)}
    _pretrain(folders, work, target, outputs, recipe, begun, num_workers)


def _pretrain(
    folders: list[Path],
    work: Path,
    output: Path,
    outputs: Outputs,
    recipe: dict[str, Any],
    begun: Any,
    num_workers: int,
) -> None:
    from homework.training import checkpoints
    from homework.training.loop import Loop

    from .pretraining.batches import load_views
    from .pretraining.task import STEPS_PER_CHECKPOINT, STEPS_PER_RECORD, Pretraining

    share = HELD_OUT[recipe["held_out"]]
    with locked(work):
        with writing(work):
            checkpoints.require_same(work, recipe)
            views = [load_views(folder, num_workers) for folder in folders]
            recorded = [_recorded(folder) for folder in folders]
            task = Pretraining(views, work, recipe, share, begun, num_workers, recorded)
            save_steps = steps_between(task.steps, max(STEPS_PER_CHECKPOINT, task.steps // 20))
            Loop(task, work, recipe, save_steps, STEPS_PER_RECORD).run()
        if distributed.is_main():
            with writing(output):
                task.save(output, outputs)
        distributed.wait()  # a process that ends while another still runs can break off


def _recorded(folder: Path) -> bool:
    from .recording.session import MANIFEST

    return (folder / MANIFEST).exists()


def _augmentations(given: Sequence[str]) -> list[str]:
    from .pretraining.draws import CHANCES

    if given in (("all",), ("none",)):
        return list(CHANCES) if given == ("all",) else []
    return names("--augmentations", given, tuple(CHANCES))


@options.checked
def look(
    info_file: Path,
    view_index: Natural,
    output: Path = Path("runs/augmentations.png"),
    overwrite: bool = False,
) -> None:
    """Write an image of one view after each augmentation, the last row after all of them.

    Args:
        info_file: a NNNNN_info.json, with the image of the view beside it; karts to paste come
            from other frames of its folder.
        view_index: number of the view in the info file, from 0.
        output: the PNG file to write.
        overwrite: replace a file that this command did not write.

    Raises:
        InputError: a file is wrong, or the view has no image.
    """
    from homework.frames.images import save_image

    from .pretraining.augment_sheet import augment_sheet

    file = output.with_suffix(".png")
    sheet = augment_sheet(info_file, view_index)
    save_image(sheet, file, Outputs("look", overwrite).open)
    print(f"wrote {file}")


def _start(folder: Path | None) -> tuple[Any, str | None]:
    """What to start from, a checkpoint of a run or the folder of a base, and its SHA-256."""
    from homework.model.loading import WEIGHTS, find_checkpoint
    from homework.training.checkpoints import newest

    if folder is None:
        return None, None
    if found := newest(folder):
        file, checkpoint = found
        return checkpoint, digest(file)
    _, base = find_checkpoint(folder)
    return base, digest(base / WEIGHTS)


def _digest(folders: list[Path]) -> str:
    """SHA-256 of the info files and images of splits, in each sorted by name."""
    from homework.frames.images import files_digest
    from homework.frames.split import list_split

    return files_digest(
        split.folder / name
        for split in map(list_split, folders)
        for name in sorted({*split.info_files, *split.images})
    )


def training_folders(data_dir: Sequence[str] | None) -> list[Path]:
    """The folders to learn from, none of which may hold validation frames."""
    from homework.frames.images import refuse_images, refuse_split
    from homework.frames.split import list_split

    folders = [options.data_folder(part, "train") for part in data_dir or (None,)]
    for folder in folders:
        refuse_split(folder.name)
        images = (folder / image for image in list_split(folder).images)
        refuse_images(images, Path(os.path.abspath(folder)).parent)
    return folders


if __name__ == "__main__":
    from homework.common.cli import run as run_commands

    run_commands({"run": run, "look": look})
