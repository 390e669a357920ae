"""Write a file of question/answer pairs from the info files of a split.

[
{"question":"What track is this?","answer":"abyss","image_file":"train/00000_00_im.jpg"},
...
]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..common import quick_json
from ..common.errors import InputError
from ..common.files import Opener, atomic_write, writing
from ..common.workers import chunks, ordered_map
from ..labels.questions import Pair, pairs
from .split import Skipped, Split, read_frames


@dataclass
class Summary:
    """Counts of what was labelled: views, occurrences of each pair, what was skipped."""

    views: int = 0
    pairs: Counter[Pair] = field(default_factory=Counter)
    skipped: Skipped = field(default_factory=Skipped)

    def add(self, other: Summary) -> None:
        """Add the counts of `other`."""
        self.views += other.views
        self.pairs.update(other.pairs)
        self.skipped.add(other.skipped)


def write_pairs(
    split: Split, output: str | Path, num_workers: int, open_file: Opener = atomic_write
) -> Summary:
    """Write the pairs of every view that has a picture to `output`, whole or not at all.

    The bytes do not depend on `num_workers`, nor the memory on the size of the split.

    Args:
        open_file: opens `output`; see `common.outputs`.

    Raises:
        InputError: there is nothing to write, or `output` cannot be written.
    """
    summary = Summary()
    runs = chunks(split.info_files, num_workers)
    with (
        writing(output, "or try --output"),
        ordered_map(lambda run: label(split, run), runs, num_workers) as results,
        open_file(Path(output)) as file,
    ):
        from tqdm import tqdm  # imported while the workers label already

        with tqdm(total=len(split.info_files), unit=" info files") as progress:
            for run, (lines, labelled) in zip(runs, results, strict=True):
                if lines:
                    file.write(b",\n" if summary.views else b"[\n")
                    file.write(lines)
                summary.add(labelled)
                progress.update(len(run))
        if not summary.views:
            reasons = "; ".join(summary.skipped.lines()) or "its info files have no views"
            raise InputError(f"{split.folder}: nothing to label; {reasons}")
        file.write(b"\n]\n")
    return summary


def label(split: Split, info_files: Sequence[str]) -> tuple[bytes, Summary]:
    """The pairs of some info files: JSON objects, one per line, with commas between them."""
    summary = Summary()
    lines: list[bytes] = []
    for frame in read_frames(split, info_files, summary.skipped):
        for picture, scene in frame.views:
            image_file = split.image_file(picture)
            made = list(pairs(scene))
            for question, answer in made:
                row = {"question": question, "answer": answer, "image_file": image_file}
                lines.append(quick_json.dumps(row))
            summary.pairs.update(made)
            summary.views += 1
    return b",\n".join(lines), summary
