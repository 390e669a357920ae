"""Write a base with its adapter as one model in the layout of the hub, for plain transformers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.errors import InputError
from ..common.files import PARTIAL, require_writable

if TYPE_CHECKING:
    from .vlm import BaseVLM

CARD = "README.md"


def check_new(folder: Path) -> None:
    """Refuse a folder that holds something or cannot be written.

    Raises:
        InputError: it is refused.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"--output: {folder} is there already; give a new folder")
    require_writable(folder / CARD)


def save_merged(vlm: BaseVLM, folder: Path, card: str) -> None:
    """Write the model with the adapter in its weights, and its processor, whole or not at all.

    The weights stay float32, as rounding them could change an answer. A base with a stem, which
    transformers does not have, takes its class along: `stem.py`, loaded with `trust_remote_code`.

    Args:
        vlm: with an adapter; of no further use, as the adapter is taken out.
        card: text of the model card.

    Raises:
        InputError: the layers of the base cannot take the adapter in.
    """
    from .adapter import can_merge
    from .compat import save_model
    from .generation import MAX_NEW_TOKENS
    from .processor import own_form, write

    if not can_merge(vlm.model):
        raise InputError(
            "the adapter has biases (lora_bias) where its base has none: not mergeable"
        )

    fresh = folder.with_name(f"{folder.name}{PARTIAL}")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        model = vlm.model.unload()  # `adapter.attach` has merged it already
        generation = model.generation_config
        generation.eos_token_id, generation.pad_token_id = vlm.inputs.end_id, vlm.inputs.pad_id
        generation.max_new_tokens = MAX_NEW_TOKENS
        if model.config.model_type == "idefics3_stem":
            _save_class(model, fresh)
        save_model(model, fresh)
        # One resize straight to the square, as in training; this setting is about another, before.
        form = own_form(vlm.folder) if vlm.inputs.starter else {"do_resize": False}
        write(fresh, vlm.inputs.tokenizer, vlm.inputs.settings, form)
        (fresh / CARD).write_text(card, "utf-8")
        if folder.exists():
            folder.rmdir()  # empty
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _save_class(model, folder: Path) -> None:
    from . import stem

    folder.mkdir(parents=True)
    shutil.copyfile(stem.__file__, folder / "stem.py")
    model.config.auto_map = {
        "AutoConfig": f"stem.{type(model.config).__name__}",
        "AutoModelForImageTextToText": f"stem.{type(model).__name__}",
    }
