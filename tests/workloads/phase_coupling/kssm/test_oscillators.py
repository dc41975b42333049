"""The successor's oscillators: its formulas, its bounds, and a gradient that is the plain one."""

from __future__ import annotations

import math

import pytest
import torch

from workloads.phase_coupling.kssm.harmonics import harmonics
from workloads.phase_coupling.kssm.oscillators import (
    FIRST_NOISE,
    HIGHEST_U,
    LOWEST_U,
    Measured,
    Oscillators,
    penalty,
)


def _oscillators(bistable: bool = True, width: int = 6, number: int = 5) -> Oscillators:
    torch.manual_seed(0)
    return Oscillators(width, number, 4, bistable)


def _set_controls(core: Oscillators, **values: float) -> None:
    """The ten numbers are these at every position, whatever the hidden state."""
    with torch.no_grad():
        core.controls.weight.zero_()
        core.controls.bias.copy_(torch.tensor([values.get(name, 0.0) for name in "abcdefghij"]))


def test_harmonics_are_the_means_of_cosines_and_sines_and_so_is_their_gradient() -> None:
    theta = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    orders = torch.arange(1, 8, dtype=torch.float64)
    angles = theta.unsqueeze(-1) * orders
    cos, sin = harmonics(theta, 7)
    torch.testing.assert_close(cos, angles.cos().mean(-2))
    torch.testing.assert_close(sin, angles.sin().mean(-2))
    assert torch.autograd.gradcheck(lambda phases: harmonics(phases, 7), theta)


def test_a_single_harmonic_has_a_gradient_too() -> None:
    theta = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda phases: harmonics(phases, 1), theta)


def test_u_and_delta_are_those_of_the_formulas() -> None:
    core = _oscillators()
    _set_controls(core, a=2.0, b=3.0, c=0.5, d=1.5, e=0.25, f=0.75, g=1.0, h=0.2, i=9.0, j=9.0)
    u, held, determinant = core.control(torch.randn(1, 1, 6))
    expected = (1.5 * 1.0 - 0.5 * 0.2) / (2.0 * 1.0 - 0.5 * 0.25 + 1e-6)
    assert u.item() == pytest.approx(expected, rel=1e-6)
    assert not held.item()
    assert determinant.item() == pytest.approx(abs(3.0 * 1.0 - 0.5 * 0.75), rel=1e-6)


@pytest.mark.parametrize(("d", "bound"), [(-3.0, LOWEST_U), (0.05, LOWEST_U), (40.0, HIGHEST_U)])
def test_only_the_bistable_form_holds_u(d: float, bound: float) -> None:
    for bistable in (True, False):
        core = _oscillators(bistable)
        _set_controls(core, a=1.0, d=d, g=1.0)
        u, held, _ = core.control(torch.zeros(1, 1, 6))
        assert u.item() == pytest.approx(bound if bistable else d, rel=1e-5)
        assert held.item() is bistable


def test_an_untrained_core_begins_amid_its_bounds() -> None:
    core = _oscillators()
    core.centre()
    with torch.no_grad():
        core.controls.weight.zero_()
    u, held, determinant = core.control(torch.randn(1, 2, 6))
    assert u[0, 0].item() == pytest.approx(1.0, rel=1e-5)
    assert determinant[0, 0].item() == pytest.approx(1.0)
    assert not held.any()


def test_the_phases_take_one_step_of_mean_field_coupling_with_noise() -> None:
    core = _oscillators(number=5)
    _set_controls(core, a=1.0, d=2.0, g=1.0)
    hidden, noise = torch.randn(2, 3, 6), torch.randn(2, 3, 5)
    with torch.no_grad():
        core.phases.copy_(torch.tensor([0.1, 0.7, -0.4, 1.9, 2.5]))
    _, measured = core(hidden, noise)
    theta = core.phases + hidden.mean(-1, keepdim=True)
    coupling = 2 * torch.sigmoid(torch.tensor(2.0 / (1 + 1e-6)))
    pull = torch.stack(
        [torch.sin(theta - theta[..., [i]]).mean(-1) for i in range(5)], dim=-1
    )  # (1/N) sum_j sin(theta_j - theta_i)
    stepped = theta + coupling * pull - (FIRST_NOISE + 1e-5) * noise
    expected = torch.exp(1j * stepped).mean(-1).abs()
    torch.testing.assert_close(measured.r, expected, atol=1e-6, rtol=1e-5)


def test_equal_phases_have_an_order_of_one_and_even_ones_nearly_none() -> None:
    core = _oscillators(number=12)
    _set_controls(core, a=1.0, d=1.0, g=1.0)
    still = torch.zeros(1, 1, 12)
    with torch.no_grad():
        core.phases.zero_()
    assert core(torch.randn(1, 1, 6), still)[1].r.item() == pytest.approx(1.0, abs=1e-6)
    with torch.no_grad():
        core.phases.copy_(torch.linspace(-math.pi, math.pi, 13)[:-1])
    assert core(torch.randn(1, 1, 6), still)[1].r.item() < 1e-5


def test_the_gradient_reaches_controls_angles_and_noise_and_is_finite() -> None:
    core = _oscillators()
    core.centre()
    out, measured = core(torch.randn(2, 3, 6), torch.randn(2, 3, 5))
    (out.square().sum() + penalty(measured, 0.1, 0.5)).backward()
    for name, parameter in core.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_the_penalty_is_that_of_the_formula() -> None:
    one = torch.ones(1, 2)
    measured = Measured(one, torch.tensor([[0.1, -4.0]]), one.bool(), torch.tensor([[2.0, 0.5]]))
    near = (1 / (2 + 1e-5) + 1 / (0.5 + 1e-5)) / 2
    low = (-math.log(0.1) - math.log(1e-5)) / 2
    assert penalty(measured, 0.1, 0.5).item() == pytest.approx(0.1 * near + 0.5 * low, rel=1e-5)
    assert penalty(measured, 0.0, 0.0).item() == 0
