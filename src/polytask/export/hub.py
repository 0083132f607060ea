"""A model folder on the hub: which files go there, and how."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from polytask.core.encoder_paths import CARD, GRAPH_FILES, MODEL_FILES
from polytask.core.errors import ConfigError, RunError
from polytask.core.safe_paths import leads_outside
from polytask.model.hub import HUB


def uploads(folder: Path) -> list[Path]:
    """Return the files of a model folder that belong to the model, sorted; the card is written anew.

    Raises `RunError` for a link that leads elsewhere: a stranger's folder would publish a file of yours.
    """
    wanted = (*MODEL_FILES, *GRAPH_FILES)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()
                  and path.relative_to(folder).as_posix() != CARD
                  and any(fnmatch(path.relative_to(folder).as_posix(), pattern) for pattern in wanted))
    for file in files:
        if leads_outside(folder / file, folder):
            raise RunError(f"{folder / file}: is a link to {(folder / file).resolve()}, outside the "
                           "folder, and would be published; replace it by a copy if you mean to publish it")
    return files


def check_name(name: str) -> None:
    """Raise `ConfigError` for a name that the hub does not allow."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        if len(name.split("/")) != 2 or not all(name.split("/")):
            raise HFValidationError
        validate_repo_id(name)
    except HFValidationError:
        raise ConfigError(f'NAME: found "{name}", expected user/name in letters, digits, "-", "_" and "."'
                          ) from None


def push_files(name: str, folder: Path, files: Sequence[Path], card: str, private: bool,
               revision: str | None) -> str:
    """Upload files and a card in one commit; return the commit's address.

    Raises `RunError` for what the hub refuses, `ConfigError` for a name that it does not allow.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
    )

    operations = [CommitOperationAdd(CARD, card.encode()),
                  *(CommitOperationAdd(file.as_posix(), folder / file) for file in files)]
    api = HfApi()
    try:
        api.create_repo(name, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(name, branch=revision, exist_ok=True)
        commit = api.create_commit(name, operations, commit_message="Upload by polytask", revision=revision)
    except HFValidationError:
        raise ConfigError(f'NAME: found "{name}", expected user/name in letters, digits, "-", "_" and '
                          '"."') from None
    except LocalTokenNotFoundError:
        raise RunError("the hub requires a login; run hf auth login, or set HF_TOKEN") from None
    except OfflineModeIsEnabled:
        raise RunError("HF_HUB_OFFLINE is set, so nothing can be pushed; unset it") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        remedy = "; log in with hf auth login, or set HF_TOKEN" if status in (401, 403) else ""
        raise RunError(f"{HUB}{name}: the hub refused the upload (status {status}){remedy}") from None
    except Exception as error:  # of the network, or of an answer that is no hub's
        raise RunError(f"{HUB}{name}: the hub cannot be reached "
                       f"({' '.join(str(error).split())[:200]})") from None
    return str(commit.commit_url)
