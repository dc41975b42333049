"""A small trained model in every domain and fill: whole where all is kept, finite everywhere."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from workloads.dtdr.summary import write_summary
from workloads.dtdr.workload import Dtdr
from workloads.evaluation import Measured
from workloads.recording import run_recorded
from workloads.views import CurveView, Estimate, StudyView

pytestmark = pytest.mark.slow

FIELDS: dict[str, Any] = {"prompts": 6, "held_out_tokens": 8, "samples": 1, "sample_tokens": 3}
FRACTIONS = (0.005, 0.5, 1.0)
MODES = {
    f"{domain}-{fill}": {"domain": domain, "fill": fill}
    for domain in ("rows", "leading", "random", "largest")
    for fill in ("zero", "random", "guided", "matched")
}
Found = dict[str, list[Measured]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What each mode came to at each fraction."""
    workload = Dtdr()
    trial = run_recorded(workload, FIELDS, tmp_path_factory.mktemp("trial"))
    config = workload.resolve(workload.Config(**FIELDS))
    packed = workload.pack_subject(config, trial.checkpoints[-1].path)
    subject = workload.open_subject(config, packed)
    return {
        name: list(subject.measure([{**mode, "fraction": fraction} for fraction in FRACTIONS]))
        for name, mode in MODES.items()
    }


@pytest.mark.parametrize("mode", MODES)
def test_a_path_is_finite_everywhere_and_ends_in_the_full_decode(mode: str, found: Found) -> None:
    for one in found[mode]:
        assert one.error is None
        assert one.scores is not None
        assert one.scores.shape == (6,)
        assert all(value is None or math.isfinite(value) for value in one.values.values())
        assert one.values["finite"] == 1.0
    whole = found[mode][-1]
    assert whole.scores is not None
    assert whole.scores.min() == 1.0
    assert whole.values["cosine"] == pytest.approx(1.0)
    assert whole.values["kl"] == pytest.approx(0.0, abs=1e-6)
    assert whole.values["relative_l2"] == 0.0


def test_every_mode_is_in_the_files_and_the_pictures(found: Found, tmp_path: Path) -> None:
    curves = [
        CurveView(
            arm="hadamard-row",
            role="arm",
            path=mode,
            along="fraction",
            point=MODES[mode],
            values=FRACTIONS,
            metrics={
                name: [Estimate(one.values[name]) for one in measured]
                for name in measured[0].values
            },
            notes=[[one.note] for one in measured],
        )
        for mode, measured in found.items()
    ]
    view = StudyView(
        "emergence", "emergence-1", "", [], pd.DataFrame(), "", "verdict", None, None, (), curves
    )
    files = {one.name for one in write_summary(view, tmp_path) if isinstance(one, Path)}
    assert {"emergence_curve.csv", "emergence_curve.png", "emergence_curve.html"} <= files
    for name in ("emergence_curve.csv", "text_samples.csv"):
        rows = pd.read_csv(tmp_path / name, keep_default_na=False)
        assert set(rows["path"]) == set(MODES)
