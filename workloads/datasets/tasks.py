"""The tasks: what is asked, from where, and which questions are for what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from workloads.datasets import generated, hub_data
from workloads.datasets.examples import Example, Task, TaskData, hash_order, shuffled
from workloads.datasets.sources import Source, resolve_data, source_fingerprint
from workloads.datasets.squad import read_squad, squad_files
from workloads.datasets.texts import (
    Window,
    continuations,
    named_stories,
    passages,
    read_texts,
    text_files,
)
from workloads.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TASKS: Final[tuple[Task, ...]] = ("qa", "continuation")
SQUAD_MAX_NEW_TOKENS: Final = 20

# Shares of data that come in one piece, and of an evaluation file that is dev rather than test.
_TEST_SHARE: Final = 0.3
_DEV_SHARE: Final = 0.1
_DEV_SHARE_OF_EVALUATION: Final = 0.15

# Fewer articles or texts than this are split within: by paragraph, by passage.
_FEW_TEXTS: Final = 10


class TooShortError(InputError):
    """Raised where no text is as long as is asked for."""


@dataclass(frozen=True)
class _Splits:
    train: Iterable[Example]
    dev: Iterable[Example]
    test: Iterable[Example]
    cluster_key: str
    max_new_tokens: int


def load_task(
    task: str,
    data: str,
    *,
    samples: int,
    dev_questions: int,
    test_questions: int,
    tokenizer: PreTrainedTokenizerBase | None = None,
    window: Window | None = None,
    revision: str | None = None,
) -> TaskData:
    """The task's examples: at most so many for training, dev and test.

    data: `embedded:questions` (qa), `embedded:stories` (continuation), a SQuAD v1.1 file or
    folder, text files, or a hub data set. `continuation` needs the tokenizer, and cuts stories
    by `window`. Which example is in which split, and their order, follow from the data alone:
    every trial is asked the same questions. InputError when the data is not what the task needs
    or gives no question for training or test.
    """
    if task not in TASKS:
        raise InputError(f"no task {task!r}; {did_you_mean(task, TASKS)}")
    for name, number in (("samples", samples), ("test_questions", test_questions)):
        if number < 1:
            raise InputError(f"{name} is {number}; valid: at least 1")
    if dev_questions < 0:
        raise InputError(f"dev_questions is {dev_questions}; valid: 0 or more")
    source = resolve_data(data, revision)
    cut = window or Window()
    splits = _qa(source) if task == "qa" else _continuation(source, tokenizer, cut)
    train, dev, test = (
        tuple(islice(split, number))
        for split, number in (
            (splits.train, samples),
            (splits.dev, dev_questions),
            (splits.test, test_questions),
        )
    )
    for name, split in (("training", train), ("test", test)):
        if not split:
            raise InputError(f"{data} gives no {name} question for {task}; give more data")
    return TaskData(
        train=train,
        dev=dev,
        test=test,
        fingerprint=source_fingerprint(source),
        task="qa" if task == "qa" else "continuation",
        source=data,
        cluster_key=splits.cluster_key,
        max_new_tokens=splits.max_new_tokens,
    )


def check_task(task: str, data: str) -> None:
    """Reads the data as the task would, without a tokenizer. Raises `InputError` if it can't be.

    A hub data set is not fetched for this: that it exists is known from its revision.
    """
    source = resolve_data(data)
    if source.kind == "hub":
        return
    if task == "qa":
        load_task("qa", data, samples=1, dev_questions=0, test_questions=1)
    else:
        _texts(source)


def _qa(source: Source) -> _Splits:
    if source.kind == "embedded":
        if source.name != generated.QUESTIONS:
            raise InputError(
                f"{source.given} has no questions; for qa give embedded:{generated.QUESTIONS}"
            )
        return _Splits(
            generated.endless_questions("train"),
            generated.endless_questions("dev"),
            generated.endless_questions("test"),
            "story",
            generated.MAX_NEW_TOKENS,
        )
    if source.path is None:
        train, evaluation = hub_data.questions(source)
    else:
        files = squad_files(source.path)
        train = [example for file in files.train for example in read_squad(file)]
        evaluation = [example for file in files.evaluation for example in read_squad(file)]
    if not train or not evaluation:
        test, dev, train = _cut_by_article(train or evaluation)
    else:
        seen = {example.context for example in evaluation}
        train = [example for example in train if example.context not in seen]
        paragraphs = _grouped(evaluation, by_article=False)
        dev, test = _cut(paragraphs, (_DEV_SHARE_OF_EVALUATION,))
    return _Splits(shuffled(train), shuffled(dev), shuffled(test), "article", SQUAD_MAX_NEW_TOKENS)


def _cut_by_article(examples: list[Example]) -> list[list[Example]]:
    """Test, dev and training questions that share no article (no paragraph, if articles lack)."""
    groups = _grouped(examples, by_article=True)
    if len(groups) < _FEW_TEXTS:
        groups = _grouped(examples, by_article=False)
    return _cut(groups, (_TEST_SHARE, _DEV_SHARE))


def _grouped(examples: Iterable[Example], *, by_article: bool) -> list[list[Example]]:
    groups: dict[str, list[Example]] = {}
    for example in examples:
        groups.setdefault(example.cluster if by_article else example.context, []).append(example)
    return [groups[key] for key in sorted(groups, key=hash_order)]


def _cut(groups: Sequence[list[Example]], shares: Sequence[float]) -> list[list[Example]]:
    """Whole groups, dealt in order: each share of all examples in turn, and what is left."""
    total = sum(len(group) for group in groups)
    parts: list[list[Example]] = [[] for _ in range(len(shares) + 1)]
    part = 0
    for group in groups:
        while part < len(shares) and len(parts[part]) >= shares[part] * total:
            part += 1
        parts[part] += group
    return parts


def _continuation(
    source: Source, tokenizer: PreTrainedTokenizerBase | None, window: Window
) -> _Splits:
    if tokenizer is None:
        raise InputError(
            "continuation cuts its prefixes in tokens and was given no tokenizer; give a model "
            "with one"
        )
    texts = _texts(source)
    if texts is None:
        return _Splits(
            _endless("train", tokenizer, window),
            _endless("dev", tokenizer, window),
            _endless("test", tokenizer, window),
            "story",
            window.reference_tokens,
        )
    cluster_key = "story"
    if len(texts) < _FEW_TEXTS:
        texts, cluster_key = [piece for text in texts for piece in passages(text)], "passage"
    stories = named_stories(texts)
    tests = round(_TEST_SHARE * len(stories)) or 1
    devs = round(_DEV_SHARE * len(stories))
    test, dev, train = (
        shuffled(example for story in part for example in continuations(*story, tokenizer, window))
        for part in (stories[:tests], stories[tests : tests + devs], stories[tests + devs :])
    )
    return _Splits(train, dev, test, cluster_key, window.reference_tokens)


def _texts(source: Source) -> list[str] | None:
    """The texts of a source; None for the generated stories, which have no end."""
    if source.kind == "embedded":
        if source.name != generated.STORIES:
            raise InputError(
                f"{source.given} is not running text; for continuation give "
                f"embedded:{generated.STORIES}"
            )
        return None
    if source.path is None:
        return hub_data.texts(source)
    return [text for file in text_files(source.path) for text in read_texts(file)]


def _endless(
    split: generated.Split, tokenizer: PreTrainedTokenizerBase, window: Window
) -> Iterator[Example]:
    fruitless = 0
    for story in generated.generated_stories(split):
        examples = list(continuations(*story, tokenizer, window))
        fruitless = 0 if examples else fruitless + 1
        if fruitless == 100:
            raise TooShortError(
                f"no generated story has {window.prefix_tokens} + {window.reference_tokens} "
                "tokens; ask for shorter prefixes"
            )
        yield from examples
