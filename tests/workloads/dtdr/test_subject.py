"""A finished encoding at many points, against models made for each point from scratch."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from workloads.dtdr.anchors import anchor_for
from workloads.dtdr.asking import asked
from workloads.dtdr.config import DtdrConfig
from workloads.dtdr.files.encoding import EncodedModel
from workloads.dtdr.measuring import Reference, predictions
from workloads.dtdr.pickles.writing import write_pickle
from workloads.dtdr.reconstruction import Reconstruction
from workloads.dtdr.skeleton import weights_by_name
from workloads.dtdr.subject import DtdrSubject
from workloads.dtdr.workload import Dtdr
from workloads.errors import InputError
from workloads.evaluation import Measured
from workloads.models import load_model
from workloads.recording import Recorded, resolved, run_recorded

SHARED = Path(__file__).parents[4] / "shared" / "data"
FEW: dict[str, Any] = {"prompts": 8, "held_out_tokens": 16, "samples": 0}
EXACT: list[dict[str, Any]] = [
    {"fraction": 0.3, "fill": "zero"},
    {"fraction": 0.6, "fill": "random", "draw": 1},
    {"fraction": 0.6, "fill": "guided", "scale": 0.5},
    {"fraction": 0.9, "fill": "matched", "scale": 0.5},
]
CLOSE: list[dict[str, Any]] = [
    {"fraction": 0.3, "domain": "leading"},
    {"fraction": 0.7, "domain": "random", "draw": 2},
    {"fraction": 0.7, "domain": "largest", "fill": "guided", "scale": 0.3, "shuffled": True},
    {"noise": 0.2},
]


class Kept:
    """A trial, and the subject of it."""

    def __init__(self, fields: dict[str, Any], folder: Path) -> None:
        self.workload = Dtdr()
        config = resolved(self.workload, fields)
        assert isinstance(config, DtdrConfig)
        self.config = config
        self.trial: Recorded = run_recorded(self.workload, fields, folder)
        self.checkpoint = self.trial.checkpoints[-1].path

    def opened(self, **changed: Any) -> DtdrSubject:
        config = self.config.model_copy(update=changed)
        packed = self.workload.pack_subject(config, self.checkpoint)
        subject = self.workload.open_subject(config, packed)
        assert isinstance(subject, DtdrSubject)
        return subject

    def from_scratch(self, point: dict[str, Any]) -> Any:
        """The model with the weights that the point has, each made anew."""
        config = self.config
        encoded = EncodedModel.open(self.checkpoint / "encoding")
        anchor = anchor_for(config.anchor, encoded, config.anchor_rate, config.anchor_seed)
        model = load_model(config.model).requires_grad_(False)
        shapes = {name: tensor.shape for name, tensor in encoded.items()}
        weights = weights_by_name(model, shapes, encoded.tied)
        for name, tensor in Reconstruction(encoded, anchor, torch.float32).tensors(asked(point)):
            weights[name].copy_(tensor.view_as(weights[name]))
        return model


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return Kept(FEW, tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="module")
def shared(kept: Kept) -> DtdrSubject:
    """One that stands wherever the test before left it."""
    return kept.opened()


def only(subject: DtdrSubject, point: dict[str, Any]) -> Measured:
    (found,) = subject.measure([point])
    return found


def test_the_whole_encoding_is_what_the_trial_measured(kept: Kept, shared: DtdrSubject) -> None:
    found = only(shared, {})
    assert found.error is None
    assert found.scores is not None
    assert found.scores.tolist() == [1.0] * 8
    result = kept.trial.result
    assert result is not None
    assert found.values["perplexity"] == result.metrics["perplexity"]
    exactly = {"perplexity_ratio": 1, "kl": 0, "relative_l2": 0, "finite": 1, "top1_agreement": 1}
    assert {name: found.values[name] for name in exactly} == exactly
    assert tuple(result.scores[0].units) == shared.units


@pytest.mark.parametrize("point", [*EXACT, *CLOSE], ids=json.dumps)
def test_a_point_on_the_way_is_the_model_made_for_it_from_scratch(
    kept: Kept, shared: DtdrSubject, point: dict[str, Any]
) -> None:
    *_, found = shared.measure([{"fraction": 0.5}, {"noise": 0.1}, point])
    prompts = shared.prompts
    direct = predictions(kept.from_scratch(point), prompts, kept.config.eval_batch_size)
    expected = Reference(shared.full, prompts).values(direct)
    assert found.error is None
    assert found.values["cosine"] == pytest.approx(expected["cosine"], abs=1e-4)
    assert found.values["nll"] == pytest.approx(expected["nll"], rel=1e-3)
    if point in EXACT:
        assert {name: found.values[name] for name in expected} == expected


def test_the_order_of_points_changes_nothing(shared: DtdrSubject) -> None:
    forwards = list(shared.measure(EXACT))
    backwards = list(shared.measure(EXACT[::-1]))[::-1]
    for one, other in zip(forwards, backwards, strict=True):
        assert one.scores is not None
        assert other.scores is not None
        assert one.scores.tobytes() == other.scores.tobytes()
        assert one.values == pytest.approx(other.values, rel=1e-6)


def test_scores_are_what_the_value_is_the_mean_of(shared: DtdrSubject) -> None:
    assert shared.score_metric == "top10_overlap"
    found = only(shared, {"fraction": 0.8})
    assert found.scores is not None
    assert len(found.scores) == len(shared.units) == len(shared.clusters) == 8
    assert found.values["top10_overlap"] == pytest.approx(found.scores.mean())
    assert 0 < found.scores.mean() < 1
    error = found.values["cosine_se"]
    assert error is not None
    assert 0 < error < 0.5


def test_a_point_that_cannot_be_asked_says_so_and_leaves_the_next_alone(
    shared: DtdrSubject,
) -> None:
    point = {"fraction": 0.4}
    before = only(shared, point)
    wrong, right = shared.measure([{"fraction": 1.5}, point])
    assert wrong.error is not None
    assert "fraction" in wrong.error
    assert wrong.values == {}
    assert right.error is None
    assert right.values == before.values


def test_codes_that_must_not_be_written_to_are_not(kept: Kept) -> None:
    packed: Any = kept.workload.pack_subject(kept.config, kept.checkpoint)
    arrays = {
        (name, part): array
        for name, tensor in packed["tensors"].items()
        for part, array in tensor["parts"].items()
    }
    before = {key: array.copy() for key, array in arrays.items()}
    for array in arrays.values():
        array.flags.writeable = False
    subject = kept.workload.open_subject(kept.config, packed)
    points: list[dict[str, Any]] = [*EXACT, *CLOSE, {"damage": "bits", "rate": 0.01}]
    assert [found.error for found in subject.measure(points)] == [None] * len(points)
    assert all(np.array_equal(arrays[key], array) for key, array in before.items())


def test_what_the_model_writes_is_kept_with_the_point(kept: Kept) -> None:
    subject = kept.opened(samples=2, sample_tokens=8)
    part, whole = subject.measure([{"fraction": 0.5}, {}])
    assert part.note is not None
    assert whole.note is not None
    texts = json.loads(whole.note)
    assert [sorted(text) for text in texts] == [["prompt", "text"]] * 2
    assert texts[0]["text"]
    assert [text["prompt"] for text in texts] == [t["prompt"] for t in json.loads(part.note)]
    # The full model finds its own likeliest words likelier than those of half of it.
    one, other = whole.values["text_perplexity"], part.values["text_perplexity"]
    assert one is not None
    assert other is not None
    assert 1 <= one < other
    assert 0 < (whole.values["distinct_1"] or 0) <= (whole.values["distinct_2"] or 0) <= 1
    declared = Dtdr.point_metrics
    assert {name for name in part.values if not name.endswith("_se")} == set(declared)
    assert next(iter(declared)) == subject.score_metric


def test_without_samples_nothing_is_written(shared: DtdrSubject) -> None:
    found = only(shared, {"fraction": 0.5})
    assert found.note is None
    assert "text_perplexity" not in found.values


def test_another_model_is_an_anchor(kept: Kept) -> None:
    subject = kept.opened(anchor="embedded:llama")
    least = {"fraction": 0.001, "fill": "guided"}
    weak, strong = subject.measure([{**least, "scale": 0.1}, {**least, "scale": 1.0}])
    assert weak.scores is not None
    assert strong.scores is not None
    assert strong.scores.mean() > 0.9 > weak.scores.mean()


def test_an_encoded_folder_is_an_anchor(kept: Kept) -> None:
    subject = kept.opened(anchor=str(kept.checkpoint / "encoding"))
    found = only(subject, {"fraction": 0.001, "fill": "guided", "scale": 1.0})
    assert found.values["relative_l2"] == 0  # what is missing is filled with the very same
    assert found.values["top10_overlap"] == 1


def test_a_pickled_encoding_is_an_anchor(kept: Kept, tmp_path: Path) -> None:
    path = tmp_path / "anchor.pkl"
    model = load_model("embedded:llama")
    write_pickle(path, {name: tensor.numpy() for name, tensor in model.state_dict().items()})
    subject = kept.opened(anchor=str(path))
    found = only(subject, {"fraction": 0.001, "fill": "guided", "scale": 1.0})
    assert found.values["top10_overlap"] is not None
    assert 0.8 < found.values["top10_overlap"] < 1


def test_an_anchor_of_another_shape_is_refused_by_the_name_of_a_tensor(
    kept: Kept, tmp_path: Path
) -> None:
    path, name = tmp_path / "anchor.pkl", "model.layers.2.mlp.up_proj.weight"
    tensors = {n: tensor.numpy() for n, tensor in load_model("embedded:llama").state_dict().items()}
    write_pickle(path, {**tensors, name: tensors[name][:5]})
    with pytest.raises(InputError, match=name):
        kept.opened(anchor=str(path))


def test_without_its_checkpoint_a_trial_is_no_subject(kept: Kept, tmp_path: Path) -> None:
    for checkpoint in (None, tmp_path):
        with pytest.raises(InputError, match="in no checkpoint; run the trial again"):
            kept.workload.pack_subject(kept.config, checkpoint)


def test_numbers_that_damage_made_infinite_agree_with_nothing(tmp_path: Path) -> None:
    floats = Kept({**FEW, "transform": "none", "quantiser": "none"}, tmp_path)
    damaged, whole = floats.opened().measure([{"damage": "bits", "rate": 0.02}, {}])
    assert damaged.error is None
    assert damaged.values["finite"] == 0
    assert damaged.values["top10_overlap"] == 0
    assert damaged.values["cosine"] is damaged.values["perplexity"] is None
    assert whole.values["top10_overlap"] == 1


def test_what_is_not_finite_without_damage_is_an_error(tmp_path: Path) -> None:
    floats = Kept({**FEW, "transform": "none", "quantiser": "none"}, tmp_path)
    broken, whole = floats.opened().measure([{"noise": 1e300}, {}])
    assert broken.error is not None
    assert "not finite" in broken.error
    assert broken.scores is None
    assert whole.values["top10_overlap"] == 1


def test_a_subject_in_bfloat16_is_compared_with_itself_in_bfloat16(tmp_path: Path) -> None:
    small = Kept({**FEW, "precision": "bf16"}, tmp_path)
    part, whole = small.opened().measure([{"fraction": 0.5}, {}])
    assert whole.values["top10_overlap"] == 1
    assert whole.values["relative_l2"] == 0
    assert part.values["top10_overlap"] != 1
    result = small.trial.result
    assert result is not None
    assert whole.values["perplexity"] == result.metrics["perplexity"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the optional ../shared/data is absent")
def test_a_small_real_model_wakes_up_along_its_rows(tmp_path: Path) -> None:
    real = Kept(
        {
            "model": str(SHARED / "stories260K-hf"),
            "data": str(SHARED / "tinystories-sample"),
            **FEW,
        },
        tmp_path,
    )
    found = list(real.opened().measure([{"fraction": f} for f in (0.1, 0.95, 1.0)]))
    overlaps = [one.values["top10_overlap"] or 0.0 for one in found]
    assert overlaps[0] < 0.3 < overlaps[1] < overlaps[2] == 1
    assert all(math.isfinite(value) for one in found for value in one.values.values() if value)
