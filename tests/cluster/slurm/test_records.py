"""Records of jobs: one file each, written whole."""

from __future__ import annotations

import time

from cluster.slurm.records import JobKind, JobRecord, JobRecords


def _record(id: str, kind: JobKind = "pilot", tasks: int = 1) -> JobRecord:
    return JobRecord(
        id=id, kind=kind, tasks=tasks, name="orrery-a", submitted_at_s=time.time(), host="h"
    )


def test_a_job_is_open_until_its_end_is_noted_once(records: JobRecords) -> None:
    assert records.all() == []
    records.add(_record("12"))
    records.add(_record("13"))
    records.end("12", "TIMEOUT")
    records.end("12", "COMPLETED")
    records.end("99", "COMPLETED")
    assert [record.id for record in records.open()] == ["13"]
    assert [record.ended_as for record in records.all()] == ["TIMEOUT", ""]


def test_a_file_that_is_no_record_is_passed_over(records: JobRecords) -> None:
    records.add(_record("12"))
    (records.folder / "13.json").write_text("{")
    assert [record.id for record in records.all()] == ["12"]


def test_an_array_is_looked_up_by_its_tasks() -> None:
    array = _record("12", "array", 2)
    assert array.job_ids == ["12_0", "12_1"]
    assert array.log(1).endswith("/12_1_0_log.out")
    assert _record("12").job_ids == ["12"]
