"""One run of fine-tuning, from the dataset to the checkpoint and its closing report."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..common import distributed
from ..common.distributed import duration, print0, waiting
from ..common.errors import InputError
from ..common.files import require_writable, write_json, writing
from ..data import Item, VQADataset
from ..frames.images import pairs_digest
from ..inspection.figures import CURVES, save_curves
from ..model import adapter, adapter_files
from ..model.loading import EMBEDDED, base_fingerprint
from ..model.processor import read_settings
from ..model.vlm import BaseVLM
from . import adapters, checkpoints
from .batches import HELD_OUT, ViewDataset, split_views
from .checkpoints import steps_between
from .config import TrainConfig
from .loop import Loop
from .model_card import card, results_line
from .step import COST, check_trackers, measure_steps
from .task import FineTuning

if TYPE_CHECKING:
    from peft import PeftModel

STEPS_PER_RECORD = 10
HOUR = 3_600  # seconds; a run of a day has to be confirmed


def check(config: TrainConfig) -> list[str]:
    """Find out now what would fail only hours later; returns the names of the trackers.

    Raises InputError if the output folder or the copy of its adapter cannot be written, there is no
    such tracker, or the hub does not know the user.
    """
    trackers, output = check_trackers(config.report_to), config.output
    if config.push_to_hub:
        adapters.check_hub(config.push_to_hub)
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
    if not config.overwrite and adapters.is_adapter(output):
        try:
            require_writable(adapters.kept_folder(output))
        except InputError as error:
            raise InputError(f"{error}, or --overwrite to keep no copy of {output}") from None
    if not config.overwrite and distributed.is_main():
        with writing(output):
            adapters.keep_others(output)
    return trackers


def fit(
    dataset: VQADataset | Sequence[Item],
    vlm: BaseVLM,
    output: Path,
    config: TrainConfig,
    trackers: Sequence[str] = (),
) -> None:
    """Train on `dataset` and write checkpoint, curves and closing report.

    Args:
        vlm: the base.
        output: folder for the adapter.
        trackers: names of trackers that get the curves; see `check`.

    Raises InputError if a file is damaged, the disk refuses, the loss is not finite, or the folder
    holds checkpoints of another run.
    """
    with waiting("looks at the base and the pairs"):
        fingerprint = base_fingerprint(vlm.folder)
        views = split_views(dataset, HELD_OUT)
        data = distributed.from_main(pairs_digest(dataset) if distributed.is_main() else None)
    train_set, held_out = (ViewDataset(each, vlm.inputs) for each in views)
    config = config.of_base(vlm.base, vlm.network.config.model_type)
    with waiting("tries an image"):
        model = _with_lora(vlm, config)
        task = FineTuning(vlm, model, train_set, held_out, config)
        seconds = task.prepare()
    print0(task.passes.line)
    save_steps = config.save_steps or steps_between(task.steps)
    recipe = _recipe(task, config)
    recipe |= {"save_steps": save_steps, "base_sha256": fingerprint, "data_sha256": data}
    _say_time(task, seconds, checkpoints.steps_done(output, recipe), config)
    loop = Loop(
        task,
        output,
        recipe,
        save_steps,
        STEPS_PER_RECORD,
        trackers,
        keep_best=True,
        overwrite=config.overwrite,
        patience=config.patience,
        step_seconds=seconds * _images(task),
    )
    with writing(output):
        start = time.perf_counter()
        loop.run()
        if distributed.is_main():
            seconds = time.perf_counter() - start
            _write(loop, model)
            trainable, total = model.get_nb_trainable_parameters()
            print(f"wrote {output}: adapter, {CURVES}")
            print(f"trained {trainable:,} of {total:,} parameters in {duration(seconds)}")
            if loop.best:
                print(results_line(loop.best[1].accuracies))
        distributed.wait()  # the others may read the adapter now


def _with_lora(vlm: BaseVLM, config: TrainConfig) -> PeftModel:
    torch.manual_seed(config.seed)  # of the LoRA weights
    names = ("lora_alpha", "lora_dropout", "use_rslora", "use_dora")
    settings = {name: getattr(config, name) for name in names}
    return adapter.add_lora(vlm, config.train_vision, r=config.lora_r, **settings)


def _recipe(task: FineTuning, config: TrainConfig) -> dict[str, Any]:
    """The options that change the result: what the run is, not which default that was."""
    recipe = config.to_dict(distributed.world_size())
    if config.num_train_epochs is None:
        del recipe["num_train_epochs"]
        recipe["max_steps"] = task.steps
    if task.vlm.inputs.settings == read_settings(task.vlm.folder):  # the base's own
        del recipe["image_side"]
    return recipe


def _say_time(task: FineTuning, seconds: float, done: int, config: TrainConfig) -> None:
    """Print what the run learns from and how long it will take; ask if that is over a day.

    Args:
        seconds: that training takes for an image.
        done: steps that a checkpoint has behind it.

    Raises InputError if nobody agrees.
    """
    steps = task.steps - done
    held_out = f", {len(task.measured)} of {len(task.held_out)} held-out images to evaluate on"
    print0(
        f"{len(task.train_set)} images with {task.train_set.pairs} pairs to learn in {task.steps} "
        f"steps{held_out if task.measured else ''}"
    )
    measurements = math.ceil(steps / measure_steps(task.steps))
    measured = measurements * len(task.measured) / distributed.world_size()
    total = (steps * _images(task) + COST * measured) * seconds
    text = f"about {duration(total)} on this machine"
    if total > HOUR:
        text += _shorter(task, total, seconds, config)
    print0(text)
    if total <= 24 * HOUR or config.yes:
        return
    if distributed.world_size() > 1 or sys.stdin is None or not sys.stdin.isatty():
        raise InputError(f"{text}; give --yes to train for so long")
    if input(f"{text}. Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise InputError("not begun; --yes begins without a question")


def _shorter(task: FineTuning, total: float, seconds: float, config: TrainConfig) -> str:
    """What would take less time than `total`, with the time that it would take."""
    text, dataset = "", task.train_set
    if task.vlm.network.config.model_type != "idefics3_stem":
        trial = waiting("tries an image with the embedded base")
        with suppress(InputError), trial, torch.random.fork_rng():
            vlm = BaseVLM(EMBEDDED, verbose=False)
            model, views = _with_lora(vlm, config), ViewDataset(dataset.views, vlm.inputs)
            other = FineTuning(vlm, model, views, ViewDataset([], vlm.inputs), config)
            share = other.prepare() * other.steps / (seconds * task.steps)
            text = f"; with --base embedded_base about {duration(share * total)}"
    fewer = ""
    for pairs in (50_000, 20_000, 10_000, 5_000, 2_000, 1_000):
        if pairs < dataset.pairs:
            # Pairs drawn at random leave few images without any.
            share = 1 - (1 - pairs / dataset.pairs) ** (dataset.pairs / len(dataset))
            fewer = f"; with --max_samples {pairs} about {duration(share * total)}"
            if share * total <= 4 * HOUR:
                break
    return text + fewer


def _images(task: FineTuning) -> float:
    """Of a step, in this process."""
    return min(task.sampler.images, len(task.train_set)) / distributed.world_size()


def _write(loop: Loop, model: PeftModel) -> None:
    """The adapter with its card, the records and the curves; then the checkpoints go."""
    output, steps = loop.run_dir, loop.task.steps
    state = {"global_step": loop.step, "max_steps": steps, "log_history": loop.log}
    record = loop.recipe | {name: version(name) for name in ("torch", "transformers", "peft")}
    if loop.best:
        step, measured = loop.best
        best = {"best_step": step, "best_held_out_accuracy": measured.accuracy}
        state, record = state | best, record | best
        if step < loop.step:
            last = next(r for r in reversed(loop.log) if "eval_accuracy" in r)["eval_accuracy"]
            print(
                f"keeps the adapter of step {step}, the best on the held-out images: "
                f"accuracy {measured.accuracy:.1%}, in the last step {last:.1%}"
            )
    write_json(output / adapter_files.STATE, state)
    accuracies = loop.best[1].accuracies if loop.best else []
    base, fingerprint = record["base"], record["base_sha256"]
    text = card(base, fingerprint, record, accuracies)
    adapters.save(model, output, base, fingerprint, record, text, loop.overwrite)
    save_curves(loop.log, output / CURVES)
    checkpoints.finish(output)
