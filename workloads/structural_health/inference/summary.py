"""Writes a study's chunks, its phase plot, and gives the table that the report shows."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median

from workloads.structural_health.inference.chunks import read_chunks
from workloads.structural_health.inference.metrics import ZONE
from workloads.structural_health.inference.phase import Point, by_group
from workloads.views import StudyView, SummaryTable

_NONE = "n/a"


def write_summary(study: StudyView, folder: Path) -> Iterator[Path | SummaryTable]:
    """`chunks.csv` with every chunk, a table by regime, `phase_plot.png` and `.html`.

    Nothing for a study of which no run has left its chunks.
    """
    points = [
        Point(trial.arm, trial.seed, row)
        for trial in study.trials
        if trial.state == "done" and trial.artifacts is not None
        for row in read_chunks(trial.artifacts)
    ]
    if not points:
        return
    from workloads.structural_health.inference.page import write_page
    from workloads.structural_health.inference.picture import draw_phase

    folder.mkdir(parents=True, exist_ok=True)
    yield _write_points(points, folder / "chunks.csv")
    yield regime_table(by_group(points))
    yield draw_phase(points, folder / "phase_plot.png")
    said = [study.question, study.answer]
    yield write_page(points, folder / "phase_plot.html", f"{study.name}: phase plot", said)


def regime_table(groups: Mapping[str, Sequence[Point]]) -> SummaryTable:
    """What the chunks of each regime are like, as they are; intervals are with the claims."""
    head = (
        "regime", "runs", "chunks", "with κ", "κ median", "κ mean",
        f"share {ZONE[0]:g} to {ZONE[1]:g}", "same token", "κ there", "κ elsewhere",
        "repeats", "κ of repeats", "H median",
    )  # fmt: skip
    rows = tuple(_row(group, of) for group, of in groups.items())
    caption = (
        "Chunks of each regime (descriptive: chunks of one run hang together). Same token: the "
        "token last read is that at the end of the chunk before; repeats: all tokens written are."
    )
    return SummaryTable(caption, head, rows, frozenset(range(1, len(head))))


def _row(group: str, of: Sequence[Point]) -> tuple[str, ...]:
    known = [(p.row, p.row.kappa) for p in of if p.row.kappa is not None]
    kappas = [kappa for _, kappa in known]
    same = [kappa for row, kappa in known if row.same_token]
    others = [kappa for row, kappa in known if row.same_token is False]
    repeated = [kappa for row, kappa in known if row.repeats]
    return (
        group,
        str(len({point.seed for point in of})),
        str(len(of)),
        str(len(kappas)),
        _shown(median, kappas),
        _shown(fmean, kappas),
        _shown(fmean, [float(ZONE[0] <= kappa <= ZONE[1]) for kappa in kappas]),
        str(len(same)) if kappas else _NONE,
        _shown(median, same),
        _shown(median, others),
        str(len(repeated)) if kappas else _NONE,
        _shown(median, repeated),
        _shown(median, [point.row.entropy for point in of]),
    )


def _shown(figure: Callable[[Sequence[float]], float], of: Sequence[float]) -> str:
    return f"{figure(of):.3f}" if of else _NONE


def _write_points(points: Sequence[Point], path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(
            ["arm", "seed", "step", "kappa", "entropy", "repeats", "same_token", "text"]
        )
        for point in points:
            row = point.row
            kappa = "" if row.kappa is None else row.kappa
            same = ["" if one is None else int(one) for one in (row.repeats, row.same_token)]
            place = (point.group, point.seed, row.step)
            writer.writerow([*place, kappa, row.entropy, *same, row.text])
    return path
