"""Hooks keep a row of the newest forward pass, and disturb nothing."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from telemetry.probes import find_blocks
from telemetry.probes.capture import RowCapture, Seen
from telemetry.probes.transfer import HostCopies, pack
from tests.telemetry.probes.tiny_models import DIM, Toy, causal_model, tokens


class Echo(nn.Module):
    """Passes on whatever it is given, as its layer gave it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Identity()

    def forward(self, hidden: Any, attention_mask: Any = None) -> Any:
        return self.layer(hidden)


def captured(hidden: Any, mask: Any = None, **options: Any) -> Seen:
    model = Echo()
    capture = RowCapture(model, model.layer, **options)
    model(hidden, mask)
    seen = capture.take()
    capture.remove()
    assert seen is not None
    return seen


BATCH = torch.arange(24.0).reshape(2, 4, 3)


@pytest.mark.parametrize(
    ("hidden", "row"),
    [
        (BATCH[0, 0], [0, 1, 2]),
        (BATCH[0], [9, 10, 11]),
        (BATCH, [9, 10, 11]),
        ((BATCH, None), [9, 10, 11]),
        ({"last_hidden_state": BATCH}, [9, 10, 11]),
    ],
    ids=["dim", "seq", "batch", "tuple", "mapping"],
)
def test_the_last_token_of_the_first_sample_is_kept(hidden: Any, row: list[float]) -> None:
    seen = captured(hidden)
    assert seen.row is not None
    assert seen.row.tolist() == row
    assert not seen.problems


@pytest.mark.parametrize(
    ("mask", "position"),
    [
        ([1, 1, 0, 0], 1),
        ([0, 0, 1, 1], 3),
        ([1, 1, 1, 1], 3),
        ([0, 1, 1, 0], 2),
        ([1, 1, 1, 1, 1, 0], 2),  # a cache: the first two positions are not computed again
        ([1, 0], 2),  # two positions put in front by the model
    ],
    ids=["right", "left", "none", "both", "cache", "prompt"],
)
def test_padding_is_passed_over(mask: list[int], position: int) -> None:
    given = torch.tensor([mask, [1] * len(mask)])
    seen = captured(BATCH, given)
    assert seen.row is not None
    assert seen.row.tolist() == BATCH[0, position].tolist()


def test_a_mask_is_found_by_its_name_too() -> None:
    model = Echo()
    capture = RowCapture(model, model.layer)
    model(BATCH, attention_mask=torch.tensor([[1, 0, 0, 0], [1, 1, 1, 1]]))
    seen = capture.take()
    assert seen is not None
    assert seen.row is not None
    assert seen.row.tolist() == [0, 1, 2]


def test_the_mask_of_one_forward_pass_does_not_hold_for_the_next() -> None:
    model = Echo()
    capture = RowCapture(model, model.layer)
    model(BATCH, torch.tensor([[1, 0, 0, 0], [1, 1, 1, 1]]))
    model(BATCH)
    seen = capture.take()
    assert seen is not None
    assert seen.row is not None
    assert seen.row.tolist() == [9, 10, 11]


def test_the_padding_mask_of_pytorchs_encoder_is_understood() -> None:
    model = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 8, dropout=0, batch_first=True), 2
    )
    capture = RowCapture(model, model.layers[-1])
    hidden = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    padding = torch.tensor([[False, False, False, True, True], [False] * 5])
    output = model(hidden, src_key_padding_mask=padding)
    seen = capture.take()
    assert seen is not None
    assert torch.equal(seen.row, output[0, 2].detach())  # type: ignore[arg-type]
    with torch.no_grad():  # in evaluation PyTorch leaves the padding out: a nested tensor
        output = model.eval()(hidden, src_key_padding_mask=padding)
    seen = capture.take()
    assert seen is not None
    assert torch.equal(seen.row, output[0, 2])  # type: ignore[arg-type]


