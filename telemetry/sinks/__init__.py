"""Where rows, runs and artifacts go. Every sink is a view that can be made again from files."""

from telemetry.sinks.mlflow_sink import MlflowSink
from telemetry.sinks.protocol import RunGoneError, Sink, SinkError, SinkUnavailableError
from telemetry.sinks.retrying import RetryingSink

__all__ = [
    "MlflowSink",
    "RetryingSink",
    "RunGoneError",
    "Sink",
    "SinkError",
    "SinkUnavailableError",
]
