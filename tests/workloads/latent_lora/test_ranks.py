"""Two ranks that share each batch: the loss, the gradients and the trial of one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from workloads.latent_lora.config import LatentLoraConfig, LoraSettings
from workloads.latent_lora.prompts import Split
from workloads.latent_lora.shares import share_of
from workloads.testing import in_ranks

K = 3


def split(prompts: list[int], answers: list[int]) -> Split:
    """A split whose prompts and answers have so many tokens."""
    return Split(
        name="train",
        examples=(),
        prompts=tuple((1,) * length for length in prompts),
        answers=tuple((2,) * length for length in answers),
        pad=0,
    )


@pytest.mark.parametrize("ranks", [2, 3, 8])
@pytest.mark.parametrize("answer_prompts", [None, 1, 3])
def test_weighted_means_over_ranks_are_the_mean_over_the_batch(
    ranks: int, answer_prompts: int | None
) -> None:
    lengths, answers = [5, 2, 9, 4, 7], [1, 0, 6, 2, 3]
    data, batch = split(lengths, answers), [4, 0, 3, 1, 2]
    parts = [
        share_of(data, batch, rank, ranks, answer_tokens=K, answer_prompts=answer_prompts)
        for rank in range(ranks)
    ]
    mine = [set(part.indices) for part in parts if part.tokens]
    assert sorted(i for one in mine for i in one) == sorted(batch)
    for weights in zip(*[(p.tokens, p.answers, p.answer_tokens) for p in parts], strict=True):
        assert sum(weights) == pytest.approx(ranks)
    tokens = (
        sum(
            part.tokens
            * sum(lengths[i] ** 2 for i in part.indices)
            / sum(lengths[i] for i in part.indices)
            for part in parts
        )
        / ranks
    )
    assert tokens == pytest.approx(sum(n**2 for n in lengths) / sum(lengths))
    assert all(part.indices and (part.answer_prompts or 1) >= 1 for part in parts)


def first_step(
    config: LatentLoraConfig, rank: int = 0, ranks: int = 1
) -> tuple[float, dict[str, list[float]]]:
    """Loss and gradients of the first 7 training prompts: an odd number, for two ranks."""
    import torch

    from workloads.latent_lora.inputs import load_inputs
    from workloads.latent_lora.pca import fit_pca, token_counts
    from workloads.latent_lora.prompts import pad_left
    from workloads.latent_lora.reader import Reader
    from workloads.training.acceleration import accelerated
    from workloads.training.process import deterministic_process

    with deterministic_process(1), accelerated("fp32") as accelerator:
        inputs = load_inputs(config, accelerator.device)
        table = inputs.model.get_input_embeddings().weight
        counts = token_counts(*pad_left(inputs.train.prompts, inputs.train.pad), len(table))
        reader = Reader(inputs.model, fit_pca(table, counts, config.d_z), config, 0)
        with torch.no_grad():  # LoRA starts at 0, where half of its gradients are 0 too
            for parameter in reader.lora.values():
                parameter.add_(0.02)
        model = accelerator.prepare(reader)
        indices, limit, part = list(range(7)), config.answer_loss_prompts, None
        if ranks > 1:
            part = share_of(
                inputs.train,
                indices,
                rank,
                ranks,
                answer_tokens=config.answer_tokens,
                answer_prompts=limit,
            )
            indices, limit = part.indices, part.answer_prompts
        losses = model(inputs.train.batch(indices, config.answer_tokens), 0, rank, limit, part)
        accelerator.backward(losses.total)
        gradients = {
            name: parameter.grad.flatten().tolist()
            for name, parameter in reader.named_parameters()
            if parameter.grad is not None
        }
        return float(losses.total.detach()), gradients


def test_loss_and_gradients_of_two_ranks_are_those_of_one_process(tiny_model: Path) -> None:
    """Without dropout, whose masks are drawn by rank; every loss is on, on odd numbers."""
    config = LatentLoraConfig(
        model=str(tiny_model),
        samples=48,
        d_z=8,
        dropout=0.0,
        kd_weight=0.3,
        k_token_ce_weight=0.2,
        first_token_ce_weight=0.5,
        answer_loss_prompts=3,
        lora=LoraSettings(rank=2, alpha=4, layers=2, dropout=0.0),
        test_questions=4,
        dev_questions=4,
    )
    loss, gradients = first_step(config)
    (first, mine), (second, same) = in_ranks(first_step, config, ranks=2)
    assert (first + second) / 2 == pytest.approx(loss, rel=1e-6, abs=1e-6)
    assert mine == same
    assert mine.keys() == gradients.keys()
    assert any(name.startswith("lora") for name in mine)
    for name, expected in gradients.items():
        assert any(expected), name
        assert mine[name] == pytest.approx(expected, rel=1e-6, abs=1e-6), name


def told_on_rank_0(config: dict[str, object], to: Path, rank: int, ranks: int) -> list[int] | str:
    """The checkpoints of a rank of which the first is told to leave, after two questions."""
    from workloads.latent_lora.workload import LatentLora
    from workloads.recording import run_recorded

    leave_after = None if rank else 1
    try:
        left = run_recorded(
            LatentLora(), config, to, leave_after=leave_after, rank=rank, ranks=ranks
        )
    except RuntimeError:
        return "cut off"
    return [checkpoint.step for checkpoint in left.checkpoints]


@pytest.mark.slow
def test_ranks_save_together_when_the_first_is_told_to_leave(
    config: LatentLoraConfig, tmp_path: Path
) -> None:
    """They agree every fifth step: of 12 in the epoch, the second time at step 10."""
    fields = config.model_dump(mode="json") | {"samples": 96, "batch_size": 8, "epochs": 1}
    assert in_ranks(told_on_rank_0, fields, tmp_path, ranks=2) == [[10], "cut off"]
