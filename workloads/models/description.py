"""What a model is made of, without torch: for checks before anything is run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from workloads.errors import InputError
from workloads.models.reference import ModelRef, resolve_model, weight_files
from workloads.models.safetensors_header import TensorInfo, read_header

# Names that configurations of different families give to the same thing.
_LAYERS: Final = ("num_hidden_layers", "n_layer", "num_layers")
_HIDDEN: Final = ("hidden_size", "n_embd", "d_model")


@dataclass(frozen=True)
class ModelDescription:
    """A model's shape, read from its configuration and from the headers of its weights."""

    ref: ModelRef
    architecture: str
    model_type: str
    layers: int
    hidden_size: int
    vocab_size: int
    parameters: int
    tensors: Mapping[str, TensorInfo]
    config: Mapping[str, Any] = field(repr=False)

    @property
    def modules(self) -> tuple[str, ...]:
        """Full names of the modules that own stored tensors (`model.layers.0.mlp.up_proj`)."""
        return tuple(sorted({name.rpartition(".")[0] for name in self.tensors} - {""}))

    @property
    def module_suffixes(self) -> tuple[str, ...]:
        """The modules' last names (`q_proj`, ...), as LoRA targets name them."""
        return tuple(sorted({name.rpartition(".")[2] for name in self.modules}))


def describe(ref: ModelRef | str) -> ModelDescription:
    """Reads configuration and weight headers; of a hub model, asks the hub for those that were not
    downloaded before.

    InputError when the configuration lacks what is described, or a file is broken.
    """
    model = resolve_model(ref) if isinstance(ref, str) else ref
    folder = model.path or _downloaded(model)
    if folder is not None:
        config = read_model_config(folder / "config.json")
        tensors: dict[str, TensorInfo] = {}
        for file in weight_files(folder):
            tensors |= read_header(file)
    else:
        config, tensors = _from_hub(model)
    text_config = config.get("text_config", config)
    architectures = config.get("architectures") or ["unknown"]
    return ModelDescription(
        ref=model,
        architecture=str(architectures[0]),
        model_type=str(config.get("model_type", "unknown")),
        layers=_number(model, text_config, _LAYERS),
        hidden_size=_number(model, text_config, _HIDDEN),
        vocab_size=_number(model, text_config, ("vocab_size",)),
        parameters=sum(info.parameters for info in tensors.values()),
        tensors=tensors,
        config=config,
    )


def _number(model: ModelRef, config: Mapping[str, Any], names: tuple[str, ...]) -> int:
    for name in names:
        if isinstance(config.get(name), int):
            return int(config[name])
    raise InputError(
        f"the config.json of {model.given} has none of {', '.join(names)} as a whole number; "
        "give a text model's own config.json"
    )


def read_model_config(path: Path) -> dict[str, Any]:
    """A model's config.json. Raises `InputError` for one that cannot be read."""
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not readable JSON ({error}); copy it again") from error
    if not isinstance(loaded, dict):
        raise InputError(f"{path} holds no JSON object; give the model's own config.json")
    return loaded


def _downloaded(model: ModelRef) -> Path | None:
    """The folder in the hub's own cache, if it holds the configuration and all the weights."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(str(model.hub_id), "config.json", revision=model.revision)
    if not isinstance(found, str):
        return None
    folder = Path(found).parent
    try:
        weight_files(folder)
    except InputError:
        return None
    return folder


def _from_hub(model: ModelRef) -> tuple[dict[str, Any], dict[str, TensorInfo]]:
    from huggingface_hub import get_safetensors_metadata, hf_hub_download

    try:
        config = read_model_config(
            Path(hf_hub_download(str(model.hub_id), "config.json", revision=model.revision))
        )
        metadata = get_safetensors_metadata(str(model.hub_id), revision=model.revision)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"hub model {model.given} cannot be described ({type(error).__name__}); it needs "
            "config.json and safetensors weights; go online or give a local folder"
        ) from error
    return config, {
        name: TensorInfo(info.dtype, tuple(info.shape))
        for file in metadata.files_metadata.values()
        for name, info in file.tensors.items()
    }
