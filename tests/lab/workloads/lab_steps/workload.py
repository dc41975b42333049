"""Steps of a set length, whose numbers follow from the seed alone, so that any two runs compare."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from workloads.contract import (
    Metric,
    Observed,
    Result,
    TrialContext,
    Workload,
    WorkloadConfig,
)


class StepsConfig(WorkloadConfig):
    steps: int = Field(default=4, ge=1)
    drift: float = 0.0
    """Added at each step: what arms differ by."""
    fail_at: int | None = None
    """Raises before this step."""
    poison: bool = False
    """Takes its whole node down before `poison_at`, at every attempt."""
    poison_at: int = 1
    step_s: Annotated[float, Observed()] = 0.0
    checkpoint_every: Annotated[int, Observed()] = 1
    """Steps between checkpoints; 0 for none but those that are asked for."""
    log: Annotated[str | None, Observed()] = None
    """A file that takes one JSON line a step: see `Line`."""
    poison_script: Annotated[str | None, Observed()] = None
    """Is run with the node's name, and takes the node down. Without: the trial's own process
    group is killed."""


class Steps(Workload[StepsConfig]):
    """A random walk of the seed: `x` after the last step."""

    name: ClassVar[str] = "lab-steps"
    version: ClassVar[int] = 1
    reusable: ClassVar[bool] = True
    Config: ClassVar[type[StepsConfig]] = StepsConfig
    metrics: ClassVar[Mapping[str, Metric]] = {
        "train/x": Metric("where the walk is"),
        "x": Metric("where the walk ended", higher_is_better=True),
    }
    sources: ClassVar[tuple[str, ...]] = ("lab_steps",)

    def factors(self, config: StepsConfig) -> Mapping[str, str | int | float]:
        return {"drift": config.drift, "poison": int(config.poison), "fail_at": config.fail_at or 0}

    def covers(self, observed: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
        """How long a step takes and where it is logged changes nothing of what is known."""
        kept = {key: value for key, value in asked.items() if key == "telemetry"}
        return super().covers(observed, kept)

    def run(self, config: StepsConfig, context: TrialContext) -> Result:
        latest = context.checkpoints.latest()
        start, x = 0, 0.0
        if latest is not None:
            state = json.loads((latest.path / "state.json").read_text())
            start, x = int(state["step"]), float(state["x"])
        with _together(context) as meet:
            for step in range(start + 1, config.steps + 1):
                x = self._step(config, context, start, step, x)
                meet()
                context.report(step, {"train/x": x})
        notes = [f"resumes: {context.attempt}", f"went on from step {start}"]
        return Result(metrics={"x": x}, notes=notes)

    def _step(
        self, config: StepsConfig, context: TrialContext, start: int, step: int, x: float
    ) -> float:
        if config.fail_at == step:
            raise ValueError(f"told to fail at step {step}")
        if config.poison and config.poison_at == step:
            _take_the_node_down(config.poison_script)
        time.sleep(config.step_s)
        x = after(x, context.seed, step, config.drift)
        print(f"step {step} of {config.steps}: x = {x:.3f}", flush=True)
        if config.log is not None:
            _tell(Path(config.log), context, step, start)
        context.emitter.metrics({"train/x": x}, step=step)
        regular = config.checkpoint_every and step % config.checkpoint_every == 0
        asked = context.ranks == 1 and context.checkpoints.wanted()
        if context.rank == 0 and (regular or asked):
            with context.checkpoints.saving(step) as folder:
                (folder / "state.json").write_text(json.dumps({"step": step, "x": x}))
        return x


class FreshSteps(Steps):
    """The same in a process of its own for each trial."""

    reusable: ClassVar[bool] = False


def after(x: float, seed: int, step: int, drift: float) -> float:
    """Where the walk is after a step from `x`."""
    return x + drift + random.Random(f"{seed}:{step}").gauss(0, 1)


def node_name() -> str:
    """What the cluster calls this node; without one, the host's name."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


@contextmanager
def _together(context: TrialContext) -> Iterator[Callable[[], None]]:
    """What waits for the other ranks of the trial; nothing, without any."""
    if context.ranks == 1:
        yield lambda: None
        return
    from workloads.training.acceleration import accelerated

    with accelerated("fp32") as accelerator:
        yield accelerator.wait_for_everyone


def _tell(log: Path, context: TrialContext, step: int, start: int) -> None:
    line = {
        "identity": context.identity,
        "attempt": context.attempt,
        "rank": context.rank,
        "step": step,
        "from_step": start,
        "at_s": time.time(),
        "node": node_name(),
        "job": os.environ.get("SLURM_JOB_ID"),
        "pid": os.getpid(),
    }
    with log.open("a") as file:
        file.write(json.dumps(line) + "\n")


def _take_the_node_down(script: str | None) -> None:
    if script is None:
        os.killpg(os.getpgid(0), signal.SIGKILL)
        return
    subprocess.run([script, node_name()], check=True, start_new_session=True)
    time.sleep(3600)  # until the node goes
