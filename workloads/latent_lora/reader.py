"""The language model that reads reconstructed prompts, with what is trained on its way there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from workloads.latent_lora.adapter import Adapter, rms_match
from workloads.latent_lora.config import LatentLoraConfig
from workloads.latent_lora.lora import attach_lora, lora_dropouts
from workloads.latent_lora.losses import (
    Reconstruction,
    distillation,
    first_token_ce,
    k_token_ce,
    reconstruction,
    reconstruction_loss,
)
from workloads.latent_lora.pca import PCA
from workloads.latent_lora.prompts import Batch
from workloads.latent_lora.shares import Share
from workloads.training import seeded


@dataclass(frozen=True)
class StepLosses:
    """The losses of one batch; a loss of weight 0 is None, since it was not computed.

    Of several ranks, each has its share: the mean over ranks is the value of the whole batch.
    """

    total: torch.Tensor
    parts: Reconstruction
    first_token_ce: torch.Tensor | None
    k_token_ce: torch.Tensor | None
    distillation: torch.Tensor | None


class Reader(nn.Module):
    """Adapter and LoRA as parameters; the frozen language model beside them.

    The language model is no submodule, so that a checkpoint holds what is trained and nothing
    else, and data parallelism synchronises just that.
    """

    def __init__(self, model: Any, pca: PCA, config: LatentLoraConfig, seed: int) -> None:
        super().__init__()
        self.config, self.seed = config, seed
        self.pca = pca
        with seeded(seed, "adapter/init"):
            self.adapter = Adapter(pca.d_z, len(pca.mean), config.hidden_mult, config.dropout)
        self.adapter.to(pca.mean.device)
        model.requires_grad_(False)
        wrapped = attach_lora(model, config.lora, seed) if config.lora else None
        self._frozen: tuple[Any, Any] = (wrapped, model)
        self.lora = nn.ParameterDict(
            {
                name.replace(".", "/"): parameter
                for name, parameter in model.named_parameters()
                if parameter.requires_grad
            }
        )
        self._lora_dropouts: list[Any] = lora_dropouts(model) if wrapped is not None else []
        self._switch_dropout(False)

    @property
    def language_model(self) -> Any:
        """The model, with LoRA in its layers where the configuration has LoRA."""
        return self._frozen[1]

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """The model's own token embeddings [..., dim] of ids [...], in float32."""
        with torch.no_grad():
            embeddings: torch.Tensor = self.language_model.get_input_embeddings()(ids)
            return embeddings.float()

    def rebuild(self, originals: torch.Tensor) -> torch.Tensor:
        """Reconstructed embeddings of `originals`, both [..., dim]."""
        rebuilt: torch.Tensor = self.adapter(self.pca.encode(originals))
        return rms_match(rebuilt, originals) if self.config.rms_match else rebuilt

    def forward(
        self,
        batch: Batch,
        step: int,
        rank: int = 0,
        answer_prompts: int | None = None,
        share: Share | None = None,
    ) -> StepLosses:
        """The losses of training step `step`, with dropout from that step's own streams.

        Losses on answers read the first `answer_prompts` prompts of the batch (None: all). `share`
        is given where other ranks read the rest of the batch.
        """
        config = self.config
        originals = self.embed(batch.ids)
        with seeded(self.seed, f"adapter/dropout/{step}/{rank}"):
            rebuilt = self.rebuild(originals)
        parts = reconstruction(rebuilt, originals, batch.mask)
        total = reconstruction_loss(parts, config.cosine_weight, config.mse_weight)
        if share is not None:
            total, parts = total * share.tokens, share.of_parts(parts)
        if not config.answer_tokens:
            return StepLosses(total, parts, None, None, None)

        if answer_prompts is not None:
            batch = batch.first(answer_prompts)
            start = rebuilt.shape[1] - batch.ids.shape[1]
            rebuilt = rebuilt[: len(batch.ids), start:]
        # The teacher first: what monitors see of a step is the model's newest forward pass.
        teacher = self.teacher_logits(batch) if config.kd_weight else None
        with self._lora_dropout(step, rank):
            logits = self.answer_logits(rebuilt, batch)
        answers, mask = batch.answers, batch.answer_mask
        first = k_token = divergence = None
        if config.first_token_ce_weight:
            first = first_token_ce(logits, answers, mask)
            first = first if share is None else first * share.answers
            total = total + config.first_token_ce_weight * first
        if config.k_token_ce_weight:
            k_token = k_token_ce(logits, answers, mask)
            k_token = k_token if share is None else k_token * share.answer_tokens
            total = total + config.k_token_ce_weight * k_token
        if teacher is not None:
            divergence = distillation(logits, teacher, mask, config.kd_temperature)
            divergence = divergence if share is None else divergence * share.answer_tokens
            total = total + config.kd_weight * divergence
        return StepLosses(total, parts, first, k_token, divergence)

    def answer_logits(self, prompt: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Logits [batch, k, vocabulary] of the first k answer tokens, answers teacher-forced.

        `prompt` [batch, seq, dim] stands for the batch's prompts; the gold tokens before each
        predicted one follow it, so k = 1 reads the prompt alone.
        """
        count = batch.answers.shape[1]
        embeddings, mask = prompt, batch.mask
        if count > 1:
            gold = self.embed(batch.answers[:, :-1])
            embeddings = torch.cat([prompt, gold], dim=1)
            mask = torch.cat([mask, batch.answer_mask[:, :-1]], dim=1)
        model = self.language_model
        logits: torch.Tensor = model(
            inputs_embeds=embeddings.to(model.dtype),
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            use_cache=False,
            logits_to_keep=count,
        ).logits
        return logits

    @torch.no_grad()
    def teacher_logits(self, batch: Batch) -> torch.Tensor:
        """`answer_logits` of the frozen model, without LoRA, reading the text's own embeddings."""
        wrapped = self._frozen[0]
        without = wrapped.disable_adapter() if wrapped is not None else nullcontext()
        with without:
            return self.answer_logits(self.embed(batch.ids), batch)

    @contextmanager
    def _lora_dropout(self, step: int, rank: int) -> Iterator[None]:
        """LoRA's dropout is on within the block, and draws from the step's own stream."""
        if self.config.lora is None:
            yield
            return
        with seeded(self.seed, f"lora/dropout/{step}/{rank}"):
            self._switch_dropout(True)
            try:
                yield
            finally:
                self._switch_dropout(False)

    def _switch_dropout(self, active: bool) -> None:
        for dropouts in self._lora_dropouts:
            dropouts.train(active)
