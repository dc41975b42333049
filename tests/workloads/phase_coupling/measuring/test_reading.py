"""Texts read with teacher forcing, and texts that are written, of real models with oscillators."""

from __future__ import annotations

from collections import Counter
from functools import cache
from math import log
from typing import Any

import numpy as np
import pytest
import torch

from workloads.errors import DivergedError
from workloads.models import load_model, load_tokenizer
from workloads.phase_coupling.checking import resolved
from workloads.phase_coupling.config import PhaseCouplingConfig
from workloads.phase_coupling.joining import draw_core, joined, measured_alone
from workloads.phase_coupling.measuring.phases import Beginnings
from workloads.phase_coupling.measuring.sampling import Sample, sample_texts
from workloads.phase_coupling.measuring.teacher_forcing import (
    ReadTexts,
    in_order,
    read_texts,
    trace_of_first,
)
from workloads.phase_coupling.measuring.texts import TestTexts, load_test_texts

FEW: dict[str, Any] = {
    "model": "embedded:rwkv",
    "initial": "random",
    "texts": 4,
    "text_tokens": 12,
    "sample_prompts": 2,
    "samples": 2,
    "prompt_tokens": 6,
    "sample_tokens": 5,
}


@cache
def model_of(name: str) -> Any:
    return load_model(name).requires_grad_(False)


def settings(**fields: Any) -> PhaseCouplingConfig:
    return resolved(PhaseCouplingConfig(**{**FEW, **fields}))


def texts_of(config: PhaseCouplingConfig) -> TestTexts:
    return load_test_texts(config, load_tokenizer(config.model))


def read(config: PhaseCouplingConfig, texts: TestTexts | None = None, seed: int = 0) -> ReadTexts:
    model = model_of(config.model)
    core = draw_core(config, model, seed)
    with joined(config, model, core) as coupling, measured_alone(core):
        asked = texts_of(config) if texts is None else texts
        return read_texts(model, coupling, asked, Beginnings(config, seed))


def written(config: PhaseCouplingConfig, seed: int = 0) -> list[Sample]:
    model = model_of(config.model)
    core = draw_core(config, model, seed)
    with joined(config, model, core) as coupling, measured_alone(core):
        return sample_texts(model, coupling, texts_of(config), Beginnings(config, seed))


def test_texts_are_of_one_length_and_prompts_are_their_beginnings() -> None:
    texts = texts_of(settings())
    assert texts.ids.shape == (4, 12)
    assert texts.prompts.shape == (2, 6)
    assert np.array_equal(texts.prompts, texts.ids[:2, :6])
    assert len(set(texts.units)) == len(set(texts.clusters)) == 4
    assert texts.prompt_units == texts.units[:2]


def test_prompts_may_be_longer_and_more_than_texts() -> None:
    texts = texts_of(settings(texts=2, text_tokens=8, sample_prompts=3, prompt_tokens=10))
    assert texts.ids.shape == (2, 8)
    assert texts.prompts.shape == (3, 10)


def test_figures_of_a_text_are_those_of_its_logits() -> None:
    config = settings(mode="modulate", strength=1.0)
    found, model, texts = read(config), model_of(config.model), texts_of(config)
    core = draw_core(config, model, 0)
    ids = torch.from_numpy(texts.ids)
    with torch.no_grad():
        plain = model(input_ids=ids).logits.double()
        with joined(config, model, core) as coupling:
            Beginnings(config, 0).begin(coupling, texts.units)
            coupled = model(input_ids=ids).logits.double()
    p, q = plain.log_softmax(-1), coupled.log_softmax(-1)
    kl = torch.nn.functional.kl_div(q, p, log_target=True, reduction="none").sum(-1)
    entropy = torch.distributions.Categorical(logits=coupled).entropy() / log(q.shape[-1])
    ce = torch.nn.functional.cross_entropy(coupled[:, :-1].transpose(1, 2), ids[:, 1:])
    np.testing.assert_allclose(found.kl, kl.numpy(), atol=1e-7)
    np.testing.assert_allclose(found.entropy, entropy.numpy(), atol=1e-7)
    assert float(found.ce.mean()) == pytest.approx(float(ce), abs=1e-7)
    assert float(found.kl.mean()) > 1e-4


@pytest.mark.parametrize("mode", ["off", "observe", "modulate_train_only"])
def test_where_oscillators_do_not_act_the_divergence_is_exactly_zero(mode: str) -> None:
    found, plain = read(settings(mode=mode)), read(settings(mode="off"))
    assert not found.kl.any()
    assert np.array_equal(found.entropy, plain.entropy)
    assert np.array_equal(found.ce, plain.ce)
    assert (found.r is None) == (mode == "off")
    columns = found.scores().columns
    assert all((value is None) == (mode == "off") for value in columns["r_mean"])


def test_held_phases_have_the_order_parameter_that_was_asked_for() -> None:
    config = settings(target_r=0.3)
    found = read(config)
    assert found.r is not None
    np.testing.assert_allclose(found.r, 0.3, atol=1e-5)
    assert found.scores().columns["r_lag1"] == [None] * 4
    for sample in written(config):
        assert sample.r == pytest.approx([0.3] * 5, abs=1e-5)


