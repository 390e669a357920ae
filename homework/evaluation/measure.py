"""Measure an adapter on a split and write the report.

python -m homework.finetune test homework/vlm_model --report out
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common import distributed
from ..common.files import digest
from ..data import Model, VQABenchmarkResult, VQADataset, benchmark
from ..frames.split import training_pairs
from ..model import adapter, heat_map
from ..model.likelihood import ScoringModel
from .majority import same_questions_baseline
from .outcomes import outcomes as outcomes_of
from .page import PAGE, add_comparison, read_report, report_data, write_report
from .statistics import Outcome
from .table import accuracy_table

if TYPE_CHECKING:
    from ..model.loaded import LoadedVLM


@dataclass(frozen=True)
class Measured:
    """A benchmark with everything that is reported about it."""

    dataset: VQADataset
    result: VQABenchmarkResult
    outcomes: list[Outcome]  # one per sample of the result
    baseline: VQABenchmarkResult  # the majority baseline on the same questions
    source: str  # where the answers of the baseline come from
    train_split: str
    seen_known: bool  # whether the info files of the training split are present
    seconds: float  # spent answering

    def table(self) -> str:
        """The text to print; see `accuracy_table`."""
        return accuracy_table(self.result, self.baseline, self.source, self.outcomes)


def measure(
    vlm: LoadedVLM,
    dataset: VQADataset,
    max_samples: int | None,
    train_split: str,
    baseline_split: str,
    probabilities: bool = False,
) -> Measured:
    """Ask the questions of the dataset and join the answers with their labels.

    Args:
        max_samples: questions to draw at random, with a fixed seed; None asks all.
        train_split: what the model was trained on; tells which karts it has seen on which track.
        baseline_split: where the majority baseline takes its answers from.
        probabilities: compute the probability of every possible answer, too.
    """
    # One call of `answer`: both models make their own batches and show one progress bar.
    model = ScoringModel(vlm) if probabilities else DistributedModel(vlm)
    start = time.perf_counter()
    result = benchmark(model, dataset, max_samples, batch_size=None)
    seconds = time.perf_counter() - start
    training = training_pairs(dataset.data_dir / train_split)
    computed = model.probabilities if isinstance(model, ScoringModel) else ()
    outcomes = outcomes_of(result, dataset.data_dir, training, computed)
    baseline, source = same_questions_baseline(result, baseline_split, dataset.data_dir)
    known = training is not None
    return Measured(dataset, result, outcomes, baseline, source, train_split, known, seconds)


def write_page(
    folder: Path,
    measured: Measured,
    vlm: LoadedVLM,
    name: str | Path,
    against: Path | None,
    num_heat_maps: int,
) -> str:
    """Write the report to `folder`, as a page and as JSON.

    Args:
        name: folder of the adapter.
        against: another report, to compare question by question.
        num_heat_maps: samples with a heat map, half of them wrong answers if there are enough.

    Returns:
        One line that says what was written.

    Raises:
        InputError: `against` is not a report.
    """
    other = read_report(against) if against else None
    samples, outcomes = measured.result.samples, measured.outcomes
    majority = {share.label: share.accuracy for share in measured.baseline.shares}
    data = report_data(outcomes, _about(measured, vlm, name), majority)
    if other:
        add_comparison(data, outcomes, other)
    chosen = _chosen(outcomes, num_heat_maps)
    shown = [samples[index] for index in chosen]
    maps = heat_map.heat_maps(
        vlm,
        [sample.image_path for sample in shown],
        [sample.question for sample in shown],
        [sample.model_answer for sample in shown],
    )
    files = {o.image_file: s.image_path for o, s in zip(outcomes, samples, strict=True)}
    size = write_report(folder, data, files, dict(zip(chosen, maps, strict=True)), heat_map.METHOD)
    return f"wrote {folder / PAGE} and report.json ({size / 1e6:.1f} MB); open it in a browser"


def _about(measured: Measured, vlm: LoadedVLM, name: str | Path) -> dict[str, Any]:
    folder = adapter.find(name)
    return {
        "checkpoint": folder.resolve().name,  # without the folders above, which are private
        "date": datetime.now().astimezone().isoformat(" ", "minutes"),
        "adapter_sha256": digest(folder / adapter.WEIGHTS),
        "base": Path(vlm.base).name,
        "split": measured.dataset.split,
        "train_split": measured.train_split,
        "seen_known": measured.seen_known,
        "majority_source": measured.source,
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
    }


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
