"""What `finetune train` does where no option says otherwise, and which options it takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..common import options
from ..common.errors import InputError

RECIPES: dict[str, dict[str, Any]] = {
    # Minutes on two CPU cores. The base sees karts and tracks and describes them, but has never
    # been asked a question. Large steps: all of the questions is to be learned.
    "embedded": {
        "num_train_epochs": 1,
        "per_device_train_batch_size": 16,
        "gradient_accumulation_steps": 1,
        "learning_rate": 1e-3,
        "lora_r": 16,
        "lora_alpha": 32,
    },
    # SmolVLM-256M: an hour of one GPU. It has never seen a kart: one pass over all frames, at
    # the rates usual for LoRA on models of its size.
    "smolvlm": {
        "num_train_epochs": 1,
        "per_device_train_batch_size": 16,
        "gradient_accumulation_steps": 1,
        "learning_rate": 5e-4,
        "lora_r": 16,
        "lora_alpha": 32,
    },
}

WEIGHTINGS = ("question", "frame")  # see `packing`


def filled(options: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The options, with a named recipe's values for those that are None."""
    recipe = RECIPES[name]
    return {
        option: recipe.get(option) if value is None else value for option, value in options.items()
    }


def recipe_name(recipe: str | None, base: str | None) -> str:
    """The recipe asked for, or the base's own."""
    from ..model.embedded import EMBEDDED_BASE
    from ..model.loading import EMBEDDED, find_checkpoint, model_type

    if recipe is None:
        name = find_checkpoint()[0] if base is None else str(base)
        embedded = name == EMBEDDED or Path(name).resolve() == EMBEDDED_BASE
        embedded = embedded or model_type(Path(name)) == "idefics3_stem"
        return "embedded" if embedded else "smolvlm"
    if recipe not in RECIPES:
        raise InputError(f"--recipe: give {' or '.join(RECIPES)}, not {recipe!r}")
    return recipe


def check_options(recipe: Mapping[str, Any], num_workers: int) -> None:
    """Refuse, in the option's own words, what would fail after minutes of loading."""
    pictures = ("per_device_train_batch_size", "gradient_accumulation_steps")
    for name in (*pictures, "lora_r", "tokens_per_pass"):
        options.whole(f"--{name}", recipe[name], 1)
    if recipe["save_steps"] is not None:
        options.whole("--save_steps", recipe["save_steps"], 1)
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
    for name in ("train_vision", "overwrite"):
        if not isinstance(recipe[name], bool):
            raise InputError(f"--{name}: give True or False, not {recipe[name]!r}")
    options.whole("--seed", recipe["seed"], 0)
    options.whole("--num_workers", num_workers, 0)
    options.path("--output_dir", recipe["output_dir"])
