"""Questions from files in the form of SQuAD v1.1 (Rajpurkar et al. 2016)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workloads.datasets.examples import Example, content_id, qa_example
from workloads.datasets.reading import kind_of, read_json
from workloads.errors import InputError


@dataclass(frozen=True)
class SquadFiles:
    """The files that training and evaluation questions come from; either may be empty."""

    train: tuple[Path, ...]
    evaluation: tuple[Path, ...]

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file, training first."""
        return (*self.train, *self.evaluation)


def squad_files(path: Path) -> SquadFiles:
    """A file by itself, or a folder's `train*.json` and `dev*.json`."""
    if path.is_file():
        return SquadFiles((path,), ())
    files = SquadFiles(
        tuple(sorted(path.glob("train*.json"))), tuple(sorted(path.glob("dev*.json")))
    )
    if not files.all:
        raise InputError(
            f"{path} has neither train*.json nor dev*.json; valid: a SQuAD v1.1 file, or a folder "
            "with files so named"
        )
    return files


def read_squad(path: Path) -> list[Example]:
    """All answerable questions of a file; cluster = the article's title.

    InputError when the file is not SQuAD or has no answerable question.
    """
    value = read_json(path)
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise InputError(
            f'{path} is not SQuAD v1.1: it holds {kind_of(value)}; valid: {{"data": [{{"title", '
            '"paragraphs": [{"context", "qas"}]}]}'
        )
    try:
        examples = list(_examples(value["data"]))
    except (KeyError, TypeError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else "an entry of the wrong type"
        raise InputError(
            f"{path} is not SQuAD v1.1: it has {what} where articles have paragraphs, context, "
            "qas, question, answers and text; give a valid file"
        ) from error
    if not examples:
        raise InputError(f"{path} has no question with an answer; give a SQuAD v1.1 file with some")
    return examples


def example_from(row: Mapping[str, Any], context: str, title: str) -> Example | None:
    """A `qas` entry as an example, or None when it has no answer."""
    texts = [str(answer["text"]).strip() for answer in row["answers"]]
    answers = tuple(dict.fromkeys(text for text in texts if text))
    question = str(row["question"]).strip()
    if not answers or not question:
        return None
    identifier = str(row.get("id") or content_id(context, question))
    return qa_example(identifier, title, context, question, answers)


def _examples(articles: list[Any]) -> Iterator[Example]:
    for number, article in enumerate(articles):
        title = str(article.get("title") or f"article-{number}")
        for paragraph in article["paragraphs"]:
            context = str(paragraph["context"]).strip()
            for row in paragraph["qas"]:
                example = example_from(row, context, title)
                if example is not None:
                    yield example
