"""Data sets of the hub, through `datasets`, always at a full commit."""

from __future__ import annotations

from typing import Any, Final

from workloads.datasets.examples import Example
from workloads.datasets.sources import Source
from workloads.datasets.squad import example_from
from workloads.datasets.texts import FIELDS, text_of
from workloads.errors import InputError

_EVALUATION_SPLITS: Final = ("validation", "dev", "test")


def questions(source: Source) -> tuple[list[Example], list[Example]]:
    """Training and evaluation questions of a data set with SQuAD's columns.

    InputError when columns are missing or it cannot be had.
    """
    loaded = _load(source)
    train = _rows(loaded["train"], source) if "train" in loaded else []
    for name in _EVALUATION_SPLITS:
        if name in loaded:
            evaluation = _rows(loaded[name], source)
            if evaluation:
                return train, evaluation
    return train, []


def texts(source: Source) -> list[str]:
    """All texts of all splits of a data set with a text column."""
    found = []
    for name, split in _load(source).items():
        column = next((field for field in FIELDS if field in split.column_names), None)
        if column is None:
            raise InputError(
                f"data set {source.given} has the columns {', '.join(split.column_names)}; for "
                f"continuation it needs one of {', '.join(FIELDS)}"
            )
        found += [text_of(text, f"{source.given}, split {name}") for text in split[column]]
    return [text for text in found if text]


def _load(source: Source) -> Any:
    from datasets import load_dataset

    try:
        return load_dataset(source.name, revision=source.revision)
    except Exception as error:
        raise InputError(
            f"data set {source.given} cannot be loaded ({type(error).__name__}); go online, or "
            "give a local file or folder"
        ) from error


def _rows(split: Any, source: Source) -> list[Example]:
    needed = {"context", "question", "answers"}
    if not needed <= set(split.column_names):
        raise InputError(
            f"data set {source.given} has the columns {', '.join(split.column_names)}; for qa it "
            "needs context, question and answers (as in squad)"
        )
    examples = []
    for row in split:
        answers = row["answers"]
        texts = answers["text"] if isinstance(answers, dict) else answers
        entry = {**row, "answers": [{"text": text} for text in texts]}
        context = str(row["context"]).strip()
        example = example_from(entry, context, str(row.get("title") or context))
        if example is not None:
            examples.append(example)
    return examples
