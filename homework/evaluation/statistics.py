"""Statistics of a benchmark: accuracy by class, confusions, calibration, two models compared.

Pure: outcomes go in, plain tables come out.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..data import ALL, Accuracy, VQABenchmarkResult
from ..labels.questions import KINDS, Probabilities, asked_kart
from ..labels.scene import SIZES, Kart, Scene

MOST_KARTS = 5  # views with this many karts or more form one class
OTHER_ANSWER = "another answer"
BINS = 10  # equal intervals of probability
PROPERTIES = ("size", "karts", "seen", "confidence")  # by which accuracies are broken down
Class = tuple[int, str]  # rank and label of a class of outcomes


class Outcome(NamedTuple):
    """One question with its answer, and what is known about the view."""

    image_file: str  # relative to the data folder
    question: str
    kind: str
    answer: str  # the model's
    truth: str
    right: bool
    scene: Scene | None  # None if the image has no info file
    seen: bool | None  # is its (track, kart) pair in the training split? None: unknown or no kart
    probabilities: Probabilities = ()  # of every possible answer; () if not computed

    @property
    def probability(self) -> float | None:
        """The probability of the model's answer; None if it was not computed."""
        return dict(self.probabilities).get(self.answer)


def seen_in_training(
    scene: Scene | None, kart: str | None, training: frozenset[tuple[str, str]] | None
) -> bool | None:
    """Whether (track, kart) is among those of `training`; None if an argument is None."""
    if scene is None or kart is None or training is None:
        return None
    return (scene.track, kart) in training


# --- accuracy by class ---


def breakdowns(outcomes: Sequence[Outcome]) -> dict[str, dict[str, list[Accuracy]]]:
    """Property -> kind (and "all") -> one accuracy per class of the property, in rank order."""
    found: dict[str, defaultdict[str, defaultdict[Class, list[bool]]]]
    found = {name: defaultdict(lambda: defaultdict(list)) for name in PROPERTIES}
    for outcome in outcomes:
        for name, group in classes(outcome).items():
            for kind in (ALL, outcome.kind):
                found[name][kind][group].append(outcome.right)
    return {
        name: {
            kind: [Accuracy.count(label, right) for (_, label), right in sorted(groups.items())]
            for kind, groups in table.items()
        }
        for name, table in found.items()
    }


def classes(outcome: Outcome) -> dict[str, Class]:
    """Property -> the outcome's class, for those of PROPERTIES that it has."""
    found: dict[str, Class] = {}
    if (size := size_of(outcome)) is not None:
        index = bisect(SIZES, size) - 1
        most = f"-{SIZES[index + 1] - 1}" if index + 1 < len(SIZES) else "+"
        found["size"] = index, f"{SIZES[index]}{most}"
    if outcome.scene is not None:
        number = min(len(outcome.scene.karts), MOST_KARTS)
        found["karts"] = number, f"{number}+" if number == MOST_KARTS else str(number)
    if outcome.seen is not None:
        found["seen"] = (0, "seen") if outcome.seen else (1, "unseen")
    if outcome.probability is not None:
        index = min(int(outcome.probability * BINS), BINS - 1)
        found["confidence"] = index, f"{index / BINS:.0%} to {(index + 1) / BINS:.0%}"
    return found


def size_of(outcome: Outcome) -> int | None:
    """Shorter side, in image pixels, of the box of the kart asked about; None if unknown."""
    name = asked_kart(outcome.question, outcome.truth, outcome.kind)
    karts: Iterable[Kart] = outcome.scene.karts if outcome.scene else ()
    sides = [min(k.box[2] - k.box[0], k.box[3] - k.box[1]) for k in karts if k.name == name]
    return sides[0] if sides else None


# --- confusions ---


