"""python -m homework.finetune demo_train
python -m homework.finetune train [--data_dir data] [--train_dataset_name train]
python -m homework.finetune test homework/vlm_model [--split valid_grader] [--report out]

Fine-tunes a SmolVLM with LoRA on question/answer pairs, and measures the result.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import options, processes
from .data import VQADataset, benchmark, draw
from .files import PACKAGE_DIR, InputError, write_json
from .recipes import RECIPES, filled

if TYPE_CHECKING:
    from .base_vlm import BaseVLM

WEIGHTINGS = ("question", "frame")  # see `packing`
_BESIDE = ("num_workers", "report_to")  # options of `train` that do not change its result
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
    save_steps: int = 200,
    seed: int = 0,
    report_to: str = "tensorboard",
) -> None:
    """Fine-tune the base with LoRA and write the checkpoint that `load_vlm` reads.

    A killed run goes on from its last checkpoint when the same command is given again.

    Args:
        data_dir: the data folder; the one beside the package if not given.
        train_dataset_name: the split whose pairs are learned.
        output_dir: where the checkpoint goes; homework/vlm_model if not given.
        base: what is fine-tuned: see BaseVLM.
        recipe: "embedded", "stem" or "smolvlm", whichever the base is if not given: what the next
            six options are where they are not given (homework/recipes.py).
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
        save_steps: optimizer steps between checkpoints.
        seed: of the LoRA weights, the order and the dropout.
        report_to: trackers that get the curves: tensorboard, wandb, mlflow, trackio, ...; several
            with commas between them, or none.

    Raises:
        InputError: an option or the data is wrong, or validation frames are among them.
    """
    chosen = recipe_for(**{n: value for n, value in locals().items() if n not in _BESIDE})
    _check_options(chosen, num_workers)

    from .leakage import refuse_pictures, refuse_split

    refuse_split(str(train_dataset_name))
    dataset = VQADataset(str(train_dataset_name), data_dir, max_samples)
    refuse_pictures(dict.fromkeys(item["image_path"] for item in dataset), dataset.data_dir)
    output = options.path("--output_dir", output_dir) or PACKAGE_DIR / MODEL_NAME
    from .fit import fit
    from .model_card import add_results

    fit(dataset, output, chosen, num_workers, report_to)
    if processes.is_main() and (line := add_results(output, dataset)):
        print(line)


def demo_train(
    data_dir: str | None = None, train_dataset_name: str = "train", base: str | None = None
) -> None:
    """Learn 5 pairs by heart: a minute that shows that training works, and what it does not show.

    Args:
        data_dir: the data folder; the one beside the package if not given.
        train_dataset_name: the split that the pairs are drawn from.
        base: what is fine-tuned: see BaseVLM.
    """
    output = PACKAGE_DIR.parent / "runs" / "demo"
    train(
        data_dir,
        train_dataset_name,
        str(output),
        base,
        num_train_epochs=30,
        max_samples=5,
        per_device_train_batch_size=5,
        learning_rate=2e-3,
    )
    from .checkpoint import load as load_checkpoint

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
    from .checkpoint import trained_on
    from .measuring import measure, write_page
    from .report_page import read_report

    predictions = options.path("--save_predictions", save_predictions)
    folder, other = options.path("--report", report), options.path("--against", against)
    options.whole("--heat_maps", heat_maps, 0)
    if other:  # before minutes of answering
        if not folder:
            raise InputError("--against: needs --report; give the folder to write the page to")
        read_report(other)
    dataset = VQADataset(str(split), data_dir)
    processes.connect()  # first, as it says which GPU is this process's
    vlm = load(str(checkpoint))
    if folder and not processes.is_main():
        return  # scores are asked for beside the answers, by the main process alone
    trained = trained_on(checkpoint)
    measured = measure(
        vlm, dataset, max_samples, trained, str(baseline_split or trained), scored=bool(folder)
    )
    if not processes.is_main():
        return
    print(measured.table())
    print(f"{len(measured.outcomes) / measured.seconds:.1f} questions/s")
    if predictions:
        write_json(predictions, [vars(sample) for sample in measured.result.samples])
        print(f"every answer is in {predictions}")
    if folder:
        print(write_page(folder, measured, vlm, checkpoint, other, heat_maps))


def load(model_name: str = MODEL_NAME) -> BaseVLM:
    """Load a LoRA checkpoint with its base: a folder, or the name of one in the package.

    Raises:
        InputError: see homework.checkpoint.load.
    """
    from .checkpoint import load as load_checkpoint

    return load_checkpoint(model_name)


def load_vlm() -> BaseVLM:
    """The submission's model, as the grader asks for it."""
    return load(str(PACKAGE_DIR / MODEL_NAME))


def recipe_for(recipe: str | None = None, **given: Any) -> dict[str, Any]:
    """All options of `train` that change its result, with its defaults where none is given."""
    options_of_train = inspect.signature(train).parameters.items()
    left_out = (*_BESIDE, "recipe")
    defaults = {name: each.default for name, each in options_of_train if name not in left_out}
    return filled(defaults | given, _recipe_name(recipe, given.get("base")))


def _recipe_name(recipe: str | None, base: str | None) -> str:
    """The recipe asked for, or the base's own."""
    from .embedded import EMBEDDED_BASE
    from .loading import EMBEDDED, find_checkpoint, model_type

    if recipe is None:
        name = find_checkpoint()[0] if base is None else str(base)
        embedded = name == EMBEDDED or Path(name).resolve() == EMBEDDED_BASE
        if model_type(EMBEDDED_BASE if embedded else Path(name)) == "idefics3_stem":
            return "stem"
        return "embedded" if embedded else "smolvlm"
    if recipe not in RECIPES:
        raise InputError(f"--recipe: give {' or '.join(RECIPES)}, not {recipe!r}")
    return recipe


def _check_options(recipe: Mapping[str, Any], num_workers: int) -> None:
    """Refuse, in the option's own words, what would fail after minutes of loading."""
    pictures = ("per_device_train_batch_size", "gradient_accumulation_steps")
    for name in (*pictures, "lora_r", "save_steps", "tokens_per_pass"):
        options.whole(f"--{name}", recipe[name], 1)
    for name in ("num_train_epochs", "learning_rate", "lora_alpha"):
        options.number(f"--{name}", recipe[name], above=0)
    if recipe["lora_dropout"] != 0:
        options.number("--lora_dropout", recipe["lora_dropout"], above=0, below=1)
    if recipe["max_steps"] != -1:
        options.whole("--max_steps", recipe["max_steps"], 1)
    if recipe["weighting"] not in WEIGHTINGS:
        raise InputError(
            f"--weighting: give {' or '.join(WEIGHTINGS)}, not {recipe['weighting']!r}"
        )
    if not isinstance(recipe["train_vision"], bool):
        raise InputError(f"--train_vision: give True or False, not {recipe['train_vision']!r}")
    options.whole("--seed", recipe["seed"], 0)
    options.whole("--num_workers", num_workers, 0)
    options.path("--output_dir", recipe["output_dir"])


if __name__ == "__main__":
    from .cli import run

    run({"demo_train": demo_train, "train": train, "test": test})
