"""Switched parts, each against an independent way of taking the part away."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from workloads.ablation.config import AblationConfig
from workloads.ablation.cut import cut
from workloads.ablation.scoring import text_scores, token_scores
from workloads.ablation.subject import AblationSubject
from workloads.ablation.texts import load_texts
from workloads.ablation.units import Part
from workloads.ablation.workload import Ablation
from workloads.errors import InputError
from workloads.evaluation import SwitchableSubject
from workloads.models import load_model, load_tokenizer
from workloads.recording import resolved, run_recorded
from workloads.switching import evaluate_naively, undisturbed

SHARED = Path(__file__).parents[4] / "shared" / "data"
FEW = {"texts": 12, "eval_batch_size": 5}
TRAINED = {"units": "lora", "lora": {"rank": 2, "steps": 3, "learning_rate": 0.05}, **FEW}


@pytest.fixture(scope="module")
def model() -> Any:
    return load_model("embedded:llama").requires_grad_(False)


@pytest.fixture(scope="module")
def ids() -> torch.Tensor:
    drawn = torch.Generator().manual_seed(0)
    return torch.randint(5, 500, (3, 20), generator=drawn)


def run(model: Any, units: str, parts: list[Part], on: list[bool], ids: torch.Tensor) -> Any:
    x: Any = ids
    with undisturbed(model):
        for segment in cut(model, parts, units):
            x = segment.run(x, tuple(on[index] for index in segment.factors))
    return x


def logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=ids, use_cache=False).logits
    return found


def opened(fields: dict[str, Any], checkpoint: Path | None = None) -> AblationSubject:
    workload = Ablation()
    config = resolved(workload, fields)
    assert isinstance(config, AblationConfig)
    subject = workload.open_subject(config, workload.pack_subject(config, checkpoint))
    assert isinstance(subject, AblationSubject)
    return subject


def test_the_segments_all_on_are_the_model_to_the_last_bit(model: Any, ids: torch.Tensor) -> None:
    parts = [Part(1, 0), Part(6, 3)]
    assert torch.equal(run(model, "heads", parts, [True, True], ids), logits(model, ids))


def test_a_layer_that_is_off_is_a_model_without_it(model: Any, ids: torch.Tensor) -> None:
    shorter = copy.deepcopy(model)
    kept = [layer for number, layer in enumerate(shorter.model.layers) if number not in (2, 7)]
    shorter.model.layers = nn.ModuleList(kept)
    shorter.config.num_hidden_layers = 6
    parts = [Part(layer) for layer in range(8)]
    on = [layer not in (2, 7) for layer in range(8)]
    assert torch.equal(run(model, "layers", parts, on, ids), logits(shorter, ids))


def test_a_head_that_is_off_is_a_model_whose_output_does_not_read_it(
    model: Any, ids: torch.Tensor
) -> None:
    deaf = copy.deepcopy(model)
    for layer, head in ((1, 0), (1, 2), (5, 3)):
        deaf.model.layers[layer].self_attn.o_proj.weight.data[:, 16 * head : 16 * (head + 1)] = 0
    parts = [Part(1, 0), Part(1, 1), Part(1, 2), Part(5, 3)]
    off = run(model, "heads", parts, [False, True, False, False], ids)
    assert torch.equal(off, logits(deaf, ids))
    assert not torch.equal(off, logits(model, ids))


def test_adapters_that_are_off_leave_the_model_they_were_put_into(tmp_path: Path) -> None:
    trial = run_recorded(Ablation(), TRAINED, tmp_path)
    assert trial.result is not None
    subject = opened(TRAINED, trial.checkpoints[-1].path)
    plain = opened(FEW)
    every, none = frozenset(subject.factors()), frozenset[str]()
    whole, off = subject.evaluate(every), subject.evaluate(none)
    assert off.values == plain.evaluate(every).values
    assert whole.values["nll"] != off.values["nll"]
    metrics = trial.result.metrics
    assert (metrics["nll"], metrics["nll_all_off"]) == (whole.values["nll"], off.values["nll"])


@pytest.mark.parametrize(
    "fields",
    [
        {"which": ["L0", "L3", "L7"], **FEW},
        {"units": "heads", "which": ["L2"], **FEW},
        {"task": "qa", "data": "embedded:questions", "which": ["L1", "L2"], **FEW},
    ],
    ids=["layers", "heads", "questions"],
)
def test_a_subject_measures_what_each_coalition_comes_to_by_itself(fields: dict[str, Any]) -> None:
    subject = opened(fields)
    assert isinstance(subject, SwitchableSubject)
    first, *_, last = subject.factors()
    asked = [frozenset(subject.factors()), frozenset(), frozenset({first}), frozenset({last})]
    points = [{"on": sorted(coalition)} for coalition in asked]
    together = list(subject.measure(points))
    for coalition, found in zip(asked, together, strict=True):
        alone = subject.evaluate(coalition)
        assert found.error is None
        assert found.scores is not None
        assert alone.scores is not None
        assert found.scores.tobytes() == alone.scores.tobytes()
        assert found.values == alone.values
        assert len(found.scores) == len(subject.units) == len(subject.clusters) == 12
        assert found.values["accuracy"] == pytest.approx(found.scores.mean())


def test_the_trial_gives_what_its_subject_gives_with_all_on(tmp_path: Path) -> None:
    trial = run_recorded(Ablation(), FEW, tmp_path)
    subject = opened(FEW)
    found = subject.evaluate(frozenset(subject.factors()))
    assert trial.result is not None
    assert found.scores is not None
    (scores,) = trial.result.scores
    assert list(scores.columns["accuracy"]) == found.scores.tolist()
    assert tuple(scores.units) == subject.units
    assert trial.result.metrics["accuracy"] == found.values["accuracy"]
    assert trial.checkpoints == []


def test_a_subject_works_from_arrays_that_must_not_be_written_to() -> None:
    workload, config = Ablation(), resolved(Ablation(), FEW)
    assert isinstance(config, AblationConfig)
    packed: Any = workload.pack_subject(config, None)
    for array in packed["model"]["arrays"].values():
        array.flags.writeable = False
    before = {name: array.copy() for name, array in packed["model"]["arrays"].items()}
    subject = workload.open_subject(config, packed)
    found = list(subject.measure([{"on": ["L0"]}, {"on": []}]))
    assert [each.error for each in found] == [None, None]
    assert all(np.array_equal(packed["model"]["arrays"][n], array) for n, array in before.items())


def test_weights_in_bfloat16_arrive_as_they_were() -> None:
    fields = {"precision": "bf16", "which": ["L1"], **FEW}
    subject = opened(fields)
    own = load_model("embedded:llama", dtype="bfloat16")
    texts = load_texts(subject.config, load_tokenizer("embedded:llama"))[1]
    direct = AblationSubject(subject.config, own.requires_grad_(False), texts)
    assert subject.evaluate(frozenset({"L1"})).values == direct.evaluate(frozenset({"L1"})).values


def test_scores_are_the_models_own_next_token_predictions(model: Any) -> None:
    """Against a loop over texts, without padding, one token at a time."""
    config = resolved(Ablation(), FEW)
    assert isinstance(config, AblationConfig)
    texts = load_texts(config, load_tokenizer("embedded:llama"))[1]
    with undisturbed(model):
        target = (torch.from_numpy(texts.ids), torch.from_numpy(texts.scored))
        segments = cut(model, [], "layers")
        (found,) = evaluate_naively(segments, [()], [(target[0], target)], text_scores)
    assert found.scores is not None
    assert found.losses is not None
    for number, (row, scored) in enumerate(zip(texts.ids, texts.scored, strict=True)):
        places = [place for place in range(len(row)) if scored[place]]
        probabilities = logits(model, torch.from_numpy(row[None, : places[-1] + 1]))[0].softmax(-1)
        right = [int(probabilities[place - 1].argmax()) == row[place] for place in places]
        nats = [-float(probabilities[place - 1, row[place]].log()) for place in places]
        assert found.scores[number] == pytest.approx(100 * np.mean(right))
        assert found.losses[number] == pytest.approx(np.mean(nats), rel=1e-4)


def test_a_text_before_a_prediction_that_is_not_finite_has_no_loss() -> None:
    ids, scored = torch.zeros(1, 3, dtype=torch.long), torch.tensor([[False, False, True]])
    broken = torch.zeros(1, 3, 4)
    broken[0, 0] = float("nan")
    assert text_scores(broken, (ids, scored))[1].isfinite().all()
    broken[0, 1] = float("nan")
    assert text_scores(broken, (ids, scored))[1].isnan().all()
    assert token_scores(torch.zeros(1, 3, 4), ids, scored)[0].tolist() == [[0.0, 1.0]]


def test_an_unknown_part_and_adapters_without_a_checkpoint_are_refused() -> None:
    with pytest.raises(ValueError, match="no factor L9; factors: L0"):
        list(opened({"which": ["L0"], **FEW}).measure([{"on": ["L9"]}]))
    with pytest.raises(InputError, match="in no checkpoint"):
        opened(TRAINED, None)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the optional ../shared/data is absent")
def test_a_small_real_model_is_cut_and_measured() -> None:
    subject = opened(
        {
            "model": str(SHARED / "stories260K-hf"),
            "data": str(SHARED / "tinystories-sample"),
            **FEW,
        }
    )
    every = frozenset(subject.factors())
    whole, *without = subject.evaluate_all([every, *(every - {f} for f in subject.factors())])
    assert len(without) == 5
    assert whole.values["accuracy"] is not None
    assert whole.values["accuracy"] > 50
    assert all(each.values["nll"] > whole.values["nll"] for each in without)  # type: ignore[operator]


def test_a_model_of_another_family_is_refused_by_name(model: Any) -> None:
    class Elsewhere(nn.Module):
        pass

    with pytest.raises(InputError, match="Elsewhere keeps its layers where"):
        cut(Elsewhere(), [], "layers")
