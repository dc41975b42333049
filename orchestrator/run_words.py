"""A run as the words of a command: how a driver is started in another process, or elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cluster import Place
    from orchestrator.study import Study

ALL_ARMS = "(all)"
"""What `--again` takes for every arm."""


@dataclass(frozen=True)
class RunOptions:
    """What a run is told beside its study and its place; see `run_study`."""

    only: Sequence[str] = ()
    limit: int | None = None
    again: bool | Sequence[str] = False
    same_code: bool = False
    retry: bool = False
    to: str | None = None

    @property
    def keywords(self) -> dict[str, Any]:
        """As `run_study` takes them."""
        return dict(vars(self))


def orrery_words() -> list[str]:
    """The words that start `orrery` with this Python, wherever one stands: a folder named like a
    package of ours in the folder one stands in is passed over."""
    return [sys.executable, "-P", "-m", "orchestrator.cli"]


def run_words(
    study: Study, place: Place, options: RunOptions, *, as_planned: bool = False
) -> list[str]:
    """What follows `orrery` to run a study as asked.

    `as_planned`: from the resolved file in the study's folder, which no later edit of the user's
    file changes; a plan has to have been written there.
    """
    verb = "retry" if options.retry else "run"
    words = [verb, *_study_words(study, as_planned), "--home", str(study.home.root)]
    words += ["--on", str(place)] if place.kind != "local" else []
    for name in options.only:
        words += ["--only", name]
    words += ["--limit", str(options.limit)] if options.limit is not None else []
    again = options.again
    for name in ([ALL_ARMS] if again else []) if isinstance(again, bool) else again:
        words += ["--again", name]
    words += ["--same-code"] if options.same_code else []
    return words + (["--to", options.to] if options.to is not None else [])


def _study_words(study: Study, as_planned: bool) -> list[str]:
    if study.source is None or as_planned:
        return [str(study.folder / "study.yaml")]
    is_file = study.source.endswith((".yaml", ".yml")) or Path(study.source).is_file()
    words = [str(Path(study.source).expanduser().absolute()) if is_file else study.source]
    words += ["--preset", study.preset] if study.preset else []
    for key, value in (study.settings or {}).items():
        words += ["-s", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return words