def test_the_origins_formula_misses_its_target_and_its_phases_move_on() -> None:
    first = read(settings(target_r=0.5, set_by="linspace", hold=False)).r
    assert first is not None
    assert abs(float(first[:, 0].mean()) - 0.595) < 0.1
    assert float(first.std(axis=1).min()) > 1e-4


def test_shuffled_texts_have_the_same_tokens_and_begin_alike() -> None:
    texts = texts_of(settings())
    shuffled = in_order(texts, Beginnings(settings(driven_by="shuffled"), 0))
    assert not np.array_equal(shuffled.ids, texts.ids)
    for row, original in zip(shuffled.ids, texts.ids, strict=True):
        assert Counter(row.tolist()) == Counter(original.tolist())
        assert row[0] == original[0]
    again = in_order(texts, Beginnings(settings(driven_by="shuffled"), 0))
    assert np.array_equal(again.ids, shuffled.ids)
    assert in_order(texts, Beginnings(settings(), 0)) is texts


@pytest.mark.parametrize(
    "fields",
    [{}, {"core": {"kind": "kuramoto", "pool": "sequence"}}, {"core": {"kind": "phase_block"}}],
    ids=["causal", "sequence", "phase_block"],
)
def test_a_text_is_measured_the_same_whatever_is_read_beside_it(fields: dict[str, Any]) -> None:
    together = read(settings(**fields))
    alone = read(settings(**fields, eval_batch_size=1))
    np.testing.assert_allclose(together.kl, alone.kl, atol=1e-6)
    assert together.r is not None
    assert alone.r is not None
    np.testing.assert_allclose(together.r, alone.r, atol=1e-5)
    beside, by_itself = written(settings(**fields)), written(settings(**fields, eval_batch_size=1))
    assert [one.tokens for one in beside] == [one.tokens for one in by_itself]


def test_carried_phases_go_on_from_text_to_text() -> None:
    reset = read(settings(initial="equal")).r
    carried = read(settings(initial="equal", state="carried")).r
    assert reset is not None
    assert carried is not None
    np.testing.assert_allclose(carried[0], reset[0], atol=1e-5)
    assert abs(carried[1, 0] - reset[1, 0]) > 1e-4


@pytest.mark.parametrize("name", ["embedded:mamba", "embedded:rwkv", "embedded:llama"])
def test_r_of_a_written_text_is_r_of_reading_it(name: str) -> None:
    config = settings(model=name, strength=1.0)
    model, texts = model_of(name), texts_of(config)
    core = draw_core(config, model, 0)
    beginnings = Beginnings(config, 0)
    with joined(config, model, core) as coupling, torch.no_grad():
        sample = sample_texts(model, coupling, texts, beginnings)[0]
        beginnings.begin(coupling, [sample.unit])
        ids = [*texts.prompts[0].tolist(), *sample.tokens[:-1]]
        model(input_ids=torch.tensor([ids]), use_cache=False)
        assert coupling.r is not None
        whole = coupling.r[0, texts.prompts.shape[1] - 1 :].tolist()
    assert sample.r == pytest.approx(whole, abs=1e-4)


def test_same_seed_texts_are_identical_where_nothing_acts_and_part_where_it_does() -> None:
    plain = written(settings(mode="off", sample_tokens=12))
    for mode in ("observe", "modulate_train_only"):
        quiet = written(settings(mode=mode, sample_tokens=12))
        assert [one.tokens for one in quiet] == [one.tokens for one in plain]
        assert [one.entropy for one in quiet] == [one.entropy for one in plain]
    loud = written(settings(strength=3.0, sample_tokens=12))
    assert [one.tokens for one in loud] != [one.tokens for one in plain]
    other = written(settings(mode="off", sample_tokens=12), seed=1)
    assert [one.tokens for one in other] != [one.tokens for one in plain]


def test_the_trace_of_the_first_text_has_its_order_parameter() -> None:
    config = settings()
    model, texts = model_of(config.model), texts_of(config)
    found = read(config)
    with joined(config, model, draw_core(config, model, 0)) as coupling:
        trace = trace_of_first(model, coupling, texts, Beginnings(config, 0))
    assert trace is not None
    assert trace.shape == (12, 16)
    assert found.r is not None
    order = np.abs(np.exp(1j * trace).mean(axis=1))
    np.testing.assert_allclose(order, found.r[0], atol=1e-4)


def test_predictions_that_are_not_finite_end_the_trial() -> None:
    config = settings()
    model = load_model(config.model).requires_grad_(False)
    core = draw_core(config, model, 0)
    core.V.data.fill_(float("nan"))
    with joined(config, model, core) as coupling:
        for measure in (read_texts, sample_texts):
            with pytest.raises(DivergedError, match="not finite"):
                measure(model, coupling, texts_of(config), Beginnings(config, 0))
