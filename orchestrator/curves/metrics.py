"""Curves as metrics of the study's own run."""

from __future__ import annotations

from orchestrator.curves.curve import StudyCurves

CURVES = "curves/"


def curve_metrics(curves: StudyCurves | None) -> dict[str, float | None]:
    """`curves/ARM/PATH/threshold` and `…/width`, and `answers/QUESTION`, each with `/low` and
    `/high`, with ":" for "+" in a name; None is "cannot be told".

    A difference of widths stands under its question; an answer by value has none that is one
    number.
    """
    if curves is None:
        return {}
    named: dict[str, float | None] = {}
    for one in curves.curves:
        name = CURVES + one.name.replace("+", ":")
        if one.threshold is not None:
            named |= _with_ends(
                f"{name}/threshold", one.threshold.at, one.threshold.low, one.threshold.high
            )
        if one.width is not None:
            named |= _with_ends(f"{name}/width", one.width.value, one.width.low, one.width.high)
    for answer in curves.answers:
        if answer.kind == "sharper":
            name = f"answers/{answer.name.replace('+', ':')}"
            named |= _with_ends(name, answer.difference, answer.low, answer.high)
    return named


def _with_ends(
    name: str, value: float | None, low: float | None, high: float | None
) -> dict[str, float | None]:
    return {name: value, f"{name}/low": low, f"{name}/high": high}
