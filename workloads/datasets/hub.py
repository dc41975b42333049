"""What is asked of the model hub: a revision's commit, and the names of a model's tensors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, Literal

from workloads.errors import InputError

RepoType = Literal["model", "dataset"]

_ID: Final = re.compile(r"[\w.-]+(/[\w.-]+)?")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


def split_revision(reference: str) -> tuple[str, str | None]:
    """`org/name@revision` as (`org/name`, revision); no `@` gives None."""
    name, _, revision = reference.partition("@")
    return name, revision or None


def looks_like_id(reference: str) -> bool:
    """Whether the text can be a hub id (`name` or `org/name`)."""
    return _ID.fullmatch(reference) is not None and not reference.startswith((".", "/"))


def commit_of(name: str, revision: str | None, repo_type: RepoType = "model") -> str:
    """The commit that a revision (branch, tag or None for the default) stands for.

    A full commit is taken as it is, without asking; offline, what was downloaded before counts.
    InputError when the hub cannot tell.
    """
    if revision is not None and _COMMIT.fullmatch(revision):
        return revision
    downloaded = _downloaded_commit(name, revision, repo_type) if _offline() else None
    if downloaded is not None:
        return downloaded
    info = _asked(name, repo_type, revision)
    if not info.sha:
        raise InputError(f"the hub names no commit for {repo_type} {name}@{revision or 'main'}")
    return str(info.sha)


def _offline() -> bool:
    from huggingface_hub.constants import HF_HUB_OFFLINE

    return bool(HF_HUB_OFFLINE)


def _downloaded_commit(name: str, revision: str | None, repo_type: RepoType) -> str | None:
    """The commit that the hub's own cache has for the revision."""
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = f"{repo_type}s--{name.replace('/', '--')}"
    reference = Path(HF_HUB_CACHE) / folder / "refs" / (revision or "main")
    return reference.read_text().strip() if reference.is_file() else None


def _asked(name: str, repo_type: RepoType, revision: str | None) -> Any:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return HfApi().repo_info(name, repo_type=repo_type, revision=revision, timeout=20)
    except RevisionNotFoundError as error:
        raise InputError(
            f"{repo_type} {name} has no revision {revision!r} on the hub; give a branch, tag or "
            "commit that it has"
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise InputError(
            f"{repo_type} {name!r} is neither a local path nor known to the hub; give an existing "
            "path, org/name[@revision], or an embedded name; private ones need a login"
        ) from error
    except Exception as error:
        raise InputError(
            f"{repo_type} {name!r} is no local path, and the hub cannot be asked for its revision "
            f"({type(error).__name__}); give a local folder, name a full commit after @, or go "
            "online"
        ) from error
