"""Trials of the successor: texts, batches, counts, figures, and what is said when numbers go."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workloads.errors import DivergedError, InputError
from workloads.models import FileTokenizer, resolve_model
from workloads.phase_coupling.kssm.columns import SCORE_COLUMNS
from workloads.phase_coupling.kssm.counting import Counts
from workloads.phase_coupling.kssm.history import HISTORY, History, read_history
from workloads.phase_coupling.kssm.metrics import zone_names, zone_shares
from workloads.phase_coupling.kssm.training import batches
from workloads.phase_coupling.kssm_config import KssmConfig
from workloads.phase_coupling.kssm_workload import Kssm
from workloads.recording import Recorded
from workloads.testing import run_recorded
from workloads.views import StudyView, TrialView

SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "layers": 1,
    "heads": 2,
    "oscillators": 6,
    "harmonics": 4,
    "tokens": 16,
    "train_texts": 24,
    "batch_size": 4,
    "steps": 12,
    "warmup_steps": 2,
    "texts": 6,
    "monitors": [],
}


def _run(folder: Path, seed: int = 0, **changes: Any) -> Recorded:
    folder.mkdir(parents=True, exist_ok=True)
    return run_recorded(Kssm(), {**SMALL, **changes}, folder, seed=seed)


def _columns(run: Recorded, split: str) -> dict[str, list[float | None]]:
    assert run.result is not None
    (scores,) = (one for one in run.result.scores if one.split == split)
    assert set(scores.columns) == set(SCORE_COLUMNS[split])
    return {name: list(values) for name, values in scores.columns.items()}


def test_a_trial_says_how_well_it_reads_and_where_r_is(tmp_path: Path) -> None:
    run = _run(tmp_path)
    assert run.result is not None
    metrics, texts = run.result.metrics, _columns(run, "texts")
    ce = [value for value in texts["ce"] if value is not None]
    assert len(ce) == 6
    assert metrics["ce"] == pytest.approx(sum(ce) / 6)
    assert metrics["perplexity"] == pytest.approx(math.exp(sum(ce) / 6))
    for names in ([n for n in metrics if n.startswith("residence/")], zone_names()):
        assert sum(metrics[name] or 0 for name in names) == pytest.approx(1)
    steps = _columns(run, "steps")
    assert len(steps["loss"]) == 12
    assert all(loss != ce for loss, ce in zip(steps["loss"], steps["ce"], strict=True))


def test_the_same_text_scores_alike_in_batches_of_any_size(tmp_path: Path) -> None:
    whole, single = (_run(tmp_path / str(size), eval_batch_size=size) for size in (6, 1))
    for one, other in zip(
        _columns(whole, "texts")["r_mean"], _columns(single, "texts")["r_mean"], strict=True
    ):
        assert one == pytest.approx(other, rel=1e-5)


def test_texts_made_once_are_those_that_are_asked_for(tmp_path: Path) -> None:
    """A process keeps generated texts: a trial of other sizes gets its own."""
    first, more, again = (
        _columns(_run(tmp_path / str(at), variant="unigram", texts=texts), "texts")["ce"]
        for at, texts in enumerate((6, 7, 6))
    )
    assert len(more) == 7
    assert more[:6] == first == again


def test_the_baseline_measures_no_oscillators(tmp_path: Path) -> None:
    run = _run(tmp_path, variant="baseline")
    assert run.result is not None
    assert set(_columns(run, "texts")["r_mean"]) == {None}
    assert set(_columns(run, "steps")["u"]) == {None}
    assert run.result.metrics.get("r_mean") is None
    assert run.result.metrics["lantern_share"] is None
    assert run.result.metrics["residence/spiral"] is None


def test_a_model_that_loses_its_numbers_is_flagged_and_says_so(tmp_path: Path) -> None:
    """Its weights are those from before, and are measured."""
    run = _run(tmp_path, determinant_weight=1e38)
    assert run.result is not None
    assert run.result.flags == {"diverged"}
    assert "not finite at step 1" in run.result.notes[0]
    assert _columns(run, "steps")["loss"] == []
    assert run.result.metrics["train_loss"] is None
    assert all(value is not None for value in _columns(run, "texts")["ce"])


def test_a_model_that_predicts_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="no test text"):
        _run(tmp_path, learning_rate=1e30, warmup_steps=0)


def test_counts_score_the_texts_without_a_model(tmp_path: Path) -> None:
    found = {name: _run(tmp_path / name, variant=name) for name in ("unigram", "bigram")}
    ce = {}
    for name, run in found.items():
        assert run.result is not None
        assert _columns(run, "steps")["ce"] == []
        ce[name] = run.result.metrics["ce"]
    assert ce["bigram"] is not None
    assert ce["unigram"] is not None
    assert ce["bigram"] < ce["unigram"]


def test_counted_chances_add_up_and_a_known_pair_is_likely() -> None:
    texts = np.array([[0, 1, 2, 1], [0, 1, 2, 3]])
    counts = Counts(texts, 5, pairs=True)
    every = np.array([[1, following] for following in range(5)])
    assert np.exp(-counts.cross_entropy(every)).sum() == pytest.approx(1)
    assert counts.cross_entropy(np.array([[1, 2]]))[0, 0] < 0.5
    assert 0 < counts.entropy(np.array([[1, 2]]))[0, 0] < counts.entropy(np.array([[4, 2]]))[0, 0]


def test_batches_pass_over_all_texts_before_any_comes_again() -> None:
    config = KssmConfig(steps=5, batch_size=4, warmup_steps=0)
    drawn = [at for batch in batches(10, config, seed=0) for at in batch]
    assert sorted(drawn[:10]) == list(range(10))
    assert sorted(drawn[10:]) == list(range(10))
    assert drawn[:10] != drawn[10:]
    assert list(batches(10, config, seed=0, first=3)) == list(batches(10, config, seed=0))[3:]
    assert list(batches(10, config, seed=1)) != list(batches(10, config, seed=0))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"heads": 3}, "valid: 1, 2, 4, 8, 16, 32, 64"),
        ({"steps": 10, "warmup_steps": 10}, "fewer than steps"),
        ({"tokens": 4000}, "tokens"),
        ({"data": "embedded:questions"}, "running text"),
        ({"tokenizer": "embedded:llma"}, "llama"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], said: str) -> None:
    workload = Kssm()
    with pytest.raises(InputError, match=said):
        workload.check(workload.resolve(KssmConfig(**changes)))


def test_too_few_texts_are_said_with_their_number(tmp_path: Path) -> None:
    story = "Mara went to the market and bought a red lamp for the old man. " * 8
    (tmp_path / "texts.json").write_text(json.dumps([f"{n} {story}" for n in range(20)]))
    with pytest.raises(InputError, match="6 of 64 test texts"):
        Kssm().check(KssmConfig(data=str(tmp_path)))


def test_what_a_variant_does_not_read_renames_nothing() -> None:
    resolve = Kssm().resolve
    counted = [resolve(KssmConfig(variant="bigram", layers=n, learning_rate=n)) for n in (1, 3)]
    assert counted[0] == counted[1]
    plain = [resolve(KssmConfig(variant="baseline", control_weight=w)) for w in (0, 1)]
    assert plain[0] == plain[1]
    kept = [resolve(KssmConfig(variant="bistable", control_weight=w)) for w in (0, 1)]
    assert kept[0] != kept[1]


def test_zones_hold_their_lower_ends() -> None:
    ends = (0.0, 0.10, 0.30, 0.50, 0.70, 0.85, 0.95)
    assert list(zone_shares(ends).values()) == [pytest.approx(1 / 7)] * 7
    assert set(zone_shares([]).values()) == {None}


def test_the_lantern_share_is_that_of_the_last_hundred_steps() -> None:
    rs: list[float | None] = [0.9] * 50 + [0.85] * 30 + [0.84] * 70
    found = History({"loss": [1.0] * 150, "ce": [1.0] * 150, "r": rs, "u": [1.0] * 150}).metrics()
    assert found["lantern_share"] == pytest.approx(0.3)
    assert found["late_gain"] == pytest.approx(0)


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    history = History()
    history.add({"loss": 1.5, "ce": 1.25, "grad_norm": 0.1})
    history.add({"loss": 1.0, "ce": 1.0, "r": 0.5, "u": 2.0, "grad_norm": 0.2, "determinant": 3.0})
    history.write(tmp_path / HISTORY)
    assert read_history(tmp_path / HISTORY).columns == history.columns


def _view(folder: Path, arm: str, seed: int) -> TrialView:
    run = _run(folder, seed=seed, variant=arm)
    assert run.result is not None
    kept = next((path.parent for path in folder.rglob(HISTORY)), None)
    config = Kssm().resolve(KssmConfig(**SMALL)).model_dump(mode="json")
    return TrialView(
        f"id-{arm}-{seed}",
        f"{arm} {seed}",
        arm,
        "arm",
        seed,
        "done",
        config,
        run.result.metrics,
        run.result.flags,
        kept,
    )


def test_the_summary_has_tables_and_pictures_of_real_trials(tmp_path: Path) -> None:
    trials = [
        _view(tmp_path / f"{variant}-{seed}", variant, seed)
        for variant, seeds in (("bistable", (0, 1)), ("baseline", (0,)), ("bigram", (0,)))
        for seed in seeds
    ]
    study = StudyView("s", "s-1", "?", trials, pd.DataFrame(), "", "", None, None)
    found = list(Kssm().summarise(study, tmp_path / "summary"))
    tables = [one for one in found if not isinstance(one, Path)]
    assert [row[0] for row in tables[0].rows] == ["bistable", "baseline", "bigram"]
    assert "n/a" in tables[0].rows[2]  # nothing was trained
    assert [row[0] for row in tables[1].rows] == ["bistable"]
    paths = [one for one in found if isinstance(one, Path)]
    assert [path.name for path in paths] == ["training.png", "oscillators.png"]
    assert all(path.stat().st_size > 10_000 for path in paths)


def test_the_tokenizer_of_the_check_reads_what_the_trial_reads() -> None:
    path = resolve_model("embedded:llama").path
    assert path is not None
    text = (path / "tokenizer.json").read_text(encoding="utf-8")
    from workloads.models import load_tokenizer

    given = "Mara went to the market."
    assert (
        FileTokenizer(text)(given)["input_ids"]
        == load_tokenizer("embedded:llama")(given)["input_ids"]
    )
