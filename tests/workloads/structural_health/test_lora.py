"""LoRA fine-tuning that is watched: what it measures, what padding does to it, going on."""

from __future__ import annotations

import json
import math
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from tests.conftest import SHARED_DATA
from workloads.errors import DivergedError, InputError
from workloads.models import load_model, load_tokenizer, resolve_model
from workloads.recording import Recorded, run_recorded
from workloads.structural_health.demos import demo_hf_lora_telemetry
from workloads.structural_health.lora.adapting import load_adapted
from workloads.structural_health.lora.batches import IGNORED, Sentences
from workloads.structural_health.lora.sentences import SENTENCES, TOPICS
from workloads.structural_health.lora.series import SERIES, Series
from workloads.structural_health.lora.summary import arms_table
from workloads.structural_health.lora_config import LoraHealthConfig
from workloads.structural_health.lora_workload import StructuralHealthLora
from workloads.testing import WorkloadContract
from workloads.views import StudyView, TrialView

CPU = torch.device("cpu")
STORIES = SHARED_DATA / "stories260K-hf"


def run(folder: Path, **fields: Any) -> Recorded:
    return run_recorded(StructuralHealthLora(), fields, folder, seed=3)


def columns(trial: Recorded) -> Mapping[str, Any]:
    assert trial.result is not None
    (scores,) = trial.result.scores
    assert scores.split == "steps"
    assert list(scores.units) == [str(step) for step in range(1, len(scores.units) + 1)]
    return scores.columns


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lora")


@pytest.fixture(scope="module")
def trained(folder: Path) -> Recorded:
    """The study's arm `lora`."""
    return run(folder)


@pytest.fixture(scope="module")
def frozen(folder: Path) -> Recorded:
    """The study's arm `frozen`."""
    return run(folder, train=False)


@pytest.fixture(scope="module")
def sentences() -> Sentences:
    return Sentences(load_tokenizer("embedded:qwen2"), 32, "masked", CPU)


# -- what is read ---------------------------------------------------------------------------------


def test_there_are_ten_different_sentences_on_each_of_five_topics() -> None:
    assert [len(topic) for topic in TOPICS.values()] == [10] * 5
    assert len(set(SENTENCES)) == 50


def test_padding_is_no_label_and_no_token(sentences: Sentences) -> None:
    batch = sentences.batch([0, 2])
    assert batch.pads == int((batch.mask == 0).sum()) > 0
    assert torch.equal(batch.labels == IGNORED, batch.mask == 0)
    assert torch.equal(batch.labels[batch.mask == 1], batch.ids[batch.mask == 1])


def test_padding_that_is_read_is_token_and_label(sentences: Sentences) -> None:
    as_text = Sentences(load_tokenizer("embedded:qwen2"), 32, "read", CPU).batch([0, 2])
    assert as_text.pads == sentences.batch([0, 2]).pads
    assert bool(as_text.mask.all())
    assert torch.equal(as_text.labels, as_text.ids)


def test_an_epoch_reads_every_sentence_once_in_an_order_of_its_own(sentences: Sentences) -> None:
    epochs = [[row for b in sentences.batches(0, e, 4) for row in b.ids.tolist()] for e in (0, 1)]
    stripped = [[tuple(t for t in row if t) for row in rows] for rows in epochs]
    assert sorted(stripped[0]) == sorted(stripped[1])
    assert stripped[0] != stripped[1]
    assert len(stripped[0]) == len(SENTENCES)


def test_no_sentence_is_longer_than_it_says() -> None:
    lengths = [len(ids) for ids in load_tokenizer("embedded:qwen2")(list(SENTENCES))["input_ids"]]
    assert max(lengths) == 17
    assert round(sum(lengths) / 50) == 12


# -- what is adapted ------------------------------------------------------------------------------


def test_lora_is_on_the_queries_and_values_of_every_layer_and_nothing_else_is_trained() -> None:
    model, trained = load_adapted(LoraHealthConfig(), 0, CPU)
    layers = model.config.num_hidden_layers
    assert len(trained) == layers * 2 * 2
    assert all(".q_proj.lora_" in name or ".v_proj.lora_" in name for name in trained)
    assert {p.shape[0] for name, p in trained.items() if "lora_A" in name} == {8}
    assert {id(p) for p in model.parameters() if p.requires_grad} == set(map(id, trained.values()))


