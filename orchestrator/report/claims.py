"""Claims as a section of a report, and as files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.claims.result import ClaimResult, StudyClaims
from orchestrator.claims.sentences import figure_text, figure_words, range_text
from orchestrator.report.effect_files import Written, write_csv
from orchestrator.report.rows import level
from orchestrator.report.sections import Section, ShownTable
from orchestrator.verdict.numbers import MISSING

PICTURE = "Figures of the claims, with intervals, and where they are said to lie"


def claim_sections(
    claims: StudyClaims | None, pictures: Mapping[str, str], *, brief: bool = False
) -> list[Section]:
    """What a report says of claims; nothing for a study without.

    Args:
        pictures: file names by what they show.
        brief: for a terminal: the table alone, as the answer leads the page.
    """
    if claims is None:
        return []
    table = ShownTable(
        "claimed is where the whole interval should lie",
        ("claim", "figure", "claimed", "label"),
        tuple(
            (one.name, figure_text(one), range_text(one.expected), one.label)
            for one in claims.claims
        ),
        frozenset({1}),
    )
    whys = tuple(f"{one.name}: {one.why}" for one in claims.claims if one.why)
    if brief:
        told = (_intro(claims), *(whys if claims.state == "answered" else ()))
        return [Section("Claims", told, (table,))]
    sources = tuple(
        f"{one.name}: {figure_words(one)}"
        + (f", as {one.source} has it" if one.source else "")
        + (f". {one.about}" if one.about else "")
        for one in claims.claims
    )
    runs = ShownTable(
        "what each figure was made from",
        (
            "claim",
            "statistic",
            "runs",
            "failed",
            "without a value",
            "units measured",
            "not finite",
            "why",
        ),
        tuple(
            (
                one.name,
                one.statistic,
                f"{one.runs} of {one.planned}",
                str(one.failed),
                str(one.silent),
                f"{one.units:,}",
                f"{one.not_finite:,}",
                one.why or "-",
            )
            for one in claims.claims
        ),
        frozenset({2, 3, 4, 5, 6}),
    )
    shown = tuple((text, name) for text, name in pictures.items() if text == PICTURE)
    lines = (_intro(claims), *sources)
    return [Section("Claims", lines, (table, runs), shown, lead=claims.answer)]


def _intro(claims: StudyClaims) -> str:
    count = len(claims.claims)
    together = f", simultaneous over {count} claims" if count > 1 else ""
    return (
        f"Intervals are {level(claims.confidence)}{together}, over runs. A claim holds if all of "
        "the interval lies where it is said to lie, is contradicted if none does, and is "
        "inconclusive else; of fewer than 5 runs it is a candidate for either, save a count of "
        "runs. A run with a value that is not finite leaves no figure."
    )


def write_claims(claims: StudyClaims, folder: Path) -> Written:
    """Writes claims.csv, claims-runs.csv, claims.json and a picture into a folder that is there."""
    from orchestrator.report.claim_pictures import plot_claims

    data = json.dumps(claims.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
    files = [
        write_csv(folder / "claims.csv", [_row(one) for one in claims.claims]),
        write_csv(folder / "claims-runs.csv", _run_rows(claims)),
        folder / "claims.json",
    ]
    files[-1].write_text(data + "\n", encoding="utf-8")
    picture = plot_claims(claims, folder / "claims.png")
    if picture is None:
        return Written(tuple(files), {})
    return Written((*files, picture), {PICTURE: picture.name})


def _row(one: ClaimResult) -> dict[str, Any]:
    return {
        "claim": one.name,
        "arm": one.arm,
        "statistic": one.statistic,
        "split": one.split,
        "column": one.column,
        "within_low": None if one.within is None else one.within[0],
        "within_high": None if one.within is None else one.within[1],
        "expected_low": one.expected[0],
        "expected_high": one.expected[1],
        "value": one.value,
        "low": one.low,
        "high": one.high,
        "label": one.label,
        "runs": one.runs,
        "planned": one.planned,
        "failed": one.failed,
        "silent": one.silent,
        "strange": one.strange,
        "units": one.units,
        "not_finite": one.not_finite,
        "events": one.events,
        "confidence": one.confidence,
        "family": one.family,
        "source": one.source,
        "why": one.why,
    }


def _run_rows(claims: StudyClaims) -> list[dict[str, Any]]:
    return [
        {
            "claim": one.name,
            "arm": one.arm,
            "seed": run.seed,
            "value": MISSING if run.value is None or run.value != run.value else run.value,
            "units": run.units,
            "not_finite": run.not_finite,
        }
        for one in claims.claims
        for run in one.figures
    ]