def test_a_layer_with_the_sequence_first_is_read_at_its_last_token() -> None:
    model = Toy(batch_first=False).eval()
    capture = RowCapture(model, model.encoder[0].layers[-1])
    outputs: list[torch.Tensor] = []
    model.encoder.register_forward_hook(lambda _m, _a, output: outputs.append(output))
    model(tokens(2, 5))
    seen = capture.take()
    assert seen is not None
    assert torch.equal(seen.row, outputs[0][-1, 0].detach())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("hidden", "said"),
    [
        (torch.zeros(1, 2, 3, 4), r"unsupported shape \[1, 2, 3, 4\]"),
        (torch.zeros(0, 2, 3), r"unsupported shape \[0, 2, 3\]"),
        (torch.tensor(1.0), r"unsupported shape \[\]"),
        (torch.zeros(2, 3, dtype=torch.int64), r"unsupported type \[2, 3\] of torch\.int64"),
        ("text", "no tensor among"),
    ],
    ids=["rank 4", "empty", "scalar", "integers", "no tensor"],
)
def test_what_can_not_be_read_is_told_and_raises_only_if_asked_to(hidden: Any, said: str) -> None:
    seen = captured(hidden)
    assert seen.row is None
    (problem,) = seen.problems
    with pytest.raises(ValueError, match=said):
        raise ValueError(problem)
    with pytest.raises(ValueError, match=said):
        captured(hidden, strict=True)


def test_a_mask_of_rank_4_is_told() -> None:
    seen = captured(BATCH, torch.ones(1, 1, 4, 4))
    assert seen.row is None
    assert "a mask of shape [1, 1, 4, 4]" in seen.problems[0]


def test_what_is_kept_shares_no_memory_with_what_was_seen_and_holds_no_gradient() -> None:
    hidden = BATCH.clone().requires_grad_()
    before, version = hidden.detach().clone(), hidden._version
    seen = captured(hidden, before=True)
    for row in (seen.row, seen.before):
        assert row is not None
        assert not row.requires_grad
        assert row.untyped_storage().data_ptr() != hidden.untyped_storage().data_ptr()
        assert row.untyped_storage().nbytes() == 3 * 4
    assert torch.equal(hidden.detach(), before)
    assert hidden._version == version
    assert hidden.grad is None


def test_input_and_output_of_the_last_block_are_the_last_two_layers() -> None:
    model = causal_model().eval()
    capture = RowCapture(model, find_blocks(model).last, before=True, logits=True)
    outputs: list[torch.Tensor] = []
    for block in find_blocks(model).modules[-2:]:
        block.register_forward_hook(lambda _m, _a, output: outputs.append(output))
    logits = model(tokens(2, 6), attention_mask=torch.tensor([[1, 1, 1, 1, 0, 0], [1] * 6])).logits
    seen = capture.take()
    assert seen is not None
    assert torch.equal(seen.before, outputs[0][0, 3].detach())  # type: ignore[arg-type]
    assert torch.equal(seen.row, outputs[1][0, 3].detach())  # type: ignore[arg-type]
    assert torch.equal(seen.logits, logits[0, 3].detach())  # type: ignore[arg-type]


def test_the_input_of_a_layer_can_be_watched_instead() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(inplace=True))
    capture = RowCapture(model, model[1], "input")
    hidden = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model(hidden)
        expected = model[0](hidden)[-1]
    seen = capture.take()
    assert seen is not None
    assert torch.equal(seen.row, expected)  # type: ignore[arg-type]  # before the ReLU wrote to it


@pytest.mark.parametrize("reentrant", [True, False])
def test_what_checkpointing_computes_again_is_no_forward_pass(reentrant: bool) -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Sequential(nn.Linear(3, 3), nn.Tanh())

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            again: torch.Tensor = checkpoint(
                self.layer, hidden, use_reentrant=reentrant, early_stop=False
            )
            return again

    model = Checkpointed()
    capture = RowCapture(model, model.layer)
    calls = []
    model.layer.register_forward_hook(lambda *_: calls.append(1))
    loss = model(BATCH.clone().requires_grad_()).sum()
    assert capture.take() is not None
    loss.backward()
    assert len(calls) == 2
    assert capture.take() is None


