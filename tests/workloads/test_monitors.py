"""When what a trial has watched is enough, which windows are refused, and what is declared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, get_args

import pytest

from tests.quick_workload import Quick
from workloads.ablation.workload import Ablation
from workloads.contract import HEALTH_METRICS, Metric, Monitor
from workloads.dtdr.workload import Dtdr
from workloads.errors import InputError
from workloads.latent_lora.config import LatentLoraConfig
from workloads.latent_lora.workload import LatentLora
from workloads.monitors import DESCRIPTIONS, WINDOWED, check_layer
from workloads.morphogenesis.workload import Morphogenesis
from workloads.recording import resolved
from workloads.structural_health.inference_workload import StructuralHealthInference

ON = ["svd_ratio", "effective_rank", "implied_cosine"]
WATCHED = {"monitors": ON, "monitor_window": 10, "monitor_layer": None}


# -- what is known --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("observed", "asked", "enough"),
    [
        ({}, WATCHED, True),  # a release without monitors
        (WATCHED, WATCHED, True),
        (WATCHED, {**WATCHED, "monitors": []}, True),
        ({**WATCHED, "monitors": []}, WATCHED, True),
        (WATCHED, {**WATCHED, "monitors": ["svd_ratio", "entropy"]}, False),
        ({}, {**WATCHED, "monitors": ["entropy"]}, False),
        ({**WATCHED, "monitors": ["rank", "entropy"]}, {**WATCHED, "monitors": ["entropy"]}, True),
        (WATCHED, {**WATCHED, "monitor_window": 4}, False),
        ({**WATCHED, "monitor_window": 32}, {**WATCHED, "monitor_window": 20}, False),
        ({**WATCHED, "monitor_window": 20}, {**WATCHED, "monitor_window": 20}, True),
        ({**WATCHED, "monitor_window": 20}, WATCHED, True),
        (  # of another window, or another layer, a rank is another number
            {**WATCHED, "monitors": ["rank"], "monitor_window": 20},
            {**WATCHED, "monitors": ["rank"]},
            False,
        ),
        (
            {**WATCHED, "monitors": ["entropy"], "monitor_layer": "model.norm"},
            {**WATCHED, "monitors": ["entropy"]},
            False,
        ),
        (WATCHED, {**WATCHED, "monitor_layer": "model.layers.0"}, False),
        (WATCHED, {"monitors": [], "monitor_window": 4, "monitor_layer": "x"}, True),
        (
            {**WATCHED, "monitors": ["entropy"]},
            {**WATCHED, "monitors": ["entropy"], "monitor_window": 4},
            True,  # entropy has no window
        ),
    ],
)
def test_what_is_watched_by_default_is_no_reason_to_train_again_and_what_is_asked_for_is(
    observed: Mapping[str, Any], asked: Mapping[str, Any], enough: bool
) -> None:
    assert LatentLora().covers(observed, asked) is enough


def test_where_nothing_is_on_by_default_every_monitor_is_asked_for() -> None:
    for workload in (Morphogenesis(), Ablation(), Dtdr()):
        assert workload.covers({}, {"monitors": []})
        assert not workload.covers({}, {"monitors": ["svd_ratio"]})
        assert workload.covers({"monitors": ON}, {"monitors": ["svd_ratio"]})


# -- what a configuration says --------------------------------------------------------------------


def test_a_prompt_that_trains_nothing_asks_for_no_monitors() -> None:
    workload = LatentLora()
    plain = resolved(workload, {"input": "text"})
    asked = {"monitors": ["entropy"], "monitor_window": 3, "monitor_layer": "model.norm"}
    assert resolved(workload, {"input": "text", **asked}) == plain


@pytest.mark.parametrize("window", [1, 0, -3])
def test_a_window_of_one_is_refused(window: int) -> None:
    with pytest.raises(ValueError, match="monitor_window"):
        LatentLoraConfig(monitor_window=window)


@pytest.mark.parametrize(
    ("workload", "fields", "words"),
    [
        (
            LatentLora(),
            {"samples": 64, "batch_size": 16, "epochs": 2, "monitor_window": 9},
            "the trial has 8 steps of training, so effective_rank, implied_cosine, svd_ratio",
        ),
        (Ablation(), {"texts": 5, "monitors": ["rank"]}, "5 texts to read.*give 2 to 5"),
        (Dtdr(), {"prompts": 6, "samples": 0, "monitors": ["rank"]}, "6 prompts to read"),
        (
            Morphogenesis(),
            {"samples": 64, "batch_size": 32, "epochs": 2, "monitors": ["rank"]},
            "the trial has 4 steps of training, so rank",
        ),
    ],
    ids=["latent_lora", "ablation", "dtdr", "morphogenesis"],
)
def test_a_window_beyond_the_data_is_refused(workload: Any, fields: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        workload.check(resolved(workload, fields))


def test_the_default_window_may_be_too_long_and_what_has_no_window_never_is() -> None:
    short = {"samples": 32, "batch_size": 16, "epochs": 1}
    workload = LatentLora()
    workload.check(resolved(workload, short))
    workload.check(resolved(workload, {**short, "monitors": ["entropy"], "monitor_window": 99}))


# -- what is declared -----------------------------------------------------------------------------


def test_every_monitor_is_described() -> None:
    assert set(DESCRIPTIONS) == set(get_args(Monitor))
    assert set(DESCRIPTIONS) >= WINDOWED


def test_what_monitors_report_is_declared_of_every_workload() -> None:
    for workload in (LatentLora, Morphogenesis, Quick):
        assert dict(workload.metrics).items() >= HEALTH_METRICS.items()
    reducers = {name: metric.reducer for name, metric in HEALTH_METRICS.items()}
    flags = {"health/collapsed", "health/nonfinite"}
    assert {name for name, reducer in reducers.items() if reducer == "max"} == flags


def test_a_workload_may_declare_one_of_them_itself() -> None:
    class Own(Quick):
        metrics: ClassVar[Mapping[str, Metric]] = {"health/rank": Metric("of its own", "m")}

    assert Own.metrics["health/rank"].unit == "m"
    assert Own.metrics["health/entropy"].unit == "nats"
    assert "health/rank" in Quick.metrics


# -- which layer ----------------------------------------------------------------------------------

MODULES = ("model.embed_tokens", "model.layers.0.mlp.up_proj", "model.layers.1.self_attn.q_proj")


@pytest.mark.parametrize(
    "layer",
    [
        None,
        "model.layers.1",
        "model.layers.1.self_attn.q_proj",
        "model.layers.0.mlp.act_fn",  # without weights of its own
        "lm_head",  # whose weights may be those of the embedding
        "base_model.model.model.layers.0",  # within PEFT
        "transformer.model.layers.0",  # a body's own file, under a head
    ],
)
def test_a_layer_that_the_model_may_have_is_accepted(layer: str | None) -> None:
    check_layer(layer, MODULES)


@pytest.mark.parametrize(
    ("layer", "hint"),
    [
        ("nope", "give a module's name, such as"),
        ("model.layers.2", "did you mean model.layers."),
        ("model.layer.1", "did you mean model.layers.1?"),
        ("model.layers.1.self_atn", "did you mean model.layers.1.self_attn?"),
    ],
)
def test_a_layer_that_the_model_does_not_have_is_refused(layer: str, hint: str) -> None:
    with pytest.raises(InputError) as refused:
        check_layer(layer, MODULES)
    assert f"monitor_layer: this model has no module '{layer}'; {hint}" in str(refused.value)


@pytest.mark.parametrize(
    "workload", [LatentLora, Ablation, Dtdr, StructuralHealthInference], ids=lambda one: one.name
)
def test_every_workload_of_a_language_model_refuses_it_before_the_run(workload: type) -> None:
    config = resolved(workload(), {"monitor_layer": "model.layers.99"})
    with pytest.raises(InputError, match=r"no module 'model\.layers\.99'"):
        workload().check(config)
