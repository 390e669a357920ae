"""The configuration of a fine-tuning: the options of `finetune train` and their defaults."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_type_hints

from ..common.errors import InputError
from ..common.files import PACKAGE_DIR
from ..common.options import Count, Fraction, Natural, Positive, coerce

MODEL_NAME = "vlm_model"  # the folder in the package that `train` writes and `load_vlm` reads
# The peak learning rate by the type of the base's model, found by trying. The embedded base
# (idefics3_stem) takes larger steps: it has never been asked a question, and all of them are to be
# learned in minutes.
LEARNING_RATES = {"idefics3_stem": 1e-3, "idefics3": 5e-4, "smolvlm": 5e-4}
# Steps of a run where neither epochs nor steps are given, at most. The embedded base has learned
# what it can by then (docs/training.md); of SmolVLM no curve is known, and patience ends its run.
LONGEST = {"idefics3_stem": 300}
# Options that do not change what a run learns: where files lie, and how a step is divided into
# passes. Of the latter, the number of images in a step stays; see `TrainConfig.to_dict`.
_BESIDE = (
    *("data_dir", "output_dir", "num_workers", "report_to", "overwrite", "push_to_hub", "config"),
    *("tokens_per_pass", "gradient_checkpointing", "yes"),
    *("per_device_train_batch_size", "gradient_accumulation_steps"),
)


@dataclass(frozen=True)
class TrainConfig:
    """The options of a fine-tuning.

    Args:
        data_dir: the data folder; the one beside the package if omitted.
        train_dataset_name: split whose pairs are learned.
        output_dir: folder for the adapter; homework/vlm_model if omitted.
        base: the model to fine-tune: a folder, the name of a SmolVLM in the hub cache, or
            embedded_base; if omitted, SmolVLM-256M-Instruct where the hub cache has it, otherwise
            embedded_base.
        num_train_epochs: passes over the images. If omitted, 1, with the embedded base of 300
            steps at most.
        per_device_train_batch_size: images of a batch, on each device; an image brings all
            its questions.
        gradient_accumulation_steps: number of such batches in an optimizer step.
        learning_rate: peak learning rate; 3% warm-up, then cosine decay to 0. If omitted, 1e-3
            for the embedded base and 5e-4 for SmolVLM.
        vision_learning_rate: peak learning rate of the vision tower and the connector;
            learning_rate if omitted.
        lora_r: rank of the LoRA matrices.
        lora_alpha: scale of LoRA; the update is multiplied by lora_alpha / lora_r.
        lora_dropout: dropout before the LoRA matrices.
        use_rslora: multiply the update by lora_alpha / sqrt(lora_r) instead (rank-stabilized LoRA).
        use_dora: learn size and direction of the weights separately (DoRA); slower, and at times
            better at a low rank.
        train_vision: put LoRA on the vision tower as well; False trains the text model alone, in
            less time (docs/speed.md).
        image_side: side in pixels of the square that the model sees; the base's own if omitted, 512
            for SmolVLM. 256 takes 0.3 of the time of 512 (docs/scaling.md); what it costs in
            accuracy has not been measured. The embedded base has one side only.
        tokens_per_pass: patches and text tokens that go through the model at a time; a step is cut
            into such passes. A smaller number takes less memory and gives the same result. If
            omitted, what fits into the memory of the device.
        gradient_checkpointing: compute the layers' results a second time in the backward pass
            instead of keeping them; takes less memory and more time, with the same result. Where
            one image does not fit into memory otherwise, it is done unasked.
        num_workers: processes that decode images; 0 decodes in the training process. If
            omitted, 0 on a CPU, and on a GPU one for each core but one, 8 at most.
        max_samples: number of pairs to train on, drawn by the seed; all if omitted.
        max_steps: optimizer steps to stop after; -1 trains all epochs.
        save_steps: optimizer steps between checkpoints; a fifth of the run, 200 at most, if
            omitted.
        patience: training ends early after so many evaluations in a row on held-out images without
            a higher accuracy; 0 never ends it early.
        seed: seed of the LoRA weights, the order of images and the dropout.
        report_to: trackers of the curves (tensorboard, wandb, mlflow, trackio), separated by
            commas, or none.
        overwrite: replace the adapter in the output folder without keeping a copy, and discard
            checkpoints there of an unfinished run with other options.
        push_to_hub: repository on the Hugging Face hub, such as name/stk-adapter, to upload the
            adapter to; made private if it is new. Log in first: hf auth login.
        yes: do not ask before a run of more than a day.
        config: YAML or JSON file of these options by name; an option on the command line overrides
            the one in the file.

    Raises:
        InputError: an option is wrong.
    """

    data_dir: Path | None = None
    train_dataset_name: str = "train"
    output_dir: Path | None = None
    base: str | None = None
    num_train_epochs: Positive | None = None
    per_device_train_batch_size: Count = 16
    gradient_accumulation_steps: Count = 1
    learning_rate: Positive | None = None
    vision_learning_rate: Positive | None = None
    lora_r: Count = 16
    lora_alpha: Positive = 32
    lora_dropout: Fraction | Literal[0] = 0.0
    use_rslora: bool = False
    use_dora: bool = False
    train_vision: bool = True
    image_side: Count | None = None
    tokens_per_pass: Count | None = None
    gradient_checkpointing: bool = False
    num_workers: Natural | None = None
    max_samples: Count | None = None
    max_steps: Count | Literal[-1] = -1
    save_steps: Count | None = None
    patience: Natural = 4
    seed: Natural = 0
    report_to: Sequence[str] = "tensorboard"
    overwrite: bool = False
    push_to_hub: str | None = None
    yes: bool = False
    config: Path | None = None

    def __post_init__(self) -> None:
        for name, annotation in get_type_hints(type(self), include_extras=True).items():
            value = coerce(f"--{name}", getattr(self, name), annotation)
            object.__setattr__(self, name, value)
        if self.vision_learning_rate is not None and not self.train_vision:
            raise InputError("--vision_learning_rate: leave it out with --train_vision False")

    @property
    def output(self) -> Path:
        """The folder for the adapter."""
        return self.output_dir or PACKAGE_DIR / MODEL_NAME

    @property
    def images(self) -> int:
        """Images of a device in an optimizer step, which memory may cut into more passes."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

    def of_base(self, name: str, model_type: str) -> TrainConfig:
        """The configuration with the base's name, and the learning rate of its model type."""
        return replace(
            self, base=name, learning_rate=self.learning_rate or LEARNING_RATES[model_type]
        )

    def steps(self, steps_per_epoch: int, model_type: str) -> int:
        """Optimizer steps of a run; if none are given, the epoch or the base's longest run."""
        if self.max_steps != -1:
            return self.max_steps
        if self.num_train_epochs is not None:
            return math.ceil(self.num_train_epochs * steps_per_epoch)
        return min(steps_per_epoch, LONGEST.get(model_type, steps_per_epoch))

    def to_dict(self, processes: int) -> dict[str, Any]:
        """The options that change the result, ready for JSON: for model card and checkpoints.

        How a step is divided among processes and passes changes nothing, so that a run may be
        resumed on other devices; the number of its images does.
        """
        options = {name: value for name, value in asdict(self).items() if name not in _BESIDE}
        return options | {"pictures_per_step": self.images * processes}
