"""Models shared by the workloads: pinned references, descriptions, and loading."""

from workloads.models.description import ModelDescription, describe
from workloads.models.loading import check_tokenizer, load_model, load_tokenizer
from workloads.models.reference import ModelRef, resolve_model

__all__ = [
    "ModelDescription",
    "ModelRef",
    "check_tokenizer",
    "describe",
    "load_model",
    "load_tokenizer",
    "resolve_model",
]
