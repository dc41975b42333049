from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.probes import GramWindow, kernels, numerical_rank, ratio_of_cosine, sv_ratio


def filled(rows: Any) -> GramWindow:
    window = GramWindow(len(rows))
    for row in rows:
        window.push(row)
    return window


def values_of(rows: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = filled(rows).singular_values()
    assert values is not None
    return values


def svdvals(rows: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The reference, of the rows as float32, in float64."""
    exact: np.ndarray[Any, np.dtype[np.float64]] = torch.linalg.svdvals(
        torch.as_tensor(np.asarray(rows, dtype=np.float32)).double()
    ).numpy()
    return exact


def with_spectrum(values: list[float], dim: int, seed: int) -> np.ndarray[Any, np.dtype[Any]]:
    """A window [len(values), dim] with these singular values, before it is rounded to float32."""
    draw = np.random.default_rng(seed)
    left, _ = np.linalg.qr(draw.standard_normal((len(values), len(values))))
    right, _ = np.linalg.qr(draw.standard_normal((dim, len(values))))
    return left @ np.diag(values) @ right.T


@settings(max_examples=60, deadline=None)
@given(
    window=st.integers(2, 12),
    dim=st.integers(1, 40),
    pushes=st.integers(0, 20),
    scale=st.floats(-12, 12),
    seed=st.integers(0, 2**32 - 1),
)
def test_singular_values_are_those_of_the_window_after_any_number_of_steps(
    window: int, dim: int, pushes: int, scale: float, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    rows = (draw.standard_normal((window + pushes, dim)) * 10**scale).astype(np.float32)
    held = GramWindow(window)
    for row in rows:
        held.push(row)
    values, exact = held.singular_values(), svdvals(rows[-window:])
    assert values is not None
    assert values.shape == (window,)
    assert (np.diff(values) <= 0).all()
    exact = np.pad(exact, (0, window - len(exact)))
    large = exact > 1e-4 * exact[0]
    np.testing.assert_allclose(values[large], exact[large], rtol=1e-5)
    assert (values[~large] <= 1.01e-4 * exact[0]).all()


@settings(max_examples=150, deadline=None)
@given(
    window=st.integers(2, 40),
    dim=st.integers(1, 60),
    kind=st.sampled_from(["apart", "graded", "alike", "repeated", "right angles", "zeros"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_compiled_eigenvalues_are_those_of_lapack_to_rounding(
    window: int, dim: int, kind: str, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    rows = draw.standard_normal((window, dim))
    if kind == "graded":
        rows *= 10.0 ** draw.uniform(-20, 20, (window, 1))
    elif kind == "alike":
        rows = rows[:1] + rows * 10.0 ** draw.uniform(-8, 0)
    elif kind == "repeated":
        rows = rows[draw.integers(0, max(1, window // 3), window)]
    elif kind == "right angles":
        rows = np.eye(window, window + dim) * 10.0 ** draw.uniform(-30, 30)
    elif kind == "zeros":
        rows[draw.random(window) < 0.5] = 0
    held = filled(rows)
    values = held.singular_values()
    assert values is not None
    assert (np.diff(values) <= 0).all()
    squares = np.linalg.eigvalsh(held.gram)[::-1]
    hidden = 8 * window * np.finfo(np.float64).eps * max(0.0, squares[0])
    np.testing.assert_allclose(values**2, squares, rtol=0, atol=hidden)


def test_the_loops_are_compiled_where_no_copy_can_be_kept_and_that_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    compiled = kernels._compiled
    asked = []

    def without_a_folder(*, cache: bool) -> kernels.Kernels:
        asked.append(cache)
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return compiled(cache=True)  # what was compiled already, which takes no seconds

    monkeypatch.setattr(kernels, "_compiled", without_a_folder)
    loops = kernels.kernels.__wrapped__()
    values = np.empty(2)
    assert loops.singular_values(np.diag([4.0, 9.0]), np.empty((5, 2)), values)
    assert (asked, values.tolist()) == ([True, False], [3.0, 2.0])
    assert "no locator available" in caplog.text


@pytest.mark.parametrize("window", [5, 10, 32])
def test_values_above_a_ten_thousandth_of_the_largest_agree_to_1e_5(window: int) -> None:
    rows = with_spectrum(list(np.geomspace(100, 100 * 1.2e-4, window)), 4096, seed=window)
    np.testing.assert_allclose(values_of(rows), svdvals(rows), rtol=1e-5)


@pytest.mark.parametrize("window", [2, 10, 32])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_severe_collapse_is_told_to_one_percent(window: int, scale: float) -> None:
    # One row apart from the others, which are equal: its part at right angles to them is exact in
    # float32, where any other window would be blurred by 6e-8 of its largest value.
    rows = np.zeros((window, 4096), dtype=np.float32)
    rows[:, 0] = scale
    rows[-1, 0], rows[-1, 1] = 0, scale * 1e-6 * np.sqrt(window - 1)
    values, exact = values_of(rows), svdvals(rows)
    assert exact[1] / exact[0] == pytest.approx(1e-6, rel=1e-3)
    np.testing.assert_allclose(values[:2], exact[:2], rtol=0.01)


def test_severe_collapse_in_a_dense_window_is_told_to_one_percent() -> None:
    draw = np.random.default_rng(0)
    common = draw.integers(-512, 512, 4096) / 512.0  # few bits: the small part is not rounded off
    rows = np.tile(common.astype(np.float32), (10, 1))
    rows[3] += (draw.choice([-1, 1], 4096) * 2.0**-18).astype(np.float32)
    values, exact = values_of(rows), svdvals(rows)
    assert 5e-7 < exact[1] / exact[0] < 5e-6
    np.testing.assert_allclose(values[:2], exact[:2], rtol=0.01)


@pytest.mark.parametrize("norm", [1e-30, 1e-6, 1.0, 100.0, 1e30])
@pytest.mark.parametrize("window", [2, 10, 32])
def test_equal_vectors_of_any_norm_have_ratio_1_and_rank_1(norm: float, window: int) -> None:
    vector = torch.randn(4096, generator=torch.Generator().manual_seed(window))
    values = values_of((vector * (norm / vector.norm())).expand(window, -1))
    assert sv_ratio(values) == 1.0
    assert numerical_rank(values) == 1


@pytest.mark.parametrize("norm", [1e-6, 1.0, 100.0])
@pytest.mark.parametrize("window", [2, 10, 32])
def test_vectors_at_right_angles_have_ratio_1_by_w_and_full_rank(norm: float, window: int) -> None:
    values = values_of(norm * torch.eye(4096)[100 : 100 + window])
    assert sv_ratio(values) == pytest.approx(1 / window)
    assert numerical_rank(values) == window


@pytest.mark.parametrize("cosine", [0.0, 0.3, 0.75, 0.945, 0.981, 0.9923, 1.0])
@pytest.mark.parametrize("window", [2, 5, 10, 32])
def test_the_ratio_of_equal_angles_is_the_closed_form(cosine: float, window: int) -> None:
    rows = np.zeros((window, 64))
    rows[:, -1] = np.sqrt(cosine)
    rows[range(window), range(window)] = np.sqrt(1 - cosine)
    assert sv_ratio(values_of(rows)) == pytest.approx(ratio_of_cosine(cosine, window), abs=1e-5)


def test_only_zeros_give_zeros() -> None:
    assert values_of(torch.zeros(3, 8)).tolist() == [0, 0, 0]


def test_there_are_no_values_until_the_window_is_full() -> None:
    window = GramWindow(3)
    assert (len(window), window.full, window.finite) == (0, False, True)
    for pushed in (1, 2):
        window.push(torch.ones(4))
        assert (len(window), window.full) == (pushed, False)
        assert window.singular_values() is None
    window.push(torch.ones(4))
    assert (len(window), window.full) == (3, True)
    assert window.singular_values() is not None


def test_the_oldest_vector_leaves_first_and_wholly() -> None:
    rows = torch.randn(23, 17)
    window = GramWindow(5)
    for step, row in enumerate(rows, start=1):
        window.push(row)
        held = rows[max(0, step - 5) : step]
        np.testing.assert_array_equal(window.vectors, held.numpy())
        exact = held.double().numpy()
        np.testing.assert_allclose(window.gram, exact @ exact.T, rtol=1e-13, atol=1e-13)


def test_a_huge_vector_leaves_nothing_behind() -> None:
    rows = torch.randn(3, 9)
    window = filled(torch.stack([torch.full((9,), 3e38), *torch.randn(2, 9)]))
    for row in rows:
        window.push(row)
    fresh = filled(rows)
    np.testing.assert_array_equal(window.singular_values(), fresh.singular_values())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_shows_until_it_has_left(bad: float) -> None:
    window = filled(torch.randn(3, 6))
    broken = torch.randn(6)
    broken[2] = bad
    window.push(broken)
    for _ in range(2):
        assert (window.finite, window.singular_values()) == (False, None)
        window.push(torch.randn(6))
    assert not window.finite
    last = torch.randn(6)
    window.push(last)
    assert window.finite
    values = window.singular_values()
    assert values is not None
    np.testing.assert_allclose(values, svdvals(window.vectors), rtol=1e-5)
    np.testing.assert_array_equal(window.vectors[-1], last)


def test_something_not_finite_shows_before_the_window_is_full() -> None:
    window = GramWindow(3)
    window.push(torch.tensor([1.0, float("nan")]))
    assert not window.finite
    assert not window.full


def test_what_float32_cannot_hold_is_not_finite() -> None:
    assert not filled(np.array([[1e300, 0.0], [1.0, 1.0]])).finite


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_types_are_taken_as_float32(dtype: torch.dtype) -> None:
    rows = torch.randn(4, 6, dtype=torch.float64).to(dtype)
    np.testing.assert_array_equal(filled(rows).vectors, rows.float().numpy())


def test_arrays_and_tensors_are_the_same() -> None:
    rows = torch.randn(4, 6)
    np.testing.assert_array_equal(values_of(rows), values_of(rows.numpy()))


def test_a_vector_is_copied_and_not_changed() -> None:
    vector = torch.randn(6)
    before = vector.clone()
    window = GramWindow(2)
    window.push(vector)
    assert torch.equal(vector, before)
    vector.zero_()
    np.testing.assert_array_equal(window.vectors[0], before.numpy())


def test_no_gradient_is_held() -> None:
    source = torch.randn(6, requires_grad=True)
    window = filled([source * 2, source * 3])
    assert not any(tensor.requires_grad for tensor in window.to_state().values())


@pytest.mark.parametrize("pushes", [0, 1, 3, 4, 7])
def test_a_restored_window_goes_on_to_the_same_bits(pushes: int) -> None:
    rows = torch.randn(pushes + 9, 33)
    straight, early = GramWindow(4), GramWindow(4)
    for row in rows[:pushes]:
        straight.push(row)
        early.push(row)
    resumed = GramWindow(4)
    resumed.restore({name: tensor.clone() for name, tensor in early.to_state().items()})
    for row in rows[pushes:]:
        straight.push(row)
        resumed.push(row)
        np.testing.assert_array_equal(resumed.singular_values(), straight.singular_values())
    np.testing.assert_array_equal(resumed.gram, straight.gram)


def test_a_state_is_a_copy() -> None:
    window = filled(torch.ones(2, 3))
    state = window.to_state()
    window.push(torch.zeros(3))
    assert state["rows"].tolist() == [[1, 1, 1], [1, 1, 1]]
    other = GramWindow(2)
    other.restore(state)
    other.push(torch.zeros(3))
    assert state["gram"].tolist() == [[3, 3], [3, 3]]


def test_a_state_survives_a_safetensors_file(tmp_path: Any) -> None:
    from safetensors.torch import load_file, save_file

    for window in (GramWindow(3), filled(torch.randn(3, 5))):
        save_file(window.to_state(), tmp_path / "window.safetensors")
        back = GramWindow(3)
        back.restore(load_file(tmp_path / "window.safetensors"))
        np.testing.assert_array_equal(back.gram, window.gram)
        np.testing.assert_array_equal(back.vectors, window.vectors)


def test_a_state_of_another_window_is_refused() -> None:
    with pytest.raises(ValueError, match="this window is of 3 steps, but the state is of 2"):
        GramWindow(3).restore(filled(torch.ones(2, 3)).to_state())


def test_a_state_with_parts_missing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\['gram', 'pushed'\] is missing"):
        GramWindow(2).restore({"rows": torch.zeros(2, 3)})


@pytest.mark.parametrize("size", [1, 0, -3, 2.5, True, "5"])
def test_a_window_of_less_than_two_steps_is_refused(size: Any) -> None:
    with pytest.raises(ValueError, match=r"the window is .*; give a whole number .* at least 2"):
        GramWindow(size)


def test_a_window_that_no_machine_keeps_up_with_is_refused() -> None:
    GramWindow(1024)
    with pytest.raises(ValueError, match="the window is 1000000000 steps; give 2 to 1024"):
        GramWindow(10**9)


def test_vectors_of_another_length_are_refused() -> None:
    window = filled(torch.ones(2, 3))
    with pytest.raises(ValueError, match="holds vectors of 3 values; it was given one of 4"):
        window.push(torch.ones(4))
    assert window.vectors.shape == (2, 3)


def test_complex_vectors_are_refused_and_not_halved() -> None:
    for vector in (torch.ones(3, dtype=torch.complex64), np.ones(3, dtype=np.complex128)):
        with pytest.raises(ValueError, match="takes real vectors"):
            GramWindow(2).push(vector)


@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_anything_but_one_vector_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"one vector \[dim\] a step"):
        GramWindow(2).push(torch.ones(shape))
