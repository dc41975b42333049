"""Whether a configuration can give a meaningful trial. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from pathlib import Path

from workloads.datasets import check_task
from workloads.datasets.content_hash import hash_file_cached
from workloads.datasets.sources import resolve_data
from workloads.dtdr.config import DtdrConfig
from workloads.dtdr.files.index import is_encoded, read_index
from workloads.errors import InputError
from workloads.models import (
    FileTokenizer,
    ModelDescription,
    check_tokenizer,
    describe,
    input_fingerprint,
)
from workloads.models.byte_tokens import ByteTokenizer, reads_bytes
from workloads.monitors import check_layer, check_window

BLOCKS = 128
"""How many blocks of rows the largest tensor has at least, where nothing else is asked for."""


def block_rows_of(model: ModelDescription) -> int:
    """Rows in a block such that the tensor with the most elements has at least `BLOCKS` of them;
    1 where it has fewer rows than that."""
    shapes = [info.shape for info in model.tensors.values()]
    if not any(len(shape) > 1 for shape in shapes):
        raise InputError(f"model {model.ref.given} has no matrix to encode; give a language model")
    return block_rows_for(shapes)


def block_rows_for(shapes: Iterable[tuple[int, ...]]) -> int:
    """As `block_rows_of`, from the tensors' shapes; 1 where there is no matrix."""
    sizes = [(prod(shape), prod(shape[:-1])) for shape in shapes if len(shape) > 1]
    return max(1, max(sizes, default=(0, 0))[1] // BLOCKS)


def anchor_fingerprint(anchor: str, cache: Path | None) -> str:
    """Content hash of a `.pkl` file, or that of a model. Raises `InputError`."""
    path = Path(anchor).expanduser()
    if not path.is_file():
        return input_fingerprint("model", anchor, cache)
    try:
        return hash_file_cached(path, cache)
    except OSError as error:
        raise InputError(f"anchor {anchor} cannot be read: {error}") from error


def check_config(config: DtdrConfig) -> None:
    """Raises `InputError`, naming what does not fit and what to do."""
    model = describe(config.model)
    if model.ref.path is not None and is_encoded(model.ref.path):
        raise InputError(
            f"model {config.model} is encoded already; a study encodes it itself: give the "
            "original, or what orrery decode makes of it"
        )
    if not model.architecture.endswith(("ForCausalLM", "LMHeadModel")):
        raise InputError(
            f"model {config.model} is a {model.architecture}; valid: a causal language model "
            "(…ForCausalLM), whose next token can be asked for"
        )
    if model.config.get("rescale_every"):
        raise InputError(
            f"model {config.model} changes its own weights as it reads (rescale_every); set that "
            "to 0 in its config.json, which changes nothing in what it predicts"
        )
    if not reads_bytes(model.ref):
        check_tokenizer(model.ref)
    check_task("continuation", config.data)
    check_layer(config.monitor_layer, model.modules)
    _check_lengths(config, model)
    _check_texts(config, model)
    _check_anchor(config, model)


def _check_lengths(config: DtdrConfig, model: ModelDescription) -> None:
    if config.samples > config.prompts:
        raise InputError(
            f"samples is {config.samples}: only the {config.prompts} prompts can be continued"
        )
    check_window(config, config.prompts, "prompts to read")
    limit = model.config.get("max_position_embeddings")
    longest = config.prompt_tokens + max(
        config.held_out_tokens, config.sample_tokens if config.samples else 0
    )
    if isinstance(limit, int) and longest > limit:
        raise InputError(
            f"prompt_tokens with held_out_tokens or sample_tokens make {longest} tokens, and "
            f"{config.model} reads {limit}; lower them"
        )


def _check_texts(config: DtdrConfig, model: ModelDescription) -> None:
    """Whether there are prompts enough, where this can be known without loading anything large."""
    from workloads.dtdr.texts import load_prompts

    kind = resolve_data(config.data).kind
    if model.ref.path is None or kind == "hub":
        return
    if kind == "embedded":  # generated texts have no end: whether they are long enough is all
        config = config.model_copy(update={"prompts": 2})
    tokenizer = model.ref.path / "tokenizer.json"
    if reads_bytes(model.ref):
        load_prompts(config, ByteTokenizer())
    elif tokenizer.is_file():
        load_prompts(config, FileTokenizer(tokenizer.read_text(encoding="utf-8")))


def _check_anchor(config: DtdrConfig, model: ModelDescription) -> None:
    """Whether an anchor has every matrix of the model, in its shape."""
    if config.anchor is None:
        return
    folder = Path(config.anchor).expanduser()
    if folder.is_file():
        if folder.suffix != ".pkl":
            raise InputError(f"anchor {folder} is a file; valid: a .pkl file, or a model's folder")
        _check_pickled_anchor(folder, model)
        return
    shapes = _shapes_of(config.anchor)
    for name, info in model.tensors.items():
        if len(info.shape) < 2:
            continue
        if name not in shapes:
            raise InputError(f"anchor {config.anchor} has no tensor {name}; valid: a model alike")
        if shapes[name] != info.shape:
            raise InputError(
                f"anchor {config.anchor}: {name} is {list(shapes[name])} there and "
                f"{list(info.shape)} in {config.model}; valid: a model of the same shape"
            )


def _check_pickled_anchor(path: Path, model: ModelDescription) -> None:
    """The same of a .pkl file, whose numbers are not read."""
    from workloads.dtdr.pickles import check_shape, read_pickle

    pickled = read_pickle(path)
    for name, info in model.tensors.items():
        if name in pickled:
            check_shape(pickled[name], info.shape)
        elif len(info.shape) > 1:
            raise InputError(f"anchor {path} has no tensor {name}; valid: a model alike")


def _shapes_of(anchor: str) -> dict[str, tuple[int, ...]]:
    folder = Path(anchor).expanduser()
    if is_encoded(folder):
        index = read_index(folder)
        shapes = {name: entry.shape for name, entry in index.tensors.items()}
        return shapes | {name: shapes[target] for name, target in index.tied.items()}
    return {name: info.shape for name, info in describe(anchor).tensors.items()}
