"""Models shared by the workloads: pinned references, descriptions, and loading."""

from workloads.models.description import ModelDescription, describe
from workloads.models.file_tokenizer import FileTokenizer
from workloads.models.inputs import input_fingerprint, pinned_input
from workloads.models.loading import check_tokenizer, has_tokenizer, load_model, load_tokenizer
from workloads.models.reference import ModelRef, resolve_model

__all__ = [
    "FileTokenizer",
    "ModelDescription",
    "ModelRef",
    "check_tokenizer",
    "describe",
    "has_tokenizer",
    "input_fingerprint",
    "load_model",
    "load_tokenizer",
    "pinned_input",
    "resolve_model",
]
