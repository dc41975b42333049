"""A model of a billion parameters is encoded and decoded in little memory; peers beside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.benchmarks.measuring import tell
from workloads.dtdr.codec.recipe import Recipe
from workloads.dtdr.files import EncodedModel, encode_model, inspect_model
from workloads.dtdr.files.safetensors_files import Writer
from workloads.models import resolve_model

LIMIT_GIB = 6
NEEDED_DISK_BYTES = 8 << 30
VOCABULARY, HIDDEN, INNER, LAYERS = 32_000, 2048, 5632, 22
LARGEST = VOCABULARY * HIDDEN
WORKING_SET_BYTES = LARGEST * (2 + 4 + 4 + 1)
"""Of the largest tensor: itself in bfloat16, float32 numbers and coefficients, and codes."""


def llama_shapes(
    layers: int = LAYERS, hidden: int = HIDDEN, inner: int = INNER
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a Llama with 1.1 billion parameters, or of a smaller one."""
    keys = hidden // 8
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, hidden)}
    for layer in range(layers):
        block = f"model.layers.{layer}"
        shapes |= {
            f"{block}.self_attn.q_proj.weight": (hidden, hidden),
            f"{block}.self_attn.k_proj.weight": (keys, hidden),
            f"{block}.self_attn.v_proj.weight": (keys, hidden),
            f"{block}.self_attn.o_proj.weight": (hidden, hidden),
            f"{block}.mlp.gate_proj.weight": (inner, hidden),
            f"{block}.mlp.up_proj.weight": (inner, hidden),
            f"{block}.mlp.down_proj.weight": (hidden, inner),
            f"{block}.input_layernorm.weight": (hidden,),
            f"{block}.post_attention_layernorm.weight": (hidden,),
        }
    return shapes | {"model.norm.weight": (hidden,), "lm_head.weight": (VOCABULARY, hidden)}


def made(folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> Path:
    """A model of random weights in bfloat16, made tensor by tensor."""
    folder.mkdir(parents=True)
    draw = torch.Generator().manual_seed(0)
    writer = Writer(folder / "model.safetensors", list(shapes))
    for name, shape in shapes.items():
        weights = torch.randn(shape, generator=draw) if len(shape) > 1 else torch.ones(shape)
        writer.add(name, weights.mul_(0.02).bfloat16())
    writer.close()
    config = {"model_type": "llama", "tie_word_embeddings": False, "vocab_size": VOCABULARY}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def disk() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="orrery-bench-files-"))
    try:
        if shutil.disk_usage(folder).free < NEEDED_DISK_BYTES:
            pytest.skip(f"needs {NEEDED_DISK_BYTES >> 30} GiB of disk at {folder}")
        yield folder
    finally:
        shutil.rmtree(folder)


PEAK = "VmHWM:"
"""What the kernel calls the peak of resident memory since a program began. The peak that it says a
finished child had (`ru_maxrss`) begins with its parent's."""


def alone(code: str) -> tuple[Any, int]:
    """What a process of its own printed as JSON, and its peak memory in bytes."""
    start = "import json, sys, torch\nfrom pathlib import Path\ntorch.set_num_threads(1)\n"
    end = (
        "\nlines = Path('/proc/self/status').read_text().splitlines()"
        f"\nprint(*(line for line in lines if line.startswith({PEAK!r})), file=sys.stderr)"
    )
    imports = (
        "from workloads.dtdr.asking import Asked\n"
        "from workloads.dtdr.codec.recipe import Recipe\n"
        "from workloads.dtdr.codec.tensors import encode_tensor\n"
        "from workloads.dtdr.reconstruction import Reconstruction\n"
        "from workloads.dtdr.files import EncodedModel, decode_model, encode_model\n"
        "from workloads.models import ModelRef\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", start + imports + code + end],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout or "null"), int(done.stderr.split(PEAK)[1].split()[0]) * 1024


def test_a_billion_parameters_in_little_memory(disk: Path) -> None:
    model = made(disk / "model", llama_shapes())
    _, nothing = alone("")
    told: dict[str, Any] = {
        "parameters": sum(torch.Size(shape).numel() for shape in llama_shapes().values()),
        "imports_mib": nothing / 2**20,
        "working_set_mib": WORKING_SET_BYTES / 2**20,
    }
    ref = f"ModelRef('bench', 'local', 'bench', path=Path({str(model)!r}))"
    for transform in ("hadamard", "dct", "none"):
        out = disk / transform
        encoded, peak = alone(
            f"done = encode_model({ref}, Recipe({transform!r}, 'row', 128), Path({str(out)!r}))\n"
            "print(json.dumps(done.to_json()))"
        )
        decoded, decode_peak = alone(
            f"encoded = EncodedModel.open(Path({str(out)!r}))\n"
            f"done = decode_model(encoded, Path({str(disk / 'decoded')!r}), Asked())\n"
            "print(json.dumps(done.to_json()))"
        )
        shutil.rmtree(disk / "decoded")
        shutil.rmtree(out)
        told[transform] = {
            "encode_mb_per_s": encoded["mb_per_s"],
            "decode_mb_per_s": decoded["mb_per_s"],
            "ratio": encoded["ratio"],
            "encode_peak_mib": peak / 2**20,
            "decode_peak_mib": decode_peak / 2**20,
        }
        for most in (peak, decode_peak):
            assert most < LIMIT_GIB * 2**30
            assert most - nothing <= 1.3 * WORKING_SET_BYTES
    tell("encoding_a_billion", told)


