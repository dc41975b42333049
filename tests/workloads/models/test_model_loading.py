"""Models and tokenizers in memory, and conversion of pickled weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from workloads.errors import InputError
from workloads.models import describe, load_model, load_tokenizer, resolve_model
from workloads.models.convert_checkpoint import convert

SHARED = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the embedded model."""
    source = resolve_model("embedded:llama").path
    assert source is not None
    return Path(shutil.copytree(source, tmp_path / "model"))


def test_a_model_is_loaded_in_evaluation_mode_and_in_the_dtype_asked_for() -> None:
    model = load_model("embedded:llama", "bfloat16")
    assert not model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_a_description_counts_the_parameters_that_are_loaded() -> None:
    model = load_model("embedded:llama")
    assert describe("embedded:llama").parameters == sum(p.numel() for p in model.parameters())


def test_an_unknown_dtype_is_answered_with_the_valid_ones() -> None:
    with pytest.raises(InputError, match="did you mean float32"):
        load_model("embedded:llama", "float23")


def test_a_missing_tokenizer_is_an_input_error(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InputError, match="has no tokenizer"):
        load_tokenizer(str(folder))


def test_the_end_token_pads_where_a_tokenizer_has_no_pad_token(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    del config["pad_token"]
    path.write_text(json.dumps(config))
    tokenizer = load_tokenizer(str(folder))
    assert tokenizer.pad_token == tokenizer.eos_token


def test_an_unknown_architecture_is_an_input_error(folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text()) | {"model_type": "nonesuch"}
    path.write_text(json.dumps(config))
    with pytest.raises(InputError, match="cannot be loaded"):
        load_model(str(folder))


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_converted_checkpoint_gives_the_same_logits(
    folder: Path, tmp_path: Path, wrapped: bool
) -> None:
    model = load_model(str(folder))
    state = model.state_dict()
    torch.save({"state_dict": state} if wrapped else state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    out = tmp_path / "out"
    convert(folder, out)
    ids = torch.arange(4, 20)[None]
    with torch.inference_mode():
        assert torch.equal(load_model(str(out))(ids).logits, model(ids).logits)
    assert load_tokenizer(str(out)).eos_token == "</s>"


def test_a_pickle_that_would_run_code_is_not_converted(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"a": Path.cwd}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="not a pickle of plain tensors"):
        convert(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_conversion_does_not_write_into_a_folder_in_use(folder: Path) -> None:
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="not empty"):
        convert(folder, folder)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the optional ../shared/data is absent")
def test_a_real_small_model_tells_a_story() -> None:
    source = str(SHARED / "stories260K-hf")
    model, tokenizer = load_model(source), load_tokenizer(source)
    start = tokenizer("Once upon a time", return_tensors="pt")
    out = model.generate(**start, max_new_tokens=12, do_sample=False)
    text = tokenizer.decode(out[0], skip_special_tokens=True)
    assert text.startswith("Once upon a time, there was a little girl")
