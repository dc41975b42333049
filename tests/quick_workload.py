"""A workload that takes milliseconds and can misbehave in every way a real one can."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field

from workloads.contract import (
    IdentityDefault,
    Input,
    Metric,
    Observed,
    Result,
    Scores,
    TrialContext,
    Workload,
    WorkloadConfig,
)
from workloads.errors import DivergedError, InputError
from workloads.monitors import SETTINGS

Fault = Literal[
    "raise",
    "diverge",
    "memory",
    "allocate",
    "kill",
    "exit",
    "sleep",
    "input",
    "leave",
    "interrupt",
    "notice",
]


_LASTING = ("questions", "metrics", "telemetry", *SETTINGS)
"""What an outcome has to have observed; faults and logs may be anything."""


class Extra(BaseModel):
    """A factor that can be off."""

    model_config = WorkloadConfig.model_config

    gain: float = 0.0


class QuickConfig(WorkloadConfig):
    effect: float = 0.0
    noise: float = 1.0
    steps: int = Field(default=4, ge=1)
    step_s: float = 0.0
    extra: Extra | None = None
    later: Annotated[int, IdentityDefault(7)] = 7
    data: Annotated[str | None, Input("data")] = None
    questions: Annotated[int, Observed()] = 20
    metrics: Annotated[int, Observed()] = 0
    fault: Fault | None = None
    fault_step: Annotated[int, Observed()] = 1
    """The step at which the fault strikes."""
    fault_times: Annotated[int, Observed()] = 10**6
    """In how many attempts."""
    fault_rank: Annotated[int | None, Observed()] = None
    """In which rank; None: in all."""
    log: Annotated[str | None, Observed()] = None
    """A file to which every step that is computed is appended: `identity attempt step pid`."""


class Quick(Workload[QuickConfig]):
    """A random walk with checkpoints: `f1` drifts by `effect`."""

    name: ClassVar[str] = "quick"
    version: ClassVar[int] = 1
    reusable: ClassVar[bool] = True
    Config: ClassVar[type[QuickConfig]] = QuickConfig
    metrics: ClassVar[Mapping[str, Metric]] = {
        "train/x": Metric("where the walk is"),
        "x": Metric("where the walk ended"),
        "f1": Metric("mean score", "points", higher_is_better=True),
        "unmeasured": Metric("never measured"),
    }
    sources: ClassVar[tuple[str, ...]] = ("tests.quick_workload",)

    def fingerprint(
        self, kind: str, value: str, config: QuickConfig, cache: Path | None = None
    ) -> str:
        try:
            return f"len:{len(Path(value).read_bytes())}"
        except OSError as error:
            raise InputError(f"data '{value}' cannot be read: {error.strerror}.") from error

    def check(self, config: QuickConfig) -> None:
        if config.effect == 666:
            raise InputError("effect 666 is refused; give another one.")

    def factors(self, config: QuickConfig) -> Mapping[str, str | int | float]:
        return {"effect": config.effect, "gain": config.extra.gain if config.extra else 0.0}

    def scored_units(self, config: QuickConfig) -> int | None:
        return config.questions

    def covers(self, observed: Mapping[str, object], asked: Mapping[str, object]) -> bool:
        kept = {key: value for key, value in asked.items() if key in _LASTING}
        return super().covers(observed, kept)

    def run(self, config: QuickConfig, context: TrialContext) -> Result:
        start = context.checkpoints.latest()
        state = {"step": 0, "x": 0.0}
        if start is not None:
            state = json.loads((start.path / "state.json").read_text())
        for step in range(int(state["step"]) + 1, config.steps + 1):
            _misbehave(config, context, step)
            draw = random.Random(f"{context.seed}:{step}").gauss(0, 1)
            state = {"step": step, "x": state["x"] + draw * config.noise / math.sqrt(config.steps)}
            if config.step_s:
                time.sleep(config.step_s)
            if config.log:
                with open(config.log, "a") as log:
                    log.write(f"{context.identity} {context.attempt} {step} {os.getpid()}\n")
            many = {f"train/m{i}": state["x"] + i for i in range(config.metrics)}
            context.emitter.metrics({"train/x": state["x"], **many}, step=step)
            if config.steps > 1:
                with context.checkpoints.saving(step) as folder:
                    (folder / "state.json").write_text(json.dumps(state))
                context.report(step, {"train/x": state["x"]})
        gain = config.extra.gain if config.extra else 0.0
        f1 = 50 + config.effect + gain + state["x"]
        units = [f"q{i}" for i in range(config.questions)]
        clusters = [f"c{i % 5}" for i in range(config.questions)]
        random_of = random.Random(f"{context.seed}:questions")
        offsets = [random_of.gauss(0, 5) for _ in units]
        scores = [f1 + offset for offset in offsets]
        mean = sum(scores) / len(scores)
        (context.artifacts / "walk.txt").write_text(f"{state['x']}\n")
        return Result(
            metrics={"f1": mean, "x": state["x"], "unmeasured": None},
            scores=[Scores("test", units, clusters, {"f1": scores})],
        )


class EvaluatedQuick(Quick):
    """The same, evaluated after each step: `eval/x`, the higher the better."""

    metrics: ClassVar[Mapping[str, Metric]] = {
        **Quick.metrics,
        "eval/x": Metric("where the walk is", higher_is_better=True),
    }

    def run(self, config: QuickConfig, context: TrialContext) -> Result:
        def report(step: int, metrics: Mapping[str, float | None]) -> None:
            context.report(step, {"eval/x": metrics["train/x"]})

        return super().run(config, replace(context, report=report))


class QuestionedQuick(Quick):
    """The same, with a mean over the questions at the last step: `eval/f1`."""

    metrics: ClassVar[Mapping[str, Metric]] = {**Quick.metrics, "eval/f1": Metric("mean score")}

    def run(self, config: QuickConfig, context: TrialContext) -> Result:
        result = super().run(config, context)
        context.emitter.metrics({"eval/f1": result.metrics["f1"]}, step=config.steps)
        return result


class HubQuick(Quick):
    """The same with data from a hub whose names move: `commit` is what they stand for."""

    commit: ClassVar[str] = "c0ffee"

    def pin(self, kind: str, value: str) -> str:
        return value if "@" in value else f"{value}@{self.commit}"

    def fingerprint(
        self, kind: str, value: str, config: QuickConfig, cache: Path | None = None
    ) -> str:
        return f"hub:{self.pin(kind, value)}"


class FreshQuick(Quick):
    """The same, for workers that are not reused."""

    reusable: ClassVar[bool] = False


class RankedQuick(Quick):
    """A walk that its ranks take together: each step is the mean of their draws, which are numbered
    over all ranks, so that any number of ranks (of 1, 2, 4) walks the same way.

    Every rank emits `train/x` (the same), `train/rank` (its number, from 1) and its own draws.
    """

    draws: ClassVar[int] = 4
    metrics: ClassVar[Mapping[str, Metric]] = {
        **Quick.metrics,
        "train/rank": Metric("ranks' numbers added up", reducer="sum"),
        "train/mine": Metric("the rank's own draws"),
    }

    def run(self, config: QuickConfig, context: TrialContext) -> Result:
        import torch

        from workloads.training.acceleration import accelerated

        start = context.checkpoints.latest()
        state = {"step": 0, "x": 0.0}
        if start is not None:
            state = json.loads((start.path / "state.json").read_text())
        with accelerated("fp32") as accelerator:
            for step in range(int(state["step"]) + 1, config.steps + 1):
                _misbehave(config, context, step)
                numbers = range(context.rank, self.draws, context.ranks)
                draws = [random.Random(f"{context.seed}:{step}:{i}").gauss(0, 1) for i in numbers]
                mine = torch.tensor(sum(draws) / len(draws), dtype=torch.float64)
                draw = float(accelerator.reduce(mine, reduction="mean"))
                state = {"step": step, "x": state["x"] + config.effect + draw * config.noise}
                if config.step_s:
                    time.sleep(config.step_s)
                if config.log:
                    with open(f"{config.log}.rank{context.rank}", "a") as log:
                        log.write(f"{context.identity} {context.attempt} {step} {os.getpid()}\n")
                values = {"train/x": state["x"], "train/rank": 1.0 + context.rank}
                context.emitter.metrics({**values, "train/mine": float(mine)}, step=step)
                if context.rank == 0:
                    with context.checkpoints.saving(step) as folder:
                        (folder / "state.json").write_text(json.dumps(state))
                accelerator.wait_for_everyone()
                context.report(step, {"train/x": state["x"]})
        return Result(metrics={"f1": 50 + state["x"], "x": state["x"], "unmeasured": None})


class FreshRankedQuick(RankedQuick):
    """The same, for workers that are not reused."""

    reusable: ClassVar[bool] = False


def _misbehave(config: QuickConfig, context: TrialContext, step: int) -> None:
    if config.fault is None or step != config.fault_step or context.attempt >= config.fault_times:
        return
    if config.fault_rank is not None and context.rank != config.fault_rank:
        return
    if config.fault == "raise":
        raise ValueError("the walk fell off\nand this is its second line")
    if config.fault == "diverge":
        raise DivergedError("x is NaN at every question")
    if config.fault == "memory":
        raise MemoryError("no room for the walk")
    if config.fault == "allocate":
        import torch

        torch.empty(2**50)
    if config.fault == "input":
        raise InputError("the path is not a path; give one.")
    if config.fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if config.fault == "exit":
        os._exit(3)
    if config.fault == "leave":
        sys.exit(3)
    if config.fault == "interrupt":
        raise KeyboardInterrupt
    if config.fault == "notice":
        from orchestrator.engine import notice

        notice.give("preempted")
    if config.fault == "sleep":
        time.sleep(3600)
