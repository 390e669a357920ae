"""Read the files of an adapter, which may come from anyone, without running anything in them.

PEFT's own reader of adapter_config.json imports modules that the file names and builds matrices of
any rank. Here only the fields in `_APPLIED` are taken.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.distributed import print0
from ..common.errors import InputError, one_line
from ..common.files import PACKAGE_DIR, PARTIAL, read_json, read_plain

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
CARD = "README.md"  # the model card
BASE = "base.json"  # our own record, written last: name and hash of the base, training options
WEIGHTS_SHA256 = "weights_sha256"  # in that record; earlier versions did not write it
STATE = "trainer_state.json"  # the log of its training, where `train` has written it
NEEDED = (CONFIG, WEIGHTS)  # what PEFT writes
FILES = (*NEEDED, BASE)  # what `train` writes
FRESH = f"adapter{PARTIAL}"  # the folder inside an adapter's in which its successor is written
PICKLE = "adapter_model.bin"
CONVERT = (
    "import torch, safetensors.torch as s; w = torch.load('adapter_model.bin', 'cpu', "
    "weights_only=True); s.save_file({n: v.clone() for n, v in w.items()}, "
    "'adapter_model.safetensors')"
)
MAX_WEIGHTS_BYTES = 500_000_000  # ten times the limit of a submission

MAX_RANK = 1024
MAX_SCALE = 1e6  # of lora_alpha
# Ways to initialise LoRA. The first ones leave the base's weights unchanged, so they do not matter
# here. The second ones change these weights, and PEFT repeats the change when it loads.
_SAME_BASE = (True, False, "gaussian", "orthogonal", "eva", "mica")
_OTHER_BASE = ("pissa", "olora")
# A task that adds a layer of its own to the model.
_OTHER_TASKS = ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS")
# The fields that are applied. Absent fields and null are PEFT's defaults.
_APPLIED = frozenset(
    ("r", "lora_alpha", "lora_dropout", "target_modules", "exclude_modules", "modules_to_save",
     "rank_pattern", "alpha_pattern", "layers_to_transform", "layers_pattern",
     "trainable_token_indices", "bias", "init_lora_weights", "use_rslora", "use_dora", "lora_bias",
     "fan_in_fan_out")
)  # fmt: skip
# Fields about origin and training of the adapter: they do not change its answers.
_NOT_NEEDED = frozenset(
    ("auto_mapping", "base_model_name_or_path", "corda_config", "eva_config", "inference_mode",
     "lora_ga_config", "loftq_config", "megatron_core", "peft_type", "peft_version",
     "qalora_group_size", "revision", "runtime_config", "task_type", "velora_config")
)  # fmt: skip


def read_config(file: Path) -> tuple[LoraConfig, str | None]:
    """The configuration of a LoRA adapter, and the base that it names, if it names one.

    Raises InputError if the file is missing or malformed, or describes something other than LoRA.
    """
    from peft import LoraConfig

    written = read_json(file)
    try:
        if not isinstance(written, dict):
            raise ValueError("not an object")
        if written.get("peft_type") != "LORA":
            raise ValueError(f"peft_type {written.get('peft_type')!r:.40} is not LORA")
        if written.get("task_type") in _OTHER_TASKS:
            raise ValueError(f"task_type {written['task_type']} is not CAUSAL_LM")
        known = {field.name: field for field in dataclasses.fields(LoraConfig)}
        taken = {}
        for name, value in written.items():
            if value is None or name in _NOT_NEEDED:
                continue
            if name in _APPLIED and name in known:
                taken[name] = value
            elif name in known and value and value != known[name].default:
                raise ValueError(f"field {name!r:.60} is set, which this package cannot apply")
            elif value:  # as PEFT does with the fields of later versions
                print0(f"{file}: field {name!r:.60} is of another version of PEFT and is left out")
        way = taken.get("init_lora_weights", True)
        if way not in (*_SAME_BASE, *_OTHER_BASE):
            raise ValueError(f"init_lora_weights {way!r:.40} cannot be applied")
        if way in _SAME_BASE:
            taken["init_lora_weights"] = True
        config = LoraConfig(task_type="CAUSAL_LM", inference_mode=True, **taken)
        _check_numbers(config)
    except (AttributeError, TypeError, ValueError) as error:
        line = f"{file}: malformed, or not LoRA for a SmolVLM ({one_line(error)})"
        raise InputError(f"{line}; copy it again, or train the adapter again") from None
    base = written.get("base_model_name_or_path")
    return config, base if isinstance(base, str) and base.isprintable() and base else None


def _check_numbers(config: LoraConfig) -> None:
    """Raise ValueError for numbers that PEFT takes: ranks of any size, factors like NaN."""
    if not 0 <= config.lora_dropout <= 1:
        raise ValueError(f"lora_dropout {config.lora_dropout!r:.40} is not from 0 to 1")
    for rank in (config.r, *dict(config.rank_pattern or {}).values()):
        if type(rank) is not int or not 0 < rank <= MAX_RANK:
            raise ValueError(f"rank {rank!r:.40} is not from 1 to {MAX_RANK}")
    for scale in (config.lora_alpha, *dict(config.alpha_pattern or {}).values()):
        if type(scale) not in (int, float) or not 0 <= scale <= MAX_SCALE:
            raise ValueError(f"lora_alpha {scale!r:.40} is not from 0 to {MAX_SCALE:,.0f}")


def changes_base(config: LoraConfig) -> bool:
    """Whether an adapter changes weights of the base that PEFT cannot switch back."""
    return config.bias != "none" or config.init_lora_weights in _OTHER_BASE


# --- the folder and its weights ---


def find(checkpoint: str | Path) -> Path:
    """The folder of a whole adapter: `checkpoint`, or that in the package; or an InputError."""
    for folder in (Path(os.path.expanduser(str(checkpoint))), PACKAGE_DIR / checkpoint):
        if folder.is_dir():
            break
    else:
        raise InputError(f"{checkpoint}: no such checkpoint; run python -m homework.finetune train")
    if (folder / PICKLE).is_file() and not (folder / WEIGHTS).is_file():
        line = f"{folder / PICKLE}: a pickle, which may run code when it is read"
        raise InputError(f'{line}; convert it there: python -c "{CONVERT}"')
    if not is_whole(folder):
        missing = next((name for name in NEEDED if not (folder / name).is_file()), BASE)
        line = f"{folder}: not a whole checkpoint, it has no {missing}"
        raise InputError(f"{line}; run python -m homework.finetune train")
    return folder


def is_whole(folder: Path) -> bool:
    """Whether a folder holds one adapter, not files of two after a killed process.

    `train` and `restore` remove base.json, move the files of the new adapter from the folder
    `FRESH` one by one, the configuration before the weights, and the new base.json last. bundle.py
    checks the same.
    """
    left = {path.name for path in (folder / FRESH).glob("*")}
    is_moving = left and CONFIG not in left
    return all((folder / name).is_file() for name in (FILES if is_moving else NEEDED))


def read_weights(file: Path) -> dict[str, torch.Tensor]:
    """The weights by their names; InputError if the file is damaged, too large or not finite."""
    import torch
    from safetensors.torch import load

    try:
        weights = load(read_plain(file, MAX_WEIGHTS_BYTES))
    except Exception as error:  # safetensors raises its own and built-in exceptions
        line = f"{file.parent}: the adapter is damaged ({one_line(error)}); train it again"
        raise InputError(line) from None
    for name, value in weights.items():
        if not value.is_floating_point() or not torch.isfinite(value.float()).all():
            line = f"{file}: {name!r:.100} has values that are not finite"
            raise InputError(f"{line}; train the adapter again")
    return weights


def renamed(weights: dict[str, Any], needed: Iterable[str]) -> dict[str, Any]:
    """Rename the weights of an older layout to the names that are needed."""
    names = {_plain_name(name): name for name in needed}
    renamed = {names.get(_plain_name(name), name): value for name, value in weights.items()}
    return renamed if len(renamed) == len(weights) else weights


def _plain_name(name: str) -> str:
    """A weight's name without adapter, wrappers and text model: versions name these otherwise."""
    name = name.replace("language_model.", "text_model.").replace(".modules_to_save", "")
    name = name.replace(".default", "").replace("magnitude_vector.weight", "magnitude_vector")
    while (shorter := name.removeprefix("base_model.").removeprefix("model.")) != name:
        name = shorter
    return name.replace("text_model.model.", "text_model.")
