"""Endpoints as a section of a report, and as files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.endpoints.result import Comparison, StudyEndpoints
from orchestrator.endpoints.rule import family_of
from orchestrator.endpoints.sentences import (
    counts_text,
    difference_text,
    families_text,
    figure,
    means_text,
    named,
)
from orchestrator.report.effect_files import Written, write_csv
from orchestrator.report.rows import level
from orchestrator.report.sections import Section, ShownTable
from orchestrator.verdict.numbers import MISSING

PICTURE = "Differences by endpoint and arm, with intervals, over the margin"


def endpoint_sections(
    endpoints: StudyEndpoints | None, pictures: Mapping[str, str], *, brief: bool = False
) -> list[Section]:
    """What a report says of endpoints: primary ones first; nothing for a study without.

    Args:
        pictures: file names by what they show.
        brief: for a terminal: a table an endpoint, as the answer leads the page.
    """
    if endpoints is None:
        return []
    tables = tuple(_table(group, brief) for group in comparisons_by_endpoint(endpoints))
    told = _whys(endpoints) if endpoints.state == "answered" else ()
    lines = (*_intro(endpoints), *told)
    if brief:
        return [Section("Endpoints", lines, tables)]
    shown = tuple((text, name) for text, name in pictures.items() if text == PICTURE)
    return [Section("Endpoints", lines, tables, shown, lead=endpoints.answer)]


def comparisons_by_endpoint(endpoints: StudyEndpoints) -> list[list[Comparison]]:
    """The comparisons of each endpoint, primary endpoints before others."""
    names = dict.fromkeys(one.endpoint for one in endpoints.comparisons)
    groups = [[one for one in endpoints.comparisons if one.endpoint == name] for name in names]
    return sorted(groups, key=lambda group: not group[0].primary)


def _table(group: Sequence[Comparison], brief: bool) -> ShownTable:
    first = group[0]
    unit = f" {first.unit}" if first.unit else ""
    what = "" if first.column == first.endpoint else f" ({first.column})"
    caption = (
        f"{first.endpoint}{what} of {first.split}, minus {first.against}; margin "
        f"{first.margin:g}{unit}{'' if first.primary else '; secondary'}"
    )
    if brief:
        rows = [(_arm(one), difference_text(one), one.label) for one in group]
        return ShownTable(caption, ("arm", "difference", "label"), tuple(rows), frozenset({1}))
    if first.about:
        caption += f". {first.about}"
    head = ("arm", "means", "difference", "label", "from", "SD over seeds")
    full = [
        (
            _arm(one),
            means_text(one),
            difference_text(one),
            one.label,
            counts_text(one),
            MISSING if one.seed_sd is None else figure(one.seed_sd),
        )
        for one in group
    ]
    return ShownTable(caption, head, tuple(full), frozenset({1, 2, 5}))


def _arm(one: Comparison) -> str:
    return f"{one.arm} (control)" if one.control else one.arm


def _intro(endpoints: StudyEndpoints) -> tuple[str, ...]:
    sizes = {family_of(one.primary, one.control): one.family for one in endpoints.comparisons}
    each = ", each family by itself" if len(sizes) > 1 else ""
    return (
        f"Paired by seed and unit; {level(endpoints.confidence)} intervals, simultaneous over "
        f"{families_text(sizes)}{each}. No effect: all of the interval lies within the margin. "
        "Effect: it excludes 0, and not all of it lies within. Identical: every score is the same. "
        "Secondary endpoints describe.",
    )


def _whys(endpoints: StudyEndpoints) -> tuple[str, ...]:
    """What the numbers do not say, once for all comparisons that share it."""
    by_why: dict[str, list[str]] = {}
    for one in endpoints.comparisons:
        for why in one.why.split("; ") if one.why else ():
            by_why.setdefault(why, []).append(one.name)
    return tuple(f"{named(names)}: {why}" for why, names in by_why.items())


def write_endpoints(endpoints: StudyEndpoints, folder: Path) -> Written:
    """Writes endpoints.csv (a row a comparison), endpoints-seeds.csv, endpoints.json and a picture
    into a folder that is there."""
    from orchestrator.report.endpoint_pictures import plot_endpoints

    data = json.dumps(endpoints.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
    files = [
        write_csv(folder / "endpoints.csv", [_row(one) for one in endpoints.comparisons]),
        write_csv(folder / "endpoints-seeds.csv", _seed_rows(endpoints)),
        folder / "endpoints.json",
    ]
    files[-1].write_text(data + "\n", encoding="utf-8")
    picture = plot_endpoints(comparisons_by_endpoint(endpoints), folder / "endpoints.png")
    if picture is None:
        return Written(tuple(files), {})
    return Written((*files, picture), {PICTURE: picture.name})


LEFT_OUT = frozenset({"about", "differences"})
"""Of a comparison's fields: its seeds have a table of their own."""


def _row(one: Comparison) -> dict[str, Any]:
    return {
        field.name: getattr(one, field.name)
        for field in dataclasses.fields(one)
        if field.name not in LEFT_OUT
    }


def _seed_rows(endpoints: StudyEndpoints) -> list[dict[str, Any]]:
    return [
        {
            "endpoint": one.endpoint,
            "arm": one.arm,
            "against": one.against,
            "seed": seed.seed,
            "difference": MISSING if seed.value is None else seed.value,
        }
        for one in endpoints.comparisons
        for seed in one.differences
    ]
