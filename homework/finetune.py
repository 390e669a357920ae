"""python -m homework.finetune demo_train
python -m homework.finetune train [--data_dir data] [--train_dataset_name train]
python -m homework.finetune test homework/vlm_model [--split valid_grader]

Fine-tunes a SmolVLM with LoRA on question/answer pairs, and measures the result.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import options
from .data import VQADataset, benchmark
from .files import PACKAGE_DIR, InputError, write_json, writing

if TYPE_CHECKING:
    from .base_vlm import BaseVLM

MODEL_NAME = "vlm_model"  # the folder in the package that `train` writes and `load` reads
HELD_OUT = 0.02  # share of the training frames that are measured on instead


def train(
    data_dir: str | None = None,
    train_dataset_name: str = "train",
    output_dir: str | None = None,
    base: str | None = None,
    num_train_epochs: float = 1,
    per_device_train_batch_size: int = 16,
    gradient_accumulation_steps: int = 1,
    learning_rate: float = 5e-4,
    lora_r: int = 16,
    lora_alpha: int = 32,
    lora_dropout: float = 0.0,
    num_workers: int = 0,
    max_samples: int | None = None,
    max_steps: int = -1,
    save_steps: int = 200,
    seed: int = 0,
) -> None:
    """Fine-tune the base with LoRA and write the checkpoint that `load_vlm` reads.

    A killed run goes on from its last checkpoint when the same command is given again.

    Args:
        data_dir: the data folder; the one beside the package if not given.
        train_dataset_name: the split whose pairs are learned.
        output_dir: where the checkpoint goes; homework/vlm_model if not given.
        base: what is fine-tuned: see BaseVLM.
        num_train_epochs: how often each picture is seen.
        per_device_train_batch_size: pictures, each with all its pairs, in one pass.
        gradient_accumulation_steps: passes in one optimizer step.
        learning_rate: its peak; 3% warm-up, then cosine to 0.
        lora_r: rank of the LoRA matrices.
        lora_alpha: LoRA scale; the update is multiplied by lora_alpha / lora_r.
        lora_dropout: dropout before the LoRA matrices.
        num_workers: processes that decode pictures; 0 decodes in the training process.
        max_samples: train on a seeded draw of so many pairs.
        max_steps: stop after so many optimizer steps; -1 for all epochs.
        save_steps: optimizer steps between checkpoints.
        seed: of the LoRA weights, the order and the dropout.

    Raises:
        InputError: an option or the data is wrong, or validation frames are among them.
    """
    recipe = {name: value for name, value in locals().items() if name != "num_workers"}
    _check_options(recipe, num_workers)

    from .leakage import refuse_pictures, refuse_split

    refuse_split(str(train_dataset_name))
    dataset = VQADataset(str(train_dataset_name), data_dir, max_samples)
    refuse_pictures(dict.fromkeys(item["image_path"] for item in dataset), dataset.data_dir)
    output = options.path("--output_dir", output_dir) or PACKAGE_DIR / MODEL_NAME
    _fit(dataset, output, recipe, num_workers)


def demo_train(
    data_dir: str | None = None, train_dataset_name: str = "train", base: str | None = None
) -> None:
    """Learn 5 pairs by heart: a minute that shows that training works.

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

    result = benchmark(
        load_checkpoint(output, verbose=False), VQADataset(train_dataset_name, data_dir, 5)
    )
    for sample in result.samples:
        print(f"  {sample.question}  {sample.model_answer!r}, expected {sample.correct_answer!r}")
    print(f"{result.accuracy:.0%} of the 5 pairs by heart")


