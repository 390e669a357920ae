"""Load a SmolVLM from disk: nothing in its folder is run or unpickled.

A folder may come from anywhere, so what it asks for is held against limits first, and its
weights must be exactly those that the model has.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.errors import InputError, one_line
from ..common.files import MAX_JSON_BYTES, digest, read_json

if TYPE_CHECKING:
    from transformers import Idefics3Config

    from .inputs import InputBuilder

SMOLVLM = "HuggingFaceTB/SmolVLM-256M-Instruct"
EMBEDDED = "embedded_base"  # how checkpoints name the base that ships in this package
CONFIG, WEIGHTS = "config.json", "model.safetensors"
MODEL_TYPES = ("idefics3", "idefics3_stem")  # SmolVLM, and the embedded base: see `stem`
# Twice what the largest SmolVLM has. A layer count of a billion would be built, too.
LIMITS = {
    "hidden_size": 4608,
    "intermediate_size": 16384,
    "num_hidden_layers": 64,
    "num_attention_heads": 64,
    "num_key_value_heads": 64,
    "head_dim": 512,
    "vocab_size": 131072,
    "image_size": 2048,
    "patch_size": 64,
    "num_channels": 4,
    "max_position_embeddings": 131072,
    "scale_factor": 16,
}
MAX_SIDE = 2048  # of a picture, in pixels, as the model sees it


def find_checkpoint(checkpoint: str | Path | None = None) -> tuple[str, Path]:
    """Name and folder of a checkpoint that is on disk; see BaseVLM for what can be asked for.

    Raises:
        InputError: it is not on disk.
    """
    from .embedded import EMBEDDED_BASE

    if checkpoint is None:
        folder = _in_hub_cache(SMOLVLM)
        checkpoint = SMOLVLM if folder else EMBEDDED
    name = str(checkpoint)
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
            f"{name}: not in the hub cache; run python -m homework.base_vlm download, "
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


def load_processor(folder: Path):
    """The processor of a checkpoint folder, and the InputBuilder made from it.

    Raises:
        InputError: it is missing, malformed or not a SmolVLM's.
    """
    from PIL import Image
    from transformers import AutoTokenizer, Idefics3ImageProcessorPil, Idefics3Processor

    from .inputs import InputBuilder

    _classes(folder)  # the Auto classes must know its type, which the tokenizer looks up
    try:
        # The default image processor needs torchvision; the PIL one is named on purpose.
        image_processor = Idefics3ImageProcessorPil.from_pretrained(folder)
        # Without it, transformers would ask whether to run the code that a folder brings along.
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        side = image_processor.max_image_size["longest_edge"]
        # Both settings are needed: without splitting the first resize, to 2048, would still run.
        image_processor.do_image_splitting = False
        image_processor.size = {"longest_edge": side}
        processor = Idefics3Processor.from_pretrained(
            folder, image_processor=image_processor, tokenizer=tokenizer
        )
        if not 0 < side <= MAX_SIDE:
            raise ValueError(f"longest_edge {side} is not from 1 to {MAX_SIDE}")
        inputs = InputBuilder(processor)
        if not inputs.pixel_values([inputs.resize(Image.new("RGB", (8, 8)))]).isfinite().all():
            raise ValueError("image_mean or image_std makes pixels that are not finite")
        return processor, inputs
    except Exception as error:  # the libraries report broken files by almost any exception
        raise InputError(f"{folder}: no SmolVLM processor in it ({one_line(error)})") from None


def load_model(folder: Path):
    """The model of a checkpoint folder, float32.

    Raises:
        InputError: it is not a SmolVLM, or its weights are not exactly those of its shape.
    """
    import torch
    from transformers import GenerationConfig
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # a bar for every load, even of 10 MB
    try:
        config_class, model_class = _classes(folder)
        config = config_class.from_pretrained(folder)
        _check_size(model_class, config, folder / WEIGHTS)
        with _quiet():
            model, found = model_class.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,  # never a pickle
                output_loading_info=True,
            )
    except Exception as error:  # the libraries report broken files by almost any exception
        raise InputError(f"{folder}: the model cannot be loaded ({one_line(error)})") from None
    # transformers would draw missing weights at random.
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
    # How answers are generated is said in `_generate`, whatever the checkpoint's file says.
    model.generation_config = GenerationConfig()
    return model


def model_type(folder: Path) -> str | None:
    """What a checkpoint's configuration says that it is; None where there is none.

    Raises:
        InputError: the configuration is malformed.
    """
    file = folder / CONFIG
    config = read_json(file) if file.is_file() else None
    return config.get("model_type") if isinstance(config, dict) else None


def _classes(folder: Path) -> tuple[type, type]:
    """The classes of a checkpoint's configuration and model: SmolVLM's, or ours with a stem.

    Importing ours lets transformers' Auto classes know its type.
    """
    if model_type(folder) != "idefics3_stem":
        from transformers import Idefics3Config, Idefics3ForConditionalGeneration

        return Idefics3Config, Idefics3ForConditionalGeneration
    from .stem import Idefics3StemConfig, Idefics3StemForConditionalGeneration

    return Idefics3StemConfig, Idefics3StemForConditionalGeneration


def check_config(folder: Path) -> None:
    """Refuse settings of absurd size, or that are not a SmolVLM's or ask for more than any has.

    Raises:
        InputError: it is, or it is missing or malformed.
    """
    for path in sorted(folder.iterdir()):
        # The libraries read these whole, some before any of the checks below.
        if path.suffix in (".json", ".jinja", ".txt") and path.stat().st_size > MAX_JSON_BYTES:
            raise InputError(f"{path}: over {MAX_JSON_BYTES:,} bytes; copy the checkpoint again")
    file = folder / CONFIG
    config = read_json(file)
    if not isinstance(config, dict) or config.get("model_type") not in MODEL_TYPES:
        kind = config.get("model_type") if isinstance(config, dict) else None
        raise InputError(f"{file}: a {kind!s:.40} model; SmolVLM is idefics3")
    for name in ("", "text_config", "vision_config"):
        part = config.get(name, {}) if name else config
        if not isinstance(part, dict):
            raise InputError(f"{file}: {name} is no object; copy the checkpoint again")
        for field, most in LIMITS.items():
            _check_limit(file, field, part.get(field), most)


def _check_limit(file: Path, field: str, value: Any, most: int) -> None:
    if value is not None and not (type(value) is int and 0 < value <= most):
        raise InputError(f"{file}: {field} is not from 1 to {most}; copy the checkpoint again")


def check_match(model, inputs: InputBuilder, folder: Path) -> None:
    """Refuse a processor that writes other tokens or makes other pictures than the model takes.

    Raises:
        InputError: it does.
    """
    config = model.config
    features = (inputs.side // config.vision_config.patch_size // config.scale_factor) ** 2
    if (
        inputs.prefix_ids.count(config.image_token_id) != features
        or inputs.side > config.vision_config.image_size
        or len(inputs.tokenizer) > model.get_input_embeddings().num_embeddings
    ):
        raise InputError(f"{folder}: its processor and its model do not fit; copy it again")


def _check_size(model_class: type, config: Idefics3Config, weights: Path) -> None:
    """Refuse to build a model of more numbers than its file holds; the rest would be drawn.

    A config.json with an empty text_config asks for six billion.

    Raises:
        ValueError: it has more.
    """
    import torch
    from safetensors import safe_open

    with torch.device("meta"):  # shapes alone
        model = model_class(copy.deepcopy(config))
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


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the table that transformers prints of the weights that do not fit."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def base_fingerprint(folder: Path) -> str:
    """SHA-256 of a base's weights file."""
    return digest(folder / WEIGHTS)