def confusion(outcomes: Iterable[Outcome], kind: str) -> dict:
    """The confusion matrix of one kind.

    Returns:
        `labels`: truths and answers, sorted, numbers by value, and last OTHER_ANSWER for answers
        that no question of the kind has; `counts`: one row per truth, one column per answer.
    """
    of_kind = [outcome for outcome in outcomes if outcome.kind == kind]
    known = {answer for answers in KINDS[kind].forms.values() for answer in answers}
    known |= {outcome.truth for outcome in of_kind}
    pairs = Counter(
        (o.truth, o.truth if o.right else o.answer if o.answer in known else OTHER_ANSWER)
        for o in of_kind
    )

    def order(label: str) -> tuple:
        is_number = label.isdecimal()
        return label == OTHER_ANSWER, not is_number, int(label) if is_number else 0, label

    labels = sorted({label for pair in pairs for label in pair}, key=order)
    counts = [[pairs[truth, answer] for answer in labels] for truth in labels]
    return {"labels": labels, "counts": counts}


# --- calibration ---


def calibration(outcomes: Iterable[Outcome]) -> dict | None:
    """Compare the probabilities of the model's answers with its accuracy; None without any.

    Returns:
        `bins`: accuracy and mean probability per tenth of probability; `error`: the expected
        calibration error (Naeini et al. 2015), the mean distance of the two; `total`: answers.
    """
    bins: defaultdict[Class, list[tuple[float, bool]]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.probability is not None:
            group = classes(outcome)["confidence"]
            bins[group].append((outcome.probability, outcome.right))
    total = sum(map(len, bins.values()))
    if not total:
        return None
    rows, error = [], 0.0
    for (_, label), members in sorted(bins.items()):
        accuracy = Accuracy.count(label, (right for _, right in members))
        mean = sum(probability for probability, _ in members) / len(members)
        rows.append({**accuracy.row(), "probability": mean})
        error += abs(mean - accuracy.value) * accuracy.total / total
    return {"bins": rows, "error": error, "total": total}


# --- two models ---


def compare(now: Sequence[Outcome], before: dict[tuple[str, str], dict]) -> dict:
    """Count what changed per kind, on the questions that both models were asked.

    `before` is (image_file, question) -> a sample of the other report, with `answer` and `right`.
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
    """McNemar's exact test: two-sided p-value of the difference between equally good models."""
    total = fixed + broken
    tail = sum(math.comb(total, index) for index in range(min(fixed, broken) + 1))
    return min(1.0, 2 * tail / 2**total)


def accuracy_table(
    result: VQABenchmarkResult,
    baseline: VQABenchmarkResult,
    source: str,
    outcomes: Sequence[Outcome] = (),
    base: VQABenchmarkResult | None = None,
) -> str:
    """Accuracy per kind and overall with 95% intervals, beside the majority baseline.

    Args:
        baseline: on the same questions, with answers from `source`; see `same_questions_baseline`.
        outcomes: of the same questions. If they tell whether training showed the kart on the
            track, the table gives the accuracy for seen and unseen pairs separately.
        base: the base alone on the same questions.
    """
    lines = [f"{'kind':<22}questions  accuracy     95% interval  majority"]
    lines += [
        f"{_line(accuracy)} {majority.value:>9.1%}"
        for accuracy, majority in zip(result.accuracies, baseline.accuracies, strict=True)
    ]
    if base:
        lines[0] += "  base alone"
        for index, accuracy in enumerate(base.accuracies, 1):
            lines[index] += f"{accuracy.value:>12.1%}"
    seen = breakdowns(outcomes)["seen"]
    if seen:
        lines += ["", "kart and track together in the training split, for kinds about one kart:"]
        for kind, accuracies in seen.items():
            if kind != ALL:
                lines += [
                    _line(accuracy._replace(label=f"{kind}, {accuracy.label}"))
                    for accuracy in accuracies
                ]
    lines += ["", f"intervals: Wilson; majority: the most common answer of {source}"]
    return "\n".join(lines)


def _line(accuracy: Accuracy) -> str:
    row = accuracy.row()
    interval = f"{row['low']:.1%} to {row['high']:.1%}"
    return f"{accuracy.label:<25} {accuracy.total:>5} {row['accuracy']:>9.1%}  {interval:>15}"
