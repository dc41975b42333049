"""What a training keeps: copies of its core on the way, and what it goes on from."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from workloads.errors import InputError

COPIES: Final = "cores"
"""A trial's copies of the core among its artifacts, and in its checkpoints."""
CORE, METRICS = "core.safetensors", "metrics.json"
KEPT: Final = 5
WEIGHTS, OPTIMIZER, STATE = "trained.safetensors", "optimizer.safetensors", "state.safetensors"
PROGRESS = "training.json"
_MOMENTS: Final = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps of each parameter, beside its count of steps."""
_MOST_NAMED: Final = 4
_ANEW: Final = (
    "Put back what this trial itself wrote there, or remove the folder: then the trial goes on "
    "from an older checkpoint, or begins anew"
)
_TENSORS: Final = "tensors"
_REST: Final = "core"


class CoreCopies:
    """Copies of a core in folders `step-000050`, of which the newest five stay."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, step: int, state: Mapping[str, Any], metrics: Mapping[str, Any]) -> Path:
        """Writes a core's `to_state`, and what was measured of it; gives the folder."""
        place = self.folder / f"step-{step:06d}"
        place.mkdir(parents=True, exist_ok=True)
        tensors, rest = parted(state)
        save_file(tensors, place / CORE, metadata={_REST: json.dumps(rest)})
        text = json.dumps(dict(metrics), indent=1, allow_nan=False)
        (place / METRICS).write_text(text + "\n", encoding="utf-8")
        for old in self._kept()[:-KEPT]:
            shutil.rmtree(old)
        return place

    def save(self, folder: Path) -> None:
        """Takes the copies into a checkpoint: a trial that goes on elsewhere has them all."""
        for copy in self._kept():
            shutil.copytree(copy, folder / COPIES / copy.name)

    def load(self, folder: Path) -> None:
        """Goes on with the copies of a checkpoint, and no others."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if (folder / COPIES).is_dir():
            shutil.copytree(folder / COPIES, self.folder)

    def _kept(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"), key=lambda copy: int(copy.name[len("step-") :]))


def read_core(folder: Path) -> dict[str, Any]:
    """The state of a copy, for the `load_state` of a core of its structure.

    Raises `InputError` for a file that is damaged or no copy, `OSError` where there is none.
    """
    path = folder / CORE
    try:
        with safe_open(path, framework="pt") as file:
            rest = json.loads((file.metadata() or {})[_REST])
        return {**rest, _TENSORS: load_file(path)}
    except (SafetensorError, KeyError) as error:
        raise InputError(
            f"'{path}' is damaged, or no copy of oscillators ({error}); give a folder "
            f"'{COPIES}/step-…' among a trial's artifacts"
        ) from error


def parted(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A core's `to_state` as tensors, and the rest of it as plain JSON data."""
    tensors = {name: _saved(tensor) for name, tensor in state[_TENSORS].items()}
    return tensors, {name: value for name, value in state.items() if name != _TENSORS}


def spread(phases: Tensor | None, frequencies: Tensor | None) -> dict[str, float | None]:
    """What a copy's metrics say of frequencies [N] and of phases [batch, N], in radians.

    Phases lie on a circle: their mean is that of their directions, and their SD the circular one,
    sqrt(-2 ln R). None where there are none, and where R is 0 the circle has no mean.
    """
    found: dict[str, float | None] = dict.fromkeys(
        ("omega_mean", "omega_std", "phase_mean", "phase_std")
    )
    if frequencies is not None:
        values = frequencies.detach().double()
        found["omega_mean"] = float(values.mean())
        found["omega_std"] = float(values.std(unbiased=False))
    if phases is not None:
        angles = phases.detach().double()
        cosine, sine = float(angles.cos().mean()), float(angles.sin().mean())
        r = min(math.hypot(cosine, sine), 1.0)
        if r > 1e-6:
            found["phase_mean"] = math.atan2(sine, cosine)
            found["phase_std"] = math.sqrt(max(-2.0 * math.log(r), 0.0))
    return found


@dataclass(frozen=True)
class Restored:
    """What a checkpoint held beside weights and optimizer: tensors by name, and plain progress."""

    tensors: Mapping[str, Tensor]
    progress: Mapping[str, Any]


def write_checkpoint(
    folder: Path,
    trained: Mapping[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, Tensor],
    progress: Mapping[str, Any],
) -> None:
    """Writes what is trained, and nothing that is frozen; `tensors` is whatever else goes on.

    All of it is safetensors and JSON, which never run code when they are read.
    """
    save_file({name: _saved(p) for name, p in trained.items()}, folder / WEIGHTS)
    state = optimizer.state_dict()["state"]
    moments = {f"{i}/{name}": _saved(t) for i, one in state.items() for name, t in one.items()}
    save_file(moments, folder / OPTIMIZER)
    save_file({name: _saved(tensor) for name, tensor in tensors.items()}, folder / STATE)
    text = json.dumps(dict(progress), allow_nan=False)
    (folder / PROGRESS).write_text(text, encoding="utf-8")


def read_checkpoint(
    folder: Path, trained: Mapping[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer
) -> Restored:
    """Loads weights and optimizer in place; gives the rest.

    Raises `InputError` for files that are damaged, and for weights of another model or core: of
    other names or shapes.
    """
    saved = _tensors(folder / WEIGHTS)
    shapes = {name: parameter.shape for name, parameter in trained.items()}
    check_tensors(folder / WEIGHTS, saved, shapes)
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(saved[name])
    state: dict[int, dict[str, Tensor]] = {}
    moments = _tensors(folder / OPTIMIZER)
    asked = {f"{i}/{name}": of for i, of in enumerate(shapes.values()) for name in _MOMENTS}
    counts = {f"{i}/step": () for i in range(len(shapes))}
    # A parameter that no gradient has reached so far has no moments.
    here = {key: shape for key, shape in {**asked, **counts}.items() if key in moments}
    check_tensors(folder / OPTIMIZER, moments, here)
    for key, tensor in moments.items():
        index, _, name = key.partition("/")
        state.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    progress = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
    return Restored(_tensors(folder / STATE), progress)


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(path)
        return tensors
    except (OSError, SafetensorError) as error:
        raise InputError(f"'{path}' cannot be read ({error}). {_ANEW}") from error


def check_tensors(
    path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Sequence[int]]
) -> None:
    """Refuses (`InputError`) a checkpoint's file whose tensors have other names or shapes."""
    theirs = {name: list(tensor.shape) for name, tensor in found.items()}
    ours = {name: list(shape) for name, shape in wanted.items()}
    names = [name for name in {**ours, **theirs} if theirs.get(name) != ours.get(name)]
    if not names:
        return
    told = "; ".join(
        f"{name} is {theirs.get(name, 'not there')}, valid: {ours.get(name, 'no such tensor')}"
        for name in names[:_MOST_NAMED]
    )
    more = f"; and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    raise InputError(f"'{path}' is of another model or core: {told}{more}. {_ANEW}")


def _saved(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().clone()
