"""The workload `dtdr`. Importing it loads no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from workloads.contract import Metric, Result, TrialContext, Workload
from workloads.dtdr.asking import in_full
from workloads.dtdr.checking import anchor_fingerprint, block_rows_of, check_config
from workloads.dtdr.config import DtdrConfig
from workloads.models import describe, input_fingerprint, pinned_input
from workloads.views import StudyView, SummaryTable

if TYPE_CHECKING:
    from workloads.evaluation import Packed, Point, Subject

_AGAINST = "full decode against the original, at the prompts' last tokens"
METRICS: Mapping[str, Metric] = {
    "bytes": Metric("Size of the encoding", "bytes", reducer="last", higher_is_better=False),
    "ratio": Metric(
        "Size of the original in its own number format over that of the encoding",
        reducer="last",
        higher_is_better=True,
    ),
    "relative_l2": Metric(
        "Error of the decoded weights over the norm of the originals, compressed tensors",
        higher_is_better=False,
    ),
    "max_error": Metric("Largest error of a weight", reducer="max", higher_is_better=False),
    "cosine": Metric(f"Cosine of logits, mean over prompts: {_AGAINST}", higher_is_better=True),
    "top10_overlap": Metric(
        f"Share of the ten likeliest tokens in common, mean over prompts: {_AGAINST}",
        higher_is_better=True,
    ),
    "perplexity": Metric("Of held-out text under the full decode", higher_is_better=False),
    "perplexity_original": Metric("Of held-out text under the original", higher_is_better=False),
    "prompts": Metric("Prompts measured", reducer="last"),
    "held_out_tokens": Metric("Held-out tokens that are predicted", reducer="last"),
    "tensors": Metric("Tensors that are encoded, tied ones once", reducer="last"),
    "plain_tensors": Metric("Tensors stored as they are", reducer="last"),
    "encode_s": Metric("Time to encode", "s", reproducible=False, higher_is_better=False),
}

_TO_FULL = "to the full decode of the same encoding, mean over prompts"
POINT_METRICS: Mapping[str, Metric] = {
    "top10_overlap": Metric(
        f"Share of the ten likeliest tokens in common {_TO_FULL}",
        higher_is_better=True,
        limits=(0.0, 1.0),
    ),
    "top1_agreement": Metric(
        f"Share of prompts with the same likeliest token {_TO_FULL}",
        higher_is_better=True,
        limits=(0.0, 1.0),
    ),
    "cosine": Metric(f"Cosine of logits {_TO_FULL}", higher_is_better=True, limits=(-1.0, 1.0)),
    "centred_cosine": Metric(
        f"Cosine of logits less their mean {_TO_FULL}", higher_is_better=True, limits=(-1.0, 1.0)
    ),
    "kl": Metric(
        f"Kullback–Leibler divergence {_TO_FULL}",
        "nats",
        higher_is_better=False,
        limits=(0.0, None),
    ),
    "nll": Metric("Of held-out text", "nats", higher_is_better=False),
    "perplexity": Metric("Of held-out text", higher_is_better=False),
    "perplexity_ratio": Metric("Perplexity over that of the full decode", higher_is_better=False),
    "finite": Metric("Share of logits that are finite", higher_is_better=True),
    "relative_l2": Metric(
        "Error of the weights over the norm of the full decode's, compressed tensors",
        higher_is_better=False,
    ),
    "text_perplexity": Metric("Of its own text under the full decode", higher_is_better=False),
    "distinct_1": Metric("Different tokens over all of its own text", higher_is_better=True),
    "distinct_2": Metric("Different pairs of tokens over all of its own text"),
}


class Dtdr(Workload[DtdrConfig]):
    """What a causal language model still does where only part of its encoding is known.

    A trial encodes the model and measures the full decode; fractions of it, fills and damage are
    asked of it afterwards.
    """

    name: ClassVar[str] = "dtdr"
    version: ClassVar[int] = 1
    reusable: ClassVar[bool] = True
    Config: ClassVar[type[DtdrConfig]] = DtdrConfig
    metrics: ClassVar[Mapping[str, Metric]] = METRICS
    point_metrics: ClassVar[Mapping[str, Metric]] = POINT_METRICS
    sources: ClassVar[tuple[str, ...]] = (
        "workloads.dtdr",
        "workloads.evaluation",
        "workloads.training",
        "workloads.models",
        "workloads.datasets",
    )

    def resolve(self, config: DtdrConfig) -> DtdrConfig:
        """Fills in the rows of a block; what is not read returns to its default."""
        update: dict[str, Any] = {"telemetry": "standard"}
        fields = DtdrConfig.model_fields
        if config.block_rows is None:
            update["block_rows"] = block_rows_of(describe(config.model))
        for name in ("anchor_rate", "anchor_seed") if config.anchor is not None else ():
            update[name] = fields[name].default
        if not config.samples:
            update["sample_tokens"] = fields["sample_tokens"].default
        return config.model_copy(update=update)

    def fingerprint(
        self, kind: str, value: str, config: DtdrConfig, cache: Path | None = None
    ) -> str:
        """Content hash or pinned revision of the model, the data or the anchor."""
        if kind == "model" and value == config.anchor:
            return anchor_fingerprint(value, cache)
        return input_fingerprint(kind, value, cache)

    def pin(self, kind: str, value: str) -> str:
        """A hub id with the commit that it stands for now."""
        return value if Path(value).expanduser().exists() else pinned_input(kind, value)

    def check(self, config: DtdrConfig) -> None:
        """Refuses a model that is no causal one or has no tokenizer, data without texts, and an
        anchor whose tensors do not fit."""
        check_config(config)

    def factors(self, config: DtdrConfig) -> Mapping[str, str | int | float]:
        """The codec."""
        return {"transform": config.transform, "quantiser": config.quantiser}

    def scored_units(self, config: DtdrConfig) -> int | None:
        """Prompts: too few texts are an error."""
        return config.prompts

    def deterministic(self, config: DtdrConfig) -> bool:
        """Nothing is trained: the seed changes nothing."""
        return True

    def measured_on(self, config: DtdrConfig) -> Mapping[str, Any]:
        """The prompts and held-out texts of the test split, and what is generated."""
        names = ("prompts", "prompt_tokens", "held_out_tokens", "samples", "sample_tokens")
        asked = {name: getattr(config, name) for name in names}
        return {"split": "test", "batch_size": config.eval_batch_size, **asked}

    def point(self, config: DtdrConfig, point: Point) -> Point:
        """A point with its defaults, without what changes nothing in it."""
        return in_full(point)

    def pack_subject(self, config: DtdrConfig, checkpoint: Path | None) -> Packed:
        """The encoding of the checkpoint as arrays, with the prompts' token ids."""
        from workloads.dtdr.packing import packed_subject

        return packed_subject(config, checkpoint)

    def open_subject(self, config: DtdrConfig, packed: Packed) -> Subject:
        """The full decode, from which partial ones are made in place."""
        from workloads.dtdr.packing import opened_subject

        return opened_subject(config, packed)

    def run(self, config: DtdrConfig, context: TrialContext) -> Result:
        """Encodes the model and measures the full decode."""
        from workloads.dtdr.trial import run_trial

        return run_trial(config, context)

    def summarise(self, study: StudyView, folder: Path) -> Iterator[Path | SummaryTable]:
        """Curves, texts and codecs as tables, pictures and one interactive page."""
        from workloads.dtdr.summary import write_summary

        return write_summary(study, folder)
