"""A language model with oscillators writes, and their order parameter is written down beside it.

    python -m workloads.phase_coupling.demos.measure embedded:mamba --samples 5 --max-tokens 100

The model is an embedded one, a folder or a hub id. With `--mode blind` the oscillators look on and
the text is the model's own; with `--mode measured` they act on it. The same seed gives both the
same noise, so that texts differ by what the oscillators do. `--core` takes those of a training: a
folder `cores/step-…` among a trial's artifacts; without it they are drawn and untrained.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from pydantic import ValidationError

from workloads.errors import DivergedError, InputError
from workloads.models import load_model, resolve_model
from workloads.models.byte_tokens import tokenizer_of
from workloads.phase_coupling.checking import check_config, resolved
from workloads.phase_coupling.config import PhaseCouplingConfig
from workloads.phase_coupling.joining import draw_core, joined, measured_alone
from workloads.phase_coupling.measuring.phases import Beginnings
from workloads.phase_coupling.measuring.sampling import sample_rows, sample_texts
from workloads.phase_coupling.measuring.texts import TestTexts, load_test_texts
from workloads.phase_coupling.training.keeping import read_core

_OPTIONS: Final = {"sample_tokens": "max_tokens"}
"""Fields of the configuration that options name otherwise."""
MODES = {"blind": "observe", "measured": "modulate"}


def measured_rows(
    config: PhaseCouplingConfig, mode: str, prompts: Sequence[str], seed: int, core: Path | None
) -> Iterator[dict[str, Any]]:
    """A row for each sample of each prompt; without prompts, of the first test text's beginning.

    Raises `InputError` for a model or prompt that cannot be used, `ValueError` for the copy of
    another core.
    """
    config = resolved(config)
    check_config(config)
    ref = resolve_model(config.model)
    tokenizer = tokenizer_of(ref)
    model: Any = load_model(ref).requires_grad_(False)
    oscillators: Any = draw_core(config, model, seed)
    if core is not None:
        oscillators.load_state(read_core(core))
    asked = [_one_prompt(tokenizer, text) for text in prompts]
    with joined(config, model, oscillators) as coupling, measured_alone(oscillators):
        for texts in asked or [load_test_texts(config, tokenizer)]:
            samples = sample_texts(model, coupling, texts, Beginnings(config, seed))
            settings = {"mode": mode, "temperature": config.temperature}
            yield from sample_rows(samples, tokenizer, texts, settings)


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the rows, one JSON object a line; for what cannot be used a word, and status 2."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--mode", choices=MODES, default="measured")
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--max-tokens", type=int, default=100)
    parser.add_argument("--output", type=Path, default=Path("measurements.jsonl"))
    parser.add_argument("--prompt", action="append", default=[], help="may be repeated")
    parser.add_argument("--layer", default="1/2", help="a block, or a share of the depth")
    parser.add_argument("--target-r", type=float, help="the order parameter to hold")
    parser.add_argument("--core", type=Path, help="a copy of trained oscillators")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # other numbers of threads add in another order
    try:
        config = PhaseCouplingConfig.model_validate(
            {
                "model": options.model,
                "mode": MODES[options.mode],
                "samples": options.samples,
                "temperature": options.temperature,
                "sample_tokens": options.max_tokens,
                "layer": options.layer,
                "target_r": options.target_r,
                "sample_prompts": 1,
                "texts": 2,
            }
        )
        rows = measured_rows(config, options.mode, options.prompt, options.seed, options.core)
        _write(rows, options.output)
    except ValidationError as error:
        parser.exit(2, "; ".join(map(_fault, error.errors())) + "\n")
    except (InputError, DivergedError, ValueError, OSError) as error:
        parser.exit(2, f"{error}\n")


def _fault(error: Any) -> str:
    """What is wrong with an option: pydantic names the field that it became."""
    field = str(error["loc"][0])
    option = f"--{_OPTIONS.get(field, field).replace('_', '-')}"
    should = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{option} is {error['input']}, but should be {should}"


def _write(rows: Iterator[dict[str, Any]], to: Path) -> None:
    """Makes the file once there is a row: what cannot be used leaves none, or the one before."""
    rows = chain([next(rows)], rows)
    with to.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            spread = f"{row['R_mean']:.3f} ({row['R_min']:.3f} to {row['R_max']:.3f})"
            print(f"{row['sample']}  R {spread}  {row['text'][:60]!r}")
    print(f"written to {to}")


def _one_prompt(tokenizer: Any, text: str) -> TestTexts:
    if not text.strip():
        raise InputError("the prompt is empty; give some text")
    ids = tokenizer(text)["input_ids"]
    rows = np.array([ids], dtype=np.int64)
    return TestTexts(rows, (text,), (text,), rows, (text,))


if __name__ == "__main__":
    main()
