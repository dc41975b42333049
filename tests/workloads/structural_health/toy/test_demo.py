"""The demonstration at the source's size comes to the source's figures."""

from __future__ import annotations

import json

import pytest

from tests.workloads.structural_health.toy.small import SMALL
from workloads.structural_health.config import Fault, StructuralHealthConfig
from workloads.structural_health.demos.demo_training_monitor import Row, main, show, watched_run

SEED = 0


def rows_of(mode: Fault) -> dict[int, Row]:
    return {row.step: row for row in watched_run(StructuralHealthConfig(fault=mode), SEED)}


@pytest.mark.slow
def test_the_three_modes_come_to_the_sources_figures() -> None:
    healthy, drawn, exploding = map(
        rows_of, ("healthy", "representation_collapse", "numeric_explosion")
    )
    # 7.11 to 3.21, and a ratio from 0.16 to about 0.115.
    assert list(healthy) == list(range(0, 61, 5))
    assert healthy[0].loss == pytest.approx(7.11, abs=0.1)
    assert healthy[60].loss == pytest.approx(3.21, abs=0.3)
    assert healthy[5].status == "BUFFERING"
    assert healthy[10].svd == pytest.approx(0.16, abs=0.01)
    assert healthy[60].svd == pytest.approx(0.115, abs=0.01)
    assert {row.status for step, row in healthy.items() if step >= 10} == {"HEALTHY"}
    # 0.165 at step 10, 0.22, 0.39 to 0.41 at 25; rank 1 at 30, with the loss still falling.
    assert drawn[10].svd == pytest.approx(0.165, abs=0.01)
    assert drawn[20].svd == pytest.approx(0.22, abs=0.01)
    assert drawn[25].svd == pytest.approx(0.40, abs=0.02)
    assert drawn[30].svd == pytest.approx(1.0, abs=1e-6)
    assert max(drawn) == 30
    assert drawn[30].status == "COLLAPSE"
    assert drawn[30].loss == pytest.approx(5.1, abs=0.1)
    assert [row.loss for row in drawn.values()] == [healthy[step].loss for step in drawn]
    # About 1270 at step 5: over before there is any ratio.
    assert list(exploding) == [0, 5]
    assert 300 < exploding[5].loss < 3000
    assert exploding[5].svd is None
    assert exploding[5].stop == "loss above 50"


def test_the_demo_prints_its_columns_and_why_it_stopped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = StructuralHealthConfig(**SMALL, fault="true_collapse", ramp=8)
    show(watched_run(config, SEED))
    head, *rows, end = capsys.readouterr().out.splitlines()
    assert head.split() == ["Step", "Loss", "SVD", "Status"]
    assert [row.split()[0] for row in rows] == ["0", "5", "10", "15"]
    assert [row.split()[3] for row in rows] == ["BUFFERING", "BUFFERING", "HEALTHY", "COLLAPSE"]
    assert rows[0].split()[2] == "WAIT"
    assert end == "stopped at step 15: singular-value ratio above 0.8"


def test_a_loss_that_explodes_stops_the_demo_before_there_is_a_ratio(
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = StructuralHealthConfig(
        **SMALL, fault="numeric_explosion", exploding_learning_rate=1e38
    )
    show(watched_run(config, SEED), as_json=True)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["step"], row["svd"]) for row in rows] == [(0, None), (5, None)]
    assert rows[1]["loss"] is None
    assert rows[1]["status"] == "NONFINITE"
    assert rows[1]["stop"] == "loss above 50"


def test_a_mode_that_is_none_is_refused_with_those_that_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["--mode", "healthyy"])
    assert "numeric_explosion" in capsys.readouterr().err
