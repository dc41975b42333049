"""Data sets of the hub: rows as examples, pinned to a commit. The download itself is replaced."""

from __future__ import annotations

from typing import Any

import pytest

from workloads.datasets import load_task
from workloads.errors import InputError
from workloads.models import load_tokenizer

NAME = "org/set@0123456789abcdef0123456789abcdef01234567"
COUNTS: Any = {"samples": 500, "dev_questions": 500, "test_questions": 500}


def serve(monkeypatch: pytest.MonkeyPatch, **splits: list[dict[str, Any]]) -> list[Any]:
    """Makes `datasets.load_dataset` give these rows; the list gets the revisions asked for."""
    import datasets

    asked: list[Any] = []

    def load_dataset(name: str, *, revision: str) -> Any:
        asked.append((name, revision))
        return datasets.DatasetDict(
            {split: datasets.Dataset.from_list(rows) for split, rows in splits.items()}
        )

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


def rows(prefix: str, number: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{prefix}{n}",
            "title": f"{prefix}{n // 4}",
            "context": f"{prefix} context {n // 2}",
            "question": f"What is {n}?",
            "answers": {"text": ["a", "b"], "answer_start": [0, 0]},
        }
        for n in range(number)
    ]


def test_squad_columns_become_examples_of_a_pinned_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = serve(monkeypatch, train=rows("t", 40), validation=rows("v", 40))
    data = load_task("qa", NAME, **COUNTS)
    assert asked == [tuple(NAME.split("@"))]
    assert data.fingerprint == f"hub:{NAME}"
    assert {example.id[0] for example in data.train} == {"t"}
    assert len(data.dev) + len(data.test) == 40
    assert data.test[0].answers == ("a", "b")
    assert not {e.context for e in data.dev} & {e.context for e in data.test}


def test_a_text_column_becomes_continuations(monkeypatch: pytest.MonkeyPatch) -> None:
    story = " ".join(f"Mara saw kite {n}." for n in range(40))
    serve(monkeypatch, train=[{"text": f"Story {n}: {story}"} for n in range(30)])
    data = load_task("continuation", NAME, tokenizer=load_tokenizer("embedded:llama"), **COUNTS)
    assert not {e.cluster for e in data.train} & {e.cluster for e in data.test}


def test_other_columns_are_refused_with_those_that_are_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serve(monkeypatch, train=[{"image": 1}])
    with pytest.raises(InputError, match="columns image; for qa it needs context"):
        load_task("qa", NAME, **COUNTS)


def test_a_failed_download_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def load_dataset(*_: Any, **__: Any) -> Any:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(InputError, match="cannot be loaded") as error:
        load_task("qa", NAME, **COUNTS)
    assert "\n" not in str(error.value)
