"""A text names a sink, or is refused with what is valid."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path
from typing import Any

import pytest

from telemetry.sinks import (
    JsonlSink,
    MlflowSink,
    ParquetSink,
    SinkUriError,
    WandbSink,
    open_sink,
)
from telemetry.sinks.mlflow_names import KEY_CHARACTERS, key
from telemetry.sinks.mlflow_store import without_password
from telemetry.testing import ODD_KEYS


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("sqlite:////x/mlflow.db", MlflowSink),
        ("http://localhost:5000", MlflowSink),
        ("https://me:secret@mlflow.lab.org", MlflowSink),
        ("postgresql://me@host/runs", MlflowSink),
        ("postgresql+psycopg2://me@host/runs", MlflowSink),
        ("jsonl:out", JsonlSink),
        ("parquet:/x/y", ParquetSink),
        ("wandb:sweeps", WandbSink),
        ("wandb:team/my.sweeps-2", WandbSink),
    ],
)
def test_every_valid_form_names_its_sink(uri: str, kind: type, tmp_path: Path) -> None:
    sink = open_sink(uri, artifact_root="file:///x", folder=tmp_path)
    assert isinstance(sink, kind)
    assert isinstance(pickle.loads(pickle.dumps(sink)), kind)


@pytest.mark.parametrize(
    "uri", ["", "out", "ftp://x", "sqlite:///", "jsonl:", "wandb:", "wandb:a/b/c", "mysql://x/y"]
)
def test_any_other_is_refused_with_what_is_valid(uri: str) -> None:
    with pytest.raises(SinkUriError) as refusal:
        open_sink(uri)
    said = str(refusal.value)
    assert f"'{uri}' names no place for runs" in said
    for form in ("sqlite:///", "http://", "postgresql://", "parquet:", "jsonl:", "wandb:"):
        assert form in said


@pytest.mark.parametrize(
    ("uri", "extra"), [("wandb:sweeps", "wandb"), ("postgresql://h/d", "postgres")]
)
def test_a_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, uri: str, extra: str
) -> None:
    find = importlib.util.find_spec

    def without(name: str, *more: Any) -> Any:
        return None if name in ("wandb", "psycopg2") else find(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(SinkUriError, match=rf"pip install 'orrery\[{extra}\]'"):
        open_sink(uri)


def test_a_relative_folder_is_the_one_at_hand_when_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector has another current folder."""
    monkeypatch.chdir(tmp_path)
    sink = open_sink("jsonl:out")
    assert isinstance(sink, JsonlSink)
    assert sink.folder == tmp_path / "out"


def test_a_server_decides_where_artifacts_go() -> None:
    sink = open_sink("http://localhost:5000", artifact_root="file:///home")
    assert isinstance(sink, MlflowSink)
    assert sink.artifact_root is None


def test_a_password_is_never_shown() -> None:
    assert without_password("postgresql://me:s/ecret@host/runs") == "postgresql://me@host/runs"
    assert without_password("http://host:5000") == "http://host:5000"
    with pytest.raises(SinkUriError) as refusal:
        open_sink("mysql://me:secret@host/runs")
    assert "secret" not in str(refusal.value)


def test_different_keys_stay_different_in_mlflow() -> None:
    names = [*ODD_KEYS, "f1-29ce77", "a/../b", "b", "./b", "a?", "a!", "a_"]
    assert len({key(name) for name in names}) == len(names)
    assert all(len(key(name)) <= KEY_CHARACTERS for name in names)
    assert key("eval/f1 top-5: é") == "eval/f1 top-5: é"
