"""`orrery trace`: what became of a trial, and how to see it again."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path

import pytest

from orchestrator import Study, UsageError
from orchestrator.engine.worker import AttemptFailed, run_attempt
from orchestrator.home import Home
from orchestrator.plan_file import write_plan
from orchestrator.tracing import find_trial, trace_trial
from telemetry import Emitter, archive_events, spool_path
from telemetry.dense import DenseRecorder
from tests.orchestrator.quick_study import arm, finish, go_on, orrery_here, quick_study, tickets


@pytest.fixture
def failed(home: Home) -> str:
    study = Study.load(quick_study(arm("bad", fault="raise"), seeds=[0]), home=home.root)
    (ticket,) = tickets(study)
    with pytest.raises(AttemptFailed):
        run_attempt(ticket, go_on)
    write_plan(study, study.plan())
    return ticket.identity


def test_a_failure_is_told_with_its_cause_and_traceback(home: Home, failed: str) -> None:
    told = trace_trial(failed, home.root)
    text = told.text()
    assert "bad replicate 0" in text
    assert "user_error: ValueError: the walk fell off" in text
    assert "in _misbehave" in told.traceback
    assert told.to_json()["failure"] == {
        "kind": "user_error",
        "cause": "ValueError: the walk fell off",
    }


def test_the_command_that_reproduces_names_a_study_file_that_is_there(
    home: Home, failed: str
) -> None:
    words = shlex.split(trace_trial(failed, home.root).reproduce)
    assert words[:2] == ["orrery", "retry"]
    study = Study.load(words[2], home=words[words.index("--home") + 1])
    assert study.trials()[0].identity == failed


def test_the_command_that_reproduces_is_quoted_for_a_shell(tmp_path: Path) -> None:
    place = Home.find(tmp_path / "it's a home").writable()
    study = Study.load(quick_study(arm("good"), seeds=[0]), home=place.root)
    (identity,) = finish(study)
    write_plan(study, study.plan())
    words = shlex.split(trace_trial(identity, place.root).reproduce)
    assert words == [
        "orrery", "run", str(study.folder / "study.yaml"), "--home", str(place.root),
        "--only", identity[:8], "--again", identity[:8],
    ]  # fmt: skip


def test_a_trial_is_found_by_the_start_of_its_id_and_by_its_label(home: Home, failed: str) -> None:
    assert find_trial(home, failed[:6]) == failed
    assert find_trial(home, f"effect=0.0,seed=0-{failed}") == failed


def test_a_trial_is_found_as_watch_shows_it_where_only_one_is(home: Home, failed: str) -> None:
    assert find_trial(home, "bad seed 0") == failed
    with pytest.raises(UsageError, match="No trial 'bad seed 1'"):
        find_trial(home, "bad seed 1")
    other = Study.load(quick_study(arm("bad", effect=2.0), seeds=[0]), home=home.root)
    (second,) = finish(other)
    write_plan(other, other.plan())
    with pytest.raises(UsageError, match="'bad seed 0' are 2 trials") as refused:
        find_trial(home, "bad seed 0")
    assert failed in str(refused.value)
    assert second in str(refused.value)


def test_a_damaged_archive_hides_nothing_else_of_a_trial(home: Home, failed: str) -> None:
    folder = home.trial(failed)
    archive_events(folder, remove_spools=True)
    damaged = folder / "events.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    told = trace_trial(failed, home.root)
    text = told.text()
    assert "user_error: ValueError: the walk fell off" in text
    assert "in _misbehave" in text
    assert f"dense traces cannot be read: '{damaged}' is damaged" in text
    assert told.to_json()["unreadable"] in text


def test_an_unknown_trial_is_refused(home: Home, failed: str) -> None:
    with pytest.raises(UsageError, match="No trial 'ffffffffff'"):
        find_trial(home, "ffffffffff")


def test_a_start_that_fits_several_is_refused(home: Home) -> None:
    identities = finish(Study.load(quick_study(seeds=list(range(20))), home=home.root))
    with pytest.raises(UsageError, match="the start of 40 trials"):
        find_trial(home, "")
    assert find_trial(home, identities[0]) == identities[0]


def test_a_home_without_trials_says_so(tmp_path: object) -> None:
    with pytest.raises(UsageError, match="No trial"):
        trace_trial("abcdef", str(tmp_path))


def test_causes_are_read_from_dense_traces_and_the_earliest_are_shown(
    home: Home, failed: str
) -> None:
    assert "dense traces" not in trace_trial(failed, home.root).text()
    _record_a_divergence(home.trial(failed))
    told = trace_trial(failed, home.root)
    first, second = told.causes
    assert (first.rank, first.step, first.reason) == (1, 40, "loss_nonfinite")
    assert (
        "step 40: loss_nonfinite; first to change: gradient norm of mlp at step 37" in told.text()
    )
    assert (second.rank, second.batches) == (2, 0)
    assert told.to_json()["causes"][0]["first"][0]["what"] == "gradient norm of mlp"
    shown = orrery_here("trace", failed, "--json", cwd=home.root.parent, ORRERY_HOME=str(home.root))
    assert json.loads(shown.stdout)["causes"] == told.to_json()["causes"]


def _record_a_divergence(folder: Path) -> None:
    """On rank 1 the gradient of a group grows, then the loss is NaN; rank 2 is killed at once."""
    path = folder / "attempt-0000"
    with (
        Emitter(spool_path(path, 1), trial=folder.name, attempt=0, rank=1) as emitter,
        DenseRecorder(emitter) as recorder,
    ):
        for step in range(1, 41):
            recorder.batch(
                step=step,
                epoch=1,
                batch_idx=step,
                loss=math.nan if step == 40 else 1.0,
                grad_norms={"mlp": 10.0 if step >= 37 else 1.0, "head": 1.0},
            )
    emitter = Emitter(spool_path(path, 2), trial=folder.name, attempt=0, rank=2)
    DenseRecorder(emitter).batch(step=40, epoch=1, batch_idx=40, loss=math.inf)
    emitter.flush()


def test_a_trial_that_is_done_is_traced_too(home: Home) -> None:
    study = Study.load(quick_study(arm("good"), seeds=[0]), home=home.root)
    (identity,) = finish(study)
    told = trace_trial(identity, home.root)
    assert told.record.state == "done"
    assert told.traceback == ""
    assert told.story[0].endswith(": published")
