"""Finds out what kind of data a configuration names, and loads it; recent data stays in memory."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

from workloads.datasets import fingerprint
from workloads.datasets.content_hash import hash_files
from workloads.errors import InputError
from workloads.morphogenesis.config import MorphogenesisConfig
from workloads.morphogenesis.data import cifar, digits, text
from workloads.morphogenesis.data.splits import Data, check_enough

KEPT: Final = 4
"""How many data sets a process keeps. They are a function of the inputs and never changed."""

_kept: OrderedDict[tuple[Any, ...], Data] = OrderedDict()


def load_data(config: MorphogenesisConfig, device: Any) -> Data:
    """The splits of a trial on its device. Raises `InputError` for what cannot be read."""
    key = (
        data_fingerprint(config),
        config.host,
        config.samples,
        config.eval_samples,
        config.context if config.host == "gpt" else None,
        str(device),
    )
    if key not in _kept:
        _kept[key] = _load(config).to(device)
    _kept.move_to_end(key)
    while len(_kept) > KEPT:
        _kept.popitem(last=False)
    return _kept[key]


def data_fingerprint(config: MorphogenesisConfig, cache: Path | None = None) -> str:
    """What stands for the data in an identity: their content. Raises `InputError`."""
    if config.host == "gpt":
        text.text_source(config.data)
        return fingerprint(config.data, cache=cache)
    if config.data == digits.NAME:
        return digits.FINGERPRINT
    folder = _image_folder(config.data)
    train, test = cifar.parquet_files(folder)
    return hash_files(folder, (*train, *test), cache)


def check_data(config: MorphogenesisConfig) -> None:
    """Refuses data that the host cannot read (`InputError`); cheap and free of torch."""
    if config.host == "gpt":
        text.text_source(config.data)
        return
    for name, there in _image_counts(config.data).items():
        check_enough(name, there, config.samples if name == "train" else config.eval_samples)


def scored_examples(config: MorphogenesisConfig) -> int | None:
    """How many test examples there will be; None where that is only known once text is read."""
    asked = config.eval_samples
    if config.host == "gpt":
        generated = config.data.startswith("embedded:")
        return (asked or text.GENERATED_EVAL) if generated else None
    return _image_counts(config.data)["test"] if asked is None else asked


def _image_counts(data: str) -> dict[str, int]:
    """Images by split."""
    if data == digits.NAME:
        counts = digits.TRAINING, digits.VALIDATION, digits.TEST
    else:
        counts = cifar.row_counts(_image_folder(data))
    return dict(zip(("train", "val", "test"), counts, strict=True))


def _load(config: MorphogenesisConfig) -> Data:
    samples, evaluated = config.samples, config.eval_samples
    if config.host == "gpt":
        return text.load_text(config.data, config.context, samples, evaluated)
    if config.data == digits.NAME:
        return digits.load_digits(samples, evaluated)
    return cifar.load_cifar(_image_folder(config.data), samples, evaluated)


def _image_folder(data: str) -> Path:
    folder = Path(data).expanduser()
    if not folder.is_dir():
        raise InputError(
            f"no image data {data!r}; valid for the cnn host: {digits.NAME}, or a folder with "
            "CIFAR-10's train-*.parquet and test-*.parquet"
        )
    return folder