def test_without_training_the_model_is_as_it_was() -> None:
    model, trained = load_adapted(LoraHealthConfig(train=False), 0, CPU)
    assert not trained
    assert not any(p.requires_grad for p in model.parameters())
    assert not any("lora" in name for name, _ in model.named_modules())


# -- what is measured -----------------------------------------------------------------------------


def test_nothing_is_measured_before_the_window_is_full(trained: Recorded) -> None:
    ratios = columns(trained)["sv_ratio"]
    assert len(ratios) == 13
    assert ratios[:4] == [None] * 4
    assert all(0.2 <= ratio <= 1 for ratio in ratios[4:])


def test_the_ratio_is_that_of_the_last_tokens_of_the_batches_first_sentences(
    frozen: Recorded, sentences: Sentences
) -> None:
    """Of the frozen model, read again one sentence at a time, so without any padding."""
    model = load_model("embedded:qwen2")
    kept: list[torch.Tensor] = []
    model.model.layers[-1].register_forward_hook(lambda m, i, o: kept.append(_first(o)[0, -1]))
    with torch.no_grad():
        for batch in sentences.batches(3, 0, 4):
            model(input_ids=batch.ids[:1, : int(batch.mask[0].sum())])
    expected = []
    for last in range(5, len(kept) + 1):
        values = torch.linalg.svdvals(torch.stack(kept[last - 5 : last]).double())
        expected.append(float(values[0] / values.sum()))
    measured = columns(frozen)["sv_ratio"]
    assert measured[4:] == pytest.approx(expected, rel=1e-4)


def _first(output: Any) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output


def test_rows_of_each_step_hold_loss_and_health(trained: Recorded) -> None:
    assert [step for step, _ in trained.rows] == list(range(1, 14))
    series = columns(trained)
    for at, (_, row) in enumerate(trained.rows):
        assert row["train/loss"] == series["loss"][at]
        assert row["health/svd_ratio"] == series["sv_ratio"][at]
        assert row["health/implied_cosine"] == series["implied_cosine"][at]
        assert row["health/nonfinite"] == 0


def test_final_metrics_are_those_of_the_series(trained: Recorded) -> None:
    assert trained.result is not None
    metrics, series = trained.result.metrics, columns(trained)
    ratios = series["sv_ratio"][4:]
    assert metrics["mean_ratio"] == pytest.approx(sum(ratios) / 9)
    assert metrics["max_ratio"] == max(ratios)
    assert metrics["band_share"] == sum(0.5 <= ratio <= 0.7 for ratio in ratios) / 9
    assert metrics["measured_steps"] == 9
    assert metrics["final_loss"] == series["loss"][-1]
    assert 0 < (metrics["pad_share"] or 0) < 1


def test_training_lowers_the_loss(folder: Path, frozen: Recorded) -> None:
    """At a rate that a few steps can show, against the frozen model on the same batches."""
    as_it_was = columns(frozen)["loss"]
    tuned = columns(run(folder, learning_rate=5e-3, dropout=0.0, max_steps=7))["loss"]
    assert tuned[0] == pytest.approx(as_it_was[0], rel=1e-5)  # LoRA begins as nothing
    assert sum(tuned[1:]) < sum(as_it_was[1:7]) - 1


def test_watching_more_changes_no_number(folder: Path, trained: Recorded) -> None:
    more = run(folder, monitors=["entropy", "layer_delta"], telemetry="research", max_steps=6)
    assert columns(more) == {name: column[:6] for name, column in columns(trained).items()}
    _, row = more.rows[0]
    assert (row["health/entropy"] or 0) > 0
    assert row["health/layer_delta"] is not None


def test_one_sentence_watched_again_and_again_looks_collapsed(folder: Path) -> None:
    one = run(folder, watch="sentence", max_steps=6)
    assert min(columns(one)["sv_ratio"][4:]) > 0.8
    assert one.result is not None
    assert one.result.metrics["collapsed_steps"] == 2
    assert "above 0.8 at 2 of 2 steps" in one.result.notes[0]


