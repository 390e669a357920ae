"""The adapter that a training delivers: written whole, uploaded, or merged with its base.

The adapter that it replaces is kept.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.errors import InputError, one_line
from ..common.files import (
    PARTIAL,
    RUNS_DIR,
    atomic_write,
    digest,
    install,
    require_writable,
    shown,
    write_json,
)
from ..inspection.figures import CURVES
from ..model.adapter_files import BASE, CARD, CONFIG, FILES, FRESH, STATE, WEIGHTS, WEIGHTS_SHA256
from .checkpoints import RECIPE

if TYPE_CHECKING:
    from peft import PeftModel

    from ..model.vlm import BaseVLM

_WRITTEN = (*FILES, CARD, CURVES, STATE)  # what `train` leaves in its folder


def save(
    model: PeftModel,
    folder: Path,
    base: str,
    fingerprint: str,
    training: dict,
    card: str,
    overwrite: bool = False,
) -> None:
    """Write the adapter to `folder`; what was there stays whole until the new one is.

    Args:
        base, fingerprint: of the base that it was trained on; see model.vlm.Record.
        training: how it was trained, for the record.
        card: text of its model card.
        overwrite: see `put`.
    """
    fresh = _empty(folder / FRESH)
    (fresh / CONFIG).touch()  # PEFT writes it last, and `is_whole` takes its absence for a move
    model.save_pretrained(str(fresh), save_embedding_layers=False)
    record = {"base": base, "sha256": fingerprint, WEIGHTS_SHA256: digest(fresh / WEIGHTS)}
    write_json(fresh / BASE, record | {"training": training})
    for path in fresh.iterdir():
        if path.name not in FILES:
            path.unlink()  # PEFT's model card
    (fresh / CARD).write_text(card, "utf-8")
    put(fresh, folder, overwrite)


def put(fresh: Path, folder: Path, overwrite: bool = False) -> None:
    """Replace the adapter in `folder` by the whole adapter in `fresh`.

    The adapter in `folder` is first copied to a numbered folder in `RUNS_DIR`, so that a kill at
    any moment leaves one of the two whole. No copy is made if both adapters are equal, or with
    `overwrite`.
    """
    if not overwrite and is_adapter(folder) and _digests(fresh) != _digests(folder):
        kept = _keep(folder)
        print(
            f"the previous adapter is kept in {shown(kept)}; to bring it back:\n"
            f"  python -m homework.finetune restore {shown(kept)} {shown(folder)}"
        )
    install(fresh, folder, BASE)


def copy(source: Path, folder: Path) -> None:
    """Copy a whole adapter to `folder`; one that is there is kept: see `put`."""
    keep_others(folder)
    put(_copy_files(source, folder / FRESH), folder)
    for name in (CARD, CURVES, STATE):  # of the adapter that was replaced
        if not (source / name).is_file():
            (folder / name).unlink(missing_ok=True)


def keep_others(folder: Path) -> None:
    """Keep a numbered copy of files that an adapter would replace and `train` did not write.

    These are an adapter of plain PEFT, for example, or another README.md. Call it before a training
    writes its `recipe.json` to the folder: from then on the files count as its own.
    """
    ours = any((folder / name).is_file() for name in (BASE, RECIPE))
    if not ours and any((folder / name).is_file() for name in _WRITTEN):
        print(f"files that train did not write are kept in {shown(_keep(folder))}")


def _keep(folder: Path) -> Path:
    kept = kept_folder(folder)
    return _copy_files(folder, kept.with_name(f"{kept.name}{PARTIAL}")).rename(kept)


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds the files of a whole adapter."""
    return all((folder / name).is_file() for name in FILES)


def _digests(folder: Path) -> list[str | None]:
    files = [folder / name for name in FILES]
    return [digest(file) if file.is_file() else None for file in files]


def kept_folder(folder: Path) -> Path:
    """Where the adapter in `folder` is kept when another takes its place: the next free number."""
    name = folder.resolve().name
    taken = [re.fullmatch(re.escape(name) + r"-(\d+)", path.name) for path in RUNS_DIR.glob("*")]
    return RUNS_DIR / f"{name}-{max((int(found[1]) for found in taken if found), default=0) + 1}"


def _copy_files(source: Path, folder: Path) -> Path:
    """Make `folder` hold what belongs to the adapter in `source`, and nothing else."""
    _empty(folder)
    try:
        for name in _WRITTEN:
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


# --- the hub ---


def check_hub(repository: str) -> None:
    """Raise an InputError if it cannot be a repository, or the hub does not know the user."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
        HfApi().whoami()
    except Exception as error:  # of the name, of the network, of the server, or no token
        fix = "check the name and the network, and log in with: hf auth login"
        raise InputError(f"--push_to_hub: {one_line(error)}; {fix}") from None


def push_to_hub(folder: Path, repository: str) -> None:
    """Upload an adapter with its card to a repository, which is made, private, if it is new.

    Raises InputError if the hub refuses; the adapter is in its folder all the same.
    """
    from huggingface_hub import HfApi

    try:
        url = HfApi().create_repo(repository, private=True, exist_ok=True)
        HfApi().upload_folder(repo_id=repository, folder_path=folder, allow_patterns=[*FILES, CARD])
    except Exception as error:  # of the network or of the server
        raise InputError(
            f"--push_to_hub: {one_line(error)}; the adapter is in {folder}; to upload it later: "
            f"hf upload {repository} {folder} . --include {' '.join([*FILES, CARD])}"
        ) from None
    print(f"uploaded to {url}")


# --- adapter and base as one model, in the layout of the hub ---


def check_new(folder: Path) -> None:
    """Raise an InputError if a folder holds something or cannot be written."""
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

    Raises InputError if the layers of the base cannot take the adapter in.
    """
    from ..model.adapter import can_merge
    from ..model.compat import save_model
    from ..model.generation import MAX_NEW_TOKENS
    from ..model.processor import own_form, write

    if not can_merge(vlm.model):
        line = "the adapter has biases (lora_bias) where its base has none: not mergeable"
        raise InputError(line)
    fresh = folder.with_name(f"{folder.name}{PARTIAL}")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        model = vlm.model.unload()  # `adapter.load` has merged it already
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
    from ..model import stem

    folder.mkdir(parents=True)
    shutil.copyfile(stem.__file__, folder / "stem.py")
    model.config.auto_map = {
        "AutoConfig": f"stem.{type(model.config).__name__}",
        "AutoModelForImageTextToText": f"stem.{type(model).__name__}",
    }
