"""A course-like question set: the five kinds in equal shares, drawn by a seed."""

from __future__ import annotations

import random

from ..common.errors import InputError
from ..labels.questions import KINDS
from .split import Skipped, Split, read_frames


def balanced_pairs(
    split: Split, per_kind: int, seed: int = 0
) -> tuple[list[dict[str, str]], Skipped]:
    """Draw `per_kind` pairs of each kind, every pair of that kind equally likely.

    No question is drawn twice of one picture. The pairs come shuffled.

    Returns:
        The pairs (`question`, `answer`, `image_file`) and what of the split was left out.

    Raises:
        InputError: the split has fewer pairs of some kind.
    """
    found: dict[str, dict[tuple[str, str], str]] = {kind: {} for kind in KINDS}
    skipped = Skipped()
    for frame in read_frames(split, split.info_files, skipped):
        for picture, scene in frame.views:
            for kind, questions in KINDS.items():
                for question, answer in questions(scene):
                    found[kind].setdefault((question, split.image_file(picture)), answer)

    generator = random.Random(seed)
    drawn = []
    for kind, answers in found.items():
        if len(answers) < per_kind:
            raise InputError(
                f"{split.folder}: has {len(answers):,} pairs of kind '{kind}', "
                f"not {per_kind:,}; give a smaller --per_kind"
            )
        for question, image_file in generator.sample(list(answers), per_kind):
            answer = answers[question, image_file]
            drawn.append({"question": question, "answer": answer, "image_file": image_file})
    generator.shuffle(drawn)
    return drawn, skipped
