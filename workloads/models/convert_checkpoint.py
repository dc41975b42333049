"""Pickled weights to safetensors: `python -m workloads.models.convert_checkpoint FOLDER OUT`.

Reads `*.bin`, `*.pt`, `*.pth`, `*.pkl`, `*.ckpt` state dicts with `torch.load(weights_only=True)`,
which refuses pickles that would run code, and copies the folder's text files beside the result.
"""

from __future__ import annotations

import argparse
import json
import pickle
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from workloads.errors import InputError
from workloads.models.reference import PICKLED_SUFFIXES

if TYPE_CHECKING:
    import torch

_NO_WEIGHTS: Final = ("training_args.bin", "optimizer.pt", "scheduler.pt", "scaler.pt")


def convert(folder: Path, out: Path) -> Path:
    """Writes `out/model.safetensors` and the folder's text files; gives the weights' path.

    Tensors that share memory (tied weights) are stored once. InputError when there is nothing to
    convert or a pickle holds more than tensors.
    """
    from safetensors.torch import save_file

    pickles = _pickles(folder)
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty; give a new folder to write to")
    tensors: dict[str, torch.Tensor] = {}
    for path in pickles:
        tensors |= _state_dict(path)
    out.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_file() and path not in pickles and not path.name.endswith(".index.json"):
            shutil.copy2(path, out / path.name)
    weights = out / "model.safetensors"
    save_file(_without_shared(tensors, _tied(folder)), weights, metadata={"format": "pt"})
    return weights


def _pickles(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"no folder at {folder}; give the folder that holds pytorch_model.bin")
    found = sorted(f for f in folder.iterdir() if f.suffix in PICKLED_SUFFIXES)
    found = [f for f in found if f.name not in _NO_WEIGHTS]
    if not found:
        raise InputError(
            f"{folder} has no pickled weights; valid: files that end in "
            f"{', '.join(PICKLED_SUFFIXES)}"
        )
    return found


def _state_dict(path: Path) -> dict[str, torch.Tensor]:
    import torch

    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise InputError(
            f"{path} is not a pickle of plain tensors ({str(error).splitlines()[0][:120]}); save "
            "its state_dict alone and convert that"
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping):
        raise InputError(f"{path} holds a {type(loaded).__name__}, not a state dict")
    return {str(name): t for name, t in loaded.items() if isinstance(t, torch.Tensor)}


def _tied(folder: Path) -> bool:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(config.get("tie_word_embeddings", False))


def _without_shared(tensors: dict[str, torch.Tensor], tied: bool) -> dict[str, torch.Tensor]:
    """Own memory for each tensor, and no tied output head: loading ties it again."""
    kept: dict[str, torch.Tensor] = {}
    owner: dict[tuple[int, tuple[int, ...]], str] = {}
    for name, tensor in tensors.items():
        first = owner.setdefault((tensor.data_ptr(), tuple(tensor.shape)), name)
        if tied and first != name:
            continue
        kept[name] = tensor.detach().clone().contiguous()
    return kept


def main() -> int:
    """Command line; a person's mistake is one line on standard error and exit status 2."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    try:
        print(convert(args.folder, args.out))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
