"""Load a SmolVLM from disk without running or unpickling anything in its folder.

A folder may come from anywhere: its settings are checked against limits first, and its weights must
be exactly those of the model.
"""

from __future__ import annotations

import copy
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.errors import InputError, one_line
from ..common.files import MAX_JSON_BYTES, PACKAGE_DIR, digest, read_json

if TYPE_CHECKING:
    from transformers import Idefics3Config

    from .inputs import InputBuilder

SMOLVLM = "HuggingFaceTB/SmolVLM-256M-Instruct"
EMBEDDED = "embedded_base"  # name of the base that ships in this package
EMBEDDED_BASE = PACKAGE_DIR / EMBEDDED  # its folder
CONFIG, WEIGHTS = "config.json", "model.safetensors"
MODEL_TYPES = ("idefics3", "smolvlm", "idefics3_stem")  # SmolVLM, SmolVLM2, the embedded base
MAX_LAYERS = 64  # twice those of the largest SmolVLM; without a limit a billion would be built


def find_checkpoint(checkpoint: str | Path | None = None) -> tuple[str, Path]:
    """Name and folder of a base, as BaseVLM takes it; InputError if it is not on disk."""
    if checkpoint is None:
        folder = _in_hub_cache(SMOLVLM)
        checkpoint = SMOLVLM if folder else EMBEDDED
    name = os.path.expanduser(str(checkpoint))
    if name == EMBEDDED:
        folder = EMBEDDED_BASE
    elif Path(name).is_dir():
        folder = Path(name).resolve()
        name = EMBEDDED if folder == EMBEDDED_BASE else str(folder)
    elif name.count("/") == 1:
        folder = _in_hub_cache(name)
    else:
        raise InputError(f"{name}: no such checkpoint folder; give one that holds config.json")
    if folder is None:
        raise InputError(
            f"{name}: not in the hub cache; run python -m homework.base_vlm download {name}, "
            f"or use the base that ships with the package: {EMBEDDED}"
        )
    for file in (CONFIG, WEIGHTS):
        if not (folder / file).is_file():
            raise InputError(f"{folder}: not a model checkpoint, it has no {file}")
    return name, folder


