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
from typing import Any

from homework.common import distributed, options
from homework.common.files import RUNS_DIR, writing
from homework.common.options import Count, Natural, Positive
from homework.common.outputs import Outputs


@options.checked
def run(
    data_dir: Sequence[str] | None = None,
    output: Path | None = None,
    work_dir: Path | None = None,
    steps: Count = 3400,
    dense_steps: Natural = 800,
    batch_size: Count = 32,
    learning_rate: Positive = 3e-3,
    seed: Natural = 0,
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
        batch_size: images of a step, over all processes; about 256 on a GPU.
        learning_rate: peak learning rate; it rises in a warm-up, then falls linearly to 0.
        seed: of the weights, the order and the augmentations.
        num_workers: further processes, which choose the augmentations and make the labels; on a GPU
            one per core.
        overwrite: replace a model in --output that this command did not write.

    Raises:
        InputError: an option, the data or --output is wrong, or there are validation frames.
    """
    folders = training_folders(data_dir)
    from homework.model.loading import CONFIG
    from homework.training import checkpoints
    from homework.training.loop import Loop

    from .pretraining.batches import load_views
    from .pretraining.draws import CHANCES
    from .pretraining.task import STEPS_PER_CHECKPOINT, STEPS_PER_RECORD, Pretraining

    target, work = output or RUNS_DIR / "base", work_dir or RUNS_DIR / "pretrain"
    outputs = Outputs("pretrain", overwrite)
    if distributed.is_main():
        # Found now, not after the training; `save` checks each file that it writes.
        outputs.check(target / CONFIG, *target.glob("*.safetensors"), *target.glob("[!.]*.json"))
    recipe: dict[str, Any] = {"data": [folder.name for folder in folders], "steps": steps}
    recipe |= {"dense_steps": dense_steps, "batch_size": batch_size, "seed": seed}
    recipe |= {"learning_rate": learning_rate, "data_sha256": _digest(folders)}
    # What an earlier version had options for, whose unfinished runs then go on or are refused.
    recipe |= {"augmentations": list(CHANCES), "held_out": "frame", "start": None}
    with checkpoints.locked(work):
        with writing(work):
            checkpoints.require_same(work, recipe)
            task = Pretraining([load_views(folder) for folder in folders], recipe, num_workers)
            save_steps = checkpoints.steps_between(steps, max(STEPS_PER_CHECKPOINT, steps // 20))
            Loop(task, work, recipe, save_steps, STEPS_PER_RECORD).run()
        if distributed.is_main():
            with writing(target):
                task.save(target, outputs)
        distributed.wait()  # a process that ends while another still runs can break off


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
