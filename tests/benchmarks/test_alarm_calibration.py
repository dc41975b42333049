"""How often alarms are false, labels wrong and intervals right: the whole grid.

``pytest tests/benchmarks/test_alarm_calibration.py -m bench -s`` prints every cell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from scipy import special

from orchestrator.alarms.racing import Races, label_of
from orchestrator.alarms.thresholds import upper_bound
from orchestrator.calibration.alarm_laws import Fault, Law
from orchestrator.intervals import Interval
from orchestrator.statistics import exact_proportion
from orchestrator.statistics.bounded import area_under_roc, bounded_mean
from orchestrator.statistics.quantiles import t_upper
from orchestrator.statistics.times import median_of
from tests.orchestrator.alarms.simulated import RATE, RUNS, Floats, Watch, level_of, races

NAMES = ("structure", "loss")
STUDIES = 400
FAULTS = {
    "slow, runs alike": Fault(slope=0.1, scatter=0.0),
    "slow": Fault(slope=0.1),
    "middling": Fault(),
    "fast": Fault(slope=0.5, scatter=0.1),
    "fast, runs alike": Fault(slope=1.0, scatter=0.0),
    "as noisy as healthy": Fault(slope=0.1, noise=1.0),
}
LAWS = {
    "normal, normal": (Law(), Law()),
    "heavy, heavy": (Law(heavy=True), Law(heavy=True)),
    "heavy, normal": (Law(heavy=True), Law()),
    "normal, white": (Law(), Law(share=0.0)),
}
LEADS: dict[str, tuple[Callable[[np.random.Generator], Floats], float]] = {
    "all alike": (lambda rng: rng.normal(-9, 1, RUNS), -9.0),
    "one in twenty never": (lambda rng: _mixed(rng, 0.05), 0.05 * 33 + 0.95 * -9),
    "one in ten never": (lambda rng: _mixed(rng, 0.1), 0.1 * 33 + 0.9 * -9),
    "three in ten never": (lambda rng: _mixed(rng, 0.3), 0.3 * 33 + 0.7 * -9),
    "half never": (lambda rng: _mixed(rng, 0.5), 0.5 * 33 + 0.5 * -9),
    "skewed": (lambda rng: np.minimum(rng.exponential(8, RUNS), 51), 8 * (1 - math.exp(-51 / 8))),
}


def _mixed(rng: np.random.Generator, never: float) -> Floats:
    return np.where(rng.random(RUNS) < never, 33.0, rng.normal(-9, 1, RUNS))


def inside(found: Interval, truth: float) -> bool:
    assert found.low is not None
    assert found.high is not None
    return found.low <= truth <= found.high


@pytest.mark.parametrize("name", list(LAWS))
def test_false_alarms_of_unseen_healthy_runs(name: str) -> None:
    """2 % over calibration sets, and how often the check of both signals is passed."""
    rng, rates, passed = np.random.default_rng(1), [], 0
    for _ in range(STUDIES):
        bounds = []
        for law in LAWS[name]:
            watch = Watch.of(law, 1.0, rng)
            false = int((watch.unseen > watch.limit).sum())
            rates.append(false / len(watch.unseen))
            bounds.append(upper_bound(false, len(watch.unseen), 0.95) or 1.0)
        passed += max(bounds) <= 0.10
    figures = {
        "mean": float(np.mean(rates)),
        "5 % of signals have fewer": float(np.quantile(rates, 0.05)),
        "5 % of signals have more": float(np.quantile(rates, 0.95)),
        "studies that pass": passed / STUDIES,
    }
    tell(f"rates, {name}", figures)
    assert abs(figures["mean"] - RATE) <= 4 * float(np.std(rates)) / math.sqrt(len(rates))


@pytest.mark.parametrize("name", list(LAWS))
def test_labels_where_neither_is_first(name: str) -> None:
    """Both signals drift at equal speed towards the thresholds of exactly the rate."""
    laws = LAWS[name]
    levels = [level_of(law) for law in laws]
    figures = {}
    for fault_name, fault in FAULTS.items():
        rng, wrong, naive = np.random.default_rng(2), 0, 0
        for _ in range(STUDIES):
            one, other = (Watch.of(law, at, rng) for law, at in zip(laws, levels, strict=True))
            found = [races(fault, (one, other), rng) for _ in range(3)]
            sure = 1 - 0.05 / 3
            wrong += any(label_of(r, NAMES, sure).endswith("first") for r in found)
            plain = [Races(r.found, r.found, r.found) for r in found]
            naive += any(label_of(r, NAMES, sure).endswith("first") for r in plain)
        figures[fault_name] = {
            "wrong": wrong / STUDIES,
            "by the thresholds as they are": naive / STUDIES,
        }
        assert (exact_proportion(wrong, STUDIES, 0.95).low or 0) <= 0.05
    tell(f"labels, {name}", figures)


@pytest.mark.parametrize("name", list(LAWS))
def test_labels_where_one_is_first(name: str) -> None:
    """The share of arms that are called, by how much faster the one drifts: middling faults."""
    laws = LAWS[name]
    levels = [level_of(law) for law in laws]
    figures = {}
    for times in (1.5, 2.0, 3.0, 5.0):
        rng, called = np.random.default_rng(3), 0
        for _ in range(STUDIES // 2):
            one, other = (Watch.of(law, at, rng) for law, at in zip(laws, levels, strict=True))
            found = races(Fault(slopes=(times, 1.0)), (one, other), rng)
            called += label_of(found, NAMES, 0.95) == "structure first"
        figures[f"{times:g} times as fast"] = called / (STUDIES // 2)
    tell(f"power, {name}", figures)
    if name == "normal, normal":
        assert figures["5 times as fast"] >= 0.95


@pytest.mark.parametrize("name", list(LEADS))
def test_leads(name: str) -> None:
    draw, truth = LEADS[name]
    rng, covered, student, widths, medians = np.random.default_rng(4), 0, 0, [], 0
    middle = float(np.median(np.concatenate([draw(rng) for _ in range(4000)])))
    for _ in range(STUDIES):
        lead = draw(rng)
        found = bounded_mean(lead, -51.0, 51.0, 0.95)
        covered += inside(found, truth)
        assert found.low is not None
        assert found.high is not None
        widths.append(found.high - found.low)
        half = float(t_upper(0.025, RUNS - 1)) * lead.std(ddof=1) / math.sqrt(RUNS)
        student += abs(float(lead.mean()) - truth) <= half
        medians += inside(median_of(lead, 0.95), middle)
    figures = {
        "covered": covered / STUDIES,
        "by t": student / STUDIES,
        "width": float(np.mean(widths)),
        "median covered": medians / STUDIES,
    }
    tell(f"leads, {name}", figures)
    assert (exact_proportion(covered, STUDIES, 0.95).high or 0) >= 0.95
    if name != "half never":  # its median lies in a gap of the law, and may be any number there
        assert (exact_proportion(medians, STUDIES, 0.95).high or 0) >= 0.95


@pytest.mark.parametrize(
    ("shift", "spread"), [(0.0, 1.0), (1.0, 1.0), (2.5, 1.0), (1.0, 0.25), (1.0, 4.0), (4.0, 4.0)]
)
def test_areas(shift: float, spread: float) -> None:
    rng, covered, widths = np.random.default_rng(5), 0, []
    truth = float(special.ndtr(shift / math.sqrt(1 + spread**2)))
    for _ in range(STUDIES):
        found = area_under_roc(rng.normal(shift, spread, RUNS), rng.normal(size=200), 0.95)
        covered += inside(found, truth)
        assert found.low is not None
        assert found.high is not None
        widths.append(found.high - found.low)
    figures = {"area": truth, "covered": covered / STUDIES, "width": float(np.mean(widths))}
    tell(f"areas, shift {shift:g}, spread {spread:g}", figures)
    assert (exact_proportion(covered, STUDIES, 0.95).high or 0) >= 0.93


def tell(name: str, figures: Mapping[str, object]) -> None:
    print(f"\n{name}")
    for key, value in figures.items():
        print(f"  {key}: {value:.4g}" if isinstance(value, float) else f"  {key}: {value}")