def test_a_forward_pass_that_misses_the_layer_is_told() -> None:
    model = nn.ModuleDict({"used": nn.Identity(), "unused": nn.Identity()})
    model.forward = model["used"].forward  # type: ignore[method-assign]
    capture = RowCapture(model, model["unused"])
    model(BATCH)
    seen = capture.take()
    assert seen is not None
    assert seen.row is None
    assert "did not reach the layer" in seen.problems[0]
    assert capture.take() is None


@pytest.mark.parametrize("first", ["attached", "compiled"])
def test_a_compiled_model_is_watched(first: str) -> None:
    torch._dynamo.reset()
    model = Toy().eval()
    expected: list[torch.Tensor] = []
    model.encoder.register_forward_hook(lambda _m, _a, output: expected.append(output[0, -1]))
    if first == "attached":
        capture = RowCapture(model, find_blocks(model).last)
        compiled = torch.compile(model, backend="eager")
    else:
        compiled = torch.compile(model, backend="eager")
        capture = RowCapture(compiled, find_blocks(compiled).last)
    for _ in range(2):
        compiled(tokens(2, 5))
        seen = capture.take()
        assert seen is not None
        assert torch.equal(seen.row, expected[-1].detach())  # type: ignore[arg-type]


def test_a_watched_model_can_be_copied_and_saved() -> None:
    model = causal_model()
    capture = RowCapture(model, find_blocks(model).last)
    average = copy.deepcopy(model)
    model(tokens(1, 4))
    average(tokens(1, 4, seed=1))  # an evaluation of the copy is none of the model's steps
    seen = capture.take()
    assert seen is not None
    torch.save(model, io.BytesIO())
    capture.remove()
    model(tokens(1, 4))
    assert capture.take() is None


def test_no_hook_is_left_behind() -> None:
    model = causal_model()
    RowCapture(model, find_blocks(model).last, before=True, logits=True).remove()
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


class Mark:
    """A point in a device's work that is passed when the test says so."""

    def __init__(self) -> None:
        self.passed = False

    def query(self) -> bool:
        return self.passed

    def synchronize(self) -> None:
        self.passed = True


class SlowDevice(HostCopies):
    """Copies as from CUDA, each with a mark that the test passes."""

    def __init__(self) -> None:
        super().__init__()
        self.marks: list[Mark] = []

    def send(self, tag: Any, packed: torch.Tensor | None) -> None:
        from telemetry.probes.transfer import _Arriving

        if packed is None:
            super().send(tag, packed)
            return
        self.marks.append(Mark())
        self._arriving.append(_Arriving(tag, packed.clone(), self.marks[-1]))


def test_copies_are_read_in_order_once_they_are_there() -> None:
    copies = SlowDevice()
    for tag in range(3):
        copies.send(tag, torch.full((2,), float(tag)))
    copies.send("no row", None)
    copies.marks[1].passed = True
    assert list(copies.arrived()) == []  # the first is not there yet
    copies.marks[0].passed = True
    assert [tag for tag, _ in copies.arrived()] == [0, 1]
    assert [tag for tag, _ in copies.arrived(wait=True)] == [2, "no row"]
    assert copies.marks[2].passed


def test_a_step_is_one_tensor_of_single_precision() -> None:
    seen = Seen(
        row=torch.ones(4, dtype=torch.bfloat16),
        before=torch.zeros(4, dtype=torch.bfloat16),
        logits=torch.tensor([0.0, 0.0, float("-inf")]),
    )
    packed, layout = pack(seen)
    assert packed.dtype == torch.float32
    assert (layout.row, layout.before, layout.prediction) == (4, 4, True)
    entropy, margin = packed[8:].tolist()
    assert entropy == pytest.approx(torch.tensor(2.0).log().item())
    assert margin == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_copy_from_cuda_arrives_without_waiting() -> None:
    copies = HostCopies()
    with torch.cuda.device(0):
        torch.cuda.set_sync_debug_mode("error")
        try:
            copies.send("row", torch.ones(DIM, device="cuda"))
            list(copies.arrived())
        finally:
            torch.cuda.set_sync_debug_mode("default")
        arrived = [
            (tag, values.sum()) for tag, values in copies.arrived(wait=True) if values is not None
        ]
    assert arrived in ([("row", DIM)], [])
