"""What every workload must do, what is refused before a trial, and what a trial says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from orchestrator.errors import UsageError
from orchestrator.validation import validated
from workloads.contract import Result, Scores
from workloads.errors import InputError
from workloads.models import resolve_model
from workloads.phase_coupling.config import (
    KuramotoSettings,
    PhaseBlockSettings,
    PhaseCouplingConfig,
)
from workloads.phase_coupling.demos.measure import main as measure
from workloads.phase_coupling.metrics import SCORE_COLUMNS
from workloads.phase_coupling.workload import PhaseCoupling
from workloads.recording import resolved, run_recorded
from workloads.testing import WorkloadContract

RWKV = Path(__file__).parents[4] / "shared" / "data" / "tiny-rwkv4-hf"
FEW: dict[str, Any] = {
    "model": "embedded:rwkv",
    "initial": "random",
    "texts": 4,
    "text_tokens": 12,
    "sample_prompts": 2,
    "samples": 2,
    "prompt_tokens": 6,
    "sample_tokens": 6,
    "monitors": [],
}
BRIEFLY: dict[str, Any] = {"steps": 4, "batch_size": 2, "tokens": 12, "checkpoint_steps": 2}


@pytest.mark.slow
class TestPhaseCoupling(WorkloadContract):
    workload = PhaseCoupling
    config_a: ClassVar = {**FEW, "sample_prompts": 0, "training": BRIEFLY, "state": "carried"}
    config_b: ClassVar = {
        **FEW,
        "samples": 1,
        "site": "mixer",
        "training": {**BRIEFLY, "learning_rate": 0.01, "drift": {}},
        "monitors": ["svd_ratio", "entropy"],
        "monitor_window": 3,
    }
    config_ranks: ClassVar = {
        **FEW,
        "sample_prompts": 0,
        "state": "carried",
        "training": {
            **BRIEFLY,
            "trains": "all",
            "entropy_weight": 0.1,
            "presence_weight": 0.05,
            "tonal_weight": 0.5,
            "end_weight": 10.0,
        },
    }


def checked(**fields: Any) -> PhaseCouplingConfig:
    workload = PhaseCoupling()
    config = resolved(workload, {**FEW, **fields})
    assert isinstance(config, PhaseCouplingConfig)
    workload.check(config)
    return config


class Trials:
    """Trials in a folder, each run once, however many tests ask for it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, tuple[Result, Path]] = {}

    def __call__(self, seed: int = 0, **fields: Any) -> tuple[Result, Path]:
        """A trial's result, and its artifacts."""
        key = json.dumps([seed, fields], sort_keys=True)
        if key not in self._made:
            place = Path(tempfile.mkdtemp(dir=self._folder))
            found = run_recorded(PhaseCoupling(), {**FEW, **fields}, place, seed=seed)
            assert found.result is not None
            self._made[key] = found.result, next(place.glob("*/artifacts"))
        return self._made[key]


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    return Trials(tmp_path_factory.mktemp("trials"))


def scores_of(result: Result, split: str) -> Scores:
    return next(one for one in result.scores if one.split == split)


# -- the configuration ----------------------------------------------------------------------------


def test_a_share_of_the_depth_is_a_block_and_stays_one() -> None:
    config = checked(layer="1/2")
    assert config.layer == 2
    assert PhaseCoupling().resolve(config) == config
    assert checked(layer="32/64") == config


@pytest.mark.parametrize(
    "unread",
    [
        {"mode": "off", "site": "logits", "strength": 2.0, "initial": "equal", "target_r": 0.3},
        {"mode": "off", "training": {"steps": 3}, "driven_by": "constant"},
        {"mode": "off", "training": {"steps": 3}, "telemetry": "research"},
    ],
)
def test_without_oscillators_nothing_of_theirs_makes_another_trial(unread: dict[str, Any]) -> None:
    assert checked(**unread) == checked(mode="off")


