"""python -m homework.finetune demo_train
python -m homework.finetune train [--data_dir data] [--train_dataset_name train]
python -m homework.finetune test homework/vlm_model [--split valid_grader] [--report out]
python -m homework.finetune restore runs/vlm_model-1

Fine-tunes a SmolVLM with LoRA on question/answer pairs, and measures the result.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import distributed, options
from .common.errors import InputError
from .common.files import PACKAGE_DIR, RUNS_DIR, require_writable, write_json, writing
from .common.runs import alone
from .data import VQADataset, benchmark, draw
from .training.recipes import check_options, filled, recipe_name

if TYPE_CHECKING:
    from .base_vlm import BaseVLM

# Options of `train` that do not change its result.
_BESIDE = ("num_workers", "report_to", "overwrite")
ELSEWHERE = 100  # pairs that `demo_train` asks beside the five
MODEL_NAME = "vlm_model"  # the folder in the package that `train` writes and `load` reads


def train(
    data_dir: str | None = None,
    train_dataset_name: str = "train",
    output_dir: str | None = None,
    base: str | None = None,
    recipe: str | None = None,
    num_train_epochs: float | None = None,
    per_device_train_batch_size: int | None = None,
    gradient_accumulation_steps: int | None = None,
    learning_rate: float | None = None,
    lora_r: int | None = None,
    lora_alpha: int | None = None,
    lora_dropout: float = 0.0,
    weighting: str = "question",
    train_vision: bool = True,
    tokens_per_pass: int = 16_384,
    num_workers: int = 0,
    max_samples: int | None = None,
    max_steps: int = -1,
    save_steps: int | None = None,
    seed: int = 0,
    report_to: str = "tensorboard",
    overwrite: bool = False,
) -> None:
    """Fine-tune the base with LoRA and write the checkpoint that `load_vlm` reads.

    A killed run continues from its last checkpoint when the same command is given again. An
    adapter in the output folder stays there until the new one is complete, and is then kept,
    numbered, in runs/ (see `restore`).

    Args:
        data_dir: the data folder; the one beside the package if not given.
        train_dataset_name: the split whose pairs are learned.
        output_dir: where the checkpoint goes; homework/vlm_model if not given.
        base: what is fine-tuned: see BaseVLM.
        recipe: "embedded", "stem" or "smolvlm": named defaults of the next six options
            (homework/training/recipes.py); chosen from the base if omitted.
        num_train_epochs: how often each picture is seen.
        per_device_train_batch_size: pictures, each with all its pairs, of a device at a time.
        gradient_accumulation_steps: so many times in one optimizer step.
        learning_rate: its peak; 3% warm-up, then cosine to 0.
        lora_r: rank of the LoRA matrices.
        lora_alpha: LoRA scale; the update is multiplied by lora_alpha / lora_r.
        lora_dropout: dropout before the LoRA matrices.
        weighting: "question", each question weighs the same, or "frame", each picture does.
        train_vision: LoRA on the vision tower, too; if False, on the text model alone, from image
            tokens that are made once and kept on disk: over twice as fast (docs/speed.md).
        tokens_per_pass: patches of pictures and tokens of text that go through the model at a
            time; a step is cut into such passes. Fewer take less memory, not another result.
        num_workers: processes that decode pictures; 0 decodes in the training process.
        max_samples: train on a seeded draw of so many pairs.
        max_steps: stop after so many optimizer steps; -1 for all epochs.
        save_steps: optimizer steps between checkpoints; a fifth of the run, but not over 200, if
            not given.
        seed: of the LoRA weights, the order and the dropout.
        report_to: trackers that get the curves: tensorboard, wandb, mlflow, trackio, ...; several
            with commas between them, or none.
        overwrite: replace the adapter in the output folder without keeping a copy.

    Raises:
        InputError: an option or the data is wrong, or validation frames are among them.
    """
    given = {name: value for name, value in locals().items() if name not in _BESIDE}
    chosen = recipe_for(**given)
    check_options(chosen | {"overwrite": overwrite}, num_workers)

    from .frames.leakage import refuse_pictures, refuse_split

    refuse_split(str(train_dataset_name))
    dataset = VQADataset(str(train_dataset_name), data_dir, max_samples)
    refuse_pictures(dict.fromkeys(item["image_path"] for item in dataset), dataset.data_dir)
    output = options.path("--output_dir", output_dir) or PACKAGE_DIR / MODEL_NAME
    from .training.run import fit

    with alone(output):
        fit(dataset, output, chosen, num_workers, report_to, overwrite)
        if distributed.is_main():
            _measure_held_out(output, dataset)


def demo_train(
    data_dir: str | None = None, train_dataset_name: str = "train", base: str | None = None
) -> None:
    """Learn 5 pairs by heart: a minute that shows that training works, and what it does not show.

    Args:
        data_dir: the data folder; the one beside the package if not given.
        train_dataset_name: the split that the pairs are drawn from.
        base: what is fine-tuned: see BaseVLM.
    """
    output = RUNS_DIR / "demo"
    train(
        data_dir,
        train_dataset_name,
        str(output),
        base,
        num_train_epochs=30,
        max_samples=5,
        per_device_train_batch_size=5,
        learning_rate=2e-3,
        overwrite=True,
    )
    from .base_vlm import load as load_checkpoint

    vlm = load_checkpoint(output, verbose=False)
    whole = VQADataset(train_dataset_name, data_dir)
    learned = draw(len(whole), 5)  # what `max_samples` has drawn
    result = benchmark(vlm, [whole[index] for index in learned])
    for sample in result.samples:
        print(f"  {sample.question}  {sample.model_answer!r}, expected {sample.correct_answer!r}")
    print(f"{result.accuracy:.0%} of the 5 pairs by heart")
    if others := sorted(set(draw(len(whole), ELSEWHERE + 5)) - set(learned))[:ELSEWHERE]:
        elsewhere = benchmark(vlm, [whole[index] for index in others])
        print(f"{elsewhere.accuracy:.0%} of {len(others)} other pairs, which it has not learned")


def test(
    checkpoint: str,
    split: str = "valid_grader",
    data_dir: str | None = None,
    max_samples: int | None = 128,
    save_predictions: str | None = None,
    baseline_split: str | None = None,
    report: str | None = None,
    against: str | None = None,
    heat_maps: int = 200,
) -> None:
    """Accuracy of a LoRA checkpoint, per kind of question, beside the majority baseline.

    Args:
        checkpoint: its folder, such as homework/vlm_model.
        split: whose pairs are asked.
        data_dir: the data folder; the one beside the package if not given.
        max_samples: ask a seeded draw of so many pairs, the grader's own; None asks all.
        save_predictions: write every question, answer and truth to this JSON file.
        baseline_split: where the majority baseline takes its answers from; what the checkpoint
            was trained on if not given.
        report: write a page to look at, index.html, and report.json to this folder.
        against: another report, or its folder: what changed, question by question.
        heat_maps: in the report, show where the model looks for so many of the answers.

    Raises:
        InputError: the checkpoint, the data or the other report is wrong or missing.
    """
    from .evaluation.page import PAGE, read_report

    predictions = options.path("--save_predictions", save_predictions)
    folder, other = options.path("--report", report), options.path("--against", against)
    options.whole("--heat_maps", heat_maps, 0)
    # Before minutes of answering.
    if other:
        if not folder:
            raise InputError("--against: needs --report; give the folder to write the page to")
        read_report(other)
    if folder:
        require_writable(folder / PAGE)
    if predictions:
        require_writable(predictions)
    dataset = VQADataset(str(split), data_dir)
    from .evaluation.measure import measure, write_page
    from .model.adapter import trained_on

    distributed.connect()  # first, as it says which GPU is this process's
    vlm = load(str(checkpoint))
    if folder and not distributed.is_main():
        return  # scores are asked for beside the answers, by the main process alone
    trained = trained_on(checkpoint)
    measured = measure(
        vlm, dataset, max_samples, trained, str(baseline_split or trained), scored=bool(folder)
    )
    if not distributed.is_main():
        return
    print(measured.table())
    print(f"{len(measured.outcomes) / measured.seconds:.1f} questions/s")
    if predictions:
        write_json(predictions, [vars(sample) for sample in measured.result.samples])
        print(f"every answer is in {predictions}")
    if folder:
        print(write_page(folder, measured, vlm, checkpoint, other, heat_maps))


def restore(kept: str, output_dir: str | None = None) -> None:
    """Bring back an adapter that `train` has kept; the one in its place is kept, too.

    Args:
        kept: the kept adapter's folder, such as runs/vlm_model-1; it stays as it is.
        output_dir: where the adapter goes; homework/vlm_model if not given.

    Raises:
        InputError: there is no whole adapter, or the folder cannot be written to.
    """
    output = options.path("--output_dir", output_dir) or PACKAGE_DIR / MODEL_NAME
    source = options.path("kept", kept)
    from .model.adapter import find
    from .training.adapters import copy

    source = find(source)
    with alone(output), writing(output):
        copy(source, output)
    print(f"{output}: now holds the adapter of {source}")


def load(model_name: str = MODEL_NAME) -> BaseVLM:
    """Load a LoRA checkpoint with its base: a folder, or the name of one in the package.

    Raises:
        InputError: see homework.base_vlm.load.
    """
    from .base_vlm import load as load_checkpoint

    return load_checkpoint(model_name)


def load_vlm() -> BaseVLM:
    """The submission's model, as the grader asks for it."""
    return load(str(PACKAGE_DIR / MODEL_NAME))


def recipe_for(recipe: str | None = None, **given: Any) -> dict[str, Any]:
    """All options of `train` that change its result, with its defaults where none is given."""
    options_of_train = inspect.signature(train).parameters.items()
    left_out = (*_BESIDE, "recipe")
    defaults = {name: each.default for name, each in options_of_train if name not in left_out}
    return filled(defaults | given, recipe_name(recipe, given.get("base")))


def _measure_held_out(output: Path, dataset: VQADataset) -> None:
    """Measure a new checkpoint on the train frames held out of it, for its model card."""
    from .base_vlm import load as load_checkpoint
    from .training.batches import held_out_items
    from .training.model_card import add_results

    items = held_out_items(dataset)
    if items:  # too few frames, and none is held out
        print(add_results(output, benchmark(load_checkpoint(output, verbose=False), items)))


if __name__ == "__main__":
    from .common.cli import run

    run({"demo_train": demo_train, "train": train, "test": test, "restore": restore})
