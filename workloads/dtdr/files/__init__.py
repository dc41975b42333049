"""Encoded models as files: written and read tensor by tensor, whole or not at all."""

from workloads.dtdr.files.damage import DamagedTensorError
from workloads.dtdr.files.decoding import Decoding, decode_model
from workloads.dtdr.files.encoding import (
    EncodedModel,
    Encoding,
    Progress,
    encode_model,
    write_encoded,
)
from workloads.dtdr.files.index import Index, is_encoded, read_index
from workloads.dtdr.files.inspecting import Inspection, TensorInspection, inspect_model

__all__ = [
    "DamagedTensorError",
    "Decoding",
    "EncodedModel",
    "Encoding",
    "Index",
    "Inspection",
    "Progress",
    "TensorInspection",
    "decode_model",
    "encode_model",
    "inspect_model",
    "is_encoded",
    "read_index",
    "write_encoded",
]