def _in_hub_cache(name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(name, WEIGHTS)
    except ValueError:  # not a name that the hub could have
        return None
    return Path(found).parent if isinstance(found, str) else None


def load_inputs(folder: Path) -> InputBuilder:
    """The InputBuilder of a folder; InputError if its processor is malformed or no SmolVLM's."""
    from PIL import Image

    from .inputs import InputBuilder
    from .processor import read_settings, read_tokenizer

    try:
        inputs = InputBuilder(read_tokenizer(folder), read_settings(folder))
        inputs.resize(Image.new("RGB", (8, 8)))
        if not type(inputs.end_id) is type(inputs.pad_id) is int:
            raise ValueError("eos_token or pad_token is not in its vocabulary")
        return inputs
    except Exception as error:  # the libraries report broken files by almost any exception
        raise InputError(f"{folder}: no SmolVLM processor in it ({one_line(error)})") from None


def load_model(folder: Path):
    """The model of a checkpoint folder, float32.

    Raises InputError if it is not a SmolVLM, or its weights are not exactly those of its shape.
    """
    import torch
    from transformers import GenerationConfig
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    from .compat import dtype_option, repair_positions, two_way_config

    disable_progress_bar()  # a bar for every load, even of 10 MB
    set_verbosity_error()  # a table of weights that do not fit, which are refused below
    try:
        config_class, model_class = _classes(folder)
        config = config_class.from_dict(two_way_config(read_json(folder / CONFIG)))
        _check_size(model_class, config, folder / WEIGHTS)
        model, found = model_class.from_pretrained(
            folder,
            config=config,
            **dtype_option(torch.float32),
            use_safetensors=True,  # never a pickle
            output_loading_info=True,
        )
    except Exception as error:  # the libraries report broken files by almost any exception
        raise InputError(f"{folder}: the model cannot be loaded ({one_line(error)})") from None
    # transformers would initialise missing weights at random.
    for kind in ("missing", "mismatched"):
        if found[f"{kind}_keys"]:
            raise InputError(
                f"{folder / WEIGHTS}: {kind} weights, first {_first(found[f'{kind}_keys'])}; "
                "copy the checkpoint again"
            )
    if extra := found["unexpected_keys"]:
        print(f"{folder / WEIGHTS}: {len(extra)} weights left out, first {_first(extra)}")
    for name, value in model.named_parameters():
        if not torch.isfinite(value).all():
            raise InputError(f"{folder / WEIGHTS}: {name} is not finite; copy the checkpoint again")
    repair_positions(model)
    # `generation` alone decides how answers are generated, not a file of the checkpoint.
    model.generation_config = GenerationConfig()
    return model


def model_type(folder: Path) -> str | None:
    """The model type in a checkpoint's configuration, if any; InputError if that is malformed."""
    file = folder / CONFIG
    config = read_json(file) if file.is_file() else None
    return config.get("model_type") if isinstance(config, dict) else None


def _classes(folder: Path) -> tuple[type, type]:
    """The classes of the configuration and the model: those of SmolVLM, SmolVLM2 or with a stem."""
    kind = model_type(folder)
    if kind == "idefics3_stem":
        from .stem import Idefics3StemConfig, Idefics3StemForConditionalGeneration

        return Idefics3StemConfig, Idefics3StemForConditionalGeneration
    import transformers

    name = "SmolVLM" if kind == "smolvlm" else "Idefics3"
    if not hasattr(transformers, f"{name}Config"):
        raise ValueError("a SmolVLM2 needs transformers 4.50 or later")
    parts = ("Config", "ForConditionalGeneration")
    config_class, model_class = (getattr(transformers, f"{name}{part}") for part in parts)
    return config_class, model_class


def check_config(folder: Path) -> None:
    """Raise InputError for a file that is too large, or a model of another kind than SmolVLM."""
    for path in sorted(folder.iterdir()):
        # The libraries read these files whole, some before the checks below.
        if path.suffix in (".json", ".jinja", ".txt") and path.stat().st_size > MAX_JSON_BYTES:
            raise InputError(f"{path}: over {MAX_JSON_BYTES:,} bytes; copy the checkpoint again")
    file = folder / CONFIG
    config = read_json(file)
    if not isinstance(config, dict) or config.get("model_type") not in MODEL_TYPES:
        kind = config.get("model_type") if isinstance(config, dict) else None
        raise InputError(f"{file}: a {kind!s:.40} model; SmolVLM is idefics3 or smolvlm")
    for name in ("text_config", "vision_config"):
        part = config.get(name, {})
        layers = part.get("num_hidden_layers", 1) if isinstance(part, dict) else None
        if type(layers) is not int or not 0 < layers <= MAX_LAYERS:
            line = (
                f"{file}: {name} has not from 1 to {MAX_LAYERS} layers; copy the checkpoint again"
            )
            raise InputError(line)


def check_match(model, inputs: InputBuilder, folder: Path) -> None:
    """Raise InputError for a processor whose tokens or images do not fit the model."""
    config = model.config
    features = (inputs.side // config.vision_config.patch_size // config.scale_factor) ** 2
    if (
        inputs.prefix_ids.count(config.image_token_id) != features
        or inputs.side > config.vision_config.image_size
        or len(inputs.tokenizer) > model.get_input_embeddings().num_embeddings
    ):
        raise InputError(
            f"{folder}: its processor and its model do not fit each other; copy it again"
        )


def _check_size(model_class: type, config: Idefics3Config, weights: Path) -> None:
    """Raise ValueError for a model with more parameters than its file holds, or of another type.

    A config.json with an empty text_config asks for six billion.
    """
    import torch
    from safetensors import safe_open

    with torch.device("meta"):  # no memory
        model = model_class(copy.deepcopy(config))
        model.tie_weights()  # 5.0 does not, without memory
    needed = sum(value.numel() for value in model.parameters())
    with safe_open(weights, "pt") as file:
        parts = [file.get_slice(name) for name in file.keys()]  # noqa: SIM118
    kinds = {part.get_dtype() for part in parts}
    if not kinds <= {"F16", "BF16", "F32", "F64"}:
        raise ValueError(f"weights of types {', '.join(sorted(kinds))}, not floating point")
    held = sum(math.prod(part.get_shape()) for part in parts)
    if held < needed:
        raise ValueError(f"missing weights: {held:,} numbers of the {needed:,} of its config.json")


def _first(names) -> str:
    return str(min(map(str, names)))[:100]


def base_fingerprint(folder: Path) -> str:
    """SHA-256 of the weights file of a base."""
    return digest(folder / WEIGHTS)
