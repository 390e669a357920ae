"""Report the content of a split, and warn of a shortcut that a model could learn from it.

The shortcut: where each track was raced by one line-up of karts only, a model can learn "on this
track it is one of these karts". That fails on frames with other line-ups.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..common.errors import InputError
from ..common.workers import chunks, ordered_map
from ..frames.images import open_image
from ..frames.split import (
    AMBIGUOUS,
    NAMED,
    NO_IMAGE,
    Frame,
    Skipped,
    Split,
    read_frames,
)
from ..labels.questions import KINDS, Pair, kind_of, pairs
from ..labels.scene import IMAGE_SIZE

LineUp = tuple[str, ...]  # kart names, sorted


@dataclass
class Survey:
    """Counts over the info files and images of a split."""

    frames: Counter[str] = field(default_factory=Counter)  # track -> frames
    line_ups: Counter[tuple[str, LineUp]] = field(default_factory=Counter)  # -> frames
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)  # (track, kart) -> views
    karts_in_view: Counter[int] = field(default_factory=Counter)  # karts -> views
    pairs: Counter[Pair] = field(default_factory=Counter)
    images_expected: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)  # "image: reason" -> 1
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)  # width, height -> images
    skipped: Skipped = field(default_factory=Skipped)

    def add(self, other: Survey) -> None:
        """Add the counts of `other`."""
        for name, value in vars(other).items():
            if isinstance(value, Counter):
                getattr(self, name).update(value)
        self.images_expected += other.images_expected
        self.skipped.add(other.skipped)


def survey(split: Split, num_workers: int, decode: bool = True) -> Survey:
    """Read every info file of a split and, if `decode`, every image of its views."""
    found = Survey()
    runs = chunks(split.info_files, num_workers, largest=16)
    with ordered_map(lambda run: _survey_run(split, run, decode), runs, num_workers) as results:
        from tqdm import tqdm

        with tqdm(total=len(split.info_files), unit=" info files", desc=split.name) as progress:
            for run, part in zip(runs, results, strict=True):
                found.add(part)
                progress.update(len(run))
    return found


def _survey_run(split: Split, info_files: Sequence[str], decode: bool) -> Survey:
    found = Survey()
    for frame in read_frames(split, info_files, found.skipped):
        if not frame.views:
            continue  # its track and karts are unchecked, as no view needed them
        found.images_expected += len(frame.views)
        track = frame.info["track"]
        found.frames[track] += 1
        found.line_ups[track, tuple(sorted(frame.info["karts"]))] += 1
        _survey_views(split, frame, found, decode)
    return found


def _survey_views(split: Split, frame: Frame, found: Survey, decode: bool) -> None:
    for image, scene in frame.views:
        found.karts_in_view[len(scene.karts)] += 1
        found.seen.update((scene.track, kart.name) for kart in scene.karts)
        found.pairs.update(pairs(scene))
        if decode:
            try:
                found.sizes[open_image(split.folder / image).size] += 1
            except InputError as error:
                found.unreadable[str(error)] += 1


def report(split: Split, found: Survey) -> Iterator[str]:
    """The report on one split, line by line."""
    skipped = found.skipped.counts
    views = found.images_expected + skipped[NO_IMAGE] + skipped[AMBIGUOUS]
    yield f"{split.folder}: {len(split.info_files):,} frames (info files), {views:,} views"
    yield from _images(split, found)
    yield from (f"  {line}" for line in found.skipped.lines())
    yield ""
    yield from _tracks(found)
    yield ""
    yield "karts in a view (of those large enough to count):"
    total = max(found.karts_in_view.total(), 1)
    for karts, number in sorted(found.karts_in_view.items()):
        bar = "#" * round(40 * number / total)
        yield f"  {karts:2}  {number:7,} views {number / total:6.1%}  {bar}".rstrip()
    yield ""
    yield answer_table(found.pairs)
    yield ""
    yield from _trap(found)


def _images(split: Split, found: Survey) -> Iterator[str]:
    orphans = split.orphans
    yield (
        f"  {len(split.images):,} images: {found.skipped.counts[NO_IMAGE]:,} missing, "
        f"{found.unreadable.total():,} unreadable, {len(orphans):,} without an info file"
    )
    yield from (f"  unreadable: {line}" for line in sorted(found.unreadable)[:NAMED])
    if orphans:
        yield f"  without an info file: {', '.join(orphans[:NAMED])}"
    for size, number in sorted(found.sizes.items()):
        if size != IMAGE_SIZE:
            yield f"  images of {size[0]}x{size[1]}, not 150x100: {number:,}"


def _tracks(found: Survey) -> Iterator[str]:
    yield f"{'track':22}{'frames':>7}{'line-ups':>9}{'karts':>6}"
    karts_of: defaultdict[str, set[str]] = defaultdict(set)
    for track, line_up in found.line_ups:
        karts_of[track].update(line_up)
    line_ups = Counter(track for track, _ in found.line_ups)
    for track, frames in sorted(found.frames.items()):
        karts = sorted(karts_of[track])
        row = f"{track:22}{frames:7,}{line_ups[track]:9,}{len(karts):6}"
        yield f"{row}  {', '.join(karts)}" if line_ups[track] == 1 else row


def _trap(found: Survey) -> Iterator[str]:
    """Warn where a model can guess the karts from the track."""
    line_ups = Counter(track for track, _ in found.line_ups)
    single = [track for track, number in line_ups.items() if number == 1]
    karts = {kart for _, line_up in found.line_ups for kart in line_up}
    possible = {(track, kart) for track in line_ups for kart in karts}
    never = len(possible) - len(possible & found.seen.keys())
    if possible:
        yield (
            f"of {len(possible):,} (track, kart) pairs ({len(line_ups)} tracks, {len(karts)} "
            f"karts) {never:,} ({never / len(possible):.0%}) are in no view"
        )
    if single:
        most = max(len(line_up) for track, line_up in found.line_ups if line_ups[track] == 1)
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


def compare(split: Split, found: Survey, other: Split, met: Survey) -> Iterator[str]:
    """How much of `other` (surveyed as `met`) shows karts on tracks where `split` has none."""
    new = [pair for pair in met.seen if pair not in found.seen]
    views = sum(met.seen[pair] for pair in new)
    yield (
        f"{len(new):,} of the {len(met.seen):,} (track, kart) pairs seen in {other.folder} "
        f"({_share(len(new), len(met.seen))}), and {_share(views, met.seen.total())} of the karts "
        f"in its views, never occur in {split.folder}"
    )
    both = {track for track, _ in found.line_ups} & {track for track, _ in met.line_ups}
    same = {track for track, _ in found.line_ups.keys() & met.line_ups.keys()}
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
