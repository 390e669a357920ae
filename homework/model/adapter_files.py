"""Read the files of an adapter, which may come from anyone, without running anything in them.

PEFT's own reader of adapter_config.json imports modules that the file names, matches its
expressions without a time limit and builds matrices of any rank. Here only known fields are taken,
each one checked. Expressions are matched with a time limit, and PEFT is given the plain names of
the modules that they match.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
import time
from collections.abc import Callable, Iterable
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
MAX_LENGTH = 10_000  # of an expression, and of a list
SECONDS = 2.0  # for matching all expressions of a file
ALL_LINEAR = "all-linear"  # PEFT's word for every linear layer but the output layer
# PEFT uses these names inside its own expressions, so they hold nothing that an expression reads.
_NAME = re.compile(r"[A-Za-z0-9_.]{1,200}")
# Ways to initialise LoRA. The first ones leave the base's weights unchanged, so they do not matter
# here. The second ones change these weights, and PEFT repeats the change when it loads.
_SAME_BASE = (True, False, "gaussian", "orthogonal", "eva", "mica")
_OTHER_BASE = ("pissa", "olora")
# A task that adds a layer of its own to the model.
_OTHER_TASKS = ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS")


def _number(least: float, most: float, whole: bool = False) -> Callable[[Any], bool]:
    kinds = (int,) if whole else (int, float)
    return lambda value: type(value) in kinds and math.isfinite(value) and least <= value <= most


def _list_of(valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, list) and len(value) <= MAX_LENGTH and all(map(valid, value))
    )


_names = _list_of(lambda name: isinstance(name, str) and _NAME.fullmatch(name) is not None)
_whole_numbers = _list_of(_number(0, 1e6, whole=True))


def _names_or_expression(value: Any) -> bool:
    return 0 < len(value) <= MAX_LENGTH if isinstance(value, str) else _names(value)


def _pattern(number: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, dict)
        and len(value) <= MAX_LENGTH
        and all(len(key) <= MAX_LENGTH and number(each) for key, each in value.items())
    )


def _tokens(value: Any) -> bool:
    by_module = isinstance(value, dict) and _names(list(value))
    return all(map(_whole_numbers, value.values())) if by_module else _whole_numbers(value)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


_RANK, _ALPHA = _number(1, MAX_RANK, whole=True), _number(0, 1e6)
# Field -> whether its value can be taken. Absent fields and null are PEFT's defaults.
_FIELDS: dict[str, Callable[[Any], bool]] = {
    "r": _RANK,
    "lora_alpha": _ALPHA,
    "lora_dropout": _number(0, 1),
    "target_modules": _names_or_expression,
    "exclude_modules": _names_or_expression,
    "modules_to_save": _names,
    "rank_pattern": _pattern(_RANK),
    "alpha_pattern": _pattern(_ALPHA),
    "layers_to_transform": lambda v: _whole_numbers(v if isinstance(v, list) else [v]),
    "layers_pattern": lambda v: _names(v if isinstance(v, list) else [v]),
    "trainable_token_indices": _tokens,
    "bias": lambda value: value in ("none", "all", "lora_only"),
    "init_lora_weights": lambda value: value in (*_SAME_BASE, *_OTHER_BASE),
    **dict.fromkeys(("use_rslora", "use_dora", "lora_bias", "fan_in_fan_out"), _is_flag),
}
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
            if name in _FIELDS and not _FIELDS[name](value):
                raise ValueError(f"field {name!r} cannot be {value!r:.60}")
            if name in _FIELDS and name in known:
                taken[name] = value
            elif name in known and value and value != known[name].default:
                raise ValueError(f"field {name!r:.60} is set, which this package cannot apply")
            elif value:  # as PEFT does with the fields of later versions
                print0(f"{file}: field {name!r:.60} is of another version of PEFT and is left out")
        if taken.get("init_lora_weights") in _SAME_BASE:
            taken["init_lora_weights"] = True
        config = LoraConfig(task_type="CAUSAL_LM", inference_mode=True, **taken)
    except (TypeError, ValueError) as error:
        line = f"{file}: malformed, or not LoRA for a SmolVLM ({one_line(error)})"
        raise InputError(f"{line}; copy it again, or train the adapter again") from None
    base = written.get("base_model_name_or_path")
    return config, base if isinstance(base, str) and base.isprintable() and base else None


def changes_base(config: LoraConfig) -> bool:
    """Whether an adapter changes weights of the base that PEFT cannot switch back."""
    return config.bias != "none" or config.init_lora_weights in _OTHER_BASE


def resolve(config: Any, modules: Iterable[str], file: Path) -> None:
    """Put the plain names of modules into `config` where it has expressions.

    Args:
        config: LoraConfig; it takes sets of names, but its annotations say lists.
        modules: names of all modules of the base.
        file: named where an expression is refused.

    Raises InputError if an expression is malformed or takes too long, or matches no module.
    """
    names = [name for name in modules if name]
    matching = _Matching(file)
    targets = config.target_modules
    if isinstance(targets, str) and targets.lower() != ALL_LINEAR:
        config.target_modules = set(matching.whole("target_modules", targets, names))
        if not config.target_modules:
            raise InputError(f"{file}: target_modules names no module of the base; give its base")
    if isinstance(config.exclude_modules, str):
        excluded = matching.whole("exclude_modules", config.exclude_modules, names)
        config.exclude_modules = set(excluded)
    config.rank_pattern = matching.by_value("rank_pattern", config.rank_pattern, names)
    config.alpha_pattern = matching.by_value("alpha_pattern", config.alpha_pattern, names)


class _Matching:
    """Matches expressions to names of modules until the time for one file is over."""

    def __init__(self, file: Path) -> None:
        self.file, self.end = file, time.monotonic() + SECONDS

    def whole(self, field: str, expression: str, names: Iterable[str]) -> list[str]:
        """The names that an expression matches as a whole, as `target_modules` is read."""
        import regex  # `re`, which PEFT uses, has no time limit

        try:
            compiled = regex.compile(expression)
            return [name for name in names if compiled.fullmatch(name, timeout=self._left())]
        except TimeoutError:
            line = f"{self.file}: {field} takes over {SECONDS:.0f} s to match; list the names"
        except (regex.error, RecursionError, MemoryError, OverflowError) as error:
            line = f"{self.file}: {field} is no expression ({one_line(error)}); copy it again"
        raise InputError(line) from None

    def by_value(self, field: str, pattern: dict[str, Any], names: list[str]) -> dict[str, Any]:
        """`rank_pattern` or `alpha_pattern` with one expression per value, made of plain names.

        The first key that matches the end of a name, from a dot on, gives its value.
        """
        found: dict[Any, list[str]] = {}
        left = names
        for key, value in pattern.items():
            matched = set(self.whole(field, rf"(.*\.)?({key})", left))
            found.setdefault(value, []).extend(name for name in left if name in matched)
            left = [name for name in left if name not in matched]
        return {"|".join(map(re.escape, some)): value for value, some in found.items() if some}

    def _left(self) -> float:
        if (left := self.end - time.monotonic()) <= 0:
            raise TimeoutError
        return left


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
