"""What is in a split, and a warning of a shortcut that a model could learn from it.

The shortcut: where each track was raced by one line-up of karts only, a model can learn "on this
track it is one of these karts". That fails on frames with other line-ups.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..common.errors import InputError
from ..common.workers import chunks, ordered_map
from ..frames.images import open_image
from ..frames.split import AMBIGUOUS, NAMED, NO_IMAGE, Skipped, Split, read_frames
from ..labels.questions import KINDS, Pair, kind_of, pairs
from ..labels.scene import IMAGE_SIZE, Scene

LineUp = tuple[str, ...]  # kart names, sorted
Image = tuple[tuple[int, int], Any] | str  # size and thumbnail, or why it cannot be read
THUMBNAIL_SIZE = (15, 10)  # width, height of a thumbnail, uint8 (height, width), grey


@dataclass
class Survey:
    """The labels of a split's views, and what was found of its images."""

    split: Split
    views: list[tuple[str, Scene]] = field(default_factory=list)  # image's name, scene
    images: list[Image] = field(default_factory=list)  # of each view; empty if not decoded
    line_ups: Counter[tuple[str, LineUp]] = field(default_factory=Counter)  # -> info files
    skipped: Skipped = field(default_factory=Skipped)

    @property
    def seen(self) -> Counter[tuple[str, str]]:
        """(track, kart) -> views that show the kart, large enough to count."""
        return Counter((scene.track, kart.name) for _, scene in self.views for kart in scene.karts)

    @property
    def pairs(self) -> Counter[Pair]:
        """How often each pair occurs."""
        return Counter(pair for _, scene in self.views for pair in pairs(scene))

    @property
    def unreadable(self) -> list[str]:
        """The images that cannot be read, each with the reason."""
        return [image for image in self.images if isinstance(image, str)]


def survey(split: Split, num_workers: int, decode: bool = True) -> Survey:
    """Read every info file of a split and, if `decode`, every image of its views.

    Raises InputError if there is no view to look at.
    """
    from tqdm import tqdm

    found = Survey(split)
    runs = chunks(split.info_files, num_workers, largest=16)
    with (
        ordered_map(lambda run: _look(split, run, decode), runs, num_workers) as results,
        tqdm(total=len(split.info_files), unit=" info files", desc=split.name) as progress,
    ):
        for run, (views, images, line_ups, skipped) in zip(runs, results, strict=True):
            found.views += views
            found.images += images
            found.line_ups.update(line_ups)
            found.skipped.add(skipped)
            progress.update(len(run))
    if not found.views:
        raise found.skipped.nothing_left(split, "show")
    return found


def _look(split: Split, info_files: Sequence[str], decode: bool):
    views: list[tuple[str, Scene]] = []
    line_ups: Counter[tuple[str, LineUp]] = Counter()
    skipped = Skipped()
    for frame in read_frames(split, info_files, skipped):
        if frame.views:  # otherwise its track and karts are unchecked, as no view needed them
            views += frame.views
            line_ups[frame.info["track"], tuple(sorted(frame.info["karts"]))] += 1
    images = [_image(split, name) for name, _ in views] if decode else []
    return views, images, line_ups, skipped


def _image(split: Split, name: str) -> Image:
    import numpy as np
    from PIL.Image import Resampling

    try:
        image = open_image(split.folder / name)
    except InputError as error:
        return str(error)
    grey = image.resize(IMAGE_SIZE).convert("L")
    return image.size, np.asarray(grey.resize(THUMBNAIL_SIZE, Resampling.BOX))


def report(found: Survey) -> Iterator[str]:
    """The report on one split, line by line."""
    split, skipped = found.split, found.skipped.counts
    views = len(found.views) + skipped[NO_IMAGE] + skipped[AMBIGUOUS]
    yield f"{split.folder}: {len(split.info_files):,} frames (info files), {views:,} views"
    yield from _images(found)
    yield from (f"  {line}" for line in found.skipped.lines())
    yield ""
    yield from _tracks(found)
    yield ""
    yield "karts in a view (of those large enough to count):"
    for karts, number in sorted(Counter(len(scene.karts) for _, scene in found.views).items()):
        share = number / len(found.views)
        yield f"  {karts:2}  {number:7,} views {share:6.1%}  {'#' * round(40 * share)}".rstrip()
    yield ""
    yield answer_table(found.pairs)
    yield ""
    yield from _trap(found)


