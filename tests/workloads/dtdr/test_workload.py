"""What every workload must do, what is refused before a trial, and what a trial says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from workloads.dtdr.codec.recipe import Recipe
from workloads.dtdr.config import DtdrConfig
from workloads.dtdr.files import encode_model
from workloads.dtdr.workload import Dtdr
from workloads.errors import InputError
from workloads.models import resolve_model
from workloads.recording import resolved, run_recorded
from workloads.testing import WorkloadContract

SHARED = Path(__file__).parents[4] / "shared" / "data"
FEW: dict[str, Any] = {"prompts": 6, "held_out_tokens": 16, "samples": 0}


@pytest.mark.slow
class TestDtdr(WorkloadContract):
    workload = Dtdr
    config_a: ClassVar = {**FEW, "transform": "dct", "quantiser": "block"}
    config_b: ClassVar = {
        **FEW,
        "samples": 1,
        "sample_tokens": 4,
        "monitors": ["svd_ratio", "entropy"],
        "monitor_window": 3,
    }


def checked(**fields: Any) -> DtdrConfig:
    workload = Dtdr()
    config = resolved(workload, {**FEW, **fields})
    assert isinstance(config, DtdrConfig)
    workload.check(config)
    return config


def test_the_largest_tensor_has_128_blocks_of_rows_or_more() -> None:
    assert checked().block_rows == 4  # 535 rows in the largest
    assert checked(block_rows=7).block_rows == 7


def test_what_is_not_read_returns_to_its_default() -> None:
    model = "embedded:llama"
    one = checked(anchor=model, anchor_rate=0.5, anchor_seed=3, sample_tokens=9)
    assert one == checked(anchor=model)


def test_an_arm_is_one_trial_whatever_the_seeds() -> None:
    assert Dtdr().deterministic(checked())


def test_a_point_is_asked_once_however_it_is_written() -> None:
    workload, config = Dtdr(), checked()
    one = workload.point(config, {"fraction": 1, "fill": "random", "draw": 3})
    assert one == workload.point(config, {})
    with pytest.raises(InputError, match="fraction"):
        workload.point(config, {"fraction": 0})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"data": "embedded:questions"}, "is not running text"),
        ({"held_out_tokens": 600}, "616 tokens, and embedded:llama reads 512"),
        ({"held_out_tokens": 300}, "no generated story has"),
        ({"samples": 7}, "only the 6 prompts"),
        ({"anchor": "nowhere/at-all.pkl"}, "nowhere/at-all.pkl"),
    ],
    ids=["questions", "too long", "texts too short", "samples", "no anchor"],
)
def test_what_cannot_be_measured_is_refused_before_it_is_run(
    fields: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match=words):
        checked(**fields)


def test_prompts_have_a_limit_since_generated_texts_have_no_end() -> None:
    with pytest.raises(ValidationError, match="less than or equal to 10000"):
        DtdrConfig(prompts=10_001)
    checked(prompts=10_000)


def test_an_encoded_folder_is_no_model_to_encode(tmp_path: Path) -> None:
    encode_model(resolve_model("embedded:llama"), Recipe(), tmp_path / "e")
    with pytest.raises(InputError, match="is encoded already; a study encodes it itself"):
        checked(model=str(tmp_path / "e"))


def test_too_few_texts_are_counted(tmp_path: Path) -> None:
    story = "Hana won a big magnet in the ancient market. She gave it to Felix before sunset. "
    texts = [f"{name}: {story * 4}" for name in "abcdefghijkl"]
    (tmp_path / "texts.txt").write_text("<|endoftext|>".join(texts))
    with pytest.raises(InputError, match="gives 4 of 6 prompts"):
        checked(data=str(tmp_path / "texts.txt"))
    checked(data=str(tmp_path / "texts.txt"), prompts=4)


def test_an_anchor_s_content_is_what_it_is_known_by(tmp_path: Path) -> None:
    one, other = tmp_path / "a.pkl", tmp_path / "b.pkl"
    one.write_bytes(b"content")
    other.write_bytes(b"content")

    def known_by(path: Path) -> str:
        return Dtdr().fingerprint("model", str(path), DtdrConfig(anchor=str(path)))

    assert known_by(one).startswith("sha256:")
    assert known_by(one) == known_by(other)
    other.write_bytes(b"changed")
    assert known_by(one) != known_by(other)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the optional ../shared/data is absent")
def test_an_anchor_of_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"model.embed_tokens.weight is \[512, 64\] there"):
        checked(anchor=str(SHARED / "stories260K-hf"))


def test_nothing_of_this_loads_torch() -> None:
    program = (
        "import sys; from workloads.dtdr.workload import Dtdr; from workloads.recording import "
        "resolved; w = Dtdr(); c = resolved(w, {'prompts': 4, 'anchor': 'embedded:llama'}); "
        "w.check(c); w.point(c, {'fraction': 0.5}); w.measured_on(c); "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_trial_tells_size_and_error_of_its_encoding(tmp_path: Path) -> None:
    trial = run_recorded(Dtdr(), FEW, tmp_path)
    assert trial.result is not None
    metrics = trial.result.metrics
    assert metrics["tensors"] == 74  # the head is tied to the embedding and is there once
    assert metrics["plain_tensors"] == 17
    assert metrics["held_out_tokens"] == 96
    for name, least, most in (
        ("ratio", 3.5, 4.0),
        ("relative_l2", 0.001, 0.012),
        ("top10_overlap", 0.9, 1.0),
        ("cosine", 0.999, 1.0),
    ):
        value = metrics[name]
        assert value is not None
        assert least < value < most, name
    (scores,) = trial.result.scores
    assert len(scores.units) == 6
    (checkpoint,) = trial.checkpoints
    assert (checkpoint.path / "encoding" / "index.json").is_file()


def test_without_transform_and_quantiser_nothing_is_lost(tmp_path: Path) -> None:
    plain = {**FEW, "transform": "none", "quantiser": "none"}
    trial = run_recorded(Dtdr(), plain, tmp_path)
    assert trial.result is not None
    lossless = {"ratio": 1, "relative_l2": 0, "max_error": 0, "top10_overlap": 1}
    assert {name: trial.result.metrics[name] for name in lossless} == lossless
    assert trial.result.metrics["perplexity"] == trial.result.metrics["perplexity_original"]
