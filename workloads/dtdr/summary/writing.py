"""Writes a summary's files, and gives what the report shows of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from workloads.dtdr.summary.coherence import writing_rows, writing_table
from workloads.dtdr.summary.naming import by_along, stem
from workloads.dtdr.summary.samples import (
    compared,
    sample_rows,
    samples_of,
    samples_page,
    side_by_side,
)
from workloads.dtdr.summary.tables import codec_rows, codec_table, curve_rows, write_csv
from workloads.views import StudyView, SummaryTable


def write_summary(study: StudyView, folder: Path) -> Iterator[Path | SummaryTable]:
    """Writes all files into `folder` and yields each when it is complete, and the report's tables.

    For each key that curves go along a CSV and two pictures (`emergence_curve` for the fraction),
    one interactive page of all, and the texts that were generated.
    """
    folder.mkdir(parents=True, exist_ok=True)
    codecs = codec_rows(study.trials)
    if codecs:
        yield write_csv(folder / "codecs.csv", codecs)
        yield codec_table(codecs)
    if study.curves:
        yield from _curves(study, folder)
        yield from _texts(study, folder)


def _curves(study: StudyView, folder: Path) -> Iterator[Path]:
    from workloads.dtdr.summary.page import write_page
    from workloads.dtdr.summary.pictures import draw_by_arm, draw_by_path

    for along, curves in by_along(study.curves).items():
        name = stem(along)
        yield write_csv(folder / f"{name}.csv", list(curve_rows(curves, along)))
        yield draw_by_path(curves, along, folder / f"{name}.png")
        yield draw_by_arm(curves, along, folder / f"{name}_by_codec.png")
    yield write_page(study, folder / "emergence_curve.html")


def _texts(study: StudyView, folder: Path) -> Iterator[Path | SummaryTable]:
    writing = writing_rows(study.curves)
    yield write_csv(folder / "writing.csv", writing)
    samples = samples_of(study.curves)
    if not samples:
        return
    yield write_csv(folder / "text_samples.csv", sample_rows(samples))
    page = folder / "text_samples.md"
    page.write_text(samples_page(study.name, samples, study.curves), encoding="utf-8")
    yield page
    arm = compared(study.curves)
    for along in by_along(study.curves):
        first = samples[0].prompt
        shown = [one for one in samples if one.prompt == first]
        yield from side_by_side(shown, arm, along)
        yield writing_table(writing, arm, along)
