"""LoRA adapters in the format of PEFT: begin one, or load one onto its base, checked."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.distributed import print0
from ..common.errors import InputError, one_line
from ..common.files import digest, read_json
from .adapter_files import (
    BASE,
    CONFIG,
    WEIGHTS,
    WEIGHTS_SHA256,
    changes_base,
    find,
    read_config,
    read_weights,
    renamed,
)
from .loading import base_fingerprint
from .processor import library_processor, own_form
from .vlm import BaseVLM, Record

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig, PeftModel

FORMS = {
    False: "one tile per image and a space before the answer, as `train` has it",
    True: "images through the processor's own chain and no space before the answer, as the "
    "course's starter code has it",
}
EMBEDDINGS = ("embed_tokens.weight", "lm_head.weight", "base_layer.weight")


def add_lora(vlm: BaseVLM, vision: bool = True, **settings: Any) -> PeftModel:
    """Put fresh LoRA modules on every linear layer of the vision tower, connector and text model.

    The vision tower is included because SmolVLM has never learned the names of karts. The
    vocabulary projection is excluded: in the embedded base it shares weights with the embeddings.

    Args:
        vision: include the vision tower and the connector; if False, the text model alone.
        settings: of PEFT's LoraConfig: r, lora_alpha, lora_dropout, use_rslora, use_dora.
    """
    from peft import LoraConfig

    config = LoraConfig(target_modules=_targets(vision), task_type="CAUSAL_LM", **settings)
    return _with_lora(vlm, config)


def _targets(vision: bool) -> str:
    modules = r".*text_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
    if vision:
        modules += (
            r"|.*vision_model\..*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"
            r"|.*connector\.modality_projection\.proj"
        )
    return modules


def load(
    checkpoint: str | Path | None = None,
    verbose: bool = True,
    base: str | Path | None = None,
    merged: bool = True,
) -> BaseVLM:
    """Load an adapter onto the base that it was trained on, or a base alone.

    Args:
        checkpoint: folder of the adapter, or the name of one inside the package; None for a base.
        verbose: print the base and the device.
        base: name or folder of the base; if omitted, the one that the adapter records.
        merged: add the adapter to the base's weights in memory, for faster answers. If False,
            `base_alone` can switch it off, and model.adapter.merge add it later.

    Raises InputError if the adapter is missing, incomplete or damaged, or does not fit the base.
    """
    if checkpoint is None:
        return BaseVLM(base, verbose)
    record, config, weights = read(checkpoint, base)
    ours = record.training is not None
    starter = not ours and config.target_modules not in (_targets(True), _targets(False))
    try:
        vlm = BaseVLM(record.base, verbose)
    except InputError as error:
        if base is not None or ours:
            raise
        hint = f"{record.folder} names this base; if yours is elsewhere: --base NAME or FOLDER"
        raise InputError(f"{error} ({hint})") from None
    if ours and base_fingerprint(vlm.folder) != record.fingerprint:
        raise InputError(
            f"{record.folder}: trained on another {record.base} than the one in {vlm.folder}; "
            "train it again, or restore the base that it was trained on"
        )
    if (side := (record.training or {}).get("image_side")) is not None:
        vlm.use_image_side(side, f"{record.folder / BASE}: image_side")
    vlm.model = _with_weights(vlm, record.folder, config, weights).to(vlm.device).eval()
    own = {f"base_model.model.{name}" for name in vlm.network.state_dict()}
    vlm.can_switch = not changes_base(config) and own.isdisjoint(weights)
    vlm.adapter = record
    if starter:
        vlm.inputs.use_starter_form(library_processor(vlm.folder, own_form(vlm.folder)))
    if verbose and not ours:
        print0(f"{record.folder}: not trained by this package; {FORMS[starter]}")
    if merged:
        merge(vlm)
    return vlm


def read(
    checkpoint: str | Path, base: str | Path | None = None
) -> tuple[Record, LoraConfig, dict[str, torch.Tensor]]:
    """Read an adapter and check everything that does not need its base.

    Args:
        checkpoint: folder of the adapter, or the name of one inside the package.
        base: name or folder of its base; if omitted, the one that it records.

    Returns:
        what is known of it; rank, scale and layers; weights by PEFT's names, all of them finite.

    Raises InputError if the adapter is missing, incomplete or damaged.
    """
    folder = find(checkpoint)
    config, named = read_config(folder / CONFIG)
    record = _read_record(folder, named, base)
    return record, config, read_weights(folder / WEIGHTS)


def _read_record(folder: Path, named: str | None, base: str | Path | None) -> Record:
    """The record of an adapter; `named` is the base in PEFT's file, `base` the user's choice."""
    file, written, training = folder / BASE, {}, None
    if file.is_file():
        written = read_json(file)
        named = written.get("base") if isinstance(written, dict) else None
        if not isinstance(named, str) or not named.isprintable():
            raise InputError(f"{file}: names no base; train the adapter again")
        expected = written.get(WEIGHTS_SHA256)
        if expected is not None and digest(folder / WEIGHTS) != expected:
            raise InputError(
                f"{folder / WEIGHTS}: damaged, it is not what train wrote (SHA-256); copy it "
                "again, or train the adapter again"
            )
        training = written.get("training")
        training = training if isinstance(training, dict) else {}
    if base is None and not named:
        raise InputError(f"{folder / CONFIG}: names no base; give it: --base NAME or FOLDER")
    return Record(folder, str(base or named), written.get("sha256"), training)


def merge(vlm: BaseVLM) -> None:
    """Add the adapter to the base's weights in memory, if possible: answers come a third faster."""
    if vlm.adapter and can_merge(vlm.model):
        vlm.model.merge_adapter()
        vlm.can_switch = False