def test_what_is_not_read_returns_to_its_default() -> None:
    assert checked(hold=False, set_by="linspace") == checked()
    assert checked(site="logits", layer=0) == checked(site="logits")
    block = {"kind": "phase_block"}
    assert checked(core=block, strength=3.0, gain="scalar") == checked(core=block)
    assert checked(sample_prompts=0, temperature=2.0) == checked(sample_prompts=0)
    assert checked(training={"learning_rate": 3.0}) == checked()


def test_arms_are_told_apart_by_what_is_not_as_it_is_by_default() -> None:
    factors = PhaseCoupling().factors
    plain = {"mode": "modulate", "core": "kuramoto", "site": "residual", "layer": 2}
    assert factors(checked(initial="equal")) == plain
    one = checked(initial="equal", gain="scalar", strength=1.0, target_r=0.3)
    assert factors(one) == {**plain, "gain": "scalar", "strength": 1.0, "target_r": 0.3}
    assert factors(checked(mode="off")) == {"mode": "off"}


def test_a_model_that_is_trained_without_oscillators_is_another() -> None:
    training = {"steps": 3, "trains": "all"}
    assert checked(mode="off", training=training) != checked(mode="off")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"layer": 4}, "layer=4 is beyond the model: the model has 4 blocks; give 0 to 3"),
        ({"layer": "9/8"}, "beyond the model"),
        ({"layer": "middle"}, "such as '1/2'"),
        ({"mode": "observe", "training": {"steps": 3}}, "trains nothing"),
        ({"training": {"steps": 3, "drift": {"low": 0.6, "high": 0.5}}}, "not below high"),
        (
            {"core": {"kind": "phase_block"}, "target_r": 0.5, "hold": False},
            "hold=true and set_by=solver",
        ),
        ({"model": "embedded:llama", "sample_tokens": 5000}, "prompt_tokens . sample_tokens is"),
        ({"layer": "foo"}, "layer='foo' is no block and no share: the model has 4 blocks"),
        ({"layer": "0/0"}, "layer='0/0' divides by 0: the model has 4 blocks; give 0 to 3"),
        ({"text_tokens": 4000}, "text_tokens is 4000, and .* has no text.*; lower text_tokens"),
        ({"prompt_tokens": 4000}, "prompt_tokens is 4000, .*; lower prompt_tokens"),
        ({"training": {"steps": 3, "tokens": 4000}}, "training.tokens is 4000, .*; lower training"),
        ({"data": "embedded:questions"}, "stories"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_it_runs(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        checked(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"target_r": 0.0},
        {"target_r": 1.0},
        {"target_r": 1.5},
        {"core": {"kind": "kuramoto", "oscillators": 1}},
        {"core": {"kind": "kuramoto", "coupling": float("nan")}},
        {"mode": "sometimes"},
        {"strength": True},
    ],
)
def test_values_out_of_range_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PhaseCouplingConfig.model_validate({**FEW, **fields})


def test_a_core_of_no_stated_kind_is_of_the_default_one() -> None:
    core = checked(core={"features": "sin_cos"}).core
    assert core == KuramotoSettings(features="sin_cos")
    assert checked(core={"kind": "phase_block"}).core == PhaseBlockSettings()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"core": {"oscilators": 3}}, "Unknown key 'core.oscilators'. Did you mean 'oscillators'?"),
        ({"core": {"oscillators": 1}}, "'core.oscillators' is 1, but should be greater than or"),
        (
            {"core": {"kind": "kuramotto"}},
            "'core.kind' is 'kuramotto', but should be one of 'kuramoto', 'phase_block'. Did you "
            "mean 'kuramoto'?",
        ),
        ({"core": "kuramoto"}, "'core' is 'kuramoto', but should be settings by name"),
        ({"core": {"dt": "x"}}, "'core.dt' is 'x', but should be a number."),
        ({"layer": 1.5}, "layer: 1.5 is neither a block, counted from 0, nor a share of the depth"),
        ({"strength": "1e400"}, "'strength' is 1e400, but should be a finite number"),
    ],
)
def test_settings_that_cannot_be_are_told_in_our_words(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as error:
        validated(PhaseCouplingConfig, {**FEW, **fields}, "arm 'a'")
    assert message in str(error.value)


def test_a_model_whose_blocks_are_unknown_is_refused(tmp_path: Path) -> None:
    source = resolve_model("embedded:rwkv").path
    assert source is not None
    shutil.copytree(source, tmp_path / "other")
    config = tmp_path / "other" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "model_type": "gpt_neox"}))
    with pytest.raises(InputError, match=r"gpt_neox.*valid: llama, mamba, mamba2, qwen2, rwkv"):
        checked(model=str(tmp_path / "other"))


