"""Where data comes from, and the fingerprint that enters an identity instead of its path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from workloads.datasets import generated
from workloads.datasets.content_hash import hash_file_cached, hash_files
from workloads.datasets.hub import commit_of, looks_like_id, split_revision
from workloads.datasets.reading import existing
from workloads.errors import InputError, did_you_mean

EMBEDDED_PREFIX: Final = "embedded:"
EMBEDDED_DATA: Final = (generated.QUESTIONS, generated.STORIES)
_FILE_SUFFIXES: Final = (".json", ".jsonl", ".txt", ".csv", ".parquet")

SourceKind = Literal["embedded", "local", "hub"]


@dataclass(frozen=True)
class Source:
    """Where data is: an embedded name, a path, or a hub data set at a commit."""

    given: str
    kind: SourceKind
    name: str
    path: Path | None = None
    revision: str | None = None


def resolve_data(data: str, revision: str | None = None) -> Source:
    """Pins `embedded:NAME`, a file or folder, or a hub data set (`org/name[@revision]`).

    InputError, in one line, for anything else.
    """
    if data.startswith(EMBEDDED_PREFIX):
        name = data.removeprefix(EMBEDDED_PREFIX)
        if name not in EMBEDDED_DATA:
            raise InputError(f"no embedded data {name!r}; {did_you_mean(name, EMBEDDED_DATA)}")
        return Source(data, "embedded", name)
    path = Path(data).expanduser()
    if path.exists() and revision is not None:
        raise InputError(f"{data} is local and has no revision {revision!r}; leave it out")
    if path.exists():
        return Source(data, "local", path.name, path=path)
    name, named_revision = split_revision(data)
    if not looks_like_id(name) or path.suffix in _FILE_SUFFIXES or not data.strip():
        existing(path)
    commit = commit_of(name, revision or named_revision, "dataset")
    return Source(data, "hub", name, revision=commit)


def fingerprint(data: str, revision: str | None = None, cache: Path | None = None) -> str:
    """`sha256:` of a file's or folder's content, `hub:name@commit`, or `generated:name-version`.

    Of a folder its `.json`, `.jsonl` and `.txt` files count (SOURCE.txt, a note, does not).
    `cache`: a file that keeps hashes between calls. A moved folder keeps its fingerprint.
    """
    return source_fingerprint(resolve_data(data, revision), cache)


def source_fingerprint(source: Source, cache: Path | None = None) -> str:
    """As `fingerprint`, of a resolved source."""
    from workloads.datasets.texts import text_files

    if source.kind == "embedded":
        return generated.fingerprint(source.name)
    if source.path is None:
        return f"hub:{source.name}@{source.revision}"
    try:
        if source.path.is_file():
            return hash_file_cached(source.path, cache)
        return hash_files(source.path, text_files(source.path), cache)
    except OSError as error:
        raise InputError(f"{source.given} cannot be read ({error.strerror})") from error
