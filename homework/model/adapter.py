"""LoRA checkpoints: the adapter as PEFT writes it, found, checked and attached to its base."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..common.errors import InputError, one_line
from ..common.files import PACKAGE_DIR, read_json, read_plain
from .loading import base_fingerprint

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig, PeftModel

    from .loaded import LoadedVLM

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MAX_WEIGHTS_BYTES = 500_000_000  # ten times what may be handed in
MAX_RANK = 1024
CARD = "README.md"  # the model card
BASE = "base.json"  # ours, written last: name and fingerprint of the base, how it was trained
FILES = (CONFIG, WEIGHTS, BASE)  # what makes an adapter whole


def lora_config(rank: int, alpha: float, dropout: float, vision: bool = True) -> LoraConfig:
    """LoRA on every linear layer of the vision tower, connector and text model.

    The vision tower is included on purpose: no base has seen karts named. The vocabulary
    projection is left alone: in the embedded base it shares its weights with the embeddings.

    Args:
        vision: with the vision tower and the connector; if not, on the text model alone.
    """
    from peft import LoraConfig

    modules = r".*text_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
    if vision:
        modules += (
            r"|.*vision_model\..*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"
            r"|.*connector\.modality_projection\.proj"
        )
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=modules,
        task_type="CAUSAL_LM",
    )


def add_lora(
    vlm: LoadedVLM, rank: int, alpha: float, dropout: float, vision: bool = True
) -> PeftModel:
    """Put fresh LoRA modules on the layers that `lora_config` names."""
    return _with_lora(vlm, lora_config(rank, alpha, dropout, vision))


class Adapter(NamedTuple):
    """A LoRA checkpoint as read from disk, before any base is loaded.

    Attributes:
        folder: where it lies.
        base: name of the base that it was trained on; see BaseVLM.
        fingerprint: SHA-256 of that base's weights.
        config: rank, scale and layers.
        weights: tensors by PEFT's names, all finite.
    """

    folder: Path
    base: str
    fingerprint: str
    config: LoraConfig
    weights: dict[str, torch.Tensor]


def read(checkpoint: str | Path) -> Adapter:
    """Read a LoRA checkpoint and check all that can be checked without its base.

    Args:
        checkpoint: a folder, or the name of one inside the package.

    Raises:
        InputError: no whole checkpoint there, or damaged, missing or unexpected contents.
    """
    folder = find(checkpoint)
    record = read_json(folder / BASE)
    base = record.get("base") if isinstance(record, dict) else None
    if not isinstance(base, str) or not base.isprintable():
        raise InputError(f"{folder / BASE}: names no base; train it again")
    config, weights = _read_weights(folder)
    return Adapter(folder, base, record.get("sha256"), config, weights)


def attach(vlm: LoadedVLM, adapter: Adapter) -> None:
    """Put an adapter on the base that it was trained on, merged into its weights.

    Raises:
        InputError: `vlm` is another base, or the adapter's weights do not fit it.
    """
    if base_fingerprint(vlm.folder) != adapter.fingerprint:
        raise InputError(
            f"{adapter.folder}: trained on another {adapter.base} than the one in {vlm.folder}; "
            "train it again, or bring back the base that it was trained on"
        )
    vlm.model = _with_weights(vlm, adapter).to(vlm.device).eval()
    vlm.model.merge_adapter()  # into the base's weights in memory: a third fewer seconds


def trained_on(checkpoint: str | Path) -> str:
    """Name of the split that a checkpoint was trained on; "train" if it does not say.

    Raises:
        InputError: no whole checkpoint there.
    """
    record = read_json(find(checkpoint) / BASE)
    training = record.get("training") if isinstance(record, dict) else None
    split = training.get("train_dataset_name") if isinstance(training, dict) else None
    return split if isinstance(split, str) else "train"


def find(checkpoint: str | Path) -> Path:
    """The folder of a whole checkpoint, itself or inside the package.

    Raises:
        InputError: there is none.
    """
    for folder in (Path(checkpoint), PACKAGE_DIR / checkpoint):
        if folder.is_dir():
            break
    else:
        raise InputError(f"{checkpoint}: no such checkpoint; run python -m homework.finetune train")
    for name in FILES:
        if not (folder / name).is_file():
            raise InputError(
                f"{folder}: not a whole checkpoint, it has no {name}; "
                "run python -m homework.finetune train"
            )
    return folder


def _read_weights(folder: Path) -> tuple[LoraConfig, dict[str, torch.Tensor]]:
    """The adapter's configuration and weights, before anything is built from them.

    PEFT's configuration can name modules to import, expressions that take for ever to match
    and ranks of a billion. So it is never handed on: it must say what `lora_config` says.
    """
    import torch
    from safetensors.torch import load

    written = read_json(folder / CONFIG)
    try:
        rank, alpha, dropout = (written[name] for name in ("r", "lora_alpha", "lora_dropout"))
        numbers = type(rank) is int and {type(alpha), type(dropout)} <= {int, float}
        if not (numbers and 0 < rank <= MAX_RANK and 0 < alpha < 1e6 and 0 <= dropout < 1):
            raise ValueError("r, lora_alpha or lora_dropout is out of range")
        vision = "vision_model" in str(written.get("target_modules"))
        config = lora_config(rank, alpha, dropout, vision)
        for name, value in _settings(config).items():
            if written.get(name) != value:
                raise ValueError(f"field {name!r} is not as train writes it")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"field {error} is missing" if isinstance(error, KeyError) else one_line(error)
        raise InputError(f"{folder / CONFIG}: malformed ({reason}); train it again") from None
    try:
        weights = load(read_plain(folder / WEIGHTS, MAX_WEIGHTS_BYTES))
    except Exception as error:  # the library's own, and Python's
        raise InputError(
            f"{folder}: the adapter is damaged ({one_line(error)}); train it again"
        ) from None
    for name, value in weights.items():
        if not value.is_floating_point() or not torch.isfinite(value).all():
            raise InputError(
                f"{folder / WEIGHTS}: {name!r:.100} holds values that are not finite numbers; "
                "train it again"
            )
    ranks = {value.shape[:1] for name, value in weights.items() if name.endswith("lora_A.weight")}
    if not ranks <= {(config.r,)}:
        raise InputError(f"{folder / WEIGHTS}: misshapen weights, not of rank {config.r}")
    return config, weights


def _settings(config: LoraConfig) -> dict:
    """What a configuration says, as JSON gives it back, but for what differs at no harm."""
    free = {"base_model_name_or_path", "inference_mode", "peft_version"}
    settings = json.loads(json.dumps(config.to_dict(), default=sorted))
    return {name: value for name, value in settings.items() if name not in free}


def _with_weights(vlm: LoadedVLM, adapter: Adapter) -> PeftModel:
    """The model with the adapter, after a check that its weights are exactly those expected."""
    from peft import get_peft_model_state_dict
    from peft.utils import set_peft_model_state_dict

    adapter.config.inference_mode = True
    model = _with_lora(vlm, adapter.config)
    expected = {
        name: value.shape
        for name, value in get_peft_model_state_dict(model, save_embedding_layers=False).items()
    }
    found = {name: value.shape for name, value in adapter.weights.items()}
    if expected != found:
        odd = sorted(set(expected.items()) ^ set(found.items()))[0][0]
        raise InputError(
            f"{adapter.folder / WEIGHTS}: missing, unexpected or misshapen weights, first "
            f"{odd!r:.200}; an adapter fits only the base and the version that made it: "
            "train it again"
        )
    set_peft_model_state_dict(model, adapter.weights)
    return model


def _with_lora(vlm: LoadedVLM, config: LoraConfig) -> PeftModel:
    from peft import get_peft_model

    vlm.model.name_or_path = vlm.base  # what PEFT records as the adapter's base
    with warnings.catch_warnings():
        # PEFT asks transformers by a name that transformers has renamed.
        warnings.simplefilter("ignore", FutureWarning)
        return get_peft_model(vlm.model, config)
