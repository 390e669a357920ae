"""LoRA checkpoints: the adapter as PEFT writes it, and the base that it belongs to."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from .base_vlm import BaseVLM
from .files import PACKAGE_DIR, InputError, read_json, write_json

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BASE = "base.json"  # ours, written last: name and fingerprint of the base, how it was trained


def add_lora(vlm: BaseVLM, rank: int, alpha: int, dropout: float) -> PeftModel:
    """Put fresh LoRA modules on every linear layer of the vision tower, connector and text model.

    The vision tower is included on purpose: no base has seen karts named. The vocabulary
    projection is left alone, as it shares its weights with the embeddings.
    """
    from peft import LoraConfig

    text = "q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj"
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=(
            rf".*text_model\..*\.({text})|.*vision_model\..*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"
            r"|.*connector\.modality_projection\.proj"
        ),
        task_type="CAUSAL_LM",
    )
    return _with_adapter(vlm, config)


def save(model: PeftModel, vlm: BaseVLM, folder: Path, training: dict) -> None:
    """Write the adapter to `folder`; what was there stays whole until the new one is.

    Args:
        training: how it was trained, for the record.
    """
    fresh = folder / "adapter.partial"
    shutil.rmtree(fresh, ignore_errors=True)
    model.save_pretrained(fresh, save_embedding_layers=False)
    # base.json vouches for the other two: it goes first and comes back last.
    (folder / BASE).unlink(missing_ok=True)
    for name in (WEIGHTS, CONFIG):
        os.replace(fresh / name, folder / name)
    shutil.rmtree(fresh)
    fingerprint = base_fingerprint(vlm.folder)
    write_json(folder / BASE, {"base": vlm.base, "sha256": fingerprint, "training": training})


def load(checkpoint: str | Path, verbose: bool = True) -> BaseVLM:
    """Load a LoRA checkpoint onto the base that it was trained on.

    Args:
        checkpoint: a folder, or the name of one inside the package.

    Raises:
        InputError: no whole checkpoint there, another base, missing or unexpected weights.
    """
    folder = _find(checkpoint)
    record = read_json(folder / BASE)
    base = record.get("base") if isinstance(record, dict) else None
    if not isinstance(base, str) or read_json(folder / CONFIG).get("peft_type") != "LORA":
        raise InputError(f"{folder}: {BASE} or {CONFIG} is malformed; train it again")
    vlm = BaseVLM(base, verbose)
    if base_fingerprint(vlm.folder) != record.get("sha256"):
        raise InputError(
            f"{folder}: trained on another {base} than the one in {vlm.folder}; "
            "train it again, or bring back the base that it was trained on"
        )
    vlm.model = _attach(vlm, folder).to(vlm.device).eval()
    return vlm


def base_fingerprint(folder: Path) -> str:
    """SHA-256 of a base's weights file."""
    with open(folder / "model.safetensors", "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def trained_on(checkpoint: str | Path) -> str:
    """Name of the split that a checkpoint was trained on; "train" if it does not say.

    Raises:
        InputError: no whole checkpoint there.
    """
    record = read_json(_find(checkpoint) / BASE)
    training = record.get("training") if isinstance(record, dict) else None
    split = training.get("train_dataset_name") if isinstance(training, dict) else None
    return split if isinstance(split, str) else "train"


def _find(checkpoint: str | Path) -> Path:
    for folder in (Path(checkpoint), PACKAGE_DIR / checkpoint):
        if folder.is_dir():
            break
    else:
        raise InputError(f"{checkpoint}: no such checkpoint; run python -m homework.finetune train")
    for name in (CONFIG, WEIGHTS, BASE):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder}: not a whole checkpoint, it has no {name}; "
                "run python -m homework.finetune train"
            )
    return folder


def _attach(vlm: BaseVLM, folder: Path) -> PeftModel:
    """The model with the adapter, after a check that its weights are exactly those expected."""
    from peft import LoraConfig, get_peft_model_state_dict
    from peft.utils import set_peft_model_state_dict
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        config = LoraConfig.from_pretrained(folder)
        weights = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError, ValueError, TypeError, json.JSONDecodeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{folder}: the adapter is damaged ({reason}); train it again") from None
    config.inference_mode = True
    model = _with_adapter(vlm, config)
    expected = {
        name: value.shape
        for name, value in get_peft_model_state_dict(model, save_embedding_layers=False).items()
    }
    found = {name: value.shape for name, value in weights.items()}
    if expected != found:
        odd = sorted(set(expected.items()) ^ set(found.items()))[0][0]
        raise InputError(
            f"{folder / WEIGHTS}: missing, unexpected or misshapen weights, first {odd}; "
            "an adapter fits only the base and the version that made it: train it again"
        )
    set_peft_model_state_dict(model, weights)
    return model


def _with_adapter(vlm: BaseVLM, config: LoraConfig) -> PeftModel:
    from peft import get_peft_model

    vlm.model.name_or_path = vlm.base  # what PEFT records as the adapter's base
    with warnings.catch_warnings():
        # PEFT asks transformers by a name that transformers has renamed.
        warnings.simplefilter("ignore", FutureWarning)
        return get_peft_model(vlm.model, config)
