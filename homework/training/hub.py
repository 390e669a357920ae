"""Upload an adapter to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from ..common.errors import InputError, one_line
from ..model.adapter_files import CARD, FILES


def check(repository: str) -> None:
    """Refuse a repository that cannot be one, and a user whom the hub does not know.

    Raises:
        InputError: with what to do.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
        HfApi().whoami()
    except HFValidationError as error:
        raise InputError(f"--push_to_hub: {one_line(error)}") from None
    except Exception as error:  # of the network, of the server, or no token
        raise InputError(
            f"--push_to_hub: the hub does not know you ({one_line(error)}); run: hf auth login"
        ) from None


def push(folder: Path, repository: str) -> None:
    """Upload an adapter with its card to a repository, which is made, private, if it is new.

    Raises:
        InputError: the hub refuses; the adapter is in its folder all the same.
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
