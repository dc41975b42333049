"""`orrery export`: the events of a trial or of a whole study as one file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, get_args

from orchestrator.errors import UsageError
from orchestrator.home import Home
from orchestrator.publishing import each_once
from orchestrator.study import Study, shipped_studies
from orchestrator.tracing import find_trial
from telemetry import EpisodeContext, export
from telemetry.events import Tier
from telemetry.export import TIERS, Count, ExportTrial
from telemetry.parquet import events_in_order

Format = Literal["parquet", "jsonl"]
STDOUT = "-"
_CONTEXT: tuple[Tier, ...] = (1,)


@dataclass(frozen=True)
class Exported:
    """What was written. `path` is None for standard output; `hint` says why there are no rows."""

    path: Path | None
    rows: int
    trials: int
    hint: str | None = None

    def to_json(self) -> dict[str, Any]:
        path = None if self.path is None else str(self.path)
        return {"path": path, "rows": self.rows, "trials": self.trials, "hint": self.hint}


def export_events(
    name: str,
    home: str | Path | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    preset: str | None = None,
    format: str | None = None,
    out: str | Path | None = None,
    tiers: Collection[int] | None = None,
    flat: bool = False,
    force: bool = False,
    told: Count = lambda rows: None,
) -> Exported:
    """Exports a study (a name, a file or an instance) or a trial (its id, its start, its label).

    `out` is a file, by default one named for what it holds in the current folder; ``-`` is standard
    output. The format follows from its ending where none is given. `flat` gives metrics in long
    form. `told` hears how many rows were written. Raises `UsageError`.
    """
    chosen = _format(format, out)
    asked = _tiers(tiers, flat)
    place = Home.find(home)
    title, trials = _trials(name, place, settings, preset)
    if out == STDOUT:
        if chosen != "jsonl":
            raise UsageError("Parquet cannot go to standard output. Give --format jsonl, or --out.")
        with _standard_output() as file, _readable_events():
            rows = _write(chosen, flat, trials, file, asked, told)
        return Exported(None, rows, len(trials), _hint(rows, asked))
    path = Path(out) if out else Path(f"{title}-{'metrics' if flat else 'events'}.{chosen}")
    with _new_file(path, force) as file, _readable_events():
        rows = _write(chosen, flat, trials, file, asked, told)
    return Exported(path, rows, len(trials), _hint(rows, asked))


def _hint(rows: int, tiers: Collection[Tier]) -> str | None:
    if rows:
        return None
    if set(tiers) == {3}:
        return (
            "No dense trace was recorded. -s telemetry=adaptive or -s telemetry=research records "
            "them; without, only a trigger does (docs/telemetry.md)."
        )
    return f"No event of tier {', '.join(map(str, tiers))} was recorded."


def _write(
    format: Format,
    flat: bool,
    trials: list[ExportTrial],
    file: IO[bytes],
    tiers: Collection[Tier],
    told: Count,
) -> int:
    if flat:
        writer: Callable[..., int] = (
            export.write_flat_parquet if format == "parquet" else export.write_flat_jsonl
        )
        return writer(trials, file, told)
    writer = export.write_parquet if format == "parquet" else export.write_jsonl
    return writer(trials, file, tiers, told)


def _format(given: str | None, out: str | Path | None) -> Format:
    formats: tuple[Format, ...] = get_args(Format)
    valid = ", ".join(formats)
    if given is None:
        ending = Path(out or "").suffix.lstrip(".").lower()
        given = "jsonl" if out == STDOUT else ending or "parquet"
        if given not in formats:
            raise UsageError(
                f"'{out}' has an ending that says no format. Valid: "
                f"{', '.join(f'.{each}' for each in formats)}; or give --format ({valid})."
            )
    for known in formats:
        if given == known:
            return known
    raise UsageError(f"Unknown format '{given}'. Valid: {valid}.")


def _tiers(given: Collection[int] | None, flat: bool) -> Collection[Tier]:
    if given is None:
        return TIERS
    if flat:
        raise UsageError("--flat gives metrics, which are of tier 2: leave --tier out.")
    wrong = sorted(set(given) - set(TIERS))
    if wrong or not given:
        raise UsageError(f"There is no tier {', '.join(map(str, wrong)) or '(none)'}. Valid: 1,2,3")
    return [tier for tier in TIERS if tier in given]


def _trials(
    name: str, home: Home, settings: Mapping[str, Any] | None, preset: str | None
) -> tuple[str, list[ExportTrial]]:
    """What the file is named for, and the trials that have any events."""
    study = _known_instance(name, home, settings, preset)
    if study is None:
        identity = find_trial(home, name)
        with _readable_events():
            return identity[:8], [_own_labels(home.trial(identity))]
    trials = [
        ExportTrial(
            home.trial(item.trial.identity),
            study.instance,
            item.trial.arm,
            item.trial.replicate,
            item.trial.seed,
        )
        for item in each_once(study.plan())
    ]
    if not trials:
        raise UsageError(f"No trial of '{name}' has run in '{home.root}'. Run it first.")
    return study.instance, trials


def _known_instance(
    name: str, home: Home, settings: Mapping[str, Any] | None, preset: str | None
) -> Study | None:
    """The study that is meant; None if `name` is none, so that it must be a trial."""
    if settings or preset is not None or name.endswith((".yaml", ".yml")):
        return Study.load(name, settings=settings, preset=preset, home=home.root)
    file = home.study(name) / "study.yaml"
    if name and file.is_file():  # an instance, as `orrery run` names it
        return Study.load(file, home=home.root)
    last = Study.last_run(name, home=home.root)
    if last is None and name in shipped_studies():
        return Study.load(name, home=home.root)
    return last


def _own_labels(folder: Path) -> ExportTrial:
    """A trial as its own last context names it."""
    context = EpisodeContext()
    for event in events_in_order(folder, _CONTEXT):
        if isinstance(event.payload, EpisodeContext) and event.rank == 0:
            context = context.merged(event.payload)
    facts = context.facts
    seed = facts.get("seed") if context.base_seed is None else context.base_seed
    return ExportTrial(folder, facts.get("study"), facts.get("arm"), facts.get("replicate"), seed)


@contextmanager
def _readable_events() -> Iterator[None]:
    """A damaged archive as a `UsageError`; what the system refused, with its number, passes."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            raise
        raise UsageError(
            f"Nothing was exported: {error}. Export the other trials one by one; the rows and the "
            "outcome of this one are kept in its folder."
        ) from error


@contextmanager
def _standard_output() -> Iterator[IO[bytes]]:
    """Standard output, all of it told when the block ends. Raises `UsageError`.

    That its reader has left (`BrokenPipeError`) passes, as does what files refuse to give.
    """
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        # what it holds back would be tried again at the end, and fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise UsageError(f"Standard output takes no more ({error.strerror}).") from error


@contextmanager
def _new_file(path: Path, force: bool) -> Iterator[IO[bytes]]:
    """A file that is there whole when the block ends, or not at all. Raises `UsageError`."""
    if path.is_dir():
        raise UsageError(f"'{path}' is a folder. Give a file, '{path / 'events.parquet'}' say.")
    if path.exists() and not force:
        raise UsageError(f"'{path}' is there already. Give --force to replace it, or --out.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise UsageError(f"'{path}' cannot be written ({error.strerror or error}).") from error
    finally:
        temporary.unlink(missing_ok=True)
