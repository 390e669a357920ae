"""Measure a checkpoint on a split, and write the report of it.

python -m homework.finetune test homework/vlm_model --report out
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common import distributed
from ..common.files import digest
from ..data import Model, VQABenchmarkResult, VQADataset, benchmark
from ..frames.split import training_pairs
from ..model import adapter, heat_map
from ..model.likelihood import ScoringModel
from .majority import majority_accuracy, same_questions_baseline
from .outcomes import outcomes as outcomes_of
from .page import PAGE, add_comparison, read_report, report_data, write_report
from .statistics import Outcome
from .table import accuracy_table

if TYPE_CHECKING:
    from ..model.loaded import LoadedVLM


@dataclass(frozen=True)
class Measured:
    """A benchmark with all that is reported of it."""

    dataset: VQADataset
    result: VQABenchmarkResult
    outcomes: list[Outcome]  # of the result's samples
    baseline: VQABenchmarkResult  # the majority's, on the same samples
    source: str  # where the majority's answers come from
    train_split: str
    seen_known: bool  # are the training split's info files here?
    seconds: float  # that answering took

    def table(self) -> str:
        """For people: see `table.accuracy_table`."""
        return accuracy_table(self.result, self.baseline, self.source, self.outcomes)


def measure(
    vlm: LoadedVLM,
    dataset: VQADataset,
    max_samples: int | None,
    train_split: str,
    baseline_split: str,
    scored: bool = False,
) -> Measured:
    """Ask the dataset's questions, or a seeded draw of them, and look up what is known of each.

    Args:
        train_split: what the model was trained on; says which karts it has seen on which track.
        baseline_split: where the majority baseline takes its answers from.
        scored: note, too, how likely the model finds every possible answer.
    """
    model = ScoringModel(vlm)
    start = time.perf_counter()
    # Started by accelerate, each process answers its share. One call of `answer`: the models make
    # batches of their own, and show one progress bar.
    asked = model if scored else Shared(vlm)
    result = benchmark(asked, dataset, max_samples, batch_size=None)
    seconds = time.perf_counter() - start
    training = training_pairs(dataset.data_dir / train_split)
    outcomes = outcomes_of(result, dataset.data_dir, training, model.scores)
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
    """Write the report as a page and as JSON to `folder`; what was written, as one line.

    Args:
        name: the checkpoint's folder.
        against: another report, to compare question by question.
        num_heat_maps: of so many samples, half of them mistakes, if there are so many.

    Raises:
        InputError: `against` is no report.
    """
    other = read_report(against) if against else None
    samples, found = measured.result.samples, measured.outcomes
    data = report_data(found, _about(measured, vlm, name), majority_accuracy(measured.baseline))
    if other:
        add_comparison(data, found, other)
    chosen = _chosen(found, num_heat_maps)
    shown = [samples[index] for index in chosen]
    maps = heat_map.heat_maps(
        vlm,
        [sample.image_path for sample in shown],
        [sample.question for sample in shown],
        [sample.model_answer for sample in shown],
    )
    files = {o.image_file: s.image_path for o, s in zip(found, samples, strict=True)}
    size = write_report(folder, data, files, dict(zip(chosen, maps, strict=True)), heat_map.METHOD)
    return f"wrote {folder / PAGE} and report.json ({size / 1e6:.1f} MB); open it in a browser"


def _about(measured: Measured, vlm: LoadedVLM, name: str | Path) -> dict[str, Any]:
    found = adapter.find(name)
    return {
        "checkpoint": found.resolve().name,  # no one's folders
        "adapter_sha256": digest(found / adapter.WEIGHTS),
        "base": Path(vlm.base).name,
        "split": measured.dataset.split,
        "train_split": measured.train_split,
        "seen_known": measured.seen_known,
        "majority_source": measured.source,
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
    }


def _chosen(outcomes: Sequence[Outcome], most: int) -> list[int]:
    """A seeded draw of samples, half of them wrong where there are enough."""
    order = random.Random(0).sample(range(len(outcomes)), len(outcomes))
    wrong = [index for index in order if not outcomes[index].right]
    hits = [index for index in order if outcomes[index].right]
    kept = wrong[: max(most // 2, most - len(hits))]
    return sorted(kept + hits[: most - len(kept)])


class Shared:
    """A model whose questions are divided among the processes, whole pictures to each."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def answer(self, image_paths: Sequence[str], questions: Sequence[str]) -> list[str]:
        """All answers, in the order asked, in every process."""
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
