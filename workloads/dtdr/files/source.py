"""The model that is to be encoded, or compared with: its tensors one by one from its files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from workloads.dtdr.files.checksums import tensor_checksum
from workloads.dtdr.files.index import INDEX, is_encoded
from workloads.dtdr.files.safetensors_files import Place, places, read_tensor, stored_bytes
from workloads.errors import InputError
from workloads.models import ModelRef, resolve_model
from workloads.models.description import read_model_config
from workloads.models.reference import weight_files

if TYPE_CHECKING:
    import torch

DECODING: Final = "decoding.json"
_WEIGHTS: Final = "model.safetensors"
_COPIED: Final = (".json", ".txt", ".model", ".jinja")
_LEFT: Final = (INDEX, DECODING, "training.json")
_HUB_FILES: Final = ["*.safetensors", *(f"*{suffix}" for suffix in _COPIED)]


@dataclass(frozen=True)
class SourceModel:
    """A model's files.

    Attributes:
        tensors: where each lies, in order of the files and of the bytes in them.
        files: configuration and tokenizer: name -> path.
        config: what `config.json` says.
    """

    ref: ModelRef
    folder: Path
    tensors: Mapping[str, Place]
    files: Mapping[str, Path]
    config: Mapping[str, Any]

    @classmethod
    def of(cls, model: ModelRef | Path) -> SourceModel:
        """Opens a folder, the embedded model, or one of the hub (from its cache, if it is there).

        Raises `InputError`, naming the file or the tensor.
        """
        ref = resolve_model(str(model)) if isinstance(model, Path) else model
        if ref.path is not None and is_encoded(ref.path):
            raise InputError(f"{ref.path} is encoded already; orrery decode makes a model of it")
        folder = ref.path if ref.path is not None else _from_hub(ref)
        tensors: dict[str, Place] = {}
        for path in _weights(folder):
            for name, place in places(path).items():
                if name in tensors:
                    raise InputError(
                        f"tensor {name} is in both {tensors[name].file} and {path.name} of "
                        f"{folder}; leave one of the files"
                    )
                tensors[name] = place
        return cls(ref, folder, tensors, _files(folder), read_model_config(folder / "config.json"))

    @cached_property
    def tied(self) -> Mapping[str, str]:
        """Names of matrices that another one's bytes stand for as well -> the other's name. Reads
        those that may be alike."""
        return _tied(self.folder, self.tensors, self.config)

    @property
    def stored(self) -> dict[str, Place]:
        """The tensors but for tied ones."""
        return {name: place for name, place in self.tensors.items() if name not in self.tied}

    @property
    def bytes(self) -> int:
        """Size of the tensors that are stored."""
        return sum(stored_bytes(place) for place in self.stored.values())

    def tensor(self, name: str) -> torch.Tensor:
        """A tensor in its own number format. Raises `InputError`."""
        return read_tensor(self.folder, self.tensors[name])


def _weights(folder: Path) -> list[Path]:
    """The files that `from_pretrained` would read, where a folder has the weights twice."""
    found = weight_files(folder)
    index = folder / f"{_WEIGHTS}.index.json"
    if (folder / _WEIGHTS) in found:
        return [folder / _WEIGHTS]
    if index.is_file():
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        outside = [name for name in named if Path(name).name != name]
        if outside:
            raise InputError(f"{index} names {outside[0]!r}; valid: files beside it")
        return [folder / name for name in sorted(set(named))]
    return found


def _tied(folder: Path, tensors: Mapping[str, Place], config: Mapping[str, Any]) -> dict[str, str]:
    """The output head, where it is stored beside the embedding that it is tied to."""
    if not config.get("tie_word_embeddings", True):
        return {}
    rows = config.get("text_config", config).get("vocab_size")
    alike: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for name, place in tensors.items():
        if len(place.shape) > 1 and place.shape[0] == rows:
            alike.setdefault((place.dtype, place.shape), []).append(name)
    tied: dict[str, str] = {}
    for names in alike.values():
        owners: dict[str, str] = {}
        for name in sorted(names, key=lambda name: "head" in name) if len(names) > 1 else ():
            content = tensor_checksum({"": read_tensor(folder, tensors[name])})
            owner = owners.setdefault(content, name)
            if owner != name:
                tied[name] = owner
    return tied


def _files(folder: Path) -> dict[str, Path]:
    return {
        path.name: path
        for path in sorted(folder.iterdir())
        if path.is_file()
        and path.suffix in _COPIED
        and path.name not in _LEFT
        and not path.name.endswith(".index.json")
    }


def _from_hub(ref: ModelRef) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            str(ref.hub_id),
            revision=ref.revision,
            allow_patterns=_HUB_FILES,
            ignore_patterns=["*/*", "consolidated*"],
        )
    except Exception as error:
        raise InputError(
            f"hub model {ref.given} cannot be read ({type(error).__name__}); it needs config.json "
            "and safetensors weights; go online, or give a local folder"
        ) from error
    weight_files(Path(folder))
    return Path(folder)
