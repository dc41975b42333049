"""The detector fires on collapsed predictions and on nothing else."""

from __future__ import annotations

from workloads.latent_lora.collapse import detect_collapse

COLOURS = ("red", "blue", "green", "black")
THINGS = ("ball", "kite", "drum", "boat", "coin", "ring", "lamp", "vase")
ANSWERS = [f"the {colour} {thing}" for colour in COLOURS for thing in THINGS]


def test_varied_predictions_are_not_collapsed() -> None:
    assert not detect_collapse(ANSWERS[::-1], ANSWERS).collapsed


def test_the_origins_collapse_is_found_by_its_commonest_word() -> None:
    said = [f"the the was the the {i}" for i in range(len(ANSWERS))]
    report = detect_collapse(said, ANSWERS)
    assert report.collapsed
    assert any("'the'" in reason for reason in report.reasons)


def test_one_answer_to_everything_is_collapsed() -> None:
    assert detect_collapse(["a red ball"] * len(ANSWERS), ANSWERS).collapsed


def test_empty_predictions_are_collapsed() -> None:
    assert detect_collapse([""] * len(ANSWERS), ANSWERS).collapsed


def test_a_common_prediction_is_fine_where_the_answers_are_as_concentrated() -> None:
    answers = ["yes"] * 30 + ["no"] * 10
    assert not detect_collapse(["yes"] * 28 + ["no"] * 12, answers).collapsed


def test_few_predictions_are_not_judged() -> None:
    assert not detect_collapse(["x"] * 5, ANSWERS[:5]).collapsed