def test_texts_that_are_too_few_or_too_short_are_refused(tmp_path: Path) -> None:
    texts = tmp_path / "texts.json"
    texts.write_text(json.dumps([f"Mara found a key number {n} in the garden." for n in range(30)]))
    with pytest.raises(InputError, match=r"lower texts|gives no"):
        checked(data=str(texts), text_tokens=64)


def test_a_phase_block_at_the_logits_of_a_large_vocabulary_is_refused(tmp_path: Path) -> None:
    source = resolve_model("embedded:rwkv").path
    assert source is not None
    shutil.copytree(source, tmp_path / "large")
    config = tmp_path / "large" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "vocab_size": 50_000}))
    with pytest.raises(InputError, match="every pair of the 50000 tokens"):
        checked(model=str(tmp_path / "large"), core={"kind": "phase_block"}, site="logits")


def test_fewer_samples_do_not_ask_for_another_trial_where_there_are_none() -> None:
    none = {"texts": 4, "sample_prompts": 0, "samples": 5}
    some = {"texts": 4, "sample_prompts": 2, "samples": 1}
    assert PhaseCoupling().covers(some, none)
    assert not PhaseCoupling().covers(none, some)
    assert not PhaseCoupling().covers(some, {**some, "samples": 2})


def test_planning_loads_no_torch() -> None:
    code = (
        "import sys; from workloads.phase_coupling.workload import PhaseCoupling as P; "
        "w = P(); c = w.resolve(w.Config(training={'steps': 2})); w.check(c); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- a trial --------------------------------------------------------------------------------------


def test_a_trial_scores_every_column_and_keeps_what_a_summary_reads(trial: Trials) -> None:
    result, artifacts = trial(training=BRIEFLY)
    assert {one.split: set(one.columns) for one in result.scores} == {
        split: set(columns) for split, columns in SCORE_COLUMNS.items()
    }
    assert len(scores_of(result, "texts").units) == 4
    samples = scores_of(result, "samples")
    assert samples.units[:3] == [f"{samples.clusters[0]}/0", f"{samples.clusters[0]}/1",
                                 f"{samples.clusters[2]}/0"]  # fmt: skip
    layers = scores_of(result, "layers")
    assert list(layers.units) == ["block.2", "block.3", "final_norm", "logits", "probabilities"]
    assert len(scores_of(result, "steps").units) == 4
    rows = [json.loads(line) for line in (artifacts / "measurements.jsonl").open()]
    assert [row["tokens_generated"] for row in rows] == [6] * 4
    assert all(row["R_min"] <= row["R_mean"] <= row["R_max"] for row in rows)
    with np.load(artifacts / "trajectories.npz") as arrays:
        shapes = {name: arrays[name].shape for name in arrays.files}
    assert shapes == {"texts_r": (4, 12), "samples_r": (4, 6), "phases": (12, 16)}
    assert (artifacts / "scores.json").is_file()
    assert (artifacts / "history.json").is_file()


def test_without_oscillators_what_is_theirs_is_not_measured(trial: Trials) -> None:
    result, artifacts = trial(mode="off")
    assert result.metrics["texts_kl"] == 0
    assert result.metrics["logits_relative_change"] == 0
    for name in ("r_mean", "ru", "goldilocks", "residence/spiral", "core_gradient", "survival"):
        assert result.metrics[name] is None
    assert set(scores_of(result, "samples").columns["r_mean"]) == {None}
    assert not (artifacts / "trajectories.npz").exists()
    assert result.metrics["divergence"] == 6
    assert result.metrics["identical_samples"] == 1


def test_looking_on_and_training_alone_write_the_models_own_text(trial: Trials) -> None:
    """The source's null: nothing can be found where nothing acts."""
    texts, scored = [], []
    quiet: list[dict[str, Any]] = [
        {"mode": "off"},
        {"mode": "observe"},
        {"mode": "modulate_train_only", "training": BRIEFLY},
    ]
    for fields in quiet:
        result, artifacts = trial(**fields)
        rows = [json.loads(line) for line in (artifacts / "measurements.jsonl").open()]
        texts.append([row["text"] for row in rows])
        scored.append(
            [scores_of(result, split).columns["entropy"] for split in ("texts", "samples")]
        )
    assert texts[0] == texts[1] == texts[2]
    assert scored[0] == scored[1] == scored[2]


def test_acting_changes_the_next_token_and_what_is_left_of_it_is_told_by_layer(
    trial: Trials,
) -> None:
    result, _ = trial(strength=2.0)
    assert result.metrics["texts_kl"] > 1e-3  # type: ignore[operator]
    layers = scores_of(result, "layers")
    change = layers.columns["relative_change"]
    assert min(value or 0.0 for value in change) > 0
    assert layers.columns["logits_change"] == [None, None, None, change[3], None]
    assert layers.columns["survival"][3] == pytest.approx(change[3] / change[0])  # type: ignore[operator]
    assert result.metrics["survival"] == layers.columns["survival"][3]


def test_a_scalar_before_a_norm_is_washed_out_and_a_gain_per_channel_is_not(trial: Trials) -> None:
    before = {"site": "before_norm", "sample_prompts": 0, "strength": 1.0}
    scalar, _ = trial(gain="scalar", **before)
    channel, _ = trial(gain="channel", **before)
    assert scalar.metrics["logits_relative_change"] < 1e-4  # type: ignore[operator]
    assert channel.metrics["logits_relative_change"] > 1e-3  # type: ignore[operator]
    assert scalar.metrics["divergence"] is None


def test_a_held_target_is_reached_and_one_that_is_missed_is_said(trial: Trials) -> None:
    held, _ = trial(target_r=0.7)
    assert held.metrics["achieved_r"] == pytest.approx(0.7, abs=0.01)
    assert not held.notes
    origin, _ = trial(target_r=0.5, set_by="linspace", hold=False)
    assert "0.5 was asked for" in origin.notes[0]


def test_the_same_seed_draws_the_same_core_in_every_mode(trial: Trials) -> None:
    observed, _ = trial(mode="observe")
    acting, _ = trial(mode="modulate")
    other, _ = trial(seed=1, mode="observe")
    # At its own site the core reads what it reads in both: only later tokens of a text it wrote
    # can differ.
    assert observed.metrics["r_mean"] == pytest.approx(acting.metrics["r_mean"], abs=1e-6)
    assert observed.metrics["r_mean"] != pytest.approx(other.metrics["r_mean"], abs=1e-4)


def test_monitors_watch_a_model_that_is_not_trained_as_it_reads(tmp_path: Path) -> None:
    fields = {**FEW, "monitors": ["entropy"], "sample_prompts": 0}
    found = run_recorded(PhaseCoupling(), fields, tmp_path)
    assert [step for step, values in found.rows if "health/entropy" in values] == [1, 2, 3, 4]


@pytest.fixture(scope="module")
def dead(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model whose third block's time mixing gives nothing."""
    source = resolve_model("embedded:rwkv").path
    assert source is not None
    folder = Path(shutil.copytree(source, tmp_path_factory.mktemp("dead") / "model"))
    weights = load_file(folder / "model.safetensors")
    weights["rwkv.blocks.2.attention.output.weight"].zero_()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return str(folder)


def test_oscillators_that_act_on_a_dead_block_are_told_from_those_that_look_on(
    dead: str, trial: Trials
) -> None:
    result, _ = trial(model=dead, site="mixer", layer=2, strength=1.0)
    assert result.metrics["logits_relative_change"] == 0
    assert result.flags == {"dead_site"}
    assert result.notes[0].startswith("dead site: acts, but changes no logit (at mixer of block 2")
    others: list[dict[str, Any]] = [
        {"site": "residual", "layer": 2},
        {"site": "mixer", "layer": 2, "mode": "observe"},
        {"site": "mixer", "layer": 2, "strength": 0.0},
        {"site": "mixer", "layer": 1},
    ]
    for fields in others:
        result, _ = trial(model=dead, **fields)
        assert not result.flags
        assert not result.notes


@pytest.mark.skipif(not RWKV.is_dir(), reason="the real RWKV-4 is not here")
def test_a_real_rwkv_reads_bytes(trial: Trials) -> None:
    result, artifacts = trial(model=str(RWKV), texts=3, text_tokens=24)
    assert result.metrics["perplexity"] < 20  # type: ignore[operator]
    rows = [json.loads(line) for line in (artifacts / "measurements.jsonl").open()]
    assert all(len(row["prompt"]) == 6 for row in rows)


# -- the demonstration ----------------------------------------------------------------------------


def test_the_demonstration_writes_a_row_for_each_sample(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {}
    for mode in ("blind", "measured"):
        to = tmp_path / f"{mode}.jsonl"
        options = ["--mode", mode, "--samples", "2", "--max-tokens", "6", "--output", str(to)]
        measure(["embedded:rwkv", *options, "--prompt", "Mara found", "--prompt", "Tom"])
        rows = [json.loads(line) for line in to.open()]
        assert [(row["prompt"], row["sample"]) for row in rows] == [
            ("Mara found", 0), ("Mara found", 1), ("Tom", 0), ("Tom", 1)
        ]  # fmt: skip
        assert {row["mode"] for row in rows} == {mode}
        assert {row["tokens_generated"] for row in rows} == {6}
        texts[mode] = [row["text"] for row in rows]
    assert capsys.readouterr().out.count("  R ") == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["embedded:nothing"], "embedded"),
        (["embedded:rwkv", "--layer", "9"], "beyond the model"),
        (["embedded:rwkv", "--target-r", "2"], "--target-r is 2.0, but should be less than 1"),
        (["embedded:rwkv", "--samples", "0"], "--samples is 0, but should be greater than or"),
        (["embedded:rwkv", "--max-tokens", "1"], "--max-tokens is 1, but should be greater than"),
        (["embedded:rwkv", "--prompt", ""], "the prompt is empty"),
    ],
)
def test_the_demonstration_says_in_a_line_what_it_cannot_use(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as error:
        measure([*options, "--output", str(tmp_path / "rows.jsonl")])
    assert error.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir()), "no file for rows that there are not"


def test_the_demonstration_takes_a_trained_core_and_no_other(
    tmp_path: Path, trial: Trials, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["embedded:rwkv", "--samples", "1", "--max-tokens", "3"]
    options += ["--output", str(tmp_path / "rows.jsonl"), "--core"]
    _, artifacts = trial(training=BRIEFLY)
    measure([*options, str(artifacts / "cores" / "step-000004")])
    eight = {"kind": "kuramoto", "oscillators": 8}
    _, artifacts = trial(training=BRIEFLY, core=eight)
    with pytest.raises(SystemExit):
        measure([*options, str(artifacts / "cores" / "step-000004")])
    said = capsys.readouterr().err
    assert "oscillators 8" in said
    assert "oscillators 16" in said
