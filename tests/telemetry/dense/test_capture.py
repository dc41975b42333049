"""What the hooks see is what is there, and training does not notice them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from telemetry.dense import Captured, DenseCapture, activations, gradients
from telemetry.dense.gradients import HISTOGRAM_EDGES


def perceptron(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 2)
    )


def batch(seed: int, size: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    stream = torch.Generator().manual_seed(seed)
    inputs = torch.randn(size, 6, generator=stream)
    return inputs, torch.randint(0, 2, (size,), generator=stream)


def backward(model: nn.Module, seed: int) -> torch.Tensor:
    inputs, labels = batch(seed)
    loss = nn.functional.cross_entropy(model(inputs), labels)
    model.zero_grad()
    loss.backward()
    return loss


def hooks_of(model: nn.Module) -> int:
    modules = sum(len(m._forward_hooks) + len(m._backward_hooks) for m in model.modules())
    parameters = (p._post_accumulate_grad_hooks for p in model.parameters())
    return modules + sum(len(hooks or ()) for hooks in parameters)


def norms_of(groups: dict[str, nn.Module]) -> dict[str, float]:
    return {
        name: math.sqrt(sum(float(p.grad.square().sum()) for p in module.parameters()))  # type: ignore[union-attr]
        for name, module in groups.items()
    }


def test_there_is_no_hook_unless_it_is_installed() -> None:
    model = perceptron()
    capture = DenseCapture(model)
    assert (capture.installed, hooks_of(model)) == (False, 0)
    capture.install()
    capture.install()
    assert (capture.installed, hooks_of(model)) == (True, 5 + 2 * 3)
    capture.remove()
    assert (capture.installed, hooks_of(model)) == (False, 0)
    backward(model, 0)
    assert capture.end_batch() is None
    assert capture.read().group_norms == []


def test_losses_weights_and_random_numbers_are_the_same_bit_for_bit() -> None:
    def trained(captured: bool) -> tuple[list[float], dict[str, torch.Tensor], torch.Tensor]:
        model = perceptron()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
        capture = DenseCapture(model)
        losses = []
        for step in range(12):
            if captured and step % 3 != 1:
                capture.install()
            else:
                capture.remove()
            losses.append(float(backward(model, step).detach()))
            optimizer.step()
            capture.end_batch()
        assert capture.errors == 0
        assert len(capture.read().group_norms) == (8 if captured else 0)
        return losses, model.state_dict(), torch.get_rng_state()

    plain, seen = trained(False), trained(True)
    assert seen[0] == plain[0]
    assert all(torch.equal(seen[1][name], value) for name, value in plain[1].items())
    assert torch.equal(seen[2], plain[2])


@pytest.mark.parametrize("together", [2**22, 20])
def test_gradients_are_read_by_group_as_the_backward_pass_left_them(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradients, "TOGETHER", together)
    model = perceptron()
    capture = DenseCapture(model)
    capture.install()
    expected, totals = [], {"0": 0.0, "3": 0.0, "5": 0.0}
    for step in range(3):
        backward(model, step)
        expected.append(norms_of({name: model[int(name)] for name in totals}))
        for name in totals:
            totals[name] += sum(float(p.grad.abs().sum()) for p in model[int(name)].parameters())  # type: ignore[union-attr]
        nn.utils.clip_grad_norm_(model.parameters(), 1e-6)
        assert capture.end_batch() == step
    seen = capture.read()
    for one, other in zip(seen.group_norms, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    elements = {name: 3 * sum(p.numel() for p in model[int(name)].parameters()) for name in totals}
    assert seen.gradients.flow == pytest.approx(
        {name: totals[name] / elements[name] for name in totals}, rel=1e-5
    )
    assert list(seen.gradients.flow) == ["0", "3", "5"]
    assert capture.read().group_norms == []


def one_parameter(gradient: list[float]) -> Captured:
    model = nn.Linear(len(gradient), 1, bias=False)
    capture = DenseCapture(model)
    capture.install()
    (model.weight * torch.tensor([gradient])).sum().backward()
    capture.end_batch()
    return capture.read()


def test_a_histogram_has_the_shares_of_the_magnitudes() -> None:
    seen = one_parameter([0.0, 1e-20, -1e-3, 2e-3, 1.0, -50.0, 1e9, 3e9])
    shares = seen.gradients.histograms["(own)"]
    assert len(shares) == len(HISTOGRAM_EDGES) + 1
    assert seen.histogram_edges == HISTOGRAM_EDGES

    def share(magnitude: float) -> float | None:
        exponent = math.log10(magnitude)
        return shares[sum(edge <= exponent for edge in HISTOGRAM_EDGES)]

    assert shares[0] == share(1e-13) == 0.25
    assert share(1.5e-3) == 0.25
    assert share(1.0) == share(2.0) == 0.125
    assert share(50.0) == 0.125
    assert shares[-1] == 0.25
    assert sum(filter(None, shares)) == 1.0


def test_a_gradient_that_is_no_number_is_seen() -> None:
    seen = one_parameter([math.nan, math.inf, 1.0, 1.0])
    assert seen.gradients.histograms["(own)"][-1] == 0.5
    assert math.isnan(seen.group_norms[0]["(own)"] or 0.0)
    assert math.isnan(seen.gradients.flow["(own)"] or 0.0)


@pytest.mark.parametrize("together", [2**22, 1000])
def test_a_histogram_of_many_elements_reads_some_of_them(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradients, "TOGETHER", together)
    torch.manual_seed(0)
    gradient = (10.0 ** torch.empty(200_000).uniform_(-6, 2)).tolist()
    shares = one_parameter(gradient).gradients.histograms["(own)"]
    used = [share for share in shares if share]
    assert len(used) == 16
    assert all(share == pytest.approx(1 / 16, abs=0.06) for share in used)


def test_a_group_without_a_gradient_has_none_and_not_zero() -> None:
    model = nn.ModuleDict({"used": nn.Linear(2, 1), "idle": nn.Linear(2, 1)})
    capture = DenseCapture(model)
    capture.install()
    model["used"](torch.ones(1, 2)).sum().backward()
    capture.end_batch()
    model["idle"](torch.zeros(1, 2)).sum().backward()
    capture.end_batch()
    seen = capture.read()
    assert seen.group_norms[0]["idle"] is None
    assert seen.group_norms[0]["used"] == pytest.approx(math.sqrt(3))
    assert seen.group_norms[1]["idle"] == pytest.approx(1.0)
    only = DenseCapture(nn.ModuleDict({"used": nn.Linear(2, 1), "idle": nn.Linear(2, 1)})).read()
    assert only.gradients.flow == {"used": None, "idle": None}
    assert only.gradients.histograms == {}


def test_activations_are_those_of_all_batches_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations, "TURNS", 1)
    model = perceptron()
    capture = DenseCapture(model)
    capture.install()
    outputs: list[torch.Tensor] = []
    model[4].register_forward_hook(lambda m, i, out: outputs.append(out.detach()))
    for step, size in enumerate((12, 5, 30)):
        inputs, labels = batch(step, size)
        nn.functional.cross_entropy(model(inputs), labels).backward()
        capture.end_batch()
    together = torch.cat(outputs)
    seen = capture.read().activations
    assert list(seen.means) == ["0", "1", "3", "4", "5"]
    assert seen.means["4"] == pytest.approx(float(together.mean()), rel=1e-5)
    assert seen.stds["4"] == pytest.approx(float(together.std(correction=0)), rel=1e-5)
    assert seen.dead["4"] == 0


def test_modules_take_turns_after_the_first_batch() -> None:
    model = perceptron()
    calls: list[list[str]] = []
    capture = DenseCapture(model)
    moments = capture._activations._outputs
    for _ in range(2):
        capture.install()
        for step in range(6):
            before = len(moments)
            backward(model, step)
            calls.append([name for name, _ in moments[before:]])
            capture.end_batch()
        capture.remove()
    names = ["0", "1", "3", "4", "5"]
    assert calls == 2 * [names, ["4"], ["3"], ["1"], ["0", "5"], ["4"]]
    assert list(capture.read().activations.means) == names


def test_a_unit_is_dead_if_it_was_zero_for_every_sample() -> None:
    model = perceptron()
    with torch.no_grad():
        model[0].weight[2:5] = 0.0
        model[0].bias[2:5] = -1.0
    capture = DenseCapture(model)
    capture.install()
    for step in range(8):
        backward(model, step)
        capture.end_batch()
    assert capture.read().activations.dead["1"] == 3


def test_a_channel_of_an_image_is_a_unit() -> None:
    model = nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 36, 2))
    with torch.no_grad():
        model[0].weight[:2] = 0.0
        model[0].bias[:2] = -1.0
        model[0].bias[2:] = 9.0
    capture = DenseCapture(model)
    capture.install()
    model(torch.rand(4, 1, 8, 8)).sum().backward()
    capture.end_batch()
    assert capture.read().activations.dead["1"] == 2


def test_an_evaluation_between_batches_is_not_seen() -> None:
    model = perceptron()
    capture = DenseCapture(model)
    capture.install()
    backward(model, 0)
    capture.end_batch()
    with torch.no_grad():
        model(torch.full((4, 6), 1e6))
    with torch.inference_mode():
        model(torch.full((4, 6), 1e6))
    seen = capture.read()
    assert abs(seen.activations.means["0"] or 0.0) < 10
    assert len(seen.group_norms) == 1


def test_half_precision_and_double_precision_are_read_too() -> None:
    for dtype in (torch.bfloat16, torch.float64):
        model = perceptron().to(dtype)
        capture = DenseCapture(model)
        capture.install()
        inputs, labels = batch(0)
        nn.functional.cross_entropy(model(inputs.to(dtype)), labels).backward()
        expected = norms_of({"0": model[0], "3": model[3], "5": model[5]})
        capture.end_batch()
        assert capture.errors == 0
        assert capture.read().group_norms[0] == pytest.approx(expected, rel=0.02)


def test_gradients_that_add_up_over_several_passes_are_one_batch() -> None:
    model = perceptron()
    capture = DenseCapture(model)
    capture.install()
    model.zero_grad()
    for step in range(3):
        inputs, labels = batch(step)
        nn.functional.cross_entropy(model(inputs), labels).backward()
    capture.end_batch()
    seen = capture.read()
    assert len(seen.group_norms) == 1
    assert seen.group_norms[0] == pytest.approx(
        norms_of({"0": model[0], "3": model[3], "5": model[5]}), rel=1e-5
    )


def test_a_hook_that_fails_is_counted_and_removed_and_training_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = perceptron()
    capture = DenseCapture(model)
    monkeypatch.setattr(capture._activations, "gather", None)
    capture.install()
    for step in range(2):
        assert math.isfinite(float(backward(model, step).detach()))
        assert capture.end_batch() is None
    assert capture.errors >= 1
    assert hooks_of(model) == 0
    assert len(caplog.records) == 1


def _two_ranks(rank: int, folder: str, given: Any) -> None:
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
    )
    model = nn.Sequential(*(nn.Linear(64, 64) for _ in range(12)))
    for parameter, value in zip(model.parameters(), given, strict=True):
        parameter.data.copy_(value)
    capture = DenseCapture(model)
    capture.install()
    parallel = DistributedDataParallel(model, bucket_cap_mb=1, gradient_as_bucket_view=True)
    wrong = 0
    for step in range(20):
        stream = torch.Generator().manual_seed(2 * step + rank)
        parallel.zero_grad()
        parallel(torch.randn(8, 64, generator=stream)).square().sum().backward()
        expected = norms_of({str(i): model[i] for i in range(12)})
        capture.end_batch()
        (seen,) = capture.read().group_norms
        wrong += seen != pytest.approx(expected, rel=1e-5)
    Path(folder, f"wrong-{rank}").write_text(f"{wrong} {capture.errors}")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_data_parallel_gradients_are_read_after_they_were_summed_over_ranks(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    given = [
        p.detach() for p in nn.Sequential(*(nn.Linear(64, 64) for _ in range(12))).parameters()
    ]
    torch.multiprocessing.spawn(_two_ranks, (str(tmp_path), given), nprocs=2)
    assert [(tmp_path / f"wrong-{rank}").read_text() for rank in (0, 1)] == ["0 0", "0 0"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu_nothing_waits_for_the_device_before_it_is_read() -> None:
    model = perceptron().cuda()
    capture = DenseCapture(model)
    capture.install()
    inputs, labels = (each.cuda() for each in batch(0))
    for step in range(4):
        torch.cuda.set_sync_debug_mode("error" if step else "default")
        try:
            loss = nn.functional.cross_entropy(model(inputs), labels)
            model.zero_grad()
            loss.backward()
            capture.end_batch()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert capture.errors == 0
    seen = capture.read()
    assert len(seen.group_norms) == 4
    expected = norms_of({"0": model[0], "3": model[3], "5": model[5]})
    assert seen.group_norms[-1] == pytest.approx(expected, rel=1e-4)
