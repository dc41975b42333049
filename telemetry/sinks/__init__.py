"""Where rows, runs and artifacts go. Every sink is a view that can be made again from files."""

from telemetry.sinks.jsonl_sink import JsonlSink
from telemetry.sinks.mlflow_sink import MlflowSink
from telemetry.sinks.opening import SINK_URIS, SinkUriError, open_sink
from telemetry.sinks.parquet_sink import ParquetSink
from telemetry.sinks.protocol import RunGoneError, Sink, SinkError, SinkUnavailableError
from telemetry.sinks.retrying import RetryingSink
from telemetry.sinks.wandb_sink import WandbSink

__all__ = [
    "SINK_URIS",
    "JsonlSink",
    "MlflowSink",
    "ParquetSink",
    "RetryingSink",
    "RunGoneError",
    "Sink",
    "SinkError",
    "SinkUnavailableError",
    "SinkUriError",
    "WandbSink",
    "open_sink",
]