def _images(found: Survey) -> Iterator[str]:
    orphans, unreadable = found.split.orphans, found.unreadable
    yield (
        f"  {len(found.split.images):,} images: {found.skipped.counts[NO_IMAGE]:,} missing, "
        f"{len(unreadable):,} unreadable, {len(orphans):,} without an info file"
    )
    yield from (f"  unreadable: {line}" for line in sorted(unreadable)[:NAMED])
    if orphans:
        yield f"  without an info file: {', '.join(orphans[:NAMED])}"
    sizes = Counter(image[0] for image in found.images if not isinstance(image, str))
    for size, number in sorted(sizes.items()):
        if size != IMAGE_SIZE:
            yield f"  images of {size[0]}x{size[1]}, not 150x100: {number:,}"


def _tracks(found: Survey) -> Iterator[str]:
    yield f"{'track':22}{'frames':>7}{'line-ups':>9}{'karts':>6}"
    of_track: defaultdict[str, dict[LineUp, int]] = defaultdict(dict)
    for (track, line_up), frames in found.line_ups.items():
        of_track[track][line_up] = frames
    for track, line_ups in sorted(of_track.items()):
        karts = sorted({kart for line_up in line_ups for kart in line_up})
        row = f"{track:22}{sum(line_ups.values()):7,}{len(line_ups):9,}{len(karts):6}"
        yield f"{row}  {', '.join(karts)}" if len(line_ups) == 1 else row


def _trap(found: Survey) -> Iterator[str]:
    """Warn where a model can guess the karts from the track."""
    line_ups = Counter(track for track, _ in found.line_ups)
    single = [track for track, number in line_ups.items() if number == 1]
    karts = {kart for _, line_up in found.line_ups for kart in line_up}
    possible = {(track, kart) for track in line_ups for kart in karts}
    never = len(possible - found.seen.keys())
    if possible:
        yield (
            f"of {len(possible):,} (track, kart) pairs ({len(line_ups)} tracks, {len(karts)} "
            f"karts) {never:,} ({never / len(possible):.0%}) are in no view"
        )
    if single:
        most = max(len(line_up) for track, line_up in found.line_ups if track in single)
        yield (
            f"WARNING: {len(single)} of {len(line_ups)} tracks were raced by one line-up of karts "
            f"only ({most} of the {len(karts)} karts, always the same). A model can learn 'this "
            "track, so one of these karts' instead of looking at the kart, and loses that on "
            "frames with other line-ups. Judge it on frames with other line-ups."
        )
    elif never > len(possible) / 4:
        yield (
            "WARNING: many karts are never seen on some tracks: a model can learn which karts go "
            "with a track instead of looking at the kart."
        )


def compare(found: Survey, other: Survey) -> Iterator[str]:
    """How much of `other` shows karts on tracks where `found` has none."""
    seen, met = found.seen, other.seen
    new = [pair for pair in met if pair not in seen]
    views = sum(met[pair] for pair in new)
    yield (
        f"{len(new):,} of the {len(met):,} (track, kart) pairs seen in {other.split.folder} "
        f"({_share(len(new), len(met))}), and {_share(views, met.total())} of the karts "
        f"in its views, never occur in {found.split.folder}"
    )
    both = {track for track, _ in found.line_ups} & {track for track, _ in other.line_ups}
    same = {track for track, _ in found.line_ups.keys() & other.line_ups.keys()}
    yield f"{len(same):,} of the {len(both):,} tracks of both have a line-up in common"
    if new:
        yield (
            "WARNING: what was learnt as 'this track, so one of these karts' fails there; "
            "expect a lower accuracy than on frames like the training frames."
        )


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "none"


def answer_table(occurrences: Mapping[Pair, int], most: int = 5) -> str:
    """A line for each kind: its pairs, their share and its most frequent answers."""
    total = sum(occurrences.values())
    lines = [f"{'kind':18}{'pairs':>9}{'share':>8}{'answers':>9}  most frequent"]
    for kind, counter in answers_by_kind(occurrences).items():
        number = counter.total()
        commonest = most_frequent(counter, most)
        shares = ", ".join(f"{answer} {times / number:.1%}" for answer, times in commonest)
        more = ", ..." if len(counter) > most else ""
        share = number / max(total, 1)
        lines.append(f"{kind:18}{number:9,}{share:8.1%}{len(counter):9,}  {shares}{more}")
    return "\n".join(lines)


def answers_by_kind(occurrences: Mapping[Pair, int]) -> dict[str, Counter[str]]:
    """How often each answer to each kind of question occurs."""
    answers: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for (question, answer), number in occurrences.items():
        answers[kind_of(question)][answer] += number
    return answers


def most_frequent(answers: Counter[str], most: int) -> list[tuple[str, int]]:
    """At most `most` answers with their counts, the most frequent first, ties by name."""
    return sorted(answers.items(), key=lambda item: (-item[1], item[0]))[:most]
