"""Where things are kept: an `ORRERY_HOME`, with files that appear whole or not at all.

trials/<identity>/            identity.json   outcome-0000.json
      attempt-0000/           claim.json   log/   spool/   checkpoint/   artifacts/
subjects/<subject>/           points-<version>/part-000000.parquet   what was measured on a model
studies/<study>-<hash>/       study.yaml   plan.json   report/   driver.log   jobs/   cancel/
ledger.db                     an index over the files
mlflow.db, mlartifacts/       a view of them
home-id                       tells this home's runs from another's where both publish to one place
"""

from __future__ import annotations

import os
import tempfile
import uuid
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from orchestrator.errors import UsageError

DEFAULT_HOME = ".orrery"


@dataclass(frozen=True)
class Home:
    """The folder that holds every file of truth. Build it with `Home.find`."""

    root: Path
    published_to: str | None = field(default=None, compare=False)
    """Where runs are published, if that was said (`--to`)."""

    @classmethod
    def find(cls, path: str | os.PathLike[str] | None = None) -> Home:
        """The home at `path`, else at `$ORRERY_HOME`, else `./.orrery`; an empty one is as none.
        Creates nothing."""
        given = path or os.environ.get("ORRERY_HOME") or DEFAULT_HOME
        root = Path(given).expanduser().absolute()
        if root.exists() and not root.is_dir():
            raise UsageError(
                f"The home '{root}' is a file. Set ORRERY_HOME (or --home) to a folder."
            )
        return cls(root)

    def writable(self) -> Home:
        """Makes the folders. Raises `UsageError` if they cannot be written."""
        try:
            for folder in (self.trials, self.studies):
                folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise UsageError(
                f"The home '{self.root}' cannot be written ({error.strerror or error}). "
                "Set ORRERY_HOME (or --home) to a folder that can."
            ) from error
        return self

    @cached_property
    def trials(self) -> Path:
        return self.root / "trials"

    @property
    def studies(self) -> Path:
        return self.root / "studies"

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.db"

    @property
    def fingerprints(self) -> Path:
        """Cache of content hashes, keyed by path, size, mtime and inode."""
        return self.root / "fingerprints.json"

    @property
    def tracking_uri(self) -> str:
        """What was said, else `$ORRERY_TRACKING_URI`, else the sqlite file of this home."""
        said = self.published_to or os.environ.get("ORRERY_TRACKING_URI")
        return said or self._own_database

    def publishing_to(self, uri: str | None) -> Home:
        """The same home, publishing to `uri`; None: as before."""
        return self if uri is None else replace(self, published_to=uri)

    @property
    def publishes_to_own(self) -> bool:
        """Whether runs go into the sqlite file of this home."""
        return self.tracking_uri == self._own_database

    @property
    def _own_database(self) -> str:
        return f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def origin(self) -> str:
        """The home's id where it publishes to a place that others may publish to; else empty.

        The id is made the first time it is asked for; empty too where it cannot be kept.
        """
        if self.publishes_to_own:
            return ""
        path = self.root / "home-id"
        try:
            if not path.exists():
                publish_once(path, uuid.uuid4().hex[:8].encode())
            return path.read_text().strip()
        except OSError:
            return ""

    @property
    def mlflow_artifacts(self) -> Path:
        return self.root / "mlartifacts"

    def identities(self) -> set[str]:
        """Trials that have a folder."""
        try:
            with os.scandir(self.trials) as entries:
                return {e.name for e in entries if e.is_dir() and not e.name.startswith(".")}
        except FileNotFoundError:
            return set()

    def trial(self, identity: str) -> Path:
        return self.trials / identity

    def study(self, instance: str) -> Path:
        return self.studies / instance


def write_whole(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Writes `content` so that a reader finds the old file or the new one, never a part.

    Not `durable`: outlives the process, but a machine that loses power may leave an empty file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path, content, durable)
    try:
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def publish_once(path: Path, content: bytes, *, durable: bool = True) -> bool:
    """Publishes `content` under `path` by link(2). False if somebody was first: theirs stays.

    `durable` as in `write_whole`.
    """
    temporary = _temporary(path, content, durable)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def flush_folder(folder: Path, *, files: bool = True) -> None:
    """Puts a folder's entries, and by default all files below it, on the disk itself."""
    paths = [path for path in folder.rglob("*") if path.is_file()] if files else []
    for path in [*paths, folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _temporary(path: Path, content: bytes, durable: bool) -> Path:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    os.chmod(name, 0o644)
    return Path(name)
