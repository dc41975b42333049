"""The terms of a training step: what they are worth, and which of them have a gradient."""

from __future__ import annotations

import math

import pytest
import torch

from workloads.phase_coupling.config import TrainingSettings
from workloads.phase_coupling.training.losses import StepLoss, step_loss

WORDS = 11
ALL = {
    "entropy_weight": 0.1,
    "presence_weight": 0.05,
    "tonal_weight": 0.5,
    "end_weight": 10.0,
}


def given(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits [3, 6, 11] and R [3, 6] with gradients, and ids [3, 6] with two end tokens (0)."""
    stream = torch.Generator().manual_seed(seed)
    logits = (2 * torch.randn(3, 6, WORDS, generator=stream)).requires_grad_()
    r = (0.7 + 0.3 * torch.rand(3, 6, generator=stream)).requires_grad_()
    ids = torch.randint(1, WORDS, (3, 6), generator=stream)
    ids[0, 2] = ids[1, 5] = 0
    return logits, ids, r


def loss_of(**settings: object) -> tuple[StepLoss, torch.Tensor, torch.Tensor | None]:
    """The loss, and its gradients at the logits and at R."""
    logits, ids, r = given()
    found = step_loss(logits, ids, r, TrainingSettings.model_validate(settings), end_token=0)
    found.total.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    return found, logits.grad, r.grad


def test_predictions_that_say_nothing_have_all_the_entropy_there_is() -> None:
    logits = torch.zeros(2, 5, WORDS)
    found = step_loss(logits, torch.ones(2, 5, dtype=torch.long), None, TrainingSettings())
    assert float(found.ce) == pytest.approx(math.log(WORDS))
    assert float(found.u) == pytest.approx(1.0)
    assert float(found.u_distance) == pytest.approx(0.5)
    assert found.r is None


def test_the_cross_entropy_is_that_of_the_next_tokens() -> None:
    logits, ids, r = given()
    found = step_loss(logits, ids, r, TrainingSettings())
    expected = torch.nn.functional.cross_entropy(
        logits[:, :-1].reshape(-1, WORDS), ids[:, 1:].reshape(-1)
    )
    torch.testing.assert_close(found.ce, expected)
    assert found.total is found.ce
    assert float(found.r.detach()) == pytest.approx(float(r.detach().mean()))  # type: ignore[union-attr]


def test_the_distance_is_each_texts_own() -> None:
    """One certain and one clueless text are each 0.5 away, though their mean is not."""
    logits = torch.zeros(2, 4, WORDS)
    logits[0, :, 3] = 1e4
    found = step_loss(logits, torch.full((2, 4), 3), None, TrainingSettings())
    assert float(found.u) == pytest.approx(0.5)
    assert float(found.u_distance) == pytest.approx(0.5)


def test_the_sources_terms_are_numbers_without_a_gradient() -> None:
    plain, at_logits, at_r = loss_of()
    found, with_terms, with_r = loss_of(terms="origin", **ALL)
    assert float(found.total.detach()) > float(plain.total.detach()) + 0.1
    assert torch.equal(with_terms, at_logits)
    assert at_r is None
    assert with_r is None


@pytest.mark.parametrize("weight", sorted(ALL))
def test_each_differentiable_term_has_a_gradient(weight: str) -> None:
    _, plain, _ = loss_of()
    _, at_logits, at_r = loss_of(**{weight: ALL[weight]})
    if weight == "tonal_weight":
        assert torch.equal(at_logits, plain)
        assert at_r is not None
        assert bool((at_r != 0).any())
    else:
        assert not torch.equal(at_logits, plain)


@pytest.mark.parametrize("weight", ["entropy_weight", "presence_weight", "tonal_weight"])
def test_both_forms_of_a_term_are_worth_the_same(weight: str) -> None:
    ours, _, _ = loss_of(**{weight: ALL[weight]})
    theirs, _, _ = loss_of(terms="origin", **{weight: ALL[weight]})
    assert float(ours.total.detach()) == pytest.approx(float(theirs.total.detach()), abs=1e-6)


def test_the_terms_are_the_sources_formulas() -> None:
    logits, ids, r = (one.detach() for one in given())
    chances = torch.softmax(logits[:, :-1], -1)
    entropy = -(chances * chances.log()).sum(-1) / math.log(WORDS)
    expected = {
        "entropy_weight": 0.1 * float((entropy.mean(1) - 0.5).abs().mean()),
        "presence_weight": 0.05 * float((1 - chances.square().sum(-1)).mean()),
        "tonal_weight": 0.5 * float((r - 0.8).clamp(min=0).mean()),
        "end_weight": 10 * float((ids[:, 1:] == 0).float().mean()),
    }
    ce = float(step_loss(logits, ids, r, TrainingSettings()).ce)
    for weight, value in expected.items():
        settings = TrainingSettings.model_validate({"terms": "origin", weight: ALL[weight]})
        total = float(step_loss(logits, ids, r, settings, end_token=0).total)
        assert total - ce == pytest.approx(value, abs=1e-5), weight


def test_only_what_exceeds_the_limit_is_tense() -> None:
    logits, ids, _ = given()
    settings = TrainingSettings(tonal_weight=0.5)
    calm = step_loss(logits, ids, torch.full((3, 6), 0.8), settings)
    assert float(calm.total.detach()) == float(calm.ce.detach())
    without = step_loss(logits, ids, None, settings)
    assert float(without.total.detach()) == float(without.ce.detach())


def test_an_end_term_needs_an_end_token() -> None:
    logits, ids, r = given()
    with pytest.raises(ValueError, match="end token"):
        step_loss(logits, ids, r, TrainingSettings(end_weight=1.0))
