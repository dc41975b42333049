"""What the workload adds to a report, from curves as a study gives them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from workloads.dtdr.summary import write_summary
from workloads.dtdr.summary.coherence import Whole, agreement, word_for, writing_rows
from workloads.views import CurveView, Estimate, StudyView, SummaryTable, TrialView

FRACTIONS = (0.1, 0.5, 1.0)


def note(*texts: str) -> str:
    return json.dumps([{"prompt": f"prompt {n}", "text": t} for n, t in enumerate(texts)])


def curve(
    arm: str,
    path: str = "rows",
    along: str = "fraction",
    values: Sequence[float] = FRACTIONS,
    notes: Sequence[str | None] = (),
) -> CurveView:
    """A curve whose overlap is the value itself; nothing is known of its KL."""
    return CurveView(
        arm=arm,
        role="arm",
        path=path,
        along=along,
        point={"domain": "rows"},
        values=values,
        metrics={
            "kl": [Estimate(None) for _ in values],
            "top10_overlap": [Estimate(v, v - 0.1, v + 0.1) for v in values],
            "cosine": [Estimate(v / 2) for v in values],
        },
        notes=[list(notes) for _ in values],
    )


def trial(arm: str, state: str = "done") -> TrialView:
    return TrialView(
        identity=arm,
        label=arm,
        arm=arm,
        role="arm",
        seed=0,
        state=state,
        config={"transform": "hadamard", "quantiser": "row"},
        metrics={"bytes": 1234567.0, "ratio": 3.5, "relative_l2": None},
        flags=frozenset(),
        artifacts=None,
    )


def study(*curves: CurveView, trials: Sequence[TrialView] = ()) -> StudyView:
    return StudyView(
        name="emergence",
        instance="emergence-1",
        question="Is it <sharper>?",
        trials=trials,
        table=pd.DataFrame(),
        answer="As sharp.",
        state="verdict",
        best_arm=None,
        gate_met=None,
        curves=curves,
    )


def summary(view: StudyView, folder: Path) -> tuple[set[str], list[SummaryTable]]:
    """Names of the files, and the tables."""
    added = list(write_summary(view, folder))
    files = {one.name for one in added if isinstance(one, Path)}
    assert all((folder / name).stat().st_size for name in files)
    return files, [one for one in added if isinstance(one, SummaryTable)]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_curve_along_the_fraction_has_the_origin_s_columns_first(tmp_path: Path) -> None:
    summary(study(curve("hadamard"), curve("int8")), tmp_path)
    text = (tmp_path / "emergence_curve.csv").read_text()
    assert text.startswith("fraction,cosine,top10_overlap,arm,path,")
    rows = rows_of(tmp_path / "emergence_curve.csv")
    assert [(row["arm"], float(row["fraction"])) for row in rows] == [
        (arm, fraction) for arm in ("hadamard", "int8") for fraction in FRACTIONS
    ]
    assert rows[1]["top10_overlap_low"] == "0.4"
    assert rows[1]["top10_overlap_high"] == "0.6"


def test_what_was_not_measured_is_empty_and_never_zero(tmp_path: Path) -> None:
    _, tables = summary(study(curve("hadamard"), trials=[trial("hadamard")]), tmp_path)
    assert {row["kl"] for row in rows_of(tmp_path / "emergence_curve.csv")} == {""}
    (row,) = rows_of(tmp_path / "codecs.csv")
    assert (row["relative_l2"], row["bytes"]) == ("", "1234567.0")
    assert tables[0].rows[0][:6] == ("hadamard", "hadamard", "row", "1,234,567", "3.5", "n/a")


def test_each_key_that_curves_go_along_has_a_table_and_pictures(tmp_path: Path) -> None:
    noise = curve("hadamard", "noise", "noise", (0.001, 0.1, 1.0))
    files, _ = summary(study(curve("hadamard"), noise), tmp_path)
    for stem in ("emergence_curve", "noise_curve"):
        assert {f"{stem}.csv", f"{stem}.png", f"{stem}_by_codec.png"} <= files
        assert Image.open(tmp_path / f"{stem}.png").info["dpi"] == pytest.approx((150, 150), 0.01)
    assert (tmp_path / "noise_curve.csv").read_text().startswith("noise,cosine,top10_overlap,")


def test_the_interactive_page_works_offline_and_holds_every_curve(tmp_path: Path) -> None:
    noise = curve("int8", "noise", "noise", (0.001, 0.1, 1.0))
    summary(study(curve("hadamard"), noise), tmp_path)
    page = (tmp_path / "emergence_curve.html").read_text()
    assert "hadamard, rows" in page
    assert "int8, noise" in page
    assert "Is it &lt;sharper&gt;?" in page
    assert '<script src="' not in page
    assert page.count("Plotly.newPlot(") == 2
    assert page.count("plotly.js v") == 1  # the program is in it, once


def test_the_page_shows_the_first_path_of_every_codec_before_anything_is_clicked(
    tmp_path: Path,
) -> None:
    names = [f"codec-{number}" for number in range(13)]
    curves = [curve(name, path) for name in names for path in ("rows", "random")]
    curves.append(replace(curve("int8"), role="control"))
    summary(study(*curves), tmp_path)
    page = (tmp_path / "emergence_curve.html").read_text()
    start = page.index('[{"', page.index("Plotly.newPlot("))
    traces = json.JSONDecoder().raw_decode(page[start:])[0]
    lines = [one for one in traces if one.get("mode") == "lines+markers"]
    shown = [one["name"] for one in lines if one["visible"] is True]
    assert shown == [
        "codec-0, rows",
        "codec-0, random",
        *(f"{name}, rows" for name in names[1:]),
        "int8 (control), rows",
    ]
    looks = {re.sub(".*, ", "", one["name"]): one["line"]["color"] for one in lines}
    assert looks["rows"] != looks["random"]


def test_texts_stand_side_by_side_by_fraction(tmp_path: Path) -> None:
    zero = curve("hadamard", "zero", notes=[note("the | sea", "a"), None])
    guided = curve("hadamard", "guided", notes=[note("the sun", "b")])
    files, tables = summary(study(zero, guided), tmp_path)
    assert {"text_samples.csv", "text_samples.md", "writing.csv"} <= files
    texts = tables[0]
    assert texts.head == ("fraction", "zero", "guided")
    assert texts.rows == (("0.1 to 1", "the | sea", "the sun"),)
    page = (tmp_path / "text_samples.md").read_text()
    assert "| 0.1 to 1 | the \\| sea | the sun |" in page
    assert page.count("What hadamard goes on with") == 2  # one for each prompt
    rows = rows_of(tmp_path / "text_samples.csv")
    assert len(rows) == 2 * 2 * len(FRACTIONS)


def test_texts_that_repeat_are_said_once(tmp_path: Path) -> None:
    def written(path: str, *texts: str | None) -> CurveView:
        values = (0.1, 0.2, 0.5, 1.0)
        notes = [[text and note(text)] for text in texts]
        return replace(curve("a", path, values=values), notes=notes)

    zero = written("zero", "in in in in in", "in in in in in", "in in in in in", "a b c")
    guided = written("guided", "a b a b a b a b c", "a b a b a b a b c", "so so", None)
    _, tables = summary(study(zero, guided), tmp_path)
    assert tables[0].rows == (
        ("0.1 to 0.2", "in (×5)", "a b (×4) c"),
        ("0.5", "as at 0.1", "so so"),
        ("1", "a b c", "n/a"),
    )
    (whole, *_) = rows_of(tmp_path / "text_samples.csv")
    assert whole["text"] == "in in in in in"


def test_a_path_that_was_not_asked_at_a_value_is_not_known_there(tmp_path: Path) -> None:
    short = curve("hadamard", "guided", values=(0.5,), notes=[note("x")])
    _, tables = summary(study(curve("hadamard", "zero", notes=[note("y")]), short), tmp_path)
    assert tables[0].rows[0] == ("0.1", "y", "n/a")


def test_draws_agree_by_the_words_in_the_same_places() -> None:
    assert agreement([note("a b c d"), note("a b x d")]) == 0.75
    assert agreement([note("a b"), note("a b"), note("c")]) == pytest.approx(1 / 3)
    assert agreement([note("a b")]) is None
    assert agreement([None, None]) is None
    assert agreement([note(""), note("")]) is None


@pytest.mark.parametrize(
    ("perplexity", "pairs", "draws", "word"),
    [
        (8.9, 0.5, None, "recovery"),
        (9.1, 0.5, None, "no coherent output"),
        (2.0, 0.3, None, "no coherent output"),  # likely, but one word again and again
        (None, None, None, "no coherent output"),  # it writes nothing
        (500.0, 0.9, 0.7, "stable nonsense"),
        (500.0, 0.9, 0.1, "unstable nonsense"),
    ],
)
def test_a_text_is_coherent_if_it_is_likely_and_varied_and_stable_if_draws_agree(
    perplexity: float | None, pairs: float | None, draws: float | None, word: str
) -> None:
    row = {"text_perplexity": perplexity, "distinct_2": pairs, "agreement_of_draws": draws}
    assert word_for(row, Whole(None, 3.0, 0.8)) == word
    assert word_for(row, None) is None


def test_texts_are_held_against_those_of_the_full_decode_of_the_same_arm(tmp_path: Path) -> None:
    def written(along: str, *of: tuple[float, str, float]) -> CurveView:
        values = tuple(value for value, _, _ in of)
        view = curve("hadamard", along, along, values)
        measured: dict[str, Any] = {
            **view.metrics,
            "text_perplexity": [Estimate(perplexity) for _, _, perplexity in of],
            "distinct_2": [Estimate(0.8) for _ in of],
        }
        return replace(view, metrics=measured, notes=[[note(text)] for _, text, _ in of])

    path = written("fraction", (0.1, "a a a a", 90.0), (1.0, "a b c d", 3.0))
    noise = written("noise", (0.1, "a b c x", 4.0), (1.0, "x x x x", 900.0))
    rows = writing_rows([path, noise])
    assert [row["word"] for row in rows] == [
        "no coherent output", "recovery", "recovery", "no coherent output"
    ]  # fmt: skip
    assert [row["words_of_full"] for row in rows] == [0.25, 1.0, 0.75, 0.0]
    _, tables = summary(study(path, noise), tmp_path)
    shown = [row for table in tables for row in table.rows if row[0] == "noise"]
    assert [row[2] for row in shown] == ["recovery", "no coherent output"]
    assert writing_rows([noise])[0]["word"] is None  # nothing says how the whole model writes


def test_an_arm_that_was_measured_nowhere_still_gives_every_file(tmp_path: Path) -> None:
    blank = curve("hadamard")
    unknown = {name: [Estimate(None) for _ in FRACTIONS] for name in blank.metrics}
    files, _ = summary(study(replace(blank, metrics=unknown, notes=())), tmp_path)
    assert {"emergence_curve.csv", "emergence_curve.png", "emergence_curve.html"} <= files
    assert {row["top10_overlap"] for row in rows_of(tmp_path / "emergence_curve.csv")} == {""}


def test_a_study_without_curves_says_what_its_codecs_are(tmp_path: Path) -> None:
    files, tables = summary(study(trials=[trial("a"), trial("b", "failed")]), tmp_path)
    assert files == {"codecs.csv"}
    assert len(tables[0].rows) == 1
