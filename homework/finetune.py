"""python -m homework.finetune demo_train
python -m homework.finetune train [--data_dir data] [--train_dataset_name train]
python -m homework.finetune test homework/vlm_model [--split valid_grader] [--report out]
python -m homework.finetune restore runs/vlm_model-1
python -m homework.finetune merge homework/vlm_model --output runs/merged

Fine-tunes a SmolVLM with LoRA on question/answer pairs, and measures the result.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .common import distributed, options
from .common.distributed import duration, waiting
from .common.errors import printable
from .common.files import PACKAGE_DIR, RUNS_DIR, writing
from .common.options import Count, Natural
from .common.outputs import Outputs
from .data import VQADataset, benchmark, draw
from .frames.qa_read import find_qa_files
from .training.checkpoints import locked
from .training.config import MODEL_NAME, TrainConfig

if TYPE_CHECKING:
    from .model.vlm import BaseVLM

DEMO_SPLIT = "train_demo"
GRADED, GRADING_LIMIT = 128, 60  # questions of the grader, and its seconds for them
ELSEWHERE = 100  # other pairs that `demo_train` asks after it has learned five


@options.takes(TrainConfig)
def train(config: TrainConfig) -> None:
    """Fine-tune the base with LoRA and write the checkpoint that `load_vlm` reads.

    A killed run continues from its last checkpoint when the same command is given again. An adapter
    in the output folder stays in use until the new one is complete. It is then kept in a numbered
    folder in runs/; `restore` brings it back.

    Raises:
        InputError: an option or the data is wrong, or validation frames are among them.
    """
    from .frames.images import refuse_images, refuse_split

    refuse_split(config.train_dataset_name)
    with waiting("reads the pairs"):
        dataset = VQADataset(config.train_dataset_name, config.data_dir, config.max_samples)
        refuse_images(dict.fromkeys(item["image_path"] for item in dataset), dataset.data_dir)
    with waiting("loads the packages"):
        from .model.vlm import BaseVLM
        from .training import adapters, run

    with locked(config.output):
        trackers = run.check(config)
        distributed.init()  # first, as it chooses the GPU of this process
        with waiting("loads the base"):
            vlm = BaseVLM(config.base)
        if config.image_side:
            vlm.use_image_side(config.image_side, "--image_side")
        run.fit(dataset, vlm, config.output, config, trackers)
        if config.push_to_hub and distributed.is_main():
            adapters.push_to_hub(config.output, config.push_to_hub)


@options.checked
def demo_train(
    data_dir: Path | None = None, train_dataset_name: str | None = None, base: str | None = None
) -> None:
    """Learn 5 pairs by heart: shows in a minute that training works, and what it does not teach.

    Args:
        data_dir: the data folder; the one beside the package if not given.
        train_dataset_name: the split that the pairs are drawn from; if omitted, train_demo, the
            course's own few pairs, where the data folder has it, otherwise train.
        base: the model to fine-tune: a folder, the name of a SmolVLM in the hub cache, or
            embedded_base; if omitted, SmolVLM-256M-Instruct where the hub cache has it, otherwise
            embedded_base.
    """
    output = RUNS_DIR / "demo"
    if train_dataset_name is None:
        there = find_qa_files(options.data_folder(data_dir), DEMO_SPLIT)
        train_dataset_name = DEMO_SPLIT if there else "train"
    train(
        data_dir,
        train_dataset_name,
        output,
        base,
        num_train_epochs=30,
        max_samples=5,
        per_device_train_batch_size=5,
        learning_rate=2e-3,
        overwrite=True,
    )
    from .model.adapter import load as load_checkpoint

    vlm = load_checkpoint(output, verbose=False)
    whole = VQADataset(train_dataset_name, data_dir)
    learned = draw(len(whole), 5)  # what `max_samples` has drawn
    result = benchmark(vlm, [whole[index] for index in learned])
    for sample in result.samples:
        answers = f"{sample.model_answer!r}, expected {sample.correct_answer!r}"
        print(printable(f"  {sample.question}  {answers}"))
    print(f"{result.accuracy:.0%} of the 5 pairs by heart")
    if others := sorted(set(draw(len(whole), ELSEWHERE + 5)) - set(learned))[:ELSEWHERE]:
        elsewhere = benchmark(vlm, [whole[index] for index in others])
        print(f"{elsewhere.accuracy:.0%} of {len(others)} other pairs, which it has not learned")


@options.checked
def test(
    checkpoint: str,
    split: str = "valid_grader",
    data_dir: Path | None = None,
    max_samples: Count | None = 128,
    save_predictions: Path | None = None,
    baseline_split: str | None = None,
    report: Path | None = None,
    against: Sequence[str] | None = None,
    heat_maps: Natural = 200,
    base_alone: bool | None = None,
    base: str | None = None,
    overwrite: bool = False,
) -> None:
    """Measure the accuracy of an adapter per kind of question, beside the majority baseline.

    Args:
        checkpoint: folder of the adapter, such as homework/vlm_model.
        split: the split whose questions are asked.
        data_dir: the data folder; the one beside the package if omitted.
        max_samples: questions to draw at random, the same ones as the grader; None asks all.
        save_predictions: JSON file of all answers to write, which homework.evaluate reads.
        baseline_split: split of the majority baseline's answers; the one trained on if omitted.
        report: folder to write a report to: index.html, a page to browse, and report.json.
        against: earlier reports or files of predictions to compare with, separated by commas.
        heat_maps: number of answers for which the report shows where the model looks.
        base_alone: ask the base alone too, in twice the time; if omitted, only with --report.
        base: name or folder of the adapter's base; if omitted, the one that it names.
        overwrite: replace a report or predictions that this command did not write.

    Raises:
        InputError: the adapter, the data or an earlier report is missing or malformed.
    """
    from .evaluation import measure, runs
    from .evaluation import report as reports
    from .model.adapter import load as load_checkpoint

    others = runs.other_runs(against, report)  # before minutes of answering
    outputs = Outputs("finetune test", overwrite)
    if distributed.is_main():
        outputs.check(*reports.report_files(report), *filter(None, [save_predictions]))
    dataset = VQADataset(split, data_dir)
    measure.check_split("--baseline_split", baseline_split, data_dir)
    distributed.init()  # first, as it chooses the GPU of this process
    start = time.perf_counter()
    with waiting("loads the base"):
        vlm = load_checkpoint(checkpoint, base=base, merged=False)
    loading = time.perf_counter() - start
    measured = measure.measure_adapter(
        vlm, dataset, max_samples, baseline_split, base_alone, probabilities=report is not None
    )
    if not measured:  # in the processes beside the main one
        return
    rate = len(measured.outcomes) / measured.seconds
    print(f"{measured.table()}\n{rate:.1f} questions/s; {_grading(loading + GRADED / rate)}")
    if save_predictions:
        runs.write_predictions(save_predictions, measured.outcomes, outputs.open)
        print(f"every answer is in {save_predictions}")
    if report:
        print(reports.report_adapter(report, vlm, measured, others, heat_maps, outputs.open))


def _grading(seconds: float) -> str:
    """How long the grader will take, and what to do where that is too long."""
    line = f"grading {GRADED} questions takes about {duration(seconds)} on this machine"
    if seconds < GRADING_LIMIT:
        return line
    limit = 60 * math.ceil(1.2 * seconds / 60)
    return f"{line}, and the grader stops at {GRADING_LIMIT} s without --time_limit {limit}"


@options.checked
def restore(kept: Path, output_dir: Path | None = None) -> None:
    """Bring back an adapter that `train` has kept; the one in its place is kept, too.

    Args:
        kept: the kept adapter's folder, such as runs/vlm_model-1; it stays as it is.
        output_dir: where the adapter goes; homework/vlm_model if not given.

    Raises:
        InputError: there is no whole adapter, or the folder cannot be written to.
    """
    output = output_dir or PACKAGE_DIR / MODEL_NAME
    from .model.adapter import read
    from .training.adapters import copy

    source = read(kept)[0].folder  # a damaged copy must not take its place
    with locked(output), writing(output):
        copy(source, output)
    print(f"{output}: now holds the adapter of {source}")


@options.checked
def merge(checkpoint: str, output: Path, base: str | None = None) -> None:
    """Write an adapter and its base as one model, which plain transformers loads.

    Args:
        checkpoint: folder of the adapter, such as homework/vlm_model.
        output: folder to write, a new one: weights, processor and model card in the hub's layout.
        base: name or folder of the adapter's base; if omitted, the one that it names.

    Raises:
        InputError: the adapter is missing or damaged, or the folder cannot be written.
    """
    from .model.adapter import load as load_checkpoint
    from .training.adapters import check_new, save_merged
    from .training.model_card import card

    check_new(output)
    with waiting("loads the base"):
        vlm = load_checkpoint(checkpoint, base=base)
    known = vlm.adapter
    assert known, checkpoint
    text = card(known.base, known.fingerprint, known.training, name=output.name, merged=True)
    with writing(output):
        save_merged(vlm, output, text)
    print(f"{output}: one model for transformers; its README.md shows how to use it")


def load(model_name: str = MODEL_NAME) -> BaseVLM:
    """Load a LoRA checkpoint with its base: a folder, or the name of one in the package.

    Raises:
        InputError: see model.adapter.load.
    """
    from .model.adapter import load as load_checkpoint

    return load_checkpoint(model_name)


def load_vlm() -> BaseVLM:
    """The submission's model, as the grader asks for it."""
    return load(str(PACKAGE_DIR / MODEL_NAME))


if __name__ == "__main__":
    from .common.cli import run

    run(
        {"demo_train": demo_train, "train": train, "test": test, "restore": restore, "merge": merge}
    )
