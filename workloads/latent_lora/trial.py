"""One trial from its inputs to its result."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workloads.contract import Result, TrialContext
from workloads.errors import DivergedError
from workloads.latent_lora.config import LatentLoraConfig
from workloads.latent_lora.diagnostics import Diagnostics
from workloads.latent_lora.evaluation import (
    Evaluation,
    evaluate,
    evaluate_constant,
    magnitude_mismatch,
)
from workloads.latent_lora.inputs import Inputs, load_inputs
from workloads.latent_lora.pca import fit_pca, token_counts
from workloads.latent_lora.prompts import pad_left
from workloads.latent_lora.reader import Reader
from workloads.latent_lora.training import Trained, Trainer
from workloads.training import stream_seed
from workloads.training.acceleration import accelerated
from workloads.training.process import deterministic_process

if TYPE_CHECKING:
    from accelerate import Accelerator

GLANCE_QUESTIONS = 32


def run_trial(config: LatentLoraConfig, context: TrialContext) -> Result:
    """Trains (unless the prompt needs no adapter), evaluates on dev and test, writes records.

    Raises `DivergedError` when no prediction comes from finite logits.
    """
    with (
        deterministic_process(config.threads),
        accelerated(config.precision) as accelerator,
        Diagnostics(context) as diagnostics,
    ):
        return _Trial(config, context, accelerator, diagnostics).run()


class _Trial:
    """The state that the steps of one trial share."""

    def __init__(
        self,
        config: LatentLoraConfig,
        context: TrialContext,
        accelerator: Accelerator,
        diagnostics: Diagnostics,
    ) -> None:
        self.config, self.context = config, context
        self.accelerator, self.diagnostics = accelerator, diagnostics
        self.inputs: Inputs = load_inputs(config, accelerator.device)
        self.reader = _reader(config, self.inputs, context.seed)
        self.dev: Evaluation | None = None

    def run(self) -> Result:
        self._describe()
        started = time.perf_counter()
        trained = self._train() if self.config.trains else None
        train_seconds = time.perf_counter() - started
        started = time.perf_counter()
        # After a divergence the weights may be newer than the last look at the dev split.
        if self.dev is None or (trained is not None and trained.diverged):
            self.dev = self._evaluate("dev") if len(self.inputs.dev) else None
        test = self._evaluate("test")
        if not test.answers.finite_share:
            raise DivergedError("no question could be answered: all logits are NaN or infinite")
        step = trained.step if trained else 0
        for evaluation in (self.dev, test):
            if evaluation is not None:
                self._record_full(evaluation, step)
        timing = {"train_seconds": train_seconds, "eval_seconds": time.perf_counter() - started}
        return self._result(test, trained, timing)

    def _train(self) -> Trained:
        trainer = Trainer(
            self.reader, self.inputs.train, self.context, self.accelerator, self.diagnostics
        )
        return trainer.run(self._after_epoch, self._glance)

    def _after_epoch(
        self, step: int, epoch: int, means: Mapping[str, float]
    ) -> Mapping[str, float | None]:
        self.diagnostics.record(
            "train_epoch",
            step=step,
            epoch=epoch,
            **{f"avg_{name}": value for name, value in means.items()},
        )
        scores: dict[str, float | None] = {}
        if len(self.inputs.dev):
            self.dev = self._evaluate("dev")
            scores = {f"eval/{name}": value for name, value in self.dev.metrics.items()}
            self.context.emitter.metrics(scores, step=step, epoch=float(epoch))
            self.diagnostics.record("dev_eval", step=step, epoch=epoch, **_fractions(self.dev))
            self.diagnostics.log(f"epoch {epoch} dev F1 {_points(self.dev.metrics['f1'])}")
        return {**scores, "train/loss": means.get("loss")}

    def _glance(self, step: int) -> None:
        if not len(self.inputs.dev):
            return
        few = self.inputs.dev.head(GLANCE_QUESTIONS)
        seen = evaluate(
            self.reader, few, self.inputs.tokenizer, self.inputs.max_new_tokens, self.accelerator
        )
        fractions = _fractions(seen)
        self.diagnostics.record(
            "quick_eval", step=step, quick_f1=fractions["f1"], eval_samples=len(few)
        )

    def _evaluate(self, split: str) -> Evaluation:
        questions = self.inputs.dev if split == "dev" else self.inputs.test
        if self.config.input == "constant":
            return evaluate_constant(self.inputs.train, questions, self.config)
        return evaluate(
            self.reader,
            questions,
            self.inputs.tokenizer,
            self.inputs.max_new_tokens,
            self.accelerator,
        )

    def _describe(self) -> None:
        facts = {
            "train_questions": len(self.inputs.train),
            "dev_questions": len(self.inputs.dev),
            "test_questions": len(self.inputs.test),
            "adapter_parameters": _count(self.reader.adapter.parameters()),
            "lora_parameters": _count(self.reader.lora.values()),
            "pca_explained": self.reader.pca.explained,
            "device": str(self.accelerator.device),
        }
        self.context.emitter.context({**facts, **self._origin()})
        self.diagnostics.record("config", config=self.config.model_dump(mode="json"), **facts)
        self.diagnostics.log(f"{self.context.label}: {facts}")

    def _origin(self) -> dict[str, Any]:
        """Which model it is, and the seed of every random stream that a seed has of its own.

        A dropout stream is made anew for each step and rank; its name says from what.
        """
        seed, model = self.context.seed, self.reader.language_model
        streams = [f"order/{epoch}" for epoch in range(self.config.epochs)]
        streams += ["adapter/init", *(["lora/init"] if self.config.lora else [])]
        return {
            "host_architecture": type(model).__name__,
            "host_params": _count(model.parameters()) - _count(self.reader.lora.values()),
            "torch_seed": stream_seed(seed, "adapter/init"),
            "seeds": {name: stream_seed(seed, name) for name in streams},
            "streams_by_step": ["adapter/dropout/<step>/<rank>", "lora/dropout/<step>/<rank>"],
        }

    def _record_full(self, evaluation: Evaluation, step: int) -> None:
        self.diagnostics.record(
            "full_eval",
            step=step,
            split=evaluation.split.name,
            eval_samples=len(evaluation.split),
            collapsed=evaluation.collapse.collapsed,
            collapse_reasons=evaluation.collapse.reasons,
            **_fractions(evaluation),
        )
        metrics = evaluation.metrics
        self.diagnostics.log(
            f"{evaluation.split.name}: F1 {_points(metrics['f1'])} EM {_points(metrics['em'])} "
            f"answer contained {_points(metrics['answer_contained'])}"
        )

    def _result(
        self, test: Evaluation, trained: Trained | None, timing: Mapping[str, float]
    ) -> Result:
        flags, notes = self._flags(test, trained)
        pca, lora = self.reader.pca, _count(self.reader.lora.values())
        adapter = _count(self.reader.adapter.parameters()) if trained else 0
        metrics: dict[str, float | None] = {
            **test.metrics,
            "dev_f1": self.dev.metrics["f1"] if self.dev else None,
            "final_loss": trained.means.get("loss") if trained else None,
            "trainable_parameters": float(adapter + lora),
            "lora_parameters": float(lora),
            "pca_explained": pca.explained,
            "compression_ratio": len(pca.mean) / pca.d_z,
            **timing,
        }
        scores = [evaluation.scores for evaluation in (self.dev, test) if evaluation is not None]
        return Result(metrics=metrics, scores=scores, flags=frozenset(flags), notes=notes)

    def _flags(self, test: Evaluation, trained: Trained | None) -> tuple[set[str], list[str]]:
        flags, notes = set(), []
        if test.collapse.collapsed and self.config.input != "constant":
            flags.add("collapsed")
            notes.append(f"collapsed: {'; '.join(test.collapse.reasons)}")
        elif self.config.k_token_ce_weight:
            notes.append(
                f"K-token CE at {self.config.k_token_ce_weight:g} did not collapse: "
                f"{test.collapse.predictions.distinct} distinct predictions for "
                f"{test.collapse.answers.distinct} distinct answers"
            )
        if magnitude_mismatch(test):
            flags.add("magnitude_mismatch")
            ratio = test.answers.rebuilt["norm_ratio"]
            notes.append(f"magnitude mismatch: norms are {ratio:.3g} times the originals'")
        if trained is not None and trained.diverged:
            flags.add("diverged")
            notes.append(f"diverged at step {trained.step + 1}: scored with the weights before it")
        return flags, notes


def _reader(config: LatentLoraConfig, inputs: Inputs, seed: int) -> Reader:
    table = inputs.model.get_input_embeddings().weight
    ids, mask = pad_left(inputs.train.prompts, inputs.train.pad)
    counts = token_counts(ids, mask, len(table))
    # A prompt form without an adapter (whose d_z says nothing) still has a reader around it.
    d_z = min(config.d_z, table.shape[1])
    return Reader(inputs.model, fit_pca(table, counts, d_z), config, seed)


def _fractions(evaluation: Evaluation) -> dict[str, float | None]:
    """Scores as fractions, as the origin's diagnostics have them; `text_f1` is `f1` again."""
    shares = {
        name: None if (value := evaluation.metrics[name]) is None else value / 100.0
        for name in evaluation.columns
    }
    rest = {k: v for k, v in evaluation.metrics.items() if k not in evaluation.columns}
    return {**shares, "text_f1": shares["f1"], **rest}


def _points(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"


def _count(parameters: object) -> int:
    return sum(p.numel() for p in parameters)  # type: ignore[attr-defined]
