"""References to models: what is pinned, what is refused, and with which words."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from workloads.datasets import content_hash
from workloads.errors import InputError
from workloads.models import describe, resolve_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHARED = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the embedded model."""
    source = resolve_model("embedded:llama").path
    assert source is not None
    return Path(shutil.copytree(source, tmp_path / "model"))


def test_a_moved_folder_keeps_its_fingerprint(folder: Path, tmp_path: Path) -> None:
    before = resolve_model(str(folder)).fingerprint
    moved = folder.rename(tmp_path / "elsewhere")
    assert resolve_model(str(moved)).fingerprint == before
    assert before == resolve_model("embedded:llama").fingerprint


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_one_changed_byte_changes_the_fingerprint(folder: Path, name: str) -> None:
    before = resolve_model(str(folder)).fingerprint
    content = bytearray((folder / name).read_bytes())
    content[-2] ^= 1
    (folder / name).write_bytes(bytes(content))
    assert resolve_model(str(folder)).fingerprint != before


def test_notes_beside_a_model_are_not_in_its_fingerprint(folder: Path) -> None:
    before = resolve_model(str(folder)).fingerprint
    (folder / "README.md").write_text("other words")
    (folder / "training.json").write_text("{}")
    assert resolve_model(str(folder)).fingerprint == before


def test_a_cached_hash_is_not_computed_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "hashes.json"
    before = resolve_model(str(folder), cache=cache).fingerprint
    monkeypatch.setattr(content_hash, "hash_file", lambda path: pytest.fail(f"hashed {path}"))
    assert resolve_model(str(folder), cache=cache).fingerprint == before


def test_a_touched_file_is_hashed_again(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "hashes.json"
    before = resolve_model(str(folder), cache=cache).fingerprint
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(content))
    os.utime(folder / "model.safetensors", ns=(1, 1))
    assert resolve_model(str(folder), cache=cache).fingerprint != before


def test_a_broken_cache_file_is_made_anew(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "hashes.json"
    cache.write_text("[not json")
    assert (
        resolve_model(str(folder), cache=cache).fingerprint
        == resolve_model(str(folder)).fingerprint
    )
    assert json.loads(cache.read_text())


def test_an_unknown_embedded_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean llama"):
        resolve_model("embedded:lama")


def test_a_folder_without_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no config\.json"):
        resolve_model(str(tmp_path))


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="no weights"):
        resolve_model(str(folder))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pkl", "last.ckpt"])
def test_pickled_weights_are_refused_with_the_command_that_converts_them(
    folder: Path, name: str
) -> None:
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(InputError) as refusal:
        resolve_model(str(folder))
    assert f"python -m workloads.models.convert_checkpoint {folder} OUT" in str(refusal.value)
    assert name in str(refusal.value)


def test_a_missing_shard_is_named(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match=r"model-00002\.safetensors"):
        resolve_model(str(folder))


@pytest.mark.parametrize("given", ["/no/such/folder", "a b", ""])
def test_what_is_neither_path_nor_hub_id_is_refused(given: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refusal:
        resolve_model(given)
    assert "\n" not in str(refusal.value)


def test_a_hub_commit_is_pinned_without_asking_the_hub() -> None:
    ref = resolve_model(f"org/name@{COMMIT}")
    assert ref.fingerprint == f"hub:org/name@{COMMIT}"
    assert (ref.kind, ref.hub_id, ref.revision) == ("hub", "org/name", COMMIT)


def test_offline_a_hub_name_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import HfApi

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(HfApi, "repo_info", unreachable)
    with pytest.raises(InputError, match="is no local path, and the hub cannot be asked") as error:
        resolve_model("org/name")
    assert "\n" not in str(error.value)


def test_offline_a_downloaded_revision_is_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    reference = tmp_path / "models--org--name" / "refs" / "main"
    reference.parent.mkdir(parents=True)
    reference.write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert resolve_model("org/name").fingerprint == f"hub:org/name@{COMMIT}"


def test_a_downloaded_model_is_described_without_asking_the_hub(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    place = tmp_path / "models--org--name" / "snapshots" / COMMIT
    place.parent.mkdir(parents=True)
    shutil.copytree(folder, place)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert describe(f"org/name@{COMMIT}").tensors == describe(str(folder)).tensors
    (place / "model.safetensors").unlink()  # downloaded in part
    with pytest.raises(InputError, match="cannot be described"):
        describe(f"org/name@{COMMIT}")


def test_two_different_revisions_are_refused() -> None:
    with pytest.raises(InputError, match="give one of them"):
        resolve_model(f"org/name@{COMMIT}", revision="main")


def test_a_description_has_what_plan_time_checks_need() -> None:
    described = describe("embedded:llama")
    assert described.architecture == "LlamaForCausalLM"
    assert described.layers == 8
    assert {"q_proj", "k_proj", "v_proj", "o_proj"} <= set(described.module_suffixes)
    assert "model.layers.7.self_attn.q_proj" in described.modules
    assert described.tensors["model.embed_tokens.weight"].shape == (
        described.vocab_size,
        described.hidden_size,
    )


def test_a_broken_weights_file_is_named(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"not safetensors at all")
    with pytest.raises(InputError, match=r"model\.safetensors is not a readable safetensors file"):
        describe(str(folder))


def test_resolving_and_describing_need_no_torch() -> None:
    code = (
        "import sys; from workloads.models import describe; describe('embedded:llama');"
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules), 'heavy import'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the optional ../shared/data is absent")
def test_a_recurrent_model_is_described() -> None:
    described = describe(str(SHARED / "tiny-rwkv4-hf"))
    assert (described.model_type, described.layers, described.hidden_size) == ("rwkv", 4, 128)
    assert described.parameters == 661_504