def test_peers(disk: Path) -> None:
    """The same weights by this codec, by int8 codes in plain torch, and by optimum-quanto."""
    torch.set_num_threads(1)
    folder = made(disk / "model", llama_shapes(layers=2, hidden=1024, inner=2816))
    from safetensors.torch import load_file

    original = load_file(folder / "model.safetensors")
    size = sum(tensor.numel() * tensor.element_size() for tensor in original.values())
    model = resolve_model(str(folder))  # it hashes the model, which no peer does
    told: dict[str, Any] = {"original_mb": size / 1e6}
    for recipe in (
        Recipe("hadamard", "row", 128),
        Recipe("hadamard", "block", 128),
        Recipe("dct", "row", 128),
        Recipe("none", "row", 128),
        Recipe("none", "minmax", 128),
    ):
        out = disk / "out"
        done = encode_model(model, recipe, out)
        start = time.perf_counter()
        for tensor in EncodedModel.open(out).values():
            tensor.decoded()
        read_s = time.perf_counter() - start
        errors = inspect_model(out, folder).errors
        assert errors is not None
        told[f"{recipe.transform} {recipe.quantiser}"] = {
            "write_mb_per_s": done.mb_per_s,
            "read_mb_per_s": size / 1e6 / read_s,
            "ratio": done.ratio,
            "relative_l2": errors.relative_l2,
        }
        shutil.rmtree(out)
    told["torch int8"] = _torch_int8(original, disk, size)
    told["optimum-quanto qint8"] = _quanto(original, disk, size)
    tell("encoding_peers", told)
    assert told["none row"]["relative_l2"] == pytest.approx(
        told["torch int8"]["relative_l2"], rel=0.02
    )


def _torch_int8(original: Mapping[str, Tensor], disk: Path, size: int) -> dict[str, float]:
    """Symmetric codes per row, all tensors in memory, written by `save_file` and read back."""
    from safetensors.torch import load_file, save_file

    start = time.perf_counter()
    stored: dict[str, Tensor] = {}
    for name, tensor in original.items():
        if tensor.dim() < 2:
            stored[name] = tensor
            continue
        numbers = tensor.float()
        scale = numbers.abs().amax(1, keepdim=True) / 127
        stored[f"{name}:scale"] = scale
        stored[name] = (numbers / scale).round().clamp(-127, 127).to(torch.int8)
    _saved(save_file, stored, disk / "int8.safetensors")
    write_s = time.perf_counter() - start
    start = time.perf_counter()
    read = load_file(disk / "int8.safetensors")
    decoded = {
        name: (read[name].float() * read[f"{name}:scale"]).to(tensor.dtype)
        for name, tensor in original.items()
        if tensor.dim() > 1
    }
    return _told(original, decoded, disk / "int8.safetensors", size, write_s, start)


def _quanto(original: Mapping[str, Tensor], disk: Path, size: int) -> dict[str, float] | str:
    """`qint8` weights of linear layers: it leaves an embedding as it is."""
    try:
        from optimum.quanto import freeze, qint8, quantize
    except ImportError:
        return "not installed"
    from safetensors.torch import load_file, save_file

    linear = {name: tensor for name, tensor in original.items() if "proj" in name}
    weights_bytes = sum(tensor.numel() * tensor.element_size() for tensor in linear.values())
    layers = torch.nn.ModuleDict()
    for name, tensor in linear.items():
        rows, columns = tensor.shape
        layer = torch.nn.Linear(columns, rows, bias=False, dtype=tensor.dtype)
        layer.weight = torch.nn.Parameter(tensor.clone(), requires_grad=False)
        layers[name.replace(".", "/")] = layer
    start = time.perf_counter()
    quantize(layers, weights=qint8)
    freeze(layers)
    path = disk / "quanto.safetensors"
    _saved(save_file, dict(layers.state_dict()), path)
    write_s = time.perf_counter() - start
    start = time.perf_counter()
    read = load_file(path)
    decoded = {}
    for name in linear:
        key = f"{name.replace('.', '/')}.weight"
        decoded[name] = read[f"{key}._data"] * read[f"{key}._scale"]  # as its `dequantize` does
    return _told(linear, decoded, path, weights_bytes, write_s, start)


def _saved(save_file: Any, tensors: dict[str, Tensor], path: Path) -> None:
    """To the disk itself, as our own writer does."""
    save_file(tensors, path)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _told(
    original: Mapping[str, Tensor],
    decoded: Mapping[str, Tensor],
    path: Path,
    size: int,
    write_s: float,
    read_from: float,
) -> dict[str, float]:
    read_s = time.perf_counter() - read_from
    errors = sum(
        float((decoded[n].double() - original[n].double()).square().sum()) for n in decoded
    )
    norms = sum(float(original[n].double().square().sum()) for n in decoded)
    return {
        "write_mb_per_s": size / 1e6 / write_s,
        "read_mb_per_s": size / 1e6 / read_s,
        "ratio": size / path.stat().st_size,
        "relative_l2": (errors / norms) ** 0.5,
    }
