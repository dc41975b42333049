"""Models without a tokenizer: their tokens are bytes where the vocabulary is that large."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import RwkvConfig, RwkvForCausalLM

from workloads.dtdr.packing import opened_subject, packed_subject
from workloads.dtdr.workload import Dtdr
from workloads.errors import InputError
from workloads.models.byte_tokens import ByteTokenizer
from workloads.recording import resolved, run_recorded


def recurrent_model(folder: Path, vocabulary: int, **fields: Any) -> str:
    torch.manual_seed(0)
    config = RwkvConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=2,
        context_length=256,
        bos_token_id=0,
        eos_token_id=0,
        rescale_every=0,
    )
    RwkvForCausalLM(config).save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    return str(folder)


def test_each_byte_is_of_its_character_and_texts_come_back() -> None:
    text = "é→a"
    found = ByteTokenizer()(text)
    assert found["input_ids"] == [0xC3, 0xA9, 0xE2, 0x86, 0x92, 0x61]
    assert found["offset_mapping"] == [(0, 1)] * 2 + [(1, 2)] * 3 + [(2, 3)]
    assert ByteTokenizer().decode(found["input_ids"], skip_special_tokens=True) == text
    assert ByteTokenizer().decode([0xC3, 0x61]) == "\ufffda"


def test_a_recurrent_model_of_bytes_is_encoded_measured_and_continued(tmp_path: Path) -> None:
    fields = {
        "model": recurrent_model(tmp_path / "model", 256),
        "prompts": 4,
        "held_out_tokens": 16,
        "samples": 1,
        "sample_tokens": 6,
    }
    trial = run_recorded(Dtdr(), fields, tmp_path)
    assert trial.result is not None
    (checkpoint,) = trial.checkpoints
    config: Any = resolved(Dtdr(), fields)
    subject = opened_subject(config, packed_subject(config, checkpoint.path))
    full, half = subject.measure([{"fraction": 1.0}, {"fraction": 0.5, "domain": "leading"}])
    assert full.error is half.error is None
    assert full.values["top10_overlap"] == 1
    assert full.values["perplexity"] == pytest.approx(trial.result.metrics["perplexity"])
    (sample,) = json.loads(full.note or "")
    assert len(sample["prompt"].encode()) == config.prompt_tokens


@pytest.mark.parametrize(
    ("vocabulary", "fields", "words"),
    [(259, {}, "has no tokenizer"), (256, {"rescale_every": 6}, "set that to 0 in its config")],
    ids=["special tokens", "rescaling"],
)
def test_what_would_be_read_wrongly_is_refused(
    vocabulary: int, fields: dict[str, Any], words: str, tmp_path: Path
) -> None:
    model = recurrent_model(tmp_path, vocabulary, **fields)
    workload = Dtdr()
    with pytest.raises(InputError, match=words):
        workload.check(resolved(workload, {"model": model, "prompts": 4, "samples": 0}))
