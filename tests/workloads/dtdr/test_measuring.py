"""Predictions and texts of a real model, against one text at a time without any shortcut."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from workloads.dtdr.config import DtdrConfig
from workloads.dtdr.generating import greedy
from workloads.dtdr.measuring import Predictions, Reference, perplexity, predictions, text_nll
from workloads.dtdr.skeleton import blank_model, weights_by_name
from workloads.dtdr.texts import Prompts, load_prompts
from workloads.errors import InputError
from workloads.models import FileTokenizer, load_model, load_tokenizer, resolve_model

CONFIG = DtdrConfig(prompts=12, prompt_tokens=10, held_out_tokens=20)


@pytest.fixture(scope="module")
def model() -> Any:
    return load_model("embedded:llama").requires_grad_(False)


@pytest.fixture(scope="module")
def prompts() -> Prompts:
    return load_prompts(CONFIG, load_tokenizer("embedded:llama"))


def logits_of(model: Any, ids: list[int]) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    return found


def test_prompts_are_the_beginnings_of_different_texts(prompts: Prompts) -> None:
    assert prompts.ids.shape == (12, 30)
    assert len(set(prompts.units)) == len(set(prompts.clusters)) == 12
    assert prompts.held_out_tokens == 240
    assert {int(row[0]) for row in prompts.ids} == {1}  # the token that begins a text
    text = load_tokenizer("embedded:llama").decode(prompts.ids[0])
    assert text.startswith("<s>")
    assert Prompts.unpacked(prompts.packed()) == prompts


def test_more_prompts_begin_with_the_fewer(prompts: Prompts) -> None:
    more = load_prompts(CONFIG.model_copy(update={"prompts": 20}), load_tokenizer("embedded:llama"))
    assert more.units[:12] == prompts.units
    assert (more.ids[:12] == prompts.ids).all()


def test_texts_are_cut_alike_without_loading_the_model_s_tokenizer(prompts: Prompts) -> None:
    folder = resolve_model("embedded:llama").path
    assert folder is not None
    light = load_prompts(CONFIG, FileTokenizer((folder / "tokenizer.json").read_text()))
    assert (light.ids == prompts.ids).all()


def test_one_reading_gives_what_reading_prompt_and_text_apart_gives(
    model: Any, prompts: Prompts
) -> None:
    found = predictions(model, prompts, batch_size=5)
    for number, row in enumerate(prompts.ids.tolist()):
        after = logits_of(model, row[:10])[-1]
        assert torch.allclose(found.last[number], after, atol=1e-4)
        likely = logits_of(model, row).log_softmax(-1)
        nats = [-float(likely[at - 1, row[at]]) for at in range(10, 30)]
        assert float(found.nll[number]) == pytest.approx(sum(nats) / 20, rel=1e-4)
    assert found.perplexity == pytest.approx(math.exp(float(found.nll.mean())))


def test_the_size_of_batches_changes_next_to_nothing(model: Any, prompts: Prompts) -> None:
    one, other = (predictions(model, prompts, size) for size in (12, 5))
    assert torch.allclose(one.last, other.last, atol=1e-4)


def test_the_reference_compared_with_itself(model: Any, prompts: Prompts) -> None:
    found = predictions(model, prompts, 12)
    reference = Reference(found, prompts)
    values = reference.values(found)
    assert reference.overlaps(found).tolist() == [1.0] * 12
    exactly = {"top10_overlap": 1, "top1_agreement": 1, "perplexity_ratio": 1, "kl": 0, "finite": 1}
    assert {name: values[name] for name in exactly} == exactly
    assert values["cosine"] == pytest.approx(1, abs=1e-12)
    assert values["perplexity"] == found.perplexity


def test_a_prompt_that_is_not_finite_agrees_with_nothing(model: Any, prompts: Prompts) -> None:
    found = predictions(model, prompts, 12)
    reference = Reference(found, prompts)
    last, nll = found.last.clone(), found.nll.clone()
    last[3, 7], last[5, 0], nll[8] = math.nan, math.inf, math.nan
    broken = Predictions(last, nll)
    assert [at for at, score in enumerate(reference.overlaps(broken)) if score == 0] == [3, 5, 8]
    values = reference.values(broken)
    assert values["top10_overlap"] == values["top1_agreement"] == pytest.approx(9 / 12)
    assert values["finite"] == pytest.approx(1 - 2 / last.numel())
    unmeasured = ("cosine", "cosine_se", "kl", "nll", "perplexity", "perplexity_ratio")
    assert [values[name] for name in unmeasured] == [None] * 6


def test_a_perplexity_that_no_float_holds_is_not_measured() -> None:
    assert perplexity(2.0) == math.exp(2)
    assert perplexity(5000.0) is None


def test_greedy_is_the_likeliest_token_again_and_again(model: Any, prompts: Prompts) -> None:
    start = prompts.ids[:3, :10]
    rows = greedy(model, torch.tensor(start), 12, frozenset())
    for ids, row in zip(start.tolist(), rows, strict=True):
        for token in row:
            assert int(logits_of(model, ids)[-1].argmax()) == token
            ids = [*ids, token]
        assert len(row) == 12


def test_a_text_ends_before_its_end_token(model: Any, prompts: Prompts) -> None:
    start = torch.tensor(prompts.ids[:3, :10])
    whole = greedy(model, start, 12, frozenset())
    end = whole[1][4]
    ended = greedy(model, start, 12, {end})
    assert ended == [row[: row.index(end)] if end in row else row for row in whole]


def test_a_text_ends_where_nothing_says_how_it_goes_on(prompts: Prompts) -> None:
    broken = load_model("embedded:llama").requires_grad_(False)
    broken.model.norm.weight.data.fill_(math.nan)
    assert greedy(broken, torch.tensor(prompts.ids[:2, :10]), 5, frozenset()) == [[], []]


def test_the_text_is_judged_without_its_prompt(model: Any) -> None:
    ids = [1, 40, 50, 60, 70]
    likely = logits_of(model, ids).log_softmax(-1)
    nats = -float(likely[2, 60] + likely[3, 70]) / 2

    def read(given: Tensor) -> Tensor:
        return logits_of(model, given[0].tolist())[None]

    assert text_nll(read, [ids, [1, 40, 50]], 3, "cpu") == pytest.approx(nats, rel=1e-5)
    assert text_nll(read, [[1, 40, 50]], 3, "cpu") is None


def test_a_blank_model_that_is_filled_is_the_model(model: Any, prompts: Prompts) -> None:
    blank = blank_model(model.config.to_dict(), torch.float32, "cpu")
    own = dict(model.named_parameters())
    weights = weights_by_name(blank, {n: tuple(p.shape) for n, p in own.items()}, {})
    for name, weight in weights.items():
        weight.copy_(own[name])
    filled = predictions(blank, prompts, 12)
    assert torch.equal(filled.last, predictions(model, prompts, 12).last)


def test_an_encoding_of_another_model_is_refused_by_the_name_of_a_tensor(model: Any) -> None:
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    first = "model.layers.3.mlp.up_proj.weight"
    with pytest.raises(InputError, match=rf"{first} is \[128, 64\] in the model and \[128, 65\]"):
        weights_by_name(model, {**shapes, first: (128, 65)}, {})
    del shapes[first]
    with pytest.raises(InputError, match=f"has no tensor {first}"):
        weights_by_name(model, shapes, {})


def test_names_may_lack_the_body_s_prefix_and_strange_ones_are_left_out(model: Any) -> None:
    shapes = {n.removeprefix("model."): tuple(p.shape) for n, p in model.named_parameters()}
    found = weights_by_name(model, {**shapes, "layers.0.attn.inv_freq": (8,)}, {})
    assert set(found) == set(shapes)


def test_what_an_encoding_has_tied_is_one_in_the_model() -> None:
    config = {**load_model("embedded:llama").config.to_dict(), "tie_word_embeddings": False}
    blank = blank_model(config, torch.float32, "cpu")
    head, body = "lm_head.weight", "model.embed_tokens.weight"
    shapes = {n: tuple(p.shape) for n, p in blank.named_parameters() if n != head}
    found = weights_by_name(blank, shapes, {head: body})
    found[body].fill_(3.0)
    assert bool((blank.lm_head.weight == 3).all())
