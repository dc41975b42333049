"""From arms to trials: resolve a configuration, name the trial by what it computes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.arms import Arm
from orchestrator.errors import UsageError
from orchestrator.identity import document, identity_config, identity_of, label_of, observed_config
from orchestrator.inputs import absolute, config_with_inputs
from orchestrator.study_file import merged
from orchestrator.validation import validated
from workloads.contract import Input, Workload, WorkloadConfig
from workloads.errors import InputError


@dataclass(frozen=True)
class Trial:
    """Arm × replicate. `config` is resolved, with absolute paths; `document` is what is hashed."""

    identity: str
    label: str
    arm: str
    role: str
    replicate: int
    seed: int
    config: WorkloadConfig
    document: Mapping[str, Any]
    observed: Mapping[str, Any]
    factors: Mapping[str, Any]
    overrides: Mapping[str, Any]


@dataclass
class TrialMaker:
    """Makes trials of one workload; remembers fingerprints, which are slow to take."""

    workload: Workload[Any]
    base: Mapping[str, Any]
    hashes: Path | None = None
    """A file that keeps hashes of inputs between commands."""
    _pinned: dict[tuple[str, str], str] = field(default_factory=dict)
    _fingerprints: dict[tuple[str, str], str] = field(default_factory=dict)

    def trials(self, arms: Iterable[Arm], seeds: Iterable[int]) -> Iterator[Trial]:
        """Every arm's replicates. Raises `UsageError` naming the arm that cannot be."""
        shared = tuple(seeds)
        for arm in arms:
            config = self.config(arm)
            plain = self._identity_config(config, arm)
            observed = observed_config(config)
            factors = dict(self.workload.factors(config))
            for replicate, seed in enumerate(self._seeds(arm, config, shared)):
                doc = document(self.workload.name, self.workload.version, plain, seed)
                identity = identity_of(doc)
                yield Trial(
                    identity=identity,
                    label=label_of(factors, seed, identity),
                    arm=arm.name,
                    role=arm.role,
                    replicate=replicate,
                    seed=seed,
                    config=config,
                    document=doc,
                    observed=observed,
                    factors=factors,
                    overrides=arm.overrides,
                )

    def _seeds(self, arm: Arm, config: WorkloadConfig, shared: tuple[int, ...]) -> tuple[int, ...]:
        if self.workload.deterministic(config):
            return (0,)
        return shared if arm.seeds is None else arm.seeds

    def config(self, arm: Arm) -> WorkloadConfig:
        """The resolved configuration of an arm."""
        raw = merged(self.base, arm.overrides)
        config = validated(self.workload.Config, raw, f"arm '{arm.name}'")
        try:
            resolved: WorkloadConfig = self.workload.resolve(config_with_inputs(config, self.named))
        except InputError as error:
            raise UsageError(f"arm '{arm.name}': {error}") from error
        return resolved

    def check(self, trials: Iterable[Trial]) -> None:
        """Lets the workload refuse what cannot give a meaningful trial. Raises `UsageError`."""
        seen: set[str] = set()
        for trial in trials:
            if trial.arm in seen:
                continue
            seen.add(trial.arm)
            try:
                self.workload.check(trial.config)
            except InputError as error:
                raise UsageError(f"arm '{trial.arm}': {error}") from error

    def named(self, source: Input, value: str) -> str:
        """An input by a name that means the same elsewhere and tomorrow: an absolute path (a
        worker has another current folder), or a hub name with its commit. Raises `UsageError`."""
        if not value.strip():
            raise UsageError(f"a {source.kind} is given as an empty text; name one.")
        path = absolute(source, value)
        if Path(path).is_absolute():
            return path
        key = (source.kind, value)
        if key not in self._pinned:
            try:
                self._pinned[key] = self.workload.pin(source.kind, value)
            except InputError as error:
                raise UsageError(f"'{value}': {error}") from error
        return self._pinned[key]

    def forget(self) -> None:
        """Reads inputs anew from here on: files may have changed since the last plan."""
        self._fingerprints.clear()

    def fingerprint(self, source: Input, value: str, config: WorkloadConfig) -> str:
        """The fingerprint of an input. Raises `InputError`."""
        key = (source.kind, value)
        if key not in self._fingerprints:
            made = self.workload.fingerprint(source.kind, value, config, self.hashes)
            self._fingerprints[key] = made
        return self._fingerprints[key]

    def _identity_config(self, config: WorkloadConfig, arm: Arm) -> dict[str, Any]:
        try:
            return identity_config(config, lambda s, value: self.fingerprint(s, value, config))
        except InputError as error:
            raise UsageError(f"arm '{arm.name}': {error}") from error
