"""What `finetune train` does where no option says otherwise: a named recipe for each base. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RECIPES: dict[str, dict[str, Any]] = {
    # Minutes on two CPU cores. The base has learned the questions already, from frames and
    # line-ups that no train split has: small steps, or it learns the split's line-ups by heart
    # (docs/base.md).
    "embedded": {
        "num_train_epochs": 1,
        "per_device_train_batch_size": 16,
        "gradient_accumulation_steps": 1,
        "learning_rate": 1e-4,
        "lora_r": 16,
        "lora_alpha": 32,
    },
    # An embedded base with a stem: it sees karts and tracks and describes them, but has never
    # been asked a question. Large steps: all of the questions is to be learned.
    "stem": {
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


def filled(options: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The options, with a named recipe's values for those that are None."""
    recipe = RECIPES[name]
    return {
        option: recipe.get(option) if value is None else value for option, value in options.items()
    }
