"""Studies of the steps workload, and the folder that a cluster's jobs find it in."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

PLUGINS = Path(__file__).parent / "workloads"
"""What a user puts on PYTHONPATH for the plug-in to be found."""
STEPS = "lab_steps.workload:Steps"
FRESH_STEPS = "lab_steps.workload:FreshSteps"

if str(PLUGINS) not in sys.path:
    sys.path.append(str(PLUGINS))


def pythonpath(plugins: Path = PLUGINS) -> str:
    """PYTHONPATH of a shell in which `orrery` finds the checkout and the plug-in."""
    return f"{ROOT}:{plugins}"


def steps_arm(name: str, role: str = "arm", **overrides: Any) -> dict[str, Any]:
    return {"name": name, "role": role, "overrides": overrides}


def steps_study(
    name: str,
    *arms: Mapping[str, Any],
    seeds: int = 3,
    workload: str = STEPS,
    slurm: Mapping[str, Any] | None = None,
    resources: Mapping[str, Any] | None = None,
    **base: Any,
) -> dict[str, Any]:
    """A study as its file would hold it; without arms, a comparator and one that drifts.

    `base` holds fields of the workload: `steps`, `step_s`, `checkpoint_every`, …
    """
    listed = arms or (steps_arm("still", "comparator"), steps_arm("drifting", drift=1.0))
    return {
        "name": name,
        "question": "Where does the walk end?",
        "workload": workload,
        "base": {"steps": 4, **base},
        "seeds": list(range(seeds)),
        "design": {"kind": "configurations", "arms": [dict(item) for item in listed]},
        "slurm": {"time": "00:30:00", **(slurm or {})},
        "resources": {"cpus": 1, **(resources or {})},
    }


def many_trials(name: str, trials: int, **parts: Any) -> dict[str, Any]:
    """One arm of so many seeds, each a single step that takes no time."""
    only = steps_arm("only", "comparator")
    return steps_study(name, only, seeds=trials, **{"steps": 1, **parts})