def test(
    checkpoint: str,
    split: str = "valid_grader",
    data_dir: str | None = None,
    max_samples: int | None = 128,
    save_predictions: str | None = None,
    baseline_split: str | None = None,
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
    """
    from .checkpoint import trained_on
    from .report import accuracy_table, same_questions_baseline

    predictions = options.path("--save_predictions", save_predictions)
    dataset = VQADataset(str(split), data_dir)
    vlm = load(str(checkpoint))
    start = time.perf_counter()
    result = benchmark(vlm, dataset, max_samples)
    seconds = time.perf_counter() - start
    baseline = same_questions_baseline(result, baseline_split or trained_on(checkpoint), data_dir)
    print(accuracy_table(result, *baseline))
    print(f"{len(result.samples) / seconds:.1f} questions/s")
    if predictions:
        write_json(predictions, [vars(sample) for sample in result.samples])
        print(f"every answer is in {predictions}")


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


def _fit(dataset: VQADataset, output: Path, recipe: dict[str, Any], num_workers: int) -> None:
    """Train on `dataset` and write checkpoint, curves and closing report to `output`."""
    import pickle
    from functools import partial

    from transformers import PrinterCallback, set_seed

    from . import checkpoint, resume
    from .base_vlm import BaseVLM
    from .report import save_curves
    from .training import (
        ProgressLine,
        ViewDataset,
        ViewTrainer,
        collate_named,
        split_views,
    )

    with writing(output):  # hours before anything else is written
        output.mkdir(parents=True, exist_ok=True)
    set_seed(recipe["seed"])
    vlm = BaseVLM(recipe["base"])
    recipe = recipe | {"base": vlm.base, "base_sha256": checkpoint.base_fingerprint(vlm.folder)}
    train_views, held_out = split_views(dataset, HELD_OUT)
    train_set = ViewDataset(train_views, vlm.inputs)
    model = checkpoint.add_lora(vlm, recipe["lora_r"], recipe["lora_alpha"], recipe["lora_dropout"])
    arguments = _training_arguments(vlm, output, recipe, num_workers, bool(held_out))
    trainer = ViewTrainer(
        model=model,
        args=arguments,
        train_dataset=train_set,
        eval_dataset=ViewDataset(held_out, vlm.inputs) if held_out else None,
        data_collator=partial(collate_named, inputs=vlm.inputs),
        callbacks=[ProgressLine(_pairs_per_step(train_set, recipe))],
    )
    trainer.remove_callback(PrinterCallback)

    with writing(output):
        last = resume.start(output, recipe)
        if last:
            print(f"goes on from {last}")
        print(
            f"{len(train_set)} pictures with {train_set.pairs} pairs to learn, "
            f"{len(held_out)} pictures held out"
        )
        start = time.perf_counter()
        try:
            trainer.train(resume_from_checkpoint=str(last) if last else None)
        except InputError as error:
            # From a worker process it comes wrapped in two tracebacks; the last line is its own.
            line = str(error).strip().splitlines()[-1]
            raise InputError(line.removeprefix(f"{InputError.__module__}.InputError: ")) from None
        except pickle.UnpicklingError:  # it is loaded with weights_only, so nothing of it has run
            raise InputError(f"{last}: holds more than numbers; delete that folder") from None
        except InputError as error:
            # From a loader's worker process torch brings it wrapped in that process's traceback.
            raise InputError(str(error).rstrip().rpartition("InputError: ")[2]) from None
        seconds = time.perf_counter() - start

        trainer.save_state()
        save_curves(trainer.state.log_history, output / "curves.png")
        checkpoint.save(model, vlm, output, _training_record(recipe))
    _close(trainer, output, seconds)


def _training_arguments(vlm, output: Path, recipe: dict[str, Any], num_workers: int, measure: bool):
    import os

    import torch
    from transformers import TrainingArguments

    # One folder a run, or TensorBoard would draw them as one curve.
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(output / "runs" / time.strftime("%Y%m%d-%H%M%S"))
    return TrainingArguments(
        output_dir=str(output),
        num_train_epochs=recipe["num_train_epochs"],
        max_steps=recipe["max_steps"],
        per_device_train_batch_size=recipe["per_device_train_batch_size"],
        per_device_eval_batch_size=recipe["per_device_train_batch_size"],
        gradient_accumulation_steps=recipe["gradient_accumulation_steps"],
        learning_rate=recipe["learning_rate"],
        lr_scheduler_type="cosine",
        warmup_steps=0.03,
        seed=recipe["seed"],
        bf16=vlm.dtype == torch.bfloat16,
        use_cpu=vlm.device == "cpu",
        logging_steps=10,
        logging_first_step=True,
        eval_strategy="steps" if measure else "no",
        eval_steps=recipe["save_steps"],
        save_strategy="steps",
        save_steps=recipe["save_steps"],
        dataloader_num_workers=num_workers,
        remove_unused_columns=False,
        report_to="tensorboard",
        disable_tqdm=True,
    )


def _training_record(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What the checkpoint says of its training: the recipe and versions, no one's folders."""
    from importlib.metadata import version

    record = {
        name: value for name, value in recipe.items() if name not in ("data_dir", "output_dir")
    }
    return record | {name: version(name) for name in ("torch", "transformers", "peft")}


def _pairs_per_step(train_set, recipe: dict[str, Any]) -> float:
    pictures = recipe["per_device_train_batch_size"] * recipe["gradient_accumulation_steps"]
    return train_set.pairs / max(len(train_set), 1) * min(pictures, len(train_set))


def _close(trainer, output: Path, seconds: float) -> None:
    """The closing report; old checkpoints go, as the adapter is written."""
    from . import resume
    from .checkpoint import WEIGHTS
    from .training import peak_memory_bytes

    for folder in resume.checkpoints(output):
        resume.discard(folder)
    (output / "recipe.json").unlink()  # the run is over: given again, it begins anew
    trainable, total = trainer.model.get_nb_trainable_parameters()
    print(f"wrote {output}: adapter {(output / WEIGHTS).stat().st_size / 1e6:.2f} MB, curves.png")
    padding = trainer.padding / max(trainer.tokens, 1)
    print(
        f"{seconds:.0f} s, {trainer.trained_pairs / seconds:.1f} pairs/s, "
        f"{trainer.tokens:,} tokens ({padding:.1%} padding)\n"
        f"{trainable:,} of {total:,} parameters trained, "
        f"peak memory {peak_memory_bytes() / 1e9:.2f} GB"
    )


def _check_options(recipe: Mapping[str, Any], num_workers: int) -> None:
    """Refuse, in the option's own words, what would fail after minutes of loading."""
    pictures = ("per_device_train_batch_size", "gradient_accumulation_steps")
    for name in (*pictures, "lora_r", "save_steps"):
        options.whole(f"--{name}", recipe[name], 1)
    for name in ("num_train_epochs", "learning_rate", "lora_alpha"):
        options.number(f"--{name}", recipe[name], above=0)
    if recipe["lora_dropout"] != 0:
        options.number("--lora_dropout", recipe["lora_dropout"], above=0, below=1)
    if recipe["max_steps"] != -1:
        options.whole("--max_steps", recipe["max_steps"], 1)
    options.whole("--seed", recipe["seed"], 0)
    options.whole("--num_workers", num_workers, 0)
    options.path("--output_dir", recipe["output_dir"])


if __name__ == "__main__":
    from .cli import run

    run({"demo_train": demo_train, "train": train, "test": test})
