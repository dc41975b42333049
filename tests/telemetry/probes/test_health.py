from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from telemetry.probes import HealthStatus, TrainingMonitor, ratio_of_cosine


def states(monitor: TrainingMonitor, rows: torch.Tensor) -> list[str]:
    return [monitor.analyse(row).state for row in rows]


def test_it_buffers_until_the_window_is_full() -> None:
    monitor = TrainingMonitor(window_size=3)
    statuses = [monitor.analyse(torch.randn(2, 4, 8)) for _ in range(4)]
    assert [status.state for status in statuses] == ["buffering"] * 2 + ["healthy"] * 2
    assert [status.svd_ratio is None for status in statuses] == [True, True, False, False]
    assert [status.raw_obs == {} for status in statuses] == [True, True, False, False]
    assert statuses[-1].raw_obs["sv_ratio"] == statuses[-1].svd_ratio


def test_one_direction_is_collapse() -> None:
    monitor = TrainingMonitor()
    status = [monitor.analyse(torch.ones(1, 2, 16)) for _ in range(10)][-1]
    assert status == HealthStatus(
        svd_ratio=1.0, is_collapsed=True, raw_obs={"sv_ratio": 1.0, "rank": 1}
    )
    assert status.state == "collapse"


def test_right_angles_are_healthy() -> None:
    monitor = TrainingMonitor()
    status = [monitor.analyse(row) for row in torch.eye(16)[:10]][-1]
    assert status.svd_ratio == pytest.approx(0.1)
    assert (status.is_collapsed, status.state) == (False, "healthy")


def test_the_threshold_itself_is_no_collapse() -> None:
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    ratio = TrainingMonitor(3)
    exact = [ratio.analyse(row) for row in rows][-1].svd_ratio
    assert exact is not None
    for threshold, state in ((exact, "healthy"), (math.nextafter(exact, 0), "collapse")):
        assert states(TrainingMonitor(3, threshold), rows)[-1] == state


def test_the_threshold_depends_on_the_window() -> None:
    for window, cosine in ((5, 0.981), (10, 0.9923)):
        assert ratio_of_cosine(cosine, window) == pytest.approx(0.8, abs=1e-3)
        for off, state in ((-0.002, "healthy"), (0.002, "collapse")):
            rows = torch.zeros(window, 32)
            rows[:, -1] = math.sqrt(cosine + off)
            rows[range(window), range(window)] = math.sqrt(1 - cosine - off)
            assert states(TrainingMonitor(window), rows)[-1] == state


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_never_healthy_while_it_is_in_the_window(bad: float) -> None:
    rows = torch.randn(9, 4)
    rows[3, 2] = bad
    monitor = TrainingMonitor(window_size=3)
    statuses = [monitor.analyse(row) for row in rows]
    assert [status.state for status in statuses] == (
        ["buffering"] * 2 + ["healthy"] + ["nonfinite"] * 3 + ["healthy"] * 3
    )
    assert statuses[3].svd_ratio is None
    assert not statuses[3].is_collapsed
    assert statuses[3].reason == "a value in the window is not finite"
    assert statuses[6].reason is None


def test_what_is_not_finite_is_told_while_the_window_fills() -> None:
    rows = torch.ones(4, 3)
    rows[0, 0] = math.nan
    assert states(TrainingMonitor(3), rows) == ["nonfinite"] * 3 + ["collapse"]


def test_only_zeros_are_not_measured() -> None:
    monitor = TrainingMonitor(2)
    status = [monitor.analyse(torch.zeros(1, 3, 5)) for _ in range(3)][-1]
    assert (status.svd_ratio, status.state) == (None, "unmeasured")
    assert status.reason == "the window holds only zeros"
    recovered = [monitor.analyse(torch.eye(5)[step]) for step in range(2)][-1]
    assert (recovered.state, recovered.reason) == ("healthy", None)


def test_padding_is_not_watched() -> None:
    hidden = torch.randn(6, 2, 5, 8)
    mask = torch.tensor([[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]])
    masked, plain = TrainingMonitor(3), TrainingMonitor(3)
    for step in hidden:
        assert masked.analyse(step, mask) == plain.analyse(step[:, :2])


