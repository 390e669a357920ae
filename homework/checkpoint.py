"""LoRA checkpoints: the adapter as PEFT writes it, and the base that it belongs to."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from .base_vlm import BaseVLM
from .files import (
    PACKAGE_DIR,
    PARTIAL,
    RUNS_DIR,
    InputError,
    atomic_write,
    install,
    read_json,
    read_plain,
    write_json,
)
from .loading import WEIGHTS as BASE_WEIGHTS
from .loading import one_line
from .model_card import CARD, card

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig, PeftModel

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MAX_WEIGHTS_BYTES = 500_000_000  # ten times what may be handed in
MAX_RANK = 1024
BASE = "base.json"  # ours, written last: name and fingerprint of the base, how it was trained
ADAPTER = (CONFIG, WEIGHTS, BASE)  # what makes an adapter whole
CURVES = "curves.png"


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
    vlm: BaseVLM, rank: int, alpha: float, dropout: float, vision: bool = True
) -> PeftModel:
    """Put fresh LoRA modules on the layers that `lora_config` names."""
    return _with_adapter(vlm, lora_config(rank, alpha, dropout, vision))


def save(
    model: PeftModel, vlm: BaseVLM, folder: Path, training: dict, overwrite: bool = False
) -> None:
    """Write the adapter to `folder`; what was there stays whole until the new one is.

    Args:
        training: how it was trained, for the record.
        overwrite: see `put`.
    """
    fresh = _empty(folder / f"adapter{PARTIAL}")
    model.save_pretrained(fresh, save_embedding_layers=False)
    fingerprint = base_fingerprint(vlm.folder)
    write_json(fresh / BASE, {"base": vlm.base, "sha256": fingerprint, "training": training})
    for path in fresh.iterdir():
        if path.name not in ADAPTER:
            path.unlink()  # PEFT's model card
    (fresh / CARD).write_text(card(vlm.base, fingerprint, training), "utf-8")
    put(fresh, folder, overwrite)


def put(fresh: Path, folder: Path, overwrite: bool = False) -> None:
    """Move a whole adapter's files from `fresh` to `folder`, in place of the one there.

    The one there is copied to `RUNS_DIR` first, numbered, so that a kill at any moment leaves
    one of the two whole; not if both are the same, or with `overwrite`.
    """
    if not overwrite and is_adapter(folder) and not _same(fresh, folder):
        kept = kept_folder(folder)
        _copy_files(folder, kept.with_name(f"{kept.name}{PARTIAL}")).rename(kept)
        print(
            f"the previous adapter is kept in {_shown(kept)}; to bring it back:\n"
            f"  python -m homework.finetune restore {_shown(kept)} {_shown(folder)}"
        )
    install(fresh, folder, BASE)


def copy(source: Path, folder: Path) -> None:
    """Copy a whole adapter to `folder`; one that is there is kept: see `put`."""
    put(_copy_files(source, folder / f"adapter{PARTIAL}"), folder)


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds the files of a whole adapter."""
    return all((folder / name).is_file() for name in ADAPTER)


def kept_folder(folder: Path) -> Path:
    """Where the adapter in `folder` is kept when another takes its place: the next free number."""
    name = folder.resolve().name
    taken = [re.fullmatch(re.escape(name) + r"-(\d+)", path.name) for path in RUNS_DIR.glob("*")]
    return RUNS_DIR / f"{name}-{max((int(found[1]) for found in taken if found), default=0) + 1}"


def _shown(path: Path) -> str:
    """A path as a shell takes it, relative to the current folder where it lies in it."""
    path, here = path.resolve(), Path.cwd()
    return shlex.quote((path.relative_to(here) if path.is_relative_to(here) else path).as_posix())


def _same(one: Path, other: Path) -> bool:
    """Whether two folders hold the same adapter, to the byte."""
    return all(digest(one / name) == digest(other / name) for name in ADAPTER)


def _copy_files(source: Path, folder: Path) -> Path:
    """Make `folder` hold what belongs to the adapter in `source`, and nothing else."""
    _empty(folder)
    try:
        for name in (*ADAPTER, CARD, CURVES):
            if (source / name).is_file():
                with atomic_write(folder / name) as file:
                    file.write((source / name).read_bytes())
    except BaseException:
        shutil.rmtree(folder)
        raise
    return folder


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def load(checkpoint: str | Path, verbose: bool = True) -> BaseVLM:
    """Load a LoRA checkpoint onto the base that it was trained on.

    Args:
        checkpoint: a folder, or the name of one inside the package.

    Raises:
        InputError: no whole checkpoint there, another base, missing or unexpected weights.
    """
    folder = find(checkpoint)
    record = read_json(folder / BASE)
    base = record.get("base") if isinstance(record, dict) else None
    if not isinstance(base, str) or not base.isprintable():
        raise InputError(f"{folder / BASE}: names no base; train it again")
    config, weights = _read_adapter(folder)
    vlm = BaseVLM(base, verbose)
    if base_fingerprint(vlm.folder) != record.get("sha256"):
        raise InputError(
            f"{folder}: trained on another {base} than the one in {vlm.folder}; "
            "train it again, or bring back the base that it was trained on"
        )
    vlm.model = _attach(vlm, config, weights, folder / WEIGHTS).to(vlm.device).eval()
    vlm.model.merge_adapter()  # into the base's weights in memory: a third fewer seconds
    return vlm


def base_fingerprint(folder: Path) -> str:
    """SHA-256 of a base's weights file."""
    return digest(folder / BASE_WEIGHTS)


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    for name in ADAPTER:
        if not (folder / name).is_file():
            raise InputError(
                f"{folder}: not a whole checkpoint, it has no {name}; "
                "run python -m homework.finetune train"
            )
    return folder


def _read_adapter(folder: Path) -> tuple[LoraConfig, dict[str, torch.Tensor]]:
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


def _attach(vlm: BaseVLM, config: LoraConfig, weights: dict, file: Path) -> PeftModel:
    """The model with the adapter, after a check that its weights are exactly those expected."""
    from peft import get_peft_model_state_dict
    from peft.utils import set_peft_model_state_dict

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
            f"{file}: missing, unexpected or misshapen weights, first {odd!r:.200}; "
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
