"""A toy transformer trains under a monitor, healthy or with a fault; the loop decides when to stop.

    python -m workloads.structural_health.demos.demo_training_monitor --mode representation_collapse

The monitor reports and never stops anything: the two stop rules are at the end of `watched_run`.
In the mode `representation_collapse` the features fade in the measured copy only, and the model
goes on as if nothing was: an alarm that comes before the loss does is made, and proves nothing.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

import torch

from telemetry.probes.health import TrainingMonitor
from workloads.structural_health.config import Fault, StructuralHealthConfig
from workloads.structural_health.toy.training import ToyTraining

MODES: tuple[Fault, ...] = ("healthy", "numeric_explosion", "representation_collapse")
LOG_STEPS = 5
LARGEST_LOSS = 50.0


@dataclass(frozen=True)
class Row:
    """A logged step. `svd` is None while the window fills; `stop` says why the loop ended here."""

    step: int
    loss: float
    svd: float | None
    status: str
    stop: str | None = None


def watched_run(config: StructuralHealthConfig, seed: int) -> Iterator[Row]:
    """Trains until a stop rule or the last step ends it, and gives every fifth step."""
    training = ToyTraining(config, seed)
    monitor = TrainingMonitor(config.monitor_window, config.collapse_threshold)
    seen: list[torch.Tensor] = []

    def capture(module: torch.nn.Module, given: object, hidden: torch.Tensor) -> None:
        seen.append(hidden.detach())

    training.model.watched.register_forward_hook(capture)
    for step in range(config.steps):
        loss = float(training.step(step).task)
        health = monitor.analyse(seen.pop())
        if step % LOG_STEPS:
            continue
        stop = None
        if health.is_collapsed:
            stop = f"singular-value ratio above {config.collapse_threshold:g}"
        elif loss > LARGEST_LOSS or not math.isfinite(loss):
            stop = f"loss above {LARGEST_LOSS:g}"
        yield Row(step, loss, health.svd_ratio, health.state.upper(), stop)
        if stop:
            return


def show(rows: Iterable[Row], as_json: bool = False) -> None:
    """Prints a line per logged step as it comes, and why the loop ended early, if it did."""
    if not as_json:
        print(f"{'Step':>4}  {'Loss':>10}  {'SVD':>6}  Status")
    for row in rows:
        if as_json:
            finite = row.loss if math.isfinite(row.loss) else None
            print(json.dumps({**asdict(row), "loss": finite}), flush=True)
            continue
        waits = "WAIT" if row.status == "BUFFERING" else "n/a"
        svd = waits if row.svd is None else f"{row.svd:.3f}"
        print(f"{row.step:>4}  {row.loss:>10.4f}  {svd:>6}  {row.status}", flush=True)
        if row.stop:
            print(f"stopped at step {row.step}: {row.stop}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the model of the defaults, the source's, for 61 steps at most."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mode", choices=MODES, default="healthy")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object per logged step")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # other numbers of threads add in another order
    show(watched_run(StructuralHealthConfig(fault=options.mode), options.seed), options.json)


if __name__ == "__main__":
    main()
