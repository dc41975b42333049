"""An encoded model on its way to workers: arrays that they share, and files by value."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workloads.dtdr.anchors import Anchor
from workloads.dtdr.codec.recipe import Recipe
from workloads.dtdr.codec.tensors import EncodedTensor
from workloads.dtdr.config import DtdrConfig
from workloads.dtdr.files.encoding import EncodedModel
from workloads.dtdr.skeleton import blank_model
from workloads.dtdr.subject import DtdrSubject
from workloads.dtdr.texts import Prompts, load_prompts
from workloads.dtdr.trial import DTYPES, encoding_in
from workloads.models import ModelRef
from workloads.models.byte_tokens import tokenizer_of


def packed_subject(config: DtdrConfig, checkpoint: Path | None) -> dict[str, Any]:
    """The encoding, the anchor where one is named, and the prompts. Raises `InputError`, naming
    the tensor, for an anchor that does not fit."""
    encoded = encoding_in(checkpoint)
    files = dict(encoded.config_files)
    tensors = dict(encoded)
    return {
        "tensors": _packed(tensors),
        "tied": dict(encoded.tied),
        "files": files,
        "anchor": None if config.anchor is None else _packed_anchor(config.anchor, tensors),
        "prompts": load_prompts(config, _tokenizer_of(files)).packed(),
    }


def opened_subject(config: DtdrConfig, packed: Mapping[str, Any]) -> DtdrSubject:
    """The subject from what `packed_subject` gave, on the GPU where there is one. On the CPU its
    codes lie where `packed` has them, and are not written to."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    files = packed["files"]
    encoded = EncodedModel.of(_unpacked(packed["tensors"], device), packed["tied"], files)
    if packed["anchor"] is None:
        anchor = Anchor.damaged(encoded, config.anchor_rate, config.anchor_seed)
    else:
        anchor = Anchor(config.anchor or "", _unpacked(packed["anchor"], device).__getitem__)
    settings = json.loads(files["config.json"])
    model = blank_model(settings, getattr(torch, DTYPES[config.precision]), device)
    tokenizer = _tokenizer_of(files) if config.samples else None
    return DtdrSubject(
        config, model, encoded, anchor, Prompts.unpacked(packed["prompts"]), tokenizer,
        end_tokens(settings, files),
    )  # fmt: skip


def end_tokens(settings: Mapping[str, Any], files: Mapping[str, bytes]) -> frozenset[int]:
    """Ids that end a text, as `generation_config.json` has it, else `config.json` (`settings`)."""
    generation = json.loads(files.get("generation_config.json", b"{}"))
    given = generation.get("eos_token_id", settings.get("eos_token_id"))
    ids = given if isinstance(given, list) else [given]
    return frozenset(int(one) for one in ids if one is not None)


def _packed_anchor(given: str, encoded: Mapping[str, EncodedTensor]) -> dict[str, Any]:
    anchor = Anchor.open(given, encoded)
    anchor.check(encoded)
    return _packed({name: anchor.load(name) for name in encoded if not encoded[name].plain})


def _tokenizer_of(files: Mapping[str, bytes]) -> Any:
    """The tokenizer among a model's files, or bytes where its configuration says so."""
    with tempfile.TemporaryDirectory(prefix="orrery-tokenizer-") as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        # As a model's reference, which is not looked for weights.
        return tokenizer_of(ModelRef("the model", "local", "", path=Path(folder)))


def _packed(tensors: Mapping[str, EncodedTensor]) -> dict[str, Any]:
    return {name: _packed_tensor(tensor) for name, tensor in tensors.items()}


def _unpacked(packed: Mapping[str, Any], device: str) -> dict[str, EncodedTensor]:
    return {name: _unpacked_tensor(name, one, device) for name, one in packed.items()}


def _packed_tensor(tensor: EncodedTensor) -> dict[str, Any]:
    recipe = tensor.recipe
    return {
        "shape": tuple(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "recipe": None
        if recipe is None
        else (recipe.transform, recipe.quantiser, recipe.block_rows),
        "parts": {name: _array(part) for name, part in tensor.parts.items()},
        "dtypes": {
            name: str(part.dtype).removeprefix("torch.") for name, part in tensor.parts.items()
        },
    }


def _unpacked_tensor(name: str, packed: Mapping[str, Any], device: str) -> EncodedTensor:
    recipe, dtypes = packed["recipe"], packed["dtypes"]
    parts = {
        part: _tensor(array, dtypes[part]).to(device) for part, array in packed["parts"].items()
    }
    return EncodedTensor(
        name,
        tuple(packed["shape"]),
        getattr(torch, packed["dtype"]),
        None if recipe is None else Recipe(*recipe),
        parts,
    )


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    plain = tensor.detach().cpu().contiguous()
    if plain.dtype == torch.bfloat16:  # numpy has none
        plain = plain.view(torch.uint16)
    array: np.ndarray[Any, Any] = plain.numpy()
    return array


def _tensor(array: np.ndarray[Any, Any], dtype: str) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable.*")
        tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if dtype == "bfloat16" else tensor
