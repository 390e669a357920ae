"""Measure a model on a split and write the report.

python -m homework.finetune test homework/vlm_model --report out
python -m homework.evaluate predictions.json --report out
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common import distributed
from ..common.files import Opener, atomic_write
from ..data import Model, VQABenchmarkResult, VQADataset, benchmark
from .about import about_adapter
from .majority import same_questions_baseline
from .outcomes import image_file, training_pairs
from .outcomes import outcomes as outcomes_of
from .page import PAGE, report_data, write_report
from .runs import Run
from .statistics import Outcome
from .table import accuracy_table

if TYPE_CHECKING:
    from ..model.vlm import BaseVLM


@dataclass(frozen=True)
class Measured:
    """A benchmark with everything that is reported about it."""

    dataset: VQADataset
    result: VQABenchmarkResult
    outcomes: list[Outcome]  # one per sample of the result
    baseline: VQABenchmarkResult  # the majority baseline on the same questions
    source: str  # where the answers of the baseline come from
    train_split: str | None  # None if it is not known
    seen_known: bool  # whether the info files of the training split are present
    seconds: float  # spent answering
    base: VQABenchmarkResult | None  # the base alone on the same questions

    def table(self) -> str:
        """The text to print; see `accuracy_table`."""
        return accuracy_table(self.result, self.baseline, self.source, self.outcomes, self.base)

    def base_run(self, name: str) -> list[Run]:
        """The answers of the base alone, to compare with; none if it was not asked."""
        if not self.base:
            return []
        answers = {
            (image_file(s.image_path, self.dataset.data_dir), s.question): s.model_answer
            for s in self.base.samples
        }
        return [Run(f"{name} alone", "", answers)]


def measure(
    model: Model,
    dataset: VQADataset,
    max_samples: int | None,
    train_split: str | None,
    baseline_split: str,
    base: VQABenchmarkResult | None = None,
) -> Measured:
    """Ask the questions of the dataset and join the answers with their labels.

    Args:
        model: asked everything in one call; its `probabilities`, if it has some, are kept.
        max_samples: questions to draw at random, with a fixed seed; None asks all.
        train_split: what the model was trained on; tells which karts it has seen on which track.
            None if it is not known.
        baseline_split: where the majority baseline takes its answers from.
        base: the base alone on the same questions.
    """
    start = time.perf_counter()
    # One call of `answer`: models make their own batches and show one progress bar.
    result = benchmark(model, dataset, max_samples, batch_size=None)
    seconds = time.perf_counter() - start
    training = training_pairs(dataset.data_dir / train_split) if train_split else None
    computed = getattr(model, "probabilities", ())
    outcomes = outcomes_of(result, dataset.data_dir, training, computed)
    baseline, source = same_questions_baseline(result, baseline_split, dataset.data_dir)
    known = training is not None
    return Measured(dataset, result, outcomes, baseline, source, train_split, known, seconds, base)


def measure_adapter(
    vlm: BaseVLM,
    dataset: VQADataset,
    max_samples: int | None,
    baseline_split: str | None,
    base_alone: bool | None,
    probabilities: bool,
) -> Measured | None:
    """Evaluate a loaded adapter, and before it the base alone: the same model, adapter off.

    Args:
        vlm: with an adapter that is not merged yet; this call merges it.
        max_samples: questions to draw at random, with a fixed seed; None asks all.
        baseline_split: where the majority baseline takes its answers from; if omitted, the split
            that the adapter was trained on, or "train" where that is not known.
        base_alone: ask the base as well; if None, where there are probabilities.
        probabilities: compute the probabilities of all possible answers. Then the main process
            answers all questions; otherwise the processes share them.

    Returns:
        None in the processes beside the main one.
    """
    from ..model.adapter import merge
    from ..model.likelihood import ScoringModel

    if probabilities and not distributed.is_main():
        return None
    alone = None
    if probabilities if base_alone is None else base_alone:
        with vlm.base_alone() as base:
            asked = base if probabilities else DistributedModel(base)
            alone = benchmark(asked, dataset, max_samples, batch_size=None)
    merge(vlm)
    assert vlm.adapter
    model = ScoringModel(vlm) if probabilities else DistributedModel(vlm)
    trained = vlm.adapter.split
    baseline = str(baseline_split or trained or "train")
    measured = measure(model, dataset, max_samples, trained, baseline, alone)
    return measured if distributed.is_main() else None


def report_adapter(
    folder: Path,
    vlm: BaseVLM,
    measured: Measured,
    others: Sequence[Run],
    most: int,
    open_file: Opener = atomic_write,
) -> str:
    """Write the report of an adapter; see `write_page`.

    Args:
        others: runs to compare with, beside the base alone.
        most: heat maps; none are made of an adapter in the starter's form.
    """
    assert vlm.adapter
    about = about_adapter(vlm.adapter, measured.dataset.data_dir)
    others = [*measured.base_run(about["base"]), *others]
    maps = {} if vlm.inputs.starter else heat_maps(vlm, measured, most)
    return write_page(folder, measured, about, others, maps, open_file)


def write_page(
    folder: Path,
    measured: Measured,
    about: Mapping[str, Any],
    others: Sequence[Run] = (),
    heat: Mapping[int, Any] | None = None,
    open_file: Opener = atomic_write,
) -> str:
    """Write the report to `folder`, as a page and as JSON.

    Args:
        about: the run; name, date and more; see `about.about_adapter`.
        others: runs to compare with, question by question.
        heat: index of a sample -> its heat map; see `heat_maps`.
        open_file: opens the files; see `common.outputs`.

    Returns:
        One line that says what was written.
    """
    samples, outcomes = measured.result.samples, measured.outcomes
    questions = {
        "split": measured.dataset.split,
        "train_split": measured.train_split,
        "seen_known": measured.seen_known,
        "majority_source": measured.source,
    }
    majority = {accuracy.label: accuracy.value for accuracy in measured.baseline.accuracies}
    data = report_data(outcomes, {**about, **questions}, majority, others)
    files = {o.image_file: s.image_path for o, s in zip(outcomes, samples, strict=True)}
    size = write_report(folder, data, files, heat or {}, open_file)
    return f"wrote {folder / PAGE} and report.json ({size / 1e6:.1f} MB); open it in a browser"


def heat_maps(vlm: BaseVLM, measured: Measured, most: int) -> dict[int, Any]:
    """Heat maps of at most `most` samples, half of them wrong answers if there are enough.

    Returns:
        index of a sample -> float (side, side) from 0 to 1.
    """
    from ..model import heat_map

    chosen = _chosen(measured.outcomes, most)
    shown = [measured.result.samples[index] for index in chosen]
    maps = heat_map.heat_maps(
        vlm,
        [sample.image_path for sample in shown],
        [sample.question for sample in shown],
        [sample.model_answer for sample in shown],
    )
    return dict(zip(chosen, maps, strict=True))


def _chosen(outcomes: Sequence[Outcome], most: int) -> list[int]:
    """Draw samples at random with a fixed seed, half of them wrong if there are enough."""
    order = random.Random(0).sample(range(len(outcomes)), len(outcomes))
    wrong = [index for index in order if not outcomes[index].right]
    right = [index for index in order if outcomes[index].right]
    kept = wrong[: max(most // 2, most - len(right))]
    return sorted(kept + right[: most - len(kept)])


class DistributedModel:
    """Divides the questions among the processes; one process answers all about a picture."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def answer(self, image_paths: Sequence[str], questions: Sequence[str]) -> list[str]:
        """All answers, in the order asked; every process gets them all."""
        pictures = {path: place for place, path in enumerate(dict.fromkeys(image_paths))}
        mine = [
            index
            for index, path in enumerate(image_paths)
            if pictures[path] % distributed.world_size() == distributed.rank()
        ]
        found = self.model.answer(
            [image_paths[index] for index in mine], [questions[index] for index in mine]
        )
        answers = [""] * len(questions)
        for part in distributed.gather(list(zip(mine, found, strict=True))):
            for index, answer in part:
                answers[index] = answer
        return answers