def can_merge(model: PeftModel) -> bool:
    """Whether the adapter can be added to the base: a bias cannot, if the layer has none."""
    from peft.tuners.lora import LoraLayer

    layers = [layer for layer in model.modules() if isinstance(layer, LoraLayer)]
    return not any(
        any(layer.lora_bias.values()) and getattr(layer.get_base_layer(), "bias", None) is None
        for layer in layers
    )


def _with_weights(
    vlm: BaseVLM, folder: Path, config: LoraConfig, weights: dict[str, torch.Tensor]
) -> PeftModel:
    """The model with the adapter, whose weights must be exactly those that the base needs."""
    from peft import get_peft_model_state_dict
    from peft.utils import set_peft_model_state_dict

    try:
        if not config.trainable_token_indices:
            _untie(vlm, weights)
        model = _with_lora(vlm, config)
    except Exception as error:  # PEFT reports a configuration that does not fit in many ways
        line = f"{folder / CONFIG}: does not fit the base {vlm.base} ({one_line(error)})"
        raise InputError(f"{line}; give its base") from None
    needed = get_peft_model_state_dict(model, save_embedding_layers=False)
    weights = renamed(weights, needed)
    # PEFT saves the embeddings as well where the adapter has changed or resized them.
    own = {f"base_model.model.{name}": v.shape for name, v in vlm.network.state_dict().items()}
    expected = {name: value.shape for name, value in needed.items()}
    found = {
        name: value.shape
        for name, value in weights.items()
        if name in expected or not (name.endswith(EMBEDDINGS) and own.get(name) == value.shape)
    }
    if expected != found:
        odd = sorted(set(expected.items()) ^ set(found.items()))[0][0]
        raise InputError(
            f"{folder / WEIGHTS}: missing, unexpected or misshapen weights, first "
            f"{odd!r:.200}; an adapter fits only the base and the version that it was trained "
            "with: train it again"
        )
    set_peft_model_state_dict(model, weights)
    return model


def _untie(vlm: BaseVLM, weights: Iterable[str]) -> None:
    """Give the output layer weights of its own if an adapter changes it or the embeddings.

    A base that shares these weights would otherwise get the change in both places.
    """
    import torch

    network = vlm.network
    head, embeddings = network.lm_head, network.get_input_embeddings()
    changed = any(".lm_head." in name or ".embed_tokens." in name for name in weights)
    if changed and head.weight is embeddings.weight:
        head.weight = torch.nn.Parameter(head.weight.detach().clone(), requires_grad=False)
        network.config.tie_word_embeddings = network.config.text_config.tie_word_embeddings = False


def _with_lora(vlm: BaseVLM, config: LoraConfig) -> PeftModel:
    from peft import get_peft_model

    vlm.model.name_or_path = vlm.base  # what PEFT records as the adapter's base
    with warnings.catch_warnings():
        # PEFT uses a name that transformers has since changed.
        warnings.simplefilter("ignore", FutureWarning)
        model = get_peft_model(vlm.model, config)
    module: Any
    for module in model.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            # PEFT would cast each input to float32, and autocast would cast it back.
            module.cast_input_dtype_enabled = False
    return model