def test_a_sample_of_padding_alone_is_not_taken_in() -> None:
    monitor = TrainingMonitor(2)
    assert states(monitor, torch.ones(2, 3)) == ["buffering", "collapse"]
    before = monitor.to_state()
    status = monitor.analyse(torch.zeros(1, 4, 3), torch.zeros(1, 4))
    assert (status.svd_ratio, status.is_collapsed) == (None, False)
    assert status.reason == "the first sample has no token that is no padding"
    assert all(torch.equal(one, before[name]) for name, one in monitor.to_state().items())


def test_what_is_no_tensor_is_refused_and_not_taken_for_a_window_that_fills() -> None:
    given: Any = (torch.ones(1, 4, 3), None)
    with pytest.raises(TypeError, match=r"a tuple was given: .* the first in it"):
        TrainingMonitor().analyse(given)


def test_rank_4_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \[1, 2, 3, 4\] .* rank 4; valid are"):
        TrainingMonitor().analyse(torch.ones(1, 2, 3, 4))


@pytest.mark.parametrize("window", [1, 0, 1.5])
def test_a_window_of_one_is_refused(window: Any) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        TrainingMonitor(window_size=window)


@pytest.mark.parametrize("threshold", [0.0, 0.09, 1.01, math.nan])
def test_a_threshold_that_no_ratio_can_meet_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"lies from 0\.1 to 1, and so must its threshold"):
        TrainingMonitor(window_size=10, collapse_threshold=threshold)


def test_a_restored_monitor_goes_on_as_if_it_had_not_stopped() -> None:
    rows = torch.randn(9, 8)
    straight, resumed = TrainingMonitor(4), TrainingMonitor(4)
    states(straight, rows[:3])
    resumed.restore(straight.to_state())
    for row in rows[3:]:
        assert resumed.analyse(row) == straight.analyse(row)


def losses(monitored: bool) -> tuple[list[float], list[HealthStatus]]:
    """Of a small encoder with dropout, trained for 15 steps; a hook keeps what its end gives."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    embed, head = nn.Embedding(11, 16), nn.Linear(16, 11)
    parts = nn.ModuleList([model, embed, head])
    optimizer = torch.optim.AdamW(parts.parameters(), lr=1e-3)
    monitor, told = TrainingMonitor(5), []
    if monitored:
        model.layers[-1].register_forward_hook(
            lambda module, inputs, output: told.append(monitor.analyse(output))
        )
    curve = []
    for _ in range(15):
        tokens = torch.randint(11, (4, 6))
        logits = head(model(embed(tokens)))
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curve.append(loss.item())
    return curve, told


def test_a_monitored_run_has_the_same_losses_to_the_bit() -> None:
    plain, _ = losses(monitored=False)
    watched, told = losses(monitored=True)
    assert watched == plain
    assert [status.state for status in told] == ["buffering"] * 4 + ["healthy"] * 11


@pytest.mark.parametrize(
    ("hidden", "mask", "reason"),
    [
        (torch.ones(1, 3, 5), [[0, 0, 0]], "the first sample has no token that is no padding"),
        (torch.ones(0, 3, 5), None, "there are no hidden states: the tensor is empty"),
    ],
)
def test_a_step_without_hidden_states_is_no_step_of_a_window_that_fills(
    hidden: torch.Tensor, mask: list[list[int]] | None, reason: str
) -> None:
    monitor = TrainingMonitor(2)
    status = monitor.analyse(hidden, None if mask is None else torch.tensor(mask))
    assert (status.state, status.reason) == ("unmeasured", reason)
    assert states(monitor, torch.eye(5)[:2]) == ["buffering", "healthy"]


@pytest.mark.parametrize("threshold", ["x", None, True])
def test_a_threshold_that_is_no_number_is_refused_in_words(threshold: Any) -> None:
    with pytest.raises(TypeError, match=r"give a number from 0\.1 to 1"):
        TrainingMonitor(10, threshold)
