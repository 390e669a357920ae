"""One run of fine-tuning, from the dataset to the checkpoint and its closing report."""

from __future__ import annotations

import math
import os
import pickle
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import PrinterCallback, TrainingArguments, set_seed

from ..common import distributed
from ..common.distributed import say
from ..common.errors import InputError
from ..common.files import require_writable, writing
from ..common.runs import steps_between
from ..data import VQADataset
from ..model import adapter
from ..model.loaded import LoadedVLM
from ..model.loading import base_fingerprint
from ..model.prefix_cache import encode_squares, pictures_at_once
from . import adapters, resume
from .batches import HELD_OUT, Collator, ViewDataset, split_views
from .cache import ArrayCache, open_cache
from .curves import CURVES, save_curves
from .model_card import card
from .trainer import ProgressLine, ViewTrainer, peak_memory_bytes


def fit(
    dataset: VQADataset,
    output: Path,
    recipe: dict[str, Any],
    num_workers: int,
    report_to: str | Sequence[str] = "tensorboard",
    overwrite: bool = False,
) -> None:
    """Train on `dataset` and write checkpoint, curves and closing report to `output`.

    Args:
        recipe: the options of `finetune.train` by name; whatever changes the result.
        num_workers: processes that decode pictures.
        report_to: trackers that get the curves, by the trainer's own names for them.
        overwrite: replace an adapter in `output` without keeping a copy of it.

    Raises:
        InputError: a file is damaged, the disk refuses, the loss is not finite, or there is no
            such tracker.
    """
    trackers = check_trackers(report_to)
    distributed.connect()
    with writing(output):  # hours before anything else is written
        output.mkdir(parents=True, exist_ok=True)
    if not overwrite and adapters.is_adapter(output):
        try:
            require_writable(adapters.kept_folder(output))
        except InputError as error:
            raise InputError(f"{error}, or --overwrite to keep no copy of {output}") from None
    set_seed(recipe["seed"])
    vlm = LoadedVLM(recipe["base"])
    fingerprint = base_fingerprint(vlm.folder)
    train_views, held_out = split_views(dataset, HELD_OUT)
    recipe = recipe | {"save_steps": recipe["save_steps"] or _save_steps(len(train_views), recipe)}
    arguments = _training_arguments(vlm, output, recipe, num_workers, bool(held_out), trackers)
    collator = Collator(
        vlm.inputs,
        vlm.patches * recipe["train_vision"],
        recipe["weighting"],
        recipe["tokens_per_pass"],
    )
    recipe = _of_all_devices(recipe) | {"base": vlm.base, "base_sha256": fingerprint}
    vision = recipe["train_vision"]
    datasets = [_dataset(views, vlm, vision, fingerprint) for views in (train_views, held_out)]
    train_set = datasets[0]
    lora = (recipe[f"lora_{name}"] for name in ("r", "alpha", "dropout"))
    model = adapter.add_lora(vlm, *lora, vision)
    trainer = ViewTrainer(
        model=model,
        args=arguments,
        train_dataset=train_set,
        eval_dataset=datasets[1],
        data_collator=collator,
        callbacks=[ProgressLine(_pairs_per_step(train_set, recipe))] * distributed.is_main(),
    )
    trainer.remove_callback(PrinterCallback)

    with writing(output):
        if distributed.is_main():
            resume.start(output, recipe)
        distributed.wait()
        last = resume.last_checkpoint(output, recipe)
        if last:
            say(f"goes on from {last}")
        say(
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
        seconds = time.perf_counter() - start
        trainer.save_state()
        if distributed.is_main():
            record = _training_record(recipe)
            text = card(vlm.base, fingerprint, record)
            adapters.save(model, output, vlm.base, fingerprint, record, text, overwrite)
            save_curves(trainer.state.log_history, output / CURVES)
    _close(trainer, output, seconds)


def _save_steps(pictures: int, recipe: dict[str, Any]) -> int:
    """Optimizer steps between two checkpoints where no option says."""
    per_step = _of_all_devices(recipe)["pictures_per_step"]
    steps = recipe["max_steps"]
    if steps == -1:
        steps = math.ceil(recipe["num_train_epochs"] * math.ceil(pictures / per_step))
    return steps_between(steps)


def _of_all_devices(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe without what does not change the result: how a step is divided."""
    divided = ("per_device_train_batch_size", "gradient_accumulation_steps")
    pictures = math.prod(recipe[name] for name in divided) * distributed.world_size()
    kept = {
        name: value for name, value in recipe.items() if name not in (*divided, "tokens_per_pass")
    }
    return kept | {"pictures_per_step": pictures}


def _dataset(views: list, vlm: LoadedVLM, vision: bool, fingerprint: str) -> ViewDataset:
    """The views with their caches: of pictures, and of image tokens where these stay the same."""
    side, resample = vlm.inputs.side, vlm.inputs.resample
    squares = _cache(views, (side, side, 3), "uint8", f"resample {resample}")
    dataset = ViewDataset(views, vlm.inputs, squares)
    if not vision and views:
        tokens = vlm.inputs.prefix_ids.count(vlm.network.config.image_token_id)
        shape = (tokens, vlm.network.config.text_config.hidden_size)
        maker = f"{fingerprint} {vlm.dtype} {side} {resample}"
        features = _cache(views, shape, "float16", maker)
        if features is None:
            raise InputError("--train_vision False: no room in the cache for the image tokens")
        _look(dataset, vlm, features)
        dataset.features = features
    return dataset


def _cache(views: list, shape: tuple, dtype: str, maker: str) -> ArrayCache | None:
    # One process makes the file; the others find it.
    for turn in (True, False):
        if distributed.is_main() == turn:
            cache = open_cache([path for path, _ in views], shape, dtype, maker)
        distributed.wait()
    return cache


def _look(dataset: ViewDataset, vlm: LoadedVLM, features: ArrayCache) -> None:
    """Make the image tokens that the cache does not hold yet, each in one of the processes."""
    mine = range(distributed.rank(), len(dataset), distributed.world_size())
    missing = [index for index in mine if features.get(index) is None]
    at_once = pictures_at_once(vlm)
    with (
        vlm.inference(),
        tqdm(total=len(missing), unit="picture", disable=not missing) as bar,
    ):
        for start in range(0, len(missing), at_once):
            some = missing[start : start + at_once]
            encoded = encode_squares(vlm, [dataset.square(index) for index in some])
            for index, tokens in zip(some, encoded, strict=True):
                features.put(index, tokens.half().cpu().numpy())
            bar.update(len(some))
    distributed.wait()


def check_trackers(report_to: str | Sequence[str]) -> list[str]:
    """The names of trackers as a list.

    Raises:
        InputError: the trainer does not know one, or it is not installed.
    """
    from transformers.integrations.integration_utils import (
        INTEGRATION_TO_CALLBACK,
        get_available_reporting_integrations,
    )

    names = [report_to] if isinstance(report_to, str) else list(report_to)
    names = [str(name) for name in names if name != "none"]
    for name in names:
        if name not in INTEGRATION_TO_CALLBACK:
            known = ", ".join(sorted(INTEGRATION_TO_CALLBACK))
            raise InputError(f"--report_to: no tracker {name!r}; there are: {known}, none")
        if name not in get_available_reporting_integrations():
            raise InputError(f"--report_to: {name} is not installed; pip install {name}")
    return names


def _training_arguments(
    vlm,
    output: Path,
    recipe: dict[str, Any],
    num_workers: int,
    measure: bool,
    trackers: list[str],
):
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
        report_to=trackers,
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
    )


def _training_record(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What the checkpoint says of its training: the recipe and versions, no one's folders."""
    record = {
        name: value for name, value in recipe.items() if name not in ("data_dir", "output_dir")
    }
    return record | {name: version(name) for name in ("torch", "transformers", "peft")}


def _pairs_per_step(train_set, recipe: dict[str, Any]) -> float:
    pictures = min(recipe["pictures_per_step"], len(train_set))
    return train_set.pairs / max(len(train_set), 1) * pictures


def _close(trainer, output: Path, seconds: float) -> None:
    """The closing report; old checkpoints go, as the adapter is written."""
    pairs, pictures, tokens = distributed.total(
        [trainer.trained_pairs, trainer.pictures, trainer.tokens]
    )
    if not distributed.is_main():
        return
    for folder in resume.checkpoints(output):
        resume.discard(folder)
    (output / "recipe.json").unlink()  # the run is over: given again, it begins anew
    trainable, total = trainer.model.get_nb_trainable_parameters()
    megabytes = (output / adapter.WEIGHTS).stat().st_size / 1e6
    print(f"wrote {output}: adapter {megabytes:.2f} MB, curves.png")
    print(
        f"{seconds:.0f} s, {pairs / seconds:.1f} pairs/s, {pictures / seconds:.1f} pictures/s, "
        f"{tokens:,.0f} tokens, no padding\n"
        f"{trainable:,} of {total:,} parameters trained, "
        f"peak memory {peak_memory_bytes() / 1e9:.2f} GB"
    )
