"""The record of a search: an append-only list, ordinal → point → identity.

A line is written before its trial starts. Resuming replays the list into a fresh searcher, so
that it proposes what it would have proposed had nothing happened.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from orchestrator.study_file import Choice, LogUniform, RandInt, Search, Uniform


class Proposal(msgspec.Struct, frozen=True, tag="proposal"):
    """One ordinal of a search. `refused` says why a point could not become a trial."""

    ordinal: int
    point: dict[str, Any]
    identity: str | None = None
    refused: str | None = None


class Learned(msgspec.Struct, frozen=True, tag="learned"):
    """What the searcher was told of an ordinal. `pruned_at` is the step at which the scheduler
    ended the trial, for this study only, by `rule`."""

    ordinal: int
    value: float | None = None
    pruned_at: int | None = None
    rule: str | None = None


Line = Proposal | Learned


@dataclass(frozen=True)
class SearchList:
    """`search.jsonl` of a study's folder: proposals and what was learned, in the order of time."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "search.jsonl"

    def lines(self) -> list[Line]:
        """Whole lines; a torn last one was never acted upon and is passed over."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        decoder = msgspec.json.Decoder(Line)
        found: list[Line] = []
        for line in filter(None, lines):
            with suppress(msgspec.DecodeError):
                found.append(decoder.decode(line))
        return found

    def proposals(self) -> list[Proposal]:
        return [line for line in self.lines() if isinstance(line, Proposal)]

    def pruned(self) -> dict[int, Learned]:
        """The proposals that the scheduler ended, by ordinal."""
        return {
            line.ordinal: line
            for line in self.lines()
            if isinstance(line, Learned) and line.rule is not None
        }

    def append(self, line: Line) -> None:
        """Durable when it returns."""
        self.folder.mkdir(parents=True, exist_ok=True)
        torn = _torn(self.path)
        with self.path.open("ab") as file:
            file.write((b"\n" if torn else b"") + msgspec.json.encode(line) + b"\n")
            file.flush()
            os.fsync(file.fileno())


class Searcher(Protocol):
    """Proposes points, and learns from what came of them."""

    def propose(self, ordinal: int) -> dict[str, Any]:
        """The point of an ordinal. Ordinals come in order, each once."""

    def learn(self, ordinal: int, value: float | None) -> None:
        """`value` of the study's metric; None for a trial that gave none."""


def searcher_for(design: Search) -> Searcher:
    return OptunaSearcher(design)


class OptunaSearcher:
    """Optuna's samplers by ask and tell: TPE (`optuna`) or independent draws (`random`)."""

    def __init__(self, design: Search) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        samplers = {
            "random": optuna.samplers.RandomSampler,
            "optuna": optuna.samplers.TPESampler,
        }
        direction = "maximize" if design.mode == "max" else "minimize"
        sampler = samplers[design.searcher](seed=design.searcher_seed)
        self._study = optuna.create_study(direction=direction, sampler=sampler)
        self._space = {key: _distribution(domain) for key, domain in design.space.items()}
        self._asked: dict[int, Any] = {}

    def propose(self, ordinal: int) -> dict[str, Any]:
        trial = self._asked[ordinal] = self._study.ask(self._space)
        return dict(trial.params)

    def learn(self, ordinal: int, value: float | None) -> None:
        from optuna.trial import TrialState

        trial = self._asked.pop(ordinal, None)
        if trial is None:
            return
        if value is None or value != value:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._study.tell(trial, value)


def _distribution(domain: Choice | Uniform | LogUniform | RandInt) -> Any:
    from optuna import distributions as d

    if isinstance(domain, Choice):
        return d.CategoricalDistribution(domain.choice)
    if isinstance(domain, RandInt):
        return d.IntDistribution(domain.randint[0], domain.randint[1] - 1)
    if isinstance(domain, LogUniform):
        return d.FloatDistribution(*domain.loguniform, log=True)
    return d.FloatDistribution(*domain.uniform)


def _torn(path: Path) -> bool:
    """Whether the file's last line lacks its newline."""
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return False
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except FileNotFoundError:
        return False
