"""`SinkContract`: the tests that every sink must pass, shipped for third parties too.

    from telemetry.testing import SinkContract, StoredRun

    class TestMine(SinkContract):
        def make_sink(self, folder):
            return MySink(folder / "store")        # the same folder: the same store

        def stored(self, folder):
            return [...]                           # a StoredRun for every run in the store

Run it with pytest. `stored` is to read the store past the sink.
"""

from __future__ import annotations

import math
import pickle
import shutil
from collections import Counter
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest

from telemetry.publication import publish_study
from telemetry.rowlog import Row, RowLog
from telemetry.runs import StudyRun, TrialEnd, TrialRun, flattened
from telemetry.sinks.protocol import RunGoneError, Sink, SinkError, SinkUnavailableError
from telemetry.sinks.retrying import RetryingSink
from telemetry.stored import ODD_KEYS, StoredRow, StoredRun, in_order, sample_trial

__all__ = ["ODD_KEYS", "SinkContract", "StoredRow", "StoredRun"]


class SinkContract:
    """Subclass it, say how to make the sink and how to read its store, and run it with pytest."""

    times_exact: ClassVar[bool] = True
    """Whether the store keeps a row's time to the millisecond."""

    # -- what a subclass says -------------------------------------------------------------------

    def make_sink(self, folder: Path) -> Sink:
        """A new sink on the store that belongs to `folder`; another one on another folder."""
        raise NotImplementedError

    def stored(self, folder: Path) -> list[StoredRun]:
        """Every run in the store of `folder`; a run that was removed is not in it."""
        raise NotImplementedError

    def remove_trial(self, folder: Path, study: StudyRun, trial: TrialRun) -> None:
        """Removes a trial's run behind the sink's back; by default the tests of that are left."""
        pytest.skip("the store has no way to remove a run")

    def unavailable_sink(self, folder: Path) -> Sink:
        """A sink whose store is not there now; by default the test of that is left."""
        pytest.skip("the store is always there")

    def refusing_sink(self, folder: Path) -> Sink:
        """A sink whose store refuses for good; by default the test of that is left."""
        pytest.skip("the store refuses nothing")

    def stored_key(self, key: str) -> str:
        """How the store spells a metric's key."""
        return key

    def stored_value(self, value: float) -> float:
        """What the store makes of a value."""
        return value

    # -- what is written ------------------------------------------------------------------------

    @pytest.fixture
    def study(self, tmp_path: Path) -> StudyRun:
        """A study with everything."""
        return StudyRun(
            "sweep",
            "sweep-1f2e",
            note="# Does it help?\nWe ask.",
            tags={"workload": "quick"},
            params={"lora": {"rank": 8}},
            started_ms=1_700_000_000_000,
            folder=str(tmp_path / "study"),
        )

    @pytest.fixture
    def trial(self, tmp_path: Path) -> TrialRun:
        """A trial with everything."""
        return sample_trial(tmp_path, "4c5415609b1d2e7f")

    @pytest.fixture
    def end(self, tmp_path: Path) -> TrialEnd:
        """A good end with a file."""
        (tmp_path / "made" / "plots").mkdir(parents=True)
        (tmp_path / "made" / "plots" / "curve.txt").write_text("curve")
        return TrialEnd("done", 1_700_000_009_000, artifacts=str(tmp_path / "made"))

    # -- the contract ---------------------------------------------------------------------------

    def test_a_sink_can_be_pickled_before_its_first_call(
        self, tmp_path: Path, study: StudyRun
    ) -> None:
        sink = pickle.loads(pickle.dumps(self.make_sink(tmp_path)))
        sink.prepare()
        assert sink.write_study(study)

    def test_the_store_is_named_the_same_until_it_is_made_anew(self, tmp_path: Path) -> None:
        sink = self.make_sink(tmp_path)
        sink.prepare()
        name = sink.store_id()
        sink.prepare()
        assert name == sink.store_id() == self.make_sink(tmp_path).store_id()
        other = self.make_sink(tmp_path / "other")
        other.prepare()
        assert other.store_id() != name

    def test_a_study_stands_there_before_its_trials(
        self, tmp_path: Path, study: StudyRun, trial: TrialRun
    ) -> None:
        sink = self._prepared(tmp_path)
        run_id = sink.write_study(study)
        (parent,) = self.stored(tmp_path)
        assert (parent.instance, parent.trial) == (study.instance, None)
        assert parent.note == study.note
        assert not parent.ended
        assert parent.tags.items() >= {"workload": "quick"}.items()
        assert parent.params.items() >= flattened(study.params).items()
        sink.write_trial(study, trial, [], TrialEnd("preempted", 5))
        assert sink.write_study(study) == run_id
        assert len(self.stored(tmp_path)) == 2

    def test_a_trial_has_its_study_made(
        self, tmp_path: Path, study: StudyRun, trial: TrialRun, end: TrialEnd
    ) -> None:
        self._prepared(tmp_path).write_trial(study, trial, [Row("a", 1, 5, 0.5)], end)
        assert {run.trial for run in self.stored(tmp_path)} == {None, trial.identity}

    def test_a_trial_stands_there_with_all_that_it_is(
        self, tmp_path: Path, study: StudyRun, trial: TrialRun, end: TrialEnd
    ) -> None:
        sink = self._prepared(tmp_path)
        rows = [Row("train/loss", step, 1_700_000_000_000 + step, 1 / 3**step) for step in range(9)]
        sink.write_trial(study, trial, rows, end)
        run = self._trial(tmp_path, trial)
        assert run.instance == study.instance
        assert run.name == trial.run_name
        assert run.ended
        told = {"arm": "r8", "replicate": "2", "role": "arm", "state": "done", "colour": "red"}
        assert run.tags.items() >= told.items()
        assert run.params.items() >= flattened(trial.params).items()
        assert run.artifacts == {"plots/curve.txt": b"curve"}
        assert self._rows(run) == self._told(rows)

    def test_repeated_calls_add_nothing(
        self, tmp_path: Path, study: StudyRun, trial: TrialRun, end: TrialEnd
    ) -> None:
        rows = [Row(key, step, 50 + step, step / 7) for step in range(20) for key in ("a", "b")]
        first = self._prepared(tmp_path)
        ids = {first.write_trial(study, trial, rows, end) for _ in range(3)}
        first.write_study(study)
        before = self.stored(tmp_path)
        second = self.make_sink(tmp_path)
        second.write_study(study)
        ids |= {second.write_trial(study, trial, part, end) for part in (rows, rows[5:8], ())}
        assert len(ids) == 1
        assert in_order(self.stored(tmp_path)) == in_order(before)
        assert len(self._trial(tmp_path, trial).rows) == 40

    def test_rows_that_come_bit_by_bit_and_in_any_order_are_all_there_once(
        self, tmp_path: Path, study: StudyRun, trial: TrialRun, end: TrialEnd
    ) -> None:
        rows = [Row(key, step, 10_000 - step, step / 3) for key in ("b", "a") for step in (3, 1, 2)]
        for start in range(len(rows)):  # each from a process of its own, each with one row again
            sink = self._prepared(tmp_path)
            sink.write_trial(study, trial, rows[max(0, start - 1) : start + 1])
            sink.write_trial(study, trial, rows[start : start + 1], TrialEnd("preempted", start))
        self.make_sink(tmp_path).write_trial(study, trial, rows, end)
        assert self._rows(self._trial(tmp_path, trial)) == self._told(rows)

    def test_many_rows_at_once_are_all_there(
        self, tmp_path: Path, study: StudyRun, trial: TrialRun, end: TrialEnd
    ) -> None:
        rows = [Row(f"m{key}", step, 50, key + step / 8) for step in range(420) for key in range(6)]
        self._prepared(tmp_path).write_trial(study, trial, rows, end)
        assert self._rows(self._trial(tmp_path, trial)) == self._told(rows)

    def test_not_measured_makes_no_row_and_no_number_is_kept_as_such(
        self, tmp_path: Path, study: StudyRun, trial: TrialRun, end: TrialEnd
    ) -> None:
        rows = [
            Row("a", 1, 5, None),
            Row("nan", 1, 5, math.nan),
            Row("inf", 1, 5, math.inf),
            Row("low", 2, 5, -math.inf),
            Row("zero", 2, 5, 0.0),
            Row("tiny", 2, 5, 5e-324),
            Row("whole", 2, 5, 2.0**53 - 1),
        ]
        sink = self._prepared(tmp_path)
        sink.write_trial(study, trial, rows, end)
        sink.write_trial(study, trial, rows, end)
        assert self._rows(self._trial(tmp_path, trial)) == self._told(rows[1:])

    def test_odd_keys_stay_apart(
        self, tmp_path: Path, study: StudyRun, trial: TrialRun, end: TrialEnd
    ) -> None:
        rows = [Row(key, 1, 5, float(place)) for place, key in enumerate(ODD_KEYS)]
        odd = msgspec.structs.replace(
            trial, params={key: key for key in ODD_KEYS}, factors=dict.fromkeys(ODD_KEYS, 1)
        )
        for _ in range(2):
            self._prepared(tmp_path).write_trial(study, odd, rows, end)
        assert self._rows(self._trial(tmp_path, trial)) == self._told(rows)

    def test_an_end_is_written_once_and_another_attempt_goes_on_in_its_run(
        self, tmp_path: Path, study: StudyRun, trial: TrialRun, end: TrialEnd
    ) -> None:
        failed = TrialEnd("failed", 7_000, failure_kind="unknown", failure_cause="it fell")
        sink = self._prepared(tmp_path)
        run_id = sink.write_trial(study, trial, [Row("a", 1, 5, 0.1)], failed)
        assert sink.write_trial(study, trial, [], failed) == run_id
        run = self._trial(tmp_path, trial)
        assert run.ended
        assert run.tags.items() >= {"state": "failed", "cause": "it fell"}.items()
        sink.write_trial(study, trial, [Row("a", 2, 6, 0.2)])
        assert self.make_sink(tmp_path).write_trial(study, trial, [], end) == run_id
        run = self._trial(tmp_path, trial)
        assert run.ended
        assert run.tags["state"] == "done"
        assert len(run.rows) == 2

    def test_note_tags_and_state_of_a_study_are_brought_up_to_date(
        self, tmp_path: Path, study: StudyRun
    ) -> None:
        sink = self._prepared(tmp_path)
        sink.write_study(study)
        done = msgspec.structs.replace(
            study,
            note="# It does\nSo we say.",
            tags={"workload": "other", "answer": "yes"},
            params={**study.params, "more": 1},
            state="done",
            ended_ms=1_700_000_010_000,
        )
        for writer in (sink, self.make_sink(tmp_path)):
            writer.write_study(done)
            (parent,) = self.stored(tmp_path)
            assert parent.note == done.note
            assert parent.ended
            assert parent.tags.items() >= {"workload": "other", "answer": "yes"}.items()
            assert parent.params.items() >= {"lora.rank": "8", "more": "1"}.items()

    def test_artifacts_of_a_study_are_copied_and_replaced(
        self, tmp_path: Path, study: StudyRun
    ) -> None:
        made = tmp_path / "report"
        (made / "deep").mkdir(parents=True)
        (made / "report.md").write_text("first")
        (made / "deep" / "x.bin").write_bytes(bytes(range(256)))
        sink = self._prepared(tmp_path)
        sink.write_study(study)
        sink.log_artifacts(study, made)
        (made / "report.md").write_text("second")
        sink.log_artifacts(study, made)
        sink.log_artifacts(study, made / "deep", "under")
        shutil.rmtree(made)
        (parent,) = self.stored(tmp_path)
        assert parent.artifacts == {
            "report.md": b"second",
            "deep/x.bin": bytes(range(256)),
            "under/x.bin": bytes(range(256)),
        }

    def test_a_reused_trial_is_light_and_says_whose_it_is(
        self, tmp_path: Path, study: StudyRun, trial: TrialRun, end: TrialEnd
    ) -> None:
        sink = self._prepared(tmp_path)
        sink.write_trial(study, trial, [Row("a", 1, 5, 0.1)], end)
        other = StudyRun("other", "other-77")
        light = msgspec.structs.replace(trial, reused=True, owner=study.instance)
        sink.write_trial(other, light, [Row("final/f1", 0, 9, 61.5)], end)
        runs = [run for run in self.stored(tmp_path) if run.trial == trial.identity]
        reused = next(run for run in runs if run.instance == other.instance)
        assert len(runs) == 2
        assert reused.tags.items() >= {"reused": "true", "owner": study.instance}.items()
        assert [row[0] for row in reused.rows] == [self.stored_key("final/f1")]

    def test_the_same_study_from_two_homes_is_kept_apart(
        self, tmp_path: Path, study: StudyRun, trial: TrialRun, end: TrialEnd
    ) -> None:
        homes = [msgspec.structs.replace(study, origin=name) for name in ("aa", "bb")]
        for _ in range(2):
            for number, home in enumerate(homes):
                rows = [Row("a", 1, 5 + number, 0.5 + number)]
                self._prepared(tmp_path).write_trial(home, trial, rows, end)
        runs = self.stored(tmp_path)
        assert Counter(run.trial for run in runs) == {None: 2, trial.identity: 2}
        assert all(len(run.rows) == 1 for run in runs if run.trial)

    def test_a_run_that_was_removed_is_told_and_then_made_again(
        self, tmp_path: Path, study: StudyRun, trial: TrialRun, end: TrialEnd
    ) -> None:
        rows = [Row("a", step, 5, step / 3) for step in range(4)]
        sink = self._prepared(tmp_path)
        sink.write_trial(study, trial, rows[:2])
        self.remove_trial(tmp_path, study, trial)
        with pytest.raises(RunGoneError):
            sink.write_trial(study, trial, rows[2:])
        sink.write_trial(study, trial, rows, end)
        assert self._rows(self._trial(tmp_path, trial)) == self._told(rows)

    def test_publishing_after_a_removal_leaves_every_row_once(
        self, tmp_path: Path, study: StudyRun, trial: TrialRun, end: TrialEnd
    ) -> None:
        rows = [Row("a", step, 5, step / 3) for step in range(4)]
        log = RowLog(trial.path)
        log.append(rows[:2])
        assert publish_study(study, [(trial, None)], self.make_sink(tmp_path)).left == {}
        self.remove_trial(tmp_path, study, trial)
        log.append(rows[2:])
        for _ in range(2):
            report = publish_study(study, [(trial, end)], self.make_sink(tmp_path), afresh=True)
            assert report.left == {}
        assert self._rows(self._trial(tmp_path, trial)) == self._told(rows)

    def test_several_trials_at_once_do_not_mix(
        self, tmp_path: Path, study: StudyRun, end: TrialEnd
    ) -> None:
        trials = [sample_trial(tmp_path, f"{number:020x}", number) for number in range(3)]
        sink = self._prepared(tmp_path)
        for step in range(3):
            for number, trial in enumerate(trials):
                sink.write_trial(study, trial, [Row("a", step, 5, number + step / 4)])
        for trial in trials:
            sink.write_trial(study, trial, [], end)
        for number, trial in enumerate(trials):
            rows = [Row("a", step, 5, number + step / 4) for step in range(3)]
            assert self._rows(self._trial(tmp_path, trial)) == self._told(rows)

    def test_a_store_that_is_not_there_may_be_there_later(
        self, tmp_path: Path, study: StudyRun
    ) -> None:
        sink = self.unavailable_sink(tmp_path)
        with pytest.raises(SinkUnavailableError):
            sink.write_study(study)
        retrying = RetryingSink(sink)
        with pytest.raises(SinkUnavailableError):
            retrying.write_study(study)
        assert retrying.absences == 1

    def test_a_refusal_is_told_from_an_absence(self, tmp_path: Path, study: StudyRun) -> None:
        with pytest.raises(SinkError) as refusal:
            self.refusing_sink(tmp_path).write_study(study)
        assert not isinstance(refusal.value, SinkUnavailableError)

    # -- how they are compared ------------------------------------------------------------------

    def _prepared(self, folder: Path) -> Sink:
        sink = self.make_sink(folder)
        sink.prepare()
        return sink

    def _trial(self, folder: Path, trial: TrialRun) -> StoredRun:
        (run,) = [run for run in self.stored(folder) if run.trial == trial.identity]
        return run

    def _told(self, rows: list[Row]) -> list[tuple[str, int, int, str]]:
        return sorted(
            (
                self.stored_key(row.key),
                row.step,
                row.time_ms if self.times_exact else 0,
                repr(self.stored_value(row.value)),
            )
            for row in rows
            if row.value is not None
        )

    def _rows(self, run: StoredRun) -> list[tuple[str, int, int, str]]:
        return sorted(
            (key, step, time_ms if self.times_exact else 0, repr(float(value)))
            for key, step, time_ms, value in run.rows
        )
