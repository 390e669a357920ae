"""What the answers of a benchmark add up to: shares with intervals, confusions, calibration.

Pure: outcomes go in, plain tables come out.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ..labels.questions import KINDS, kart_in
from ..labels.scene import Kart, Scene

ALL = "all"
SIZES = (5, 8, 12, 18, 30)  # lower bounds of the classes of kart size, in picture pixels
MOST_KARTS = 5  # views with so many karts or more are one class
BINS = 10  # of a probability, for calibration


class Outcome(NamedTuple):
    """One question with its answer, and what is known of the view that it was asked about."""

    image_file: str  # relative to the data folder
    question: str
    kind: str
    answer: str  # the model's
    truth: str
    right: bool
    scene: Scene | None  # None where the picture has no info file
    seen: bool | None  # is its (track, kart) pair in the training split? None: names none
    scores: tuple[tuple[str, float], ...] = ()  # (possible answer, probability), likeliest first

    @property
    def probability(self) -> float | None:
        """The model's for the answer that it gave; None where that was not measured."""
        return dict(self.scores).get(self.answer)


class Share(NamedTuple):
    """How many of some answers are right."""

    label: str
    right: int
    total: int

    def row(self) -> dict:
        """For JSON: with the share and its 95% interval."""
        low, high = wilson_interval(self.right / self.total, self.total)
        return {**self._asdict(), "accuracy": self.right / self.total, "low": low, "high": high}


def wilson_interval(share: float, total: int, z: float = 1.96) -> tuple[float, float]:
    """Confidence interval of a share of `total` trials (Wilson 1927); z = 1.96 for 95%."""
    if not total:
        return 0.0, 1.0
    middle = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def asked_kart(question: str, truth: str, kind: str) -> str | None:
    """The kart that a question names or asks for; None where it is about no single one."""
    return truth if kind == "ego" else kart_in(question)


def seen_in_training(
    scene: Scene | None, kart: str | None, training: frozenset[tuple[str, str]] | None
) -> bool | None:
    """Whether a kart was seen on the scene's track; None where that is no question or unknown.

    Args:
        training: (track, kart) pairs of all views of the training split, or None.
    """
    if scene is None or kart is None or training is None:
        return None
    return (scene.track, kart) in training


# --- shares ---


def share_per_kind(outcomes: Sequence[Outcome]) -> list[Share]:
    """One share for each kind that occurs, and one for all."""
    kinds = [kind for kind in (*KINDS, "other") if any(o.kind == kind for o in outcomes)]
    return [
        *(_share(kind, (o for o in outcomes if o.kind == kind)) for kind in kinds),
        _share(ALL, outcomes),
    ]


def breakdowns(outcomes: Sequence[Outcome]) -> dict[str, dict[str, list[Share]]]:
    """Name of a property -> kind (and "all") -> its shares, classes in their natural order."""
    classes: dict[str, Callable[[Outcome], tuple[int, str] | None]] = {
        "size": _size_class,
        "karts": _karts_class,
        "seen": _seen_class,
    }
    return {name: _by_class(outcomes, classify) for name, classify in classes.items()}


def _by_class(
    outcomes: Sequence[Outcome], classify: Callable[[Outcome], tuple[int, str] | None]
) -> dict[str, list[Share]]:
    found: defaultdict[str, defaultdict[tuple[int, str], list[Outcome]]]
    found = defaultdict(lambda: defaultdict(list))
    for outcome in outcomes:
        belongs = classify(outcome)
        if belongs is not None:
            found[ALL][belongs].append(outcome)
            found[outcome.kind][belongs].append(outcome)
    return {
        kind: [_share(label, members) for (_, label), members in sorted(classes.items())]
        for kind, classes in found.items()
    }


def size_of(outcome: Outcome) -> int | None:
    """The shorter side, in picture pixels, of the box of the kart that is asked about."""
    name = asked_kart(outcome.question, outcome.truth, outcome.kind)
    karts: Iterable[Kart] = outcome.scene.karts if outcome.scene else ()
    sides = [min(k.box[2] - k.box[0], k.box[3] - k.box[1]) for k in karts if k.name == name]
    return sides[0] if sides else None


