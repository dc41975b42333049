"""A language model is fine-tuned with LoRA through transformers and PEFT, and watched on its way.

    python -m workloads.structural_health.demos.demo_hf_lora_telemetry --model embedded:qwen2

`--model` is an embedded model, a folder, or a hub id such as Qwen/Qwen2.5-0.5B. One pass over 50
sentences. The window holds another sentence at each step: a high ratio says that sentences are
alike to the model at their last token, not that training has collapsed.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import torch

from telemetry.probes import LayerNotFoundError, MonitorSuite
from workloads.errors import InputError
from workloads.models import load_tokenizer
from workloads.structural_health.lora.adapting import load_adapted
from workloads.structural_health.lora.batches import Sentences
from workloads.structural_health.lora_config import LoraHealthConfig


@dataclass(frozen=True)
class Row:
    """A step. Ratio and cosine are None while the window fills."""

    step: int
    loss: float
    svd_ratio: float | None
    implied_cosine: float | None
    status: str


def watched_run(model_name: str, seed: int) -> Iterator[Row]:
    """Fine-tunes with the settings of `LoraHealthConfig`, and gives every step."""
    config = LoraHealthConfig(model=model_name)
    torch.manual_seed(seed)
    cpu = torch.device("cpu")
    sentences = Sentences(load_tokenizer(model_name), config.max_length, config.pads, cpu)
    model, trained = load_adapted(config, seed, cpu)
    optimizer = torch.optim.AdamW(trained.values(), lr=config.learning_rate)
    model.train()
    with MonitorSuite.attach(model, ("svd_ratio", "implied_cosine"), window=config.window) as suite:
        for step, batch in enumerate(sentences.batches(seed, 0, config.batch_size), start=1):
            loss = model(input_ids=batch.ids, attention_mask=batch.mask, labels=batch.labels).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            health = suite.observe(step)
            cosine = suite.values()["health/implied_cosine"]
            yield Row(step, float(loss.detach()), health.svd_ratio, cosine, health.state.upper())


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the run, a line per step; for a model that cannot be used a word, and status 2."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="embedded:qwen2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object per step")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # other numbers of threads add in another order
    try:
        _print_run(options.model, options.seed, options.json)
    except (InputError, LayerNotFoundError) as error:
        parser.exit(2, f"{error}\n")


def _print_run(model: str, seed: int, as_json: bool) -> None:
    for row in watched_run(model, seed):
        if row.step == 1 and not as_json:
            print(f"{'Step':>4}  {'Loss':>8}  {'SVD Ratio':>9}  {'Cosine':>6}  Infra Status")
        if as_json:
            finite = row.loss if math.isfinite(row.loss) else None
            print(json.dumps({**asdict(row), "loss": finite}), flush=True)
            continue
        ratio, cosine = _shown(row.svd_ratio, row.status), _shown(row.implied_cosine, row.status)
        print(f"{row.step:>4}  {row.loss:>8.4f}  {ratio:>9}  {cosine:>6}  {row.status}", flush=True)


def _shown(value: float | None, status: str) -> str:
    if value is None or not math.isfinite(value):
        return "WAIT" if status == "BUFFERING" else "n/a"
    return f"{value:.3f}"


if __name__ == "__main__":
    main()
