"""Weights & Biases, offline: real run files, each row in them once, whatever is sent again."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from telemetry import Row, RunGoneError, SinkError, StudyRun, TrialEnd, TrialRun
from telemetry.sinks import WandbSink, wandb_files
from telemetry.sinks.sent_log import SentLog

pytest.importorskip("wandb")

STUDY = StudyRun("sweep", "sweep-1f2e", note="# Does it?")
TRIAL = TrialRun("4c54", "/nowhere", arm="r8", replicate=0, params={"lora": {"rank": 8}})
END = TrialEnd("done", 9_000)
ROWS = [Row("loss", step, 1_000 + step, 1 / step) for step in range(1, 6)]


@pytest.fixture
def sink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WandbSink:
    monkeypatch.setenv("WANDB_MODE", "offline")
    return WandbSink("sweeps", "team", folder=tmp_path)


def rows(folder: Path, run_id: str) -> list[tuple[int, int, float]]:
    """W&B's step, ours and the loss, in the order of the files."""
    return [
        (step, values["orrery/step"], values["loss"])
        for path in wandb_files.files_of(folder, run_id)
        for step, values in wandb_files.history(path)
        if "loss" in values
    ]


def test_a_run_is_in_files_that_wandb_syncs_and_a_repeated_send_adds_no_row(
    sink: WandbSink, tmp_path: Path
) -> None:
    run_id = sink.write_trial(STUDY, TRIAL, ROWS[:3])
    assert sink.write_trial(STUDY, TRIAL, ROWS[1:4]) == run_id
    sink.write_trial(STUDY, TRIAL, [], TrialEnd("preempted", 5_000))
    again = WandbSink("sweeps", "team", folder=tmp_path)
    for _ in range(2):
        assert again.write_trial(STUDY, TRIAL, ROWS, END) == run_id
    expected = [(row.step - 1, row.step, row.value) for row in ROWS]
    assert rows(tmp_path, run_id) == expected
    assert [path.parent.name[:8] for path in wandb_files.files_of(tmp_path, run_id)] == [
        "offline-"
    ] * 2


def test_rows_that_were_noted_but_never_written_are_asked_for_again(
    sink: WandbSink, tmp_path: Path
) -> None:
    """A process that died between the two: what W&B has decides."""
    run_id = sink.write_trial(STUDY, TRIAL, ROWS[:2], TrialEnd("preempted", 5_000))
    SentLog(tmp_path / "wandb" / "orrery" / f"{run_id}.jsonl").append([[ROWS[2]], [ROWS[3]]])
    with pytest.raises(RunGoneError):
        sink.write_trial(STUDY, TRIAL, ROWS[4:], END)
    sink.write_trial(STUDY, TRIAL, ROWS, END)
    assert [row[1] for row in rows(tmp_path, run_id)] == [1, 2, 3, 4, 5]


def test_without_a_record_of_what_was_sent_nothing_is_doubled(
    sink: WandbSink, tmp_path: Path
) -> None:
    run_id = sink.write_trial(STUDY, TRIAL, ROWS, TrialEnd("preempted", 5_000))
    for note in (tmp_path / "wandb" / "orrery").glob(f"{run_id}.*"):
        note.unlink()
    with pytest.raises(SinkError, match="would double rows"):
        sink.write_trial(STUDY, TRIAL, ROWS, END)
    assert len(rows(tmp_path, run_id)) == 5


def test_a_note_that_is_refreshed_leaves_the_files_of_one_time(
    sink: WandbSink, tmp_path: Path
) -> None:
    for number in range(3):
        run_id = sink.write_study(StudyRun("sweep", "sweep-1f2e", note=f"note {number}"))
    (path,) = wandb_files.files_of(tmp_path, run_id)
    (told,) = [r.run for r in wandb_files.records(path) if r.WhichOneof("record_type") == "run"]
    assert told.notes == "note 2"


def test_it_is_online_where_the_user_is_logged_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    sink = WandbSink("sweeps", folder=tmp_path)
    assert sink.offline
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password key")
    assert not sink.offline
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert sink.offline
    monkeypatch.delenv("WANDB_MODE")
    (tmp_path / "netrc").unlink()
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert not sink.offline
    assert "online" in sink.store_id()


def test_a_torn_line_of_the_record_was_never_sent(tmp_path: Path) -> None:
    log = SentLog(tmp_path / "sent.jsonl")
    log.append([[ROWS[0]], [ROWS[1]]])
    with log.path.open("ab") as file:
        file.write(b'[3,["lo')
    found = SentLog(log.path)
    assert len(found) == 2
    assert found.fresh(ROWS) == [[row] for row in ROWS[2:]]
    assert found.cut(1) == {("loss", 2)}
    assert SentLog(log.path).fresh(ROWS) == [[row] for row in ROWS[1:]]


@pytest.mark.slow
def test_wandb_that_cannot_be_reached_may_be_there_later(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = (
        "import sys; from telemetry import *\n"
        "from telemetry.sinks import WandbSink, wandb_sink\n"
        "wandb_sink._INIT_LIMIT_S = 5\n"
        "try: WandbSink('p', folder=sys.argv[1]).write_study(StudyRun('s', 's-1'))\n"
        "except SinkUnavailableError: print('unavailable')\n"
    )
    environment = {
        **os.environ,
        "WANDB_BASE_URL": f"http://127.0.0.1:{port}",
        "WANDB_API_KEY": "0" * 40,
    }
    told = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert told.stdout.strip() == "unavailable", told.stderr
