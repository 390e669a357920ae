"""python -m homework.pretrain run [--data_dir data/train] [--output homework/embedded_base]

Makes the embedded base from labelled frames, from nothing: dense supervision of the vision
tower first, then the questions of each frame beside it, over augmented pictures. Never give
it validation frames. Resumable: a rerun goes on from the last state in `--work_dir`.
"""

from __future__ import annotations

import os
from pathlib import Path

from . import options, processes
from .files import writing


def run(
    data_dir: str | None = None,
    output: str | None = None,
    work_dir: str = "runs/pretrain",
    steps: int = 3300,
    dense_steps: int = 1200,
    learning_rate: float = 2e-3,
    held_out: str = "frame",
    seed: int = 0,
) -> None:
    """Pre-train the embedded base and write it as a checkpoint folder.

    Args:
        data_dir: one split's folder of info files and pictures; data/train if not given.
        output: checkpoint folder to write; homework/embedded_base if not given.
        work_dir: where the state for a resume lies.
        steps: optimizer steps of 32 pictures.
        dense_steps: how many of them, the first ones, train the vision tower alone.
        learning_rate: peak; warm-up, then cosine to a twentieth.
        seed: of the weights, the order and the augmentations.

    Raises:
        InputError: the data is wrong, or validation frames are among it.
    """
    from .frames import list_split
    from .leakage import refuse_pictures, refuse_split

    options.whole("--steps", steps, 1)
    options.whole("--dense_steps", dense_steps, 0)
    options.whole("--seed", seed, 0)
    options.number("--learning_rate", learning_rate, above=0)
    folders = [Path(f) for f in data_dir.split(",")]
    for folder in folders:
        refuse_split(folder.name)
        split = list_split(folder)
        pictures = (folder / picture for picture in split.pictures)
        refuse_pictures(pictures, Path(os.path.abspath(folder)).parent)

    from .embedded import EMBEDDED_BASE
    from .pretraining import Pretraining

    with writing(work_dir):
        pretraining = Pretraining(
            folders, Path(work_dir), steps, dense_steps, learning_rate, held_out, seed
        )
        pretraining.train()
    target = Path(output) if output else EMBEDDED_BASE
    if processes.is_main():
        with writing(target):
            pretraining.save(target)


if __name__ == "__main__":
    from .cli import run as run_commands

    run_commands({"run": run})
