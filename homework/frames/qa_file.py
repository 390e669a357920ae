"""Write all question/answer pairs of a split: every info file read and parsed once.

[
{"question":"What track is this?","answer":"abyss","image_file":"train/00000_00_im.jpg"},
...
]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from ..common.errors import InputError
from ..common.files import atomic_write, disk_line
from ..common.workers import chunks, ordered_map
from ..labels.questions import KINDS, Pair, kind_of, layout, pairs
from ..labels.scene import Scene
from .split import Skipped, Split, read_frames

_HOLE = b"\0"  # stands for the picture in a text; JSON has no such byte


class _Template(NamedTuple):
    """What the views of one layout have in common: their pairs, and the text of these."""

    text: bytes  # JSON objects with a hole for each `image_file`
    pairs: tuple[Pair, ...]


# By layout: five of six views need no pair made. The full train split has some 6,000 layouts.
_templates: dict[tuple, _Template] = {}
_MAX_TEMPLATES = 20_000


@dataclass
class Summary:
    """What was labelled: views, how often each pair occurs, what was left out."""

    views: int = 0
    pairs: Counter[Pair] = field(default_factory=Counter)
    skipped: Skipped = field(default_factory=Skipped)

    def add(self, other: Summary) -> None:
        """Count what `other` labelled, too."""
        self.views += other.views
        self.pairs.update(other.pairs)
        self.skipped.add(other.skipped)


def write_pairs(split: Split, output: str | Path, num_workers: int) -> Summary:
    """Write the pairs of every view that has a picture to `output`, whole or not at all.

    The bytes are the same whatever `num_workers` is. Memory does not grow with the split.

    Raises:
        InputError: there is nothing to write, or `output` cannot be written.
    """
    summary = Summary()
    runs = chunks(split.info_files, num_workers)
    try:
        with (
            ordered_map(lambda run: label(split, run), runs, num_workers) as results,
            atomic_write(output) as file,
        ):
            from tqdm import tqdm  # while the workers are at it already

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
    except OSError as error:
        raise InputError(f"{disk_line(error, output)}, or try --output") from None
    return summary


def label(split: Split, info_files: Sequence[str]) -> tuple[bytes, Summary]:
    """The pairs of some info files: JSON objects, one a line, with commas between them."""
    import orjson

    if len(_templates) > _MAX_TEMPLATES:
        _templates.clear()
    summary = Summary()
    lines: list[bytes] = []
    used: list[_Template] = []
    for frame in read_frames(split, info_files, summary.skipped):
        for picture, scene in frame.views:
            key = layout(scene)
            template = _templates.get(key)
            if template is None:
                template = _templates[key] = _template(scene)
            image_file = orjson.dumps(split.image_file(picture))
            lines.append(template.text.replace(_HOLE, image_file))
            used.append(template)
    summary.views = len(used)
    summary.pairs.update(chain.from_iterable(template.pairs for template in used))
    return b",\n".join(lines), summary


def _template(scene: Scene) -> _Template:
    made = tuple(pairs(scene))
    return _Template(b",\n".join(_pair_text(pair) for pair in made), made)


@cache
def _pair_text(pair: Pair) -> bytes:
    import orjson

    question, answer = map(orjson.dumps, pair)
    return b'{"question":%b,"answer":%b,"image_file":%b}' % (question, answer, _HOLE)


def answer_table(occurrences: Mapping[Pair, int], most: int = 5) -> str:
    """A line for each kind: its pairs, their share and its most frequent answers."""
    answers: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for (question, answer), number in occurrences.items():
        answers[kind_of(question)][answer] += number
    total = sum(occurrences.values())
    lines = [f"{'kind':18}{'pairs':>9}{'share':>8}{'answers':>9}  most frequent"]
    for kind, counter in answers.items():
        number = counter.total()
        commonest = sorted(counter.items(), key=lambda item: (-item[1], item[0]))[:most]
        shares = ", ".join(f"{answer} {times / number:.1%}" for answer, times in commonest)
        more = ", ..." if len(counter) > most else ""
        share = number / max(total, 1)
        lines.append(f"{kind:18}{number:9,}{share:8.1%}{len(counter):9,}  {shares}{more}")
    return "\n".join(lines)
