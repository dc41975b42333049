"""Trains an embedded model: `python -m workloads.models.train_embedded OUT [--model qwen2]`.

Writes config, weights, tokenizer and `training.json` (recipe, loss curve, held-out scores, hash
of the weights) to OUT. The text comes from the grammar's pretraining stream, nothing is fetched.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from workloads.datasets import grammar
from workloads.models.held_out import held_out_scores
from workloads.models.held_out_text import held_out_text
from workloads.models.pretraining_data import IGNORED, Batch, PretrainingData
from workloads.models.word_tokenizer import MAX_TOKENS, build_tokenizer, vocabulary

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

RECORD: Final = "training.json"
WEIGHTS: Final = "model.safetensors"

Architecture = Literal["llama", "qwen2", "mamba", "rwkv"]


@dataclass(frozen=True)
class Recipe:
    """All that decides the weights, given the grammar, torch and the CPU family."""

    seed: int = 0
    steps: int = 2400
    stories_per_step: int = 16
    story_every: int = 6
    learning_rate: float = 3e-3
    warmup_steps: int = 200
    weight_decay: float = 0.01
    text_weight: float = 0.3
    hidden_size: int = 64
    intermediate_size: int = 128
    layers: int = 8
    heads: int = 4
    threads: int = 2
    grammar_version: int = grammar.VERSION
    architecture: Architecture = "llama"
    kv_heads: int | None = None
    """Heads of keys and values, which as many query heads share; None: as many as there are."""
    state_size: int = 8
    """Numbers in the state of each of Mamba's channels."""

    @property
    def reads_only(self) -> bool:
        """Whether it is trained on running stories alone, and not on questions."""
        return self.story_every == 1


RECIPES: Final = {
    "llama": Recipe(),
    "qwen2": Recipe(architecture="qwen2", steps=1500, layers=5, kv_heads=2, threads=1),
    "mamba": Recipe(
        architecture="mamba",
        steps=200,
        warmup_steps=20,
        story_every=1,
        text_weight=1.0,
        layers=4,
        threads=1,
    ),
    "rwkv": Recipe(
        architecture="rwkv",
        steps=200,
        warmup_steps=20,
        story_every=1,
        text_weight=1.0,
        layers=4,
        threads=1,
    ),
}
"""Embedded model -> how it was trained."""


def make_tokenizer(seed: int, stories: int = 5000) -> PreTrainedTokenizerFast:
    """The tokenizer for the words of the first `stories` pretraining stories."""
    texts = []
    for index in range(stories):
        story = grammar.story(seed, grammar.PRETRAINING, index)
        texts.append(story.text)
        texts += [question.text for scene in story.scenes for question in scene.questions]
    return build_tokenizer(vocabulary(texts))


def make_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """An untrained model of the recipe's shape; its weights depend on the recipe's seed alone."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from workloads.models.recurrences import use_here

    config = AutoConfig.for_model(
        recipe.architecture,
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        num_hidden_layers=recipe.layers,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **_shape(recipe),
    )
    use_here(recipe.architecture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return model


def _shape(recipe: Recipe) -> dict[str, Any]:
    """What a configuration of the recipe's architecture has of its own."""
    if recipe.architecture == "mamba":
        return {"state_size": recipe.state_size, "initializer_range": 0.05}
    if recipe.architecture == "rwkv":
        return {
            "intermediate_size": recipe.intermediate_size,
            "context_length": MAX_TOKENS,
            "rescale_every": 0,  # otherwise it divides its own weights when it is read
        }
    return {
        "intermediate_size": recipe.intermediate_size,
        "num_attention_heads": recipe.heads,
        "num_key_value_heads": recipe.kv_heads or recipe.heads,
        "max_position_embeddings": MAX_TOKENS,
        "tie_word_embeddings": True,
        "initializer_range": 0.05,
    }


def losses(recipe: Recipe, model: Any, tokenizer: PreTrainedTokenizerFast) -> Iterator[float]:
    """Trains the model in place; yields the loss (nats per token, weighted) of each step."""
    import torch

    torch.set_num_threads(recipe.threads)
    data = PretrainingData(tokenizer, recipe.seed)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        recipe.learning_rate,
        (0.9, 0.98),
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        recipe.learning_rate,
        total_steps=recipe.steps,
        pct_start=recipe.warmup_steps / recipe.steps,
        cycle_momentum=False,
    )
    model.train()
    for step in range(recipe.steps):
        running_text = step % recipe.story_every == recipe.story_every - 1
        make = data.story_batch if running_text else data.question_batch
        loss = _loss(model, make(step, recipe.stories_per_step), recipe.text_weight)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        yield float(loss.detach())
    model.eval()


def _loss(model: Any, batch: Batch, text_weight: float) -> torch.Tensor:
    """Mean cross-entropy of the answers' tokens plus `text_weight` times that of all others."""
    from torch.nn.functional import cross_entropy

    logits = model(input_ids=batch.ids, use_cache=False).logits[:, :-1].flatten(0, 1)
    labels, answers = batch.labels[:, 1:].flatten(), batch.answers[:, 1:].flatten()
    each = cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")
    text = ~answers & (labels != IGNORED)
    loss = text_weight * each[text].mean()
    return loss + each[answers].mean() if bool(answers.any()) else loss


def save(
    folder: Path, recipe: Recipe, curve: list[float], training_s: float, model: Any, tokenizer: Any
) -> None:
    """Writes model, tokenizer and record to the folder; scores are taken on one thread."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    (folder / WEIGHTS).chmod(0o644)
    tokenizer.save_pretrained(folder)
    torch.set_num_threads(1)
    record = {
        "command": f"python -m workloads.models.train_embedded OUT --model {recipe.architecture}",
        "recipe": asdict(recipe),
        "first_losses": [round(loss, 6) for loss in curve[:50]],
        "loss_curve": {
            str(step): round(sum(curve[step : step + 50]) / len(curve[step : step + 50]), 4)
            for step in range(0, len(curve), 50)
        },
        "weights_sha256": hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "training_s": round(training_s),
        "held_out": asdict(
            held_out_text(model, tokenizer)
            if recipe.reads_only
            else held_out_scores(model, tokenizer)
        ),
        "torch": torch.__version__,
    }
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--model", choices=sorted(RECIPES), default="llama")
    parser.add_argument("--steps", type=int, help="fewer or more than the model was trained for")
    args = parser.parse_args()
    recipe = RECIPES[args.model]
    if args.steps is not None:
        warmup = min(recipe.warmup_steps, args.steps // 10)
        recipe = replace(recipe, steps=args.steps, warmup_steps=warmup)
    tokenizer = make_tokenizer(recipe.seed)
    model = make_model(recipe, tokenizer)
    curve: list[float] = []
    started = time.monotonic()
    for loss in losses(recipe, model, tokenizer):
        curve.append(loss)
        if len(curve) % 50 == 0:
            elapsed = time.monotonic() - started
            print(f"{len(curve)} {sum(curve[-50:]) / 50:.4f} {elapsed:.0f} s", flush=True)
    save(args.out, recipe, curve, time.monotonic() - started, model, tokenizer)


if __name__ == "__main__":
    main()
