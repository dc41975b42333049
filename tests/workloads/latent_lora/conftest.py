"""A trial context without an orchestrator, and a language model small enough for every test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from telemetry.contracts import Contract, DenseTrace
from workloads.contract import Checkpoint, TrialContext, TrialStopped
from workloads.latent_lora.config import LatentLoraConfig


@dataclass
class RecordingEmitter:
    """Keeps what was emitted."""

    rows: list[tuple[int, dict[str, float | None]]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    dense: list[DenseTrace] = field(default_factory=list)

    def metrics(
        self, values: Mapping[str, float | None], *, step: int, epoch: float | None = None
    ) -> None:
        self.rows.append((step, dict(values)))

    def snapshot(
        self, contract: Contract, *, step: int | None = None, epoch: float | None = None
    ) -> None:
        if isinstance(contract, DenseTrace):
            self.dense.append(contract)

    def trace(self, name: str, data: Mapping[str, Any], *, step: int, reason: str = "") -> None:
        pass

    def context(self, facts: Mapping[str, Any]) -> None:
        self.facts.update(facts)


@dataclass
class FolderCheckpoints:
    """Checkpoints in a folder; one becomes visible when its block ends. After so many questions
    the trial is told to leave (`leave_after`)."""

    folder: Path
    leave_after: int | None = None
    asked: int = 0

    def latest(self) -> Checkpoint | None:
        found = sorted(self.folder.glob("step-*"))
        return Checkpoint(found[-1], int(found[-1].name[5:])) if found else None

    @contextmanager
    def saving(self, step: int) -> Iterator[Path]:
        partial = self.folder / f"partial-{step}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        partial.rename(self.folder / f"step-{step:08d}")
        if self.told:
            raise TrialStopped

    def wanted(self) -> bool:
        self.asked += 1
        return self.told

    @property
    def told(self) -> bool:
        return self.leave_after is not None and self.asked > self.leave_after


@dataclass
class Reports:
    """Keeps what was reported; `stop_after` reports the next one raises."""

    steps: list[int] = field(default_factory=list)
    stop_after: int | None = None

    def __call__(self, step: int, metrics: Mapping[str, float | None]) -> None:
        self.steps.append(step)
        if self.stop_after is not None and len(self.steps) > self.stop_after:
            raise KeyboardInterrupt


MakeContext = Callable[..., TrialContext]


@pytest.fixture
def make_context(tmp_path: Path) -> MakeContext:
    """Builds a context; two with the same `name` share checkpoints, as attempts of a trial do."""

    def make(
        name: str = "trial",
        *,
        seed: int = 0,
        attempt: int = 0,
        stop_after: int | None = None,
        leave_after: int | None = None,
    ) -> TrialContext:
        root = tmp_path / name
        return TrialContext(
            identity=f"{name}-0123456789abcdef",
            label=name,
            seed=seed,
            attempt=attempt,
            artifacts=root / f"attempt-{attempt:04d}" / "artifacts",
            emitter=RecordingEmitter(),
            checkpoints=FolderCheckpoints(root / "checkpoints", leave_after),
            report=Reports(stop_after=stop_after),
        )

    return make


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an untrained Llama of 4 layers, width 32, that shares the grammar's words."""
    from workloads.models.train_embedded import Recipe, make_model, make_tokenizer

    recipe = Recipe(layers=4, hidden_size=32, intermediate_size=48, heads=2)
    folder = tmp_path_factory.mktemp("tiny-llama")
    tokenizer = make_tokenizer(0, stories=300)
    make_model(recipe, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def config(tiny_model: Path) -> LatentLoraConfig:
    """A trial of a second or so."""
    return LatentLoraConfig(
        model=str(tiny_model),
        samples=48,
        epochs=2,
        batch_size=16,
        d_z=8,
        test_questions=24,
        dev_questions=8,
        max_new_tokens=4,
        learning_rate=3e-3,
    )
