"""The blocks of a model are found by its family, through wrappings, or the error says how."""

from __future__ import annotations

import socket

import pytest
import torch
from torch import nn

from telemetry.probes import LayerNotFoundError, MonitorSuite, find_blocks, module_named
from telemetry.probes.discovery import unwrapped
from tests.telemetry.probes.tiny_models import BLOCKS, FAMILIES, Toy, adapted, causal_model


@pytest.mark.parametrize("family", FAMILIES)
def test_the_blocks_of_a_family_are_found(family: str) -> None:
    model = causal_model(family)
    path, kind = FAMILIES[family][3:]
    blocks = find_blocks(model)
    assert blocks.path == path
    assert [type(one).__name__ for one in blocks.modules] == [kind] * BLOCKS
    assert blocks.last is model.get_submodule(f"{path}.{BLOCKS - 1}")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_blocks_are_found_within_peft(family: str) -> None:
    model = adapted(family)
    blocks = find_blocks(model)
    assert blocks.path == f"base_model.model.{FAMILIES[family][3]}"
    assert model.get_submodule(f"{blocks.path}.{BLOCKS - 1}") is blocks.last


@pytest.mark.parametrize("family", FAMILIES)
def test_the_blocks_are_found_without_a_head(family: str) -> None:
    model = causal_model(family)
    blocks = find_blocks(model.base_model)
    assert blocks.path == FAMILIES[family][3].split(".")[-1]
    assert blocks.last is find_blocks(model).last


def test_the_blocks_are_found_within_prompt_tuning() -> None:
    import peft

    config = peft.PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM")
    model = peft.get_peft_model(causal_model(), config)
    assert find_blocks(model).path == "base_model.model.layers"


def test_the_blocks_are_found_within_a_compiled_model() -> None:
    model = causal_model()
    compiled = torch.compile(model, backend="eager")
    assert find_blocks(compiled).last is find_blocks(model).last
    assert unwrapped(compiled) is model


def test_the_blocks_are_found_within_distributed_data_parallel() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = torch.distributed.TCPStore("127.0.0.1", port, 1, is_master=True)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        inner = adapted()
        model = nn.parallel.DistributedDataParallel(inner)
        assert find_blocks(model).path == "module.base_model.model.model.layers"
        assert unwrapped(model) is inner.get_base_model()
    finally:
        torch.distributed.destroy_process_group()


def test_the_layers_of_pytorchs_own_encoder_are_found() -> None:
    model = Toy()
    blocks = find_blocks(model)
    assert blocks.path == "encoder.0.layers"
    assert blocks.last is model.encoder[0].layers[-1]


def test_two_encoders_are_one_too_many_to_choose() -> None:
    with pytest.raises(LayerNotFoundError, match=r"encoder\.1\.layers \(3 × TransformerEncoderLay"):
        find_blocks(Toy(encoders=2))


def test_a_list_of_rotary_embeddings_is_never_taken_for_blocks() -> None:
    class SomeRotaryEmbedding(nn.Module):
        pass

    model = nn.Module()
    model.layers = nn.ModuleList([SomeRotaryEmbedding()])
    model.blocks = nn.ModuleList([nn.Linear(2, 2)])
    assert find_blocks(model).path == "blocks"


class Stack(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.decoder = nn.Module()
        self.decoder.steps = nn.ModuleList([nn.Linear(2, 2) for _ in range(4)])


def test_an_unknown_model_is_told_what_was_searched_and_how_to_name_a_layer() -> None:
    with pytest.raises(LayerNotFoundError) as raised:
        find_blocks(Stack())
    message = str(raised.value)
    assert "no blocks found in Stack" in message
    assert "model.layers, transformer.h, gpt_neox.layers, backbone.layers, rwkv.blocks" in message
    assert "decoder.steps (4 × Linear)" in message
    assert message.endswith('layer="decoder.steps.3"')
    assert isinstance(raised.value, ValueError)


def test_a_model_without_lists_is_told_a_layer_of_its_own() -> None:
    with pytest.raises(LayerNotFoundError, match=r'no module lists.*layer="0"'):
        find_blocks(nn.Sequential(nn.Linear(2, 2)))


def test_a_family_that_is_known_is_searched_for_its_own_names_alone() -> None:
    model = causal_model("gpt2")
    model.transformer.h = nn.ModuleList()
    with pytest.raises(LayerNotFoundError, match=r"\(model_type gpt2\); looked for transformer\.h"):
        find_blocks(model)


def test_a_wrong_name_is_told_the_nearest() -> None:
    with pytest.raises(LayerNotFoundError, match=r"no module 'model\.layer\.1'; nearest: .*model"):
        module_named(adapted(), "model.layer.1")


def test_a_name_holds_with_and_without_the_wrapping() -> None:
    model = adapted()
    block = find_blocks(model).modules[1]
    assert module_named(model, "model.layers.1") is block
    assert module_named(model, "base_model.model.model.layers.1") is block


def test_a_list_of_layers_can_not_be_watched_itself() -> None:
    with pytest.raises(LayerNotFoundError, match=r"never called.*'model\.layers\.2'"):
        module_named(causal_model(), "model.layers")


@pytest.mark.parametrize("target", [3, torch.zeros(2), ["model.layers.0"]])
def test_a_target_that_is_no_module_is_refused(target: object) -> None:
    with pytest.raises(
        TypeError, match=r"layer must be a torch\.nn\.Module or the name of one, got"
    ):
        MonitorSuite.attach(causal_model(), layer=target)  # type: ignore[arg-type]


def test_a_model_that_is_no_module_is_refused() -> None:
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module, got str"):
        find_blocks("llama")  # type: ignore[arg-type]


def test_a_module_of_another_model_is_refused() -> None:
    with pytest.raises(LayerNotFoundError, match="not part of the LlamaForCausalLM"):
        MonitorSuite.attach(causal_model(), layer=nn.Linear(2, 2))