def _size_class(outcome: Outcome) -> tuple[int, str] | None:
    size = size_of(outcome)
    if size is None:
        return None
    index = sum(size >= least for least in SIZES) - 1
    last = index + 1 == len(SIZES)
    return index, f"{SIZES[index]}+" if last else f"{SIZES[index]}-{SIZES[index + 1] - 1}"


def _karts_class(outcome: Outcome) -> tuple[int, str] | None:
    if outcome.scene is None:
        return None
    number = min(len(outcome.scene.karts), MOST_KARTS)
    return number, f"{number}+" if number == MOST_KARTS else str(number)


def _seen_class(outcome: Outcome) -> tuple[int, str] | None:
    if outcome.seen is None:
        return None
    return (0, "seen") if outcome.seen else (1, "unseen")


def _share(label: str, outcomes: Iterable[Outcome]) -> Share:
    right = [outcome.right for outcome in outcomes]
    return Share(label, sum(right), len(right))


# --- confusions ---


def confusion(outcomes: Iterable[Outcome], kind: str) -> dict:
    """How often each truth was answered how, for one kind.

    Returns:
        `labels`: truths and answers, sorted, counts by value; `counts`: a row for each truth
        and a column for each answer.
    """
    pairs = Counter((o.truth, o.answer) for o in outcomes if o.kind == kind)
    labels = sorted(
        {label for pair in pairs for label in pair},
        key=lambda label: (not label.isdigit(), int(label) if label.isdigit() else 0, label),
    )
    counts = [[pairs[truth, answer] for answer in labels] for truth in labels]
    return {"labels": labels, "counts": counts}


# --- calibration ---


def calibration(outcomes: Iterable[Outcome]) -> dict | None:
    """How the model's probabilities compare with how often it is right; None without any.

    Returns:
        `bins`: shares by probability in ten equal steps, with the bin's mean probability;
        `error`: the expected calibration error (Naeini et al. 2015), their mean distance.
    """
    bins: defaultdict[int, list[tuple[float, bool]]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.probability is not None:
            index = min(int(outcome.probability * BINS), BINS - 1)
            bins[index].append((outcome.probability, outcome.right))
    total = sum(map(len, bins.values()))
    if not total:
        return None
    rows, error = [], 0.0
    for index, members in sorted(bins.items()):
        share = Share(f"{index / BINS:.0%}", sum(right for _, right in members), len(members))
        mean = sum(probability for probability, _ in members) / len(members)
        rows.append({**share.row(), "probability": mean})
        error += abs(mean - share.right / share.total) * share.total / total
    return {"bins": rows, "error": error, "total": total}


# --- two models ---


def compare(now: Sequence[Outcome], before: dict[tuple[str, str], dict]) -> dict:
    """What changed, kind by kind, on the questions that both were asked.

    Args:
        before: (image_file, question) -> a sample of the other report, with `answer`, `right`.
    """
    rows = []
    shared = [(o, before[key]) for o in now if (key := (o.image_file, o.question)) in before]
    for kind in (*KINDS, "other", ALL):
        both = [(o, other) for o, other in shared if kind in (o.kind, ALL)]
        if both:
            fixed = sum(o.right and not other["right"] for o, other in both)
            broken = sum(other["right"] and not o.right for o, other in both)
            rows.append(
                {
                    "label": kind,
                    "total": len(both),
                    "before": sum(other["right"] for _, other in both),
                    "now": sum(o.right for o, _ in both),
                    "fixed": fixed,
                    "broken": broken,
                    "p": sign_test(fixed, broken),
                }
            )
    return {
        "kinds": rows,
        "only_now": len(now) - len(shared),
        "only_before": len(before) - len(shared),
    }


def sign_test(fixed: int, broken: int) -> float:
    """McNemar's exact test: how likely a difference like this is between equally good models."""
    total = fixed + broken
    tail = sum(math.comb(total, index) for index in range(min(fixed, broken) + 1))
    return min(1.0, 2 * tail / 2**total)
