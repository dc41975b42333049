"""`WorkloadContract`: the tests that every workload must pass, shipped for third parties too.

    from workloads.testing import WorkloadContract

    class TestMine(WorkloadContract):
        workload = Mine
        config_a = {"steps": 3}
        config_b = {"steps": 5, "width": 8}

Run it with pytest. Trials run in processes of their own, as an engine would run them.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from telemetry.reduction import reduce_ranks
from workloads.contract import Checkpoint, Input, Metric, Result, Workload, WorkloadConfig
from workloads.recording import (
    KeptCheckpoints,
    Recorded,
    RecordingEmitter,
    resolved,
    run_recorded,
)
from workloads.source_digest import source_digest
from workloads.spawning import in_fresh_process, in_ranks
from workloads.training.rendezvous import LOOPBACK, environment, rank_environments

__all__ = [
    "KeptCheckpoints",
    "Recorded",
    "RecordingEmitter",
    "WorkloadContract",
    "in_fresh_process",
    "in_ranks",
    "run_recorded",
]

LEFT_ON_DEVICE_BYTES = 32 * 2**20
"""Libraries keep workspaces on a device; a trial's own tensors are beyond this."""


class WorkloadContract:
    """Subclass it, name a workload and two small, different configurations, and run pytest.

    The configurations should train (save checkpoints, report), each within seconds.
    """

    workload: ClassVar[type[Workload[Any]]]
    config_a: ClassVar[Mapping[str, Any]]
    config_b: ClassVar[Mapping[str, Any]]
    seed: ClassVar[int] = 0
    config_ranks: ClassVar[Mapping[str, Any] | None] = None
    """For workloads whose ranks share each batch: a configuration without chance that differs by
    rank (dropout), of which two ranks make the numbers that one process makes."""
    ranks_tolerance: ClassVar[float] = 1e-4
    """How far these may differ, absolutely and relatively: ranks add in another order, and each
    step of training makes more of the difference."""

    _alone: ClassVar[Recorded]
    """B in a fresh process."""
    _after: ClassVar[Sequence[Recorded]]
    """In one process: A, A stopped at its first report, B."""
    _resumed: ClassVar[Sequence[Recorded]]
    """B, from each of its checkpoints."""
    _folder: ClassVar[Path]

    @classmethod
    def setup_class(cls) -> None:
        """Runs the trials once, for all tests of the class."""
        cls._folder = Path(tempfile.mkdtemp(prefix="workload-contract-"))
        shared = (cls.workload, cls.config_a, cls.config_b, cls.seed, cls._folder)
        cls._alone = in_fresh_process(_alone, *shared)
        cls._after, cls._resumed = in_fresh_process(_after, *shared, cls._alone.checkpoints)

    @classmethod
    def teardown_class(cls) -> None:
        """Removes what the trials wrote."""
        shutil.rmtree(cls._folder, ignore_errors=True)

    def configs(self) -> list[WorkloadConfig]:
        """A and B, resolved."""
        workload = self.workload()
        return [resolved(workload, fields) for fields in (self.config_a, self.config_b)]

    # -- the configuration ------------------------------------------------------------------------

    def test_the_two_configurations_differ(self) -> None:
        first, second = self.configs()
        assert first != second, "the contract needs two different configurations"

    def test_a_configuration_survives_json(self) -> None:
        for config in self.configs():
            again = type(config).model_validate_json(config.model_dump_json())
            assert again == config
            assert again.model_dump(mode="json") == config.model_dump(mode="json")

    def test_a_configuration_is_frozen_and_refuses_unknown_keys(self) -> None:
        settings = self.workload.Config.model_config
        assert settings.get("frozen") is True
        assert settings.get("extra") == "forbid"

    def test_resolving_twice_changes_nothing(self) -> None:
        workload = self.workload()
        for config in self.configs():
            assert workload.resolve(config) == config

    def test_inputs_have_a_stable_fingerprint(self) -> None:
        for config in self.configs():
            first, second = (self._fingerprints(self.workload(), config) for _ in range(2))
            assert first == second

    def test_the_configurations_are_accepted(self) -> None:
        for config in self.configs():
            self.workload().check(config)

    def test_what_was_observed_covers_itself(self) -> None:
        for config in self.configs():
            observed = config.model_dump(mode="json")
            assert self.workload().covers(observed, observed)

    def test_factors_are_plain(self) -> None:
        for config in self.configs():
            for name, value in self.workload().factors(config).items():
                assert isinstance(value, str | int | float), f"factor {name} is {value!r}"

    def test_its_sources_are_named_and_found(self) -> None:
        assert self.workload.sources, "name the packages whose text makes up the code digest"
        assert source_digest(self.workload.sources)

    # -- the trials -------------------------------------------------------------------------------

    def test_final_metrics_are_finite_or_not_measured(self) -> None:
        for name, value in self._result().metrics.items():
            assert value is None or math.isfinite(value), f"{name} is {value!r}"

    def test_metrics_are_declared(self) -> None:
        declared = set(self.workload.metrics)
        emitted = {name for _, values in self._alone.rows for name in values}
        unknown = sorted((emitted | set(self._result().metrics)) - declared)
        assert not unknown, f"not in {self.workload.__name__}.metrics: {unknown}"

    def test_steps_never_go_back(self) -> None:
        steps = [step for step, _ in self._alone.rows]
        assert steps == sorted(steps)
        assert self._alone.reported == sorted(self._alone.reported)

    def test_scores_are_whole(self) -> None:
        for scores in self._result().scores:
            assert len(set(scores.units)) == len(scores.units), "a unit is there twice"
            assert len(scores.clusters) == len(scores.units)
            for name, column in scores.columns.items():
                assert len(column) == len(scores.units), name
                assert all(value is None or math.isfinite(value) for value in column), name

    def test_as_many_units_are_scored_as_were_announced(self) -> None:
        announced = self.workload().scored_units(self.configs()[1])
        tested = [len(s.units) for s in self._result().scores if s.split == "test"]
        if announced is not None and tested:
            assert tested == [announced]

    def test_a_process_that_ran_another_trial_gives_the_same(self) -> None:
        """B alone, and A then B, are bit-identical: what `reusable` claims."""
        if not self.workload.reusable:
            _skip("the workload is not reusable: each trial has a process of its own")
        assert self._numbers(self._after[-1]) == self._numbers(self._alone)
        assert self._emitted(self._after[-1]) == self._emitted(self._alone)

    def test_a_stopped_trial_ends_at_its_report(self) -> None:
        if not self._after[0].reported:
            _skip("the workload reports nothing on its way")
        stopped = self._after[1]
        assert stopped.result is None, "TrialStopped must pass through the workload"
        assert len(stopped.reported) == 1

    def test_going_on_from_any_checkpoint_gives_the_same(self) -> None:
        if not self._alone.checkpoints:
            _skip("the workload saves no checkpoint")
        whole = self._emitted(self._alone)
        for checkpoint, resumed in zip(self._alone.checkpoints, self._resumed, strict=True):
            assert self._numbers(resumed) == self._numbers(self._alone), f"step {checkpoint.step}"
            rest = [row for row in whole if row[0] > checkpoint.step]
            later = [row for row in self._emitted(resumed) if row[0] > checkpoint.step]
            assert later == rest, f"step {checkpoint.step}"

    def test_two_ranks_come_to_what_one_process_comes_to(self) -> None:
        """From the start, and each from a checkpoint of the other."""
        if self.config_ranks is None:
            _skip("the workload names no configuration for several ranks")
        shared = (self.workload, self.config_ranks, self.seed, self._folder)
        whole = in_fresh_process(_alone, shared[0], {}, *shared[1:])
        first, other = in_ranks(_ranked, *shared, whole.checkpoints[:1], ranks=2)
        for one, beside in zip(first, other, strict=True):
            assert one is not None
            self._assert_close(self._final(one), self._final(whole))
            after = one.rows[0][0] if one.rows else 0
            rows = [row for row in self._reduced([whole]) if row[0] >= after]
            both = [one] if beside is None else [one, beside]
            for (step, values), (at, expected) in zip(self._reduced(both), rows, strict=True):
                assert step == at
                self._assert_close(values, expected, f" at step {step}")

    def test_no_device_memory_is_left(self) -> None:
        used = [trial.device_bytes for trial in (*self._after, *self._resumed)]
        if not any(used):
            _skip("no accelerator was used")
        assert max(used) - used[0] <= LEFT_ON_DEVICE_BYTES

    # -- how results are compared -----------------------------------------------------------------

    def _result(self) -> Result:
        assert self._alone.result is not None
        return self._alone.result

    def _numbers(self, trial: Recorded) -> dict[str, Any]:
        """A trial's results to the last bit; metrics in seconds are the machine's and left out."""
        result = trial.result
        assert result is not None
        return {
            "metrics": {
                name: _bits(value)
                for name, value in result.metrics.items()
                if not self._is_a_time(name)
            },
            "flags": sorted(result.flags),
            "scores": [
                (
                    part.split,
                    list(part.units),
                    list(part.clusters),
                    {name: [_bits(value) for value in c] for name, c in part.columns.items()},
                )
                for part in result.scores
            ],
        }

    def _emitted(self, trial: Recorded) -> list[tuple[int, dict[str, str | None]]]:
        return [
            (step, {name: _bits(v) for name, v in values.items() if not self._is_a_time(name)})
            for step, values in trial.rows
        ]

    def _final(self, trial: Recorded) -> dict[str, float | None]:
        assert trial.result is not None
        metrics = trial.result.metrics
        return {name: value for name, value in metrics.items() if not self._is_a_time(name)}

    def _reduced(self, ranks: Sequence[Recorded]) -> list[tuple[int, dict[str, float | None]]]:
        """What ranks that ran together say of each step, reduced as their metrics declare. One may
        say what others do not."""
        reduced = []
        rows = [_by_step(rank) for rank in ranks]
        for step in dict.fromkeys(step for of_rank in rows for step in of_rank):
            said = [of_rank.get(step, {}) for of_rank in rows]
            values: dict[str, float | None] = {}
            for name in dict.fromkeys(name for row in said for name in row):
                mine = [given for row in said if (given := row.get(name)) is not None]
                reducer = self.workload.metrics[name].reducer
                if not self._is_a_time(name):
                    values[name] = reduce_ranks(mine, reducer) if mine else None
            reduced.append((step, values))
        return reduced

    def _assert_close(
        self, given: Mapping[str, float | None], expected: Mapping[str, float | None], at: str = ""
    ) -> None:
        assert given.keys() == expected.keys()
        for name, wanted in expected.items():
            value, limit = given[name], self.ranks_tolerance
            if value is None or wanted is None:
                assert value == wanted, f"{name}{at}"
            else:
                close = math.isclose(value, wanted, rel_tol=limit, abs_tol=limit)
                assert close, f"{name}{at}: {value!r} of two ranks, {wanted!r} of one process"

    def _is_a_time(self, name: str) -> bool:
        metric: Metric | None = self.workload.metrics.get(name)
        return metric is not None and metric.unit in ("s", "ms")

    @staticmethod
    def _fingerprints(workload: Workload[Any], config: WorkloadConfig) -> dict[str, str]:
        found = {}
        for name, info in type(config).model_fields.items():
            value = getattr(config, name)
            for source in info.metadata:
                if isinstance(source, Input) and value is not None:
                    found[name] = workload.fingerprint(source.kind, value, config)
        return found


