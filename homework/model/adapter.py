"""LoRA adapters in the format of PEFT: find one, check it and attach it to its base."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..common.errors import InputError, one_line
from ..common.files import PACKAGE_DIR, read_json, read_plain
from .loading import base_fingerprint

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig, PeftModel

    from .loaded import LoadedVLM

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MAX_WEIGHTS_BYTES = 500_000_000  # ten times the limit of a submission
MAX_RANK = 1024
CARD = "README.md"  # the model card
BASE = "base.json"  # our own record, written last: name and hash of the base, training options
STATE = "trainer_state.json"  # the log of its training, where `train` has written it
FILES = (CONFIG, WEIGHTS, BASE)  # a complete adapter has all three


def lora_config(
    rank: int,
    alpha: float,
    dropout: float,
    vision: bool = True,
    rslora: bool = False,
    dora: bool = False,
) -> LoraConfig:
    """LoRA on every linear layer of the vision tower, connector and text model.

    The vision tower is included because SmolVLM has never learned the names of karts. The
    vocabulary projection is excluded: in the embedded base it shares weights with the embeddings.

    Args:
        vision: include the vision tower and the connector; if False, the text model alone.
        rslora, dora: PEFT's variants of LoRA.
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
        use_rslora=rslora,
        use_dora=dora,
        task_type="CAUSAL_LM",
    )


def add_lora(
    vlm: LoadedVLM,
    rank: int,
    alpha: float,
    dropout: float,
    vision: bool = True,
    rslora: bool = False,
    dora: bool = False,
) -> PeftModel:
    """Put fresh LoRA modules on the layers that `lora_config` names."""
    return _with_lora(vlm, lora_config(rank, alpha, dropout, vision, rslora, dora))


class Adapter(NamedTuple):
    """An adapter that was read from disk, before its base is loaded.

    Attributes:
        folder: its folder.
        base: name of the base that it was trained on; see BaseVLM.
        fingerprint: SHA-256 of the weights of that base.
        config: rank, scale and layers.
        weights: PEFT's name -> tensor; all values are finite.
    """

    folder: Path
    base: str
    fingerprint: str
    config: LoraConfig
    weights: dict[str, torch.Tensor]


def read(checkpoint: str | Path) -> Adapter:
    """Read an adapter and check everything that does not need its base.

    Args:
        checkpoint: folder of the adapter, or the name of one inside the package.

    Raises:
        InputError: the adapter is missing, incomplete or damaged.
    """
    folder = find(checkpoint)
    record = _record(folder)
    base = record.get("base")
    if not isinstance(base, str) or not base.isprintable():
        raise InputError(f"{folder / BASE}: names no base; train the adapter again")
    config = _read_config(folder / CONFIG)
    return Adapter(folder, base, record.get("sha256"), config, _read_weights(folder, config.r))


def attach(vlm: LoadedVLM, adapter: Adapter) -> None:
    """Attach an adapter to the base that it was trained on and merge it into the base's weights.

    Raises:
        InputError: `vlm` is another base, or the weights of the adapter do not fit it.
    """
    if base_fingerprint(vlm.folder) != adapter.fingerprint:
        raise InputError(
            f"{adapter.folder}: trained on another {adapter.base} than the one in {vlm.folder}; "
            "train it again, or restore the base that it was trained on"
        )
    vlm.model = _with_weights(vlm, adapter).to(vlm.device).eval()
    vlm.model.merge_adapter()  # in memory; answering takes a third less time


def trained_on(checkpoint: str | Path) -> str:
    """Name of the split that an adapter was trained on; "train" if it was not recorded.

    Raises:
        InputError: the adapter is missing or incomplete.
    """
    split = training_of(checkpoint).get("train_dataset_name")
    return split if isinstance(split, str) else "train"


def training_of(checkpoint: str | Path) -> dict[str, Any]:
    """How an adapter was trained: options, versions and the best result on held-out frames.

    Raises:
        InputError: the adapter is missing or incomplete.
    """
    training = _record(find(checkpoint)).get("training")
    return training if isinstance(training, dict) else {}


def find(checkpoint: str | Path) -> Path:
    """The folder of a complete adapter: `checkpoint` itself, or of that name in the package.

    Raises:
        InputError: the adapter is missing or incomplete.
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


def _record(folder: Path) -> dict[str, Any]:
    record = read_json(folder / BASE)
    return record if isinstance(record, dict) else {}


def _read_config(file: Path) -> LoraConfig:
    """Our own configuration with the rank, alpha and dropout of the file.

    PEFT's configuration can name modules to import, expressions that never end to match and ranks
    of a billion. So the file is only compared with what `lora_config` gives, and never used.
    """
    written = read_json(file)
    try:
        rank, alpha, dropout = (written[name] for name in ("r", "lora_alpha", "lora_dropout"))
        numbers = type(rank) is int and {type(alpha), type(dropout)} <= {int, float}
        if not (numbers and 0 < rank <= MAX_RANK and 0 < alpha < 1e6 and 0 <= dropout < 1):
            raise ValueError("r, lora_alpha or lora_dropout is out of range")
        vision = "vision_model" in str(written.get("target_modules"))
        variants = (written.get(f"use_{name}") is True for name in ("rslora", "dora"))
        config = lora_config(rank, alpha, dropout, vision, *variants)
        for name, value in _settings(config).items():
            if written.get(name) != value:
                raise ValueError(f"field {name!r} is not as train writes it")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"field {error} is missing" if isinstance(error, KeyError) else one_line(error)
        raise InputError(f"{file}: malformed ({reason}); train the adapter again") from None
    return config


def _read_weights(folder: Path, rank: int) -> dict[str, torch.Tensor]:
    import torch
    from safetensors.torch import load

    file = folder / WEIGHTS
    try:
        weights = load(read_plain(file, MAX_WEIGHTS_BYTES))
    except Exception as error:  # safetensors raises its own and built-in exceptions
        reason = one_line(error)
        raise InputError(f"{folder}: the adapter is damaged ({reason}); train it again") from None
    for name, value in weights.items():
        if not value.is_floating_point() or not torch.isfinite(value).all():
            raise InputError(
                f"{file}: {name!r:.100} has values that are not finite; train the adapter again"
            )
        if name.endswith("lora_A.weight") and value.shape[:1] != (rank,):
            raise InputError(f"{file}: misshapen weights, not of rank {rank}")
    return weights


def _settings(config: LoraConfig) -> dict:
    """The fields of a configuration as JSON values, without those that may differ."""
    free = {"base_model_name_or_path", "inference_mode", "peft_version"}
    settings = json.loads(json.dumps(config.to_dict(), default=sorted))
    return {name: value for name, value in settings.items() if name not in free}


def _with_weights(vlm: LoadedVLM, adapter: Adapter) -> PeftModel:
    """The model with the adapter, whose weights must be exactly those that the base needs."""
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
            f"{odd!r:.200}; an adapter fits only the base and the version that it was trained "
            "with: train it again"
        )
    set_peft_model_state_dict(model, adapter.weights)
    return model


def _with_lora(vlm: LoadedVLM, config: LoraConfig) -> PeftModel:
    from peft import get_peft_model

    vlm.model.name_or_path = vlm.base  # what PEFT records as the adapter's base
    with warnings.catch_warnings():
        # PEFT uses a name that transformers has since changed.
        warnings.simplefilter("ignore", FutureWarning)
        model = get_peft_model(vlm.model, config)
    for module in model.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            # PEFT would cast each input to float32, and autocast would cast it back.
            module.cast_input_dtype_enabled = False
    return model