def test_another_layer_can_be_watched(folder: Path, trained: Recorded) -> None:
    first, last = columns(run(folder, layer="model.layers.0", max_steps=5)), columns(trained)
    assert first["loss"] == last["loss"][:5]
    assert first["sv_ratio"][4] != last["sv_ratio"][4]


def test_padding_that_is_read_changes_what_is_seen(folder: Path, frozen: Recorded) -> None:
    read = columns(run(folder, train=False, pads="read", max_steps=5))["sv_ratio"]
    assert read[4] != columns(frozen)["sv_ratio"][4]


def broken(folder: Path, tensor: str, row: int) -> str:
    """The embedded model with one NaN, at the beginning of a tensor's row."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(resolve_model("embedded:qwen2").source, folder)
    tensors = load_file(folder / "model.safetensors")
    tensors[tensor][row, 0] = math.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


def test_a_model_whose_hidden_states_are_never_finite_has_diverged_and_gives_no_result(
    folder: Path, tmp_path: Path
) -> None:
    model = broken(tmp_path / "broken", "model.layers.4.mlp.down_proj.weight", 0)
    with pytest.raises(DivergedError, match="not finite at 6 of 6 steps: no step has a ratio"):
        run(folder, model=model, train=False, max_steps=6)


def test_a_hidden_state_that_is_not_finite_at_some_steps_flags_the_trial_and_is_told(
    folder: Path, tmp_path: Path, sentences: Sentences
) -> None:
    batches = list(sentences.batches(3, 0, 4))
    # The eighth batch's first sentence has a token that no watched sentence before it has.
    watched = [batch.ids[0, : int(batch.mask[0].sum())].tolist() for batch in batches]
    (token, *_) = set(watched[7]) - {one for row in watched[:7] for one in row}
    model = broken(tmp_path / "broken", "model.embed_tokens.weight", token)
    trial = run(folder, model=model, train=False)
    assert trial.result is not None
    assert trial.result.flags == {"diverged"}
    lost = [at for at, ratio in enumerate(columns(trial)["sv_ratio"], 1) if math.isnan(ratio or 0)]
    assert lost[:5] == [8, 9, 10, 11, 12]
    assert trial.result.metrics["nonfinite_steps"] == len(lost)
    assert trial.result.metrics["measured_steps"] == 13 - 4 - len(lost)
    assert trial.result.metrics["nonfinite_losses"] == 13  # the token is predicted, too
    assert trial.result.metrics["final_loss"] is None
    assert list(trial.result.notes) == [
        f"hidden states were not finite at {len(lost)} steps",
        "the loss was not finite at 13 steps",
    ]
    rows = dict(trial.rows)
    assert (rows[7]["health/nonfinite"], rows[8]["health/nonfinite"]) == (0, 1)
    assert math.isnan(rows[8]["health/svd_ratio"] or 0)


@pytest.mark.skipif(not STORIES.is_dir(), reason="no ../shared/data/stories260K-hf")
def test_it_runs_on_a_small_real_llama(folder: Path) -> None:
    series = columns(run(folder, model=str(STORIES), max_steps=6))
    assert all(0.2 <= ratio <= 1 for ratio in series["sv_ratio"][4:])
    assert all(math.isfinite(loss) for loss in series["loss"])


def test_a_qwen2_as_the_hub_has_it_is_tuned_and_watched(folder: Path, tmp_path: Path) -> None:
    """Weights of bfloat16 in several files, the family's own tokenizer, padded with its end."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

    signs = sorted(ByteLevel.alphabet())
    tokenizer = Qwen2Tokenizer(vocab={sign: i for i, sign in enumerate(signs)}, merges=[])
    tokenizer.save_pretrained(tmp_path)
    shape = Qwen2Config(
        vocab_size=len(tokenizer) + 7,  # padded, as the hub's are
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    model = Qwen2ForCausalLM(shape).to(torch.bfloat16)
    model.save_pretrained(tmp_path, max_shard_size="30KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert load_tokenizer(str(tmp_path)).pad_token == "<|endoftext|>"
    fields = {"model": str(tmp_path), "max_steps": 6}
    StructuralHealthLora().check(LoraHealthConfig(**fields))
    trial = run(folder, **fields)
    assert all(0.2 <= ratio <= 1 for ratio in columns(trial)["sv_ratio"][4:])
    assert trial.result is not None
    # Rank 8 on queries (32 to 32) and values (32 to 16) of two layers.
    assert trial.result.metrics["lora_parameters"] == 2 * 8 * ((32 + 32) + (32 + 16))


# -- series ---------------------------------------------------------------------------------------


def test_a_series_survives_json_and_csv(tmp_path: Path) -> None:
    series = Series(pads=3, positions=9)
    series.add(1.5, {"health/nonfinite": 0, "health/rank": 2.0})
    series.add(math.inf, {"health/nonfinite": 1, "health/rank": None})
    again = Series.from_json(json.loads(json.dumps(series.to_json(), allow_nan=False)))
    series.write_csv(tmp_path / SERIES)
    for other in (again, Series.read_csv(tmp_path / SERIES)):
        assert repr(other.columns) == repr(series.columns)
    assert (again.pads, again.positions) == (3, 9)


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"window": 14}, "window=14 is never full: the trial has 13 steps"),
        ({"window": 6, "max_steps": 5}, "give 2 to 5"),
        ({"targets": ["q_prj"]}, "did you mean q_proj"),
        ({"monitor_layer": "model.layers.0"}, "give layer and window"),
        ({"monitor_window": 20}, "give layer and window"),
        ({"layer": "model.layers.5"}, "no module 'model.layers.5'; did you mean model.layers"),
        ({"model": "embedded:qwen"}, "did you mean qwen2"),
    ],
)
def test_what_cannot_mean_anything_is_refused_before_the_run(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        StructuralHealthLora().check(LoraHealthConfig(**fields))


def test_a_layer_that_is_not_there_is_refused_with_those_that_are(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"model\.layers\.4"):
        run(folder, layer="model.layers.5")


def test_a_module_that_cannot_carry_lora_is_refused() -> None:
    with pytest.raises(InputError, match="'input_layernorm', 'q_proj'\\] cannot all carry LoRA"):
        load_adapted(LoraHealthConfig(targets=("q_proj", "input_layernorm")), 0, CPU)


def test_the_frozen_model_is_one_whatever_lora_would_have_been() -> None:
    workload = StructuralHealthLora()
    a, b = (LoraHealthConfig(train=False, rank=rank, learning_rate=0.1 * rank) for rank in (2, 4))
    assert workload.resolve(a) == workload.resolve(b) == LoraHealthConfig(train=False)


# -- the demo -------------------------------------------------------------------------------------


def test_the_demo_prints_a_line_per_step_and_waits_while_the_window_fills(
    capsys: pytest.CaptureFixture[str],
) -> None:
    demo_hf_lora_telemetry.main(["--seed", "3"])
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["Step", "Loss", "SVD", "Ratio", "Cosine", "Infra", "Status"]
    rows = [line.split() for line in lines]
    assert [row[0] for row in rows] == [str(step) for step in range(1, 14)]
    assert [row[2] for row in rows[:4]] == ["WAIT"] * 4
    assert [row[4] for row in rows] == ["BUFFERING"] * 4 + [
        "COLLAPSE" if float(row[2]) > 0.8 else "HEALTHY" for row in rows[4:]
    ]
    demo_hf_lora_telemetry.main(["--json", "--seed", "3"])  # says the same again
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [f"{row['loss']:.4f}" for row in told] == [row[1] for row in rows]
    assert [row["svd_ratio"] for row in told[:4]] == [None] * 4
    assert [f"{row['svd_ratio']:.3f}" for row in told[4:]] == [row[2] for row in rows[4:]]


def test_the_demo_refuses_a_model_that_is_not_there_in_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as left:
        demo_hf_lora_telemetry.main(["--model", "embedded:qwen"])
    assert left.value.code == 2
    said = capsys.readouterr()
    assert "did you mean qwen2" in said.err
    assert not said.out


def test_the_demo_says_of_a_model_without_tokenizer_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(resolve_model("embedded:qwen2").source, tmp_path / "bare")
    for file in (tmp_path / "bare").glob("tokenizer*"):
        file.unlink()
    with pytest.raises(SystemExit) as left:
        demo_hf_lora_telemetry.main(["--model", str(tmp_path / "bare")])
    assert left.value.code == 2
    said = capsys.readouterr()
    assert "has no tokenizer" in said.err
    assert len(said.err.splitlines()) == 1


def test_the_demo_waits_only_while_the_window_fills(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = broken(tmp_path / "broken", "model.layers.4.mlp.down_proj.weight", 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)  # which would stand in the table
        demo_hf_lora_telemetry.main(["--model", model])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[1:] for row in rows] == [["nan", "n/a", "n/a", "NONFINITE"]] * 13


# -- the summary ----------------------------------------------------------------------------------


def test_the_summary_draws_trajectories_and_tells_the_arms(
    tmp_path: Path, trained: Recorded
) -> None:
    import pandas as pd

    assert trained.result is not None
    artifacts = tmp_path / "artifacts"
    Series(dict(columns(trained))).write_csv(artifacts / SERIES)
    shared: dict[str, Any] = {
        "role": "arm",
        "config": LoraHealthConfig().model_dump(mode="json"),
        "metrics": trained.result.metrics,
    }
    fine: dict[str, Any] = {**shared, "flags": frozenset()}
    lost: dict[str, Any] = {**shared, "flags": frozenset({"diverged"})}
    trials = [
        TrialView("a", "lora", "lora", seed=3, state="done", artifacts=artifacts, **fine),
        TrialView("b", "lora", "lora", seed=4, state="done", artifacts=None, **lost),
        TrialView("c", "lora", "lora", seed=5, state="failed", artifacts=None, **fine),
    ]
    study = StudyView("s", "s-1", "?", trials, pd.DataFrame(), "", "", None, None)
    table, *files = StructuralHealthLora().summarise(study, tmp_path / "out")
    assert [row[:2] for row in table.rows] == [("lora", "2")]  # type: ignore[union-attr]
    at = table.head.index("runs not finite")  # type: ignore[union-attr]
    assert table.rows[0][at] == "1 of 2"  # type: ignore[union-attr]
    assert [path.name for path in files] == [  # type: ignore[union-attr]
        "trajectories.csv",
        "trajectories.png",
    ]
    assert all(path.stat().st_size > 1000 for path in files)  # type: ignore[union-attr]


def test_the_summary_pairs_arms_with_the_frozen_model_of_the_same_seed_and_window() -> None:
    ratios = {
        ("lora", True, 5): (0.61, 0.72, 0.83),
        ("frozen", False, 5): (0.6, 0.7, 0.8),
        ("window-10", True, 10): (0.5, 0.5, 0.5),
    }
    trials = [
        TrialView(
            identity=f"{arm}{seed}",
            label=arm,
            arm=arm,
            role="arm",
            seed=seed,
            state="done",
            config=LoraHealthConfig(train=train, window=window).model_dump(mode="json"),
            metrics={"mean_ratio": ratio},
            flags=frozenset(),
            artifacts=None,
        )
        for (arm, train, window), several in ratios.items()
        for seed, ratio in enumerate(several)
    ]
    table = arms_table(trials)
    shown = {row[0]: row[table.head.index("minus frozen")] for row in table.rows}
    # Differences .01, .02, .03: standard error .01 / sqrt(3), t quantile of 2 degrees 4.303.
    assert shown == {
        "lora": "+0.0200 [-0.0048, +0.0448]",
        "frozen": "-",
        "window-10": "-",
    }


def test_a_study_without_finished_trials_has_no_summary(tmp_path: Path) -> None:
    import pandas as pd

    study = StudyView("s", "s-1", "?", [], pd.DataFrame(), "", "", None, None)
    assert not list(StructuralHealthLora().summarise(study, tmp_path))


# -- what every workload must do ------------------------------------------------------------------


@pytest.mark.slow
class TestStructuralHealthLora(WorkloadContract):
    workload = StructuralHealthLora
    config_a: ClassVar = {"max_steps": 6}
    config_b: ClassVar = {"epochs": 2, "batch_size": 8, "max_steps": 12, "checkpoint_steps": 3}
