"""Telemetry: event contracts, emitter and spool, fold, collector, sinks. Imports nothing of ours.

Importing this package imports neither Ray nor MLflow, PyArrow or pandas.
"""

from telemetry.collector import Collector, CollectorCounters, DrainReport
from telemetry.emitter import Emitter, EmitterCounters, Wake
from telemetry.events import (
    EpisodeContext,
    Event,
    EventError,
    Mark,
    Metrics,
    Reducer,
    Trace,
    decode,
    encode,
)
from telemetry.fold import TrialFold, fold
from telemetry.parquet import archive_events, read_events
from telemetry.publication import (
    PublishReport,
    TrialPublication,
    publish_study,
    run_ids,
    run_ids_in,
    study_run_id,
)
from telemetry.ray_collector import CollectorClient, RayPush, start_collector
from telemetry.rebuilding import rebuild_rows
from telemetry.rowlog import Row, RowLog
from telemetry.runs import StudyRun, TrialEnd, TrialRun
from telemetry.sinks import (
    MlflowSink,
    RetryingSink,
    RunGoneError,
    Sink,
    SinkError,
    SinkUnavailableError,
)
from telemetry.spool import SpoolReader, SpoolWriter, spool_path, spools_of

__all__ = [
    "Collector",
    "CollectorClient",
    "CollectorCounters",
    "DrainReport",
    "Emitter",
    "EmitterCounters",
    "EpisodeContext",
    "Event",
    "EventError",
    "Mark",
    "Metrics",
    "MlflowSink",
    "PublishReport",
    "RayPush",
    "Reducer",
    "RetryingSink",
    "Row",
    "RowLog",
    "RunGoneError",
    "Sink",
    "SinkError",
    "SinkUnavailableError",
    "SpoolReader",
    "SpoolWriter",
    "StudyRun",
    "Trace",
    "TrialEnd",
    "TrialFold",
    "TrialPublication",
    "TrialRun",
    "Wake",
    "archive_events",
    "decode",
    "encode",
    "fold",
    "publish_study",
    "read_events",
    "rebuild_rows",
    "run_ids",
    "run_ids_in",
    "spool_path",
    "spools_of",
    "start_collector",
    "study_run_id",
]
