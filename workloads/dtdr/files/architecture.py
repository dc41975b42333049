"""Whether a model's weights are those that its configuration describes. Reads no numbers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from workloads.errors import InputError

if TYPE_CHECKING:
    from workloads.dtdr.files.source import SourceModel


def refuse_unfit_weights(source: SourceModel) -> None:
    """Raises `InputError`, naming a tensor, if the model that `config.json` describes has one that
    the weights lack or have in another shape.

    transformers says so itself: it loads the model without memory for numbers. What it does not
    know cannot be held against anything and passes: another architecture, or one that is not named,
    or weights that are quantised by someone else.
    """
    kind = _known(source.config)
    if kind is None:
        return
    what = source.ref.given
    try:
        with _quiet():
            _, told = kind.from_pretrained(
                source.folder,
                device_map="meta",
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                use_safetensors=True,
                local_files_only=True,
            )
    except Exception as error:  # configurations are refused by errors of any kind
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"the config.json of {what} makes no {kind.__name__} ({lines[0][:200]}); give the "
            "model's own config.json"
        ) from error
    if told["mismatched_keys"]:
        name, stored, expected = min(told["mismatched_keys"], key=lambda one: str(one[0]))
        raise InputError(
            f"tensor {name} of {what} is {list(stored)}, and its config.json says "
            f"{list(expected)}{_more(told['mismatched_keys'])}; copy weights and config.json of "
            "one model"
        )
    if told["missing_keys"]:
        raise InputError(
            f"{what} has no tensor {min(told['missing_keys'])}, which its config.json asks for"
            f"{_more(told['missing_keys'])}; copy all of its weights"
        )


def _known(config: Any) -> Any:
    """The class of transformers that the configuration names, or None."""
    names = config.get("architectures")
    if not isinstance(names, list) or not names or config.get("quantization_config"):
        return None
    import transformers  # seconds

    found = getattr(transformers, str(names[0]), None)
    return found if hasattr(found, "from_pretrained") else None


def _more(found: Any) -> str:
    return f" (and {len(found) - 1} more like it)" if len(found) > 1 else ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Without a progress bar, and without the table of what did not fit."""
    from transformers.utils import logging as said

    shown, level = said.is_progress_bar_enabled(), said.get_verbosity()
    said.disable_progress_bar()
    said.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        said.set_verbosity(level)
        if shown:
            said.enable_progress_bar()
