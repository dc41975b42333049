"""From what a person writes (`embedded:llama`, a folder, a hub id) to a model that is pinned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from workloads.datasets.content_hash import hash_files
from workloads.datasets.hub import commit_of, looks_like_id, split_revision
from workloads.errors import InputError, did_you_mean

EMBEDDED_PREFIX: Final = "embedded:"
EMBEDDED_MODELS: Final = ("llama", "qwen2", "mamba", "rwkv")
PICKLED_SUFFIXES: Final = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_TEXT_SUFFIXES: Final = (".json", ".txt", ".model", ".jinja")
_NOT_READ: Final = ("training.json",)

ModelKind = Literal["embedded", "local", "hub"]


@dataclass(frozen=True)
class ModelRef:
    """A model that is pinned to its content.

    `path` is the folder of an embedded or local model and None for the hub, where `hub_id` and
    the full commit `revision` say the same. `fingerprint` is what enters an identity; it does not
    change when the folder moves.
    """

    given: str
    kind: ModelKind
    fingerprint: str
    path: Path | None = None
    hub_id: str | None = None
    revision: str | None = None

    @property
    def source(self) -> str:
        """What `from_pretrained` takes."""
        return str(self.path) if self.path is not None else str(self.hub_id)


def resolve_model(ref: str, revision: str | None = None, cache: Path | None = None) -> ModelRef:
    """Pins `embedded:NAME`, a local folder, or a hub id (`org/name`, `org/name@revision`).

    `cache`: a file that keeps hashes between calls. Local files are hashed, the hub is asked
    for the commit. InputError, in one line, for anything else. Needs no torch.
    """
    if ref.startswith(EMBEDDED_PREFIX):
        return _folder(ref, "embedded", _embedded_folder(ref), cache)
    folder = Path(ref).expanduser()
    if folder.exists():
        if revision is not None:
            raise InputError(f"{ref} is a local folder and has no revision {revision!r}; leave it")
        return _folder(ref, "local", folder, cache)
    name, named_revision = split_revision(ref)
    if not looks_like_id(name):
        raise InputError(
            f"no model at {ref!r}; give an existing folder, a hub id (org/name[@revision]) or "
            f"{EMBEDDED_PREFIX}{EMBEDDED_MODELS[0]}"
        )
    if revision is not None and named_revision not in (None, revision):
        raise InputError(f"{ref} names one revision and {revision!r} is another; give one of them")
    commit = commit_of(name, revision or named_revision)
    return ModelRef(ref, "hub", f"hub:{name}@{commit}", hub_id=name, revision=commit)


def weight_files(folder: Path) -> list[Path]:
    """The folder's safetensors files; InputError when there are none."""
    found = sorted(folder.glob("*.safetensors"))
    if found:
        _refuse_missing_shards(folder)
        return found
    pickled = sorted(f.name for f in folder.iterdir() if f.suffix in PICKLED_SUFFIXES)
    if pickled:
        raise InputError(
            f"{folder} has only pickled weights ({listed(pickled)}), which can run code when "
            "loaded; valid: *.safetensors; convert them with "
            f"python -m workloads.models.convert_checkpoint {folder} OUT"
        )
    raise InputError(
        f"{folder} has no weights; valid: a folder with config.json and *.safetensors files"
    )


def _refuse_missing_shards(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{index} is no safetensors index ({error}); copy it again") from error
    missing = sorted(name for name in shards if not (folder / name).is_file())
    if missing:
        raise InputError(
            f"{folder} lacks {len(missing)} of {len(shards)} weight files ({listed(missing)}) "
            "that its index names; copy them too"
        )


def _folder(given: str, kind: ModelKind, folder: Path, cache: Path | None) -> ModelRef:
    if not folder.is_dir():
        raise InputError(f"{given} is a file; valid: the folder of config.json and *.safetensors")
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} has no config.json; valid: a folder with config.json and *.safetensors files"
        )
    weights = weight_files(folder)
    text = [
        f
        for f in folder.iterdir()
        if f.is_file() and f.suffix in _TEXT_SUFFIXES and f.name not in _NOT_READ
    ]
    try:
        fingerprint = hash_files(folder, [*weights, *text], cache)
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error}") from error
    return ModelRef(given, kind, fingerprint, path=folder.resolve())


def _embedded_folder(ref: str) -> Path:
    name = ref.removeprefix(EMBEDDED_PREFIX)
    if name not in EMBEDDED_MODELS:
        raise InputError(
            f"no embedded model {name!r}; {did_you_mean(name, EMBEDDED_MODELS)} "
            f"(write {EMBEDDED_PREFIX}{EMBEDDED_MODELS[0]})"
        )
    return Path(__file__).parent / "embedded" / name


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first `most` names, and how many more there are."""
    more = f", {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
