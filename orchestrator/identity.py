"""A trial's identity: the hash of what it computes.

    identity = sha256(JSON of {identity_version, workload, workload_version, config, seed})

cut to 20 hexadecimal digits. In `config`, an `Input` field holds its fingerprint, an `Observed`
field is absent, and a field that holds its `IdentityDefault` is absent. So is a None (a factor that
is off), unless the field's default is something else: then None is a choice, and is written.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from workloads.contract import IdentityDefault, Input, Observed

IDENTITY_VERSION = 1
DIGITS = 20
LABEL_LENGTH = 80

Fingerprint = Callable[[Input, str], str]


_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no blanks. Raises ValueError on NaN or infinity."""
    return _CANONICAL.encode(value)


def identity_config(config: BaseModel, fingerprint: Fingerprint) -> dict[str, Any]:
    """The part of a resolved config that enters the identity, inputs by fingerprint."""
    kept: dict[str, Any] = {}
    plain = config.model_dump(mode="json")
    for name, field in _fields(type(config)).items():
        value = getattr(config, name)
        if field.observed is not None:
            continue
        if field.declared is not None and value == field.declared.value:
            continue
        if field.source is not None and value is not None:
            kept[name] = fingerprint(field.source, value)
        elif isinstance(value, BaseModel):
            kept[name] = identity_config(value, fingerprint)
        elif value is not None or field.default is not None:
            kept[name] = plain[name]
    return kept


def observed_config(config: BaseModel, *, while_training: bool = False) -> dict[str, Any]:
    """The fields that only observe, those of nested parts under dotted names: what an outcome must
    cover to count as known. `while_training`: only those that observe training itself."""
    found: dict[str, Any] = {}
    fields = _fields(type(config))
    seen_here = {
        name
        for name, field in fields.items()
        if field.observed is not None and (field.observed.while_training or not while_training)
    }
    plain = config.model_dump(mode="json", include=seen_here) if seen_here else {}
    for name, field in fields.items():
        if name in seen_here:
            found[name] = plain[name]
        elif field.observed is None and isinstance(value := getattr(config, name), BaseModel):
            inner = observed_config(value, while_training=while_training)
            found |= {f"{name}.{key}": seen for key, seen in inner.items()}
    return found


def document(workload: str, version: int, config: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """What is hashed, as it is written to identity.json."""
    return {
        "identity_version": IDENTITY_VERSION,
        "workload": workload,
        "workload_version": version,
        "config": dict(config),
        "seed": seed,
    }


def identity_of(doc: Mapping[str, Any]) -> str:
    """20 hexadecimal digits. Raises ValueError for a document of an unknown version."""
    if doc["identity_version"] != IDENTITY_VERSION:
        raise ValueError(f"identity version {doc['identity_version']} is newer than this Orrery")
    return hashlib.sha256(canonical_json(doc).encode()).hexdigest()[:DIGITS]


def label_of(factors: Mapping[str, Any], seed: int, identity: str) -> str:
    """A name for people: `rank=8,alpha=16,layers=12,seed=0-4c54…`. ASCII, at most 80 characters:
    the factors are cut where there are too many, and the seed stays."""
    tail = f"seed={seed}-{identity}"
    named = "".join(f"{name}={value}," for name, value in factors.items())
    text = re.sub(r"[^A-Za-z0-9=,._+-]", "_", named)
    room = LABEL_LENGTH - len(tail)
    return (text if len(text) <= room else text[: room - 1] + ",") + tail


class _Field(NamedTuple):
    """What identity asks of a field."""

    observed: Observed | None
    declared: IdentityDefault | None
    source: Input | None
    default: Any


@lru_cache(maxsize=256)
def _fields(model: type[BaseModel]) -> Mapping[str, _Field]:
    """The fields of a model by name. Found once: a study has thousands of configurations."""
    return {
        name: _Field(
            _marker(field, Observed),
            _marker(field, IdentityDefault),
            _marker(field, Input),
            _default(field),
        )
        for name, field in model.model_fields.items()
    }


def _default(field: FieldInfo) -> Any:
    """What a field that is absent stands for; None for one that must be given."""
    declared = _marker(field, IdentityDefault)
    if declared is not None:
        return declared.value
    if field.default_factory is not None:
        return field.default_factory  # what it makes is not None: a default of None needs none
    return None if field.is_required() else field.default


def _marker(field: FieldInfo, kind: type[Any]) -> Any:
    return next((item for item in field.metadata if isinstance(item, kind)), None)
