"""The recurrences give transformers' own numbers and gradients."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from workloads.models import recurrences
from workloads.models.recurrences import linear_recurrence, selective_scan, use_here, wkv


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(dtype).requires_grad_()


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """transformers' own module of an architecture, without what was put in its place."""

    def fresh(architecture: str) -> Any:
        name = f"transformers.models.{architecture}.modeling_{architecture}"
        before = importlib.import_module(name)
        package = sys.modules[name.rpartition(".")[0]]
        monkeypatch.setitem(sys.modules, name, before)
        monkeypatch.setattr(package, f"modeling_{architecture}", before, raising=False)
        del sys.modules[name]
        return importlib.import_module(name)

    return fresh


def scan_inputs(dtype: torch.dtype) -> dict[str, Any]:
    batch, channels, state, tokens = 2, 6, 3, 9
    return {
        "hidden_states": drawn(batch, channels, tokens, seed=1, dtype=dtype),
        "dt": drawn(batch, channels, tokens, seed=2, dtype=dtype),
        "A": -drawn(channels, state, seed=3).exp().detach().requires_grad_(),
        "B": drawn(batch, state, tokens, seed=4, dtype=dtype),
        "C": drawn(batch, state, tokens, seed=5, dtype=dtype),
        "D": drawn(channels, seed=6),
        "z": drawn(batch, channels, tokens, seed=7, dtype=dtype),
        "delta_bias": drawn(channels, seed=8),
        "delta_softplus": True,
        "return_last_state": True,
    }


def gradients(function: Callable[..., Any], inputs: dict[str, Any]) -> list[torch.Tensor]:
    out, state = function(**inputs)
    leaves = [one for one in inputs.values() if isinstance(one, torch.Tensor)]
    return list(torch.autograd.grad(out.sin().sum() + state.cos().sum(), leaves))


def test_the_scan_and_its_gradients_are_those_of_transformers(
    theirs: Callable[[str], Any],
) -> None:
    inputs = scan_inputs(torch.float32)
    given = theirs("mamba").mamba_selective_scan
    for one, other in zip(selective_scan(**inputs), given(**inputs), strict=True):
        torch.testing.assert_close(one, other)
    for one, other in zip(gradients(selective_scan, inputs), gradients(given, inputs), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_scan_keeps_the_precision_that_transformers_gives(
    dtype: torch.dtype, theirs: Callable[[str], Any]
) -> None:
    inputs = scan_inputs(dtype)
    given = theirs("mamba").mamba_selective_scan(**inputs)[0]
    ours = selective_scan(**inputs)[0]
    assert ours.dtype == given.dtype
    torch.testing.assert_close(ours, given, atol=0.1, rtol=0.05)


def test_a_recurrence_has_the_gradients_of_its_differences() -> None:
    a, b = (drawn(5, 2, seed=seed, dtype=torch.float64) for seed in (1, 2))
    a, b = a.detach().requires_grad_(), b.detach().requires_grad_()
    assert torch.autograd.gradcheck(linear_recurrence, (a, b))


def test_rwkv_means_are_bit_for_bit_those_of_transformers(
    theirs: Callable[[str], Any],
) -> None:
    reference = theirs("rwkv").rwkv_linear_attention_cpu
    decay, first = drawn(4, seed=1), drawn(4, seed=2)
    key, value = drawn(2, 7, 4, seed=3), drawn(2, 7, 4, seed=4)
    ours, state = wkv(decay, first, key, value, return_state=True)
    given, other = reference(decay, first, key, value, return_state=True)
    assert torch.equal(ours, given)
    assert all(torch.equal(one, two) for one, two in zip(state, other, strict=True))
    again = [f(decay, first, key, value, state=s)[0] for f, s in ((wkv, state), (reference, other))]
    assert torch.equal(*again)
    one, two = (
        torch.autograd.grad(out.sin().sum(), [decay, first, key, value]) for out in (ours, given)
    )
    for mine, its in zip(one, two, strict=True):
        torch.testing.assert_close(mine, its, atol=1e-6, rtol=1e-5)


def test_on_a_gpu_the_compiled_scan_is_used_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from transformers.models.mamba import modeling_mamba

    def kernel(u: Any, delta: Any, delta_softplus: bool = False) -> tuple[Any, Any, bool]:
        return u, delta, delta_softplus

    package = ModuleType("mamba_ssm.ops.selective_scan_interface")
    package.selective_scan_fn = kernel  # type: ignore[attr-defined]
    for name in ("mamba_ssm", "mamba_ssm.ops"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, package.__name__, package)
    use_here("mamba")
    use_here("mamba")
    recurrences.fast_scan.cache_clear()
    on_gpu, options = SimpleNamespace(is_cuda=True), {"delta_softplus": True, "use_mambapy": False}
    try:
        given = modeling_mamba.mamba_selective_scan(on_gpu, 3, **options)
        inputs = scan_inputs(torch.float32)
        on_cpu = modeling_mamba.mamba_selective_scan(**inputs, use_associative_scan=False)[0]
    finally:
        recurrences.fast_scan.cache_clear()
    assert given == (on_gpu, 3, True)
    assert torch.equal(on_cpu, selective_scan(**inputs)[0])


def test_a_model_built_from_its_configuration_reads_as_a_loaded_one_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from transformers import MambaConfig, MambaForCausalLM
    from transformers.models.mamba import modeling_mamba

    from workloads.ablation.packing import packed_model, unpacked_model
    from workloads.dtdr.skeleton import blank_model

    small = {"vocab_size": 8, "hidden_size": 8, "state_size": 2, "num_hidden_layers": 1}
    packed = packed_model(MambaForCausalLM(MambaConfig(**small)))
    config = {**packed["config"], "model_type": "mamba"}
    for build in (
        lambda: unpacked_model(packed, None, "cpu"),
        lambda: blank_model(config, torch.float32, "cpu"),
    ):
        monkeypatch.setattr(modeling_mamba, "mamba_selective_scan", None)
        build()
        assert modeling_mamba.mamba_selective_scan is not None
