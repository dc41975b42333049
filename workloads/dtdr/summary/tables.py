"""Tables of curves and codecs, as rows."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from workloads.dtdr.summary.naming import FIRST, number
from workloads.views import CurveView, SummaryTable, TrialView

_CODEC = (
    ("transform", "transform"),
    ("quantiser", "quantiser"),
)
_ENCODED = (
    "bytes", "ratio", "relative_l2", "max_error", "cosine", "top10_overlap",
    "perplexity", "perplexity_original", "encode_s",
)  # fmt: skip


def curve_rows(curves: Sequence[CurveView], along: str) -> Iterator[dict[str, Any]]:
    """One row per curve and value, with each metric and its interval's ends.

    The first columns are `along`, cosine and top-10 overlap. None is "not measured".
    """
    names = dict.fromkeys([*FIRST, *(name for curve in curves for name in curve.metrics)])
    rest = [name for name in names if name not in FIRST]
    for curve in curves:
        for index, value in enumerate(curve.values):
            levels = {name: of[index] for name, of in curve.metrics.items()}
            known = {name: levels[name].value if name in levels else None for name in names}
            ends: dict[str, float | None] = {}
            for name, level in levels.items():
                if any(one.low is not None for one in curve.metrics[name]):
                    ends |= {f"{name}_low": level.low, f"{name}_high": level.high}
            yield {
                along: value,
                **{name: known[name] for name in FIRST},
                "arm": curve.arm,
                "path": curve.path,
                **{name: known[name] for name in rest},
                **ends,
            }


def codec_rows(trials: Sequence[TrialView]) -> list[dict[str, Any]]:
    """One row per finished trial: the codec, its size, and how far the full decode is from the
    original."""
    return [
        {
            "arm": trial.arm,
            **{name: trial.config.get(key) for name, key in _CODEC},
            **{name: trial.metrics.get(name) for name in _ENCODED},
        }
        for trial in trials
        if trial.state == "done"
    ]


def codec_table(rows: Sequence[Mapping[str, Any]]) -> SummaryTable:
    """The codecs as the report shows them."""
    head = (
        "codec", "transform", "quantiser", "bytes", "ratio", "relative L2", "top-10 overlap",
        "perplexity", "original's", "encoding, s",
    )  # fmt: skip
    shown = tuple(
        (
            str(row["arm"]),
            str(row["transform"]),
            str(row["quantiser"]),
            "n/a" if row["bytes"] is None else f"{round(row['bytes']):,}",
            number(row["ratio"]),
            number(row["relative_l2"]),
            number(row["top10_overlap"]),
            number(row["perplexity"], 4),
            number(row["perplexity_original"], 4),
            number(row["encode_s"], 2),
        )
        for row in rows
    )
    return SummaryTable(
        "The whole encoding, against the original model:", head, shown, frozenset(range(3, 10))
    )


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Rows as CSV; the columns are those of all rows, in order of first appearance."""
    names = dict.fromkeys(name for row in rows for name in row)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(names), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path
