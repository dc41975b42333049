"""What a trial's checkpoint holds, and how it is read again.

`state.safetensors` has the parameters (`model/...`), the optimizers' moments (`moments/...`) and,
within an epoch or where training was suspicious, the last good ones of both (`good/model/...`,
`good/moments/...`).
`episode.json` has all the rest but for what the policies keep in files of their own. Nothing in it
tells how many ranks made it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.errors import InputError
from workloads.morphogenesis.restoring import GoodState

if TYPE_CHECKING:
    from torch import Tensor

    from workloads.morphogenesis.episode import Episode

EPISODE = "episode.json"
TENSORS = "state.safetensors"
MODEL, MOMENTS, GOOD = "model/", "moments/", "good/"


def write_episode(folder: Path, episode: Episode, progress: Mapping[str, Any]) -> None:
    """Writes an episode, and plain JSON of the trial's own beside it."""
    from safetensors.torch import save_file

    tensors = {
        **_under(MODEL, episode.host.state_tensors()),
        **_under(MOMENTS, episode.optimizers.tensors()),
    }
    state: dict[str, Any] = {"episode": episode.to_state(), "progress": dict(progress)}
    if episode.within_epoch or episode.governor.suspicious:  # else the state is itself the good one
        good = episode.good
        tensors |= _under(f"{GOOD}{MODEL}", good.tensors) | _under(f"{GOOD}{MOMENTS}", good.moments)
        state["good_seeds"] = dict(good.seeds)
    save_file({name: each.contiguous() for name, each in tensors.items()}, folder / TENSORS)
    (folder / EPISODE).write_text(json.dumps(state, allow_nan=False))


def holds_episode(folder: Path) -> bool:
    """Whether the checkpoint is of the trial's own episode; a policy's training has others."""
    return (folder / EPISODE).is_file()


def read_episode(folder: Path, episode: Episode) -> dict[str, Any]:
    """Puts an episode where it was saved; gives the trial's own JSON."""
    from safetensors.torch import load_file

    state = json.loads((folder / EPISODE).read_text())
    tensors = load_file(folder / TENSORS)
    good = None
    if "good_seeds" in state:
        good = GoodState(
            tensors=_below(f"{GOOD}{MODEL}", tensors),
            moments=_below(f"{GOOD}{MOMENTS}", tensors),
            seeds=state["good_seeds"],
        )
    episode.restore(state["episode"], _below(MODEL, tensors), _below(MOMENTS, tensors), good)
    progress: dict[str, Any] = state["progress"]
    return progress


def read_model(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters by name as numpy arrays, and the slots' lifecycle. Raises `InputError`."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        lifecycle = json.loads((folder / EPISODE).read_text())["episode"]["lifecycle"]
        tensors = load_file(folder / TENSORS)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise InputError(
            f"the checkpoint {folder} cannot be read ({type(error).__name__}: {error}); run the "
            "trial again"
        ) from error
    return _below(MODEL, tensors), lifecycle


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def _below(prefix: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