def _ranked(
    workload: type[Workload[Any]],
    fields: Mapping[str, Any],
    seed: int,
    to: Path,
    checkpoints: Sequence[Checkpoint],
    rank: int,
    ranks: int,
) -> list[Recorded | None]:
    """Ranks from the start and from each of a single process's checkpoints; then, on rank 0 (None
    on others), a single process from the ranks' first checkpoint."""
    instance = workload()
    trials = [
        run_recorded(instance, fields, to, seed=seed, start=start, rank=rank, ranks=ranks)
        for start in (None, *checkpoints)
    ]
    if rank:
        return [*trials, None]
    with environment(dict.fromkeys(rank_environments([LOOPBACK], LOOPBACK, 0)[0])):
        start = trials[0].checkpoints[0]
        return [*trials, run_recorded(instance, fields, to, seed=seed, start=start)]


def _alone(
    workload: type[Workload[Any]], a: Mapping[str, Any], b: Mapping[str, Any], seed: int, to: Path
) -> Recorded:
    return run_recorded(workload(), b, to, seed=seed)


def _after(
    workload: type[Workload[Any]],
    a: Mapping[str, Any],
    b: Mapping[str, Any],
    seed: int,
    to: Path,
    checkpoints: Sequence[Checkpoint],
) -> tuple[list[Recorded], list[Recorded]]:
    instance = workload()
    after = [
        run_recorded(instance, a, to, seed=seed + 1),
        run_recorded(instance, a, to, seed=seed + 1, stop_at_first_report=True),
        run_recorded(instance, b, to, seed=seed),
    ]
    resumed = [run_recorded(instance, b, to, seed=seed, start=one) for one in checkpoints]
    return after, resumed


def _by_step(trial: Recorded) -> dict[int, dict[str, float | None]]:
    rows: dict[int, dict[str, float | None]] = {}
    for step, values in trial.rows:
        rows.setdefault(step, {}).update(values)
    return rows


def _bits(value: float | None) -> str | None:
    return None if value is None else float(value).hex()


def _skip(reason: str) -> None:
    import pytest

    pytest.skip(reason)
