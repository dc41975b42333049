"""Tasks: splits that share nothing, order that depends on the data alone, refusals that teach."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from workloads.datasets import TaskData, Window, fingerprint, fit_prompt, load_task
from workloads.datasets.examples import qa_example
from workloads.errors import InputError
from workloads.models import load_tokenizer

SHARED = Path(__file__).parents[4] / "shared" / "data"
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the optional ../shared/data is absent"
)
COUNTS: Any = {"samples": 60, "dev_questions": 20, "test_questions": 40}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer("embedded:llama")


def squad(articles: int, name: str = "") -> dict[str, Any]:
    """SQuAD-shaped data: four paragraphs per article, three questions per paragraph."""
    return {
        "version": "1.1",
        "data": [
            {
                "title": f"{name}article{a}",
                "paragraphs": [
                    {
                        "context": f"{name} text {p} of article {a}.",
                        "qas": [
                            {
                                "id": f"{name}{a}-{p}-{q}",
                                "question": f"What is {q}?",
                                "answers": [{"text": "text", "answer_start": 0}],
                            }
                            for q in range(3)
                        ],
                    }
                    for p in range(4)
                ],
            }
            for a in range(articles)
        ],
    }


def written(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def stories(number: int) -> list[str]:
    return [
        f"Story {n}: " + " ".join(f"Mara saw kite {i}." for i in range(40)) for n in range(number)
    ]


def contexts(examples: Any) -> set[str]:
    return {example.context for example in examples}


def clusters(examples: Any) -> set[str]:
    return {example.cluster for example in examples}


def assert_disjoint(data: TaskData, of: Any) -> None:
    parts = [of(data.train), of(data.dev), of(data.test)]
    assert len(set().union(*parts)) == sum(len(part) for part in parts)


def test_generated_questions_are_as_many_as_asked_for_and_share_no_story() -> None:
    data = load_task("qa", "embedded:questions", **COUNTS)
    assert data.counts == {"train": 60, "dev": 20, "test": 40}
    assert_disjoint(data, clusters)
    assert len(clusters(data.test)) == 10
    assert data.fingerprint == fingerprint("embedded:questions") == "generated:questions-1"


def test_fewer_samples_are_the_first_of_more() -> None:
    few = load_task("qa", "embedded:questions", **COUNTS)
    more = load_task("qa", "embedded:questions", **(COUNTS | {"samples": 200}))
    assert more.train[:60] == few.train
    assert more.test == few.test


def test_a_prompt_ends_where_the_answer_begins() -> None:
    example = load_task("qa", "embedded:questions", **COUNTS).test[0]
    assert example.prompt == (f"Context: {example.context}\nQuestion: {example.question}\nAnswer: ")


def test_one_squad_file_is_split_by_article(tmp_path: Path) -> None:
    path = written(tmp_path / "all.json", squad(20))
    data = load_task("qa", str(path), samples=999, dev_questions=999, test_questions=999)
    assert sum(data.counts.values()) == 20 * 12
    assert min(data.counts.values()) >= 12
    assert_disjoint(data, clusters)
    assert data.cluster_key == "article"


def test_a_squad_file_of_few_articles_is_split_by_paragraph(tmp_path: Path) -> None:
    path = written(tmp_path / "all.json", squad(3))
    data = load_task("qa", str(path), samples=999, dev_questions=999, test_questions=999)
    assert sum(data.counts.values()) == 3 * 12
    assert_disjoint(data, contexts)


def test_a_squad_folder_trains_on_train_and_asks_dev(tmp_path: Path) -> None:
    written(tmp_path / "train-v1.1.json", squad(4, "t"))
    written(tmp_path / "dev-v1.1.json", squad(8, "d"))
    data = load_task("qa", str(tmp_path), samples=999, dev_questions=999, test_questions=999)
    assert {example.id[0] for example in data.train} == {"t"}
    assert {example.id[0] for example in (*data.dev, *data.test)} == {"d"}
    assert len(data.dev) + len(data.test) == 8 * 12
    assert len(data.test) > len(data.dev) > 0
    assert_disjoint(data, contexts)


def test_a_paragraph_in_both_files_is_not_trained_on(tmp_path: Path) -> None:
    written(tmp_path / "train.json", {"data": squad(4, "t")["data"] + squad(1, "d")["data"]})
    written(tmp_path / "dev.json", squad(8, "d"))
    data = load_task("qa", str(tmp_path), samples=999, dev_questions=999, test_questions=999)
    assert_disjoint(data, contexts)


def test_the_order_of_articles_in_a_file_does_not_matter(tmp_path: Path) -> None:
    value = squad(20)
    one = load_task("qa", str(written(tmp_path / "a.json", value)), **COUNTS)
    value["data"].reverse()
    other = load_task("qa", str(written(tmp_path / "b.json", value)), **COUNTS)
    assert (one.train, one.dev, one.test) == (other.train, other.dev, other.test)


def test_unanswerable_questions_are_left_out_and_answers_are_unique(tmp_path: Path) -> None:
    value = squad(20)
    for article in value["data"]:
        rows = article["paragraphs"][0]["qas"]
        rows[0]["answers"] = []
        rows[1]["answers"] = [{"text": "b"}, {"text": "a"}, {"text": "b"}]
    path = written(tmp_path / "all.json", value)
    data = load_task("qa", str(path), samples=999, dev_questions=999, test_questions=999)
    assert sum(data.counts.values()) == 20 * 11
    assert {e.answers for e in data.train} == {("text",), ("b", "a")}


def test_continuations_follow_their_prefix_and_share_no_story(
    tmp_path: Path, tokenizer: Any
) -> None:
    texts = stories(30)
    path = written(tmp_path / "stories.json", texts)
    data = load_task("continuation", str(path), tokenizer=tokenizer, **COUNTS)
    assert_disjoint(data, clusters)
    for example in data.test:
        assert any(f"{example.prompt} {example.answers[0]}" in text for text in texts)
        assert 50 <= len(tokenizer(example.prompt)["input_ids"]) <= 138
        reference = tokenizer(example.answers[0], add_special_tokens=False)["input_ids"]
        assert 0 < len(reference) <= data.max_new_tokens == 12
        follows = f"{example.prompt} {example.answers[0]}"
        rest = next(t for t in texts if t.startswith(follows))[len(follows) :]
        assert not rest[:1].isalnum()  # no word is cut in two


def test_a_story_told_twice_is_one_story(tmp_path: Path, tokenizer: Any) -> None:
    path = written(tmp_path / "stories.json", stories(30) * 2)
    data = load_task("continuation", str(path), tokenizer=tokenizer, **COUNTS)
    assert_disjoint(data, clusters)


def test_text_forms_give_the_same_continuations(tmp_path: Path, tokenizer: Any) -> None:
    texts = stories(30)
    forms = {
        "strings/a.json": json.dumps(texts),
        "objects/a.json": json.dumps([{"text": text} for text in texts]),
        "lines/a.jsonl": "\n".join(json.dumps({"text": text}) for text in texts),
        "marked/a.txt": "<|endoftext|>".join(texts),
        **{f"files/{n}.txt": text for n, text in enumerate(texts)},
    }
    for name, content in forms.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    loaded = [
        load_task("continuation", str(folder), tokenizer=tokenizer, **COUNTS)
        for folder in sorted(tmp_path.iterdir())
    ]
    assert len(loaded) == 5
    assert len({data.test for data in loaded}) == 1


def test_one_long_text_is_split_by_passage(tmp_path: Path, tokenizer: Any) -> None:
    (tmp_path / "book.txt").write_text("\n\n".join(stories(60)))
    data = load_task("continuation", str(tmp_path / "book.txt"), tokenizer=tokenizer, **COUNTS)
    assert data.cluster_key == "passage"
    assert_disjoint(data, clusters)


def test_generated_stories_are_continued(tokenizer: Any) -> None:
    data = load_task("continuation", "embedded:stories", tokenizer=tokenizer, **COUNTS)
    assert data.counts == {"train": 60, "dev": 20, "test": 40}
    assert_disjoint(data, clusters)


def test_prefixes_longer_than_any_generated_story_are_refused(tokenizer: Any) -> None:
    with pytest.raises(InputError, match="ask for shorter prefixes"):
        load_task(
            "continuation", "embedded:stories", tokenizer=tokenizer, window=Window(400), **COUNTS
        )


def test_a_long_context_loses_its_end_and_the_question_stays(tokenizer: Any) -> None:
    context = " ".join(f"Mara saw the kite {n}." for n in range(200))
    example = qa_example("1", "a", context, "Who saw the kite?", ("Mara",))
    prompt = fit_prompt(example, tokenizer, 64)
    assert 60 <= len(tokenizer(prompt)["input_ids"]) <= 64
    assert prompt.startswith("Context: Mara saw the kite 0.")
    assert prompt.endswith("\nQuestion: Who saw the kite?\nAnswer: ")


def test_a_prompt_that_fits_is_left_alone(tokenizer: Any) -> None:
    example = load_task("qa", "embedded:questions", **COUNTS).test[0]
    assert fit_prompt(example, tokenizer, 64) == example.prompt


def test_a_question_that_cannot_fit_is_refused(tokenizer: Any) -> None:
    example = qa_example("1", "a", "Mara saw it.", "Who saw the kite " * 20 + "?", ("Mara",))
    with pytest.raises(InputError, match="raise the token limit"):
        fit_prompt(example, tokenizer, 64)


def test_a_long_prefix_loses_its_beginning(tokenizer: Any) -> None:
    data = load_task("continuation", "embedded:stories", tokenizer=tokenizer, **COUNTS)
    prompt = fit_prompt(data.test[0], tokenizer, 20)
    assert data.test[0].prompt.endswith(prompt)
    assert len(tokenizer(prompt)["input_ids"]) == 20


def test_moved_data_keeps_its_fingerprint_and_changed_data_does_not(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    written(folder / "train.json", squad(2))
    before = fingerprint(str(folder))
    moved = Path(shutil.move(folder, tmp_path / "b"))
    assert fingerprint(str(moved)) == before
    written(moved / "train.json", squad(3))
    assert fingerprint(str(moved)) != before


def test_fingerprints_need_no_heavy_imports() -> None:
    code = (
        "import sys; from workloads.datasets import fingerprint, load_task;"
        "load_task('qa', 'embedded:questions', samples=1, dev_questions=1, test_questions=1);"
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules), 'heavy import'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


BAD_FILES = {
    "not SQuAD": b'["a", "b"]',
    "keys title": b'{"title": 1}',
    "is not SQuAD v1.1: it has": b'{"data": [{"title": "a"}]}',
    "wrong type": b'{"data": ["a"]}',
    "is not JSON (line 1 column": b'{"data": ',
    "is empty": b" \n",
    "binary": b"\x00\x01\x02",
    "not UTF-8 (byte 0xe9 at 1)": b'"\xe9"',
    "no question with an answer": b'{"data": []}',
}


@pytest.mark.parametrize("words", BAD_FILES)
def test_a_file_that_is_not_squad_is_named_with_the_reason(tmp_path: Path, words: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(BAD_FILES[words])
    with pytest.raises(InputError) as refusal:
        load_task("qa", str(path), **COUNTS)
    message = str(refusal.value)
    assert words in message
    assert str(path) in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"{}", "list of strings"), (b"[1]", "entry 0 is a int"), (b"[]", "holds no text")],
)
def test_a_file_that_is_not_text_is_refused(
    tmp_path: Path, tokenizer: Any, content: bytes, words: str
) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        load_task("continuation", str(path), tokenizer=tokenizer, **COUNTS)


def test_data_too_short_for_one_question_is_refused(tmp_path: Path, tokenizer: Any) -> None:
    path = written(tmp_path / "short.json", ["Mara saw a kite."] * 3)
    with pytest.raises(InputError, match="gives no training question"):
        load_task("continuation", str(path), tokenizer=tokenizer, **COUNTS)


@pytest.mark.parametrize(
    ("task", "data", "words"),
    [
        ("qaa", "embedded:questions", "did you mean qa"),
        ("qa", "embedded:question", "did you mean questions"),
        ("qa", "embedded:stories", "for qa give embedded:questions"),
        ("continuation", "embedded:stories", "was given no tokenizer"),
        ("qa", "/no/such/folder/x.json", "does not exist"),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_one(task: str, data: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_task(task, data, **COUNTS)


def test_a_missing_file_is_answered_with_the_nearest_name(tmp_path: Path) -> None:
    path = written(tmp_path / "squad.json", squad(2))
    with pytest.raises(InputError, match=f"did you mean {path}"):
        load_task("qa", str(tmp_path / "sqad.json"), **COUNTS)


def test_asking_for_no_questions_is_refused() -> None:
    with pytest.raises(InputError, match="test_questions is 0"):
        load_task("qa", "embedded:questions", samples=1, dev_questions=0, test_questions=0)


@needs_shared
def test_the_real_squad_files_give_a_thousand_test_questions() -> None:
    data = load_task(
        "qa", str(SHARED / "squad"), samples=5000, dev_questions=1000, test_questions=2000
    )
    assert data.counts["train"] == 4370
    assert data.counts["dev"] + data.counts["test"] == 1190
    assert data.counts["test"] >= 1000
    assert_disjoint(data, contexts)


@needs_shared
def test_real_stories_give_two_thousand_test_questions() -> None:
    data = load_task(
        "continuation",
        str(SHARED / "tinystories-sample"),
        samples=1000,
        dev_questions=200,
        test_questions=2000,
        tokenizer=load_tokenizer(str(SHARED / "stories260K-hf")),
    )
    assert data.counts == {"train": 1000, "dev": 200, "test": 2000}
    assert len(clusters(data.test)) > 250
